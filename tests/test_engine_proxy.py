"""The proxy in front of the Engine passes everything on as it is, and lets go wrong what it is told to."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import requests
from engine_proxy import EngineProxy, Fault, How

from deploykit.engine import connection
from deploykit.errors import EnvironmentLacks

pytestmark = pytest.mark.docker

IMAGE = "deploykit/python:3.11"


@pytest.fixture
def name() -> Iterator[str]:
    """Of a volume or container that a test may make."""
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    engine = docker.from_env()
    with contextlib.suppress(docker.errors.NotFound):
        engine.containers.get(name).remove(force=True)
    with contextlib.suppress(docker.errors.NotFound):
        engine.volumes.get(name).remove(force=True)
    engine.close()


@contextlib.contextmanager
def client(fault: Fault | None = None) -> Iterator[tuple[EngineProxy, Any]]:
    with EngineProxy(fault=fault) as proxy:
        engine = docker.DockerClient(base_url=proxy.address, version="auto", timeout=60)
        yield proxy, engine
        engine.close()


def exists(name: str) -> bool:
    engine = docker.from_env()
    found = [each["Name"] for each in engine.api.volumes()["Volumes"] or []]
    engine.close()
    return name in found


def test_streams_files_and_commands_in_containers_pass_as_they_are(name: str) -> None:
    with client() as (proxy, engine):
        container = engine.containers.run(IMAGE, ["sleep", "300"], name=name, detach=True, init=True)
        assert container.exec_run(["echo", "said"]).output == b"said\n"
        stdin = container.exec_run(["head", "-c", "5"], stdin=True, socket=True).output
        stdin._sock.sendall(b"whole or nothing")
        assert b"whole" in stdin.read(13)
        stdin.close()
        stream, _ = container.get_archive("/etc/os-release")
        assert b"".join(stream)
        dockerfile = io.BytesIO(f"FROM {IMAGE}\nLABEL {name}=1\n".encode())
        image, lines = engine.images.build(fileobj=dockerfile, rm=True)
        assert any("Successfully built" in each.get("stream", "") for each in lines)
        engine.images.remove(image.id, force=True)
        engine.volumes.create(name)
        changed = [each.what for each in proxy.asked if each.changes]
    assert "POST containers start" in changed and "POST build" in changed and "POST volumes create" in changed
    assert not [each for each in changed if "exec" in each]


@pytest.mark.parametrize(("how", "made"), [("error", False), ("drop", True)])
def test_a_wrong_answer_is_given_after_the_engine_did_it_or_before(name: str, how: How, made: bool) -> None:
    with client(Fault(how, 1)) as (_, engine):
        with pytest.raises((docker.errors.APIError, requests.exceptions.ConnectionError)):
            engine.volumes.create(name)
        assert exists(name) == made
        engine.volumes.create(name)


@pytest.mark.parametrize(("how", "made"), [("kill before", False), ("kill after", True)])
def test_its_client_is_killed_before_the_engine_hears_of_it_or_after(name: str, how: How, made: bool) -> None:
    script = f"import docker; docker.from_env().volumes.create({name!r}); print('not killed')"
    with (
        EngineProxy(fault=Fault(how, 1)) as proxy,
        subprocess.Popen(
            [sys.executable, "-c", script], env={"DOCKER_HOST": proxy.address}, stdout=subprocess.PIPE
        ) as running,
    ):
        proxy.killed(running)
        out, _ = running.communicate(timeout=120)
    assert (running.returncode, out) == (-signal.SIGKILL, b"")
    assert exists(name) == made


def test_an_answer_that_ends_in_the_middle_is_told_as_an_engine_that_is_gone() -> None:
    dockerfile = io.BytesIO(f"FROM {IMAGE}\nRUN sleep 2\n".encode())
    with (
        client(Fault("cut", 1)) as (_, engine),
        pytest.raises(EnvironmentLacks) as caught,
        connection.explained("a test"),
    ):
        for _line in engine.api.build(fileobj=dockerfile, rm=True, forcerm=True, decode=True, nocache=True):
            pass
    assert "no Engine answers at" in str(caught.value)
