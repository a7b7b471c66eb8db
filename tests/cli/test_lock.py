"""`deploykit lock`, and that what is rendered depends on the spec and the lock file alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import APP, SPEC, Run
from ports import free_port

from deploykit import converge, lockfile, planner
from deploykit.lockfile import Locked
from deploykit.plan import NginxBuild, TargetName

COMMAND = [sys.executable, "-m", "deploykit"]
STAGING = """\
sites: {tiny: {server_name: tiny.test, locations: {/: web}}}
environments:
  staging: {listen: 127.0.0.1:8099, apps: {web: {instances: 1}}}
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lock_for(project: Path, target: TargetName, cpus: int = 7) -> Locked:
    """A lock file of a target that is not here: another nginx, other CPUs."""
    spec, _ = converge.read_spec(project / "deploykit.yaml")
    assumed = planner.assumed_facts(spec)
    nginx = NginxBuild((1, 29, 9), frozenset({"http_gzip_static", "http_stub_status", "http_v2"}))
    facts = replace(assumed, nginx=nginx, cpus=cpus, ports={}, images=assumed.images if target == "docker" else {})
    locked = Locked(target, facts)
    lockfile.write(project / "deploykit.lock", spec.name, {"local": locked})
    return locked


# --- what is written ----------------------------------------------------------------------------------------------


def test_it_is_written_for_one_environment_or_all_and_is_right_then(deploykit: Run, project: Path) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text() + STAGING)
    written = deploykit("lock")
    assert (written.returncode, written.stdout) == (0, "")
    assert "deploykit.lock is written; commit it" in written.stderr
    first = (project / "deploykit.lock").read_text()
    assert "  local:\n    target: process\n" in first
    assert "staging" not in first
    assert "deploykit.lock says so already" in deploykit("lock").stderr

    assert deploykit("lock", "--check").returncode == 0
    missing = deploykit("lock", "--check", "--all")
    assert missing.returncode == 1
    assert missing.stdout == "deploykit.lock says nothing of `staging`; `deploykit lock -e staging` writes it down\n"

    assert deploykit("lock", "-e", "staging").returncode == 0
    both = (project / "deploykit.lock").read_text()
    assert first.removesuffix("...\n") in both
    assert deploykit("lock", "--check", "--all").returncode == 0
    (project / "deploykit.lock").write_text("what was here before\n")
    assert deploykit("lock").returncode == 2
    assert deploykit("lock", "--all").returncode == 0
    assert (project / "deploykit.lock").read_text() == both


def test_check_writes_nothing_and_shows_each_difference(deploykit: Run, project: Path) -> None:
    lock_for(project, "process")
    before = (project / "deploykit.lock").read_bytes()
    result = deploykit("lock", "--check")
    assert result.returncode == 1
    assert "runs, deploykit.lock says 1.29.9; `deploykit lock` writes it down\n" in result.stdout
    assert "CPUs, deploykit.lock says 7; `deploykit lock` writes it down\n" in result.stdout
    assert (project / "deploykit.lock").read_bytes() == before
    data = json.loads(deploykit("lock", "--check", "--json").stdout)
    assert len(data["differences"]["local"]) == len(result.stdout.splitlines())


def test_it_is_no_code_of_an_app_and_no_reason_for_a_release(deploykit: Run, project: Path) -> None:
    before = json.loads(deploykit("plan", "--json").stdout)["releases"]["web"]["parts"]["code"]
    deploykit("lock")
    assert json.loads(deploykit("plan", "--json").stdout)["releases"]["web"]["parts"]["code"] == before


# --- what is rendered of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["process", "docker"])
def test_render_gives_the_same_bytes_where_there_is_no_engine_and_no_nginx(
    deploykit: Run, project: Path, tmp_path: Path, target: TargetName
) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("target: process\n", "").replace(", workers: 1, threads: 2", ""))
    lock_for(project, target)
    elsewhere = tmp_path / "elsewhere" / "deep"
    shutil.copytree(project, elsewhere)
    bare = {"PATH": "/nonexistent", "DOCKER_HOST": "tcp://127.0.0.1:1", "LC_ALL": "C", "HOME": str(tmp_path)}
    here = deploykit("render", "-o", str(tmp_path / "here"))
    there = deploykit("render", "-o", str(tmp_path / "there"), folder=elsewhere, **bare)
    assert (here.returncode, there.returncode) == (0, 0), here.stderr + there.stderr
    assert tree(tmp_path / "here") == tree(tmp_path / "there")
    assert "facts as deploykit.lock:6:3 says" in there.stderr
    assert f"target {target}" in there.stderr and "(as deploykit.lock:6:3 says)" in there.stderr
    # Not this machine's: seven CPUs, and what only that nginx knows.
    assert "worker_processes 7;" in (tmp_path / "here/nginx/nginx.conf").read_text()
    assert deploykit("render", "-o", str(tmp_path / "here"), "--check", folder=elsewhere, **bare).returncode == 0
    assert deploykit("check", folder=elsewhere, **bare).returncode == 0


