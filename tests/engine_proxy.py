"""Stands between deploykit and a Docker Engine, counts what is asked, and lets one request go wrong.

It speaks as much HTTP/1.1 as the Engine does: bodies of known length, in chunks or up to the end of the connection,
answers that stream, and connections that become raw streams (exec, attach). It changes nothing but what it is told to.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

ENGINE = "/var/run/docker.sock"
MUTATING = ("POST", "PUT", "DELETE")

How = Literal["kill before", "kill amid", "kill after", "drop", "cut", "error", "delay"]
"""What happens at one request.

Its client is killed before the Engine has heard of it, when a first part of its answer was passed on, or when it has
answered and nothing of that was passed on. `drop`: it has answered, and the connection is closed. `cut`: it is closed
when a first part of the answer was passed on. `error`: it has not heard of it, and the answer is 500. `delay`: it hears
of it later.
"""


@dataclass(frozen=True)
class Asked:
    """One request to the Engine."""

    method: str
    path: str

    @property
    def changes(self) -> bool:
        """Whether it may change something; commands in containers only ask."""
        return self.method in MUTATING and not re.search(r"/exec(/|$)", self.path)

    @property
    def what(self) -> str:
        """The same for the same thing that is asked, whatever it is asked of."""
        path = self.path.partition("?")[0]
        _, _, kind, *more = path.split("/")
        verb = more[-1] if more and (len(more) > 1 or more[0] in ("create", "json")) else ""
        return f"{self.method} {kind} {verb}".strip()


@dataclass(frozen=True)
class Fault:
    """What shall happen at which point; points count from 1."""

    how: How
    at: int
    seconds: float = 0.0


class _Killed(Exception):
    """The client is dead; its connections end."""


class EngineProxy:
    """The proxy, for the length of a `with`; `address` is what DOCKER_HOST has to be.

    A point is a request that may change something. Commands inside of containers are not counted: with them it is asked
    what runs there, again and again until it is healthy, and how often that is depends on the machine.
    """

    def __init__(self, engine: str = ENGINE, *, every_seconds: float = 0.0, fault: Fault | None = None) -> None:
        self.engine = engine
        self.every_seconds = every_seconds
        """How much later the Engine hears of each request."""
        self.fault = fault
        self.asked: list[Asked] = []
        self._points = 0
        self.hit: Asked | None = None
        """The request at which the fault happened."""
        self._victim: subprocess.Popen[str] | None = None
        self._named = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="engine-"))
        self._listener = socket.socket(socket.AF_UNIX)

    @property
    def address(self) -> str:
        return f"unix://{self._folder}/sock"

    def __enter__(self) -> EngineProxy:
        self._listener.bind(str(self._folder / "sock"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self._folder)

    def killed(self, victim: subprocess.Popen[str]) -> None:
        """That process is the one that a fault kills."""
        self._victim = victim
        self._named.set()

    def kill(self) -> None:
        """The client is dead."""
        self._named.wait()
        assert self._victim is not None
        os.kill(self._victim.pid, signal.SIGKILL)
        # Its sockets are closed by the kernel then, and nothing more of it is forwarded.
        os.waitid(os.P_PID, self._victim.pid, os.WEXITED | os.WNOWAIT)

    # --- connections ---

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            with self._lock:
                self._open |= {client, engine}
            with contextlib.suppress(OSError, ValueError, _Killed):  # either end has closed it, or shall
                engine.connect(self.engine)
                with client.makefile("rb") as asks, engine.makefile("rb") as answers:
                    while self._one(client, asks, engine, answers):
                        pass
            with self._lock:
                self._open -= {client, engine}

    def _one(self, client: socket.socket, asks: BinaryIO, engine: socket.socket, answers: BinaryIO) -> bool:
        """Passes one request and its answer on; whether there may be another one on this connection."""
        head = _head(asks)
        if not head:
            return False
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        asked = Asked(method, path)
        fault = self._counted(asked)
        if fault == "kill before":
            self.kill()
            raise _Killed
        time.sleep(self.every_seconds + (self.fault.seconds if self.fault and fault == "delay" else 0.0))
        if fault == "error":
            for _ in _body(head, asks):
                pass
            said = json.dumps({"message": "the disk of the test went wrong"}).encode()
            client.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n")
            client.sendall(b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
            return False
        engine.sendall(head)
        for part in _body(head, asks):
            engine.sendall(part)
        told = _head(answers)
        while told.startswith(b"HTTP/1.1 100 "):
            told = _head(answers)
        if _is_raw(told):
            if fault in ("drop", "cut"):
                return False
            if fault is not None and fault != "delay":
                self.kill()
                raise _Killed
            client.sendall(told)
            _both_ways(client, asks, engine, answers)
            return False
        self._answer(client, told, answers, asked, fault)
        return fault not in ("drop", "cut") and not _says(told, b"connection: close")

    def _answer(self, client: socket.socket, told: bytes, answers: BinaryIO, asked: Asked, fault: How | None) -> None:
        """What the Engine says to it is passed on as it comes."""
        parts = _body(told, answers, answer_to=asked.method)
        if fault in ("kill after", "drop"):
            for _ in parts:
                pass
            if fault == "drop":
                return
            self.kill()
            raise _Killed
        client.sendall(told)
        for part in parts:
            client.sendall(part)
            if fault in ("kill amid", "cut"):
                break
        if fault == "kill amid":
            self.kill()
            raise _Killed

    # --- counting ---

    def _counted(self, asked: Asked) -> How | None:
        """What shall happen at it."""
        with self._lock:
            self.asked.append(asked)
            if not asked.changes:
                return None
            self._points += 1
            if self.fault is None or self.fault.at != self._points:
                return None
            self.hit = asked
            return self.fault.how


# --- HTTP/1.1 ------------------------------------------------------------------------------------------------------


def _head(stream: BinaryIO) -> bytes:
    """The first line and the headers with the empty line after them; empty at the end of the stream."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _says(head: bytes, header: bytes) -> bool:
    return b"\r\n" + header in head.lower()


