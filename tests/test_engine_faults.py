"""An Engine that answers wrongly, late or not at all: told in words, what served serves, the next `up` converges."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_faults import LONG, UP, Ended, Site, made
from engine_proxy import Fault, How

pytestmark = [pytest.mark.slow, pytest.mark.docker]

HOWS: tuple[How, ...] = ("drop", "error", "cut")
HANDFUL: tuple[tuple[str, How], ...] = (
    ("POST build", "cut"),
    ("POST containers start", "error"),
    ("POST containers kill", "drop"),
    ("POST containers stop", "error"),
    ("DELETE containers", "drop"),
)
"""What of a new release goes wrong in each run of the tests; in the long run all does, in each way."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with made(tmp_path_factory.mktemp("engine-faults") / "site") as site:
        site.up()
        yield site


def told_in_words(ended: Ended) -> list[str]:
    """What is wrong with how a failed `up` is told."""
    wrong = [] if ended.code in (3, 5) else [f"exit {ended.code}"]
    text = ended.err[ended.err.find("error: ") :]
    if not re.match(r"error: \S", text) or text.count("error: ") != 1:
        wrong.append("not one error")
    if re.search(r"Traceback|docker\.errors|requests\.|urllib3|HTTPConnectionPool|http\+docker|<[a-z]+\.", ended.err):
        wrong.append("not in the words of a user")
    return [f"{each}: {ended}" for each in wrong]


def test_whatever_answer_goes_wrong_is_told_and_the_next_up_converges(site: Site) -> None:
    site.change()
    points = site.up().points
    places = [(at, how) for at in range(1, len(points) + 1) for how in HOWS]
    if not LONG:
        named = [point.what for point in points]
        places = [(named.index(what) + 1, how) for what, how in HANDFUL]
    problems = []
    for at, how in places:
        site.change()
        with site.load() as load:
            ended = site.run("up", *UP["up"], fault=Fault(how, at))
            label = f"{how} at {at}, {ended.hit and ended.hit.what}"
            # What nothing depends on, such as a container that only asked, may fail without a word.
            wrong = told_in_words(ended) if ended.code else []
            ended = site.run("up", *UP["up"])
            wrong += site.broken() if ended.code == 0 else [f"the next up: {ended}"]
        if load.result.failures:
            wrong.append(f"the load saw {load.result}")
        problems += [f"{label}: {each}" for each in wrong]
    assert not problems, "\n".join(problems)


def test_an_engine_that_is_slow_all_the_time_and_late_once_changes_nothing_but_the_time(site: Site) -> None:
    site.change()
    late = Fault("delay", 3, seconds=30 if LONG else 3)
    ended = site.run("up", *UP["up"], fault=late, every_seconds=2 if LONG else 0.03, seconds=1800)
    assert ended.code == 0, ended
    assert site.told() == site.note
    assert site.broken() == []


def test_without_an_engine_it_is_exit_5_one_message_and_nothing_changes(site: Site, tmp_path: Path) -> None:
    files = written(site.home)
    for words in (("up",), ("rollback", "any"), ("down",), ("status",)):
        ended = site.run_at(f"unix://{tmp_path}/none.sock", *words)
        assert ended.code == 5, ended
        assert told_in_words(ended) == []
        assert f"no Engine answers at unix://{tmp_path}/none.sock" in ended.err
    assert written(site.home) == files
    assert site.told() == site.note
    assert site.broken() == []


def test_a_socket_that_may_not_be_used_is_exit_5_and_one_message(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o400)
        ended = site.run_at(f"unix://{path}", "up", *UP["up"])
    assert ended.code == 5, ended
    assert told_in_words(ended) == []
    assert f"no permission to use the Engine at unix://{path}" in ended.err
    assert site.broken() == []


def written(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
