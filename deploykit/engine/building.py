"""A release made whole: its secrets, its image, its commands, the files that nginx serves of it; and taken apart."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deploykit import secrets
from deploykit.causes import likely_cause
from deploykit.engine import containers, images, instances, volumes
from deploykit.engine.labels import APP, APP_ID, CODE, KEEP, PREFIX, RELEASE, ROLE, SECRETS, Names
from deploykit.errors import DeployFailed, Failure
from deploykit.plan import AppPlan, Desired

if TYPE_CHECKING:
    from docker import DockerClient

Tell = Callable[[str], None]
LAST_LINES = 20
MOST_SLOTS = 64


def prepare_network(client: DockerClient, names: Names) -> None:
    """There is a network of this stack.

    Raises:
        EnvironmentLacks: another stack has one of this name.
    """
    for found in client.api.networks(names=[names.network]):
        if found["Name"] == names.network:
            names.refuse_foreign("network", names.network, found.get("Labels"))
            return
    client.networks.create(names.network, driver="bridge", labels=names.labels("network"))


def prepare_volumes(client: DockerClient, names: Names, desired: Desired) -> None:
    """There are nginx's volume and those of each app, each with its owner and mode.

    Raises:
        EnvironmentLacks: another stack has one of these names.
    """
    image = desired.plan.facts.images["nginx"]
    made = [(names.nginx_files, f"{PREFIX}/nginx", 0o755, names.labels("configuration"))]
    for app in desired.plan.apps:
        made += [
            # Only the app and its group, which nginx is in, reach the sockets.
            (names.sockets(app.name), f"{PREFIX}/run/{app.name}", 0o750, names.labels("sockets", app.name)),
            (names.secrets(app.name), SECRETS, 0o700, names.labels("secrets", app.name)),
            (names.served(app.name), f"{PREFIX}/releases/{app.name}", 0o755, names.labels("served", app.name)),
        ]
        for volume in app.volumes:
            labels = names.labels("volume", app.name, **{KEEP: volume})
            made.append((names.volume(app.name, volume), f"{PREFIX}/volumes/{app.name}/{volume}", 0o750, labels))
    for volume, path, mode, labels in made:
        if volumes.ensure_volume(client, names, volume, labels):
            own_root(client, names, image, volume, path, mode)


def own_root(client: DockerClient, names: Names, image: str, volume: str, path: str, mode: int) -> None:
    """The root of a volume is the app's, with that mode; a fresh one would be root's, 0755."""
    folder, _, name = path.rpartition("/")
    with volumes.opened(client, names, image, [volumes.mount(names, volume, path)]) as container:
        volumes.put(container, folder, [volumes.Entry(name, mode=mode)])


def build(
    client: DockerClient,
    names: Names,
    desired: Desired,
    app: AppPlan,
    values: Mapping[str, str],
    wheels: Callable[[], Path | None],
    tell: Tell,
) -> str:
    """The release's secrets and image are there; its commands have not run.

    Raises:
        DeployFailed: the build failed.
    """
    release = desired.releases[app.name].id
    prepare_volumes(client, names, desired)
    said = "image is there"
    if images.find(client, names, app.name, release) is None:
        images.build(client, names, desired, app, wheels(), tell)
        said = "image built"
    # Only once an image says that there is such a release: what a killed run leaves is found by it.
    write_secrets(client, names, desired.plan.facts.images["nginx"], app.name, release, values)
    # An interrupted run left it, or a volume was lost: it is not whole before its commands have run again.
    images.unfinish(client, names, app.name, release)
    return said


def write_secrets(
    client: DockerClient, names: Names, image: str, app: str, release: str, values: Mapping[str, str]
) -> None:
    """The release's secrets are in a file that only its user can read, in a volume that only its containers have."""
    folder, _, name = SECRETS.rpartition("/")
    entries = [volumes.Entry(name, mode=0o700), volumes.Entry(f"{name}/{release}", secrets.encode(values), 0o600)]
    with volumes.opened(client, names, image, [volumes.mount(names, names.secrets(app), SECRETS)]) as container:
        volumes.put(container, folder, entries)


