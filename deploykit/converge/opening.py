"""From a path and a target's name to a session: the spec read and checked, the target chosen and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from deploykit.converge.locking import Lock
from deploykit.converge.record import recall
from deploykit.converge.session import Session
from deploykit.plan import TargetName
from deploykit.runtimes import Stack
from deploykit.spec.environments import LOCAL
from deploykit.spec.load import Source, environments_of, find_spec, load_spec, meaning
from deploykit.spec.model import Spec


def read_spec(path: Path | None, environment: str = LOCAL) -> tuple[Spec, Source]:
    """The spec at that path, or the nearest one from here on up, in that environment; shape and meaning checked.

    Raises:
        SpecError: every problem.
    """
    from deploykit import app_servers, frameworks

    spec, origin = load_spec(_found(path), environment)
    meaning(spec, origin, app_servers=app_servers.REGISTRY.names(), frameworks=frameworks.REGISTRY.names())
    return spec, origin


def all_environments(path: Path | None) -> tuple[str, ...]:
    """The names of all environments of that spec, `local` first.

    Raises:
        SpecError: the file can't be read at all.
    """
    return environments_of(_found(path))


def _found(path: Path | None) -> Path:
    return path if path is not None else find_spec(Path.cwd())


def open_stack(
    path: Path | None,
    target: str | None,
    tell: Callable[[str], None],
    environment: str = LOCAL,
    *,
    without_lock: bool = False,
) -> Session:
    """A session on the stack of that spec in that environment, with its target chosen.

    `without_lock` is for who writes the lock file: what is in it is not looked at.

    Raises:
        SpecError: the spec is wrong, or there is no such target or environment.
    """
    spec, origin = read_spec(path, environment)
    stack = Stack(spec.name, origin.path.resolve().parent, environment)
    lock = Lock(spec, origin, ignored=without_lock)
    chosen, why = _choose_target(spec, stack, target, lock, tell)
    return Session(spec, origin, stack, chosen, why, tell, lock)


def _choose_target(
    spec: Spec, stack: Stack, target: str | None, lock: Lock, tell: Callable[[str], None]
) -> tuple[TargetName, str]:
    if target is not None:
        return cast(TargetName, target), ""
    if spec.target is not None:
        return spec.target, ""
    if lock.entry is not None:
        return lock.entry.target, f"as {lock.entry.place} says"
    record = recall(stack, tell)
    if record is not None:
        return record.target, "it is up there"
    from deploykit.engine import base_images_reachable, engine_answers

    if any(app.app_server.socket == "tcp" for app in spec.apps.values()):
        return "process", "an app listens on TCP; --target docker has only unix sockets"
    if why_not := engine_answers():
        return "process", f"{why_not}; --target docker needs an Engine"
    reachable, why = base_images_reachable(spec)
    return ("docker", why) if reachable else ("process", why)
