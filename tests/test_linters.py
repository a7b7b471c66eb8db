"""The linters' verdict on the whole checkout, as tests: what they say is in the failure. A missing one fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELL_FILES = (".ci/run", ".ci/need", ".ci/python", ".ci/engine")


@pytest.mark.parametrize(
    "words",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy --strict"],
)
def test_python_files_please(words: tuple[str, ...]) -> None:
    result = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    missing = f"No module named {words[0]}" in result.stderr
    assert not missing, f"{words[0]} is not installed: pip install -e '.[dev]'"
    assert result.returncode == 0, result.stdout + result.stderr


def test_shell_files_please_shellcheck() -> None:
    program = shutil.which("shellcheck")
    assert program, "shellcheck is not installed: apt-get install shellcheck"
    result = subprocess.run([program, *SHELL_FILES], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_shell_file_is_checked() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / ".ci").iterdir()}
    assert there == set(SHELL_FILES)
