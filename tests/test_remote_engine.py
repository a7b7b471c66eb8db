"""The docker target on an Engine that is not this machine's: by ssh, by TCP with TLS, through a docker context."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from engines import SSH_PORT, TLS_PORT, Engine, Ssh, second_engine
from stacks import COMMAND, Example

pytestmark = [pytest.mark.slow, pytest.mark.docker]

LIMIT_SECONDS = 60
"""Until it is said that an Engine can't be reached; it takes at most 20 s, and starting a Python on a busy machine."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with second_engine() as started:
        yield started


@pytest.fixture(scope="module")
def ssh(engine: Engine) -> Ssh:
    return engine.serve_ssh()


@pytest.fixture
def ways(engine: Engine, ssh: Ssh, tmp_path: Path) -> dict[str, dict[str, str]]:
    """How users reach it: what each has in the environment."""
    return {"ssh": ssh.variables(tmp_path / "bin"), "tls": engine.tls, "context": chosen_context(engine, tmp_path)}


def chosen_context(engine: Engine, folder: Path) -> dict[str, str]:
    """The environment of a user who has made a docker context for it, and chosen it."""
    own = {**os.environ, "DOCKER_CONFIG": str(folder / "docker")}
    tls = Path(engine.tls["DOCKER_CERT_PATH"])
    files = ",".join(f"{name}={tls / name}.pem" for name in ("ca", "cert", "key"))
    host = f"host={engine.tls['DOCKER_HOST']},{files}"
    for words in (["context", "create", "over-there", "--docker", host], ["context", "use", "over-there"]):
        subprocess.run(["docker", *words], env=own, check=True, capture_output=True)
    return {"DOCKER_CONFIG": own["DOCKER_CONFIG"]}


@contextlib.contextmanager
def example_on(engine: Engine, folder: Path, variables: dict[str, str]) -> Iterator[Example]:
    """The Flask example on that Engine, open to other machines; nothing of it stays there."""
    example = Example("flask", "docker", folder)
    example.variables = variables
    example.edit("deploykit.yaml", f"listen: 127.0.0.1:{example.port}", f"listen: 0.0.0.0:{example.port}")
    # Nothing here is about how fast an app starts, and two Engines are at work.
    example.edit("deploykit.yaml", "healthcheck: /healthz ", "healthcheck: {path: /healthz, start_period: 3m} ")
    example.patience_seconds = 900
    client = engine.client()
    try:
        yield example
    finally:
        example.remove()
        left = [*client.containers.list(all=True), *client.volumes.list()]
        assert [each.name for each in left if str(each.name).startswith(example.name)] == []
        client.close()


def note(engine: Engine, stack: Example) -> str:
    """What the release that answers at the Engine's address calls itself."""
    with urllib.request.urlopen(f"http://{engine.address}:{stack.port}/whoami", timeout=30) as answer:
        return str(json.load(answer)["release_note"])


@pytest.mark.parametrize("way", ["ssh", "tls", "context"])
def test_a_stack_lives_its_life_on_an_engine_elsewhere(
    engine: Engine, ways: dict[str, dict[str, str]], way: str, tmp_path: Path
) -> None:
    with example_on(engine, tmp_path / "flask", ways[way]) as stack:
        ended = stack.run("up", "--target", "docker")
        address = "ssh://" if way == "ssh" else f"tcp://{engine.address}:{TLS_PORT}"
        first_line = ended.stderr.splitlines()[0]
        assert f"target docker at {address}" in first_line
        assert f"http://{engine.address}:{stack.port}" in ended.stdout
        assert note(engine, stack) == "first"
        # What its image stands on stays for the tests after this one.
        (image,) = [each for each in engine.client().images.list() if any(stack.name in tag for tag in each.tags)]
        image.tag("kept", way)

        stack.edit("deploykit.yaml", "RELEASE_NOTE: first", "RELEASE_NOTE: second")
        stack.up()
        assert note(engine, stack) == "second"
        found = {each["live"]: each["id"] for each in stack.json("releases")["releases"]}
        stack.run("rollback", found[False])
        assert note(engine, stack) == "first"

        words = [*COMMAND, "run", "web", "--", "python", "-c", "import sys; print(len(sys.stdin.read()))"]
        environment = {**os.environ, **ways[way]}
        ran = subprocess.run(words, cwd=stack.folder, env=environment, input=b"x" * 100_000, capture_output=True)
        assert (ran.returncode, ran.stdout) == (0, b"100000\n"), ran.stderr
        stack.run("down", "--volumes", "--yes")


