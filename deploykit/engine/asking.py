"""Requests from inside the containers: from nginx's own loopback, from each instance, or from the Engine's machine."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deploykit.engine import connection, containers
from deploykit.engine.labels import RELEASE, Names
from deploykit.errors import DeployFailed, EnvironmentLacks, FailureError
from deploykit.wire import Answer, Request

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PROBE_SECONDS = 900
"""After this a forgotten probe ends by itself."""
SLEEP = f"import time; time.sleep({PROBE_SECONDS})"


class Probe:
    """A container with a Python in another one's network, started when it is first needed, gone with this object."""

    def __init__(self, client: DockerClient, names: Names) -> None:
        self.client = client
        self.names = names
        self._key = ""
        self._container: Container | None = None
        self._end: weakref.finalize[[DockerClient, str], Probe] | None = None

    def exchange(self, network: str, key: str, requests: Sequence[Request]) -> tuple[Answer, ...]:
        """The answers, asked in that network; `key` changes whenever that network is another one."""
        container = self._running(network, key)
        try:
            return containers.exchange(container, requests)
        except FailureError:
            self.close()
            raise

    def close(self) -> None:
        """The probe is gone."""
        if self._end is not None:
            self._end()
        self._container, self._end, self._key = None, None, ""

    def _running(self, network: str, key: str) -> Container:
        import docker

        if self._container is not None and self._key == key:
            with contextlib.suppress(docker.errors.NotFound):
                self._container.reload()
                if self._container.status == "running":
                    return self._container
        self.close()
        wanted = containers.Wanted(
            python_image(self.client, self.names),
            ["python3", "-I", "-S", "-c", SLEEP],
            self.names.labels("probe"),
            network=network,
            ends_itself=True,
            stop_signal="SIGKILL",
        )
        container = containers.create(self.client, wanted)
        self._end = weakref.finalize(self, _remove, self.client, str(container.id))
        container.start()
        self._container, self._key = container, key
        return container

    def in_nginx(self, nginx: Container, requests: Sequence[Request]) -> tuple[Answer, ...]:
        """The answers as clients on nginx's own loopback get them."""
        # A restarted container has a new network, and a probe would stay in the old one.
        key = f"{nginx.id} {nginx.attrs['State']['StartedAt']}"
        return self.exchange(f"container:{nginx.id}", key, requests)

    def on_engine(self, requests: Sequence[Request]) -> tuple[Answer, ...]:
        """The answers as clients on the Engine's machine get them."""
        return self.exchange("host", "host", requests)

    def told_generation(self, nginx: Container, listen: str) -> str:
        """The generation that a running nginx tells; empty where it tells none."""
        request = Request(f"127.0.0.1:{listen}", "/generation", host="deploykit.invalid", timeout_seconds=2)
        try:
            with connection.explained("nginx can't be asked"):
                nginx.reload()
                (answer,) = self.in_nginx(nginx, [request])
        except (DeployFailed, EnvironmentLacks):
            return ""
        return answer.body.strip() if answer.status == 200 else ""


def _remove(client: DockerClient, identity: str) -> None:
    import docker
    import requests

    # It may have ended by itself, or be ending just now.
    with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
        client.api.remove_container(identity, force=True)


def python_image(client: DockerClient, names: Names) -> str:
    """An image of this stack that has a Python, the newest one.

    Raises:
        EnvironmentLacks: no release of this stack is there.
    """
    found = [each for each in client.api.images(filters=names.mine) if RELEASE in (each.get("Labels") or {})]
    if not found:
        raise EnvironmentLacks(
            f"no release of `{names.stack.full_name}` is there", hint=f"deploykit up{names.stack.option}"
        )
    return str(max(found, key=lambda each: each["Created"])["Id"])
