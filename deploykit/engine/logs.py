"""What containers wrote, several at once, in the order of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deploykit.engine import connection
from deploykit.runtimes import LogLine

if TYPE_CHECKING:
    from docker.models.containers import Container


def last(named: Mapping[str, list[Container]], lines: int) -> list[LogLine]:
    """The last lines of each name, all together in the order of time."""
    found: list[LogLine] = []
    for name, its in named.items():
        own: list[LogLine] = []
        for container in its:
            with connection.explained(f"can't read the log of {name}"):
                text = container.logs(timestamps=True, tail=lines).decode(errors="replace")
            own += [_line(name, line) for line in text.splitlines()]
        own.sort(key=lambda line: line.at or 0)
        found += own[-lines:] if lines else []
    return sorted(found, key=lambda line: line.at or 0)


def follow(named: Mapping[str, list[Container]], lines: int) -> Iterator[LogLine]:
    """The last lines of each name, then new ones as they come, until all of these containers have ended."""
    waiting: queue.Queue[LogLine | None] = queue.Queue()
    streams: list[Any] = []
    for name, its in named.items():
        for container in its:
            with connection.explained(f"can't read the log of {name}"):
                stream = container.logs(timestamps=True, tail=lines, stream=True, follow=True)
            streams.append(stream)
            threading.Thread(target=_pass_on, args=(name, stream, waiting), daemon=True).start()
    ended = 0
    try:
        while ended < len(streams):
            line = waiting.get()
            if line is None:
                ended += 1
            else:
                yield line
    finally:
        for stream in streams:
            stream.close()


def _pass_on(name: str, stream: Any, waiting: queue.Queue[LogLine | None]) -> None:
    import docker
    import requests
    import urllib3

    left = b""
    try:
        for chunk in stream:
            *whole, left = (left + chunk).split(b"\n")
            for line in whole:
                waiting.put(_line(name, line.decode(errors="replace")))
    except (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
        pass  # it was closed, by its end or by ours
    except (OSError, ValueError, AttributeError):
        pass  # closed while it was being read
    finally:
        waiting.put(None)


def _line(name: str, text: str) -> LogLine:
    stamp, _, rest = text.rstrip("\r\n").partition(" ")
    head, _, digits = stamp.removesuffix("Z").partition(".")
    try:
        at = datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{digits or 0}")
    except ValueError:
        return LogLine(name, text)
    return LogLine(name, rest, at)
