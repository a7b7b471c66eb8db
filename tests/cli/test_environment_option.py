"""`-e` on the command line: which environment is meant, what is asked first, and that two of them never touch."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import APP, SPEC, Run
from ports import free_port

from deploykit.runtimes import Stack
from deploykit.wire import Request, send

COMMAND = [sys.executable, "-m", "deploykit"]
STAGING = """\
sites: {tiny: {server_name: tiny.test, locations: {/: web}}}
environments:
  staging:
    listen: 127.0.0.1:%d
    apps: {web: {instances: 1, environment: {MODE: staging}}}
    sites: {tiny: {server_name: staging.test}}
"""


@pytest.fixture
def staged(project: Path) -> Path:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text() + STAGING % 8081)
    return project


# --- which is meant --------------------------------------------------------------------------------------------------


OTHERS = "check config lock plan render up status logs test restart releases rollback down wheels".split()  # noqa: SIM905
WORDS = {"render": ("--assumed",), "rollback": ("abc",), "run": ("web", "true")}


@pytest.mark.parametrize("command", [*OTHERS, "run"])
def test_an_unknown_environment_is_told_with_the_nearest(deploykit: Run, staged: Path, command: str) -> None:
    result = deploykit(command, "-e", "stagign", *WORDS.get(command, ()))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: there is no environment 'stagign'\n  hint: did you mean `staging`?\n")
    assert not (staged / ".deploykit").exists()


def test_check_looks_at_every_environment(deploykit: Run, staged: Path) -> None:
    assert deploykit("check").stdout == "deploykit.yaml is right: 1 app, 1 site, 2 environments\n"
    spec = staged / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("instances: 1,", "instances: 0,"))
    for words in ((), ("-e", "staging"), ("-e", "local")):
        result = deploykit("check", *words)
        assert result.returncode == 2
        assert "error: environments.staging.apps.web.instances: should be a number from 1 to 64" in result.stderr
        assert "--> deploykit.yaml:13:18\n" in result.stderr
    assert deploykit("config").returncode == 0


def test_what_a_target_refuses_in_an_environment_is_told_on_its_line(deploykit: Run, staged: Path) -> None:
    spec = staged / "deploykit.yaml"
    changed = "instances: 1, app_server: {socket: tcp}"
    spec.write_text(spec.read_text().replace("staging:\n", "staging:\n    target: docker\n", 1))
    spec.write_text(spec.read_text().replace("instances: 1", changed))
    result = deploykit("check")
    assert result.returncode == 2
    assert "error: environments.staging.apps.web.app_server.socket: " in result.stderr
    assert "--> deploykit.yaml:14:" in result.stderr


def test_in_a_named_environment_a_site_answers_under_its_own_names_only(deploykit: Run, staged: Path) -> None:
    assert json.loads(deploykit("check", "--json").stdout)["urls"] == ["http://localhost:8080"]
    assert json.loads(deploykit("check", "--json", "-e", "staging").stdout)["urls"] == ["http://staging.test:8081"]
    local, staging = (deploykit("render", "--assumed", "-e", name).stdout for name in ("local", "staging"))
    assert "server_name tiny.test localhost;" in local
    assert "server_name staging.test;" in staging


# --- config ----------------------------------------------------------------------------------------------------------


def test_config_shows_the_merged_spec_and_where_each_value_comes_from(deploykit: Run, staged: Path) -> None:
    lines = deploykit("config", "-e", "staging").stdout.splitlines()
    found = {re.sub(r" +# .*", "", line): line.rpartition("# ")[2] for line in lines}
    assert found["listen: 127.0.0.1:8081"] == "deploykit.yaml:12"
    assert found["    instances: 1"] == "deploykit.yaml:13"
    assert found["    entrypoint: tiny:app"] == "deploykit.yaml:6"
    assert found["    timeout: 30s"] == "default"
    assert found["      MODE: staging"] == "deploykit.yaml:13"
    # Without the comments it is a spec, the same one.
    whole = staged / "merged.yaml"
    whole.write_text("\n".join(lines) + "\n")
    again = json.loads(deploykit("config", "--json", "-f", "merged.yaml").stdout)["values"]
    first = json.loads(deploykit("config", "--json", "-e", "staging").stdout)["values"]
    assert [(one["path"], one["value"]) for one in again] == [(one["path"], one["value"]) for one in first]


def test_config_never_shows_a_secret(deploykit: Run, staged: Path) -> None:
    (staged / "token").write_text("hunter2\n")
    spec = staged / "deploykit.yaml"
    secrets = "secrets: {KEY: {env: A_KEY}, TOKEN: {file: token}}"
    spec.write_text(spec.read_text().replace("environment: {MODE: staging}", secrets))
    for words in ((), ("--json",)):
        result = deploykit("config", "-e", "staging", *words, A_KEY="hunter3")
        assert result.returncode == 0
        assert "A_KEY" in result.stdout
        assert "hunter" not in result.stdout + result.stderr


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_up_of_a_named_environment_needs_somebody_to_agree(deploykit: Run, staged: Path) -> None:
    result = deploykit("up", "-e", "staging")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == "tiny -> staging, target process"
    assert result.stderr.endswith("nobody is there to be asked\n  hint: add `--yes`\n")
    assert not (staged / ".deploykit").exists()


def at_a_terminal(folder: Path, answer: str, *words: str) -> tuple[int, str]:
    """The exit code and all that was shown to a person who gives that answer to the question."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, asked, deadline = "", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            piece = os.read(ours, 65536).decode(errors="replace")
        except OSError:
            break
        shown += piece
        if not piece:
            break
        if "[y/N]" in shown and not asked:
            asked = True
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return process.wait(60), shown


