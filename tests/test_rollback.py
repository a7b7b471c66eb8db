"""A release that is still there serves again: without a build, without a network. Under load: `test_load_*.py`."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator

import pytest
from stacks import Example, brought_up

pytestmark = [pytest.mark.slow, pytest.mark.docker]

NOTES = ["first", "second", "third"]


@pytest.fixture(scope="module", params=["process", "docker"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The Flask example with three releases, each from a commit of its own but the last."""
    folder = tmp_path_factory.mktemp("rollback") / "flask"
    with brought_up("flask", request.param, folder) as example:
        git(example, "init", "-q")
        for before, note in itertools.pairwise(NOTES):
            example.edit("deploykit.yaml", f"RELEASE_NOTE: {before}", f"RELEASE_NOTE: {note}")
            if note == "second":
                git(example, "add", "-A")
                git(example, "-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-qm", note)
            example.up()
        yield example


def git(stack: Example, *words: str) -> str:
    ended = subprocess.run(["git", *words], cwd=stack.folder, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def releases(stack: Example) -> dict[str, dict[str, object]]:
    """Release id to what is told of it, newest first."""
    return {each["id"]: each for each in stack.json("releases")["releases"]}


def note(stack: Example) -> str:
    return str(json.loads(stack.browser.get("/whoami").text)["release_note"])


def test_releases_say_who_made_them_from_which_commit_and_why(stack: Example) -> None:
    third, second, first = releases(stack).values()
    assert [each["live"] for each in (third, second, first)] == [True, False, False]
    assert third["origin"]["cause"] == "its settings in the spec changed"
    assert first["origin"]["revision"] == ""
    assert second["origin"]["revision"] == third["origin"]["revision"] == git(stack, "rev-parse", "HEAD")
    assert (second["origin"]["clean"], third["origin"]["clean"]) == (True, False)
    assert all("@" in each["origin"]["by"] for each in (third, second, first))
    assert third["origin"]["at"] > second["origin"]["at"] > first["origin"]["at"]


def test_without_an_id_it_shows_what_there_is_and_changes_nothing(stack: Example) -> None:
    alive = stack.alive()
    said = stack.run("rollback").stdout
    assert all(each in said for each in releases(stack))
    assert stack.alive() == alive


@pytest.mark.parametrize("wanted", ["nothing-like-it", ""])
def test_an_id_that_is_none_is_refused_with_those_there_are(stack: Example, wanted: str) -> None:
    alive = stack.alive()
    ended = stack.run("rollback", wanted, expect=2)
    assert any(each in ended.stderr for each in releases(stack))
    assert stack.alive() == alive


def test_the_live_one_is_nothing_to_go_back_to(stack: Example) -> None:
    live = next(each for each, told in releases(stack).items() if told["live"])
    assert "live" in stack.run("rollback", live, expect=2).stderr


def test_there_and_back_leaves_the_same_number_of_instances(stack: Example) -> None:
    third, second, first = releases(stack)
    for wanted, told in ((first, "first"), (third, "third"), (second[:6], "second")):
        stack.run("rollback", wanted)
        assert note(stack) == told
    assert releases(stack)[second]["live"] is True
    assert len([m for m in stack.json("status")["members"] if m["state"] == "running"]) == 2


def test_it_needs_no_network_and_no_source(stack: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    third = next(iter(releases(stack)))
    if releases(stack)[third]["live"]:
        stack.run("rollback", list(releases(stack))[1])
    (stack.folder / "requirements.txt").rename(stack.folder / "gone.txt")
    try:
        stack.run("rollback", third)
    finally:
        (stack.folder / "gone.txt").rename(stack.folder / "requirements.txt")
    assert note(stack) == "third"


def test_up_goes_forward_again(stack: Example) -> None:
    stack.run("rollback", list(releases(stack))[-1])
    assert note(stack) == "first"
    assert stack.up()["changed"] is True
    assert note(stack) == "third"
