"""Speaks HTTP and the uwsgi protocol byte by byte, over any socket, and says exactly what came back.

Standard library only, and nothing of deploykit: the text of this file is also run inside containers
(`python -I -c TEXT`, requests as JSON in the first argument or on standard input, answers as JSON on standard
output), there by any Python from 3.8 on.
It is not a general client: no redirects, no decoding, no retries; what it is told to send is what it sends.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import struct
import sys
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_UNIX_PATH = 107
"""Bytes of `sun_path` on Linux, less the closing NUL (unix(7))."""

MOST_HEAD_BYTES = 262144
"""An answer's status line and headers are given up above this: whatever it is, it is not HTTP."""


@dataclass(frozen=True)
class Request:
    """One request. `address` is `unix:PATH` or `host:port` (IPv6 in brackets)."""

    address: str
    target: str = "/"
    """Sent as it is: `/static../x` and `/%2e%2e/` stay what they are."""
    method: str = "GET"
    host: str = "localhost"
    """The Host header; empty sends none."""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    """Sent as UTF-8 with a Content-Length."""
    source: str = ""
    """The address of this side, such as `127.4.5.6`; empty lets the kernel choose."""
    protocol: str = "http"
    """`http` or `uwsgi`."""
    timeout_seconds: float = 5.0
    """For all of it, from connecting to the last byte."""
    expect_length: int = -1
    """Not negative: announce a body of that many bytes with `Expect: 100-continue`, send none, and take what comes."""
    most_bytes: int = 262144
    """How much of the answer's body is kept; the rest is read and dropped."""


@dataclass(frozen=True)
class Answer:
    """What came back. `status` is 0 where there was no answer; `error` then says why."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """Names in small letters."""
    body: str = ""
    """Decoded as UTF-8, what can't be as U+FFFD."""
    seconds: float = 0.0
    error: str = ""

    def header(self, name: str) -> str:
        """The value of the first header of that name (small letters), empty where there is none."""
        return next((value for key, value in self.headers if key == name), "")


# --- as text, to and from another interpreter --------------------------------------------------------------------


def to_json(items: Sequence[Request] | Sequence[Answer]) -> str:
    """Requests or answers as one line of ASCII."""
    return json.dumps([dataclasses.asdict(item) for item in items])


def requests_from_json(text: str) -> list[Request]:
    """What `to_json` made of requests."""
    return [Request(**{**item, "headers": _pairs(item.get("headers", ()))}) for item in json.loads(text)]


def answers_from_json(text: str) -> list[Answer]:
    """What `to_json` made of answers."""
    return [Answer(**{**item, "headers": _pairs(item.get("headers", ()))}) for item in json.loads(text)]


def _pairs(headers: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)


def source_text() -> str:
    """The text of this file, for `python -I -c TEXT`."""
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 -- standard library of any Python, few imports
        return file.read()


def main() -> None:
    """Answers the requests of the first argument or of standard input."""
    text = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()
    sys.stdout.write(to_json(exchange(requests_from_json(text))) + "\n")


# --- one after the other ---------------------------------------------------------------------------------------------


def exchange(requests: Sequence[Request]) -> list[Answer]:
    """The answers to the requests, one after the other, each on a connection of its own."""
    return [send(request) for request in requests]


def send(request: Request) -> Answer:
    """The answer; whatever goes wrong is an answer too, with status 0 and the reason in words."""
    started = time.monotonic()
    try:
        answer = _ask(request, _Deadline(started + request.timeout_seconds))
    except _NoAnswer as reason:
        answer = Answer(0, error=str(reason))
    except socket.timeout:  # noqa: UP041 -- not the same as TimeoutError before Python 3.10
        answer = Answer(0, error=f"timed out after {request.timeout_seconds:.1f} s")
    except OSError as error:
        answer = Answer(0, error=_words(error))
    except (ValueError, struct.error) as error:
        answer = Answer(0, error=f"can't be sent: {error}")
    return dataclasses.replace(answer, seconds=time.monotonic() - started)


class _NoAnswer(Exception):
    """Why there is no answer, in words."""


