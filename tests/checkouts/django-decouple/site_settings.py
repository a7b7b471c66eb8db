import os

import dj_database_url
from decouple import Csv, config

BASE_DIR = os.path.dirname(os.path.abspath(__file__))
SECRET_KEY = config("SECRET_KEY")
DEBUG = config("DEBUG", default=False, cast=bool)
ALLOWED_HOSTS = config("ALLOWED_HOSTS", cast=Csv())
DATABASES = {"default": dj_database_url.config(default="sqlite:///" + os.path.join(BASE_DIR, "db", "site.sqlite3"))}
INSTALLED_APPS = ["django.contrib.admin"]
INSTALLED_APPS += ["django.contrib.staticfiles"]
STATIC_ROOT = "/var/www/static/"
MEDIA_ROOT = "/srv/media"
ROOT_URLCONF = "site_urls"
