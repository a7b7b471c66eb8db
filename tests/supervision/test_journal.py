"""The last lines of a log, and new ones over its rotation."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from deploykit.supervision import journal


@pytest.mark.parametrize("count", [0, 1, 3, 5000, 100_000])
def test_the_last_lines_are_the_last_lines(tmp_path: Path, count: int) -> None:
    lines = [f"line {number} é" for number in range(20_000)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert journal.last_lines(tmp_path / "log", count) == tuple(lines[-count:] if count else [])


def test_the_last_lines_go_on_in_the_file_that_was_rotated_away(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("one\ntwo\nthree\n")
    (tmp_path / "log").write_text("four\n")
    assert journal.last_lines(tmp_path / "log", 3) == ("two", "three", "four")
    assert journal.last_lines(tmp_path / "nowhere", 3) == ()


def test_what_was_written_since_is_all_of_a_file_that_was_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    offset = journal.size(path)
    path.write_text("old\nnew\n")
    assert journal.lines_since(path, offset, 10) == ("new",)
    path.write_text("x\n")
    assert journal.lines_since(path, offset, 10) == ("x",)


def test_following_loses_no_line_over_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    heard: list[str] = []
    started = threading.Event()

    def listen() -> None:
        for name, line in journal.follow(lambda: iter([("web-1", path), ("web-2", tmp_path / "later")]), 1):
            assert name in ("web-1", "web-2")
            heard.append(line)
            started.set()
            if line == "end":
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert started.wait(10)
    for turn in range(4):
        with path.open("a") as file:
            file.write(f"{turn} a\n{turn} b")
            file.flush()
            time.sleep(journal.PAUSE_SECONDS * 1.5)
            file.write("\n")
        path.rename(tmp_path / "log.1")
        path.write_text(f"{turn} c\n")
        deadline = time.monotonic() + 10
        while f"{turn} c" not in heard and time.monotonic() < deadline:
            time.sleep(0.01)
    with (tmp_path / "later").open("w") as file:
        file.write("end\n")
    listener.join(10)
    assert heard == ["before", *(f"{turn} {part}" for turn in range(4) for part in "abc"), "end"]


def test_what_a_command_says_is_recorded_and_takes_bounded_room(tmp_path: Path) -> None:
    log = tmp_path / "release.log"
    log.write_text("$ first\n")
    with journal.recorded(log, 1 << 20) as output:
        subprocess.run(["sh", "-c", "echo begun; yes | head -c 5000000; echo last"], stdout=output, check=True)
    assert journal.last_lines(log, 1) == ("last",)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 << 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release.log", "release.log.1"]


def test_a_command_that_leaves_something_behind_is_not_waited_for(tmp_path: Path) -> None:
    with journal.recorded(tmp_path / "release.log") as output:
        left = subprocess.Popen(["sleep", "60"], stdout=output)
        subprocess.run(["echo", "said"], stdout=output, check=True)
    assert left.poll() is None
    left.kill()
    left.wait()
    assert journal.last_lines(tmp_path / "release.log", 5) == ("said",)
