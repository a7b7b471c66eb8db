"""The invariants hold of a stack that nobody disturbed, and each is broken by what it is there to find."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from invariants import Allowed, Invariants
from stacks import Example

pytestmark = pytest.mark.slow
SECRET = "canary-of-the-invariants"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The Flask example with one instance and a secret, up as processes."""
    example = Example("flask", "process", tmp_path_factory.mktemp("invariants") / "flask")
    example.edit("deploykit.yaml", "instances: [{weight: 3}, {weight: 1}]", "instances: 1")
    example.keep_secret(SECRET)
    try:
        example.up()
        yield example
    finally:
        example.remove()


def test_all_hold_of_a_stack_that_nobody_disturbed(stack: Example) -> None:
    Invariants(stack).hold()


@contextlib.contextmanager
def file(path: Path, text: str, mode: int = 0o644) -> Iterator[None]:
    path.write_text(text)
    path.chmod(mode)
    yield
    path.unlink()


@contextlib.contextmanager
def edited(path: Path, change: Callable[[str], str]) -> Iterator[None]:
    before = path.read_text()
    path.write_text(change(before))
    yield
    path.write_text(before)


@contextlib.contextmanager
def lost_process(stack: Example) -> Iterator[None]:
    of_it = {"DEPLOYKIT_STACK": Invariants(stack).stack.id, "PATH": os.defpath}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=of_it) as lost:
        yield
        lost.kill()


@contextlib.contextmanager
def stopped_instance(stack: Example) -> Iterator[None]:
    """Every process of the instance is stopped, not ended."""
    family = [each for each in map(psutil.Process, pids(stack)) if "gunicorn" in " ".join(each.cmdline())]
    assert family
    for each in family:
        each.send_signal(signal.SIGSTOP)
    yield
    for each in family:
        each.send_signal(signal.SIGCONT)


def pids(stack: Example) -> list[int]:
    return [int(name.split()[1]) for name in stack.alive()]


def current(stack: Example) -> Path:
    return (stack.home / "nginx" / "current").resolve()


WAYS: dict[str, tuple[Callable[[Example], contextlib.AbstractContextManager[None]], str, str]] = {
    "a temporary file": (lambda s: file(s.home / "run" / "web" / ".1.sock.77.part", ""), "present", "(a)"),
    "a temporary file of the record": (lambda s: file(s.home / ".state.json.ab.part", ""), "present", "(a)"),
    "a file of nobody": (lambda s: file(s.home / "nginx" / "old.conf", ""), "present", "(a)"),
    "a program of nobody": (lambda s: file(s.home / "supervisor/programs/web-1-0.conf", ""), "present", "(a)"),
    "a lost process": (lost_process, "present", "(a)"),
    "a stopped instance": (stopped_instance, "present", "(a)"),
    "a file that nginx refuses": (lambda s: edited(current(s) / "proxy.conf", lambda _: "x y;\n"), "bootable", "(b)"),
    "no route to the app": (
        lambda s: edited(current(s) / "upstreams.conf", lambda text: text.replace("unix:run", "unix:gone")),
        "bootable",
        "(b)",
    ),
    "another file than was written": (
        lambda s: edited(current(s) / "proxy.conf", lambda text: text + "\n"),
        "generations",
        "(c)",
    ),
    "another generation than runs": (
        lambda s: edited(current(s) / "generation.json", lambda text: text.replace(current(s).name, "0" * 12)),
        "generations",
        "(c)",
    ),
    "a secret that others may read": (lambda s: file(s.home / "logs/a.log", f"x {SECRET}", 0o640), "secrets", "(f)"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_is_broken_by_what_it_is_there_to_find(stack: Example, way: str) -> None:
    do, check, letter = WAYS[way]
    seen = Invariants(stack)
    with do(stack):
        broken = list(getattr(seen, check)())
    assert broken, f"{way} was not found"
    assert {text[:3] for text in broken} == {letter}, broken
    assert not list(getattr(seen, check)()), "undone, and still told"


def test_a_secret_in_a_file_of_the_owner_alone_is_kept(stack: Example) -> None:
    with file(stack.home / "logs" / "a.log", SECRET, 0o600):
        assert not list(Invariants(stack).secrets())


@pytest.mark.parametrize("line", ["x [emerg] bind() failed", "x [alert] y", "Traceback (most recent call last):"])
def test_a_bad_line_in_a_log_is_found_where_it_was_written_since(stack: Example, line: str) -> None:
    log = stack.home / "logs" / "web-1.log"
    before = Invariants(stack)
    with log.open("a") as appended:
        appended.write(f"{line}\nand more\n")
    assert [text[:3] for text in before.logs()] == ["(d)"]
    assert not list(Invariants(stack).logs())
    assert not list(before.logs([Allowed("emerg|alert|Traceback", "this test wrote it")]))


def test_an_up_that_changes_something_is_told(stack: Example) -> None:
    stack.edit("deploykit.yaml", "RELEASE_NOTE: first", "RELEASE_NOTE: second")
    assert {text[:3] for text in Invariants(stack).unchanged()} == {"(e)"}


def test_of_a_stack_that_was_taken_down_nothing_is_left(stack: Example) -> None:
    before = Invariants(stack)
    assert list(before.absent())
    stack.run("down")
    before.hold_down()
