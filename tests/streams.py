"""A stack whose app keeps connections open (events, long polls, WebSockets), and clients that hold them."""

from __future__ import annotations

import base64
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stacks import COMMAND, Example, _environment

GRACE_SECONDS = 8
CLOSE = "Connection: close\r\n"

SPEC = """
version: 1
name: {name}
apps:
  web:
    entrypoint: streams:app
    app_server: {{workers: 1, threads: 48}}
    instances: 2
    healthcheck: /healthz
    environment: {{RELEASE_NOTE: first }}
    volumes: {{data: data/}}
    timeout: 7s
    stop_grace_period: {grace}s
    body_size: 2m
sites:
  streams:
    locations:
      /: web
      /hashed/: {{files: static/, cache_control: hashed}}
      /kept/: {{files: kept/, cache_control: immutable}}
      /plain/: {{files: plain/, cache_control: 1h}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""

APP = '''
import base64, hashlib, os, struct, time

NOTE = os.environ["RELEASE_NOTE"]


def app(environ, start_response):
    route = ROUTES.get(environ["PATH_INFO"], healthz)
    return route(environ, lambda *headers: start_response("200 OK", [("X-Release-Note", NOTE), *headers]))


def length(body):
    return ("Content-Length", str(len(body)))


def healthz(environ, answer):
    answer(length(b"ok"))
    return [b"ok"]


def note(environ, answer):
    answer(length(NOTE.encode()))
    return [NOTE.encode()]


def slow(environ, answer):
    time.sleep(2)
    answer(length(b"slept"))
    return [b"slept"]


def upload(environ, answer):
    size = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    answer(length(b"%d" % size))
    return [b"%d" % size]


def fail(environ, answer):
    raise RuntimeError("asked to")


def is_over():
    return os.path.exists("data/over")


def over(environ, answer):
    open("data/over", "w").close()
    return note(environ, answer)


def poll(environ, answer):
    """Answers once it is over; below what nginx waits for the next byte."""
    until = time.monotonic() + 9
    while not is_over() and time.monotonic() < until:
        time.sleep(0.05)
    return note(environ, answer)


def events(environ, answer):
    answer(("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no"))

    def each():
        while not is_over():
            yield b"data: " + NOTE.encode() + b"\\n\\n"
            time.sleep(0.2)
        yield b"data: over\\n\\n"

    return each()


def socket(environ, answer):
    """A WebSocket, by hand: echoes short texts with the release's note, until one says bye."""
    if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
        return note(environ, answer)
    wire = environ["gunicorn.socket"]
    key = environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest())
    wire.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                 b"Sec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
    while True:
        head = wire.recv(2)
        if len(head) < 2 or head[0] & 15 == 8:
            break
        mask = wire.recv(4)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(wire.recv(head[1] & 127)))
        said = NOTE.encode() + b" " + text
        wire.sendall(bytes([0x81, len(said)]) + said)
        if text == b"bye":
            break
    raise StopIteration


ROUTES = {"/note": note, "/slow": slow, "/upload": upload, "/fail": fail, "/poll": poll, "/events": events,
          "/over": over, "/socket": socket}
