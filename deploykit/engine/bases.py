"""Base images: which one is used, whether it can be had, and what is in it. Builds none."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit import disk
from deploykit.engine import connection, containers, registries
from deploykit.engine.labels import Names
from deploykit.errors import EnvironmentLacks, FailureError
from deploykit.nginx_build import modules_folder, parse_build
from deploykit.plan import Build, NginxBuild
from deploykit.runtimes import Stack
from deploykit.spec.model import App, Spec

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

OWN_PYTHON, OWN_NGINX = "deploykit/python", "deploykit/nginx"
BUILD_HINT = "where no registry can be reached: deploykit images build"

ASK_PYTHON = (
    "import json, platform, sys; print(json.dumps({'version': platform.python_version(), "
    "'machine': platform.machine(), 'libc': ' '.join(platform.libc_ver())}))"
)


@dataclass(frozen=True)
class PythonBase:
    """The Python in a base image, as far as it decides which wheels fit."""

    version: str
    """In full, such as `3.11.7`."""
    machine: str
    """Such as `x86_64`."""
    libc: str
    """Such as `glibc 2.36`; empty where it is another."""


def candidates(spec: Spec, app: App, local: tuple[str, ...]) -> tuple[str, ...]:
    """The names of images with Python that would do for an app, the first one wanted most."""
    if spec.images.python:
        return (spec.images.python,)
    if app.python:
        return (f"python:{app.python}-slim", f"{OWN_PYTHON}:{app.python}")
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return (f"python:{here}-slim", f"{OWN_PYTHON}:{here}", *_newest_first(OWN_PYTHON, local))


def nginx_candidates(spec: Spec, local: tuple[str, ...]) -> tuple[str, ...]:
    """The names of images with nginx that would do, the first one wanted most."""
    if spec.images.nginx:
        return (spec.images.nginx,)
    return ("nginx", *_newest_first(OWN_NGINX, local))


def _newest_first(repository: str, local: tuple[str, ...]) -> list[str]:
    own = [name for name in local if name.startswith(f"{repository}:")]
    return sorted(own, key=lambda name: [int(part) for part in re.findall(r"[0-9]+", name)], reverse=True)


def local_names(client: DockerClient) -> tuple[str, ...]:
    """The tags of all images that the Engine has."""
    return tuple(tag for image in client.api.images() for tag in image.get("RepoTags") or () if "<none>" not in tag)


def _is_there(name: str, local: tuple[str, ...]) -> bool:
    if "@" in name or ":" not in name.rpartition("/")[2]:
        return name in local or f"{name}:latest" in local
    return name in local


def reachable(spec: Spec) -> tuple[bool, str]:
    """Whether all base images of a spec are there or can be pulled, and why so; takes seconds and pulls nothing."""
    try:
        client = connection.connect(connection.QUICK_SECONDS)
        with connection.explained("can't ask for the base images"):
            local = local_names(client)
    except FailureError as error:
        return False, error.failure.what
    wanted = [nginx_candidates(spec, local), *(candidates(spec, app, local) for app in spec.apps.values())]
    missing = [names for names in dict.fromkeys(wanted) if not any(_is_there(name, local) for name in names)]
    if not missing:
        return True, "an Engine answers and has the base images"
    for names in missing:
        if not _can_be_pulled(client, names[0]):
            return False, f"the image {names[0]} is not there and can't be pulled; {BUILD_HINT}"
    return True, "an Engine answers and the base images can be pulled"


def _can_be_pulled(client: DockerClient, name: str) -> bool:
    try:
        with connection.explained("can't ask the registry"):
            client.images.get_registry_data(name)
    except FailureError:
        return False
    return True


def obtain(client: DockerClient, names: tuple[str, ...], tell: Callable[[str], None]) -> tuple[str, Image]:
    """The first of these images that is there, else the first one, pulled.

    The name is pinned by digest where the image came from a registry.

    Raises:
        EnvironmentLacks: none is there or can be pulled.
    """
    import docker

    for name in names:
        try:
            image = client.images.get(name)
        except docker.errors.ImageNotFound:
            continue
        return _pinned(name, image), image
    wanted = names[0]
    try:
        image = registries.pull(client, wanted, tell)
    except FailureError as error:
        own = "deploykit images build makes it" if wanted.startswith("deploykit/") else BUILD_HINT
        hint = f"{error.failure.hint}; {own}" if registries.registry_of(wanted) else own
        reason = f"{error.failure.cause} ({error.failure.what})"
        raise EnvironmentLacks(
            f"the image {wanted} is not there and can't be pulled", cause=reason, hint=hint
        ) from None
    return _pinned(wanted, image), image


def _pinned(name: str, image: Image) -> str:
    digest = registries.digest_of(name, image)
    return name if "@" in name or not digest else f"{name}@{digest}"


def pythons(
    client: DockerClient, stack: Stack, spec: Spec, builds: Mapping[str, Build], tell: Callable[[str], None]
) -> tuple[dict[str, str], dict[str, str]]:
    """App name to the image that its releases stand on, and to the version of the Python in it.

    Raises:
        EnvironmentLacks: one is not there and can't be pulled, or has no Python or another one.
    """
    local = local_names(client)
    used = {
        name: obtain(client, candidates(spec, app, local), tell)[0]
        for name, app in spec.apps.items()
        if name not in builds
    }
    versions = {name: python_base(client, stack, image).version for name, image in used.items()}
    used |= {name: build.image for name, build in builds.items()}
    versions |= {name: build.python for name, build in builds.items()}
    refuse_other_python(spec, used, versions)
    return used, versions


def refuse_other_python(spec: Spec, used: Mapping[str, str], pythons: Mapping[str, str]) -> None:
    """Nothing, where each app gets the Python that it asks for.

    Raises:
        EnvironmentLacks: an image has another one.
    """
    for name, app in spec.apps.items():
        if app.python and not f"{pythons[name]}.".startswith(f"{app.python}."):
            raise EnvironmentLacks(
                f"{name} asks for Python {app.python}, and the image {used[name]} has {pythons[name]}",
                hint="change `python:` or `images.python`",
            )


def python_base(client: DockerClient, stack: Stack, name: str) -> PythonBase:
    """The Python in an image; asked once per image.

    Raises:
        EnvironmentLacks: it has none.
    """
    return PythonBase(**_remembered(client, stack, name, "python", _ask_python))


def nginx_build(client: DockerClient, stack: Stack, name: str) -> NginxBuild:
    """The nginx in an image; asked once per image.

    Raises:
        EnvironmentLacks: it has none.
    """
    told = _remembered(client, stack, name, "nginx", _ask_nginx)
    return NginxBuild(tuple(told["version"]), frozenset(told["modules"]), "nginx", tuple(told.get("loadable", ())))


def _remembered(
    client: DockerClient,
    stack: Stack,
    name: str,
    kind: str,
    ask: Callable[[DockerClient, Stack, str], dict[str, Any]],
) -> dict[str, Any]:
    key = f"{kind} {client.images.get(name).id}"
    path: Path = stack.home / "facts.json"
    try:
        known = json.loads(disk.read_regular(path))
        told: dict[str, Any] = {**known[key]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        told = ask(client, stack, name)
        try:
            known = dict(json.loads(disk.read_regular(path)))
        except (OSError, ValueError, TypeError, RecursionError):
            known = {}
        disk.write(path, json.dumps({**known, key: told}, indent=2, sort_keys=True) + "\n")
    return told


def _ask_python(client: DockerClient, stack: Stack, name: str) -> dict[str, Any]:
    said = _said(client, stack, name, ["python3", "-I", "-c", ASK_PYTHON], "Python 3")
    return asdict(PythonBase(**json.loads(said)))


def _ask_nginx(client: DockerClient, stack: Stack, name: str) -> dict[str, Any]:
    said = _said(client, stack, name, ["nginx", "-V"], "nginx")
    folder = modules_folder(said)
    loadable = ""
    if folder:
        with contextlib.suppress(EnvironmentLacks):  # where no module is installed, its folder may not be there either
            loadable = _said(client, stack, name, ["find", folder, "-name", "*.so"], "modules of nginx")
    build = parse_build(said, loadable=tuple(loadable.split()))
    return {"version": build.version, "modules": sorted(build.modules), "loadable": build.loadable}


def _said(client: DockerClient, stack: Stack, name: str, words: list[str], what: str) -> str:
    names = Names(stack)
    # /usr/sbin is where Debian has nginx; the image's own PATH is not ours to trust for a name.
    path = {**containers.ENVIRONMENT, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    wanted = containers.Wanted(name, words, names.labels("question"), environment=path)
    try:
        with connection.explained(f"the image {name} can't run {words[0]}"):
            result = containers.run_once(client, wanted)
    except FailureError as error:
        raise EnvironmentLacks(f"the image {name} has no {what}", cause=error.failure.cause) from error
    if result.exit_code != 0:
        raise EnvironmentLacks(f"the image {name} has no {what} that runs", cause=result.output.strip()[-300:])
    return result.output
