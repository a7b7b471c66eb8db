"""What the processes wrote: the last lines of a log, and new ones over its rotation."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path

from deploykit.health import End
from deploykit.supervision.home import Home
from deploykit.supervision.programs import LOG_BACKUPS

PAUSE_SECONDS = 0.25
BLOCK_BYTES = 65536
RECORDED_BYTES = 10 << 20
"""The most that a log of commands takes before it becomes the one before, as with the logs of programs."""
LONGEST_LINE_BYTES = 1 << 20


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """The last lines of the file, and of the one before it where that has just been rotated away."""
    lines = _tail(path, count)
    if len(lines) < count:
        lines = _tail(path.with_name(path.name + ".1"), count - len(lines)) + lines
    return tuple(lines)


def _tail(path: Path, count: int, end: int | None = None) -> list[str]:
    if count <= 0:
        return []
    data = b""
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            position = position if end is None else min(position, end)
            while position > 0 and data.count(b"\n") <= count and len(data) < LONGEST_LINE_BYTES * 4:
                step = min(BLOCK_BYTES, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except OSError:
        return []
    return _text(data)[-count:]


def _text(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n").split("\n") if data else []


@contextlib.contextmanager
def recorded(path: Path, limit_bytes: int = RECORDED_BYTES) -> Iterator[int]:
    """A descriptor to write to; what comes is added to that log, and the log with the one before it is bounded."""
    source, sink = os.pipe()
    recorder = threading.Thread(target=_record, args=(source, path, limit_bytes), daemon=True)
    recorder.start()
    try:
        yield sink
    finally:
        os.close(sink)
        # All is written by then, but for what a process says that the command has left behind.
        recorder.join(2.0)


def _record(source: int, path: Path, limit_bytes: int) -> None:
    with os.fdopen(source, "rb", buffering=0) as reader:
        # A full disk must not stop the reading: the command would wait for ever.
        while data := reader.read(BLOCK_BYTES):
            with contextlib.suppress(OSError):
                if size(path) + len(data) > limit_bytes:
                    path.replace(path.with_name(path.name + ".1"))
                file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.write(file, data)
                finally:
                    os.close(file)


def size(path: Path) -> int:
    """Bytes in the file now, 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def lines_since(path: Path, offset: int, count: int) -> tuple[str, ...]:
    """The last lines of what was written after that offset; of all where the file is shorter now."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = offset if end >= offset else 0
            file.seek(max(start, end - LONGEST_LINE_BYTES))
            return tuple(_text(file.read()))[-count:]
    except OSError:
        return ()


def mark(path: Path) -> str:
    """Where the file ends now; empty where it is not there."""
    try:
        seen = path.stat()
    except OSError:
        return ""
    return f"{seen.st_ino} {seen.st_size}"


def since(path: Path, mark: str) -> tuple[str, ...] | None:
    """The lines after that mark, also where the file was rotated meanwhile; None where not all are there any more."""
    inode, _, offset = mark.partition(" ")
    data = b""
    for candidate in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, LOG_BACKUPS + 1))):
        try:
            with candidate.open("rb") as file:
                is_it = str(os.fstat(file.fileno()).st_ino) == inode
                file.seek(int(offset) if is_it else 0)
                data = file.read() + data
        except (OSError, ValueError):
            return None
        if is_it:
            return tuple(_text(data))
    return None


class Follower:
    """Reads what is appended to one file, over its rotation."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self._file = _opened(path)
        self._rest = b""
        if self._file is not None and not from_start:
            self._file.seek(0, os.SEEK_END)

    def last_lines(self, count: int) -> tuple[str, ...]:
        """The last whole lines before where this began to follow."""
        end = self._file.tell() if self._file is not None else 0
        lines = _tail(self.path, count, end)
        if len(lines) < count:
            lines = _tail(self.path.with_name(self.path.name + ".1"), count - len(lines)) + lines
        return tuple(lines)

    def new_lines(self) -> list[str]:
        """Whole lines that came since the last call."""
        data = self._read()
        if self._rotated():
            data += self._read()
            self.close()
            self._file = _opened(self.path)
            data += self._read()
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            whole, newline, self._rest = whole + newline + self._rest, b"\n", b""
        return _text(whole + newline) if newline else []

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bytes:
        return b"" if self._file is None else self._file.read()

    def _rotated(self) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            return True
        if there.st_size < self._file.tell():
            self._file.seek(0)
        return False


def _opened(path: Path) -> FileIO | None:
    try:
        return path.open("rb", buffering=0)
    except OSError:
        return None


Logs = Callable[[], Iterator[tuple[str, Path]]]
"""Gives (name, path) of each log that is wanted; asked again and again, as there may be new ones."""


def last(logs: Logs, count: int) -> Iterator[tuple[str, str]]:
    """(name, line) of the last lines of each log."""
    for name, path in logs():
        for line in last_lines(path, count):
            yield name, line


def follow(logs: Logs, count: int) -> Iterator[tuple[str, str]]:
    """(name, line) of the last lines of each log, then of each new one as it comes, for ever."""
    # Opened before the last lines are read, so that none falls between the two.
    followers = {name: Follower(path) for name, path in logs()}
    try:
        for name, follower in followers.items():
            for line in follower.last_lines(count):
                yield name, line
        while True:
            for name, path in logs():
                if name not in followers:
                    # The log is new, so all of it is.
                    followers[name] = Follower(path, from_start=True)
            idle = True
            for name, follower in followers.items():
                for line in follower.new_lines():
                    idle = False
                    yield name, line
            if idle:
                time.sleep(PAUSE_SECONDS)
    finally:
        for follower in followers.values():
            follower.close()


def ends(home: Home) -> dict[str, tuple[End, ...]]:
    """Program to each time that it ended by itself since it was last started by deploykit, oldest first."""
    found: dict[str, list[End]] = {}
    since: dict[str, float] = {}
    with contextlib.suppress(OSError):
        since = {path.stem: path.stat().st_mtime for path in home.programs.iterdir() if path.suffix == ".conf"}
    log = home.log("supervisord")
    for path in (log.with_name(log.name + ".1"), log):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            match = ENDED.match(line)
            if match and match[3] in since:
                at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").timestamp() + int(match[2]) / 1000
                if at >= since[match[3]]:
                    found.setdefault(match[3], []).append(End(at, _exit_code(match[4])))
    return {name: tuple(its) for name, its in found.items()}


ENDED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) \w+ exited: (\S+) \((.*)\)$")
"""A line of supervisord's own log (supervisor/process.py)."""


def _exit_code(how: str) -> int | None:
    """What supervisord says of an end, as a shell would count it."""
    if found := re.match(r"exit status (\d+)", how):
        return int(found[1])
    if found := re.match(r"terminated by (SIG\w+)", how):
        with contextlib.suppress(KeyError):
            return 128 + signal.Signals[found[1]]
    return None