def _is_raw(head: bytes) -> bool:
    """Whether what follows is no HTTP any more."""
    return head.startswith(b"HTTP/1.1 101 ") or (
        _says(head, b"content-type: application/vnd.docker.raw-stream") and not _says(head, b"transfer-encoding")
    )


def _body(head: bytes, stream: BinaryIO, answer_to: str = "") -> Iterator[bytes]:
    """What belongs to a message, piece by piece as it comes and byte for byte; `answer_to` is the method asked with."""
    status = head.split(b" ", 2)[1] if answer_to else b""
    if answer_to == "HEAD" or status in (b"204", b"304"):
        return
    if _says(head, b"transfer-encoding: chunked"):
        while True:
            size = stream.readline()
            length = int(size.split(b";")[0], 16)
            yield size + stream.read(length + 2)
            if length == 0:
                return
    length_told = re.search(rb"\r\ncontent-length: *([0-9]+)", head.lower())
    if length_told:
        left = int(length_told[1])
        while left and (part := stream.read1(min(left, 1 << 16))):  # type: ignore[attr-defined]
            left -= len(part)
            yield part
    elif answer_to:
        while part := stream.read1(1 << 16):  # type: ignore[attr-defined]
            yield part


def _both_ways(client: socket.socket, asks: BinaryIO, engine: socket.socket, answers: BinaryIO) -> None:
    back = threading.Thread(target=_pump, args=(asks, engine), daemon=True)
    back.start()
    _pump(answers, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    back.join()


def _pump(stream: BinaryIO, into: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := stream.read1(1 << 16):  # type: ignore[attr-defined]
            into.sendall(part)
        into.shutdown(socket.SHUT_WR)
