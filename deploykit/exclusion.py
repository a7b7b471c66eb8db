"""One deploykit at a time on one stack. The kernel frees a lock when its holder dies, however: none is ever stale."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploykit import disk
from deploykit.errors import LockHeld

LOOK_EVERY_SECONDS = 0.1
TELL_EVERY_SECONDS = 10.0
LONGEST_COMMAND = 200
PROC = Path("/proc")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as far as it can be known."""

    pid: int = 0
    """0 where it is of another machine or of another container."""
    command: str = ""
    since: float = 0.0
    """Seconds since the epoch, 0 where nobody knows."""
    stopped: bool = False
    """By SIGSTOP or Ctrl-Z: it lives and does not go on."""

    def __str__(self) -> str:
        words = [f"`{self.command}`"] if self.command else []
        words += [f"process {self.pid}"] if self.pid else []
        words += [f"since {time.strftime('%H:%M:%S', time.localtime(self.since))}"] if self.since else []
        return ", ".join(words)


@contextlib.contextmanager
def held(path: Path, wait_seconds: float = 0.0, tell: Callable[[str], None] = lambda _line: None) -> Iterator[None]:
    """Nobody else is inside at the same time; waits for that as long as it is told to, and `tell`s about it.

    What is locked is the file and the folder that it lies in, so that no second one gets in where somebody removed or
    replaced the file. It says who is inside; what it says decides nothing.

    Raises:
        LockHeld: another process is inside; says which and since when, and what to do where it was stopped.
        EnvironmentLacks: the file can't be opened, or is none.
    """
    deadline = time.monotonic() + wait_seconds
    told = 0.0
    while True:
        descriptors = _take(path)
        if descriptors:
            break
        left = deadline - time.monotonic()
        if left <= 0:
            raise _refusal(path, wait_seconds)
        if time.monotonic() - told >= TELL_EVERY_SECONDS or not told:
            told = time.monotonic()
            tell(f"waiting for another deploykit{_named(holder(path))}, for {left:.0f} s at most")
        time.sleep(min(LOOK_EVERY_SECONDS, left))
    try:
        _sign(descriptors[0])
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _take(path: Path) -> tuple[int, ...]:
    """The descriptors that hold the lock; none where another process does."""
    taken: list[int] = []
    try:
        with disk.explained(f"can't open the lock {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                taken = [os.open(path, flags, 0o644)] if not path.is_symlink() else []
                if not taken or not stat.S_ISREG(os.fstat(taken[0]).st_mode):
                    raise OSError(errno.EINVAL, "it is a link or a pipe and not a file; remove it", str(path))
                taken.append(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                if not all(_flock(each) for each in taken):
                    _close(taken)
                    return ()
                if _is_still(path, taken[0]):
                    return tuple(taken)
                _close(taken)
    except BaseException:
        _close(taken)
        raise


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # A network file system has no locks for folders; then the file's own has to do.
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode) or error.errno not in (errno.EBADF, errno.ENOLCK):
            raise
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether what is open is what has that name: it may have been removed since it was opened."""
    mine = os.fstat(descriptor)
    with contextlib.suppress(FileNotFoundError):
        there = path.lstat()
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
    return False


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _sign(descriptor: int) -> None:
    name = Path(sys.argv[0]).name
    command = shlex.join(["deploykit" if name in ("__main__.py", "-m") else name, *sys.argv[1:]])
    shown = "".join(each if each.isprintable() else "?" for each in command)[:LONGEST_COMMAND]
    text = json.dumps({"pid": os.getpid(), "started": _started(os.getpid()), "command": shown, "since": time.time()})
    # On a full disk the kernel still knows who it is, and `down` makes room.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (text + "\n").encode(), 0)


# --- who it is ------------------------------------------------------------------------------------------------------


def _refusal(path: Path, waited_seconds: float) -> LockHeld:
    found = holder(path)
    waited = f" after {waited_seconds:g} s of waiting" if waited_seconds else ""
    what = f"another deploykit is at work on this stack{_named(found)}{waited}"
    if found.stopped:
        # A stopped process reads the signal that ends it only once it goes on.
        going_on = f"kill -CONT {found.pid}"
        hint = f"`{going_on}` lets it go on; `kill {found.pid}` and then `{going_on}` ends it"
        return LockHeld(f"{what}, and it is stopped", hint=hint)
    hint = "the lock is freed when that process ends"
    return LockHeld(what, hint=hint if waited_seconds else f"`--wait` waits until it is done; {hint}")


def _named(found: Holder) -> str:
    return f" ({found})" if str(found) else ""


def holder(path: Path) -> Holder:
    """Who holds the lock: what the kernel says, else what is written in the file and true of a process that lives."""
    try:
        written = json.loads(disk.read_regular(path, 1 << 16))
    except (OSError, ValueError, RecursionError):
        written = {}
    if not isinstance(written, dict):
        written = {}
    pid, started, command, since = (written.get(name) for name in ("pid", "started", "command", "since"))
    locking = _locking(path)
    true = isinstance(pid, int) and isinstance(started, str) and bool(started) and _started(pid) == started
    if not true or (locking and pid not in locking):
        if len(locking) != 1:
            return Holder()
        (pid,) = locking
        return Holder(pid, _command(pid), 0.0, _state(pid) == "T")
    assert isinstance(pid, int)  # noqa: S101 -- for the type checker: it is true
    return Holder(
        pid,
        command[:LONGEST_COMMAND] if isinstance(command, str) and command.isprintable() else "",
        float(since) if isinstance(since, int | float) else 0.0,
        _state(pid) == "T",
    )


def _locking(path: Path) -> set[int]:
    """The processes that hold a lock on that file, as the kernel lists them (proc_locks(5))."""
    found = set()
    with contextlib.suppress(OSError, ValueError):
        inode = str(path.stat().st_ino)
        for line in (PROC / "locks").read_text().splitlines():
            words = line.split()
            if len(words) == 8 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode and int(words[4]) > 0:
                found.add(int(words[4]))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        shown = shlex.join(words)
        return "".join(each if each.isprintable() else "?" for each in shown)[:LONGEST_COMMAND]
    return ""


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on; none where there is no such process."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _started(pid: int) -> str:
    """When it started, in ticks since the boot: tells it from a later process with its number."""
    return (_stat(pid) + [""] * 20)[19]


def _state(pid: int) -> str:
    return (_stat(pid) or [""])[0]
