"""`deploykit down`: all of a stack is gone, and only it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.agreement import Agreement
from deploykit.cli.options import Options, StackName, Wait
from deploykit.cli.tables import Cell, Row
from deploykit.errors import EnvironmentLacks, Problem, SpecError

if TYPE_CHECKING:
    from deploykit.converge import Recorded
    from deploykit.plan import Observed


def down(
    options: Options,
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove the data in its volumes as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    name: StackName = None,
    wait: Wait = None,
) -> int:
    """Remove all of the stack but the data in its volumes.

    With `-e` it shows what that is first and asks.
    """
    from deploykit import converge
    from deploykit.spec.environments import LOCAL

    console = options.console
    if volumes and not yes and options.environment == LOCAL:
        _ask(options)
    console.if_interrupted = "interrupted; `deploykit down` again removes the rest"
    try:
        record = reach.record(options, name)
    except EnvironmentLacks as lacking:
        if isinstance(lacking, converge.Damaged) or name is not None or reach.spec_name(options) is None:
            raise
        _agree(options, yes, volumes, None)
        stack, kept = _without_record(options, volumes, wait or 0.0)
    else:
        _agree(options, yes, volumes, record)
        stack, kept = record.stack.full_name, converge.down_recorded(record, volumes, console.talk, wait or 0.0)
    console.talk(f"{stack} is down")
    for place in kept:
        console.answer(f"kept: {place}")
    if kept:
        console.talk(f"remove them too: deploykit down{options.again} --volumes", "dim")
    return 0


def _agree(options: Options, yes: bool, volumes: bool, record: Recorded | None) -> None:
    """Shows what would be gone and asks, where the environment is a named one."""
    from deploykit import converge

    agreement = Agreement(options, yes)
    if not agreement.needed:
        return
    rows: list[Row] = []
    if record is not None:
        try:
            _, runtime = converge.recorded_runtime(record, options.console.talk)
            observed, data = runtime.observe(False), runtime.volumes_kept()
        except EnvironmentLacks as error:
            options.console.talk(f"what is there is not known: {error.failure.what}", "dim")
        else:
            rows = _gone(observed, data, "remove" if volumes else "keep")
    agreement.to(rows)
    if volumes:
        _ask(options)


def _gone(observed: Observed, data: tuple[str, ...], volumes: str) -> list[Row]:
    from deploykit.converge import known

    found = [("stop", "nginx", "")] if observed.nginx.state == "running" else []
    found += [("stop", f"{each.app}-{each.slot}", each.release) for each in observed.members]
    found += [("remove", f"{each.release.app} {each.release.id}", "a release") for each in known(observed)]
    found += [(volumes, place, "a volume") for place in data]
    return [[Cell(verb, "cyan"), what, Cell(why, "dim")] for verb, what, why in found]


def _without_record(options: Options, volumes: bool, wait_seconds: float) -> tuple[str, tuple[str, ...]]:
    """Ends what its spec finds on any target: `.deploykit` was deleted under it, or only volumes are left."""
    from deploykit import converge, targets

    name = ""
    kept: list[str] = []
    for target in targets.REGISTRY.names():
        session = converge.open_stack(
            options.file, reach.known_target(target), options.console.talk, options.environment
        )
        name = session.stack.full_name
        session.wait_seconds = wait_seconds
        try:
            seen = session.runtime.observe(False)
            if volumes or seen.anything or seen.orphans or seen.apps_known:
                kept += session.down(volumes)
        except EnvironmentLacks as error:
            options.console.talk(f"not looked for on the target {target}: {error.failure.what}", "dim")
    return name, tuple(kept)


def _ask(options: Options) -> None:
    console = options.console
    if not console.can_ask:
        raise SpecError(
            Problem("", "`--volumes` removes data for good, and nobody is there to be asked", "add `--yes`")
        )
    if console.ask("Remove the data in all volumes of this stack for good? Type `yes`:") != "yes":
        raise SpecError(Problem("", "not confirmed; nothing was removed"))
