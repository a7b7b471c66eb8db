import os
import sys
import threading
import time
from pathlib import Path

from django.utils.functional import lazystr

print("settings are being read")
sys.stderr.write("more noise")
os.write(1, b"even more")
threading.Thread(target=time.sleep, args=(3600,)).start()
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "for the example"
ALLOWED_HOSTS = ("localhost", "NOISY.example.com", "_bad_", "203.0.113.7")
INSTALLED_APPS = ["django.contrib.staticfiles"]
ROOT_URLCONF = "noisy.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:mem?mode=memory"}}
STATIC_URL = lazystr("s/")
STATIC_ROOT = str(BASE_DIR / ("public " + str(1 + 1)))
MEDIA_ROOT = BASE_DIR / "media #1"
MEDIA_URL = "media/"
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
