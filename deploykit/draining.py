"""What is still open on an instance that was told to stop, counted and told while somebody waits for its end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

END_SECONDS = 2
"""How long a server may take to end once its grace is over; it is killed only then."""

QUIET_SECONDS = 1.0
"""What ends within this time is not worth a line."""

CONNECTED, LISTENS = "03", 0x10000
"""State and flag of a socket as `/proc/net/unix` has them."""


@contextlib.contextmanager
def told(tell: Callable[[str], None], name: str, count: Callable[[], int], grace_seconds: float) -> Iterator[None]:
    """While inside, tells how many connections are open on that instance and how long they may be, as that changes."""
    began, over = time.monotonic(), threading.Event()

    def watch() -> None:
        last = 0
        while not over.wait(QUIET_SECONDS):
            number = count()
            left = grace_seconds - (time.monotonic() - began)
            if number != last and left > 0 and not over.is_set():
                tell(_words(name, number, left))
            last = number

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()


def _words(name: str, number: int, left: float) -> str:
    if not number:
        return f"{name}: no connection is open any more"
    are = "1 connection is" if number == 1 else f"{number} connections are"
    return f"{name}: {are} still open, for {left:.1f} s at most"


def connected(lines: Iterable[str], address: str, inodes: Collection[str] | None = None) -> int:
    """How many accepted connections of a socket whose path ends like that `/proc/net/unix` lists, of those inodes."""
    found = 0
    for line in lines:
        words = line.split(maxsplit=7)
        if len(words) < 8 or words[5] != CONNECTED or not words[7].endswith(address):
            continue
        if int(words[3], 16) & LISTENS == 0 and (inodes is None or words[6] in inodes):
            found += 1
    return found


def connected_here(pids: Iterable[int], address: str) -> int:
    """How many connections these processes of this machine have accepted on a unix socket whose path ends like that."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    kind, _, inode = os.readlink(handle).rstrip("]").partition(":[")  # noqa: PTH115 -- no file
                    if kind == "socket":
                        inodes.add(inode)
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return connected(lines, address, inodes)
