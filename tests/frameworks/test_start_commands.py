"""How a project is started already: command lines as people write them, and what is taken from them."""

from __future__ import annotations

import pytest

from deploykit.init.commands import read_command


@pytest.mark.parametrize(
    ("command", "entrypoint", "settings"),
    [
        ("gunicorn shop.wsgi", "shop.wsgi:application", {}),
        ("gunicorn shop.wsgi:app -w4 --threads 2", "shop.wsgi:app", {"workers": "4", "threads": "2"}),
        ("gunicorn --bind=0.0.0.0:$PORT --log-file - --preload shop:app", "shop:app", {}),
        ("gunicorn -k gthread 'shop:create_app()' --timeout=90", "shop:create_app()", {"timeout": "90"}),
        ("exec poetry run python -m gunicorn shop:app", "shop:app", {}),
        ("PORT=1 newrelic-admin run-program gunicorn shop:app", "shop:app", {}),
        ('sh -c "cd /app && gunicorn shop:app -w ${WORKERS:-3}"', "shop:app", {"workers": "3"}),
        ("gunicorn shop:app -w $WORKERS", "shop:app", {}),
        ("gunicorn shop:app --workers=-1 --threads 0", "shop:app", {}),
        ("uwsgi --http :8000 --module shop.wsgi --processes 4", "shop.wsgi:application", {"workers": "4"}),
        ("uwsgi --wsgi-file shop/web.py --callable app -p 2", "shop.web:app", {"workers": "2"}),
        ("waitress-serve --port=80 --call shop:create_app", "shop:create_app()", {}),
        ("python app.py", None, {}),
        ("node server.js", None, {}),
        ("gunicorn 'shop:create_app(\"live\")'", None, {}),
        ("", None, {}),
    ],
)
def test_the_app_and_its_workers_are_read(command: str, entrypoint: str | None, settings: dict[str, str]) -> None:
    start = read_command(command, "Procfile:1")
    assert (start.entrypoint.value if start.entrypoint else None) == entrypoint
    assert {name: finding.value for name, finding in start.settings} == settings


def test_what_runs_before_the_server_is_a_release_command() -> None:
    start = read_command("set -e; python manage.py migrate && flask db upgrade && gunicorn shop:app", "start.sh:1")
    assert [finding.value for finding in start.release] == ["python manage.py migrate", "flask db upgrade"]


def test_what_takes_a_shell_is_no_release_command() -> None:
    assert read_command("python load.py > $LOG && gunicorn shop:app", "x").release == ()


def test_an_asgi_server_is_no_wsgi_start() -> None:
    start = read_command("uvicorn shop.asgi:application --port $PORT", "Procfile:1")
    assert start.asgi is not None
    assert start.asgi.value == "shop.asgi:application"
    assert start.entrypoint is None


def test_a_uvicorn_worker_of_gunicorn_is_asgi() -> None:
    start = read_command("gunicorn shop.asgi:app -k uvicorn.workers.UvicornWorker", "Procfile:1")
    assert start.asgi is not None
    assert start.server is None


@pytest.mark.parametrize("command", ["gunicorn 'shop:app", "a \\", "&& ; |", '"', "exec", "-w", "gunicorn -w", "sh -c"])
def test_no_command_is_too_odd(command: str) -> None:
    read_command(command, "Procfile:1")


def test_the_folder_of_a_start_is_known() -> None:
    assert read_command("cd backend && gunicorn shop:app", "x").folder == "backend"
    assert read_command("gunicorn --chdir ./backend shop:app", "x").folder == "backend"
