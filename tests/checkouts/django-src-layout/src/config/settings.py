from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECRET_KEY = "for the example"
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.staticfiles", "pages"]
ROOT_URLCONF = "pages.urls"
WSGI_APPLICATION = "config.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ROOT / "var" / "db" / "site.sqlite3"}}
STATIC_URL = "static/"
STATIC_ROOT = ROOT / "var" / "static"
