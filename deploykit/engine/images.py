"""The image of a release: its build context, the build, its tags and labels. A tag says that it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deploykit import releases
from deploykit.causes import pip_cause
from deploykit.disk import explained as disk_explained
from deploykit.engine import connection
from deploykit.engine.labels import APP, FINGERPRINTS, ORIGIN, PARTS, RELEASE, SETTINGS, Names, Settings, release_of
from deploykit.errors import DeployFailed, Failure
from deploykit.plan import AppPlan, Desired, Release

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

LOG_LINES = 30


def build(
    client: DockerClient, names: Names, desired: Desired, app: AppPlan, wheels: Path | None, tell: Callable[[str], None]
) -> None:
    """There is an image of the release, tagged as unfinished: its commands have not run yet.

    Without `wheels` it is one that is promoted, with code and wheels of its own.

    Raises:
        DeployFailed: the build failed; with its last lines.
    """
    release = desired.releases[app.name]
    files = {file.path.removeprefix(f"apps/{app.name}/"): file.text for file in desired.app_files(app.name)}
    labels = names.labels("release", app.name, release.id) | {
        PARTS: json.dumps(dict(release.parts), sort_keys=True),
        ORIGIN: json.dumps(asdict(release.origin), sort_keys=True),
        FINGERPRINTS: json.dumps(release.secrets, sort_keys=True),
        SETTINGS: Settings.of(app).to_label(),
    }
    dockerfile = labelled(files.pop("Dockerfile"), names.labels("layer", app.name), labels)
    tag = names.unfinished_image(app.name, release.id)
    code = _code(names, app) if wheels is not None else ()
    top = names.stack.folder / app.source
    build_image(client, tag, dockerfile, files, top, code, wheels, lambda line: tell(f"{app.name}: {line}"))


def build_image(
    client: DockerClient,
    tag: str,
    dockerfile: str,
    config: dict[str, str],
    top: Path,
    code: tuple[str, ...],
    wheels: Path | None,
    tell: Callable[[str], None],
) -> None:
    """There is an image of that tag, of the source's code below `top`, wheels and rendered files.

    Raises:
        DeployFailed: the build failed; with its last lines.
    """
    what = f"the image {tag.removesuffix('.unfinished')} could not be built"
    with disk_explained("can't read the source"), tempfile.TemporaryFile() as context:
        _write_context(context, dockerfile, config, top, code, wheels)
        context.seek(0)
        lines: deque[str] = deque(maxlen=LOG_LINES)
        with connection.explained(what):
            stream = client.api.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                rm=True,
                forcerm=True,
                network_mode="none",
                decode=True,
                # The user's proxy settings may hold a password, and the image's history would show it.
                use_config_proxy=False,
            )
            failed = _follow(stream, lines, tell)
    if failed:
        raise DeployFailed(
            Failure(
                what,
                tried=(failed,),
                log_name="the build",
                log_lines=tuple(lines),
                cause=pip_cause(lines),
            )
        )


def _code(names: Names, app: AppPlan) -> tuple[str, ...]:
    return releases.source_files(app, names.stack.folder)


def labelled(dockerfile: str, owner: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """The Dockerfile with its owner right after FROM and all labels at the end.

    With its owner on every layer from the first on, what a killed build leaves is found and removed. The Engine's own
    way to add labels makes a layer of each.
    """
    lines = dockerfile.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return "\n".join([*lines[: first + 1], _label(owner), *lines[first + 1 :], _label(labels)]) + "\n"


def _label(labels: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("$", "\\$")

    return "LABEL " + " ".join(f"{key}={quoted(value)}" for key, value in sorted(labels.items()))


def _write_context(
    out: IO[bytes], dockerfile: str, config: dict[str, str], top: Path, code: tuple[str, ...], wheels: Path | None
) -> None:
    """What the build may see, and nothing else: the Dockerfile, wheels, the release's code and its rendered files."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "Dockerfile", dockerfile.encode())
        archive.addfile(_info("wheels", tarfile.DIRTYPE, 0o755))
        for wheel in sorted(wheels.glob("*.whl")) if wheels is not None else ():
            _add(archive, f"wheels/{wheel.name}", wheel.read_bytes())
        for folder in ("app", "app/code", "app/config"):
            archive.addfile(_info(folder, tarfile.DIRTYPE, 0o755))
        for path, text in sorted(config.items()):
            _add(archive, f"app/config/{path}", text.encode())
        for name in code:
            _add_source(archive, top / name, f"app/code/{name}")


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    # No times, no owner of this machine: the same files give the same layer.
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    import io

    info = _info(name, tarfile.REGTYPE, mode)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _add_source(archive: tarfile.TarFile, path: Path, name: str) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        info = _info(name, tarfile.SYMTYPE, 0o777)
        info.linkname = os.readlink(path)  # noqa: PTH115 -- the text as it is
        archive.addfile(info)
    else:
        # The app's user has to read it, whatever the checkout's owner allows others.
        _add(archive, name, path.read_bytes(), 0o755 if mode & 0o100 else 0o644)


