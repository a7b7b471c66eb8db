"""A disk that is full or fails at any write: exit 5 with the path, what served serves, and the next run gets there."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import COMMAND, Tiny

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("failing_disk.c")
FOR_EVER = 1_000_000
ERRORS = {"ENOSPC": FOR_EVER, "EROFS": FOR_EVER, "EIO": 1, "EACCES": 1, "EMFILE": 1}
"""How a disk fails, and for how many calls."""
LONG = bool(os.environ.get("DEPLOYKIT_LONG"))
TRIES = 12
"""How many of the calls of `up` fail in turn, spread evenly; all of them where DEPLOYKIT_LONG is set."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "failing_disk.so"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), str(SOURCE), "-ldl"]
    made = subprocess.run(words, capture_output=True, text=True)
    assert made.returncode == 0, f"needs gcc and libc6-dev: {made.stderr}"
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    """The tiny project, up."""
    tiny = Tiny(tmp_path_factory.mktemp("disk") / "tiny")
    try:
        tiny.run("up")
        yield tiny
    finally:
        subprocess.run([*COMMAND, "down", "--volumes", "--yes"], cwd=tiny.folder, capture_output=True, timeout=120)


def failing(library: Path, below: Path, error: str, first: int, calls: int) -> dict[str, str]:
    """The variables that let the disk fail."""
    return {
        "LD_PRELOAD": str(library),
        "FAIL_BELOW": str(below),
        "FAIL_ERRNO": str(getattr(errno, error)),
        "FAIL_FROM": str(first),
        "FAIL_CALLS": str(calls),
        "FAIL_COUNT": str(below.parent / "count"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def counted(below: Path) -> int:
    return int((below.parent / "count").read_text())


def points(total: int, tries: int) -> list[int]:
    """Which calls fail."""
    if LONG:
        return list(range(1, total + 1))
    return sorted({1 + round(index * (total - 1) / (tries - 1)) for index in range(tries)})


def test_up_with_a_disk_that_fails_at_any_call(library: Path, tiny: Tiny) -> None:
    kept = tiny.folder / ".deploykit"
    tiny.says("counted")
    code, said = tiny.tried("up", **failing(library, kept, "EIO", 0, 0))
    assert code == 0, said
    total = counted(kept)
    assert total > 40
    serving, refused = "counted", 0
    for number, first in enumerate(points(total, TRIES)):
        error, calls = list(ERRORS.items())[number % len(ERRORS)]
        wanted = f"try {first}"
        tiny.says(wanted)
        code, said = tiny.tried("up", **failing(library, kept, error, first, calls))
        where = f"{error} at call {first} of {total}: exit {code}\n{said}"
        assert code in (0, 5), where
        assert tiny.answer() in ((serving, wanted) if code else (wanted,)), where
        if code == 5:
            refused += 1
            assert str(kept) in said, where
        assert not list(kept.glob("*/.*.part")), where
        code, said = tiny.tried("up")
        assert code == 0, f"after {where}\n{said}"
        assert tiny.answer() == wanted
        serving = wanted
    assert refused >= TRIES // 3
    assert "nothing changed" in tiny.run("up")


def test_down_with_a_disk_that_fails_goes_on_when_it_is_run_again(library: Path, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path / "tiny")
    kept = tiny.folder / ".deploykit"
    for error, first in (("EIO", 3), ("EROFS", 1), ("ENOSPC", 1)):
        tiny.run("up")
        code, said = tiny.tried("down", **failing(library, kept, error, first, ERRORS[error]))
        assert code == 0 or (code == 5 and str(kept) in said), said
        tiny.run("down")
        assert tiny.alive() == {}
        assert {path.name for path in tiny.home.iterdir()} <= {"volumes", "lock"}


def test_render_on_a_disk_that_fails_at_any_call_leaves_whole_files(library: Path, tiny: Tiny, tmp_path: Path) -> None:
    words = ("render", "--assumed", "-o")
    tiny.run(*words, str(tmp_path / "whole"))
    whole = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in (tmp_path / "whole").rglob("*.conf*")}
    out = tmp_path / "out"
    code, said = tiny.tried(*words, str(out), **failing(library, out, "EIO", 0, 0))
    assert code == 0, said
    for number, first in enumerate(points(counted(out), 6)):
        error, calls = list(ERRORS.items())[number % len(ERRORS)]
        folder = tmp_path / f"out{first}"
        code, said = tiny.tried(*words, str(folder), **failing(library, folder, error, first, calls))
        where = f"{error} at call {first}"
        assert code == 5, (where, said)
        assert str(folder) in said
        for path in folder.rglob("[!.]*.conf*") if folder.is_dir() else ():
            assert path.read_bytes() == whole[path.relative_to(folder)]
        tiny.run(*words, str(folder))
        assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.conf*")} == whole, where


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, left_bytes: int) -> None:
    """The disk has room for that much."""
    free = os.statvfs(disk)
    with (disk / "filler").open("wb") as filler:
        size = free.f_bavail * free.f_frsize - left_bytes
        os.posix_fallocate(filler.fileno(), 0, size)


def test_a_disk_that_is_full_is_told_and_what_serves_goes_on_and_writes_no_log(small_disk: Path) -> None:
    tiny = Tiny(small_disk / "tiny")
    try:
        tiny.run("up")
        for left in [0, 4096, 16384, 65536] if LONG else [0, 16384]:
            serving = tiny.answer()
            tiny.says(f"room for {left}" + " " * 20_000)
            fill(small_disk, left)
            said = tiny.run("up", expect=5)
            assert "No space left on device" in said
            assert str(tiny.home) in said
            for _ in range(50):
                assert tiny.answer() == serving
            tiny.run("status")
            (small_disk / "filler").unlink()
            tiny.run("up")
            assert tiny.answer().strip() == f"room for {left}"
        fill(small_disk, 0)
        tiny.run("down")
    finally:
        (small_disk / "filler").unlink(missing_ok=True)
        subprocess.run([*COMMAND, "down", "--volumes", "--yes"], cwd=tiny.folder, capture_output=True, timeout=120)
