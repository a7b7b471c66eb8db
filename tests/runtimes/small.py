"""A small stack in a folder of its own, driven step by step through its runtime: no command line, no checks."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ports import free_port

from deploykit import converge, disk, reconcile
from deploykit.errors import DeploykitError
from deploykit.plan import Desired, Observed, Step
from deploykit.wire import Answer, Request

APP = """
import json
import os

WORD = "first"
with open("data/starts", "a") as starts:
    starts.write("x")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = json.dumps(
        {
            "word": WORD,
            "pid": os.getpid(),
            "starts": os.path.getsize("data/starts"),
            "made": os.path.exists("made-by-release"),
            "secret": os.environ.get("TOKEN"),
            "scheme": environ["wsgi.url_scheme"],
            "forwarded": {name: value for name, value in environ.items() if "FORWARDED" in name and value},
        }
    )
    if path == "/health":
        body = "fine"
    if path == "/say":
        print("said " + environ["QUERY_STRING"], flush=True)
    if path == "/slow":
        import time
        time.sleep(1.5)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body.encode()]
"""

SPEC = """
version: 1
name: {name}
apps:
  web:
    entrypoint: small:app
    app_server: {{type: {server}, socket: {socket}, workers: 1, threads: 4}}
    instances: [{{weight: 3}}, {{weight: 1}}]
    healthcheck: {{path: /health, contains: fine, start_period: {start_period}}}
    secrets: {{TOKEN: {{file: ./token}}}}
    release: [touch made-by-release]
    volumes: {{data: data/}}
    timeout: 5s
sites:
  small:
    locations:
      /: web
      /static/: {{files: static/}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""

SECRET = "s3cret \"with' $odd\\characters\né"

Seen = TypeVar("Seen")


class Small:
    """One small stack; `up` and `down` do what the commands do, without their checks."""

    def __init__(
        self,
        target: str,
        folder: Path,
        *,
        server: str = "gunicorn",
        socket: str = "unix",
        start_period: str = "20s",
        port: int | None = None,
    ) -> None:
        self.target, self.folder = target, folder
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.port = port or free_port()
        self.told: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir()
        (folder / "data" / "starts").write_text("")
        (folder / "static").mkdir()
        (folder / "static" / "style.css").write_text("body {}\n")
        (folder / "token").write_text(SECRET + "\n")
        (folder / "small.py").write_text(APP)
        text = SPEC.format(name=self.name, server=server, socket=socket, start_period=start_period, port=self.port)
        (folder / "deploykit.yaml").write_text(text)
        self.session = self.opened()

    def opened(self) -> converge.Session:
        """A session on the spec as it is now."""
        return converge.open_stack(self.folder / "deploykit.yaml", self.target, self.told.append)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces a text that has to be there."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.session = self.opened()

    def desired(self) -> Desired:
        return self.session.desired()

    def observed(self, probes: bool = True) -> Observed:
        return self.session.runtime.observe(probes)

    def steps(self) -> tuple[Step, ...]:
        """What `up` would do now."""
        return self.session.changes()[0].steps

    def up(self) -> tuple[Step, ...]:
        """All that has to change is changed; where a step fails, what served before serves again."""
        changes, desired, observed = self.session.changes()
        runtime = self.session.runtime
        done: list[Step] = []
        try:
            for step in changes.deploy:
                done.append(step)
                runtime.apply(step, desired)
        except DeploykitError:
            runtime.undo_leftovers(desired)
            for step in reconcile.undo(done, observed):
                runtime.apply(step, desired)
            raise
        for step in changes.retire:
            runtime.apply(step, desired)
        return changes.steps

    def down(self, *, volumes: bool = False) -> tuple[str, ...]:
        return self.session.runtime.down(volumes=volumes)

    def remove(self) -> None:
        """Nothing stays of it, however it was left."""
        with contextlib.suppress(DeploykitError):
            self.down(volumes=True)
        disk.remove(self.session.stack.home)

    # --- as a client ---

    def get(self, target: str = "/", **more: object) -> Answer:
        request = Request(f"127.0.0.1:{self.port}", target, host=f"localhost:{self.port}", **more)  # type: ignore[arg-type]
        return self.session.runtime.exchange("outside", [request])[0]

    def word(self) -> str:
        """What the release that answers calls itself."""
        import json

        answer = self.get()
        return str(json.loads(answer.body)["word"]) if answer.status == 200 else f"{answer.status} {answer.error}"


@contextlib.contextmanager
def brought_up(target: str, folder: Path, **more: object) -> Iterator[Small]:
    """A small stack, up; nothing of it stays."""
    small = Small(target, folder, **more)  # type: ignore[arg-type]
    try:
        small.up()
        yield small
    finally:
        small.remove()


def eventually(look: Callable[[], Seen], seconds: float = 20.0) -> Seen:
    """What was seen once it is true, or at the end of the time."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() >= deadline:
            return seen
        time.sleep(0.05)
