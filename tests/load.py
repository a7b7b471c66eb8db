"""A bounded load of raw HTTP/1.1 on a stack on this machine, that counts every answer that is not exactly right.

It retries nothing, follows nothing and talks to loopback only. What it asks for are the routes of the examples:
`/whoami` (JSON), `/echo` (POST) and `/slow`, each answering with the header `X-Release-Note`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import random
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

GET, POST = 0.7, 0.2
"""Shares of the requests. The rest is slow, while no more than a third of the clients wait for a slow one already."""
PAUSE_SECONDS = 0.03
"""Between two requests of a client: kept connections are idle for a while, and the rest of the machine has a CPU."""
MOST_REQUESTS, MOST_SECONDS = 40_000, 240.0
TIMEOUT_SECONDS = 5.0
TRICKLE_BYTES, TRICKLE_SECONDS = 1 << 20, 5.0


class Answer(NamedTuple):
    """One good answer."""

    sent: float
    """`time.monotonic()` when its request was sent."""
    seconds: float
    kind: str
    note: str
    """Of the release that gave it."""


@dataclass
class Result:
    """What the clients saw. `failures` has one line per failed request, `answers` who answered each good one when."""

    requests: int = 0
    stale_close: int = 0
    """Kept-alive connections that were closed under a request before any of its answer came; not among `failures`."""
    failures: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest_seconds: dict[str, float] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    """What each POST that was answered began with; no other POST ever did."""

    def releases(self, since: float = 0.0) -> Counter[str]:
        """Release note to how many of the requests sent after `since` it answered."""
        return Counter(answer.note for answer in list(self.answers) if answer.sent > since)

    def seconds(self, since: float = 0.0, before: float = math.inf) -> list[float]:
        """How long each GET took whose answer came in that time; the slow ones are slow by themselves."""
        return [a.seconds for a in list(self.answers) if a.kind == "get" and since < a.sent + a.seconds < before]

    def __str__(self) -> str:
        slowest = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in sorted(self.slowest_seconds.items()))
        head = (
            f"{self.requests} requests {dict(self.kinds)}, {len(self.failures)} failed, {self.stale_close} stale_close"
        )
        lines = [head, f"slowest: {slowest}", f"answered by: {dict(self.releases())}"]
        return "\n".join(lines + [f"  {count} x {what}" for what, count in Counter(self.failures).most_common(20)])


def p99(seconds: Iterable[float]) -> float:
    """What 99 of 100 took at most; 0 of none."""
    ordered = sorted(seconds)
    return ordered[math.ceil(len(ordered) * 0.99) - 1] if ordered else 0.0


class _StaleClose(Exception):
    """A kept-alive connection was closed before any byte of the answer."""


@dataclass(frozen=True)
class _Request:
    head: bytes
    body: bytes
    over_seconds: float
    """Where it is not 0: the body is sent in fifty pieces over that time."""


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class _Connection:
    """One connection to the stack; `close()` is always safe."""

    def __init__(self, host: str, port: int, source: str) -> None:
        self._host, self._port, self._source = host, port, source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: _Request) -> _Reply:
        """The answer to one request.

        Raises:
            _StaleClose: an earlier answer came over this connection, and none of this one.
            ConnectionError, asyncio.IncompleteReadError, ValueError: no answer, a part of one, or no HTTP.
        """
        used = self._streams is not None
        try:
            if self._streams is None:
                local = (self._source, 0) if self._source else None
                self._streams = await asyncio.open_connection(self._host, self._port, local_addr=local)
            reader, writer = self._streams
            writer.write(request.head)
            size = max(1, len(request.body) // (50 if request.over_seconds else 1))
            for start in range(0, len(request.body), size):
                writer.write(request.body[start : start + size])
                await writer.drain()
                await asyncio.sleep(request.over_seconds / 50)
            first = await reader.readexactly(1)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.close()
            if used and not isinstance(error, ConnectionRefusedError):
                raise _StaleClose from error
            raise
        reply = await _read(reader, first)
        if reply.headers.get("connection", "").lower() == "close" or b"Connection: close" in request.head:
            self.close()
        return reply

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read(reader: asyncio.StreamReader, first: bytes) -> _Reply:
    start, *lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers["content-length"]))
    return _Reply(int(start.split(" ")[1]), headers, body)


class _Clients:
    """All clients of one run and the result that they share."""

    def __init__(
        self, url: str, *, app: str, clients: int, seconds: dict[str, float], stop: asyncio.Event, result: Result
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        name = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
        if parts.scheme != "http" or not ipaddress.IPv4Address(name).is_loopback:
            raise ValueError(f"load goes to http on loopback only, not to {url}")
        self._address, self._host = (name, parts.port or 80), parts.netloc
        self._app, self._seconds = app, seconds
        self._stop, self.result = stop, result
        self._slow, self._most_slow = 0, max(1, clients // 3)

    async def client(self, number: int) -> None:
        """Every second client keeps its connection; each has an address in a /24 of its own, for `ip_hash`."""
        keep_alive, chance = number % 2 == 1, random.Random(number)  # noqa: S311 -- the same mix in every run
        connection = _Connection(*self._address, source=f"127.1.{number}.1")
        while not self._stop.is_set() and self.result.requests < MOST_REQUESTS:
            kind = self._kind(chance.random())
            self._slow += kind == "slow"
            await self._one(connection, kind, keep_alive)
            self._slow -= kind == "slow"
            await asyncio.sleep(PAUSE_SECONDS)
        connection.close()

    async def again(self, kind: str) -> None:
        """One more client, that uploads a megabyte over five seconds, or polls for long, again and again."""
        connection = _Connection(*self._address, source="")
        while not self._stop.is_set() and self.result.requests < MOST_REQUESTS:
            await self._one(connection, kind, False)
            await asyncio.sleep(PAUSE_SECONDS)

    def _kind(self, share: float) -> str:
        if GET <= share < GET + POST:
            return "post"
        return "slow" if share >= GET and self._slow < self._most_slow else "get"

    def _request(self, kind: str, unique: str, keep_alive: bool) -> _Request:
        method, target, body = "GET", f"/whoami?id={unique}", b""
        if kind in self._seconds:
            target = f"/slow?seconds={self._seconds[kind]:g}&id={unique}"
        elif kind != "get":
            method, target = "POST", "/echo"
            body = unique.encode() * (20 if kind == "post" else TRICKLE_BYTES // len(unique))
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n"
        head += f"Content-Length: {len(body)}\r\n" if body else ""
        head += "\r\n" if keep_alive else "Connection: close\r\n\r\n"
        return _Request(head.encode(), body, TRICKLE_SECONDS if kind == "trickle" else 0.0)

    async def _one(self, connection: _Connection, kind: str, keep_alive: bool) -> None:
        unique = uuid.uuid4().hex
        request = self._request(kind, unique, keep_alive)
        self.result.requests += 1
        self.result.kinds[kind] += 1
        sent = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + request.over_seconds + self._seconds.get(kind, 0.0)):
                reply = await connection.exchange(request)
            wrong = self._wrong(kind, request.body, unique, reply)
        except _StaleClose:
            self.result.stale_close += 1
            return
        except TimeoutError:
            wrong = "no whole answer in time"
        except asyncio.IncompleteReadError as error:
            wrong = "truncated" if error.partial or error.expected != 1 else "closed without an answer"
        except (OSError, ValueError, LookupError, asyncio.LimitOverrunError) as error:
            wrong = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - sent
        self.result.slowest_seconds[kind] = max(seconds, self.result.slowest_seconds.get(kind, 0.0))
        if wrong:
            self.result.failures.append(f"{kind}: {wrong}")
            connection.close()
        else:
            self.result.answers.append(Answer(sent, seconds, kind, reply.headers["x-release-note"]))
            if request.body:
                self.result.posted.append(unique)

    def _wrong(self, kind: str, body: bytes, unique: str, reply: _Reply) -> str:
        """What is not right about an answer; empty where all is."""
        if reply.status != 200:
            return f"status {reply.status}"
        if "x-release-note" not in reply.headers:
            return "no release note"
        if body and reply.body != body:
            return "not the body that was sent"
        if kind in self._seconds and not reply.body.startswith(b"slept"):
            return "not the answer of /slow"
        if kind == "get":
            seen = json.loads(reply.body)
            if (seen.get("app"), seen.get("path")) != (self._app, f"/whoami?id={unique}"):
                return "answer of another app or to another request"
            if seen.get("release_note") != reply.headers["x-release-note"]:
                return "two releases in one answer"
        return ""


async def run(
    url: str,
    *,
    app: str,
    seconds: float = MOST_SECONDS,
    until: asyncio.Event | None = None,
    clients: int = 12,
    trickle: bool = True,
    slow_seconds: float = 2.0,
    poll_seconds: float = 0.0,
    result: Result | None = None,
) -> Result:
    """What `clients` saw until the event or the time came, whichever is first; requests under way are finished.

    Raises:
        ValueError: the URL is not http on loopback, or more load is asked for than this client gives.
    """
    if clients > 64 or seconds > MOST_SECONDS:
        raise ValueError(f"at most 64 clients for {MOST_SECONDS:g} s")
    stop = until or asyncio.Event()
    waits = {"slow": slow_seconds, "poll": poll_seconds}
    group = _Clients(url, app=app, clients=clients, seconds=waits, stop=stop, result=result or Result())
    asyncio.get_running_loop().call_later(seconds, stop.set)
    tasks = [group.client(number) for number in range(clients)]
    # Open across whatever happens: an upload and, where it is asked for, a long poll.
    tasks += [group.again("trickle")] if trickle else []
    tasks += [group.again("poll")] if poll_seconds else []
    await asyncio.gather(*tasks)
    return group.result


class Load:
    """The load in a thread of its own, for the length of a `with`; `result` may be looked at at any time."""

    def __init__(self, url: str, *, app: str, **more: float) -> None:
        self.result = Result()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._run = run(url, app=app, until=self._stop, result=self.result, **more)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._error: Exception | None = None

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._run)
        except Exception as error:
            self._error = error

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT_SECONDS + TRICKLE_SECONDS + 10)
        assert not self._thread.is_alive(), "the load did not end"
        self._loop.close()
        if self._error is not None and error is None:
            raise self._error

    def until(self, holds: Callable[[Result], bool], within_seconds: float) -> bool:
        """Whether it came to hold in that time, while the load goes on."""
        deadline = time.monotonic() + within_seconds
        while not holds(self.result):
            if time.monotonic() > deadline or not self._thread.is_alive():
                return False
            time.sleep(0.05)
        return True
