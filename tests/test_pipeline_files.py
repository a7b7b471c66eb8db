"""The files that make deploykit a step of a pipeline: read and run as their hosts would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
KEPT = ("PATH", "HOME", "LANG", "USER")

SPEC = """\
version: 1
name: {name}
target: process
apps:
  web:
    entrypoint: tiny:app
    app_server: {{type: gunicorn, workers: 1, threads: 2}}
listen: 127.0.0.1:{port}
"""
APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"tiny"]
"""


def environment(**more: str) -> dict[str, str]:
    """A runner's variables: nothing of these tests but where packages come from."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    return {**kept, **more}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with a project in a folder of it."""
    top = tmp_path / "check out"
    (top / "shop").mkdir(parents=True)
    port = free_port()
    (top / "shop/deploykit.yaml").write_text(SPEC.format(name=f"tiny{port}", port=port))
    (top / "shop/tiny.py").write_text(APP)
    git(top, "init", "-q")
    return top


def git(top: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t.test"]
    subprocess.run(["git", *who, *words], cwd=top, env=environment(), check=True, capture_output=True)


def deploykit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploykit", *words], cwd=folder, capture_output=True, text=True, timeout=120
    )


def scripts(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that are scripts, none of which has anything in it that the host would write there."""
    found = [step for step in steps if "run" in step]
    assert found
    for step in found:
        assert "${{" not in step["run"], "what a workflow hands in would be a part of the script"
    return found


def run_steps(steps: list[dict[str, Any]], inputs: dict[str, str], top: Path, **more: str) -> list[Any]:
    """Runs each script as GitHub's runner does, until one fails; how each of them ended."""
    ended = []
    for number, step in enumerate(steps):
        script = top.parent / f"step-{number}.sh"
        script.write_text(step["run"])
        variables = {name: expanded(text, inputs) for name, text in step.get("env", {}).items()}
        folder = top / expanded(step.get("working-directory", "."), inputs)
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        ended.append(
            subprocess.run(
                words,
                cwd=folder,
                env=environment(**more, **variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
            )
        )
        if ended[-1].returncode != 0:
            break
    return ended


def expanded(text: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


# --- action.yml --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "action.yml").read_text()))


@pytest.fixture(scope="module")
def runner(action: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP, with deploykit as the action installs it from its own path."""
    temp = tmp_path_factory.mktemp("runner")
    (install,) = [step for step in scripts(action["runs"]["steps"]) if step["name"] == "Install deploykit"]
    (ended,) = run_steps([install], {}, temp, RUNNER_TEMP=str(temp), GITHUB_ACTION_PATH=str(ROOT))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return temp


def test_the_action_says_what_it_takes_and_takes_what_it_says(action: dict[str, Any]) -> None:
    assert action["runs"]["using"] == "composite"
    assert {"name", "description", "inputs", "outputs", "runs"} <= set(action)
    steps = action["runs"]["steps"]
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", json.dumps(steps)))
    assert used == set(action["inputs"])
    assert all({"description", "default"} <= set(each) for each in action["inputs"].values())
    assert all(step.get("shell") == "bash" for step in scripts(steps))
    ids = {step["id"] for step in steps if "id" in step}
    for output in action["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.\w+ \}\}", output["value"])[1] in ids  # type: ignore[index]


def test_the_action_brings_up_measures_and_takes_down(action: dict[str, Any], runner: Path, checkout: Path) -> None:
    steps = [step for step in scripts(action["runs"]["steps"]) if step["name"] != "Install deploykit"]
    inputs = {name: each["default"] for name, each in action["inputs"].items()}
    given = {**inputs, "working-directory": "shop", "junit": "the report.xml"}
    output, summary = checkout.parent / "output", checkout.parent / "summary"
    where = {
        "RUNNER_TEMP": str(runner),
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(checkout),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    *_, ended = run_steps(steps, given, checkout, **where)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("ci: all is as the spec says")
    assert "| ✅ kept | " in summary.read_text()
    report = checkout / "shop/the report.xml"
    assert output.read_text().splitlines()[1] == str(report)
    assert ElementTree.parse(report).getroot().get("failures") == "0"  # noqa: S314 -- written by us


def test_what_a_workflow_hands_to_the_action_is_data(action: dict[str, Any], runner: Path, checkout: Path) -> None:
    (step,) = [step for step in scripts(action["runs"]["steps"]) if step["name"] == "deploykit ci"]
    inputs = {name: each["default"] for name, each in action["inputs"].items()}
    for name in ("file", "target", "environment", "rendered", "allow"):
        given = {**inputs, "working-directory": "shop", name: '"; touch pwned; $(touch pwned) `touch pwned` --help'}
        (ended,) = run_steps([step], given, checkout, RUNNER_TEMP=str(runner), GITHUB_ACTIONS="true")
        assert ended.returncode == 2, (name, ended.stdout + ended.stderr)
    assert list(checkout.rglob("pwned")) == []


# --- what `init --ci` writes -------------------------------------------------------------------------------------


def test_the_workflow_for_github_runs_as_it_is_written(runner: Path, checkout: Path) -> None:
    told = deploykit(checkout / "shop", "init", "--ci", "github")
    assert told.returncode == 0, told.stderr
    workflow = yaml.safe_load((checkout / ".github/workflows/deploykit.yml").read_text())
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    assert set(workflow) == {"name", True, "permissions", "concurrency", "env", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step] == [
        "actions/checkout",
        "actions/setup-python",
        "actions/upload-artifact",
    ]
    assert workflow["env"]["DEPLOYKIT"].startswith("deploykit[nginx]==")
    here = {"DEPLOYKIT": f"{ROOT}[nginx]", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(checkout)}
    here["PATH"] = f"{runner / 'deploykit/bin'}:{os.environ['PATH']}"
    *_, ended = run_steps(scripts(job["steps"]), {}, checkout, **here)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (checkout / "deploykit-report.xml").is_file()


def test_the_job_for_gitlab_runs_as_it_is_written(runner: Path, checkout: Path) -> None:
    assert deploykit(checkout / "shop", "init", "--ci", "gitlab").returncode == 0
    spec = checkout / "shop/deploykit.yaml"
    spec.write_text(spec.read_text() + "listn: 80\n")
    (job,) = yaml.safe_load((checkout / ".gitlab-ci.yml").read_text()).values()
    assert all(isinstance(line, str) for line in job["script"])
    reports = job["artifacts"]["reports"]
    assert job["artifacts"]["when"] == "always"
    here = {"DEPLOYKIT": f"{ROOT}[nginx]", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(checkout)}
    here["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])],
        cwd=checkout,
        env=environment(**here),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    (issue,) = json.loads((checkout / reports["codequality"]).read_text())
    assert issue["location"]["path"] == "shop/deploykit.yaml"
    suites = ElementTree.parse(checkout / reports["junit"]).getroot()  # noqa: S314 -- written by us
    assert suites.get("failures") == "1"


def test_a_pipeline_file_that_is_there_is_never_overwritten(checkout: Path) -> None:
    mine = "test: {script: [make test]}\n"
    (checkout / ".gitlab-ci.yml").write_text(mine)
    told = deploykit(checkout / "shop", "init", "--ci", "gitlab")
    assert told.returncode == 0
    assert "include:\n  - local: /deploykit.gitlab-ci.yml" in told.stdout
    assert (checkout / ".gitlab-ci.yml").read_text() == mine
    assert "deploykit ci" in (checkout / "deploykit.gitlab-ci.yml").read_text()
    assert deploykit(checkout / "shop", "init", "--ci", "github").returncode == 0
    workflow = checkout / ".github/workflows/deploykit.yml"
    workflow.write_text("mine")
    refused = deploykit(checkout / "shop", "init", "--ci", "github")
    assert (refused.returncode, workflow.read_text()) == (2, "mine")
    assert "`--force` replaces it" in refused.stderr
    spec = (checkout / "shop/deploykit.yaml").read_text()
    assert deploykit(checkout / "shop", "init", "--ci", "github", "--force").returncode == 0
    assert "deploykit ci" in workflow.read_text()
    assert (checkout / "shop/deploykit.yaml").read_text() == spec, "--force is for the pipeline file here"


def test_a_system_that_nobody_knows_is_refused_with_the_nearest(checkout: Path) -> None:
    assert "did you mean `gitlab`?" in deploykit(checkout / "shop", "init", "--ci", "gitlub").stderr


# --- .pre-commit-hooks.yaml --------------------------------------------------------------------------------------


def test_pre_commit_runs_both_hooks(checkout: Path) -> None:
    program = Path(sys.executable).with_name("pre-commit")
    assert program.exists() or shutil.which("pre-commit"), "pre-commit is not installed: pip install -e '.[dev]'"
    for path in (checkout / "shop").iterdir():
        path.rename(checkout / path.name)
    assert deploykit(checkout, "render", "-o", "rendered").returncode == 0
    config = checkout / "rendered/nginx/nginx.conf"
    config.write_text(config.read_text().replace("tcp_nopush on", "tcp_nopush off"))
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "first")
    ended = subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(ROOT), "--ref", "HEAD", "--all-files", "--verbose"],
        cwd=checkout,
        env=environment(PRE_COMMIT_HOME=str(checkout.parent / "pre-commit"), PRE_COMMIT_COLOR="never"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert re.search(r"^deploykit check\.+Passed$", ended.stdout, re.MULTILINE), ended.stdout + ended.stderr
    assert re.search(r"^deploykit render --check\.+Failed$", ended.stdout, re.MULTILINE), ended.stdout + ended.stderr
    assert "+  tcp_nopush on;" in ended.stdout
    assert "deploykit.yaml is right: 1 app, 1 site" in ended.stdout
    assert ended.returncode == 1