def run_commands(client: DockerClient, names: Names, app: AppPlan, release: str, tell: Tell) -> str:
    """The release's commands have run, nginx has its static files, and it is whole from now on.

    Raises:
        DeployFailed: a command failed; with its last lines.
    """
    image = instances.image_of(client, names, app.name, release)
    if app.release_commands:
        _fill(client, names, app, release, str(image.id))
    for words in app.release_commands:
        tell(f"{app.name}: {shlex.join(words)}")
        wanted = instances.wanted(
            names, image, app.name, release, "command", containers.one_off_command(words), fills=True
        )
        result = containers.run_once(client, wanted)
        if result.exit_code != 0:
            lines = tuple(result.output.splitlines()[-LAST_LINES:])
            raise DeployFailed(
                Failure(
                    f"the release command `{shlex.join(words)}` of {app.name} failed with exit code {result.exit_code}",
                    log_name="the command",
                    log_lines=lines,
                    cause=_command_cause(lines),
                )
            )
    count = publish(client, names, app, release, str(image.id))
    images.finish(client, names, app.name, release)
    said = " · ".join(shlex.join(words) for words in app.release_commands) or "nothing to run"
    return f"{said}, {count} static {'file' if count == 1 else 'files'}" if app.static_folders else said


def _command_cause(lines: tuple[str, ...]) -> str:
    if any("Read-only file system" in line for line in lines):
        return "it wrote outside of its code, `volumes` and /tmp: nothing else can be changed"
    return likely_cause(lines)


def _fill(client: DockerClient, names: Names, app: AppPlan, release: str, image: str) -> None:
    """The release's code is in a volume of its own, where its commands may change it; its instances can't."""
    volume = names.code(app.name, release)
    volumes.ensure_volume(client, names, volume, names.labels("code", app.name, release))
    with volumes.opened(client, names, image, [volumes.mount(names, volume, "/srv/code")]) as container:
        with tempfile.TemporaryFile() as out:
            _copied(container, CODE, "code", out)
            out.seek(0)
            container.put_archive("/srv", out)
        # Where volumes of the spec are mounted, in what can't be changed by then.
        folders = {path[: match.start()] for path in app.volumes.values() for match in re.finditer("/|$", path)}
        volumes.put(container, "/srv/code", [volumes.Entry(path, mode=0o755) for path in sorted(folders) if path])


def publish(client: DockerClient, names: Names, app: AppPlan, release: str, image: str) -> int:
    """nginx's volume has the release's static folders; how many files these are."""
    settings = images.settings(client.images.get(image))
    served = f"{PREFIX}/releases/{app.name}"
    mounts = instances.mounts(names, app.name, release, settings)
    mounts.append(volumes.mount(names, names.served(app.name), served))
    count = 0
    with volumes.opened(client, names, image, mounts) as container:
        folders = [volumes.Entry(release, mode=0o755), volumes.Entry(f"{release}/code", mode=0o755)]
        volumes.put(container, served, folders)
        for folder in settings.static_folders:
            with tempfile.TemporaryFile() as out:
                count += _copied(container, f"{CODE}/{folder}", f"{release}/code/{folder}", out)
                out.seek(0)
                container.put_archive(served, out)
    return count


