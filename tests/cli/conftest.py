"""A tiny project, and deploykit run on it as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SPEC = """\
version: 1
name: tiny
target: process
apps:
  web:
    entrypoint: tiny:app
    app_server: {type: gunicorn, workers: 1, threads: 2}
    instances: [{weight: 3}, {weight: 1}]
"""

APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"tiny"]
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "deploykit.yaml").write_text(SPEC)
    (folder / "tiny.py").write_text(APP)
    return folder


@pytest.fixture
def deploykit(project: Path) -> Run:
    """Runs `deploykit WORDS` in the project, with nobody at the terminal."""

    def run(*words: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploykit", *words],
            cwd=folder or project,
            env={**os.environ, "COLUMNS": "100", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
