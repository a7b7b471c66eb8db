"""What each command says of a stack that runs, to a person and to a program, also where the spec can't be read."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import APP, SPEC
from ports import free_port

pytestmark = pytest.mark.slow

Deploykit = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "deploykit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny project, up as processes."""
    folder = tmp_path_factory.mktemp("live") / "tiny"
    folder.mkdir()
    port = free_port()
    spec = SPEC.replace("name: tiny", f"name: tiny{port}") + f"listen: 127.0.0.1:{port}\n"
    (folder / "deploykit.yaml").write_text(spec)
    (folder / "tiny.py").write_text(APP)
    try:
        up = subprocess.run([*COMMAND, "up"], cwd=folder, capture_output=True, text=True, timeout=300)
        assert up.returncode == 0, up.stdout + up.stderr
        (folder.parent / "up.txt").write_text(up.stdout)
        yield folder
    finally:
        if (folder / "spec.bak").exists():
            (folder / "spec.bak").rename(folder / "deploykit.yaml")
        subprocess.run([*COMMAND, "down", "--volumes", "--yes"], cwd=folder, capture_output=True, timeout=120)


@pytest.fixture
def live(folder: Path) -> Deploykit:
    def run(*words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*COMMAND, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def without_spec(folder: Path) -> Iterator[None]:
    """The spec is broken meanwhile."""
    spec, kept = folder / "deploykit.yaml", folder / "spec.bak"
    spec.rename(kept)
    spec.write_text("version: [1\n")
    yield
    kept.rename(spec)


def test_up_ends_with_what_was_promised_and_measured_and_the_address(folder: Path) -> None:
    table = (folder.parent / "up.txt").read_text()
    assert re.search(r":\d+ +web: weights 3:1 +30/10 of 40 +kept\n", table)
    assert re.search(r"\n \d+ kept · 0 broken · \d+ not run    http://localhost:\d+\n", table)


def test_a_second_up_says_that_nothing_changed(live: Deploykit) -> None:
    assert "nothing changed" in live("up").stderr


def test_quiet_leaves_the_answer_only(live: Deploykit) -> None:
    result = live("up", "--quiet")
    assert result.stderr == ""
    assert " kept · " in result.stdout


def test_plan_has_nothing_to_do(live: Deploykit) -> None:
    result = live("plan")
    assert "nothing to do" in result.stdout
    data = json.loads(live("plan", "--json").stdout)
    assert data["steps"] == []
    assert {"facts", "files", "apps", "sites", "checks", "releases"} <= set(data)


def test_status_has_a_line_for_each_member_and_nginx(live: Deploykit) -> None:
    lines = live("status").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["web-1", "running", "healthy"],
        ["web-2", "running", "healthy"],
        ["nginx", "running", "healthy"],
    ]


def test_status_and_logs_need_no_readable_spec(live: Deploykit, without_spec: None) -> None:
    live("check", expect=2)
    assert len(json.loads(live("status", "--json").stdout)["members"]) == 2
    assert live("logs", "nginx", "-n", "1").stdout.startswith("nginx |")
    live("run", "web", "--", "true")


