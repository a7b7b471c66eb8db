"""Gunicorn: WSGI by processes and threads, over http or its own uwsgi protocol."""

from __future__ import annotations

from typing import Literal

from deploykit.app_servers import AppServer, Limits
from deploykit.errors import Problem
from deploykit.plan import FilePlan
from deploykit.spec.model import App


class Gunicorn:
    """Answers for Gunicorn 22 and later; 22 is the floor because of request smuggling before (CVE-2024-1135)."""

    requirement = "gunicorn>=23"
    distributions: tuple[str, ...] = ("gunicorn",)
    protocols: tuple[Literal["http", "uwsgi"], ...] = ("http", "uwsgi")
    stop_signal = "TERM"

    def check(self, name: str, app: App) -> list[Problem]:
        return []

    def command(self, app: App, config: str) -> tuple[str, ...]:
        return ("gunicorn", "--config", f"{config}/gunicorn.conf.py")

    def files(self, name: str, app: App, limits: Limits) -> tuple[FilePlan, ...]:
        values = {
            "entrypoint": app.entrypoint,
            "unix": limits.socket == "unix",
            "protocol": limits.protocol,
            "workers": limits.workers,
            "threads": limits.threads,
            # One request at a time needs no thread pool; sync is then the simpler and sturdier worker.
            "worker_class": "gthread" if limits.threads > 1 else "sync",
            # gthread: how long a worker's loop may hang. sync: how long a request may take.
            "timeout_seconds": round(limits.request_seconds) or 1,
            # What is open then is cut; its supervisor waits longer, for the master to report and end.
            "graceful_seconds": max(1, round(limits.stop_grace_seconds)),
            "max_requests": app.app_server.max_requests or 0,
            # A tenth more or less, so that not all workers renew at once.
            "max_requests_jitter": (app.app_server.max_requests or 0) // 10,
        }
        return (
            FilePlan(
                f"apps/{name}/gunicorn.conf.py",
                "gunicorn/gunicorn.conf.py.j2",
                values,
                "app_server is gunicorn",
                ("apps", name, "app_server"),
            ),
        )


DRIVER: AppServer = Gunicorn()
