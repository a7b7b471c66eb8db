"""What `deploykit eject` writes of processes runs without deploykit: same answers, same data, same static files."""

from __future__ import annotations

import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ejected import SECRET, answers, clean, eventually, files_below
from stacks import Example, brought_up

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Example]:
    """The Flask example with an entry in its guest book and a secret, up."""
    folder = tmp_path / "a folder" / "flask"
    with brought_up("flask", "process", folder) as example:
        yield example


def test_the_tree_of_the_processes_runs_without_deploykit(stack: Example, tmp_path: Path) -> None:
    (stack.folder / "token").write_text(SECRET)
    stack.edit("deploykit.yaml", "    volumes:\n", "    secrets: {TOKEN: {file: token}}\n    volumes:\n")
    stack.edit("app.py", "        app=", '        token=os.environ["TOKEN"],\n        app=')
    stack.up()
    stack.browser.post("/", stack.browser.fill_in("Ada"))
    before = {path: stack.browser.get(path) for path in ("/", "/static/style.css", "/static/none")}
    whoami = stack.browser.get("/whoami").text

    without = stack.run("eject", "-o", str(tmp_path / "without")).stdout
    assert "is not written" in without
    assert not (tmp_path / "without/releases/web/current/secrets").exists()
    assert "s3cret" not in "".join(path.read_text("utf-8", "replace") for path in files_below(tmp_path / "without"))

    told = stack.run("eject", "-o", str(tmp_path / "left"), "--with-secrets")
    assert "what is lost by leaving:" in told.stderr
    left = shutil.move(tmp_path / "left", stack.folder.parent / "left é")
    (left / "volumes").unlink()
    (left / "volumes").symlink_to(stack.home / "volumes")
    assert stat.S_IMODE((left / "releases/web/current/secrets").stat().st_mode) == 0o600
    stack.run("down")

    where = clean(PATH=f"{_python_folder()}:{clean()['PATH']}")
    for folder, why in (("without", "current/secrets is not there"), ("with $HOME", "in its name; move it")):
        if not (tmp_path / folder).exists():
            (tmp_path / "without").rename(tmp_path / folder)
        words = [tmp_path / folder / "start"]
        refused = subprocess.run(words, env=where, cwd="/", capture_output=True, text=True, timeout=60)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
    started = subprocess.run([left / "start"], env=where, cwd="/", capture_output=True, text=True, timeout=600)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert eventually(lambda: answers(stack), 240)
        for path, page in before.items():
            again = stack.browser.get(path)
            assert (again.status, again.text) == (page.status, page.text), path
            assert again.headers.get("cache-control") == page.headers.get("cache-control"), path
        assert "Ada" in before["/"].text
        assert _without_instance(stack.browser.get("/whoami").text) == _without_instance(whoami)
        deadline, states = time.monotonic() + 120, []
        # Each counts as starting until it has lived for a while.
        while states != [[name, "RUNNING"] for name in ("nginx", "web-1", "web-2")]:
            assert time.monotonic() < deadline, states
            time.sleep(0.5)
            ended = subprocess.run(
                [left / "control", "status"], env=clean(), capture_output=True, text=True, timeout=60
            )
            states = [line.split()[:2] for line in ended.stdout.splitlines()]
    finally:
        subprocess.run([left / "control", "shutdown"], env=clean(), capture_output=True, timeout=60, check=False)
    assert eventually(lambda: not answers(stack), 240)


def _python_folder() -> str:
    """Where the Python is that the virtual environment of the tests was made with: none that knows deploykit."""
    import sys

    return str(Path(sys.base_prefix) / "bin")


def _without_instance(text: str) -> list[str]:
    return [line for line in text.replace(",", "\n").splitlines() if "instance" not in line]


def test_what_is_not_what_the_spec_says_is_not_ejected(stack: Example, tmp_path: Path) -> None:
    stack.edit("deploykit.yaml", "RELEASE_NOTE: first", "RELEASE_NOTE: second")
    ended = stack.run("eject", "-o", str(tmp_path / "left"), expect=1)
    assert "is not what the spec says" in ended.stderr
    assert not (tmp_path / "left").exists()
    stack.edit("deploykit.yaml", "RELEASE_NOTE: second", "RELEASE_NOTE: first")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine").write_text("mine")
    assert "is there already" in stack.run("eject", "-o", str(tmp_path / "there"), expect=2).stderr
    assert (tmp_path / "there/mine").read_text() == "mine"
