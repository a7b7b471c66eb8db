#!/bin/sh
set -e
python -m tools.wait_for_database
exec gunicorn \
  --bind 0.0.0.0:8000 \
  --workers 4 \
  --worker-class gevent \
  "news.web:create_app()"
