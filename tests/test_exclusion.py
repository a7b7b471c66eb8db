"""One deploykit at a time: a lock ends with its holder, however that ends, and whoever is refused is told by whom."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploykit import exclusion
from deploykit.errors import EnvironmentLacks, LockHeld

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom deploykit import exclusion\n"
    "with exclusion.held(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "lock"


@contextlib.contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until the end of the block."""
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()
            holder.communicate()


def refusal(path: Path, wait_seconds: float = 0.0) -> LockHeld:
    """What is said to whoever wants the lock now."""
    with pytest.raises(LockHeld) as raised, exclusion.held(path, wait_seconds):
        pass
    return raised.value


def test_whoever_is_refused_is_told_by_which_process_and_command_and_since_when(path: Path) -> None:
    before = time.time() - 1
    with holding(path) as holder:
        said = refusal(path).failure
        found = exclusion.holder(path)
    assert f"process {holder.pid}, since {time.strftime('%H:', time.localtime(found.since))}" in said.what
    assert f"`-c {path}`" in said.what
    assert before < found.since < time.time() + 1
    assert "--wait" in said.hint


def test_the_lock_of_a_killed_holder_is_free_at_once(path: Path) -> None:
    with holding(path) as holder:
        refusal(path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        began = time.monotonic()
        with exclusion.held(path):
            assert time.monotonic() - began < 1
            assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("how", ["removed", "replaced by another file", "moved away and made anew"])
def test_a_lock_file_that_is_taken_away_never_lets_two_in(path: Path, how: str) -> None:
    with holding(path) as holder:
        if how == "moved away and made anew":
            path.rename(path.with_name("away"))
            path.write_text("")
        elif how == "removed":
            path.unlink()
        else:
            path.with_name("other").write_text(json.dumps({"pid": 1, "started": "1", "command": "x", "since": 1}))
            path.with_name("other").replace(path)
        said = str(refusal(path))
        holder.kill()
        holder.wait()
        with exclusion.held(path):
            refused = subprocess.run([sys.executable, "-c", HOLD, str(path)], capture_output=True, text=True)
            assert "LockHeld" in refused.stderr
    assert "process 1" not in said


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 40, b"\xff\xfe", b"[1]", b"{", b"4711\n", b'{"pid": "x", "command": 5}', b"[" * 60000],
    ids=lambda content: repr(content[:12]),
)
def test_garbage_in_the_lock_file_decides_nothing(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with exclusion.held(path):
        pass
    with holding(path) as holder:
        path.write_bytes(content)
        said = str(refusal(path))
    # The kernel knows who it is, unless the file system is one that it names otherwise.
    assert f"process {holder.pid}" in said or "process" not in said.split("hint")[0]


def test_a_process_that_got_the_number_of_a_former_holder_is_not_blamed(path: Path) -> None:
    with holding(path) as holder:
        written = {**json.loads(path.read_text()), "pid": os.getpid(), "command": "deploykit up"}
        path.write_text(json.dumps(written))
        said = str(refusal(path))
        assert f"process {os.getpid()}," not in said
        assert "deploykit up" not in said
        assert holder.poll() is None


def test_of_a_stopped_holder_it_is_said_how_it_goes_on_and_nothing_is_stolen(path: Path) -> None:
    with holding(path) as holder:
        holder.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while not exclusion.holder(path).stopped and time.monotonic() < deadline:
            time.sleep(0.02)
        said = refusal(path).failure
        assert said.what.endswith("and it is stopped")
        assert f"`kill -CONT {holder.pid}` lets it go on" in said.hint
        assert f"`kill {holder.pid}`" in said.hint
        refusal(path)
        holder.send_signal(signal.SIGCONT)
        while exclusion.holder(path).stopped and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "it is stopped" not in str(refusal(path))


def test_waiting_ends_with_the_lock_as_soon_as_it_is_free_and_tells_that_it_waits(path: Path) -> None:
    told: list[str] = []
    with holding(path) as holder:
        threading.Timer(0.5, holder.kill).start()
        began = time.monotonic()
        with exclusion.held(path, 60, told.append):
            assert time.monotonic() - began < 30
    assert len(told) == 1
    assert f"process {holder.pid}" in told[0]
    assert "at most" in told[0]


def test_waiting_ends_when_the_time_is_over(path: Path) -> None:
    with holding(path):
        began = time.monotonic()
        said = str(refusal(path, 0.5))
        assert 0.5 <= time.monotonic() - began < 30
    assert "after 0.5 s of waiting" in said


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_in_the_place_of_a_lock_is_refused_and_left(path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(EnvironmentLacks, match=str(path)), exclusion.held(path):
        pass
    assert os.path.lexists(path)
    assert not path.with_name("elsewhere").exists()


def test_a_full_disk_is_no_reason_to_be_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n" + HOLD.replace("sys.stdin.read()", "pass")
    held = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert held.stdout == "held\n", held.stderr
