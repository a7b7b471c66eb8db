"""What is written down of releases and of nginx, so that a look at the disk is enough to know what is there.

Anything but what was written whole is none: a damaged `release.json` never makes its release a whole one, and
`is_damaged` tells it from one that was never written. With what nginx runs is rebuilt from its generation's own record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploykit import disk
from deploykit.plan import AppPlan, Origin, Probe, Release
from deploykit.supervision.environments import is_whole
from deploykit.supervision.home import Home

VERSION = 1
_TEXTS = ("app", "id", "environment", "protocol", "socket")


@dataclass(frozen=True)
class ReleaseRecord:
    """`release.json`, written last: without it (or when it can't be read) a release is half built."""

    app: str
    id: str
    parts: Mapping[str, str]
    environment: str
    """Name of its virtual environment."""
    protocol: str
    socket: str
    probe: Probe
    completed: float
    """Seconds since the epoch."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Slot (as text: these are JSON's keys) to the port of its instance; empty with unix sockets."""
    origin: Origin = field(default_factory=Origin)
    secrets: Mapping[str, str] | None = None
    """Variable to the keyed fingerprint of its value; None in a record that is older than these."""

    @property
    def release(self) -> Release:
        return Release(self.app, self.id, self.parts, self.origin, self.secrets)


def release_record(app: AppPlan, release: Release, environment: str) -> ReleaseRecord:
    """What is to be known of a release that is complete now."""
    ports = {str(slot.number): port_of(slot.address) for slot in app.slots} if app.socket == "tcp" else {}
    return ReleaseRecord(
        app=app.name,
        id=release.id,
        parts=dict(release.parts),
        environment=environment,
        protocol=app.protocol,
        socket=app.socket,
        probe=app.probe,
        completed=time.time(),
        ports=ports,
        origin=release.origin,
        secrets=release.secrets,
    )


def port_of(address: str) -> int:
    """The port of `host:port`."""
    return int(address.rpartition(":")[2])


def write_release(home: Home, record: ReleaseRecord) -> None:
    """The release is complete from now on."""
    text = json.dumps({"version": VERSION, **asdict(record)}, indent=2) + "\n"
    disk.write(release_file(home, record.app, record.id), text)


def release_file(home: Home, app: str, release: str) -> Path:
    """Where the record of a release lies."""
    return home.release(app, release) / "release.json"


def is_damaged(home: Home, app: str, release: str) -> bool:
    """Whether a release was whole once, by its record being there, and the record can't be read any more."""
    path = release_file(home, app, release)
    if not os.path.lexists(path):
        return False
    with contextlib.suppress(OSError, ValueError, RecursionError):
        data = json.loads(disk.read_regular(path))
        return not isinstance(data, dict) or data.get("version", VERSION) != VERSION or data.get("id") != release
    return True


def read_release(home: Home, app: str, release: str) -> ReleaseRecord | None:
    """What is known of it; None where it is not complete, or its environment is gone."""
    try:
        data = json.loads(disk.read_regular(release_file(home, app, release)))
        if data.pop("version", VERSION) != VERSION or not all(isinstance(data.get(name), str) for name in _TEXTS):
            return None
        probe = {**data.pop("probe")}
        probe["statuses"] = (int(probe["statuses"][0]), int(probe["statuses"][1]))
        origin = data.pop("origin", {})
        origin = Origin(**{**origin, "commands": tuple(origin.get("commands", ()))})
        record = ReleaseRecord(probe=Probe(**probe), origin=origin, **data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        return None
    whole = record.app == app and record.id == release and is_whole(home.environments / record.environment)
    return record if whole else None


def apps_with_releases(home: Home) -> tuple[str, ...]:
    """Every app that has a folder of releases or of sockets, sorted."""
    found = {path.name for folder in (home.all_releases, home.sockets) for path in _folders(folder)}
    return tuple(sorted(found))


def environments_used(home: Home) -> set[str]:
    """The names of all environments that a release names, whole or not."""
    found = set()
    for app in apps_with_releases(home):
        for name, _ in releases_of(home, app):
            found.add(disk.read_link(home.release(app, name) / "environment").rpartition("/")[2])
    return found


def releases_of(home: Home, app: str) -> Iterator[tuple[str, ReleaseRecord | None]]:
    """Release id to its record, None for one that is half built."""
    for path in _folders(home.releases(app)):
        yield path.name, read_release(home, app, path.name)


def live_release(home: Home, app: str) -> str:
    """The release that `current` and every slot name; empty where they don't agree or there is none."""
    current = disk.read_link(home.current(app))
    if not current or not home.release(app, current).is_dir():
        return ""
    record = read_release(home, app, current)
    if record is not None and record.socket == "tcp":
        # Links that are still there are those of the release before it.
        return current
    with contextlib.suppress(OSError):
        for path in (home.sockets / app).iterdir():
            if path.is_symlink() and path.stem.isdigit() and disk.read_link(path) != f"{current}-{path.stem}.sock":
                return ""
    return current


def _folders(parent: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        found = sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
        yield from (path for path in found if not path.name.startswith("."))


# --- nginx ----------------------------------------------------------------------------------------------------------

MANIFEST = "generation.json"


def write_manifest(folder: Path, generation: str, digests: Mapping[str, str], record: NginxRecord) -> None:
    """The files of this generation are all there; `digests` are by their path in the rendered tree."""
    data = {"generation": generation, "files": dict(sorted(digests.items())), "nginx": asdict(record)}
    disk.write(folder / MANIFEST, json.dumps(data, indent=2) + "\n")


def digests_of(folder: Path) -> dict[str, str]:
    """Path in the rendered tree (`nginx/...`) to SHA-256 of each file that lies there now, but for our own."""
    found = {}
    with contextlib.suppress(OSError):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != MANIFEST:
                found[f"nginx/{path.relative_to(folder)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def whole_generation(folder: Path) -> str:
    """The generation in that folder; empty where its files are not what was written there."""
    data = _read_json(folder / MANIFEST)
    generation, files = data.get("generation"), data.get("files")
    if not isinstance(generation, str) or not isinstance(files, dict) or files != digests_of(folder):
        return ""
    return generation


@dataclass(frozen=True)
class NginxRecord:
    """`nginx/running.json`: with what nginx was started, as far as a reload can't change it."""

    shape: str
    command: str
    host: str
    port: int


def write_nginx(home: Home, record: NginxRecord) -> None:
    """nginx runs like that from now on."""
    disk.write(home.nginx / "running.json", json.dumps(asdict(record), indent=2) + "\n")


def read_nginx(home: Home) -> NginxRecord | None:
    """With what nginx was started last; None where it never was.

    Where that record is damaged it is the one of the generation that `current` names: nginx was reloaded with it last.
    """
    return _nginx_record(_read_json(home.nginx / "running.json")) or staged_nginx(home.nginx / "current")


def staged_nginx(folder: Path) -> NginxRecord | None:
    """With what the generation in that folder was to be run when it was staged; None where nobody wrote it down."""
    data = _read_json(folder / MANIFEST).get("nginx")
    return _nginx_record(data) if isinstance(data, dict) else None


def _nginx_record(data: Mapping[str, Any]) -> NginxRecord | None:
    try:
        return NginxRecord(str(data["shape"]), str(data["command"]), str(data["host"]), int(data["port"]))
    except (KeyError, TypeError, ValueError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(disk.read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
