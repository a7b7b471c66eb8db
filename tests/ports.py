"""Ports for servers of the tests, such that nobody takes one between its choice and its use."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_held: list[int] = []
"""Locks that end with this process: a port is given once in its life, and to one process at a time."""


def free_port() -> int:
    """A port of 127.0.0.1 that no server has, that the kernel gives to no client, and no other worker to its tests."""
    folder = Path(tempfile.gettempdir()) / f"ports-of-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        # Below net.ipv4.ip_local_port_range, out of which any connection on this machine might take it.
        port = random.randrange(20000, 32000)  # noqa: S311 -- no secret
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            _held.append(lock)
            return port
        os.close(lock)
