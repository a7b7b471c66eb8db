"""What a release is made of, from an Engine to a folder here: its code as it serves, and its wheels."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deploykit.engine import images, instances, volumes
from deploykit.engine.labels import CODE, Names

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

WHEELS = "/srv/wheels"


def export(client: DockerClient, names: Names, app: str, release: str, into: Path) -> None:
    """The release's code, without the data of its volumes, is in `into/code`, its wheels are in `into/wheels`."""
    image = instances.image_of(client, names, app, release)
    has_commands = images.settings(image).has_commands
    mounts = [volumes.mount(names, names.code(app, release), CODE, read_only=True)] if has_commands else []
    with volumes.opened(client, names, str(image.id), mounts) as container:
        _extract(container, CODE, into / "code")
        _extract(container, WHEELS, into / "wheels")


def _extract(container: Container, folder: str, into: Path) -> None:
    """The files, folders and links below a folder of a container; links come last: nothing goes through one."""
    stream, _ = container.get_archive(folder)
    links = []
    into.mkdir(parents=True)
    with tempfile.TemporaryFile() as spool:
        for chunk in stream:
            spool.write(chunk)
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts[1:]
                if not parts or ".." in parts:
                    continue
                path = into.joinpath(*parts)
                content = archive.extractfile(member) if member.isfile() else None
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif member.issym():
                    links.append((path, member.linkname))
                elif content is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    path.chmod(0o755 if member.mode & 0o100 else 0o644)
    for path, target in links:
        os.symlink(target, path)  # noqa: PTH211 -- as it stands there, a string