def test_the_checks_are_measured_through_the_engine_where_only_its_machine_gets_there(
    engine: Engine, ways: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    with example_on(engine, tmp_path / "flask", ways["ssh"]) as stack:
        stack.edit("deploykit.yaml", f"listen: 0.0.0.0:{stack.port}", f"listen: 127.0.0.1:{stack.port}")
        ended = stack.run("up")
        assert f"only {engine.address} itself gets there" in ended.stderr
        assert "0 broken" in stack.run("test").stdout
        with pytest.raises(OSError):
            note(engine, stack)


# --- where it can't be reached --------------------------------------------------------------------------------------


@contextlib.contextmanager
def older_engine() -> Iterator[str]:
    """What answers as a Docker Engine of 2019 does; the address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"ApiVersion": "1.40", "Version": "19.03.15"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def refused(tmp_path: Path, variables: dict[str, str]) -> str:
    """What `up` says where it ends with exit code 5, within the time."""
    folder = tmp_path / "flask"
    example = Example("flask", "docker", folder)
    example.variables = variables
    began = time.monotonic()
    ended = example.run("up", expect=5)
    assert time.monotonic() - began < LIMIT_SECONDS
    assert "Traceback" not in ended.stderr
    assert not (folder / ".deploykit").exists()
    return ended.stderr


def foreign_authority(engine: Engine, ssh: Ssh, tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "certificates"
    folder.mkdir()
    other = type(engine.certificates)(folder / "other", engine.address)
    for name in ("cert", "key"):
        (folder / f"{name}.pem").write_bytes((engine.certificates.client() / f"{name}.pem").read_bytes())
    (folder / "ca.pem").write_bytes((other.folder / "ca.pem").read_bytes())
    return engine.tls | {"DOCKER_CERT_PATH": str(folder)}


def another_host_key(engine: Engine, ssh: Ssh, tmp_path: Path) -> dict[str, str]:
    known = tmp_path / "known_hosts"
    ssh.trust("stranger", known)
    return ssh.variables(tmp_path / "bin", known=known)


def unknown_host(engine: Engine, ssh: Ssh, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "known_hosts").write_text("")
    return ssh.variables(tmp_path / "bin", known=tmp_path / "known_hosts")


def nothing_listens(engine: Engine, ssh: Ssh, tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_HOST": f"tcp://{engine.address}:{SSH_PORT + 1}"}


FAULTS: dict[str, tuple[Callable[[Engine, Ssh, Path], dict[str, str]], str]] = {
    "wrong key": (lambda engine, ssh, at: ssh.variables(at / "bin", "stranger"), "ssh was not let in with the keys"),
    "host key changed": (another_host_key, "the host key of its machine is another one"),
    "host not known": (unknown_host, "ssh does not know its machine yet"),
    "certificate expired": (
        lambda engine, ssh, at: engine.tls | {"DOCKER_CERT_PATH": str(engine.certificates.client(-1))},
        "it has expired, or another authority signed it",
    ),
    "another authority": (foreign_authority, "was signed by somebody else than DOCKER_CERT_PATH/ca.pem"),
    "no certificates": (
        lambda engine, ssh, at: engine.tls | {"DOCKER_CERT_PATH": str(at / "nothing")},
        "DOCKER_CERT_PATH names a folder with ca.pem, cert.pem and key.pem",
    ),
    "no TLS": (lambda engine, ssh, at: {"DOCKER_HOST": engine.tls["DOCKER_HOST"]}, "it speaks TLS only"),
    "nothing listens": (nothing_listens, "no Engine answers at tcp://"),
    "no such name": (
        lambda engine, ssh, at: {"DOCKER_HOST": "ssh://root@engine.invalid"},
        "no machine of that name is known",
    ),
    "no such context": (lambda engine, ssh, at: {"DOCKER_CONTEXT": "nowhere"}, "there is no docker context `nowhere`"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_says_why_an_engine_elsewhere_can_not_be_reached(
    engine: Engine, ssh: Ssh, fault: str, tmp_path: Path
) -> None:
    variables, said = FAULTS[fault]
    assert said in refused(tmp_path, variables(engine, ssh, tmp_path))


def test_an_engine_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with older_engine() as address:
        assert f"{address} speaks API 1.40, not 1.41" in refused(tmp_path, {"DOCKER_HOST": address})


@pytest.mark.parametrize("way", ["ssh", "tls"])
def test_a_machine_that_can_not_be_reached_is_not_waited_for(
    engine: Engine, ways: dict[str, dict[str, str]], way: str, tmp_path: Path
) -> None:
    engine.cut()
    try:
        said = refused(tmp_path, ways[way])
    finally:
        engine.mend()
    assert "there is no way to that machine" in said or "can't be reached by ssh" in said or "answer in time" in said


def test_an_engine_that_hangs_is_not_waited_for(engine: Engine, tmp_path: Path) -> None:
    engine.pause()
    try:
        assert "does not answer in time" in refused(tmp_path, engine.tls)
    finally:
        engine.resume()


def test_the_test_engine_is_not_on_this_machines_addresses(engine: Engine) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", TLS_PORT)) != 0
