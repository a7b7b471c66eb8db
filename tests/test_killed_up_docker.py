"""`up` with a new release and a new nginx configuration, killed at its requests to the Engine: nobody notices, and
whatever is called next ends where it would have ended without.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_faults import LONG, Site, killed_and_then, made, points_tried

pytestmark = [pytest.mark.slow, pytest.mark.docker]

NEXT = ("up", "changed up", "rollback", "down")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made(tmp_path_factory.mktemp("killed-up") / "site") as site:
        site.up()
        yield site


def test_up_killed_anywhere_loses_nothing_and_whatever_comes_next_converges(site: Site) -> None:
    invariants = site.invariants()
    site.change()
    points = site.up().points
    problems = []
    for turn, (at, how) in enumerate(points_tried(points)):
        site.change()
        problems += killed_and_then(site, ("up",), at, how, NEXT[turn % len(NEXT)])
        if not site.is_up:
            site.up()
    assert not problems, "\n".join(problems)
    if LONG:
        invariants.hold()
