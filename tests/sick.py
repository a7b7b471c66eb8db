"""A small stack of one file whose next release never gets healthy, or whose instances hang, die or break later."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from load import Load
from stacks import COMMAND, Example, _environment

START_SECONDS = 3
"""What a new instance is given; more where it has to do something in that time, also on a busy machine."""
PATIENCE_SECONDS = 5 if os.environ.get("DEPLOYKIT_LONG") else 20
"""How much longer a failed `up` may take: what is promised, and where others use the machine as well, enough."""
IN_THE_LONG_RUN = bool(os.environ.get("DEPLOYKIT_LONG"))
SECRET = "w0rd-that-nobody-may-read"

APP = """
import json
import os
import sys
import threading
import time

NOTE = {note!r}
{top}


def healthy():
    {health}
    return "200 OK"


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    with open("data/seen-by-" + NOTE, "a") as seen:
        seen.write(environ["REQUEST_METHOD"] + " " + path + "\\n")
    status, body = "200 OK", b""
    if path == "/healthz":
        status = healthy()
    elif path == "/whoami":
        told = {{"app": "sick", "path": path + ("?" + query if query else ""), "release_note": NOTE}}
        body = json.dumps({{**told, "pid": os.getpid(), "parent": os.getppid()}}).encode()
    elif path == "/echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    elif path == "/slow":
        time.sleep(float(query.partition("seconds=")[2].partition("&")[0] or 0))
        body = b"slept"
    elif path == "/seen":
        name = "data/seen-by-" + query
        body = open(name, "rb").read() if os.path.exists(name) else b""
    start_response(status, [("X-Release-Note", NOTE), ("Content-Length", str(len(body)))])
    return [body]
"""

SPEC = """
version: 1
name: {name}
apps:
  web:
    entrypoint: sick:app
    app_server: {{type: {server}, workers: 1, threads: 8}}
    instances: {instances}
    timeout: {timeout}s
    healthcheck: {{path: /healthz, start_period: {start}s, timeout: 1s, monitor: {monitor}s}}
    environment: {{GREETING: hello{environment}}}
    secrets: {{TOKEN: {{file: ./token}}}}
    volumes: {{data: data/}}
