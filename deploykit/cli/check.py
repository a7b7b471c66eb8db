"""`deploykit check`: everything that is wrong with a spec, in all of its environments, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.cli import reach
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.words import count_text, plain
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.spec.model import Spec

Read = tuple[str, "Spec", tuple[str, ...]]
"""The file as messages say it, its spec in one environment, and where that answers."""


def check(options: Options, target: Target = None, json: Json = False) -> int:
    """Say all that is wrong with the spec, in every environment."""
    reach.known_target(target)
    try:
        names, (file, spec, urls) = _read_all(options, target)
    except SpecError as error:
        if not json:
            raise
        options.console.answer_json({"right": False, "problems": [_problem(problem) for problem in error.problems]})
        return error.exit_code
    if json:
        data = {"right": True, "problems": [], "name": spec.name, "environment": options.environment}
        more = {"environments": list(names), "apps": list(spec.apps), "urls": list(urls)}
        options.console.answer_json({**data, **more})
    else:
        counts = f"{count_text(len(spec.apps), 'app')}, {count_text(len(urls), 'site')}"
        counts += f", {count_text(len(names), 'environment')}" if len(names) > 1 else ""
        options.console.answer(f"{file} is right: {counts}")
    return 0


def _read_all(options: Options, target: str | None) -> tuple[tuple[str, ...], Read]:
    """The names of all environments, and what is read in the chosen one.

    Raises:
        SpecError: what is wrong in any of them, in line order; what is wrong in `local` is said once.
    """
    from deploykit import converge
    from deploykit.spec.environments import in_each

    names = converge.all_environments(options.file)
    every = dict.fromkeys((*names, options.environment))
    return names, in_each(every, lambda name: _read(options, name, target))[options.environment]


def _read(options: Options, environment: str, target: str | None) -> Read:
    from deploykit import converge, planner, targets

    spec, source = converge.read_spec(options.file, environment)
    facts = planner.assumed_facts(spec)
    # Without a target the spec is right where it is right for one; `up` takes another only for a reason it tells.
    chosen = target or spec.target
    refused: SpecError | None = None
    for name in (chosen,) if chosen else reversed(targets.REGISTRY.names()):
        try:
            plan = converge.plan_spec(spec, source, source.path.resolve().parent, facts, name)
        except SpecError as error:
            refused = refused or error
        else:
            return source.file, spec, tuple(site.url for site in plan.sites)
    raise refused or SpecError(Problem("", "there is no target"))


def _problem(problem: Problem) -> object:
    return plain(problem)
