"""A secret that changes is a new release with its name as the reason; `check`, `render` and `rollback` read none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SPEC, Run
from ports import free_port

COMMAND = [sys.executable, "-m", "deploykit"]
APP = """\
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["DATABASE_URL"].encode()]
"""
SECRETS = """\
    release: [touch migrated, ls]
    secrets:
      DATABASE_URL: {command: ./print-it url}
      TOKEN: {file: token}
      PIN: {file: pin}
"""
SCRIPT = '#!/bin/sh\necho asked >> asked\ntest -f "$1" && cat "$1"\n'


def written(folder: Path, name: str, port: int) -> None:
    folder.mkdir(exist_ok=True)
    spec = SPEC.replace("name: tiny", f"name: {name}").replace("instances: [{weight: 3}, {weight: 1}]", "instances: 1")
    (folder / "deploykit.yaml").write_text(f"{spec}{SECRETS}listen: 127.0.0.1:{port}\n")
    (folder / "tiny.py").write_text(APP)
    (folder / "url").write_text("postgres://first-password@db\n")
    (folder / "token").write_text("token-of-the-first\n")
    (folder / "pin").write_text("1\n")
    (folder / "print-it").write_text(SCRIPT)
    (folder / "print-it").chmod(0o755)
    (folder / ".gitignore").write_text("asked\nurl\n")


def test_check_config_and_render_run_no_command_of_a_secret(deploykit: Run, project: Path) -> None:
    written(project, "tiny", 8080)
    for words in (("check",), ("config",), ("render", "--assumed"), ("render",)):
        result = deploykit(*words)
        assert result.returncode == 0, result.stderr
        assert "first" not in result.stdout + result.stderr
    assert "command: ./print-it url" in deploykit("config").stdout
    assert not (project / "asked").exists()


def test_a_command_that_fails_is_exit_5_and_leaves_nothing(deploykit: Run, project: Path) -> None:
    written(project, "tiny", 8080)
    (project / "url").unlink()
    (project / "print-it").write_text("#!/bin/sh\necho sealed: token-of-the-first >&2\nexit 9\n")
    result = deploykit("plan")
    assert result.returncode == 5
    assert "the secret DATABASE_URL of web can't be read: its command ended with exit code 9" in result.stderr
    assert "tried: ./print-it url, from deploykit.yaml:11:22" in result.stderr
    assert "sealed: [secret]" in result.stderr


class Served:
    """A stack with three secrets, up as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.name = f"s{self.port}"
        written(folder, self.name, self.port)

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
        )
        assert ended.returncode == expect, ended.stdout + ended.stderr
        return ended

    def release(self) -> Path:
        current = self.folder / ".deploykit" / self.name / "releases/web/current"
        return current.resolve() / "release.json"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("secrets") / "tiny")
    try:
        served.run("up")
        yield served
    finally:
        command = [*COMMAND, "down", "--volumes", "--yes"]
        subprocess.run(command, cwd=served.folder, capture_output=True, timeout=120)


@pytest.mark.slow
def test_each_changed_secret_is_a_reason_by_its_name(served: Served) -> None:
    assert (served.folder / "asked").read_text() == "asked\n"
    assert "it serves" in served.run("plan").stdout
    first = json.loads(served.release().read_text())
    kept = json.dumps(first)
    assert sorted(first["secrets"]) == ["DATABASE_URL", "PIN", "TOKEN"]
    assert "first" not in kept

    (served.folder / "url").write_text("postgres://second-password@db\n")
    assert "DATABASE_URL changed: new release" in served.run("plan").stdout
    spec = served.folder / "deploykit.yaml"
    before = spec.read_text()
    spec.write_text(before.replace("TOKEN: {file: token}", "ANOTHER: {file: token}"))
    shown = served.run("plan")
    assert "ANOTHER added, DATABASE_URL changed, TOKEN removed: new release" in shown.stdout
    assert "password" not in shown.stdout + shown.stderr
    spec.write_text(before)

    served.run("up")
    causes = [each["origin"]["cause"] for each in json.loads(served.run("releases", "--json").stdout)["releases"]]
    assert causes == ["DATABASE_URL changed", "not there yet"]
    assert "nothing changed" in served.run("up").stderr


@pytest.mark.slow
def test_a_release_of_before_there_were_fingerprints_is_read(served: Served) -> None:
    path = served.release()
    record = json.loads(path.read_text())
    del record["secrets"]
    path.write_text(json.dumps(record))
    assert "nothing to do" in served.run("plan").stdout
    (served.folder / "pin").write_text("2\n")
    assert "its secrets changed: new release" in served.run("plan").stdout
    (served.folder / "pin").write_text("1\n")


@pytest.mark.slow
def test_what_needs_no_secret_asks_for_none(served: Served) -> None:
    asked = (served.folder / "asked").read_text()
    (served.folder / "url").rename(served.folder / "url-is-gone")
    try:
        other = next(
            each["id"] for each in json.loads(served.run("releases", "--json").stdout)["releases"] if not each["live"]
        )
        served.run("test", "--allow", "read")
        served.run("status")
        shown = served.run("rollback").stdout
        assert "rollback does not undo what later releases ran; it stays applied:" in shown
        assert f"{other}  touch migrated  ran for " in shown
        told = {each["id"]: each for each in json.loads(served.run("releases", "--json").stdout)["releases"]}
        assert [each["command"] for each in told[other]["stays_applied"]] == ["touch migrated", "ls"]
        went = served.run("rollback", other).stderr
        assert " rollback does not undo: touch migrated\n" in went
        assert "touch migrated; ls" in served.run("releases").stdout
    finally:
        (served.folder / "url-is-gone").rename(served.folder / "url")
    assert (served.folder / "asked").read_text() == asked
