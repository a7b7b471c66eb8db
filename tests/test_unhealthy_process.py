"""On the process target, a release that never gets healthy harms nobody, whichever way it is broken, and says why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sick import GUNICORN_WAYS, UWSGI_WAYS, Sick, brought_up, refuses_the_sick_release


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    with brought_up("process", tmp_path_factory.mktemp("sick") / "gunicorn") as stack:
        yield stack


@pytest.fixture(scope="module")
def uwsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    with brought_up("process", tmp_path_factory.mktemp("sick") / "uwsgi", "uwsgi") as stack:
        yield stack


@pytest.mark.parametrize("way", GUNICORN_WAYS)
def test_a_release_that_never_gets_healthy_gets_no_request_and_says_why(gunicorn: Sick, way: str) -> None:
    refuses_the_sick_release(gunicorn, way, GUNICORN_WAYS[way])


@pytest.mark.parametrize("way", UWSGI_WAYS)
def test_a_release_under_uwsgi_that_never_gets_healthy_gets_no_request_and_says_why(uwsgi: Sick, way: str) -> None:
    refuses_the_sick_release(uwsgi, way, UWSGI_WAYS[way])


def test_the_next_up_after_mending_works(gunicorn: Sick) -> None:
    gunicorn.write("bad", GUNICORN_WAYS["answers 500"])
    gunicorn.run("up", "--target", gunicorn.target, expect=3)
    gunicorn.write("mended")
    assert gunicorn.up()["changed"] is True
    assert gunicorn.browser.get("/whoami").headers["x-release-note"] == "mended"
    assert gunicorn.up()["changed"] is False
    gunicorn.write("good")
    gunicorn.up()
