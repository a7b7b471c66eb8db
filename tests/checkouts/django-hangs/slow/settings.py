from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "for the example"
ALLOWED_HOSTS = ["localhost"]
DEBUG = False
INSTALLED_APPS = ["django.contrib.staticfiles"]
ROOT_URLCONF = "slow.urls"
DATABASES = {}
STATIC_ROOT = BASE_DIR / "collected"
while not (BASE_DIR / "never").exists():
    pass
