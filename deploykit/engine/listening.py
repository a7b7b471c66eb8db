"""Whether nginx could listen at an address of the Engine's machine, and who does so now; asked before a build."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from deploykit import machine
from deploykit.engine import connection, containers
from deploykit.engine.labels import Names
from deploykit.errors import EnvironmentLacks

if TYPE_CHECKING:
    from docker import DockerClient

# As the Engine's own proxy listens; what only root may is no question here, as that proxy is root.
SCRIPT = """
import errno, json, socket, sys
host, port = json.loads(sys.argv[1])
probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    probe.bind((host, port))
    probe.listen(1)
except OSError as error:
    if error.errno == errno.EADDRINUSE:
        print("taken")
    elif error.errno == errno.EADDRNOTAVAIL:
        print("no such address")
"""


def refuse_taken(client: DockerClient, names: Names, image: str, host: str, port: int) -> None:
    """Nothing, where nginx could be published at that address; `image` has a Python.

    Raises:
        EnvironmentLacks: somebody listens there, named where that can be read, or the machine has no such address.
    """
    words = ["python3", "-I", "-S", "-c", SCRIPT, json.dumps([host, port])]
    told = containers.run_once(client, containers.Wanted(image, words, names.labels("question"), network="host"))
    if "taken" in told.output:
        raise taken(client, host, port)
    if "no such address" in told.output:
        raise EnvironmentLacks(f"the Engine's machine has no address {host} to listen at", hint="change `listen`")


def taken(client: DockerClient, host: str, port: int) -> EnvironmentLacks:
    """The error that says who has that address."""
    who = _who(client, port) or "somebody listens there already"
    shown = f"[{host}]" if ":" in host else host
    return EnvironmentLacks(
        f"nginx can't listen on {shown}:{port}: {who}", hint="end it, or choose another port in `listen`"
    )


def _who(client: DockerClient, port: int) -> str:
    """The container that is published there, else the process, where the Engine's machine is this one."""
    for each in client.api.containers():
        if any(published.get("PublicPort") == port for published in each.get("Ports") or ()):
            return f"the container {each['Names'][0].lstrip('/')} is published there"
    same = connection.is_local() and client.info().get("Name") == os.uname().nodename
    return machine.listener(port) if same else ""
