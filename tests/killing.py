"""A command of deploykit on an example, killed by a real SIGKILL right before its n-th effect; what an effect is stands
in `tests/effects/sitecustomize.py`. Knows no target.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stacks import COMMAND, TOP, Example

EFFECTS = Path(__file__).parent / "effects"
LONG = bool(os.environ.get("DEPLOYKIT_LONG"))

APP = '''
"""The routes that the load asks for, without a framework: it starts at once."""
import json
import os
import time

NOTE = os.environ["RELEASE_NOTE"]


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = b"plain"
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    elif path == "/slow":
        time.sleep(0.5)
        body = b"slept 0.5 s"
    elif path == "/whoami":
        told = {"app": "plain", "path": f"{path}?{query}" if query else path, "release_note": NOTE}
        body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Release-Note", NOTE)])
    return [body]
'''

SPEC = """
version: 1
name: {name}
apps:
  web:
    entrypoint: plain:app
    app_server: {{type: gunicorn, workers: 1, threads: 8}}
    healthcheck: /healthz
    environment: {{RELEASE_NOTE: first}}
    secrets: {{SECRET_KEY: {{file: secret-key.txt}}}}
    release: [touch made-by-release]
    volumes: {{data: data/}}
    timeout: 5s
    body_size: 10m
sites:
  plain:
    locations:
      /: web
      /static/: {{files: static/}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""
SECRET = "canary-of-the-kill-matrix"


class Plain(Example):
    """A small app of its own for what is done many times; it answers what `load.py` asks."""

    def __init__(self, target: str, folder: Path) -> None:
        self._name_it("plain", target, folder, "plain")
        (folder / "static").mkdir(parents=True)
        (folder / "static" / "style.css").write_text("body {}\n")
        (folder / "plain.py").write_text(APP)
        (folder / "secret-key.txt").write_text(SECRET + "\n")
        (folder / "secret-key.txt").chmod(0o600)
        self.wants("first")

    def wants(self, note: str, body_size: str = "10m") -> None:
        """The spec asks for a release of that name, and for that limit of nginx."""
        text = SPEC.format(name=self.name, port=self.port)
        text = text.replace("RELEASE_NOTE: first", f"RELEASE_NOTE: {note}")
        (self.folder / "deploykit.yaml").write_text(text.replace("body_size: 10m", f"body_size: {body_size}"))

    def note(self) -> str:
        """What the release that answers calls itself."""
        answer = self.browser.get("/whoami")
        return answer.headers.get("x-release-note", f"{answer.status}")


@dataclass(frozen=True)
class Ended:
    """How a command ended whose effects were counted."""

    code: int
    """As `subprocess` has it: -9 where it was killed."""
    effects: tuple[str, ...]
    """The line of each that happened, and of the one that did not where it was killed."""
    said: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def counted(example: Example, *words: str, kill: int = 0, seconds: float = 300) -> Ended:
    """Runs the command; it is killed before its effect of that number, where it comes to that."""
    with started(example, *words, kill=kill) as (process, log):
        said, _ = process.communicate(timeout=seconds)
        effects = tuple(line.partition(" ")[2] for line in log.read_text().splitlines())
    ended = Ended(process.returncode, effects, said)
    what = f"killed before {effects[-1]}" if ended.killed else f"exit {ended.code}"
    example.keep_said(f"deploykit {' '.join(words)}: {what}\n{said}")
    return ended


class started:
    """The command while it runs, with the log of its effects until now."""

    def __init__(self, example: Example, *words: str, kill: int = 0, terminal: int | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name, "effects")
        self._log.touch()
        on_terminal = terminal is not None
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=example.folder,
            env=_variables(example, self._log, kill),
            stdin=terminal if on_terminal else subprocess.DEVNULL,
            stdout=terminal if on_terminal else subprocess.PIPE,
            stderr=terminal if on_terminal else subprocess.STDOUT,
            text=True,
            start_new_session=on_terminal,
            # Its own, so that it is told when that is closed.
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if on_terminal else None,
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], Path]:
        return self.process, self._log

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._folder.cleanup()


def _variables(example: Example, log: Path, kill: int) -> Mapping[str, str]:
    path = os.pathsep.join([str(EFFECTS), str(TOP), *filter(None, [os.environ.get("PYTHONPATH")])])
    mine = {"EFFECTS_LOG": str(log), "EFFECTS_BELOW": str(example.folder.resolve()), "EFFECTS_KILL": str(kill or "")}
    return {**os.environ, **example.variables, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **mine}


def sampled(count: int, share: int, offset: int) -> Iterator[int]:
    """1 to `count`, all of them in the long run, else each `share`-th from the offset on."""
    return (number for number in range(1, count + 1) if LONG or number % share == offset)


def wait_for(look, seconds: float = 60.0) -> bool:  # type: ignore[no-untyped-def]
    """Whether it came to be true in that time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
