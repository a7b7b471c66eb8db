"""Whatever goes wrong in `up`, what served before serves again, the exit code says what kind of thing it was,
and the next `up` ends where an undisturbed one would have.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stacks import COMMAND, Example, _environment, brought_up

pytestmark = [pytest.mark.slow, pytest.mark.docker]

TARGETS = ["process", "docker"]
WEIGHTS = "instances: [{weight: 3}, {weight: 1}]"


@pytest.fixture(scope="module", params=TARGETS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The Flask example with one instance, up."""
    folder = tmp_path_factory.mktemp("faults") / "flask"
    with brought_up("flask", request.param, folder) as example:
        example.edit("deploykit.yaml", WEIGHTS, "instances: 1")
        example.up()
        yield example


@contextlib.contextmanager
def edited(stack: Example, file: str, old: str, new: str) -> Iterator[None]:
    """The edit, undone afterwards."""
    path = stack.folder / file
    before = path.read_text()
    stack.edit(file, old, new)
    try:
        yield
    finally:
        path.write_text(before)


def serving(stack: Example) -> set[str]:
    """The releases that status says are running."""
    return {member["release"] for member in stack.json("status")["members"] if member["state"] == "running"}


def test_a_broken_import_is_told_by_its_module(stack: Example) -> None:
    before, alive = serving(stack), stack.alive()
    with edited(stack, "app.py", "app = Flask(", "import no_such_module\napp = Flask("):
        ended = stack.run("up", expect=3)
    assert "likely cause: the module `no_such_module` is not in the code" in ended.stderr
    assert "Traceback (most recent call last):\n  File" not in ended.stderr.split("last lines")[0]
    assert serving(stack) == before
    assert stack.alive() == alive
    assert stack.up()["changed"] is False


def test_a_broken_check_of_an_unchanged_stack_is_told_and_changes_nothing(stack: Example) -> None:
    alive = stack.alive()
    with edited(stack, "deploykit.yaml", "contains: Guest book", "contains: Something else"):
        ended = stack.run("up", expect=1)
    assert "Something else" in ended.stdout + ended.stderr
    assert stack.alive() == alive


def test_a_release_that_breaks_a_check_is_taken_back(stack: Example) -> None:
    before = serving(stack)
    with (
        edited(stack, "deploykit.yaml", "contains: Guest book", "contains: Something else"),
        edited(stack, "deploykit.yaml", "RELEASE_NOTE: first", "RELEASE_NOTE: broken"),
    ):
        ended = stack.run("up", expect=3)
        assert "what served before serves" in ended.stderr
        assert json.loads(stack.browser.get("/whoami").text)["release_note"] == "first"
    assert serving(stack) == before
    assert stack.up()["changed"] is False


def test_checks_are_answered_by_the_new_release_also_after_much_traffic_to_the_old_one(stack: Example) -> None:
    before = serving(stack)
    for _ in range(50):
        assert stack.browser.get("/whoami").status == 200
    with edited(stack, "app.py", 'app="guestbook"', 'app="somebody else"'):
        ended = stack.run("up", expect=3)
    assert "GET /whoami" in ended.stdout + ended.stderr
    assert serving(stack) == before
    assert stack.up()["changed"] is False


def test_a_stack_that_breaks_a_check_the_first_time_stays_up_to_be_looked_at(tmp_path: Path) -> None:
    example = Example("flask", "process", tmp_path / "flask")
    example.edit("deploykit.yaml", "contains: Guest book", "contains: Something else")
    try:
        ended = example.run("up", "--target", "process", expect=1)
        assert "Something else" in ended.stdout + ended.stderr
        assert example.browser.get("/").status == 200
    finally:
        example.remove()


@pytest.mark.parametrize("target", TARGETS)
def test_a_taken_port_is_told_before_anything_runs(tmp_path: Path, target: str) -> None:
    example = Example("flask", target, tmp_path / "flask")
    try:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", example.port))
            taken.listen()
            ended = example.run("up", "--target", target, expect=5)
            assert f"127.0.0.1:{example.port}" in ended.stderr
            assert example.port == taken.getsockname()[1]
        example.up()
        assert example.browser.get("/").status == 200
    finally:
        example.remove()


