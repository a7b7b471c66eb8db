from pathlib import Path

from flask import Flask

HERE = Path(__file__).resolve().parent
UPLOAD_FOLDER = HERE / "assets" / "uploads"

application = Flask(__name__, static_folder="assets", static_url_path="/files")
application.config["UPLOAD_FOLDER"] = str(UPLOAD_FOLDER)
application.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///guests.db")
from flask_sqlalchemy import SQLAlchemy  # noqa: E402

db = SQLAlchemy(application)
