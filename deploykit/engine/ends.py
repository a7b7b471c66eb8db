"""When and how containers ended by themselves, from what the Engine remembers and from what it says of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deploykit.engine.moments import moment
from deploykit.health import End

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

REMEMBERED_SECONDS = 3600
"""How far back is asked; the Engine itself keeps only its last few hundred events, those of all containers."""


def ends_of(client: DockerClient, containers: Iterable[Container]) -> Mapping[str, tuple[End, ...]]:
    """Container id to each end that is known of it, oldest first; nothing for one that never ended by itself."""
    suspects = {str(each.id): each for each in containers if _has_ended(each)}
    if not suspects:
        return {}
    found: dict[str, list[End]] = {identity: [] for identity in suspects}
    memory: set[str] = set()
    for event in _events(client, list(suspects)):
        identity = str(event["Actor"]["ID"])
        if identity not in found:
            continue
        if event["Action"] == "oom":
            memory.add(identity)
        else:
            code = str(event["Actor"]["Attributes"].get("exitCode", ""))
            at = event["timeNano"] / 1e9
            found[identity].append(End(at, int(code) if code.isdigit() else None, identity in memory))
            memory.discard(identity)
    for identity, container in suspects.items():
        found[identity] = found[identity] or list(_last(container))
        # What the Engine has forgotten came before the rest; of one that is old it does not matter when.
        missing = int(container.attrs.get("RestartCount") or 0) - len(found[identity])
        made = moment(container.attrs.get("Created") or "") or 0.0
        found[identity] = [End(made)] * missing + found[identity]
    return {identity: tuple(its) for identity, its in found.items()}


def _has_ended(container: Container) -> bool:
    return bool(container.attrs.get("RestartCount")) or container.attrs["State"]["Status"] in ("restarting", "exited")


def _last(container: Container) -> Iterable[End]:
    """The last end by what the container itself remembers: how it ended only as long as it does not run again."""
    state = container.attrs["State"]
    at = moment(state.get("FinishedAt") or "")
    if at is not None and at > 0:
        over = state["Status"] != "running"
        yield End(at, int(state["ExitCode"]) if over else None, bool(state.get("OOMKilled")))


def _events(client: DockerClient, identities: list[str]) -> Iterable[Mapping[str, Any]]:
    import docker
    import requests

    now = time.time()
    api: Any = client.api  # its types know no parts of a second
    which = {"type": "container", "event": ["die", "oom"], "container": identities}
    try:
        yield from api.events(since=int(now - REMEMBERED_SECONDS), until=f"{now:.6f}", filters=which, decode=True)
    except (docker.errors.APIError, requests.exceptions.RequestException):
        return
