"""Builds: an app's code with what it needs as one image, the same for every environment; made, pushed and found.

A build has no settings and no secret of an environment, and nothing of the machine that made it: it has the app's
parts, the list of its files and where it comes from in its labels, so that a release can be made of it elsewhere
without the checkout. `deploykit down` removes no build.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit import releases
from deploykit.engine import images, registries
from deploykit.errors import EnvironmentLacks, Problem, SpecError
from deploykit.plan import AppPlan, Build, Origin, Plan
from deploykit.spec.model import Spec

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

BUILD = "deploykit.build"
FILES = "deploykit.files"

Tell = Callable[[str], None]


def name_of(spec: Spec, app: str, build: str) -> str:
    """The name of an app's image in the registry of the spec, or on the Engine where it has none."""
    return f"{spec.images.registry or 'deploykit-build'}/{spec.name}-{app}:{build}"


def make_all(
    client: DockerClient,
    spec: Spec,
    plan: Plan,
    dockerfiles: Mapping[str, str],
    wanted: Mapping[str, Build],
    folder: Path,
    wheels: Mapping[str, Callable[[], Path]],
    tell: Tell,
    *,
    push: bool,
) -> dict[str, tuple[Build, bool]]:
    """App name to its build as an image on the Engine, and in the registry with `push`; whether it had to be made.

    Raises:
        DeployFailed: one could not be built; with the last lines.
    """
    made = {}
    for app in plan.apps:
        name, code = app.name, releases.source_files(app, folder)
        made[name] = make(
            client, spec, app, wanted[name], dockerfiles[name], folder / app.source, code, wheels[name], tell
        )
    if push:
        return {name: (put(client, spec, build, tell), is_new) for name, (build, is_new) in made.items()}
    return made


def make(
    client: DockerClient,
    spec: Spec,
    app: AppPlan,
    wanted: Build,
    dockerfile: str,
    top: Path,
    code: tuple[str, ...],
    wheels: Callable[[], Path],
    tell: Tell,
) -> tuple[Build, bool]:
    """The build as an image on the Engine, and whether it had to be made.

    Raises:
        DeployFailed: it could not be built; with the last lines.
    """
    import docker

    name = name_of(spec, app.name, wanted.id)
    try:
        return _read(client.images.get(name), name), False
    except (docker.errors.ImageNotFound, ValueError):
        pass
    told = {key: value for key, value in asdict(wanted).items() if key not in ("files", "image")}
    labels = {BUILD: json.dumps(told, sort_keys=True), FILES: _packed(wanted.files)}
    owner = {"deploykit.builds": spec.name}
    text = images.labelled(dockerfile, owner, labels)
    images.build_image(client, name, text, {}, top, code, wheels(), lambda line: tell(f"{app.name}: {line}"))
    for left in client.images.list(filters={"label": f"deploykit.builds={spec.name}", "dangling": True}):
        images.remove_image(client, left)
    return _read(client.images.get(name), name), True


def put(client: DockerClient, spec: Spec, build: Build, tell: Tell) -> Build:
    """The same, named by the digest that the registry has it under."""
    name = name_of(spec, build.app, build.id)
    return replace(build, image=f"{registries.split(name)[0]}@{registries.push(client, name, tell)}")


def find(client: DockerClient, spec: Spec, build: str, tell: Tell) -> dict[str, Build]:
    """The builds of that id, app by app, from the Engine or else from the registry.

    Raises:
        EnvironmentLacks: one is not there, or is not what deploykit made.
        SpecError: it does not suit the spec.
    """
    import docker

    found = {}
    for app in spec.apps:
        name = name_of(spec, app, build)
        try:
            image = client.images.get(name)
        except docker.errors.ImageNotFound:
            if not spec.images.registry:
                raise EnvironmentLacks(
                    f"there is no build `{build}` of {app} on this Engine",
                    cause=f"the spec had no app `{app}` then, or it was built on another Engine",
                    hint="`images.registry` is where Engines share them: deploykit build --push",
                ) from None
            image = registries.pull(client, name, tell)
        try:
            found[app] = _read(image, name)
        except ValueError as error:
            raise EnvironmentLacks(f"{name} is no image that `deploykit build` made") from error
    _suit(spec, found)
    return found


def _suit(spec: Spec, builds: Mapping[str, Build]) -> None:
    from deploykit import app_servers

    problems = []
    for name, app in spec.apps.items():
        build = builds[name]
        needed = app_servers.REGISTRY.get(app.app_server.type).requirement
        if build.server != needed:
            what = f"`{app.app_server.type}` is not in the build {build.id}, which has `{build.server}`"
            problems.append(Problem(f"apps.{name}.app_server", what, "build again with this app server"))
        if app.python and not f"{build.python}.".startswith(f"{app.python}."):
            what = f"the build {build.id} has Python {build.python}, not {app.python}"
            problems.append(Problem(f"apps.{name}.python", what, "build again with this Python"))
    if problems:
        raise SpecError(*problems)


def _read(image: Image, name: str) -> Build:
    """The build that an image's labels tell; ValueError where they tell none."""
    try:
        told = json.loads(image.labels[BUILD])
        origin = Origin(**{**told.pop("origin"), "commands": ()})
        digest = registries.digest_of(name, image)
        known = f"{registries.split(name)[0]}@{digest}" if digest else name
        return Build(**told, image=known, files=_unpacked(image.labels[FILES]), origin=origin)
    except (KeyError, TypeError, zlib.error, UnicodeError) as error:
        raise ValueError(f"{name} has no labels of a build") from error


def _packed(files: tuple[str, ...]) -> str:
    return base64.b64encode(zlib.compress("\0".join(files).encode("utf-8", "surrogateescape"), 9)).decode()


def _unpacked(text: str) -> tuple[str, ...]:
    names = zlib.decompress(base64.b64decode(text)).decode("utf-8", "surrogateescape")
    return tuple(names.split("\0")) if names else ()
