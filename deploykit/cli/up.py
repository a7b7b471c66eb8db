"""`deploykit up`: from the spec to a running, checked stack."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.agreement import Agreement, Yes
from deploykit.cli.allow import Allow, allowed
from deploykit.cli.locked import Locked
from deploykit.cli.options import Json, Options, Target, Wait
from deploykit.cli.progress import open_progress
from deploykit.cli.report import show_report, show_traffic
from deploykit.cli.words import plain, seconds_text, traffic_json

if TYPE_CHECKING:
    from deploykit.converge import Outcome, Session
    from deploykit.plan import Report


def up(
    options: Options,
    target: Target = None,
    allow: Allow = None,
    yes: Yes = False,
    locked: Locked = False,
    wait: Wait = None,
    release: Annotated[
        str, typer.Option("--release", metavar="ID", help="Promote what `deploykit build` made; build nothing.")
    ] = "",
    json: Json = False,
) -> int:
    """Make what runs the same as the spec, and check it.

    Shows each step, then what was promised and measured. The second time in a row it changes nothing. With `-e` it
    shows the steps first and asks.
    """
    from deploykit import converge

    console = options.console
    effects = allowed(allow)
    session = reach.session(options, target)
    session.wait_seconds = wait or 0.0
    agreement = Agreement(options, yes)
    console.if_interrupted = reach.GOES_ON
    try:
        with open_progress(console) as progress:
            agree = functools.partial(agreement.to_steps, progress)
            outcome = session.up(progress, effects, agree, locked=locked, build=release)
    except (converge.BrokenAtFirst, converge.RefusedByChecks) as error:
        if json:
            console.answer_json({"name": session.spec.name, "changed": True, **_checks(session, error.report)})
        else:
            show_report(console, error.report, session.source)
        raise
    if json:
        console.answer_json(_as_json(session, outcome))
        return 0
    if not outcome.changed:
        console.talk(f"nothing changed: what runs is what the spec says ({seconds_text(outcome.seconds)})", "green")
    show_traffic(console, outcome.traffic)
    show_report(console, outcome.report, session.source, "  ".join(outcome.urls))
    if outcome.only_on:
        console.talk(f" only {outcome.only_on} itself gets there; `listen: 0.0.0.0:PORT` is for others too", "yellow")
    console.talk()
    at = options.again
    console.talk(f" stop it: deploykit down{at}      look: deploykit status{at}, deploykit logs -f{at}", "dim")
    return 0


def _checks(session: Session, report: Report) -> dict[str, object]:
    from deploykit.proof.report import as_json

    return as_json(report, session.source.place)


def _as_json(session: Session, outcome: Outcome) -> object:
    return {
        "name": session.spec.name,
        "environment": session.stack.environment,
        "target": session.target,
        "changed": outcome.changed,
        "steps": plain(outcome.steps),
        **_checks(session, outcome.report),
        "urls": list(outcome.urls),
        "versions": plain(outcome.versions),
        "seconds": round(outcome.seconds, 3),
        "traffic": traffic_json(outcome.traffic),
    }
