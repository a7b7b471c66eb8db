"""One file per app server: what runs an app, with which command, config, protocol and signals.

A driver answers questions and never drives; a refusal is a `Problem`, not an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from deploykit.errors import Problem
from deploykit.plan import FilePlan
from deploykit.registry import Registry
from deploykit.spec.model import App


@dataclass(frozen=True)
class Limits:
    """What the planner has decided for one app, the same in every layer."""

    protocol: str
    socket: str
    workers: int
    threads: int
    request_seconds: float
    """The longest that any route gives a request."""
    body_bytes: int
    """The largest body that any route takes."""
    stop_grace_seconds: float


class AppServer(Protocol):
    """What the planner asks of an app server."""

    requirement: str
    """What pip installs where the app's own requirements don't bring it."""
    distributions: tuple[str, ...]
    """Names on the package index that bring this server, such as `pyuwsgi` and `uwsgi`."""
    protocols: tuple[Literal["http", "uwsgi"], ...]
    """What it speaks, the default first."""
    stop_signal: str
    """The signal after which it finishes its requests and ends, such as `TERM`."""

    def check(self, name: str, app: App) -> list[Problem]:
        """What in this app the server can't honour; `path` of each problem starts with `apps.NAME`."""
        ...

    def command(self, app: App, config: str) -> tuple[str, ...]:
        """What an instance runs; `config` is the folder of its rendered files, relative to its working folder.

        It listens on the address in the variable `DEPLOYKIT_SOCKET`: the path of a unix socket, or `host:port`.
        """
        ...

    def files(self, name: str, app: App, limits: Limits) -> tuple[FilePlan, ...]:
        """Its config files, below `apps/NAME/`."""
        ...


REGISTRY: Registry[AppServer] = Registry("deploykit.app_servers")
