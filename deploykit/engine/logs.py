"""What containers wrote, several at once, in the order of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
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


def mark(found: Callable[[], Container | None]) -> str:
    """Where the log of that container ends now, in the Engine's own time; empty where there is none."""
    with connection.explained("can't read the log of nginx"):
        container = found()
        if container is None:
            return ""
        last = container.logs(timestamps=True, tail=1).decode(errors="replace")
    return f"{container.id} {last.partition(' ')[0]}"


def since(found: Callable[[], Container | None], mark: str) -> tuple[str, ...] | None:
    """The lines after that mark; None where it is of another container, whose log went with it."""
    owner, _, stamp = mark.partition(" ")
    # The Engine takes whole seconds here; its stamps are of one length, so they compare as text.
    begins = int(_line("nginx", f"{stamp} ").at or 0)
    with connection.explained("can't read the log of nginx"):
        container = found()
        if container is None or container.id != owner:
            return None
        told = container.logs(timestamps=True, since=begins or None)
    lines = (line.partition(" ") for line in told.decode(errors="replace").splitlines())
    return tuple(text for at, _, text in lines if at > stamp)


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
