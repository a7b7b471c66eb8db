"""An environment is the spec with some values changed; each value keeps its place, and none is lost unseen."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploykit.errors import SpecError
from deploykit.spec.environments import MOST_ENVIRONMENTS, in_each
from deploykit.spec.load import Source, environments_of, load_spec, meaning
from deploykit.spec.model import Spec
from deploykit.spec.origins import values
from tests.spec.examples import LONG_FORMS, SEVERAL, SHORT_FORMS
from tests.spec.test_mangled import JARGON, JUNK, spots, thorough

BASE = """\
version: 1
name: shop
apps:
  web:
    entrypoint: shop:app
    app_server: uwsgi
    instances: [{weight: 3}, {weight: 1}]
    healthcheck: /healthz
    environment: {A: one, B: two}
    release: [one, two]
sites:
  shop:
    server_name: shop.test
    locations: {/: web}
environments:
"""


def read(changes: str, folder: Path, name: str = "staging") -> tuple[Spec, Source]:
    """The spec in an environment that changes this."""
    path = folder / "deploykit.yaml"
    path.write_text(BASE + f"  {name}:\n    {changes}\n")
    spec, source = load_spec(path, name)
    meaning(spec, source)
    return spec, source


def web(changes: str, folder: Path) -> Any:
    return read(f"apps: {{web: {changes}}}", folder)[0].apps["web"]


# --- what is merged --------------------------------------------------------------------------------------------------


def test_mappings_merge_and_what_is_not_named_stays(tmp_path: Path) -> None:
    app = web("{environment: {B: three, C: four}}", tmp_path)
    assert dict(app.environment) == {"A": "one", "B": "three", "C": "four"}
    assert app.release == ("one", "two")


def test_lists_are_replaced_whole(tmp_path: Path) -> None:
    assert [one.weight for one in web("{instances: [{weight: 7}]}", tmp_path).instances] == [7]
    assert web("{release: [three]}", tmp_path).release == ("three",)
    assert web("{release: []}", tmp_path).release == ()


def test_null_removes_what_then_has_its_default(tmp_path: Path) -> None:
    app = web("{environment: {A: null}, instances: ~, healthcheck: }", tmp_path)
    assert dict(app.environment) == {"B": "two"}
    assert (len(app.instances), app.healthcheck) == (1, None)


def test_a_short_form_replaces_a_list_and_a_mapping(tmp_path: Path) -> None:
    app = web("{instances: 3, release: three, app_server: gunicorn}", tmp_path)
    assert [one.weight for one in app.instances] == [1, 1, 1]
    assert (app.release, app.app_server.type) == (("three",), "gunicorn")
    long = BASE.replace("app_server: uwsgi", "app_server: {type: gunicorn, workers: 5}")
    (tmp_path / "deploykit.yaml").write_text(long + "  x: {apps: {web: {app_server: uwsgi}}}\n")
    server = load_spec(tmp_path / "deploykit.yaml", "x")[0].apps["web"].app_server
    assert (server.type, server.workers) == ("uwsgi", None)


def test_a_mapping_over_a_short_form_merges_with_its_long_form(tmp_path: Path) -> None:
    app = web("{app_server: {workers: 2}, healthcheck: {timeout: 1s}}", tmp_path)
    assert (app.app_server.type, app.app_server.workers) == ("uwsgi", 2)
    assert app.healthcheck is not None
    assert (app.healthcheck.path, app.healthcheck.timeout) == ("/healthz", 1.0)
    site = read("sites: {shop: {locations: {/: {timeout: 5s}}}}", tmp_path)[0].sites["shop"]
    assert (site.locations["/"].app, site.locations["/"].timeout) == ("web", 5.0)


def test_one_environment_never_shows_in_another(tmp_path: Path) -> None:
    path = tmp_path / "deploykit.yaml"
    path.write_text(BASE + "  one: {listen: 127.0.0.1:81}\n  two: {apps: {web: {timeout: 5s}}}\n")
    assert environments_of(path) == ("local", "one", "two")
    found = {name: load_spec(path, name)[0] for name in environments_of(path)}
    assert [spec.listen.port for spec in found.values()] == [8080, 81, 8080]
    assert [spec.apps["web"].timeout for spec in found.values()] == [30.0, 30.0, 5.0]


def test_local_may_have_changes_of_its_own_and_needs_no_name(tmp_path: Path) -> None:
    spec, _ = read("sites: {shop: {server_name: []}}", tmp_path, "local")
    assert spec.sites["shop"].server_name == ()
    assert load_spec(tmp_path / "deploykit.yaml")[0] == spec


def test_a_file_without_environments_has_only_local(tmp_path: Path) -> None:
    path = tmp_path / "deploykit.yaml"
    path.write_text(BASE.replace("environments:\n", ""))
    assert environments_of(path) == ("local",)
    with pytest.raises(SpecError, match="there is no environment 'staging'"):
        load_spec(path, "staging")


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    read("{}", tmp_path)
    with pytest.raises(SpecError) as refused:
        load_spec(tmp_path / "deploykit.yaml", "stagign")
    assert refused.value.problems[0].hint == "did you mean `staging`?"


# --- places ----------------------------------------------------------------------------------------------------------


def test_each_value_has_the_place_where_it_was_written(tmp_path: Path) -> None:
    _, source = read("apps: {web: {app_server: {workers: 2}, environment: {B: x}, instances: [{weight: 9}]}}", tmp_path)
    lines = {
        ("name",): 2,
        ("apps", "web", "environment", "A"): 9,
        ("apps", "web", "environment", "B"): 17,
        ("apps", "web", "app_server", "type"): 6,
        ("apps", "web", "app_server", "workers"): 17,
        ("apps", "web", "instances", 0, "weight"): 17,
        ("sites", "shop", "locations", "/", "app"): 14,
    }
    assert {path: source.place(path).line for path in lines} == lines


def test_a_problem_found_later_is_told_from_where_it_was_written(tmp_path: Path) -> None:
    _, source = read("apps: {web: {environment: {B: x}, balance: ip_hash, release: [a], healthcheck: null}}", tmp_path)
    told = {
        ("apps", "web", "environment", "A"): "apps.web.environment.A",
        ("apps", "web", "environment", "B"): "environments.staging.apps.web.environment.B",
        ("apps", "web", "release", 0): "environments.staging.apps.web.release[0]",
        ("apps", "web", "balance"): "environments.staging.apps.web.balance",
        ("apps", "web", "healthcheck"): "environments.staging.apps.web.healthcheck",
        ("apps", "web", "timeout"): "apps.web.timeout",
    }
    assert {path: source.problem(path, "is wrong").path for path in told} == told


def test_config_says_where_each_value_comes_from_and_what_is_a_default(tmp_path: Path) -> None:
    spec, source = read("apps: {web: {secrets: {KEY: {env: NOWHERE}}, instances: 2}}", tmp_path)
    found = {value.path: (value.value, value.place.line if value.place else None) for value in values(spec, source)}
    web_of: Any = ("apps", "web")
    assert found[(*web_of, "instances")] == (2, 17)
    assert found[(*web_of, "secrets", "KEY", "env")] == ("NOWHERE", 17)
    assert found[(*web_of, "app_server", "type")] == ("uwsgi", 6)
    assert found[(*web_of, "app_server", "socket")] == ("unix", None)
    assert found[(*web_of, "timeout")] == ("30s", None)
    assert found[("listen",)] == ("127.0.0.1:8080", None)


# --- whatever stands there -------------------------------------------------------------------------------------------

SEEDS = [yaml.safe_load(text) for text in (SHORT_FORMS, LONG_FORMS, SEVERAL)]


@st.composite
def with_environments(draw: st.DrawFn) -> bytes:
    """A right spec, with pieces of itself or of another one, mangled, as what its environments change."""
    data = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    data["environments"] = environments = {}
    for name in draw(st.lists(st.sampled_from(["local", "one", "two", "", "Three", None]), max_size=3, unique=True)):
        changes = copy.deepcopy(draw(st.sampled_from([data, *SEEDS])))
        changes = {key: value for key, value in changes.items() if draw(st.booleans()) and key != "environments"}
        for _ in range(draw(st.integers(0, 3))):
            found = spots(changes)
            if found:
                node, key = draw(st.sampled_from(found))
                node[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        environments[name] = draw(st.sampled_from([changes, changes, changes, *JUNK]))
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


@thorough
@given(with_environments())
def test_any_environments_are_read_or_refused_each_problem_with_its_place(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deploykit.yaml"
        path.write_bytes(data)
        try:
            names = environments_of(path)
            assert len(names) <= MOST_ENVIRONMENTS + 1
            for name, (spec, source) in in_each(names, lambda name: load_spec(path, name)).items():
                assert isinstance(spec, Spec)
                assert source.environment == name
                assert all(value.place is None or value.place.line for value in values(spec, source))
                meaning(spec, source)
        except SpecError as error:
            assert error.problems
            assert not JARGON.search(str(error)), str(error)
            places = [problem.place for problem in error.problems if not problem.message.endswith("like these")]
            assert all(place is not None and place.file.endswith("deploykit.yaml") for place in places)
            lines = [place.line or 0 for place in places if place is not None]
            assert lines == sorted(lines)
