"""Finds and ends the processes of a stack that belong to nothing any more: what a kill -9 left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from deploykit.supervision.home import Home
from deploykit.supervision.supervisord import is_alive, wake


@dataclass(frozen=True)
class Stray:
    """The uppermost process of a lost family, with all of the family."""

    name: str
    """To be printed, as `nginx: worker process (4711)`."""
    family: tuple[Any, ...]
    """psutil processes, the uppermost first."""


def strays(home: Home, supervisord_pid: int | None) -> tuple[Stray, ...]:
    """Every family of processes of this stack that is neither supervisord's nor a command that somebody is running."""
    ours = _processes_of(home)
    families: dict[int, list[Any]] = {}
    for pid in ours:
        families.setdefault(_uppermost(pid, ours), []).append(ours[pid][0])
    found = []
    for top, members in sorted(families.items()):
        process, parent = ours[top]
        if top == supervisord_pid or _is_run_by_somebody(process, parent):
            continue
        members.sort(key=lambda member: (member.pid != top, member.pid))
        found.append(Stray(_name(process), tuple(members)))
    return tuple(found)


def end(lost: tuple[Stray, ...], patience_seconds: float) -> None:
    """They are gone: each asked to finish what it does, killed where that takes longer."""
    import psutil

    for stray in lost:
        # TERM is graceful for the app servers (their configuration sees to it) and a cut for nginx, whose word is QUIT.
        word = signal.SIGQUIT if stray.name.startswith("nginx") else signal.SIGTERM
        with contextlib.suppress(psutil.Error):
            stray.family[0].send_signal(word)
    everyone = [process for stray in lost for process in stray.family]
    wake(everyone)
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline and any(is_alive(process) for process in everyone):
        time.sleep(0.05)
    for process in everyone:
        with contextlib.suppress(psutil.Error):
            if is_alive(process):
                process.kill()
    gone = time.monotonic() + 5
    while time.monotonic() < gone and any(is_alive(process) for process in everyone):
        time.sleep(0.02)


def _processes_of(home: Home) -> dict[int, tuple[Any, int]]:
    """Process id to the process and its parent's id."""
    import psutil

    uid = os.geteuid()
    here = os.path.realpath(home.root)
    found: dict[int, tuple[Any, int]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.uids().effective != uid or not is_alive(process):
                continue
            if _belongs(process, home.stack_id, here):
                found[process.pid] = (process, process.ppid())
    return found


def _belongs(process: Any, stack_id: str, here: str) -> bool:
    environment = process.environ()
    told = environment.get("DEPLOYKIT_STACK")
    if told is not None:
        return bool(told == stack_id)
    if "PATH" in environment:
        return False
    # nginx, and whatever else sets its own title, writes it over its environment: then its working folder tells.
    folder = process.cwd()
    return bool(folder == here or folder.startswith(here + "/"))


def _uppermost(pid: int, ours: dict[int, tuple[Any, int]]) -> int:
    while ours[pid][1] in ours:
        pid = ours[pid][1]
    return pid


def _is_run_by_somebody(process: Any, parent: int) -> bool:
    """Whether it is a one-off whose deploykit still waits for it, in the same session; an orphan has another parent."""
    if parent <= 1:
        return False
    try:
        return os.getsid(process.pid) == os.getsid(parent)
    except OSError:
        return False


def _name(process: Any) -> str:
    import psutil

    try:
        words = process.cmdline()
        title = " ".join(words[:4]).strip() or process.name()
    except psutil.Error:
        title = "process"
    return f"{title[:80]} ({process.pid})"
