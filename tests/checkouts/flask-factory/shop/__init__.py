import os

from flask import Flask
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from . import pages


def create_app(test_config=None):
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY=os.environ["SHOP_SECRET_KEY"],
        DATABASE=os.path.join(app.instance_path, "shop.sqlite"),
        SENTRY_DSN=os.environ.get("SENTRY_DSN", ""),
    )
    app.wsgi_app = ProxyFix(app.wsgi_app)
    app.register_blueprint(pages.bp, url_prefix="/internal")
    Migrate(app)
    return app
