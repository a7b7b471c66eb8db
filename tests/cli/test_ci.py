"""`deploykit ci` measures a stack that was not there before, leaves none, and says it as each CI system reads it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from conftest import APP, SPEC
from ports import free_port

from deploykit.runtimes import Stack

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "deploykit"]
KNOWN = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI", "CI_PROJECT_DIR")
WRONG = "checks:\n  - {get: /, contains: 'so, not: there'}\n"


class Checkout:
    """A tiny project below the top of a checkout."""

    def __init__(self, top: Path) -> None:
        self.top, self.folder = top, top / "shop"
        self.folder.mkdir()
        self.port = free_port()
        self.name = f"tiny{self.port}"
        self.spec = self.folder / "deploykit.yaml"
        self.spec.write_text(SPEC.replace("name: tiny", f"name: {self.name}") + f"listen: 127.0.0.1:{self.port}\n")
        (self.folder / "tiny.py").write_text(APP)

    def add(self, text: str) -> None:
        self.spec.write_text(self.spec.read_text() + text)

    def keep_data(self) -> None:
        self.spec.write_text(self.spec.read_text().replace("  web:\n", "  web:\n    volumes: {data: data/}\n"))

    def environment(self, **more: str) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in KNOWN} | more

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def left(self) -> list[str]:
        """What runs of this stack, and what is recorded of it."""
        found = [str(path) for path in self.folder.glob(".deploykit/*/state.json")]
        for process in psutil.process_iter():
            try:
                if process.environ().get("DEPLOYKIT_STACK") == Stack(self.name, self.folder).id:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_all_is_done_in_order_and_nothing_is_left(checkout: Checkout, tmp_path: Path) -> None:
    checkout.keep_data()
    checkout.run("render", "-o", "rendered")
    ended = checkout.run("ci", "--rendered", "rendered", "--junit", str(tmp_path / "report.xml"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    heads = [line.removeprefix("== ") for line in ended.stdout.splitlines() if line.startswith("== ")]
    assert heads == ["check", "render", "up", "test", "down"]
    assert ended.stdout.splitlines()[-1].startswith("ci: all is as the spec says, ")
    assert checkout.left() == []
    suites = ElementTree.parse(tmp_path / "report.xml").getroot()  # noqa: S314 -- written by us
    promises, stages = suites
    assert [case.get("name") for case in stages] == heads
    assert len(promises) > 5
    assert int(suites.get("tests", "")) == len(promises) + len(stages)
    assert suites.get("failures") == "0"
    assert list(checkout.folder.glob(".deploykit/*/volumes/*/*")) == []


def test_a_broken_promise_is_the_last_line_an_annotation_and_a_row_of_the_summary(checkout: Checkout) -> None:
    checkout.add(WRONG)
    summary = checkout.top / "summary.md"
    summary.write_text("what another step wrote\n")
    where = {"GITHUB_WORKSPACE": str(checkout.top), "GITHUB_STEP_SUMMARY": str(summary)}
    ended = checkout.run("ci", GITHUB_ACTIONS="true", **where)
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (1, "")
    assert lines[-1].startswith("broken: shop/deploykit.yaml:11:5: GET /: 200 with `so, not: there`: measured: ")
    (annotation,) = [line for line in lines if line.startswith("::error ")]
    assert annotation.startswith(
        "::error file=shop/deploykit.yaml,line=11,col=5,title=GET /%3A 200 with `so%2C not%3A there`::measured: "
    )
    text = summary.read_text()
    assert text.startswith("what another step wrote\n### deploykit ci: ")
    assert "| shop/deploykit.yaml:11 |" in text
    # Each section is a group, and what is written in it is no command.
    commands = [line for line in lines if line.startswith("::")]
    groups = [line for line in commands if not line.startswith("::error ")]
    assert [line.split("::")[1] for line in groups[0::4]] == ["group"] * 4
    assert [line.removeprefix("::stop-commands::") for line in groups[1::4]] == [
        line.removeprefix("::").removesuffix("::") for line in groups[2::4]
    ]
    assert groups[3::4] == ["::endgroup::"] * 4
    assert checkout.left() == []


def test_in_gitlab_sections_fold_and_a_problem_of_the_spec_is_in_the_code_quality_report(checkout: Checkout) -> None:
    checkout.add("listn: 80\n")
    ended = checkout.run("ci", GITLAB_CI="true", CI_PROJECT_DIR=str(checkout.top))
    assert ended.returncode == 2
    assert "\x1b[0Ksection_start:" in ended.stdout and "\x1b[0Ksection_end:" in ended.stdout
    (issue,) = json.loads((checkout.folder / "gl-code-quality-report.json").read_text())
    assert issue["location"] == {"path": "shop/deploykit.yaml", "lines": {"begin": 10}}
    assert ended.stdout.splitlines()[-1].startswith("failed: shop/deploykit.yaml:10:1: listn: ")
    assert checkout.left() == []


def test_what_is_committed_and_differs_is_exit_1_with_its_file(checkout: Checkout) -> None:
    checkout.run("render", "-o", "rendered")
    file = checkout.folder / "rendered/nginx/nginx.conf"
    file.write_text(file.read_text().replace("tcp_nopush on", "tcp_nopush off"))
    ended = checkout.run("ci", "--rendered", "rendered", "--json", GITHUB_WORKSPACE=str(checkout.top))
    data = json.loads(ended.stdout)
    assert (ended.returncode, data["exit_code"]) == (1, 1)
    assert [finding["place"]["file"] for finding in data["findings"]] == ["rendered/nginx/nginx.conf"]
    assert [stage["outcome"] for stage in data["stages"]] == ["done", "failed", "not run", "not run", "not run"]
    assert "+  tcp_nopush on;" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("drifted: rendered/nginx/nginx.conf: ")
    assert checkout.left() == []


def test_an_app_that_does_not_start_is_exit_3_and_leaves_nothing(checkout: Checkout) -> None:
    (checkout.folder / "tiny.py").write_text("print('::error::from the app')\nraise RuntimeError('by mistake')\n")
    ended = checkout.run("ci", GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(checkout.top))
    assert ended.returncode == 3, ended.stdout
    assert "by mistake" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("failed: deploykit up: ")
    # The app's own words stand between `stop-commands` and its end.
    assert (
        ended.stdout.index("::stop-commands::") < ended.stdout.index("by mistake") < ended.stdout.rindex("::endgroup")
    )
    assert checkout.left() == []


def test_what_was_there_before_is_left_a_stack_that_is_up_and_data_of_one_that_is_not(checkout: Checkout) -> None:
    checkout.keep_data()
    try:
        assert checkout.run("up").returncode == 0
        (data,) = checkout.folder.glob(".deploykit/*/volumes/*/*")
        (data / "order").write_text("1")
        before = checkout.left()
        refused = checkout.run("ci")
        assert refused.returncode == 5
        assert "is up here already" in refused.stdout
        assert checkout.left() == before
        assert checkout.run("test").returncode == 0
        assert checkout.run("down").returncode == 0
        ended = checkout.run("ci")
        assert ended.returncode == 0, ended.stdout
        assert f"kept: {data}" in ended.stdout
        assert (data / "order").read_text() == "1"
        assert checkout.left() == []
    finally:
        checkout.run("down", "--volumes", "--yes")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_cancelled_in_the_middle_it_takes_down_what_it_brought_up(checkout: Checkout, how: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "ci"],
        cwd=checkout.folder,
        env=checkout.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(" start"):
                process.send_signal(how)
            elif line.startswith("== down"):
                # Runners send another one soon after the first.
                process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    assert code == 128 + how, "".join(said)
    assert said[-1] == "interrupted; what was brought up is down again\n"
    assert checkout.left() == []


def test_a_named_environment_is_brought_up_only_where_that_is_meant(checkout: Checkout) -> None:
    checkout.add(f"environments:\n  staging: {{listen: '127.0.0.1:{free_port()}', sites: {{}}}}\n")
    ended = checkout.run("ci", "-e", "staging")
    assert ended.returncode == 2
    assert "add `--yes`" in ended.stderr


# --- check for programs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["sarif", "github", "gitlab"])
def test_check_tells_each_program_where_the_problem_is(checkout: Checkout, format: str) -> None:
    checkout.add("listn: 80\n")
    told = checkout.run("check", "--format", format)
    assert (told.returncode, told.stderr) == (2, "")
    if format == "sarif":
        (result,) = json.loads(told.stdout)["runs"][0]["results"]
        place = result["locations"][0]["physicalLocation"]
        assert place == {
            "artifactLocation": {"uri": "deploykit.yaml"},
            "region": {"startLine": 10, "startColumn": 1},
        }
    elif format == "gitlab":
        assert json.loads(told.stdout)[0]["location"] == {"path": "deploykit.yaml", "lines": {"begin": 10}}
    else:
        assert told.stdout.startswith("::error file=deploykit.yaml,line=10,col=1,title=listn::")


def test_a_right_spec_is_an_empty_report(checkout: Checkout) -> None:
    assert json.loads(checkout.run("check", "--format", "gitlab").stdout) == []
    assert json.loads(checkout.run("check", "--format", "sarif").stdout)["runs"][0]["results"] == []
    assert checkout.run("check", "--format", "github").stdout == ""


def test_a_format_that_is_none_is_refused_with_the_nearest(checkout: Checkout) -> None:
    assert "did you mean `sarif`?" in checkout.run("check", "--format", "serif").stderr
    assert checkout.run("check", "--format", "sarif", "--json").returncode == 2


def test_a_target_that_would_refuse_the_spec_is_a_warning_and_strictly_an_error(checkout: Checkout) -> None:
    spec = checkout.spec.read_text().replace("target: process\n", "").replace("workers: 1", "workers: 1, socket: tcp")
    checkout.spec.write_text(spec)
    loose = checkout.run("check")
    assert loose.returncode == 0
    assert loose.stderr.startswith("warning: apps.web.app_server.socket: the docker target has unix sockets only")
    assert json.loads(checkout.run("check", "--json").stdout)["warnings"][0]["place"]["line"] == 6
    strict = checkout.run("check", "--strict")
    assert strict.returncode == 2
    assert strict.stderr.startswith("error: apps.web.app_server.socket: ")
    assert checkout.run("check", "--strict", "--target", "process").returncode == 0
