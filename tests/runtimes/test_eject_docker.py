"""What `deploykit eject` writes of containers is brought up by docker-compose alone, and answers as before."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ejected import clean, files_below
from small import SECRET, Small, brought_up, eventually

pytestmark = [pytest.mark.slow, pytest.mark.docker]

SERVERS = ["uwsgi", "gunicorn"] if os.environ.get("DEPLOYKIT_LONG") else ["uwsgi"]


@pytest.fixture(params=SERVERS)
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Small]:
    """A stack with two instances, a secret, a release command, data and static files, up in containers."""
    with brought_up("docker", tmp_path / "stack", server=request.param) as small:
        yield small


def eject(small: Small, into: Path, *words: str) -> str:
    command = [sys.executable, "-m", "deploykit", "eject", "--target", "docker", "-o", str(into), *words]
    ended = subprocess.run(command, cwd=small.folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def compose(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    assert program, "docker-compose is not installed: apt-get install docker-compose"
    return subprocess.run([program, *words], cwd=folder, env=clean(), capture_output=True, text=True, timeout=900)


def containers(small: Small) -> list[Any]:
    """Those of docker-compose that serve."""
    import docker

    mine = {"label": f"com.docker.compose.project={small.name}"}
    found = docker.from_env().containers.list(all=True, filters=mine, ignore_removed=True)
    return [each for each in found if not each.labels["com.docker.compose.service"].endswith("-secrets")]


def healthy(small: Small) -> set[str]:
    return {
        each.labels["com.docker.compose.service"]
        for each in containers(small)
        if each.attrs["State"].get("Health", {}).get("Status") == "healthy"
    }


def test_docker_compose_brings_up_what_was_ejected(small: Small, tmp_path: Path) -> None:
    before, style = json.loads(small.get("/").body), small.get("/static/style.css")
    assert (before["made"], style.status, before["secret"]) == (True, 200, SECRET)
    token = SECRET.splitlines()[0].encode()

    told = eject(small, tmp_path / "without")
    assert "is not written" in told and "what is lost by leaving:" in told
    written = [path for path in files_below(tmp_path / "without") if token in path.read_bytes()]
    # What the checkout itself has among its code is the checkout's.
    assert [path.name for path in written if "code" not in path.parts] == []
    assert not (tmp_path / "without/secrets").exists()
    left = tmp_path / "left"
    eject(small, left, "--with-secrets")
    assert stat.S_IMODE((left / "secrets/web").stat().st_mode) == 0o600
    assert "What is lost by leaving" in (left / "README.md").read_text()
    assert small.down() != ()

    try:
        up = compose(left, "up", "-d", "--build")
        assert up.returncode == 0, up.stdout + up.stderr
        assert eventually(lambda: small.get("/health").status == 200, 240), compose(left, "logs").stdout
        after, again = json.loads(small.get("/").body), small.get("/static/style.css")
        assert {name: after[name] for name in ("word", "made", "secret", "scheme")} == {
            name: before[name] for name in ("word", "made", "secret", "scheme")
        }
        assert (again.status, again.body, again.header("cache-control")) == (
            style.status,
            style.body,
            style.header("cache-control"),
        )
        assert after["starts"] > before["starts"], "it goes on with the data that was there"
        assert eventually(lambda: healthy(small) == {"web-1", "web-2"}, 120), compose(left, "ps").stdout
        for container in containers(small):
            host = container.attrs["HostConfig"]
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
            assert host["RestartPolicy"]["Name"] == "always"
            assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
            assert token.decode() not in str(container.attrs), "a secret is for nobody who may look at containers"
    finally:
        ended = compose(left, "down", "--volumes", "--rmi", "all")
    assert ended.returncode == 0, ended.stderr
    assert len(small.session.runtime.volumes_kept()) == 1
