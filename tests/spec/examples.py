"""Specs that are right, as text: what the loader, the schema and the mutations of other tests start from."""

from __future__ import annotations

SMALLEST = """\
version: 1
name: hello
apps:
  web: {entrypoint: "hello:app"}
"""

SHORT_FORMS = """\
version: 1
name: shop
apps:
  web:
    entrypoint: shop.wsgi:application
    app_server: uwsgi
    instances: 3
    healthcheck: /healthz
    release: python manage.py migrate --noinput
    python: 3.10
    environment: {PORT: 5432, COUNTRY: NO, RATIO: 1.10, MODE: 0o17, EMPTY: ""}
sites:
  shop:
    server_name: shop.example.com
    locations:
      /: web
      /static/: {files: staticfiles/, cache_control: immutable}
"""

LONG_FORMS = """\
# everything that there is
version: 1
name: shop
requires: ">=0"
target: process
apps:
  web:
    source: .
    framework: django
    entrypoint: shop.wsgi:application
    python: "3.12"
    requirements: requirements.txt
    app_server: {type: gunicorn, protocol: http, socket: tcp, workers: 2, threads: 4, max_requests: 1000}
    instances: [{weight: 3}, {weight: 1}, {}]
    balance: least_conn
    healthcheck:
      path: /healthz?full=1
      host: shop.example.com
      status: 200
      contains: ok
      timeout: 500ms
      retries: 2
      start_period: 1m
    environment:
      DJANGO_SETTINGS_MODULE: shop.settings
    env_file: .env
    secrets: {SECRET_KEY: {env: SHOP_KEY}, TOKEN: {file: ./token}}
    release: [python manage.py migrate --noinput, python manage.py collectstatic --noinput]
    volumes: {media: media/, data: data}
    timeout: 30s
    stop_grace_period: 3m
    body_size: 10m
sites:
  shop:
    server_name: [shop.example.com, www.shop.example.com, "*.shop.test"]
    locations:
      /: web
      /static/: {files: staticfiles/, cache_control: hashed}
      /media/: {files: media/, cache_control: 1h}
      /reports/: {app: web, timeout: 2m, body_size: 50M}
      /caf%C3%A9/: {app: web}
listen: "[::1]:8443"
images: {python: "registry.example.com:5000/python:3.12-slim", nginx: nginx}
checks:
  - {get: /login, site: shop, status: 200, contains: Sign in}
  - get: /nowhere
    status: 404
"""

SEVERAL = """\
version: 1
name: two
apps:
  web: {entrypoint: "shop:create_app()", balance: ip_hash}
  api: {entrypoint: "api.main:app", body_size: 1048576}
sites:
  shop: {locations: {/: web, /api/: api}}
  api:
    server_name:
    - api.example.com
    - api.localhost
    locations:
      /: {app: api}
checks:
- {get: /, site: api}
"""

ALIASES = """\
%YAML 1.2
---
version: 1
name: !!str aliases
apps:
  web:
    entrypoint: &where shop:app
    environment: &env {A: "b", ? C : d, "E_\\x46": x}
  api:
    entrypoint: *where
    environment: *env
sites: {all: {locations: {/: web, /api/: api}}}
"""

QUOTING = """\
"version": 1
"name": 'it-s'
apps: {
  "web": {
    entrypoint: "shop:app", # a comment
    environment: {A: 'it''s', B: "caf\\u00e9 \\U0001F600", C: plain text, D: 'a: b #c', E: "x\\
      y"},
  }
}
"""

CARRIAGE_RETURNS = SHORT_FORMS.replace("\n", "\r\n")

RIGHT = {
    "smallest": SMALLEST,
    "short forms": SHORT_FORMS,
    "long forms": LONG_FORMS,
    "several": SEVERAL,
    "aliases": ALIASES,
    "quoting": QUOTING,
    "carriage returns": CARRIAGE_RETURNS,
}
