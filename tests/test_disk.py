"""Changes on disk are either done or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit import disk
from deploykit.errors import EnvironmentLacks


def test_a_file_has_its_mode_from_the_first_moment(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        disk.write(tmp_path / "a" / "secret", b"x", 0o600)
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "secret").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_old_file_and_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "from pathlib import Path; from deploykit import disk\n"
        "disk.write(Path(sys.argv[1]), b'n' * 10000)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert "EnvironmentLacks" in result.stderr
    assert str(path) in result.stderr
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old" * 1000)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom deploykit import disk\n"
        "left = int(sys.argv[2])\n"
        "def hook(event, args):\n"
        "    global left\n"
        "    if event in ('open', 'os.rename', 'os.remove', 'tempfile.mkstemp', 'os.mkdir'):\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(hook)\n"
        "disk.write(Path(sys.argv[1]), b'new' * 1000)\n"
    )
    codes = set()
    for point in range(12):
        result = subprocess.run([sys.executable, "-c", script, str(path), str(point)], capture_output=True)
        codes.add(result.returncode)
        assert path.read_text() in ("old" * 1000, "new" * 1000)
    assert codes == {-9, 0}


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    disk.link(tmp_path / "current", "one")
    disk.link(tmp_path / "current", "two")
    assert disk.read_link(tmp_path / "current") == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_removing_a_link_leaves_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    disk.link(tmp_path / "link", "folder")
    disk.remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_gone_at_once_whatever_moment_it_is_killed_at(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom deploykit import disk\n"
        "left = int(sys.argv[2])\n"
        "def hook(event, args):\n"
        "    global left\n"
        "    if event in ('os.rename', 'os.remove', 'os.rmdir'):\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(hook)\n"
        "disk.remove(Path(sys.argv[1]))\n"
    )
    for point in range(7):
        folder = tmp_path / str(point) / "folder"
        folder.mkdir(parents=True)
        for name in ("one", "two", "three"):
            (folder / name).write_text("")
        ended = subprocess.run([sys.executable, "-c", script, str(folder), str(point)], capture_output=True)
        assert ended.returncode == (-9 if point < 5 else 0)
        assert not folder.exists() or len(list(folder.iterdir())) == 3
        disk.sweep(folder.parent)
        assert list(folder.parent.iterdir()) == ([folder] if point == 0 else [])


def test_what_another_process_is_writing_is_not_swept_away(tmp_path: Path) -> None:
    mine, theirs, other = (tmp_path / name for name in (f".a.{os.getpid()}.x.part", ".a.1.x.part", ".mine.part"))
    for path in (mine, theirs, other):
        path.write_text("")
    disk.sweep(tmp_path)
    assert [path.exists() for path in (mine, theirs, other)] == [False, True, True]


def test_a_missing_permission_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentLacks, match=r"File exists|Not a directory"):
        disk.write(tmp_path / "file" / "below", "x")
