"""The JSON Schema that editors get accepts what the loader accepts, and refuses most of what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from deploykit.spec.reading import Items, Keys, Node, read
from deploykit.spec.schema import schema
from deploykit.spec.values import Number
from tests.spec.examples import RIGHT
from tests.test_problems import CASES, DASHES, PROBLEMS

VALIDATOR = jsonschema.Draft202012Validator(schema())

ACROSS = (
    "alias",
    "app-server-hexadecimal",
    "app-server-misspelt",
    "app-server-octal",
    "app-server-unknown",
    "balance-both",
    "balance-consistent-without",
    "balance-hash-of",
    "balance-neither",
    "body-size-too-large",
    "checks-site",
    "environment-and",
    "environment-control",
    "environment-own",
    "environments-adds-an-app",
    "environments-app-server-misspelt",
    "environments-has-only-a-wildcard",
    "environments-key-twice",
    "environments-removes",
    "environments-secret-both",
    "environments-secret-command",
    "environments-without-sites",
    "file-",
    "framework",
    "healthcheck-host",
    "instances-all",
    "instances-backup-and",
    "instances-backup-with",
    "instances-octal",
    "instances-only",
    "instances-weight-with",
    "key-right",
    "key-twice",
    "key-unknown-with",
    "key-with-control",
    "limit",
    "listen",
    "empty-locations",
    "location-app",
    "location-both",
    "location-exact",
    "location-files",
    "location-neither",
    "location-path",
    "location-redirect-and",
    "location-redirect-with-timeout",
    "location-regex",
    "location-status",
    "location-strip",
    "missing-locations",
    "name-is-no",
    "python-two",
    "requires",
    "secret-both",
    "secret-command-and",
    "secret-command-quote",
    "secret-command-shell",
    "secret-neither",
    "site-name-local",
    "site-name-twice",
    "site-redirect-and",
    "sites-",
    "source",
    "stop-grace-period",
    "timeout",
    "volumes",
    "yaml-",
)
"""Broken in a way that a schema can't say or an editor's YAML hides: several keys together, escapes, duplicates, ranges
of durations, numbers that YAML 1.1 reads otherwise."""


def as_an_editor_reads(text: str) -> Any:
    """The data in YAML 1.2's core schema: here numbers are numbers."""
    return plain(read(text, "deploykit.yaml")[0])


def plain(node: Node) -> Any:
    if isinstance(node, Keys):
        return {key: plain(child) for key, (_, child) in node.entries.items()}
    if isinstance(node, Items):
        return [plain(child) for child in node.nodes]
    if isinstance(node.value, Number):
        return int(node.value, 0) if re.fullmatch("0|-?[1-9][0-9]*|0[xo].*", node.value) else float(node.value)
    return node.value


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_loader_accepts_is_valid(name: str) -> None:
    errors = [error.message for error in VALIDATOR.iter_errors(as_an_editor_reads(RIGHT[name]))]
    assert not errors


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(ACROSS)])
def test_what_is_wrong_by_itself_is_not_valid(case: str) -> None:
    text = (PROBLEMS / f"{case}.txt").read_text().partition(DASHES)[0]
    assert not VALIDATOR.is_valid(as_an_editor_reads(text))


def nodes(node: Any) -> list[dict[str, Any]]:
    below = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    return ([node] if isinstance(node, dict) else []) + [found for child in below for found in nodes(child)]


def test_every_key_is_described_and_no_mapping_takes_others() -> None:
    found = schema()
    models = [node for node in nodes(found) if isinstance(node.get("properties"), dict)]
    assert len(models) >= 9
    for model in models:
        assert model["additionalProperties"] is False
        for name, field in model["properties"].items():
            reference = found["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            assert field.get("description") or reference.get("description"), name


def test_defaults_are_what_a_spec_would_write() -> None:
    app = schema()["$defs"]["App"]["properties"]
    assert (app["timeout"]["default"], app["body_size"]["default"], app["source"]["default"]) == ("30s", "10m", ".")
    for node in nodes(schema()):
        if "default" in node and "properties" not in node:
            inline = {**node, "$defs": schema()["$defs"]}
            assert jsonschema.Draft202012Validator(inline).is_valid(node["default"]), node
    found = schema()
    del found["$defs"]["Environment"]  # there null removes a key
    assert '"null"' not in json.dumps(found)


OVERRIDES = """\
version: 1
name: shop
apps:
  web: {entrypoint: "shop:app", timeout: 5s, app_server: uwsgi, instances: [{weight: 2}, {}]}
sites: {shop: {server_name: shop.test, locations: {/: web}}}
environments:
  one: {}
  two:
    listen: 0.0.0.0:80
    target: docker
    apps: {web: {timeout: null, app_server: {workers: 2}, instances: 3}, api: {entrypoint: "a:b"}}
    sites: {shop: {locations: {/api/: {app: api}, /: null}}}
    checks: [{get: /}]
"""


def test_in_an_environment_nothing_is_required_and_null_removes() -> None:
    assert not list(VALIDATOR.iter_errors(as_an_editor_reads(OVERRIDES)))
    for right, wrong in (
        ("workers: 2", "wrokers: 2"),
        ("get: /", "status: 200"),
        ("target: docker", "taget: docker"),
        ("two:", "Two:"),
        ("listen: 0.0.0.0:80", "name: other"),
    ):
        assert not VALIDATOR.is_valid(as_an_editor_reads(OVERRIDES.replace(right, wrong))), wrong
