import os

basedir = os.path.abspath(os.path.dirname(os.path.dirname(__file__)))


class Production:
    SECRET_KEY = os.getenv("SECRET_KEY")
    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL") or "sqlite:///" + os.path.join(basedir, "data", "blog.db")
    MAIL_SERVER = os.environ["MAIL_SERVER"]
    if os.getenv("REDIS_URL"):
        REDIS_URL = os.getenv("REDIS_URL")


CONFIGS = {"production": Production, "worker": Production}
