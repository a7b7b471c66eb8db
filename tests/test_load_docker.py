"""Releases and rollbacks in turns under load on the docker target, with Gunicorn and uWSGI: none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from stacks import APPS, brought_up
from switches import lose_nothing

pytestmark = [pytest.mark.slow, pytest.mark.docker]


@pytest.mark.parametrize("kind", APPS)
def test_releases_and_rollbacks_lose_nothing(kind: str, tmp_path: Path) -> None:
    with brought_up(kind, "docker", tmp_path / kind) as example:
        try:
            lose_nothing(example)
        except BaseException:
            example.save_artifacts()
            raise
