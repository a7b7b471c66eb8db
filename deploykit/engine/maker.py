"""Which process of deploykit made a short-lived container: so what a killed one left is told from work in progress."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

PROC = Path("/proc")


@cache
def own() -> str:
    """This process, by the boot of this machine, the namespace of its number, its number and its start."""
    return f"{_world()} {os.getpid()} {_start(os.getpid())}"


def has_ended(maker: str) -> bool:
    """Whether that process has ended; False where it is of another machine and nobody here can know."""
    words = maker.split(" ")
    if len(words) != 4 or " ".join(words[:2]) != _world() or not words[2].isdigit():
        return False
    return _start(int(words[2])) != words[3]


@cache
def _world() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"  # noqa: PTH115 -- no path, but a name
    except OSError:
        return f"unknown {os.getpid()}"


def _start(process: int) -> str:
    """When it started, in ticks since the boot; empty where there is no such process (proc_pid_stat(5), field 22)."""
    try:
        return (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