def _follow(stream: Iterator[Any], lines: deque[str], heard: Callable[[str], None]) -> str:
    """The instruction that failed with the reason, empty where none did."""
    instruction = ""
    for event in stream:
        if error := event.get("error"):
            lines += str(error).strip().splitlines()[:1]
            return instruction or "reading the Dockerfile"
        for line in str(event.get("stream", "")).splitlines():
            if line.startswith("Step "):
                instruction = line.partition(" : ")[2]
                if not instruction.startswith("LABEL "):
                    heard(instruction if len(instruction) <= 80 else instruction[:77] + "...")
            elif line.strip() and not line.startswith(" --->") and not line.startswith("Removing intermediate"):
                lines.append(line.rstrip())
    return ""


# --- what there is -------------------------------------------------------------------------------------------------


def find(client: DockerClient, names: Names, app: str, release: str) -> Image | None:
    """The image of a release, finished or not."""
    import docker

    for name in (names.image(app, release), names.unfinished_image(app, release)):
        try:
            image = client.images.get(name)
        except docker.errors.ImageNotFound:
            continue
        names.refuse_foreign("image", name, image.labels)
        return image
    return None


def finish(client: DockerClient, names: Names, app: str, release: str) -> None:
    """The release is whole from now on: its image has the tag that says so."""
    image = client.images.get(names.unfinished_image(app, release))
    image.tag(*names.image(app, release).split(":"))
    client.images.remove(names.unfinished_image(app, release), noprune=True)


def unfinish(client: DockerClient, names: Names, app: str, release: str) -> None:
    """The release is not whole until it is finished again."""
    import docker

    whole = names.image(app, release)
    try:
        image = client.images.get(whole)
    except docker.errors.ImageNotFound:
        return
    image.tag(*names.unfinished_image(app, release).split(":"))
    client.images.remove(whole, noprune=True)


def listed(client: DockerClient, names: Names) -> tuple[dict[str, list[Release]], list[tuple[str, str]]]:
    """The releases that are whole by app, newest first, and (app, release) of those that are not."""
    whole: list[tuple[int, Release]] = []
    half: list[tuple[str, str]] = []
    for image in client.api.images(filters=names.mine):
        labels = image.get("Labels") or {}
        if RELEASE not in labels:
            continue
        try:
            release = release_of(labels)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        tags = image.get("RepoTags") or ()
        if names.image(release.app, release.id) in tags:
            whole.append((image["Created"], release))
        else:
            half.append((labels[APP], labels[RELEASE]))
    found: dict[str, list[Release]] = {}
    for _, release in sorted(whole, key=lambda each: -each[0]):
        found.setdefault(release.app, []).append(release)
    return found, half


def stray_tags(client: DockerClient, names: Names) -> list[str]:
    """Tags that say unfinished of a release that is whole: whoever finished it was killed at that moment."""
    found = []
    for image in client.api.images(filters=names.mine):
        labels, tags = image.get("Labels") or {}, image.get("RepoTags") or ()
        if RELEASE in labels and names.image(labels[APP], labels[RELEASE]) in tags:
            found += [tag for tag in tags if tag == names.unfinished_image(labels[APP], labels[RELEASE])]
    return found


def remove_tag(client: DockerClient, tag: str) -> None:
    """No image has that tag; the image stays, where it has another one."""
    import docker

    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.remove(tag, noprune=True)


def settings(image: Image) -> Settings:
    """What a release has to be run with, as its image says."""
    return Settings.from_label(image.labels[SETTINGS])


def remove(client: DockerClient, names: Names, app: str, release: str, *, keep_layers: bool = False) -> None:
    """No image of that release is left; its layers may stay for the next attempt."""
    for image in client.images.list(filters={"label": [names.mine["label"], f"{APP}={app}", f"{RELEASE}={release}"]}):
        remove_image(client, image, keep_layers)


def remove_all(client: DockerClient, names: Names) -> None:
    """No image of this stack is left."""
    for image in client.images.list(filters=names.mine):
        remove_image(client, image)
    remove_dangling(client, names)


def remove_dangling(client: DockerClient, names: Names) -> None:
    """What a failed or killed build left of its layers is gone."""
    for image in client.images.list(filters={**names.mine, "dangling": True}):
        remove_image(client, image)


def remove_image(client: DockerClient, image: Image, keep_layers: bool = False) -> None:
    """Nothing names the image any more."""
    import docker

    for name in image.tags or [str(image.id)]:
        try:
            client.images.remove(name, force=True, noprune=keep_layers)
        except docker.errors.ImageNotFound:
            continue
