"""Every path of a spec has a place, in whichever form it was written, and every problem gets one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit.errors import Place, Problem
from deploykit.spec.load import Source, load_spec
from deploykit.spec.words import SpecPath, path_words
from tests.spec.examples import ALIASES, LONG_FORMS, SHORT_FORMS


def source_of(text: str, folder: Path) -> Source:
    path = folder / "deploykit.yaml"
    path.write_text(text)
    return load_spec(path)[1]


def place(source: Source, *path: str | int) -> str:
    found = source.place(path)
    line = source.text.splitlines()[(found.line or 0) - 1]
    return f"{found.line}:{found.column} {line[(found.column or 0) - 1 :][:10]}"


def test_a_key_has_its_own_place_and_an_item_too(tmp_path: Path) -> None:
    source = source_of(LONG_FORMS, tmp_path)
    assert place(source, "apps", "web", "timeout") == "30:5 timeout: 3"
    assert place(source, "apps", "web", "instances", 1, "weight") == "14:31 weight: 1}"
    assert place(source, "apps", "web", "instances", 2) == "14:43 {}]"
    assert place(source, "sites", "shop", "locations", "/static/", "files") == "38:18 files: sta"
    assert place(source, "sites", "shop", "server_name", 2) == '35:59 "*.shop.te'
    assert place(source, "checks", 1, "status") == "47:5 status: 40"
    assert place(source) == "2:1 version: 1"


def test_what_is_not_written_has_the_place_of_the_nearest_that_is(tmp_path: Path) -> None:
    source = source_of(SHORT_FORMS, tmp_path)
    assert place(source, "apps", "web", "app_server", "type") == "6:5 app_server"
    assert place(source, "apps", "web", "app_server", "workers") == "6:5 app_server"
    assert place(source, "apps", "web", "instances", 0, "weight") == "7:5 instances:"
    assert place(source, "apps", "web", "body_size") == "4:3 web:"
    assert place(source, "sites", "shop", "server_name", 0) == "14:5 server_nam"
    assert place(source, "sites", "shop", "locations", "/", "app") == "16:7 /: web"
    assert place(source, "checks", 0, "get") == "1:1 version: 1"


def test_an_alias_has_the_place_of_its_own_key(tmp_path: Path) -> None:
    source = source_of(ALIASES, tmp_path)
    assert place(source, "apps", "api", "environment") == "11:5 environmen"
    assert place(source, "apps", "api", "environment", "A") == '8:24 A: "b", ? '


PATHS: list[tuple[str, SpecPath]] = [
    ("apps.web.instances[1].weight", ("apps", "web", "instances", 1, "weight")),
    ("apps.web.instances.1.weight", ("apps", "web", "instances", 1, "weight")),
    ("sites.shop.locations./static/.files", ("sites", "shop", "locations", "/static/", "files")),
    ("sites.shop.locations./.app", ("sites", "shop", "locations", "/", "app")),
    ("checks[1].status", ("checks", 1, "status")),
    ("checks[7].status", ("checks",)),
    ("checks[x].status", ("checks",)),
    ("apps.web.app_server.options.log-level", ("apps", "web", "app_server")),
    ("apps.web", ("apps", "web")),
    ("apps.webs.timeout", ("apps",)),
    ("", ()),
]


@pytest.mark.parametrize(("words", "path"), PATHS)
def test_a_path_in_words_finds_its_place(words: str, path: SpecPath, tmp_path: Path) -> None:
    source = source_of(LONG_FORMS, tmp_path)
    assert source.locate([Problem(words, "is wrong")])[0].place == source.place(path)


def test_keys_may_hold_dots_slashes_and_brackets(tmp_path: Path) -> None:
    text = """\
version: 1
name: a
apps: {w: {entrypoint: "a:b"}}
sites:
  s:
    locations:
      /v1: w
      /v1.files: {app: w}
      /v1.files.app: w
      /v1/x.0: w
"""
    source = source_of(text, tmp_path)
    for number, key in enumerate(["/v1", "/v1.files", "/v1.files.app", "/v1/x.0"]):
        words = path_words(("sites", "s", "locations", key))
        assert source.locate([Problem(words, "is wrong")])[0].place == Place(source.file, 7 + number, 7)
    assert source.locate([Problem("sites.s.locations./v1.timeout", "")])[0].place == Place(source.file, 7, 7)


def test_problems_come_in_line_order_and_once(tmp_path: Path) -> None:
    source = source_of(LONG_FORMS, tmp_path)
    elsewhere = Problem("", "before", place=Place("other", 1, 1))
    problems = [
        Problem("checks", "c"),
        Problem("apps.web", "a"),
        Problem("checks", "c"),
        Problem("name", "b"),
        elsewhere,
    ]
    assert [problem.message for problem in source.locate(problems)] == ["before", "b", "a", "c"]


def test_a_problem_is_told_by_what_was_written(tmp_path: Path) -> None:
    source = source_of(SHORT_FORMS, tmp_path)
    assert source.problem(("apps", "web", "app_server", "type"), "m").path == "apps.web.app_server"
    assert source.problem(("apps", "web", "instances", 2, "weight"), "m").path == "apps.web.instances"
    assert source.problem(("apps", "web", "body_size"), "m").path == "apps.web.body_size"
    assert source.problem(("sites", "shop", "locations", "/", "app"), "m").path == "sites.shop.locations./"
    assert source.problem(("sites", "shop", "locations", "/static/", "app"), "m").path.endswith("/static/.app")
