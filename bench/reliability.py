"""Releases and rollbacks under the load of the tests, on each target with each example: what was lost, what it took."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent
SWITCHES = 5
"""Of each stack; `make long` does 75 of each."""

HEADING = "## Reliability"

WORDS = """12 clients, every second one with a kept connection: 70 % GET, 20 % POST, 10 % that take 2 s; across each
switch an upload of a megabyte over 5 s and a long poll are open. Failed is anything but the right answer of the right
release, stale a kept connection closed under a request, twice a POST that was carried out twice. Times are of GET.
Where nothing is lost in K switches, a switch loses something in less than 3/K of cases (with 95 % confidence).
"""

COLUMNS = ("stack", "requests", "switches", "failed", "stale", "twice", "p99 before", "p99 during", "worst", "rollback")


def reliability() -> Iterator[str]:
    """A row per stack; it ends at the first request that is lost, with what it was."""
    sys.path.insert(0, str(TOP / "tests"))
    from stacks import APPS, brought_up
    from switches import lose_nothing

    rows = []
    for target in ("process", "docker"):
        for kind in APPS:
            folder = Path(tempfile.mkdtemp(prefix="bench-"))
            try:
                with brought_up(kind, target, folder / kind) as it:
                    nginx = it.up()["versions"]["nginx"]
                    rows.append(row(f"`examples/{kind}`, {target}, nginx {nginx}", lose_nothing(it, SWITCHES)))
            finally:
                shutil.rmtree(folder)
    yield f"\n{HEADING}: releases and rollbacks under load\n"
    yield f"{time.strftime('%Y-%m-%d')}, commit {said('git', 'rev-parse', '--short', 'HEAD')}, {servers()}.\n{WORDS}"
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    yield from rows


def row(stack: str, seen: Any) -> str:
    """What came of all its switches."""
    from load import p99

    counts = (f"{seen.requests:,}", seen.switches, seen.failed, seen.stale_close, seen.twice)
    seconds = (p99(seen.steady), p99(seen.during), seen.slowest_seconds)
    times = [f"{each * 1000:.0f} ms" for each in seconds] + [f"{max(seen.took['rollback']):.1f} s"]
    return f"| {' | '.join([stack, *map(str, counts), *times])} |"


def servers() -> str:
    """The versions that answer."""
    import importlib.metadata as metadata

    python = ", ".join(f"{name} {metadata.version(name)}" for name in ("gunicorn", "pyuwsgi"))
    return f"{python}, Docker {said('docker', 'version', '--format', '{{.Server.Version}}')}"


def said(*words: str) -> str:
    """What a program printed."""
    return subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def replaced(text: str, section: str) -> str:
    """The results with that section in the place of the one there, or at the end."""
    head, heading, rest = text.partition(f"\n{HEADING}")
    _, following, after = rest.partition("\n## ")
    return head.rstrip("\n") + "\n" + section + (following + after if heading else "")
