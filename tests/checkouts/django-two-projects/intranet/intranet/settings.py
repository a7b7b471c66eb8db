SECRET_KEY = 'x'
DEBUG = False
ALLOWED_HOSTS = ['localhost']
INSTALLED_APPS = []
ROOT_URLCONF = 'intranet.urls'
DATABASES = {}
