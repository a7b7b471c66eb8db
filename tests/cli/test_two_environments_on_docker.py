"""Two environments of one spec up on the Engine at the same time: neither touches the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from deploykit.runtimes import Stack
from deploykit.wire import Request, send

pytestmark = [pytest.mark.slow, pytest.mark.docker]

COMMAND = [sys.executable, "-m", "deploykit"]
SPEC = """\
version: 1
name: {name}
target: docker
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
listen: 127.0.0.1:{local}
apps:
  web:
    entrypoint: tiny:app
    app_server: {{type: gunicorn, workers: 1, threads: 2}}
    environment: {{MODE: local}}
    secrets: {{TOKEN: {{command: cat token-of-local}}}}
sites: {{tiny: {{server_name: tiny.test, locations: {{/: web}}}}}}
environments:
  staging:
    listen: 127.0.0.1:{staging}
    apps: {{web: {{environment: {{MODE: staging}}, secrets: {{TOKEN: {{command: cat token-of-staging}}}}}}}}
    sites: {{tiny: {{server_name: staging.test}}}}
"""
APP = """\
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['MODE']} {os.environ['TOKEN']}".encode()]
"""


class Both:
    """A project whose `local` and `staging` are up at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"local": free_port(), "staging": free_port()}
        self.name = f"e{self.ports['local']}"
        folder.mkdir()
        (folder / "deploykit.yaml").write_text(SPEC.format(name=self.name, **self.ports))
        (folder / "tiny.py").write_text(APP)
        (folder / "token-of-local").write_text("local-secret\n")
        (folder / "token-of-staging").write_text("staging-secret\n")
        (folder / ".gitignore").write_text("token-*\n")

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result

    def answer(self, environment: str) -> tuple[int, str]:
        host = {"local": "localhost", "staging": "staging.test"}[environment]
        answer = send(Request(f"127.0.0.1:{self.ports[environment]}", host=host))
        return answer.status, answer.body

    def things(self, environment: str) -> dict[str, Any]:
        """Name to when it was made, of all that is that environment's on the Engine, seen past deploykit."""
        import docker

        client = docker.from_env()
        label = {"label": f"deploykit.stack={Stack(self.name, self.folder, environment).id}"}
        found: dict[str, Any] = {
            each.name: each.attrs["State"]["StartedAt"]
            for each in client.containers.list(all=True, filters=label, ignore_removed=True)
        }
        for kind in ("volumes", "networks"):
            found |= {f"{kind} {each.name}": "" for each in getattr(client, kind).list(filters=label)}
        for image in client.images.list(filters=label):
            found |= dict.fromkeys(image.tags, image.labels["deploykit.fingerprints"])
        return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    both = Both(tmp_path_factory.mktemp("both") / "tiny")
    try:
        both.run("up")
        both.run("up", "-e", "staging", "--yes")
        yield both
    finally:
        for words in ((), ("-e", "staging")):
            command = [*COMMAND, "down", *words, "--volumes", "--yes"]
            subprocess.run(command, cwd=both.folder, capture_output=True, timeout=120)


def test_both_answer_and_own_nothing_together(both: Both) -> None:
    assert both.answer("local") == (200, "local local-secret")
    assert both.answer("staging") == (200, "staging staging-secret")
    local, staging = both.things("local"), both.things("staging")
    assert local
    assert staging
    assert not set(local) & set(staging)
    for words in ((), ("-e", "staging")):
        status = json.loads(both.run("status", "--json", *words).stdout)
        assert [member["state"] for member in status["members"]] == ["running"]
        assert not status["orphans"]
        assert "nothing changed" in both.run("up", *words, "--yes").stderr
    assert (both.things("local"), both.things("staging")) == (local, staging)


def test_a_changed_secret_of_one_is_a_release_of_that_one_only(both: Both) -> None:
    local = both.things("local")
    (both.folder / "token-of-staging").write_text("staging-secret-2\n")
    shown = both.run("plan", "-e", "staging")
    assert "TOKEN changed: new release" in shown.stdout
    assert "nothing to do" in both.run("plan").stdout
    both.run("up", "-e", "staging", "--yes")
    assert both.answer("staging") == (200, "staging staging-secret-2")
    assert both.answer("local") == (200, "local local-secret")
    assert both.things("local") == local
    releases = json.loads(both.run("releases", "-e", "staging", "--json").stdout)["releases"]
    assert [each["origin"]["cause"] for each in releases] == ["TOKEN changed", "not there yet"]
    labels = json.dumps(both.things("staging"))
    assert "TOKEN" in labels
    assert "secret" not in labels.replace(".secrets", "")


def test_down_of_one_leaves_the_other(both: Both) -> None:
    local = both.things("local")
    both.run("down", "-e", "staging", "--yes")
    assert both.answer("staging")[0] == 0
    assert not [name for name in both.things("staging") if not name.startswith("volumes ")]
    assert both.answer("local") == (200, "local local-secret")
    assert both.things("local") == local
