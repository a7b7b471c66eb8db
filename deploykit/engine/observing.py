"""What an Engine has of a stack, by label only: one snapshot, nothing is changed by looking."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from deploykit.engine import images, maker, volumes
from deploykit.engine.containers import exchange, probe_request, ran
from deploykit.engine.ends import ends_of
from deploykit.engine.labels import APP, MAKER, PREFIX, RELEASE, ROLE, SETTINGS, SHAPE, SLOT, Names, Settings
from deploykit.engine.moments import moment
from deploykit.errors import DeployFailed, EnvironmentLacks
from deploykit.health import End, told, why_unhealthy
from deploykit.plan import Member, NginxSeen, Observed, Release

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

MANIFEST = "manifest.json"
"""In each generation's folder: the digest of each of its files, and how nginx's container has to be."""

STATES: Mapping[str, Literal["starting", "running", "stopped", "failed"]] = {
    "running": "running",
    "restarting": "failed",
    "dead": "failed",
    "exited": "stopped",
    "paused": "stopped",
    "created": "stopped",
    "removing": "stopped",
}


@dataclass(frozen=True)
class Seen:
    """The containers of a stack, by what they are for."""

    instances: tuple[Container, ...] = ()
    nginx: Container | None = None
    others: tuple[Container, ...] = ()
    """What was left behind: spare nginxes, containers of changes that were cut off."""
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name to labels."""
    networks: tuple[str, ...] = ()


def look(client: DockerClient, names: Names) -> Seen:
    """The containers, volumes and networks with this stack's id."""
    instances, others = [], []
    nginx = None
    for container in client.containers.list(all=True, filters=names.mine, ignore_removed=True):
        role = container.labels.get(ROLE)
        if role == "instance":
            instances.append(container)
        elif role == "nginx" and container.name == names.nginx:
            nginx = container
        elif role == "nginx" or MAKER not in container.labels or maker.has_ended(container.labels[MAKER]):
            # Any other belongs to a deploykit that is at work, and is removed by it.
            others.append(container)
    found = client.api.volumes(filters=names.mine).get("Volumes") or []
    return Seen(
        instances=tuple(sorted(instances, key=lambda each: str(each.name))),
        nginx=nginx,
        others=tuple(others),
        volumes={each["Name"]: each.get("Labels") or {} for each in found},
        networks=tuple(str(each["Name"]) for each in client.api.networks(filters=names.mine)),
    )


def observe(client: DockerClient, names: Names, told: Callable[[Container], str], probes: bool) -> Observed:
    """The snapshot; `told` asks a running nginx for its generation. Without `probes`, nobody's memory is asked either.

    All are asked side by side: the Engine takes a second to tell a container's memory.
    """
    seen = look(client, names)
    ends = ends_of(client, seen.instances) if probes else {}
    with ThreadPoolExecutor(16) as pool:
        generation = pool.submit(told, seen.nginx) if seen.nginx and seen.nginx.status == "running" else None
        front = pool.submit(_nginx, client, seen.nginx, probes)
        members = tuple(pool.map(lambda each: member(each, probes, ends.get(str(each.id), ())), seen.instances))
        nginx = replace(front.result(), live=generation.result() if generation else "")
        files = _released(seen.nginx)
    complete, half = images.listed(client, names)
    complete, gone = _with_volumes(names, complete, seen)
    half += gone + _leftovers(seen, files, complete, half)
    apps = {labels[APP] for labels in seen.volumes.values() if APP in labels} | set(complete) | {m.app for m in members}
    return Observed(
        members=tuple(sorted(members, key=lambda each: (each.app, each.slot))),
        complete={app: tuple(found) for app, found in complete.items()},
        incomplete=tuple(sorted(set(half))),
        live=live_releases(client, names, seen, members, apps),
        previous=previous_releases(client, seen, apps),
        nginx=nginx,
        orphans=(*(str(each.name) for each in seen.others), *images.stray_tags(client, names)),
        base_ready=names.network in seen.networks and names.nginx_files in seen.volumes,
        apps_known=tuple(sorted(apps)),
    )


def _with_volumes(
    names: Names, complete: dict[str, list[Release]], seen: Seen
) -> tuple[dict[str, list[Release]], list[tuple[str, str]]]:
    """Releases whose app has lost a volume that holds a part of them are not whole any more."""
    whole: dict[str, list[Release]] = {}
    gone: list[tuple[str, str]] = []
    for app, found in complete.items():
        needed = {names.secrets(app), names.served(app), names.sockets(app)}
        if needed <= set(seen.volumes):
            whole[app] = found
        else:
            gone += [(app, release.id) for release in found]
    return whole, gone


def _leftovers(
    seen: Seen,
    files: set[tuple[str, str]],
    complete: Mapping[str, list[Release]],
    half: list[tuple[str, str]],
) -> list[tuple[str, str]]:
    """(app, release) of volumes and static files whose release has no image."""
    known = {(release.app, release.id) for found in complete.values() for release in found} | set(half)
    owners = {(labels[APP], labels[RELEASE]) for labels in seen.volumes.values() if RELEASE in labels}
    return sorted((owners | files) - known)


