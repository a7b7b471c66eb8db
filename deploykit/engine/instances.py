"""The containers of an app's releases: instances that serve, and one-offs in the same environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploykit import draining
from deploykit.engine import connection, containers, images, observing, volumes
from deploykit.engine.labels import (
    APP,
    CODE,
    PREFIX,
    RELEASE,
    ROLE,
    SECRETS,
    SETTINGS,
    SLOT,
    Names,
    Settings,
)
from deploykit.errors import DeployFailed, EnvironmentLacks
from deploykit.health import READ_LINES, failure
from deploykit.plan import AppPlan, Probe

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.images import Image


UNKNOWN_GRACE_SECONDS = 60
"""The patience where the label of an instance can't be read."""


def image_of(client: DockerClient, names: Names, app: str, release: str) -> Image:
    """The image of a release.

    Raises:
        EnvironmentLacks: it is not there any more.
    """
    image = images.find(client, names, app, release)
    if image is None:
        raise EnvironmentLacks(f"the release {release} of {app} is not there", hint="deploykit up builds it again")
    return image


def mounts(names: Names, app: str, release: str, settings: Settings, *, fills: bool = False) -> list[Any]:
    """What an instance of a release sees; with `fills`, its code may be written."""
    found = [
        volumes.mount(names, names.sockets(app), f"{PREFIX}/run/{app}"),
        volumes.mount(names, names.secrets(app), SECRETS, read_only=True),
    ]
    if settings.has_commands:
        found.append(volumes.mount(names, names.code(app, release), CODE, read_only=not fills))
    for each, path in settings.volumes.items():
        found.append(volumes.mount(names, names.volume(app, each), f"{CODE}/{path}", keep=each))
    # A folder inside a folder is mounted after it.
    return sorted(found, key=lambda each: str(each["Target"]))


def wanted(
    names: Names, image: Image, app: str, release: str, role: str, command: Sequence[str], *, fills: bool = False
) -> containers.Wanted:
    """A container in the environment of a release; its secrets come from a file that only its user can read."""
    settings = images.settings(image)
    return containers.Wanted(
        str(image.id),
        command,
        names.labels(role, app, release),
        mounts=mounts(names, app, release, settings, fills=fills),
        network=names.network,
        working_dir=CODE,
        environment={
            **containers.ENVIRONMENT,
            "DEPLOYKIT_STACK": names.stack.id,
            "DEPLOYKIT_SECRETS": f"{SECRETS}/{release}",
        },
        stop_signal=f"SIG{settings.stop_signal.removeprefix('SIG')}",
        stop_seconds=stop_seconds(settings),
        most_processes=settings.most_processes,
    )


def start(client: DockerClient, names: Names, app: str, slot: int, release: str, plan: AppPlan | None) -> str:
    """One instance runs and is healthy; nginx does not know it yet.

    `plan` says how it is asked, where the spec still has the app.

    Raises:
        DeployFailed: it did not become healthy; its container is gone.
    """
    image = image_of(client, names, app, release)
    settings = images.settings(image)
    probe = plan.probe if plan is not None else settings.probe
    settings = replace(settings, probe=probe)
    name = names.instance(app, slot, release)
    remove_by_name(client, names, name)
    socket = observing.socket_path(app, release, slot)
    base = wanted(names, image, app, release, "instance", containers.instance_command())
    container = containers.create(
        client,
        replace(
            base,
            name=name,
            labels={**base.labels, SLOT: str(slot), SETTINGS: settings.to_label()},
            environment={**base.environment, "DEPLOYKIT_SOCKET": socket},
            restart=True,
        ),
    )
    began = time.monotonic()
    try:
        with connection.explained(f"{app}-{slot} could not be started"):
            container.start()
            _require_healthy(container, app, slot, release, probe, settings)
    except BaseException:
        containers.remove(container)
        raise
    return f"healthy after {time.monotonic() - began:.1f} s"


def _require_healthy(container: Container, app: str, slot: int, release: str, probe: Probe, settings: Settings) -> None:
    request = containers.probe_request(probe, settings.protocol, observing.socket_path(app, release, slot))
    unhealthy = containers.wait_healthy(container, request, probe)
    if unhealthy is not None:
        ended, answer = unhealthy
        lines = containers.last_lines(container, READ_LINES)
        raise DeployFailed(failure(f"{app}-{slot}", probe, ended, answer, str(container.name), lines))


def remove_by_name(client: DockerClient, names: Names, name: str) -> None:
    """No container of that name is left.

    Raises:
        EnvironmentLacks: it is somebody else's.
    """
    import docker

    try:
        found = client.containers.get(name)
    except docker.errors.NotFound:
        return
    names.refuse_foreign("container", name, found.labels)
    containers.remove(found)


def stop_all(
    client: DockerClient,
    names: Names,
    which: tuple[str, int, str],
    nginx: Container | None,
    tell: Callable[[str], None],
) -> str:
    """The instances of that app, slot and release have finished their requests and are gone; how long that took."""
    began = time.monotonic()
    for container in found(client, names, *which):
        stop(container, nginx, tell)
    return f"ended after {time.monotonic() - began:.1f} s"


def stop(container: Container, nginx: Container | None, tell: Callable[[str], None]) -> None:
    """The instance has finished its requests and is gone; what is still open meanwhile is told."""
    try:
        settings = Settings.from_label(container.labels.get(SETTINGS, ""))
        grace, seconds = settings.stop_grace_seconds, stop_seconds(settings)
    except EnvironmentLacks:
        grace, seconds = UNKNOWN_GRACE_SECONDS, UNKNOWN_GRACE_SECONDS
    app, release, slot = (container.labels.get(each, "") for each in (APP, RELEASE, SLOT))
    socket = f"/{app}/{release}-{slot}.sock"
    with draining.told(tell, f"{app}-{slot}", lambda: open_connections(nginx, socket), grace):
        container.stop(timeout=seconds)
    containers.remove(container)


def stop_seconds(settings: Settings) -> int:
    """What the server's own grace needs to end by itself, and not by a kill at the same moment."""
    return round(settings.stop_grace_seconds) + draining.END_SECONDS


def open_connections(nginx: Container | None, socket: str) -> int:
    """How many connections nginx has to that socket; 0 where it can't be asked."""
    import docker

    if nginx is None:
        return 0
    try:
        # The kernel lists both ends where the connection was made.
        listed = containers.execute(nginx, ["cat", "/proc/net/unix"])
    except docker.errors.APIError:
        return 0
    return draining.connected(listed.output.splitlines(), socket) if listed.exit_code == 0 else 0


def restart(container: Container, app: str, slot: int) -> None:
    """The instance has finished its requests, was started again and is healthy.

    Raises:
        DeployFailed: it does not become healthy again; it is left as it is.
    """
    settings = Settings.from_label(container.labels[SETTINGS])
    container.stop(timeout=stop_seconds(settings))
    container.start()
    _require_healthy(container, app, slot, container.labels[RELEASE], settings.probe, settings)


def found(
    client: DockerClient, names: Names, app: str | None = None, slot: int | None = None, release: str | None = None
) -> list[Container]:
    """The instances of an app, a slot, a release, whatever their state."""
    labels = [names.mine["label"], f"{ROLE}=instance"]
    for key, value in ((APP, app), (SLOT, slot), (RELEASE, release)):
        if value is not None:
            labels.append(f"{key}={value}")
    return sorted(
        client.containers.list(all=True, filters={"label": labels}, ignore_removed=True), key=lambda c: str(c.name)
    )
