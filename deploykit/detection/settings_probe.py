"""Runs inside the project's own interpreter, any Python 3.6 or later: writes its Django settings as JSON.

Called as `PYTHON settings_probe.py DESCRIPTOR` in the folder of manage.py. Imports nothing of deploykit.
"""

import json
import os
import sys
from typing import Dict  # noqa: UP035 -- any Python 3

NAMES = (
    "STATIC_URL",
    "STATIC_ROOT",
    "STATICFILES_STORAGE",
    "MEDIA_URL",
    "MEDIA_ROOT",
    "ALLOWED_HOSTS",
    "DEBUG",
    "INSTALLED_APPS",
    "MIDDLEWARE",
    "ROOT_URLCONF",
    "WSGI_APPLICATION",
    "SECURE_PROXY_SSL_HEADER",
    "SECURE_SSL_REDIRECT",
)
"""The settings that decide what nginx serves and which hosts are answered; no others leave the process."""


def plain(value: object) -> object:
    """The value as JSON can hold it: texts, numbers, lists; a path or lazy text as a text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return str(value)


def look() -> dict[str, object]:
    """The settings by name; of the databases only the files of SQLite."""
    from django.conf import settings  # type: ignore[import-untyped,import-not-found,unused-ignore]

    values = {name: plain(getattr(settings, name)) for name in NAMES if hasattr(settings, name)}
    storages = getattr(settings, "STORAGES", None) or {}
    storage = storages.get("staticfiles", {}).get("BACKEND")
    if storage:
        values["STATICFILES_STORAGE"] = str(storage)
    default = storages.get("default", {}).get("BACKEND") or getattr(settings, "DEFAULT_FILE_STORAGE", "")
    values["DEFAULT_FILE_STORAGE"] = str(default)
    databases = getattr(settings, "DATABASES", None) or {}
    values["databases"] = len(databases)
    values["sqlite"] = [
        os.path.abspath(str(one.get("NAME")))  # noqa: PTH100 -- as SQLite sees it, links unfollowed
        for one in databases.values()
        if "sqlite" in str(one.get("ENGINE")) and "memory" not in str(one.get("NAME"))
    ]
    return values


def main() -> None:
    """Writes one JSON object to the descriptor: `values`, or `failure` with the error's own words."""
    sys.path[0] = os.getcwd()  # noqa: PTH109 -- a text
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as answer:
        said: Dict[str, object]  # noqa: UP006
        try:
            said = {"values": look()}
        except BaseException as error:
            said = {"failure": "%s: %s" % (type(error).__name__, error)}  # noqa: UP031 -- any Python 3
        json.dump(said, answer)
    # Threads that the settings have started must not keep the answer back.
    os._exit(0)


if __name__ == "__main__":
    main()