def _released(nginx: Container | None) -> set[tuple[str, str]]:
    """(app, release) of the static files that a running nginx has; none where nobody can be asked."""
    import docker

    if nginx is None or nginx.status != "running":
        return set()
    words = ["find", f"{PREFIX}/releases", "-mindepth", "2", "-maxdepth", "2", "-type", "d", "-printf", "%P\\n"]
    try:
        code, output, _ = ran(nginx, words)
    except docker.errors.APIError:  # it ended just now
        return set()
    found = [line.split("/") for line in output.decode().splitlines()] if code == 0 else []
    return {(app, release) for app, release in found}


def member(container: Container, probes: bool, ends: Sequence[End]) -> Member:
    """One instance as it is; `ends` are the times that it ended by itself."""
    labels = container.labels
    state = container.attrs["State"]
    running = state["Status"] == "running"
    asked = probes and running
    why = why_unwell(container) if asked else ""
    seen, since = told(ends, time.time(), why) if probes else ("", None)
    return Member(
        app=labels[APP],
        slot=int(labels[SLOT]),
        release=labels[RELEASE],
        state=STATES.get(state["Status"], "failed"),
        healthy=not why if asked else None,
        since=moment(state["StartedAt"]) if running else None,
        restarts=int(container.attrs.get("RestartCount") or 0),
        memory_bytes=_memory(container) if asked else None,
        seen=seen,
        unwell_since=since,
        address=f"unix:run/{labels[APP]}/{labels[SLOT]}.sock",
    )


def why_unwell(container: Container) -> str:
    """What an instance does instead of answering the probe that it was started with; empty where it answers."""
    import docker

    try:
        settings = Settings.from_label(container.labels.get(SETTINGS, ""))
    except EnvironmentLacks:
        return "has lost its settings"
    socket = socket_path(container.labels[APP], container.labels[RELEASE], int(container.labels[SLOT]))
    try:
        (answer,) = exchange(container, [probe_request(settings.probe, settings.protocol, socket)])
    except (DeployFailed, docker.errors.APIError):
        return "can't be asked"
    return why_unhealthy(settings.probe, answer)


def socket_path(app: str, release: str, slot: int) -> str:
    """Where an instance listens, as it and nginx see it."""
    return f"{PREFIX}/run/{app}/{release}-{slot}.sock"


def _memory(container: Container) -> int | None:
    """What the container's cgroup holds, without files that the kernel may drop: as `docker stats` counts."""
    import docker

    try:
        told: Any = container.stats(stream=False, one_shot=True)
        memory = told.get("memory_stats") or {}
    except docker.errors.APIError:
        return None
    details = memory.get("stats") or {}
    cached = details.get("inactive_file", details.get("total_inactive_file", 0))
    usage = memory.get("usage")
    return None if usage is None else max(0, int(usage) - int(cached))


def live_releases(
    client: DockerClient, names: Names, seen: Seen, members: tuple[Member, ...], apps: set[str]
) -> dict[str, str]:
    """App to the release that `current` and the slots of its instances name; nginx's container shows the links."""
    if seen.nginx is None:
        return {}
    live = {}
    for app in apps:
        release = volumes.link_target(client, seen.nginx, f"{PREFIX}/releases/{app}/current")
        slots = {each.slot for each in members if each.app == app and each.release == release}
        targets = {slot: volumes.link_target(client, seen.nginx, f"{PREFIX}/run/{app}/{slot}.sock") for slot in slots}
        if release and all(target == f"{release}-{slot}.sock" for slot, target in targets.items()):
            live[app] = release
    return live


def previous_releases(client: DockerClient, seen: Seen, apps: set[str]) -> dict[str, str]:
    """App to the release that served before, whose hashed files are still answered."""
    if seen.nginx is None:
        return {}
    links = {app: volumes.link_target(client, seen.nginx, f"{PREFIX}/releases/{app}/previous") for app in apps}
    return {app: release for app, release in links.items() if release}


def _nginx(client: DockerClient, container: Container | None, probes: bool) -> NginxSeen:
    if container is None:
        return NginxSeen()
    state = container.attrs["State"]
    running = state["Status"] == "running"
    return NginxSeen(
        state="running" if running else "stopped",
        on_disk=generation_on_disk(client, container),
        shape=container.labels.get(SHAPE, ""),
        since=moment(state["StartedAt"]) if running else None,
        restarts=int(container.attrs.get("RestartCount") or 0),
        memory_bytes=_memory(container) if probes and running else None,
    )


def generation_on_disk(client: DockerClient, container: Container) -> str:
    """The generation that `current` names, empty where its files are not what was written."""
    generation = volumes.link_target(client, container, f"{PREFIX}/nginx/current")
    if not generation:
        return ""
    files = volumes.read(container, f"{PREFIX}/nginx/{generation}")
    try:
        written = json.loads(files.pop(MANIFEST))["files"]
    except (KeyError, ValueError, TypeError):
        return ""
    return generation if written == digests(files) else ""


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Path to SHA-256 of the content, hex."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
