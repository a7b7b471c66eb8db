"""A tiny project with a secret, on the process target, and `deploykit` run on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from ports import free_port

from deploykit.runtimes import Stack
from deploykit.wire import Request, exchange

COMMAND = [sys.executable, "-m", "deploykit"]

APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"WORD"]
"""
SPEC = """\
version: 1
name: {name}
target: process
apps:
  web:
    entrypoint: tiny:app
    app_server: {{type: gunicorn, workers: 1, threads: 2}}
    secrets: {{TOKEN: {{file: ./token}}}}
listen: 127.0.0.1:{port}
"""


class Tiny:
    """A tiny project and `deploykit` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.name = f"s{self.port}"
        folder.mkdir()
        (folder / "deploykit.yaml").write_text(SPEC.format(name=self.name, port=self.port))
        (folder / "token").write_text("a token\n")
        self.says("first")

    @property
    def home(self) -> Path:
        return self.folder / ".deploykit" / self.name

    def says(self, word: str) -> None:
        (self.folder / "tiny.py").write_text(APP.replace("WORD", word))

    def tried(self, *words: str, folder: Path | None = None, **environment: str) -> tuple[int, str]:
        """Its exit code and what it said; nothing is a bug."""
        ended = subprocess.run(
            [*COMMAND, *words],
            cwd=folder or self.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        said = ended.stdout + ended.stderr
        assert "Traceback" not in said, said
        return ended.returncode, said

    def run(self, *words: str, expect: int = 0, folder: Path | None = None) -> str:
        """What it said; its exit code has to be the expected one."""
        code, said = self.tried(*words, folder=folder)
        assert code == expect, said
        return said

    def answer(self) -> str:
        """What the stack answers, or why it doesn't."""
        (answer,) = exchange([Request(f"127.0.0.1:{self.port}", "/", host=f"localhost:{self.port}")])
        return answer.body or f"{answer.status} {answer.error}"

    def alive(self) -> dict[int, float]:
        """Each process of this stack by its id, with when it was started."""
        import psutil

        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DEPLOYKIT_STACK") == Stack(self.name, self.folder).id:
                    found[process.pid] = process.create_time()
        return found