class _Deadline:
    """One moment for all of a request, however many calls it takes."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def arm(self, connection: socket.socket) -> None:
        """Lets the connection's next call take what is left.

        Raises:
            socket.timeout: nothing is left.
        """
        left = self.moment - time.monotonic()
        if left <= 0:
            raise socket.timeout  # noqa: UP041
        connection.settimeout(left)


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "connection reset"
    return (error.strerror or str(error)).lower()


def _ask(request: Request, deadline: _Deadline) -> Answer:
    if request.protocol == "uwsgi":
        if request.expect_length >= 0:
            raise _NoAnswer("the uwsgi protocol has no Expect")
        data = _uwsgi_packet(request)
    elif request.protocol == "http":
        data = _http_request(request)
    else:
        raise _NoAnswer(f"no such protocol: {request.protocol}")
    with _connected(request, deadline) as connection:
        reset = _send_all(connection, data, deadline)
        try:
            return _Reader(connection, deadline, request.most_bytes).answer(request)
        except ConnectionResetError:
            raise _NoAnswer("connection reset" if reset else "reset without an answer") from None


def _send_all(connection: socket.socket, data: bytes, deadline: _Deadline) -> bool:
    """Sends what the other side takes; whether it stopped taking it, after which its answer may still be read."""
    view = memoryview(data)
    while view:
        deadline.arm(connection)
        try:
            view = view[connection.send(view) :]
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse a long body by its first line; what it said is then waiting to be read.
            return True
    return False


# --- connections -----------------------------------------------------------------------------------------------------


def _connected(request: Request, deadline: _Deadline) -> socket.socket:
    if request.address.startswith("unix:"):
        return _connected_unix(request.address[len("unix:") :], deadline)
    host, colon, port = request.address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise _NoAnswer(f"not an address: {request.address}")
    family = 0
    if request.source:
        family = socket.AF_INET6 if ":" in request.source else socket.AF_INET
    try:
        places = socket.getaddrinfo(host.strip("[]"), int(port), family, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise _NoAnswer(f"no such host: {request.address}") from None
    refusal: OSError = OSError("no address")
    for kind, _, _, _, place in places:
        connection = socket.socket(kind, socket.SOCK_STREAM)
        try:
            if request.source:
                connection.bind((request.source, 0))
            deadline.arm(connection)
            connection.connect(place)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            refusal = error
    raise refusal


def _connected_unix(path: str, deadline: _Deadline) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    handle = -1
    try:
        deadline.arm(connection)
        if len(os.fsencode(path)) > LONGEST_UNIX_PATH:
            # A name in /proc of the same file is always short enough, and needs no change of folder.
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            path = f"/proc/self/fd/{handle}"
        connection.connect(path)
        return connection
    except BaseException:
        connection.close()
        raise
    finally:
        if handle >= 0:
            os.close(handle)


# --- what is sent ----------------------------------------------------------------------------------------------------


def _bytes(text: str) -> bytes:
    # Any byte can be sent: those that are no UTF-8 as the surrogates of PEP 383.
    return text.encode("utf-8", "surrogateescape")


def _http_request(request: Request) -> bytes:
    body = _bytes(request.body)
    given = {name.lower() for name, _ in request.headers}
    headers = [("Host", request.host)] if request.host else []
    if request.expect_length >= 0:
        headers += [("Content-Length", str(request.expect_length)), ("Expect", "100-continue")]
        body = b""
    elif (body or request.method in ("POST", "PUT", "PATCH")) and "content-length" not in given:
        headers.append(("Content-Length", str(len(body))))
    if "connection" not in given:
        headers.append(("Connection", "close"))
    headers += request.headers
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return _bytes("\r\n".join(lines)) + body


def _uwsgi_packet(request: Request) -> bytes:
    """The variables that nginx sends, then the body (the uwsgi protocol: modifiers 0, sizes little-endian)."""
    body = _bytes(request.body)
    path, _, query = request.target.partition("?")
    name, colon, port = request.host.rpartition(":")
    numbered = bool(colon) and port.isdigit()
    variables: dict[str, bytes] = {
        "REQUEST_METHOD": _bytes(request.method),
        "REQUEST_URI": _bytes(request.target),
        "PATH_INFO": urllib.parse.unquote_to_bytes(_bytes(path)),
        "QUERY_STRING": _bytes(query),
        "CONTENT_TYPE": b"",
        "CONTENT_LENGTH": str(len(body)).encode() if body else b"",
        "SERVER_PROTOCOL": b"HTTP/1.1",
        "SERVER_NAME": _bytes(name if numbered else request.host),
        "SERVER_PORT": _bytes(port if numbered else "80"),
        "REMOTE_ADDR": _bytes(request.source or "127.0.0.1"),
    }
    if request.host:
        variables["HTTP_HOST"] = _bytes(request.host)
    for header, value in request.headers:
        key = header.upper().replace("-", "_")
        variables[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = _bytes(value)
    packed = b"".join(
        struct.pack("<H", len(key)) + key.encode() + struct.pack("<H", len(value)) + value
        for key, value in variables.items()
    )
    return struct.pack("<BHB", 0, len(packed), 0) + packed + body


# --- what comes back -------------------------------------------------------------------------------------------------


class _Reader:
    """Reads one answer from a connection, as far as its own head says it goes."""

    def __init__(self, connection: socket.socket, deadline: _Deadline, most_bytes: int) -> None:
        self.connection = connection
        self.deadline = deadline
        self.most_bytes = most_bytes
        self.waiting = b""
        self.kept = b""

    def answer(self, request: Request) -> Answer:
        while True:
            status, headers = self._head()
            interim = 100 <= status < 200 and status != 101
            if not interim or (status == 100 and request.expect_length >= 0):
                break
        answer = Answer(status, headers)
        if request.method != "HEAD" and status >= 200 and status not in (204, 304):
            self._body(answer)
        return dataclasses.replace(answer, body=self.kept.decode("utf-8", "replace"))

    def _more(self) -> bool:
        self.deadline.arm(self.connection)
        data = self.connection.recv(65536)
        self.waiting += data
        return bool(data)

    def _head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        while True:
            self._refuse_what_is_not_http()
            end = re.search(rb"\r?\n\r?\n", self.waiting)
            if end:
                break
            if len(self.waiting) > MOST_HEAD_BYTES:
                raise _NoAnswer(f"not HTTP: a head of more than {MOST_HEAD_BYTES} bytes")
            if not self._more():
                raise _NoAnswer("cut off within the headers" if self.waiting else "closed without an answer")
        lines = self.waiting[: end.start()].decode("latin-1").replace("\r\n", "\n").split("\n")
        self.waiting = self.waiting[end.end() :]
        first = re.match(r"HTTP/[0-9.]+ ([0-9]{3})(?: |$)", lines[0])
        if first is None:
            raise _NoAnswer(f"not HTTP: {lines[0][:60]!r}")
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip().lower(), value.strip()))
        return int(first.group(1)), tuple(headers)

    def _refuse_what_is_not_http(self) -> None:
        if not self.waiting[:5] == b"HTTP/"[: len(self.waiting)]:
            raise _NoAnswer(f"not HTTP: {self.waiting[:60].decode('latin-1')!r}")

    def _body(self, answer: Answer) -> None:
        length = answer.header("content-length")
        if "chunked" in answer.header("transfer-encoding").lower():
            self._chunks()
        elif length:
            if not length.isdigit():
                raise _NoAnswer(f"not HTTP: Content-Length {length[:60]!r}")
            self._take(int(length))
        else:
            while self._more():
                self._keep(len(self.waiting))
            self._keep(len(self.waiting))

    def _chunks(self) -> None:
        while True:
            size_text = self._line().split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise _NoAnswer(f"not HTTP: a chunk of size {size_text[:60].decode('latin-1')!r}") from None
            if size == 0:
                break
            self._take(size)
            self._line()
        while self._line():
            pass

    def _line(self) -> bytes:
        while b"\n" not in self.waiting:
            if len(self.waiting) > MOST_HEAD_BYTES or not self._more():
                raise _NoAnswer("cut off within its chunks")
        line, _, self.waiting = self.waiting.partition(b"\n")
        return line.rstrip(b"\r")

    def _take(self, length: int) -> None:
        left = length
        while True:
            ready = min(left, len(self.waiting))
            self._keep(ready)
            left -= ready
            if not left:
                return
            if not self._more():
                raise _NoAnswer(f"cut off after {length - left} of {length} bytes")

    def _keep(self, length: int) -> None:
        room = max(0, self.most_bytes - len(self.kept))
        self.kept += self.waiting[: min(length, room)]
        self.waiting = self.waiting[length:]


if __name__ == "__main__":
    main()
