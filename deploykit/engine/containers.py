"""Containers as everything of deploykit runs in: hardened, labelled, bounded; and commands inside them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit import wire
from deploykit.engine import maker
from deploykit.engine.ends import ends_of
from deploykit.engine.labels import APP_USER, MAKER, NAME, PYTHON, ROLE
from deploykit.errors import DeployFailed
from deploykit.health import ended_text, more_telling, why_unhealthy
from deploykit.plan import Probe
from deploykit.runtimes import CommandResult
from deploykit.wire import Answer, Request

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

TMPFS = {"/tmp": "rw,nosuid,nodev,noexec,mode=1777"}  # noqa: S108 -- in the container
LOG_BYTES, LOG_FILES = "10m", "3"
MOST_ARGUMENT_BYTES = 60_000
"""Of one argument; Linux takes 131,071 (MAX_ARG_STRLEN)."""
ASK_SECONDS = 0.1
EXIT_SECONDS = 30
REMOVED_SECONDS = 30
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108


@dataclass(frozen=True)
class Wanted:
    """What one container is made from; what is not said here is as closed as it can be."""

    image: str
    command: Sequence[str]
    labels: Mapping[str, str]
    name: str | None = None
    mounts: Sequence[Any] = ()
    network: str = "none"
    user: str = APP_USER
    groups: Sequence[str] = ()
    working_dir: str = "/"
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    tmpfs: Mapping[str, str] = field(default_factory=lambda: TMPFS)
    ports: Mapping[int | str, tuple[str, int]] = field(default_factory=dict)
    """Port in the container to (address, port) on the Engine's machine."""
    restart: bool = False
    stop_signal: str = "SIGTERM"
    stop_seconds: int = 10
    most_processes: int = 256
    terminal: bool = False
    stdin: bool = False
    writable: bool = False
    """The Engine puts no files into a container that is read-only, not even into its volumes."""
    ends_itself: bool = False
    """The Engine removes it when it ends."""


def create(client: DockerClient, wanted: Wanted) -> Container:
    """The container, created and not started."""
    from docker.types import LogConfig

    api = client.api
    host = api.create_host_config(
        mounts=list(wanted.mounts),
        network_mode=wanted.network,
        port_bindings=dict(wanted.ports) or None,
        read_only=not wanted.writable,
        tmpfs=dict(wanted.tmpfs),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        pids_limit=wanted.most_processes,
        group_add=list(wanted.groups),
        log_config=LogConfig(type="json-file", config={"max-size": LOG_BYTES, "max-file": LOG_FILES}),
        # `unless-stopped` stayed down after the Engine was killed, `always` came back.
        restart_policy={"Name": "always"} if wanted.restart else None,
        auto_remove=wanted.ends_itself,
    )
    made = api.create_container(
        wanted.image,
        # Whatever the image starts by itself is replaced.
        entrypoint=[wanted.command[0]],
        command=list(wanted.command[1:]),
        # What is short-lived has a name too, for whoever looks at `docker ps` meanwhile.
        name=wanted.name or f"{wanted.labels[NAME]}-{wanted.labels[ROLE]}-{secrets.token_hex(3)}",
        labels=dict(wanted.labels) if wanted.restart else {**wanted.labels, MAKER: maker.own()},
        user=wanted.user,
        working_dir=wanted.working_dir,
        environment=dict(wanted.environment),
        ports=[(port, "tcp") for port in wanted.ports],
        host_config=host,
        stop_signal=wanted.stop_signal,
        stop_timeout=wanted.stop_seconds,
        tty=wanted.terminal,
        stdin_open=wanted.stdin,
        # The user's proxy settings may hold a password, and `docker inspect` would show it.
        use_config_proxy=False,
    )
    return client.containers.get(made["Id"])


def remove(container: Container) -> None:
    """The container is gone, however it was, and whoever else is removing it just now."""
    import docker

    try:
        # With the volumes that nobody named: a base image may declare some.
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        with contextlib.suppress(docker.errors.NotFound):
            container.wait(condition="removed", timeout=REMOVED_SECONDS)


