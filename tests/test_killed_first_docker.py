"""The first `up` of a stack, killed at its requests to the Engine: what is left is finished or taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_faults import Site, killed_and_then, made, points_tried

pytestmark = [pytest.mark.slow, pytest.mark.docker]

NEXT = ("down", "up", "down", "changed up", "down")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made(tmp_path_factory.mktemp("killed-first") / "site") as site:
        yield site


def test_a_first_up_killed_anywhere_is_finished_or_taken_away_by_whatever_comes_next(site: Site) -> None:
    points = site.up().points
    problems = []
    for turn, (at, how) in enumerate(points_tried(points)):
        if site.is_up:
            site.done("down")
        problems += killed_and_then(site, ("up",), at, how, NEXT[turn % len(NEXT)])
    assert not problems, "\n".join(problems)
