"""`up` with another release and another configuration of nginx, killed before each of its effects, under load."""

from __future__ import annotations

from pathlib import Path

import matrix
import pytest

pytestmark = pytest.mark.slow


def test_up_killed_anywhere_is_finished_or_undone_by_whatever_comes_next(tmp_path: Path) -> None:
    matrix.whole_row("process", tmp_path, "up", 0)
