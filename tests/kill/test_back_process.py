"""`rollback` and `down` killed before each of their effects; and what ends any command from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import matrix
import pytest
from invariants import Invariants
from killing import LONG, counted, started, wait_for
from matrix import Lane, loaded

pytestmark = pytest.mark.slow


def test_rollback_killed_anywhere_is_finished_or_undone_by_whatever_comes_next(tmp_path: Path) -> None:
    matrix.whole_row("process", tmp_path, "rollback", 2)


def test_down_killed_anywhere_is_finished_or_undone_by_whatever_comes_next(tmp_path: Path) -> None:
    matrix.whole_row("process", tmp_path, "down", 0)


CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
TIMES = 17 if LONG else 2
"""Moments for each signal; with the three signals some fifty."""
WITHIN_SECONDS = 5.0 if LONG else 20.0
"""What is promised is 5 s; the short run shares two cores with other tests."""


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """A stack with two releases."""
    lane = Lane("process", tmp_path_factory.mktemp("signals") / "stack")
    try:
        lane.served_twice()
        yield lane
    finally:
        lane.example.remove()


@pytest.mark.parametrize("how", CODES, ids=lambda how: how.name)
def test_a_signal_ends_up_at_once_and_the_old_release_serves(lane: Lane, how: signal.Signals) -> None:
    lane.change()
    count = len(counted(lane.example, "up").effects)
    moments = random.Random(how.name)  # noqa: S311 -- the same ones in every run
    for _ in range(TIMES):
        lane.change()
        before, number = Invariants(lane.example), moments.randrange(4, count)
        with loaded(lane):
            with started(lane.example, "up") as (process, log):
                assert wait_for(lambda log=log, n=number: len(log.read_text().splitlines()) >= n)  # type: ignore[misc]
                process.send_signal(how)
                sent = time.monotonic()
                said, _ = process.communicate(timeout=60)
            assert time.monotonic() - sent < WITHIN_SECONDS, said
            assert process.returncode in (CODES[how], 0), said
            assert "Traceback" not in said
            refuse_held(lane)
            lane.up()
        before.hold(again=False)


def refuse_held(lane: Lane) -> None:
    with (lane.example.home / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_closed_terminal_ends_up_and_the_old_release_serves(lane: Lane) -> None:
    lane.change()
    before = Invariants(lane.example)
    master, terminal = pty.openpty()
    with loaded(lane):
        with started(lane.example, "up", terminal=terminal) as (process, log):
            os.close(terminal)
            assert wait_for(lambda: "generation.json" in log.read_text())
            os.close(master)
            assert process.wait(60) == 129
        refuse_held(lane)
        lane.up()
    before.hold(again=False)
