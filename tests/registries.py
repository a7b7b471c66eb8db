"""A registry of the tests' own, Debian's `docker-registry`, at one name for two Engines on two machines."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
from engines import START_SECONDS, Engine
from ports import free_port

USER, PASSWORD = "team", "correct horse battery"


class Registry:
    """Listens on each machine's loopback, where an Engine takes it without TLS; both serve the same folder."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        self.address = f"localhost:{free_port()}"
        self._running: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        words = ["htpasswd", "-Bbn", USER, PASSWORD]
        (folder / "htpasswd").write_text(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        settings = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
            "http": {"addr": f"127.0.0.1:{self.address.partition(':')[2]}"},
            "auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}},
        }
        # JSON is YAML.
        (folder / "config.yml").write_text(json.dumps(settings))

    def start(self) -> None:
        """It answers on both machines."""
        words = [shutil.which("docker-registry") or "docker-registry", "serve", str(self.folder / "config.yml")]
        with (self.folder / "log").open("ab") as log:
            here = ["setpriv", "--pdeathsig", "TERM", *words]
            self._running = [subprocess.Popen(here, stdout=log, stderr=log), self.engine.run(*words)]
        deadline = time.monotonic() + START_SECONDS
        for where in ([], ["nsenter", f"--net=/run/netns/{self.engine.network}"]):
            port = self.address.partition(":")[2]
            probe = [*where, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
            while subprocess.run(probe, capture_output=True).returncode:
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert time.monotonic() < deadline, f"the registry does not listen:\n{said}"
                time.sleep(0.1)

    def stop(self) -> None:
        """It does not run any more; its images stay."""
        for process in self._running:
            process.kill()
            process.wait()
        self._running = []

    def login(self, folder: Path, password: str = PASSWORD) -> dict[str, str]:
        """The environment of a user who typed `docker login`, however wrong the password was."""
        folder.mkdir(parents=True, exist_ok=True)
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        # What `docker login` writes; it would refuse to write a wrong one.
        (folder / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": token}}}))
        return {"DOCKER_CONFIG": str(folder)}

    def put(self, image: str, name: str) -> str:
        """It has that image of the main Engine; the name there."""
        client = docker.from_env()
        try:
            there = f"{self.address}/{name}"
            client.images.get(image).tag(there)
            login = {"username": USER, "password": PASSWORD}
            said = client.images.push(there, auth_config=login)
            assert '"error"' not in said, said
            return there
        finally:
            client.close()

    def forget(self) -> None:
        """The main Engine has no tag of it."""
        client = docker.from_env()
        try:
            for image in client.images.list():
                for tag in image.tags:
                    if tag.startswith(f"{self.address}/"):
                        client.images.remove(tag, noprune=False)
        finally:
            client.close()


@contextlib.contextmanager
def registry_for(engine: Engine, folder: Path) -> Iterator[Registry]:
    """A registry for the main Engine and that one; nothing of it stays."""
    assert shutil.which("docker-registry"), "docker-registry is missing: apt-get install docker-registry"
    assert shutil.which("htpasswd"), "htpasswd is missing: apt-get install apache2-utils"
    registry = Registry(folder, engine)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()
        registry.forget()
        shutil.rmtree(folder, ignore_errors=True)


def without_login(folder: Path) -> dict[str, str]:
    """The environment of a user who never logged in anywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"DOCKER_CONFIG": str(folder)}