sites:
  sick: {{locations: {{/: web}}}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""


@dataclass(frozen=True)
class Way:
    """One way of never getting healthy, and what a person has to be told of it."""

    said: tuple[str, ...]
    top: str = ""
    """Runs when the module is imported."""
    health: str = "pass"
    """Runs when health is asked for."""
    environment: str = ""
    start_seconds: int = START_SECONDS


GUNICORN_WAYS = {
    "exits at once": Way(
        ("web-1 ended at once with exit code 3", "likely cause: the app or its server ends by itself while it starts"),
        top='print("token", os.environ["TOKEN"], flush=True)\nsys.exit(3)',
        start_seconds=60,
    ),
    "never listens": Way(
        ("it does not listen (no such socket)", "likely cause: its server does not listen yet"),
        top="time.sleep(60)",
        environment=", GUNICORN_CMD_ARGS: --preload",
    ),
    "answers 500": Way(
        ("it answers 500, not 200 to 399", "likely cause: the code of GET /healthz fails: ZeroDivisionError"),
        health="1 / 0",
        start_seconds=6,
    ),
    "hangs": Way(
        ("it does not answer within", "likely cause: it takes the connection and never answers"),
        health="time.sleep(60)",
        start_seconds=6,
    ),
    "healthy too late": Way(
        ("did not become healthy within 3 s", "healthcheck.start_period"), top=f"time.sleep({START_SECONDS + 3})"
    ),
    "another socket": Way(
        ("it does not listen (no such socket)", "likely cause: its server listens at http://127.0.0.1:"),
        environment=', GUNICORN_CMD_ARGS: "--bind 127.0.0.1:0"',
        start_seconds=6,
    ),
    "crash-loop": Way(
        ("did not become healthy within 8 s", "likely cause: its workers end and are started again"),
        health="os._exit(7)",
        start_seconds=8,
    ),
}

# uWSGI's master does not end with its workers, and it answers nothing where an app raises.
UWSGI_WAYS = {
    "exits at once": Way(
        ("did not become healthy within 8 s", "likely cause: its workers end and are started again"),
        top="sys.exit(3)",
        start_seconds=8,
    ),
    "fails": Way(
        ("it gives no answer", "likely cause: the code of GET /healthz fails: ZeroDivisionError: division by zero"),
        health="1 / 0",
        start_seconds=6,
    ),
    "crash-loop": Way(
        ("did not become healthy within 8 s", "likely cause: its workers end and are started again"),
        health="os._exit(7)",
        start_seconds=8,
    ),
}


class Sick(Example):
    """A stack of one app in one file, with a name and a port of its own."""

    def __init__(self, target: str, folder: Path, server: str = "gunicorn", **spec: object) -> None:
        self._name_it(f"sick-{server}", target, folder, "sick")
        self.values = {"server": server, "instances": 1, "timeout": 5, "monitor": 1, "environment": "", **spec}
        (folder / "data").mkdir(parents=True)
        (folder / "token").write_text(SECRET)
        (folder / ".gitignore").write_text("data/\ntoken\n")
        self.write("good")

    def write(self, note: str, way: Way | None = None, **spec: object) -> None:
        """The spec and the code of that release; `way` says what is wrong with it."""
        way = way or Way(())
        values = {**self.values, "start": way.start_seconds if way.said else 60, **spec}
        values["environment"] = way.environment or values["environment"]
        (self.folder / "deploykit.yaml").write_text(SPEC.format(name=self.name, port=self.port, **values))
        (self.folder / "sick.py").write_text(APP.format(note=note, top=way.top, health=way.health))

    def seen_by(self, note: str) -> list[str]:
        """Each request that the release of that note has seen, as `GET /path`."""
        return self.browser.get(f"/seen?{note}").text.splitlines()


@dataclass(frozen=True)
class Ended:
    """How a run of deploykit ended."""

    code: int
    stderr: str
    seconds_after_start: float
    """From the moment that it said how long it waits."""


def run_up(stack: Example, seconds: float = 200) -> Ended:
    """`deploykit up`, with the time from the start of the first instance on."""
    words = [*COMMAND, "up", "--target", stack.target]
    lines: list[str] = []
    waits = 0.0
    with subprocess.Popen(
        words,
        cwd=stack.folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stderr is not None
        for line in up.stderr:
            lines.append(line)
            if "waits up to" in line and not waits:
                waits = time.monotonic()
        code = up.wait(seconds)
    return Ended(code, "".join(lines), time.monotonic() - waits if waits else 0.0)


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once it holds; fails with what was awaited where it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


@contextlib.contextmanager
def brought_up(target: str, folder: Path, server: str = "gunicorn", **spec: object) -> Iterator[Sick]:
    """The stack with its good release, up; nothing of it stays afterwards."""
    stack = Sick(target, folder, server, **spec)
    try:
        try:
            stack.up()
        except AssertionError:
            stack.save_artifacts()
            raise
        yield stack
    finally:
        stack.remove()


def refuses_the_sick_release(stack: Sick, name: str, way: Way) -> None:
    """`up` with it under load ends in time with exit 3, tells what a person has to know, and nobody noticed."""
    note = f"bad-{name.replace(' ', '-')}"
    before = stack.alive()
    stack.write(note, way)
    try:
        with Load(stack.url, app="sick", clients=6, trickle=False, slow_seconds=0.5) as load:
            assert load.until(lambda result: len(result.answers) > 10, 30), load.result
            ended = run_up(stack)
        assert ended.code == 3, ended.stderr
        assert f"waits up to {way.start_seconds} s for GET /healthz" in ended.stderr
        for words in (*way.said, "now: what served before serves"):
            assert words in ended.stderr, ended.stderr
        shown = ended.stderr.partition("  last lines of ")[2].partition("  likely cause:")[0].splitlines()[1:]
        assert len(shown) <= 20, ended.stderr
        assert SECRET not in ended.stderr
        assert ended.seconds_after_start < way.start_seconds + PATIENCE_SECONDS, ended
        assert (load.result.failures, load.result.stale_close) == ([], 0), load.result
        assert set(load.result.releases()) == {"good"}
        assert set(stack.seen_by(note)) <= {"GET /healthz"}, "only its probe reaches it"
        assert stack.alive() == before
    finally:
        stack.write("good")
