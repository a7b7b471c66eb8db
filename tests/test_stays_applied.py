"""Going back to a release names what later ones did to the data, of the same app only."""

from __future__ import annotations

from deploykit.converge import stays_applied
from deploykit.plan import Observed, Origin, Release


def release(app: str, name: str, at: float, *commands: str) -> Release:
    return Release(app, name, {}, Origin(at=at, commands=commands))


MIGRATE, COLLECT = "python manage.py migrate --noinput", "python manage.py collectstatic --noinput"
WEB = (
    release("web", "third", 3.0, MIGRATE, COLLECT),
    release("web", "second", 2.0, MIGRATE),
    release("web", "first", 1.0, MIGRATE),
)
OBSERVED = Observed(complete={"web": WEB, "api": (release("api", "other", 9.0, "alembic upgrade head"),)})


def test_what_later_releases_ran_stays_with_the_releases_that_ran_it() -> None:
    assert stays_applied(OBSERVED, WEB[2]) == ((MIGRATE, ("third", "second")), (COLLECT, ("third",)))
    assert stays_applied(OBSERVED, WEB[1]) == ((MIGRATE, ("third",)), (COLLECT, ("third",)))


def test_the_newest_release_leaves_nothing_behind() -> None:
    assert stays_applied(OBSERVED, WEB[0]) == ()
    assert stays_applied(OBSERVED, OBSERVED.complete["api"][0]) == ()
