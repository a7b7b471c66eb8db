from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env(DEBUG=(bool, False))
env.read_env(BASE_DIR / ".env")
DEBUG = env("DEBUG")
SECRET_KEY = env("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "intranet"])
DATABASES = {"default": env.db(default="sqlite:///var/site.sqlite3")}
CACHES = {"default": env.cache()}
EMAIL_PASSWORD = env.str("EMAIL_PASSWORD")
INSTALLED_APPS = ["django.contrib.staticfiles", "health_check", "channels"]
ROOT_URLCONF = "config.urls"
STATIC_URL = "https://static.example.com/"
STATIC_ROOT = BASE_DIR / "static"