'''


class Streams(Example):
    """A small app under Gunicorn's threads, two instances; grants what is open eight seconds."""

    def __init__(self, target: str, folder: Path) -> None:
        self._name_it("streams", target, folder, "streams")
        (folder / "data").mkdir(parents=True)
        self.files(static={}, kept={}, plain={})
        (folder / "streams.py").write_text(APP)
        text = SPEC.format(name=self.name, port=self.port, grace=GRACE_SECONDS)
        (folder / "deploykit.yaml").write_text(text)

    def note(self, new: str) -> None:
        """The next release has that note."""
        path = self.folder / "deploykit.yaml"
        head, _, rest = path.read_text().partition("RELEASE_NOTE: ")
        path.write_text(f"{head}RELEASE_NOTE: {new} {rest[rest.index('}') :]}")

    def files(self, **folders: dict[str, str]) -> None:
        """What the next release has in each of its folders of files, beside one that is always there."""
        for name, files in folders.items():
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
            for file, text in {"always.txt": "there\n", **files}.items():
                (self.folder / name / file).write_text(text)


@contextmanager
def brought_up(target: str, folder: Path) -> Iterator[Streams]:
    """Such a stack, up; nothing of it stays."""
    stack = Streams(target, folder)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


class Command:
    """A command of deploykit that runs beside the test; `lines` are what it has said, each with its time."""

    def __init__(self, stack: Example, *words: str) -> None:
        self.lines: list[tuple[float, str]] = []
        self._process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=stack.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def said(self, text: str, seconds: float = 120) -> tuple[float, str]:
        """The first line with that text and when it came; fails where it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            for at, line in list(self.lines):
                if text in line:
                    return at, line
            assert time.monotonic() < deadline and self._reader.is_alive(), f"no {text!r} in:\n{self.text}"
            time.sleep(0.02)

    def ended(self, seconds: float = 120) -> int:
        """Its exit code."""
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        return code


class Held(threading.Thread):
    """One request whose answer is read as it comes, to its end or its cut."""

    def __init__(
        self, stack: Example, path: str, head: str = CLOSE, body: bytes = b"", over_seconds: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self.data = b""
        self.closed_at = 0.0
        self.error = ""
        self._socket = socket.create_connection(("127.0.0.1", stack.port))
        method = "POST" if body else "GET"
        head += f"Content-Length: {len(body)}\r\n" if body else ""
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost:{stack.port}\r\n{head}\r\n"
        self._request, self._body, self._over_seconds = request.encode(), body, over_seconds
        self.start()

    def run(self) -> None:
        try:
            self._socket.sendall(self._request)
            size = max(1, len(self._body) // 50)
            for start in range(0, len(self._body), size):
                self._socket.sendall(self._body[start : start + size])
                time.sleep(self._over_seconds / 50)
            while data := self._socket.recv(65536):
                self.data += data
        except OSError as error:
            self.error = str(error)
        self.closed_at = time.monotonic()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def is_whole(self) -> bool:
        """Whether there is an answer to its last byte."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        lower = head.lower()
        if b"content-length: " in lower:
            return len(body) == int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return body.endswith(b"0\r\n\r\n")

    def until(self, text: bytes, seconds: float = 30) -> bool:
        """Whether that text came in time."""
        deadline = time.monotonic() + seconds
        while text not in self.data:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def websocket(stack: Example) -> Held:
    """A WebSocket that is open."""
    key = base64.b64encode(os.urandom(16)).decode()
    # Browsers write the word in small letters, other clients do not.
    head = f"Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    held = Held(stack, "/socket", head)
    assert held.until(b"101 Switching Protocols"), held.data
    return held


def say(held: Held, text: str, answer: str) -> bool:
    """Whether what was said over a WebSocket came back like that."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text.encode()))
    held.send(bytes([0x81, 0x80 | len(masked)]) + mask + masked)
    return held.until(answer.encode())


class Chat(threading.Thread):
    """Says something over a WebSocket again and again: nginx closes one that is silent for longer than a request."""

    def __init__(self, held: Held) -> None:
        super().__init__(daemon=True)
        self._held, self._over = held, threading.Event()
        self.start()

    def run(self) -> None:
        with suppress(OSError):
            while not self._over.wait(0.5):
                say(self._held, "on", "first on")

    def stop(self) -> None:
        self._over.set()
        self.join(35)


class Again(threading.Thread):
    """The same request on a new connection again and again, until it is told to stop; what was wrong is kept."""

    def __init__(self, stack: Example, path: str, *wanted: bytes, body: bytes = b"", over_seconds: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.answered, self.wrong = 0, list[bytes | str]()
        self._how: tuple[Any, ...] = (stack, path, CLOSE, body, over_seconds)
        self._wanted = wanted
        self._told = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._told.is_set():
            held = Held(*self._how)
            held.join(30)
            if b" 200 OK" in held.data and held.is_whole and held.data.partition(b"\r\n\r\n")[2] in self._wanted:
                self.answered += 1
            else:
                self.wrong.append(held.data or held.error)
            held.close()

    def stop(self) -> None:
        self._told.set()


class Lateness(threading.Thread):
    """How late this machine wakes who sleeps: what a measured moment may be off by."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            select.select([], [], [], 0.05)
            self.seconds = max(self.seconds, time.monotonic() - began - 0.05)

    def stop(self) -> float:
        self._over.set()
        return self.seconds
