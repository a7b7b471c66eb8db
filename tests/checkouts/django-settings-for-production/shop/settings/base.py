import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
INSTALLED_APPS = ["django.contrib.staticfiles", "orders"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
STATIC_URL = "/assets/"
STATIC_ROOT = os.path.join(BASE_DIR, "public", "assets")
MEDIA_URL = "/uploads/"
MEDIA_ROOT = BASE_DIR / "public" / "uploads"
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
