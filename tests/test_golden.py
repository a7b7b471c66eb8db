"""What users get, as files: each folder in `golden/` is a spec and the tree that it becomes.

Review a change of a template as the diff of `golden/`; `--update-golden` writes it. These prove that nothing changed
unseen; `test_accepted.py` proves that it is right.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploykit import converge, planner, render
from deploykit.plan import NginxBuild, Plan, RenderedFile

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())


def rendered(case: str, nginx: NginxBuild | None = None) -> tuple[Plan, tuple[RenderedFile, ...], str]:
    """The case's plan, files and generation, from facts that are the same on every machine, or for that nginx."""
    chosen = GOLDEN / case / "environment"
    name = chosen.read_text().strip() if chosen.exists() else "local"
    spec, source = converge.read_spec(GOLDEN / case / "deploykit.yaml", name)
    facts = planner.assumed_facts(spec)
    facts = facts if nginx is None else replace(facts, nginx=nginx)
    plan = converge.plan_spec(spec, source, GOLDEN / case, facts, spec.target or "process")
    return (plan, *render.render(plan))


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize("case", CASES)
def test_the_tree_is_what_it_was(case: str, update_golden: bool) -> None:
    _, files, _ = rendered(case)
    folder = GOLDEN / case / "files"
    if update_golden:
        for old in sorted(folder.rglob("*"), reverse=True):
            old.unlink() if old.is_file() else old.rmdir()
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
    assert {file.path: file.text for file in files} == tree(folder)


@pytest.mark.parametrize("case", CASES)
def test_the_checks_that_a_spec_implies_are_what_they_were(case: str, update_golden: bool) -> None:
    plan, _, _ = rendered(case)
    lines = [f"{check.kind:22} {check.effect:10} {check.promise}" for check in plan.checks]
    text = "\n".join(lines) + "\n"
    path = GOLDEN / case / "checks.txt"
    if update_golden:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_file_ends_in_one_newline_and_says_where_it_comes_from(case: str) -> None:
    _, files, _ = rendered(case)
    for file in files:
        assert file.text.endswith("\n"), file.path
        assert not file.text.endswith("\n\n"), file.path
        assert "enerated by deploykit" in file.text, file.path
        assert file.reason, file.path


def test_the_same_spec_gives_the_same_bytes_under_any_hash_seed_locale_and_time_zone() -> None:
    script = (
        "import sys, hashlib; sys.path[:0] = sys.argv[1:2]\n"
        "from test_golden import CASES, rendered\n"
        "print(hashlib.sha256(repr([[(f.path, f.text) for f in rendered(c)[1]] for c in CASES]).encode()).hexdigest())"
    )
    digests = set()
    for seed, language, zone in (("0", "C", "UTC"), ("1", "tr_TR.UTF-8", "Asia/Tokyo"), ("random", "C.UTF-8", "")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": language, "TZ": zone}
        command = [sys.executable, "-c", script, str(Path(__file__).parent)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(result.stdout.strip())
    here = repr([[(file.path, file.text) for file in rendered(case)[1]] for case in CASES])
    assert digests == {hashlib.sha256(here.encode()).hexdigest()}


def test_any_change_of_the_configuration_changes_the_generation() -> None:
    generations = {rendered(case)[2] for case in CASES}
    assert len(generations) == len(CASES)
