"""Files and links in an Engine's volumes, through its API alone: no folder of this machine is ever mounted.

What is put there goes as a tar into a container that was created and never runs; what has to happen from one
moment to the next (links, removals) is a short script in a container without network.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.engine import containers
from deploykit.engine.labels import APP_ID, KEEP, ROLE, Names
from deploykit.errors import DeployFailed, Failure

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

SCRIPT = """
import json, os, shutil, sys
work = json.loads(sys.argv[1])
for path in work["remove"]:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
for path, target in work["links"]:
    part = path + ".part"
    if os.path.lexists(part):
        os.unlink(part)
    os.symlink(target, part)
    os.replace(part, path)
for folder, keep in work["only"]:
    for name in os.listdir(folder):
        if name not in keep:
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
"""
"""Links are renamed into their place, so that nobody ever finds none."""


RESTORED = "restored"
"""Role of a volume that the Engine made by itself, because a container wanted it."""


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of a tar."""

    path: str
    data: bytes | None = None
    """None for a folder or link."""
    mode: int = 0o644
    link: str = ""


def tar(entries: Iterable[Entry], owner: int = APP_ID) -> bytes:
    """The entries as a tar; the same for the same entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode, info.uid, info.gid = entry.mode, owner, owner
            if entry.link:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            elif entry.data is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data or b""))
    return buffer.getvalue()


def ensure_volume(client: DockerClient, names: Names, name: str, labels: Mapping[str, str]) -> bool:
    """There is such a volume of this stack; whether it was made now, so that it has no owner yet.

    Raises:
        EnvironmentLacks: it is somebody else's.
    """
    import docker

    try:
        found = client.volumes.get(name)
    except docker.errors.NotFound:
        client.volumes.create(name, labels=dict(labels))
        return True
    names.refuse_foreign("volume", name, found.attrs.get("Labels"))
    if found.attrs["Labels"].get(ROLE) != RESTORED:
        return False
    with contextlib.suppress(docker.errors.APIError):  # a container has it already; then it only lacks its owner
        found.remove()
        client.volumes.create(name, labels=dict(labels))
    return True


def mount(names: Names, volume: str, path: str, *, read_only: bool = False, keep: str = "") -> Any:
    """A volume at a path; an empty one stays empty, whatever the image has there. `keep` is its name in the spec."""
    from docker.types import Mount

    # Where somebody removed the volume meanwhile, the Engine makes it again, and it must not be nobody's.
    labels = names.labels(RESTORED, **({KEEP: keep} if keep else {}))
    return Mount(path, volume, type="volume", read_only=read_only, no_copy=True, labels=labels)


@contextlib.contextmanager
def opened(client: DockerClient, names: Names, image: str, mounts: list[Any]) -> Iterator[Container]:
    """A container that was only created: the volumes can be written and read through it."""
    container = containers.create(
        client, containers.Wanted(image, ["true"], names.labels("store"), mounts=mounts, writable=True)
    )
    try:
        yield container
    finally:
        containers.remove(container)


def put(container: Container, folder: str, entries: Iterable[Entry], owner: int = APP_ID) -> None:
    """The entries are below that folder of the container, with their owner and modes.

    A folder's own owner and mode are changed by an entry for it in the tar of the folder above.
    """
    if not container.put_archive(folder, tar(entries, owner)):
        raise DeployFailed(f"the Engine did not take files for {folder}")


def change(
    client: DockerClient,
    names: Names,
    image: str,
    mounts: list[Any],
    *,
    links: Iterable[tuple[str, str]] = (),
    remove: Iterable[str] = (),
    only: Iterable[tuple[str, Iterable[str]]] = (),
) -> None:
    """Removes paths, moves links by renames, then removes from each folder of `only` all but the names to keep.

    Raises:
        DeployFailed: the script failed; with what it said.
    """
    work = {"links": list(links), "remove": list(remove), "only": [(at, list(keep)) for at, keep in only]}
    words = ["python3", "-I", "-S", "-c", SCRIPT, json.dumps(work)]
    result = containers.run_once(client, containers.Wanted(image, words, names.labels("hands"), mounts=mounts))
    if result.exit_code != 0:
        said = tuple(result.output.splitlines()[-10:])
        raise DeployFailed(Failure("files in the volumes could not be changed", log_name="the script", log_lines=said))


def read(container: Container, folder: str) -> dict[str, bytes]:
    """Each file below a folder of a container, by its path relative to it; empty where there is no such folder."""
    import docker

    try:
        stream, _ = container.get_archive(folder)
    except docker.errors.NotFound:
        return {}
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name.partition("/")[2]] = content.read()
    return files


def link_target(client: DockerClient, container: Container, path: str) -> str:
    """The last part of what a link in a container names; empty where there is no link."""
    import docker

    api = client.api
    answer = api.head(f"{api.base_url}/v{api.api_version}/containers/{container.id}/archive", params={"path": path})
    if answer.status_code == 404:
        return ""
    if not answer.ok:
        raise docker.errors.APIError(f"{answer.status_code} for {path}", response=answer)
    told = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    # The Engine resolves a relative link against its folder; ours name something beside them.
    return str(told.get("linkTarget") or "").rpartition("/")[2]