def test_a_missing_python_is_told_with_what_was_found(stack: Example) -> None:
    with edited(stack, "deploykit.yaml", "framework: flask", 'framework: flask\n    python: "3.99"'):
        ended = stack.run("up", expect=5)
    assert "3.99" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_another_target_is_refused_while_this_one_is_up(stack: Example) -> None:
    other = next(target for target in TARGETS if target != stack.target)
    ended = stack.run("up", "--target", other, expect=5)
    assert "deploykit down" in ended.stderr


def test_of_two_at_once_one_works_and_the_other_exits_4(stack: Example) -> None:
    with edited(stack, "deploykit.yaml", "RELEASE_NOTE: first", "RELEASE_NOTE: both"):
        words = [*COMMAND, "up"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
        both = [subprocess.Popen(words, cwd=stack.folder, env=_environment(), **pipes) for _ in range(2)]  # type: ignore[call-overload]
        said = [each.communicate(timeout=300) for each in both]
        assert sorted(each.returncode for each in both) == [0, 4], said
        assert json.loads(stack.browser.get("/whoami").text)["release_note"] == "both"
        assert stack.up()["changed"] is False
    stack.up()


MOMENTS = [
    (how, moment) for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL) for moment in ("build", "start", "switch")
]
USUAL = [
    (signal.SIGINT, "build"),
    (signal.SIGTERM, "start"),
    (signal.SIGKILL, "build"),
    (signal.SIGKILL, "switch"),
]
"""What is tried each time; all of them where DEPLOYKIT_LONG is set."""


# The process target has a test of its own for every moment, in tests/kill/.
@pytest.mark.parametrize("stack", ["docker"], indirect=True)
@pytest.mark.parametrize(("how", "moment"), MOMENTS if os.environ.get("DEPLOYKIT_LONG") else USUAL)
def test_up_stopped_in_the_middle_is_finished_by_the_next_one(stack: Example, how: signal.Signals, moment: str) -> None:
    note = f"{how.name.lower()}-{moment}"
    with edited(stack, "deploykit.yaml", "RELEASE_NOTE: first", f"RELEASE_NOTE: {note}"):
        stop_when(stack, moment, how)
        assert stack.browser.get("/").status == 200, "the old release serves while nobody deploys"
        stack.up()
        assert json.loads(stack.browser.get("/whoami").text)["release_note"] == note
        assert len(serving(stack)) == 1
        assert stack.up()["changed"] is False
    stack.up()


def stop_when(stack: Example, moment: str, how: signal.Signals) -> None:
    """Starts `up` and sends the signal once it says that it is at that step."""
    with subprocess.Popen(
        [*COMMAND, "up"],
        cwd=stack.folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stderr is not None
        lines = []
        for line in up.stderr:
            lines.append(line)
            if line.startswith(f" {moment}"):
                up.send_signal(how)
                break
        up.stderr.read()
        code = up.wait(60)
    if how == signal.SIGKILL:
        assert code in (-9, 0), lines
    else:
        assert code in (130, 143, 0), lines


def test_a_member_that_was_killed_comes_back_without_deploykit(stack: Example) -> None:
    import psutil

    status = stack.json("status")
    assert status["members"]
    killed = [process for process in psutil.process_iter() if _is_app(process, stack)]
    assert killed
    killed[0].kill()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if stack.browser.get("/healthz").status == 200 and all(
            member["healthy"] for member in stack.json("status")["members"]
        ):
            return
    raise AssertionError("the member did not come back")


def _is_app(process: object, stack: Example) -> bool:
    import psutil

    from deploykit.runtimes import Stack

    try:
        words = " ".join(process.cmdline())  # type: ignore[attr-defined]
        mine = process.environ().get("DEPLOYKIT_STACK") == Stack(stack.name, stack.folder).id  # type: ignore[attr-defined]
        return mine and "gunicorn" in words
    except psutil.Error:
        return False
