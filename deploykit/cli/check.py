"""`deploykit check`: everything that is wrong with a spec, in all of its environments, at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.words import count_text, plain
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.findings import Level
    from deploykit.spec.model import Spec

TEXT, SARIF = "text", "sarif"


@dataclass(frozen=True)
class Read:
    """A spec that is right, in one environment."""

    file: str
    """As messages say it."""
    spec: Spec
    urls: tuple[str, ...]
    warnings: tuple[Problem, ...]
    """What is right as it stands and may still surprise: what a target that nobody excluded would refuse."""


def check(
    options: Options,
    target: Target = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is an error.")] = False,
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="The answer as text, sarif, github or gitlab read it.")
    ] = TEXT,
    json: Json = False,
) -> int:
    """Say all that is wrong with the spec, in every environment.

    Warns where a target that is not excluded would refuse it. `--format github` gives annotations, `gitlab` a Code
    Quality report, `sarif` SARIF 2.1.0: also where nothing is wrong.
    """
    _known_format(format, json)
    reach.known_target(target)
    try:
        names, read = read_all(options, target, strict=strict)
    except SpecError as error:
        if json:
            answer = {"right": False, "problems": [plain(each) for each in error.problems], "warnings": []}
            options.console.answer_json(answer)
        elif format == TEXT:
            raise
        else:
            _answer(options, format, error.problems, ())
        return error.exit_code
    if json:
        data = {"right": True, "problems": [], "warnings": [plain(each) for each in read.warnings]}
        about = {"name": read.spec.name, "environment": options.environment}
        more = {"environments": list(names), "apps": list(read.spec.apps), "urls": list(read.urls)}
        options.console.answer_json({**data, **about, **more})
    elif format == TEXT:
        warn(options, read)
        options.console.answer(said(names, read))
    else:
        _answer(options, format, (), read.warnings)
    return 0


def said(names: Sequence[str], read: Read) -> str:
    """That a spec is right, and what it has."""
    counts = f"{count_text(len(read.spec.apps), 'app')}, {count_text(len(read.urls), 'site')}"
    counts += f", {count_text(len(names), 'environment')}" if len(names) > 1 else ""
    return f"{read.file} is right: {counts}"


def warn(options: Options, read: Read) -> None:
    """Says each warning, on standard error."""
    for problem in read.warnings:
        text = str(problem).removeprefix("error:")
        options.console.talk(f"warning:{text}", "yellow")


def read_all(options: Options, target: str | None, *, strict: bool = False) -> tuple[tuple[str, ...], Read]:
    """The names of all environments, and what is read in the chosen one; `strict` makes warnings problems.

    Raises:
        SpecError: what is wrong in any of them, in line order; what is wrong in `local` is said once.
    """
    from deploykit import converge
    from deploykit.spec.environments import in_each

    names = converge.all_environments(options.file)
    every = dict.fromkeys((*names, options.environment))
    return names, in_each(every, lambda name: _read(options, name, target, strict))[options.environment]


def _read(options: Options, environment: str, target: str | None, strict: bool) -> Read:
    from deploykit import converge, planner, targets

    spec, source = converge.read_spec(options.file, environment)
    lock = converge.Lock(spec, source)
    # Without a target the spec is right where it is right for one; `up` takes another only for a reason it tells.
    chosen = target or spec.target or (lock.entry.target if lock.entry is not None else None)
    refused: dict[str, SpecError] = {}
    urls: tuple[str, ...] = ()
    for name in (chosen,) if chosen else tuple(reversed(targets.REGISTRY.names())):
        facts, words = lock.facts(name)
        if words and (facts is not None or chosen):
            options.console.talk(f"{environment}: {words}", "dim")
        facts = facts or planner.assumed_facts(spec)
        try:
            plan = converge.plan_spec(spec, source, source.path.resolve().parent, facts, name)
        except SpecError as error:
            refused[name] = error
        else:
            urls = urls or tuple(site.url for site in plan.sites)
    warnings = tuple(dict.fromkeys(problem for error in refused.values() for problem in error.problems))
    if warnings and (strict or not urls):
        # Where every target refuses it, what the first one says is enough.
        raise next(iter(refused.values())) if not urls else SpecError(*warnings)
    return Read(source.file, spec, urls, warnings)


# --- for programs ------------------------------------------------------------------------------------------------


def _known_format(name: str, json: bool) -> None:
    from deploykit import pipelines

    reach.known_name("format", name, (TEXT, SARIF, *pipelines.REGISTRY.names()))
    if json and name != TEXT:
        raise SpecError(Problem("", "`--json` and `--format` are two answers", "leave one out"))


def _answer(options: Options, format: str, problems: Sequence[Problem], warnings: Sequence[Problem]) -> None:
    """The problems as findings, in that format."""
    from deploykit import pipelines
    from deploykit.findings import from_problem
    from deploykit.sarif import sarif

    here = pipelines.here(os.environ) if format == SARIF else pipelines.REGISTRY.get(format)
    top = here.top(os.environ) if here is not None else Path.cwd()
    levels: tuple[tuple[Level, Sequence[Problem]], ...] = (("error", problems), ("warning", warnings))
    findings = [from_problem(problem, top, level) for level, each in levels for problem in each]
    text = sarif(findings) if format == SARIF else pipelines.REGISTRY.get(format).report(findings)
    if text:
        options.console.answer(text)
