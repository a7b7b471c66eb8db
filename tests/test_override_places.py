"""What the planner, a target or a missing secret refuses in an environment is told at the line of its override."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit import converge, planner
from deploykit.errors import Problem, SpecError

SPEC = """\
version: 1
name: shop
target: process
apps:
  web: {entrypoint: "shop:app", requirements: requirements.txt, release: [echo fine]}
sites: {shop: {server_name: shop.test, locations: {/: web}}}
environments:
  staging:
    sites: {shop: {server_name: staging.test}}
    target: %s
    apps:
      web:
        %s
"""
LINE = 13


def problems(folder: Path, target: str, override: str) -> tuple[Problem, ...]:
    (folder / "deploykit.yaml").write_text(SPEC % (target, override))
    (folder / "requirements.txt").write_text("")
    (folder / "shop.py").write_text("")
    local = converge.open_stack(folder / "deploykit.yaml", None, print)
    local.rendered(planner.assumed_facts(local.spec))
    session = converge.open_stack(folder / "deploykit.yaml", None, print, "staging")
    with pytest.raises(SpecError) as caught:
        session.desired(planner.assumed_facts(session.spec))
    return caught.value.problems


@pytest.mark.parametrize(
    ("target", "override", "path"),
    [
        ("process", 'release: [echo fine, "echo a && echo b"]', "release[1]"),
        ("process", 'release: "echo \'open"', "release[0]"),
        ("process", "requirements: missing.txt", "requirements"),
        ("docker", "app_server: {socket: tcp}", "app_server.socket"),
        ("process", "secrets: {KEY: {env: NOT_SET_ANYWHERE_HERE}}", "secrets.KEY.env"),
        ("process", "secrets: {KEY: {file: not-there}}", "secrets.KEY.file"),
        ("process", "env_file: not-there.env", "env_file"),
    ],
)
def test_it_is_told_at_the_line_of_the_override(tmp_path: Path, target: str, override: str, path: str) -> None:
    (problem,) = problems(tmp_path, target, override)
    assert problem.path == f"environments.staging.apps.web.{path}"
    assert problem.place is not None
    assert problem.place.line == LINE
