"""`deploykit render`: the tree as it will lie on the target, in a folder or on standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.locked import Locked, locked_facts
from deploykit.cli.options import Options, Target
from deploykit.cli.words import count_text
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.cli.console import Console
    from deploykit.plan import Facts


def render(
    options: Options,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The folder. Default: standard output.")
    ] = None,
    target: Target = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 with a diff where the folder differs.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changes in the folder.")] = False,
    assumed: Annotated[
        bool, typer.Option("--assumed", help="For an assumed machine (Debian 12, 2 CPUs) instead of the one here.")
    ] = False,
    locked: Locked = False,
) -> int:
    """Write every generated file as it will lie on the target.

    The same spec and facts give the same bytes. The facts are those of the lock file; else `--check` takes those that
    the folder was rendered for, and everything else asks the target.
    """
    if output is None and (check or diff):
        raise SpecError(Problem("", "`--check` and `--diff` compare with a folder", "add `-o DIR`"))
    from deploykit import planner
    from deploykit.cli import tree

    console = options.console
    there = tree.read(output) if output is not None else None
    session = reach.session(options, target)
    if assumed:
        facts: Facts | None = planner.assumed_facts(session.spec)
    else:
        facts = locked_facts(session, console, locked)
        facts = there.facts if facts is None and check and there is not None else facts
    plan, files, _generation = session.rendered(facts)
    if there is None:
        for file in files:
            console.answer(f"# --- {file.path}", "bold")
            console.answer(file.text.removesuffix("\n"))
        return 0
    different = _show_differences(console, list(tree.differences(there, files))) if check or diff else False
    if check:
        if not different:
            console.talk(f"{output} is what the spec gives: {count_text(len(files), 'file')}")
        return 1 if different else 0
    written, same, removed = tree.write(there, files, plan.facts)
    console.talk(f"{output}: {count_text(written, 'file')} written, {same} unchanged, {removed} removed")
    return 0


def _show_differences(console: Console, lines: list[str]) -> bool:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        console.answer(line, "bold" if line.startswith(("+++ ", "--- ")) else styles.get(line[:1], ""))
    return bool(lines)
