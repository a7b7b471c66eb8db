"""`rollback` and `down`, killed at their requests to the Engine: whatever is called next ends where it would have ended
without, and a rollback loses no request.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_faults import Site, killed_and_then, made, points_tried

pytestmark = [pytest.mark.slow, pytest.mark.docker]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made(tmp_path_factory.mktemp("killed-back") / "site") as site:
        yield site


def two_releases(site: Site) -> None:
    """The stack is up, and there is a release to go back to."""
    if not site.is_up:
        site.up()
    if not site.older():
        site.change()
        site.up()


def test_a_rollback_killed_anywhere_loses_nothing_and_whatever_comes_next_converges(site: Site) -> None:
    two_releases(site)
    points = site.done("rollback", site.older()).points
    problems = []
    for turn, (at, how) in enumerate(points_tried(points)):
        two_releases(site)
        then = ("rollback", "up", "changed up", "rollback", "down")[turn % 5]
        problems += killed_and_then(site, ("rollback", site.older()), at, how, then)
    assert not problems, "\n".join(problems)


def test_a_down_killed_anywhere_is_finished_or_taken_back_by_whatever_comes_next(site: Site) -> None:
    two_releases(site)
    points = site.done("down").points
    problems = []
    for turn, (at, how) in enumerate(points_tried(points)):
        site.up()
        then = ("down", "up", "down", "changed up", "down")[turn % 5]
        problems += killed_and_then(site, ("down",), at, how, then)
    assert not problems, "\n".join(problems)