def _copied(container: Any, folder: str, to: str, out: IO[bytes]) -> int:
    """A folder of a container as a tar below another path, readable by all; how many files."""
    import docker

    count = 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        parts = to.split("/")
        for depth in range(1, len(parts) + 1):
            above = tarfile.TarInfo("/".join(parts[:depth]))
            above.type, above.mode, above.uid, above.gid = tarfile.DIRTYPE, 0o755, APP_ID, APP_ID
            archive.addfile(above)
        try:
            stream, _ = container.get_archive(folder)
        except docker.errors.NotFound:
            return 0
        with tempfile.TemporaryFile() as spool:
            for chunk in stream:
                spool.write(chunk)
            spool.seek(0)
            with tarfile.open(fileobj=spool) as source:
                for member in source:
                    inside = member.name.partition("/")[2]
                    if not inside or not (member.isfile() or member.isdir() or member.issym()):
                        continue
                    info = tarfile.TarInfo(f"{to}/{inside}")
                    info.type, info.size, info.linkname = member.type, member.size, member.linkname
                    info.mtime = member.mtime
                    info.uid = info.gid = APP_ID
                    info.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                    archive.addfile(info, source.extractfile(member) if member.isfile() else io.BytesIO())
                    count += member.isfile()
    return count


def switch(client: DockerClient, names: Names, app: AppPlan, release: str, previous: str, image: str) -> str:
    """The app's slots and `current` name that release, and `previous` the one before, each by one rename."""
    run, served = f"{PREFIX}/run/{app.name}", f"{PREFIX}/releases/{app.name}"
    links = [(f"{run}/{slot.number}.sock", f"{release}-{slot.number}.sock") for slot in app.slots]
    mounts = [volumes.mount(names, names.sockets(app.name), run), volumes.mount(names, names.served(app.name), served)]
    # `previous` before `current` leaves it, or its files were gone for a moment.
    before = [(f"{served}/previous", previous)] if previous else []
    gone = [] if previous else [f"{served}/previous"]
    links = [*before, *links, (f"{served}/current", release)]
    volumes.change(client, names, image, mounts, remove=gone, links=links)
    return f"{release} serves"


def discard(
    client: DockerClient, names: Names, app: str, release: str, image: str, *, keep_layers: bool = False
) -> str:
    """Nothing of a release is left: its containers, image, files and secrets.

    It is not whole any more from the first moment on, and its image goes last: so what a killed one leaves is found.
    """
    images.unfinish(client, names, app, release)
    for container in instances.found(client, names, app, release=release):
        containers.remove(container)
    end_probes(client, names)
    label = [names.mine["label"], f"{APP}={app}"]
    there = {each["Name"] for each in client.api.volumes(filters={"label": label}).get("Volumes") or []}
    paths = {
        names.served(app): (f"{PREFIX}/releases/{app}", [release]),
        names.secrets(app): (SECRETS, [release]),
        names.sockets(app): (f"{PREFIX}/run/{app}", [f"{release}-{slot}.sock" for slot in range(1, MOST_SLOTS + 1)]),
    }
    kept = {volume: what for volume, what in paths.items() if volume in there}
    if kept:
        volumes.change(
            client,
            names,
            image,
            [volumes.mount(names, volume, path) for volume, (path, _) in kept.items()],
            remove=[f"{path}/{name}" for path, each in kept.values() for name in each],
        )
    for found in client.api.volumes(filters={"label": [*label, f"{RELEASE}={release}"]}).get("Volumes") or []:
        client.api.remove_volume(found["Name"], force=True)
    images.remove(client, names, app, release, keep_layers=keep_layers)
    return "removed"


def end_probes(client: DockerClient, names: Names) -> None:
    """No probe holds an image; whoever needs one starts another."""
    label = [names.mine["label"], f"{ROLE}=probe"]
    for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        containers.remove(container)


def drop_volumes(client: DockerClient, names: Names, app: str) -> None:
    """Of an app that is no more, only the data stays; what a release of it still needs stays too."""
    import docker

    filters = {"label": [names.mine["label"], f"{APP}={app}"]}
    if any(RELEASE in (image.get("Labels") or {}) for image in client.api.images(filters=filters)):
        return
    for found in client.api.volumes(filters=filters).get("Volumes") or []:
        if KEEP not in (found.get("Labels") or {}):
            with contextlib.suppress(docker.errors.APIError):  # a container that is about to go has it
                client.api.remove_volume(found["Name"])
