"""What the tests of both targets ask of a stack that goes on without deploykit."""

from __future__ import annotations

import os
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

from stacks import Example

SECRET = 'it\'s "s3cret" $HOME\nand goes on'


def clean(**more: str) -> dict[str, str]:
    """No deploykit on PATH, nor anything of its environment; where packages come from stays as it is."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "DOCKER_"))}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", **more}


def answers(stack: Example) -> bool:
    """Whether something answers where the stack did, and is healthy."""
    try:
        return stack.browser.get("/healthz").status == 200
    except (urllib.error.URLError, OSError):
        return False


def eventually(look: Callable[[], bool], seconds: float) -> bool:
    """Whether it is true once within that time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def files_below(folder: Path) -> list[Path]:
    """Every file, and no link."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
