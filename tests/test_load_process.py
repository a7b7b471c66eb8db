"""Releases and rollbacks in turns under load, on the process target with Gunicorn: no request is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from stacks import brought_up
from switches import lose_nothing

pytestmark = pytest.mark.slow


def test_releases_and_rollbacks_lose_nothing(tmp_path: Path) -> None:
    with brought_up("flask", "process", tmp_path / "flask") as example:
        try:
            lose_nothing(example)
        except BaseException:
            example.save_artifacts()
            raise
