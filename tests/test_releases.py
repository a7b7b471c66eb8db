"""What goes into a release and what does not."""

from __future__ import annotations

from pathlib import Path

from deploykit import converge, planner, releases

SPEC = """
version: 1
name: shop
apps:
  web:
    entrypoint: app:app
    env_file: production.env
    secrets: {KEY: {file: keys/key.txt}, OTHER: {file: link}}
    volumes: {data: data/}
"""


def test_what_holds_secrets_data_or_the_spec_is_no_code(tmp_path: Path) -> None:
    for name in (
        "app.py",
        "production.env",
        "keys/key.txt",
        "keys/key.pub",
        "data/shop.sqlite3",
        "database.py",
        "real",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "deploykit.yaml").write_text(SPEC)
    spec, origin = converge.read_spec(tmp_path / "deploykit.yaml")
    plan = converge.plan_spec(spec, origin, tmp_path, planner.assumed_facts(spec), "process")
    assert releases.source_files(plan.app("web"), tmp_path) == (
        "app.py",
        "database.py",
        "keys/key.pub",
    )


def test_links_that_go_in_circles_are_links_like_others(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "deploykit.yaml").write_text(SPEC)
    spec, origin = converge.read_spec(tmp_path / "deploykit.yaml")
    plan = converge.plan_spec(spec, origin, tmp_path, planner.assumed_facts(spec), "process")
    assert releases.source_files(plan.app("web"), tmp_path) == ("app.py", "one", "two")
