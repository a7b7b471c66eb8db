"""Each example on each target, from `up` to `down`: what a newcomer does, in that order, with real tools.

The tests of one stack build on each other: it is brought up once, and the last one takes it down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.error import URLError

import pytest
from browser import Browser
from stacks import APPS, Example, brought_up

pytestmark = pytest.mark.slow
PICTURE = b"GIF89a, or nearly"
SECOND = """
  second:                           # an app beside it, that has to be left alone when the other one changes
    source: second/
    entrypoint: hello:app

sites:"""
HELLO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((kind, target), id=f"{kind}-{target}", marks=[pytest.mark.docker] if target == "docker" else [])
        for target in ("process", "docker")
        for kind in APPS
    ],
)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """One example on one target, up."""
    kind, target = request.param
    with brought_up(kind, target, tmp_path_factory.mktemp("examples") / kind) as running:
        yield running


@pytest.fixture(autouse=True)
def _artifacts(request: pytest.FixtureRequest, example: Example) -> Iterator[None]:
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        example.save_artifacts()


def test_a_form_with_a_picture_is_kept_and_nginx_serves_the_picture(example: Example) -> None:
    page = example.browser.post("/", example.browser.fill_in("first entry", ("a.gif", PICTURE)))
    assert page.status == 200
    address = re.search(r'src="(/media/[^"]+\.gif)"', page.text)
    assert address is not None, page.text
    picture = example.browser.get(address[1])
    assert picture.text == PICTURE.decode()
    assert "max-age=3600" in picture.headers["cache-control"]
    assert "x-release-note" not in picture.headers, "the app answered"


def test_every_promise_is_kept(example: Example) -> None:
    """With a picture in its folder, so that there is something to ask for."""
    checks = example.json("test")["checks"]
    assert len(checks) > 10
    assert {check["verdict"] for check in checks} == {"kept"}


def test_a_second_up_changes_nothing(example: Example) -> None:
    alive, written = example.alive(), example.written()
    assert alive
    assert written
    assert "nothing changed" in example.run("up", "--target", example.target).stderr
    outcome = example.up()
    assert (outcome["changed"], outcome["steps"]) == (False, [])
    assert example.alive().items() ^ alive.items() == set()
    assert example.written().items() ^ written.items() == set()


def test_the_app_sees_the_request_as_it_was_sent(example: Example) -> None:
    """The app gets the Host as the browser sent it, port and all, or CSRF checks would refuse forms."""
    seen = example.browser.get("/whoami?a=b").text
    for text in (f'"localhost:{example.port}"', '"http"', '"/whoami?a=b"', '"first"'):
        assert text in seen


def test_files_with_a_hash_in_their_name_are_cached_for_a_year(example: Example) -> None:
    address = re.search(r'"(/static/[^"]+\.[0-9a-f]{12}\.svg)"', example.browser.get("/").text)
    assert address is not None
    answer = example.browser.get(address[1])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "max-age=31536000" in answer.headers["cache-control"]


def test_status_tells_of_every_member(example: Example) -> None:
    status = example.json("status")
    assert {member["state"] for member in status["members"]} == {"running"}
    assert {member["healthy"] for member in status["members"]} == {True}
    assert {member["release"] for member in status["members"]} == {status["live"]["web"]}
    assert status["nginx"]["live"] == status["nginx"]["on_disk"] != ""
    assert status["orphans"] == []


def test_a_one_off_runs_in_the_releases_environment(example: Example) -> None:
    said = example.run("run", "web", "--", "python", "-c", "import os; print(os.environ['RELEASE_NOTE'])")
    assert said.stdout.splitlines()[-1] == "first"
    example.run("run", "web", "--", "python", "-c", "raise SystemExit(7)", expect=7)


def test_logs_have_the_names_of_their_processes(example: Example) -> None:
    members = {f"web-{member['slot']}" for member in example.json("status")["members"]}
    assert {line.split()[0] for line in example.run("logs", "web").stdout.splitlines()} == members


def test_a_restart_renews_one_instance_only(example: Example) -> None:
    before = {member["slot"]: member["since"] for member in example.json("status")["members"]}
    example.run("restart", "web-1")
    after = {member["slot"]: member["since"] for member in example.json("status")["members"]}
    assert [slot for slot in before if after[slot] > before[slot] + 1] == [1]
    assert example.browser.get("/healthz").status == 200


def test_an_edit_makes_a_new_release_of_that_app_only(example: Example) -> None:
    hello = example.folder / "second" / "hello.py"
    hello.parent.mkdir()
    hello.write_text(HELLO)
    (example.folder / ".dockerignore").write_text("second/\n")  # or it would be code of both
    example.edit("deploykit.yaml", "\nsites:", SECOND)
    example.edit("deploykit.yaml", "      /: web\n", "      /: web\n      /second/: second\n")
    example.up()
    assert example.browser.get("/second/").text == "hello"
    before = example.json("status")

    hello.write_text(HELLO.replace("hello", "good day"))
    outcome = example.up()
    assert outcome["changed"]
    assert {step.get("app") for step in outcome["steps"]} == {"second"}, outcome["steps"]
    assert all("its code changed" in step["cause"] for step in outcome["steps"] if step["step"] == "BuildRelease")
    after = example.json("status")
    assert after["live"]["second"] != before["live"]["second"]
    assert after["live"]["web"] == before["live"]["web"]
    assert after["nginx"]["since"] == before["nginx"]["since"]
    assert example.browser.get("/second/").text == "good day"


def test_data_outlives_releases(example: Example) -> None:
    assert "first entry" in Browser(example.url).get("/").text


def test_down_leaves_nothing_but_data(example: Example) -> None:
    kept = [line for line in example.run("down").stdout.splitlines() if line.startswith("kept: ")]
    assert len(kept) == 2
    assert example.alive() == {}
    assert {name for name in example.left() if "volumes" not in name} <= {"file lock", "file key"}
    with pytest.raises(URLError):
        example.browser.get("/")

    example.run("down", "--volumes", "--yes")
    assert {name for name in example.left() if "volumes" in name} == set()
