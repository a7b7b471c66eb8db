"""uWSGI, from the pyuwsgi wheel: WSGI by processes and threads, over the uwsgi protocol or http."""

from __future__ import annotations

from typing import Literal

from deploykit.app_servers import AppServer, Limits
from deploykit.errors import Problem
from deploykit.plan import FilePlan
from deploykit.spec.model import App


class Uwsgi:
    """Answers for uWSGI 2.0.26 and later (the floor: fixes of CVE-2024-24795)."""

    # pyuwsgi is the wheel of the same server; uwsgi itself has to be compiled.
    requirement = "pyuwsgi>=2.0.26"
    distributions: tuple[str, ...] = ("pyuwsgi", "uwsgi")
    protocols: tuple[Literal["http", "uwsgi"], ...] = ("uwsgi", "http")
    # With die-on-term and the hook of the template this finishes requests; without the hook it cuts them.
    stop_signal = "TERM"

    def check(self, name: str, app: App) -> list[Problem]:
        return []

    def command(self, app: App, config: str) -> tuple[str, ...]:
        return ("uwsgi", "--ini", f"{config}/uwsgi.ini")

    def files(self, name: str, app: App, limits: Limits) -> tuple[FilePlan, ...]:
        values = {
            "name": name,
            "entrypoint": app.entrypoint,
            "unix": limits.socket == "unix",
            "socket_option": "socket" if limits.protocol == "uwsgi" else "http-socket",
            "workers": limits.workers,
            "threads": limits.threads,
            # Whole seconds; one more than the promise, so that nginx and uWSGI never race for the last moment.
            "harakiri_seconds": round(limits.request_seconds) + 1,
            # What is open then is cut; its supervisor waits longer, for the master to report and end.
            "mercy_seconds": max(1, round(limits.stop_grace_seconds)),
            "body_bytes": limits.body_bytes,
            "max_requests": app.app_server.max_requests or 0,
        }
        return (
            FilePlan(
                f"apps/{name}/uwsgi.ini",
                "uwsgi/uwsgi.ini.j2",
                values,
                "app_server is uwsgi",
                ("apps", name, "app_server"),
            ),
        )


DRIVER: AppServer = Uwsgi()
