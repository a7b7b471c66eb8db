"""A container that is used from this terminal: every key goes there, every byte comes back, the size follows."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

CHUNK_BYTES = 65536
STREAMS = {1: "stdout", 2: "stderr"}


def attach(client: DockerClient, container: Container, *, tty: bool) -> int:
    """The exit code of a created container, connected to this process's input and output while it runs."""
    # Two connections: the end of the input is the end of one of them, and TLS knows no half of an end.
    output: Any = client.api.attach_socket(str(container.id), params={"stdout": 1, "stderr": 1, "stream": 1})
    keys: Any = client.api.attach_socket(str(container.id), params={"stdin": 1, "stream": 1})
    container.start()
    with _raw_terminal(client, container) if tty else contextlib.nullcontext():
        writer = threading.Thread(target=_send_input, args=(_socket(keys),), daemon=True)
        writer.start()
        _write_output(_socket(output), framed=not tty)
        code = int(container.wait()["StatusCode"])
    output.close()
    keys.close()
    return code


def _socket(stream: Any) -> Any:
    """The library gives a file over the socket here, and the socket itself over TCP."""
    return getattr(stream, "_sock", stream)


@contextlib.contextmanager
def _raw_terminal(client: DockerClient, container: Container) -> Iterator[None]:
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def resize(*_: object) -> None:
        import docker

        size = os.get_terminal_size(keyboard)
        with contextlib.suppress(docker.errors.APIError):  # it has just ended
            client.api.resize(str(container.id), height=size.lines, width=size.columns)

    handler = signal.signal(signal.SIGWINCH, resize)
    try:
        # What was typed meanwhile is not thrown away.
        tty.setraw(keyboard, termios.TCSADRAIN)
        resize()
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _send_input(connection: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed on either side
        keyboard = sys.stdin.fileno()
        while True:
            select.select([keyboard], [], [])
            data = os.read(keyboard, CHUNK_BYTES)
            if not data:
                break
            connection.sendall(data)
        import socket

        connection.shutdown(socket.SHUT_WR)


def _write_output(connection: Any, *, framed: bool) -> None:
    for number, data in _frames(connection) if framed else _chunks(connection):
        out = sys.stderr if number == 2 else sys.stdout
        out.buffer.write(data)
        out.flush()


def _chunks(connection: Any) -> Iterator[tuple[int, bytes]]:
    while data := connection.recv(CHUNK_BYTES):
        yield 1, data


def _frames(connection: Any) -> Iterator[tuple[int, bytes]]:
    """Without a terminal each piece has a head: its stream, three zeros, its length (big-endian)."""
    while head := _exactly(connection, 8):
        length = int.from_bytes(head[4:], "big")
        while length > 0:
            data = connection.recv(min(CHUNK_BYTES, length))
            if not data:
                return
            length -= len(data)
            yield head[0], data


def _exactly(connection: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return b""
        data += more
    return data
