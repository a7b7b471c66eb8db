"""The first `up` of a stack, killed before each of its effects."""

from __future__ import annotations

from pathlib import Path

import matrix
import pytest

pytestmark = pytest.mark.slow


def test_a_first_up_killed_anywhere_is_finished_or_undone_by_whatever_comes_next(tmp_path: Path) -> None:
    matrix.whole_row("process", tmp_path, "first", 1)


def test_a_first_up_killed_while_it_makes_an_environment_makes_it_anew(tmp_path: Path) -> None:
    parts = r"build-web|'venv'|'pip'|/venvs/\w+/"
    matrix.whole_row("process", tmp_path, "first", 2, with_environments=False, only=parts)