def run_once(client: DockerClient, wanted: Wanted, heard: Callable[[str], None] | None = None) -> CommandResult:
    """How a command in a container of its own ended, and all that it wrote; nothing of the container stays."""
    container = create(client, wanted)
    try:
        container.start()
        lines = []
        for line in _lines(container.logs(stream=True, follow=True)):
            lines.append(line)
            if heard is not None and line.strip():
                heard(line.strip())
        code = container.wait()["StatusCode"]
        return CommandResult(code, "\n".join(lines))
    finally:
        remove(container)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    left = b""
    for chunk in chunks:
        *whole, left = (left + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode(errors="replace")
    if left:
        yield left.decode(errors="replace")


def ran(container: Container, words: Sequence[str]) -> tuple[int, bytes, bytes]:
    """How a command inside a running container ended, what it wrote, and what it complained of.

    Raises:
        DeployFailed: the Engine does not tell how it ended.
    """
    api = container.client.api  # type: ignore[union-attr]
    made = api.exec_create(container.id, list(words))["Id"]
    output, complaints = api.exec_start(made, demux=True)
    deadline = time.monotonic() + EXIT_SECONDS
    # On a busy machine the output ends before the Engine has heard how the command did.
    while (code := api.exec_inspect(made)["ExitCode"]) is None:
        if time.monotonic() > deadline:
            raise DeployFailed(f"the Engine does not tell how `{words[0]}` ended in {container.name}")
        time.sleep(ASK_SECONDS / 5)
    return int(code), output or b"", complaints or b""


def execute(container: Container, words: Sequence[str]) -> CommandResult:
    """How a command inside a running container ended."""
    code, output, complaints = ran(container, words)
    return CommandResult(code, (output + complaints).decode(errors="replace"))


def exchange(container: Container, requests: Sequence[Request]) -> tuple[Answer, ...]:
    """The answers to raw requests that are made inside a running container that has a Python.

    Raises:
        DeployFailed: its Python did not do that; with what it said.
    """
    answers: list[Answer] = []
    for part in _parts(requests):
        words = ["python3", "-I", "-c", wire.source_text(), wire.to_json(part)]
        code, output, complaints = ran(container, words)
        said, complained = (each.decode(errors="replace") for each in (output, complaints))
        if code != 0:
            raise DeployFailed(f"no request could be made in {container.name}: {(complained or said).strip()[-400:]}")
        answers += wire.answers_from_json(said)
    return tuple(answers)


def _parts(requests: Sequence[Request]) -> Iterator[list[Request]]:
    part: list[Request] = []
    size = 0
    for request in requests:
        length = len(wire.to_json([request]))
        if part and size + length > MOST_ARGUMENT_BYTES:
            yield part
            part, size = [], 0
        part.append(request)
        size += length
    if part:
        yield part


def last_lines(container: Container, count: int = 20) -> tuple[str, ...]:
    """The last lines that a container wrote."""
    return tuple(container.logs(tail=count).decode(errors="replace").splitlines())


def probe_request(probe: Probe, protocol: str, socket: str) -> Request:
    """How an instance is asked by itself."""
    return Request(
        f"unix:{socket}", probe.path, host=probe.host, protocol=protocol, timeout_seconds=probe.timeout_seconds
    )


def wait_healthy(container: Container, request: Request, probe: Probe) -> tuple[str, Answer | None] | None:
    """None as soon as it is healthy; else how it ended, or nothing and its last answer after its start period.

    An instance that ended or was restarted meanwhile is not waited for.
    """
    container.reload()
    began = container.attrs["State"]["StartedAt"]
    deadline = time.monotonic() + probe.start_period_seconds
    answer: Answer | None = None
    while True:
        container.reload()
        state = container.attrs["State"]
        if state["Status"] != "running" or state["StartedAt"] != began or container.attrs["RestartCount"]:
            return _how_it_ended(container), answer
        left = max(0.2, min(probe.timeout_seconds, deadline - time.monotonic()))
        answer = more_telling(answer, _asked(container, replace(request, timeout_seconds=left)))
        if not why_unhealthy(probe, answer):
            return None
        if time.monotonic() > deadline:
            return "", answer
        time.sleep(ASK_SECONDS)


def _how_it_ended(container: Container) -> str:
    found = ends_of(container.client, [container]).get(str(container.id), ()) if container.client else ()
    return ended_text(found[0] if found else None)


def _asked(container: Container, request: Request) -> Answer:
    import docker

    try:
        (answer,) = exchange(container, [request])
    except docker.errors.APIError as error:
        # Between two looks it ended, or is just being restarted.
        return Answer(0, error=str(error.explanation or error))
    except DeployFailed as error:
        return Answer(0, error=error.failure.what)
    return answer


def instance_command() -> list[str]:
    """What an instance runs."""
    return [PYTHON, "../config/launch.py", "serve"]


def one_off_command(words: Sequence[str]) -> list[str]:
    """A command in the same environment as an instance's."""
    return [PYTHON, "../config/launch.py", "run", "--", *words]
