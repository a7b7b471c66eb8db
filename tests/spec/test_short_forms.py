"""What is read: short forms are the long ones, and plain YAML is taken as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploykit.errors import SpecError
from deploykit.spec.load import load_spec
from deploykit.spec.model import Spec
from tests.spec.examples import ALIASES, LONG_FORMS, QUOTING, SHORT_FORMS


def load(text: str, folder: Path) -> Spec:
    path = folder / "deploykit.yaml"
    path.write_text(text)
    return load_spec(path)[0]


APP = 'version: 1\nname: a\napps:\n  w:\n    entrypoint: "a:b"\n'
SITE = APP + "sites:\n  s:\n    locations: {/: w}\n"
PAIRS = [
    (APP + "    app_server: uwsgi\n", APP + "    app_server: {type: uwsgi}\n"),
    (APP + "    instances: 3\n", APP + "    instances: [{}, {weight: 1}, {}]\n"),
    (APP + "    healthcheck: /healthz\n", APP + "    healthcheck: {path: /healthz}\n"),
    (APP + "    release: ./manage.py migrate\n", APP + "    release: [./manage.py migrate]\n"),
    (SITE, SITE.replace("/: w", "/: {app: w}")),
    (SITE + "    server_name: a.test\n", SITE + "    server_name: [a.test]\n"),
]


@pytest.mark.parametrize(("short", "long"), PAIRS)
def test_a_short_form_is_its_long_one(short: str, long: str, tmp_path: Path) -> None:
    assert load(short, tmp_path) == load(long, tmp_path)


def test_plain_values_stay_as_they_were_written(tmp_path: Path) -> None:
    app = load(SHORT_FORMS, tmp_path).apps["web"]
    assert app.python == "3.10"
    assert app.environment == {"PORT": "5432", "COUNTRY": "NO", "RATIO": "1.10", "MODE": "0o17", "EMPTY": ""}
    assert all(type(value) is str for value in [app.python, *app.environment.values()])


def test_values_have_their_units(tmp_path: Path) -> None:
    spec = load(LONG_FORMS, tmp_path)
    app, site = spec.apps["web"], spec.sites["shop"]
    assert (app.timeout, app.stop_grace_period, app.body_size) == (30.0, 180.0, 10 << 20)
    assert app.healthcheck is not None
    assert app.healthcheck.timeout == 0.5
    assert site.locations["/media/"].cache_control == 3600.0
    assert site.locations["/static/"].cache_control == "hashed"
    assert site.locations["/reports/"].body_size == 50 << 20
    assert str(spec.listen) == "[::1]:8443"


def test_an_alias_stands_for_its_anchor(tmp_path: Path) -> None:
    apps = load(ALIASES, tmp_path).apps
    assert apps["api"].entrypoint == "shop:app"
    assert apps["api"].environment == apps["web"].environment | {"A": "b"}  # type: ignore[operator]


def test_quotes_are_read_as_yaml_says(tmp_path: Path) -> None:
    environment = load(QUOTING, tmp_path).apps["web"].environment
    assert environment == {"A": "it's", "B": "café 😀", "C": "plain text", "D": "a: b #c", "E": "xy"}


def test_a_spec_is_frozen_all_the_way_down(tmp_path: Path) -> None:
    spec: Any = load(LONG_FORMS, tmp_path)
    with pytest.raises(TypeError):
        spec.apps["web"] = None
    with pytest.raises(TypeError):
        spec.apps["web"].environment["A"] = "b"
    with pytest.raises(ValueError, match="frozen"):
        spec.apps["web"].timeout = 1.0
    assert isinstance(spec.checks, tuple)


def test_a_spec_of_another_deploykit_is_refused_before_its_keys_are(tmp_path: Path) -> None:
    for text in ("version: 1\nrequires: '>99'\nnew: key\n", "version: 2\nnew: key\n"):
        with pytest.raises(SpecError) as caught:
            load(text, tmp_path)
        assert len(caught.value.problems) == 1