def test_plan_shows_what_the_lock_file_says_and_why_no_steps_where_the_target_is_out_of_reach(
    deploykit: Run, project: Path
) -> None:
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("target: process\n", "").replace(", workers: 1, threads: 2", ""))
    lock_for(project, "docker")
    result = deploykit("plan", DOCKER_HOST="tcp://127.0.0.1:1")
    assert result.returncode == 0, result.stderr
    assert "nginx/nginx.conf" in result.stdout
    assert "what would be done is not known here: no Engine answers at tcp://127.0.0.1:1" in result.stdout
    data = json.loads(deploykit("plan", "--json", DOCKER_HOST="tcp://127.0.0.1:1").stdout)
    assert (data["facts"]["cpus"], data["steps"]) == (7, None)
    (project / "deploykit.lock").unlink()
    assert deploykit("plan", "--target", "docker", DOCKER_HOST="tcp://127.0.0.1:1").returncode == 5


def test_where_it_does_not_cover_the_spec_the_machine_is_read_and_that_is_said(deploykit: Run, project: Path) -> None:
    lock_for(project, "process")
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("  web:\n", "  new: {entrypoint: 'tiny:app'}\n  web:\n"))
    spec.write_text(spec.read_text() + "sites: {tiny: {locations: {/: web, /new/: new}}}\n")
    result = deploykit("render")
    assert result.returncode == 0
    assert (
        "facts of this machine: deploykit.lock:6:3 does not do: it does not know the app new; `deploykit lock` writes"
        in result.stderr
    )
    assert "worker_processes 7;" not in result.stdout
    for command in ("render", "plan"):
        demanded = deploykit(command, "--locked")
        assert (demanded.returncode, demanded.stdout) == (2, "")
        assert "it does not know the app new" in demanded.stderr


@pytest.mark.parametrize("command", ["check", "plan", "render", "up", "test", "lock"])
def test_a_broken_lock_file_is_told_with_its_line_and_down_needs_none(
    deploykit: Run, project: Path, command: str
) -> None:
    lock_for(project, "process")
    path = project / "deploykit.lock"
    path.write_text(path.read_text().replace("cpus: 7", "cpus: 9"))
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "digest" in text)
    spec = project / "deploykit.yaml"
    spec.write_text(spec.read_text().replace("target: process\n", ""))
    result = deploykit(command)
    assert result.returncode == 2, result.stderr
    assert f"  --> deploykit.lock:{line}:" in result.stderr
    assert "`deploykit lock --all` writes it anew" in result.stderr
    assert "deploykit.lock" not in deploykit("down").stderr


# --- what is live -------------------------------------------------------------------------------------------------


class Served:
    def __init__(self, folder: Path) -> None:
        self.folder, port = folder, free_port()
        folder.mkdir()
        spec = SPEC.replace("name: tiny", f"name: l{port}").replace("[{weight: 3}, {weight: 1}]", "1")
        (folder / "deploykit.yaml").write_text(f"{spec}listen: 127.0.0.1:{port}\n")
        (folder / "tiny.py").write_text(APP)

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "tiny")
    try:
        yield served
    finally:
        command = [*COMMAND, "down", "--volumes", "--yes"]
        subprocess.run(command, cwd=served.folder, capture_output=True, timeout=120)


@pytest.mark.slow
def test_up_and_test_say_what_is_live_otherwise_and_refuse_it_when_locked(served: Served) -> None:
    lock_for(served.folder, "process")
    said = "CPUs, deploykit.lock says 7; `deploykit lock` writes it down"
    refused = served.run("up", "--locked", expect=5).stderr
    assert "what is there is not what the lock file says of `local`" in refused
    assert said in refused
    assert not list((served.folder / ".deploykit").glob("*/releases"))

    assert f"warning: there are {os.cpu_count()} {said}" in served.run("up").stderr or os.cpu_count() == 7
    assert said in served.run("test", "--allow", "read").stderr
    assert said in served.run("test", "--locked", expect=5).stderr
    shown = served.run("plan")
    assert said in shown.stderr
    assert "nothing to do" in shown.stdout  # the steps are those of what is live

    served.run("lock")
    assert "deploykit.lock says" not in served.run("up", "--locked").stderr
    served.run("test", "--locked", "--allow", "read")
    (served.folder / "deploykit.lock").unlink()
    assert "there is no lock file beside the spec" in served.run("up", "--locked", expect=2).stderr