def test_a_link_to_the_spec_means_the_stack_of_that_spec(folder: Path, live: Deploykit, tmp_path: Path) -> None:
    (tmp_path / "deploykit.yaml").symlink_to(folder / "deploykit.yaml")
    result = subprocess.run([*COMMAND, "status", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout, result.stderr
    assert len(json.loads(result.stdout)["members"]) == 2


def test_logs_name_each_line_and_know_what_there_is(live: Deploykit) -> None:
    assert {line.split()[0] for line in live("logs").stdout.splitlines()} == {"web-1", "web-2", "nginx"}
    assert live("logs", "web-1", "-n", "0").stdout == ""
    assert "did you mean `web-1`?" in live("logs", "web-11", expect=2).stderr


def test_followed_logs_show_new_lines_and_end_quietly(folder: Path, live: Deploykit) -> None:
    process = subprocess.Popen(
        [*COMMAND, "logs", "-f", "-n", "0", "nginx"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = int(re.search(r"127\.0\.0\.1:(\d+)", (folder / "deploykit.yaml").read_text())[1])  # type: ignore[index]
        os.set_blocking(process.stdout.fileno(), False)
        deadline, seen = time.monotonic() + 30, b""
        while b"/followed" not in seen:
            assert time.monotonic() < deadline, seen
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET /followed HTTP/1.0\r\nHost: localhost\r\n\r\n")
                client.recv(4096)
            seen += process.stdout.read() or b""
    finally:
        process.send_signal(signal.SIGINT)
        _rest, told = process.communicate(timeout=30)
    assert (process.returncode, told.strip()) == (130, b"")


def test_a_one_off_has_the_apps_environment_and_its_own_exit_code(live: Deploykit) -> None:
    assert live("run", "web", "python", "-c", "import tiny; print(tiny.app.__name__)").stdout == "app\n"
    live("run", "web", "--", "python", "-c", "raise SystemExit(7)", expect=7)
    assert "there is no app `wbe`\n  hint: did you mean `web`?" in live("run", "wbe", "--", "true", expect=2).stderr


@pytest.mark.parametrize(("key", "code"), [(b"\x03", 130), (b"\x1c", 131)])
def test_a_one_off_takes_the_keys_of_the_terminal_and_says_how_it_ended(
    folder: Path, live: Deploykit, key: bytes, code: int
) -> None:
    words = ["python", "-c", "import signal, time; signal.signal(2, signal.SIG_DFL); print('go'); time.sleep(60)"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(COMMAND[0], [*COMMAND, "run", "web", "--", *words])  # noqa: S606
    seen = b""
    while b"go" not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, key)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(done[1]) == code


def test_a_one_off_is_told_to_end_before_deploykit_does(folder: Path, live: Deploykit) -> None:
    program = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: sys.exit(print('in order', flush=True)))\n"
        "print('go', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [*COMMAND, "run", "web", "--", "python", "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "in order\n"
    assert process.returncode == 143


def test_restart_knows_apps_and_members(live: Deploykit) -> None:
    assert re.search(r"restart +web-2 +healthy", live("restart", "web-2").stderr)
    assert "there is no process `web-3`" in live("restart", "web-3", expect=2).stderr


def test_the_report_goes_to_programs_and_to_ci(live: Deploykit, tmp_path: Path) -> None:
    data = json.loads(live("test", "--json", "--junit", str(tmp_path / "report.xml")).stdout)
    assert data["kept"] is True
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()  # noqa: S314 -- written by us
    assert suite.get("tests") == str(len(data["checks"]))
    assert suite.get("failures") == "0"


def test_what_may_not_be_run_is_listed_as_not_run(live: Deploykit) -> None:
    checks = json.loads(live("test", "--json", "--allow", "read").stdout)["checks"]
    assert {check["verdict"] for check in checks if check["effect"] != "read"} == {"not run"}
    assert "kept" in {check["verdict"] for check in checks if check["effect"] == "read"}


def test_an_app_that_does_not_start_is_exit_3_and_what_ran_before_runs(live: Deploykit, folder: Path) -> None:
    (folder / "tiny.py").write_text(APP + "raise RuntimeError('written by mistake')\n")
    try:
        result = live("up", expect=3)
    finally:
        (folder / "tiny.py").write_text(APP)
    assert "written by mistake" in result.stderr
    assert "Traceback (most recent call last):\n  File" not in result.stderr, "a traceback of deploykit's own"
    assert "now: what served before serves" in result.stderr
    live("test")


def test_an_interrupted_up_says_so_and_the_next_one_goes_on(live: Deploykit, folder: Path) -> None:
    spec = folder / "deploykit.yaml"
    before = spec.read_text()
    spec.write_text(before.replace("apps:\n  web:\n", "apps:\n  web:\n    release: [sleep 60]\n"))
    process = subprocess.Popen([*COMMAND, "up"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        told = ""
        while "sleep 60" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        _out, rest = process.communicate(timeout=60)
    finally:
        process.kill()
        spec.write_text(before)
    assert process.returncode == 130
    assert "the next `deploykit up` goes on from here" in rest
    live("up")
    live("test")


def test_the_target_of_what_is_up_sticks(live: Deploykit) -> None:
    result = live("up", "--target", "docker", expect=5)
    assert "is up on the target process" in result.stderr
    assert "deploykit down" in result.stderr


def test_data_is_not_removed_without_being_asked(live: Deploykit) -> None:
    assert "add `--yes`" in live("down", "--volumes", expect=2).stderr
    live("test")


def test_down_twice_is_no_error_and_leaves_nothing(live: Deploykit, folder: Path) -> None:
    assert "is down" in live("down").stderr
    live("down")
    live("status", expect=5)
    assert "deploykit up" in live("test", expect=5).stderr
