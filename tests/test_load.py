"""Three releases in a row under load, on each target, with Gunicorn and with uWSGI: no request is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from load import Load
from stacks import APPS, ARTIFACTS, Example, brought_up

pytestmark = pytest.mark.slow
ANSWERS_BEFORE, ANSWERS_AFTER = 500, 1000
"""How many answers are waited for before each release goes in, and after it is in."""


@pytest.fixture(
    params=[
        pytest.param((kind, target), id=f"{kind}-{target}", marks=[pytest.mark.docker] if target == "docker" else [])
        for target in ("process", "docker")
        for kind in APPS
        if (kind, target) != ("flask", "process")  # more of that in test_load_process.py
    ]
)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    """One example on one target, up."""
    kind, target = request.param
    with brought_up(kind, target, tmp_path / kind) as running:
        before = request.session.testsfailed
        yield running
        if request.session.testsfailed > before:
            running.save_artifacts()


def test_three_releases_in_a_row_lose_nothing(example: Example) -> None:
    for old, new in (("first", "second"), ("second", "third"), ("third", "fourth")):
        _release_under_load(example, old, new)


def _release_under_load(example: Example, old: str, new: str) -> None:
    example.edit("deploykit.yaml", f"RELEASE_NOTE: {old} ", f"RELEASE_NOTE: {new} ")
    (example.folder / "changed.txt").write_text(new)  # the code is another one too, not only the settings
    with _load(example, f"{old} to {new}") as load:
        warm = load.until(lambda seen: len(seen.answers) >= ANSWERS_BEFORE, 60)
        outcome = example.up()
        is_in = time.monotonic()
        goes_on = load.until(lambda seen: seen.releases(since=is_in).total() >= ANSWERS_AFTER, 60)
    seen = load.result
    assert "RunNginx" not in {step["step"] for step in outcome["steps"]}, outcome["steps"]
    assert "SwitchRelease" in {step["step"] for step in outcome["steps"]}, outcome["steps"]
    assert warm and goes_on, seen
    assert (seen.failures, seen.stale_close) == ([], 0), seen
    assert set(seen.releases()) == {old, new}, seen
    assert set(seen.releases(since=is_in)) == {new}, seen


@contextlib.contextmanager
def _load(example: Example, what: str) -> Iterator[Load]:
    """Load on the example; what it saw is kept for a person, also where the release failed."""
    load = Load(example.url, app=example.app)
    try:
        with load:
            yield load
    finally:
        ARTIFACTS.mkdir(exist_ok=True)
        with (ARTIFACTS / "load.txt").open("a") as file:
            file.write(f"{example.kind} on {example.target}, {what}: {load.result}\n")