def test_at_a_terminal_the_steps_are_shown_and_the_default_is_no(staged: Path) -> None:
    code, shown = at_a_terminal(staged, "", "up", "-e", "staging")
    assert code == 2
    assert shown.index("tiny -> staging") < shown.index("build") < shown.index("Do this in `staging`? [y/N]")
    assert "not agreed; nothing was changed" in shown
    assert not (staged / ".deploykit/tiny.staging/releases").exists()


# --- two at once -----------------------------------------------------------------------------------------------------


def test_stacks_of_other_environments_are_other_stacks(tmp_path: Path) -> None:
    local, named, explicit = (
        Stack("shop", tmp_path),
        Stack("shop", tmp_path, "staging"),
        Stack("shop", tmp_path, "local"),
    )
    assert local == explicit
    assert (local.home.name, named.home.name) == ("shop", "shop.staging")
    assert local.id != named.id != Stack("shop-staging", tmp_path).id


class Both:
    """A project whose `local` and `staging` are up at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local_port, self.staging_port = free_port(), free_port()
        self.name = f"tiny{self.local_port}"
        folder.mkdir()
        text = SPEC.replace("name: tiny", f"name: {self.name}") + STAGING % self.staging_port
        (folder / "deploykit.yaml").write_text(f"{text}listen: 127.0.0.1:{self.local_port}\n")
        (folder / "tiny.py").write_text(APP.replace('b"tiny"', 'os.environ.get("MODE", "local").encode()'))
        (folder / "tiny.py").write_text("import os\n" + (folder / "tiny.py").read_text())

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result

    def answer(self, port: int, host: str) -> tuple[int, str]:
        answer = send(Request(f"127.0.0.1:{port}", host=host))
        return answer.status, answer.body


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    both = Both(tmp_path_factory.mktemp("both") / "tiny")
    try:
        both.run("up")
        yield both
    finally:
        for words in ((), ("-e", "staging")):
            command = [*COMMAND, "down", *words, "--volumes", "--yes"]
            subprocess.run(command, cwd=both.folder, capture_output=True, timeout=120)


@pytest.mark.slow
def test_local_and_staging_are_up_at_once_and_down_of_one_leaves_the_other(both: Both) -> None:
    refused = both.run("status", "-e", "staging", expect=5).stderr
    assert "in the environment `staging`" in refused
    assert "without -e" in refused

    up = both.run("up", "-e", "staging", "--yes")
    assert f"{both.name} -> staging, target process" in up.stderr.splitlines()[0]
    assert f"http://staging.test:{both.staging_port}" in up.stdout
    assert "deploykit down -e staging" in up.stderr
    assert both.answer(both.local_port, "localhost") == (200, "local")
    assert both.answer(both.staging_port, "staging.test") == (200, "staging")
    assert both.answer(both.staging_port, "localhost")[0] == 0

    assert "nothing changed" in both.run("up").stderr
    assert "nothing changed" in both.run("up", "-e", "staging", "--yes").stderr
    local, staging = (json.loads(both.run("status", "--json", *words).stdout) for words in ((), ("-e", "staging")))
    assert [each["environment"] for each in (local, staging)] == ["local", "staging"]
    assert [len(each["members"]) for each in (local, staging)] == [2, 1]
    assert not local["orphans"]
    assert not staging["orphans"]
    assert both.run("run", "-e", "staging", "web", "--", "printenv", "MODE").stdout == "staging\n"

    for words in (("down",), ("down", "--volumes"), ("restart",), ("restart", "web-1"), ("rollback", "abc")):
        asked = both.run(*words, "-e", "staging", expect=2).stderr
        assert "`staging` is changed only where somebody agrees" in asked
        assert asked.endswith("add `--yes`\n")
    for words, what in ((("down",), "stop"), (("restart",), "restart")):
        code, shown = at_a_terminal(both.folder, "no", *words, "-e", "staging")
        assert code == 2
        assert shown.index(f"{what}") < shown.index("web-1") < shown.index("Do this in `staging`? [y/N]")
    assert "ago" in both.run("rollback", "-e", "staging").stdout  # to look needs no agreement
    both.run("restart", "-e", "staging", "--yes")
    assert both.answer(both.staging_port, "staging.test") == (200, "staging")

    both.run("down", "-e", "staging", "--yes")
    assert both.answer(both.staging_port, "staging.test")[0] == 0
    assert both.answer(both.local_port, "localhost") == (200, "local")
    assert "nothing changed" in both.run("up").stderr

    both.run("up", "-e", "staging", "--yes")
    both.run("down")
    assert both.answer(both.local_port, "localhost")[0] == 0
    assert both.answer(both.staging_port, "staging.test") == (200, "staging")

    spec = both.folder / "deploykit.yaml"
    kept = spec.read_text()
    spec.write_text(kept[: kept.index("environments:")])
    both.run("down", "-e", "staging", "--yes")  # what is recorded is enough
    spec.write_text(kept)
    assert both.answer(both.staging_port, "staging.test")[0] == 0


@pytest.mark.slow
def test_in_a_named_environment_only_checks_that_read_are_run(both: Both) -> None:
    spec = both.folder / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("instances: 1,", "instances: 2,"))

    def verdicts(*words: str) -> dict[str, Any]:
        checks = json.loads(both.run(*words, "--json").stdout)["checks"]
        return {check["effect"]: check["verdict"] for check in checks if check["kind"] in ("weights", "app_healthy")}

    assert verdicts("up", "-e", "staging", "--yes") == {"read": "kept", "load": "not run"}
    assert "is not allowed here" in both.run("test", "-e", "staging").stdout
    assert verdicts("test", "-e", "staging") == {"read": "kept", "load": "not run"}
    assert verdicts("test", "-e", "staging", "--allow", "load") == {"read": "kept", "load": "kept"}
    assert verdicts("up", "-e", "staging", "--yes", "--allow", "load") == {"read": "kept", "load": "kept"}
    assert verdicts("up") == {"read": "kept", "load": "kept"}
    assert verdicts("test", "--allow", "read") == {"read": "kept", "load": "not run"}
