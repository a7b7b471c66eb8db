"""`deploykit init`: a spec from what is seen in a checkout, and from what only a person can say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Options
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.cli.console import Console
    from deploykit.init import Question, Survey


def init(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project. Default: here.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a deploykit.yaml that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; leave what is not known as a comment.")] = False,
    ci: Annotated[
        str | None, typer.Option("--ci", metavar="NAME", help="Write the pipeline file too: for github or gitlab.")
    ] = None,
) -> int:
    """Look at a project and write its deploykit.yaml.

    Each value has a comment with what was seen and where. What is not known is asked on a terminal, and is otherwise
    a commented line to fill in. With `--ci` a spec that is there stays, and the pipeline file is written beside it.
    """
    from deploykit.spec.load import FILE_NAME

    spec = folder / FILE_NAME
    if ci is None:
        _write_spec(options, folder, force=force, yes=yes)
        return 0
    from deploykit import disk, pipelines
    from deploykit.init import step_file

    reach.known_name("CI system", ci, pipelines.REGISTRY.names())
    step = step_file(ci, spec, force=force)
    if not os.path.lexists(spec):
        _write_spec(options, folder, force=False, yes=yes)
    disk.write(step.path, step.text)
    options.console.answer(f"wrote {step.path}")
    if step.include:
        options.console.answer(f"add this to {pipelines.REGISTRY.get(ci).step_file}, which was there:\n{step.include}")
    return 0


def _write_spec(options: Options, folder: Path, *, force: bool, yes: bool) -> None:
    import json

    from deploykit import disk
    from deploykit.init import SCHEMA_FILE, look, write_spec
    from deploykit.spec.load import FILE_NAME
    from deploykit.spec.schema import schema

    console = options.console
    spec = folder / FILE_NAME
    if os.path.lexists(spec) and not force:
        raise SpecError(Problem("", f"`{spec}` is there already", "`--force` replaces it"))
    survey = look(folder)
    answers = _ask_all(console, survey) if console.can_ask and not yes else {}
    text = write_spec(survey, answers)
    disk.write(spec.parent / SCHEMA_FILE, json.dumps(schema(), indent=2) + "\n")
    disk.write(spec, text)
    for line in text.splitlines():
        console.answer(line, "dim" if line.lstrip().startswith("#") else "")
    console.talk()
    _say_what_next(console, spec)


def _ask_all(console: Console, survey: Survey) -> dict[str, str]:
    from deploykit.init import questions

    answers: dict[str, str] = {}
    while open_questions := questions(survey, answers):
        # An answer can settle others, so they are looked for again after each.
        answers[open_questions[0].key] = _ask(console, open_questions[0])
    return answers


def _ask(console: Console, question: Question) -> str:
    """An answer that the question takes, empty where it is left open."""
    console.complain()
    console.complain(question.text, "bold")
    for number, choice in enumerate(question.choices, 1):
        console.complain(f"  {number}  {choice.value}  ({choice.seen})")
    while True:
        given = console.ask("Number, or Enter to leave it open:" if question.choices else ">", question.default)
        if given.isdecimal() and 1 <= int(given) <= len(question.choices):
            given = question.choices[int(given) - 1].value
        problem = question.problem(given) if given else ""
        if not problem:
            return given
        console.complain(f"  {problem}", "yellow")


def _say_what_next(console: Console, spec: Path) -> None:
    from deploykit import converge

    at = "" if spec == Path(spec.name) else f" -f {spec}"
    try:
        converge.read_spec(spec)
    except SpecError as error:
        console.complain(f"wrote {spec}; before `deploykit up{at}` it needs you:", "yellow")
        console.complain(str(error))
    else:
        console.talk(f"wrote {spec}; next: deploykit plan{at}, deploykit up{at}")
