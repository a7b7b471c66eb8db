"""`deploykit rollback`: a release that is still there serves again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.agreement import Agreement, Yes
from deploykit.cli.options import Json, Options, Target, Wait
from deploykit.cli.progress import open_progress
from deploykit.cli.releases import releases_as_json, show_releases
from deploykit.cli.report import show_report, show_traffic
from deploykit.cli.tables import Cell, Row, table
from deploykit.cli.words import plain, traffic_json

if TYPE_CHECKING:
    from deploykit.converge import Session
    from deploykit.plan import Observed


def rollback(
    options: Options,
    release: Annotated[str | None, typer.Argument(metavar="ID", help="Of `releases`, or how it starts.")] = None,
    target: Target = None,
    yes: Yes = False,
    wait: Wait = None,
    json: Json = False,
) -> int:
    """Let a release serve again that is still there; no build, no network.

    Without an ID it shows what there is. Release commands, such as migrations, are not undone. With `-e` it shows the
    steps first and asks.
    """
    console = options.console
    if release is None:
        _, runtime = reach.running(options, None)
        observed = runtime.observe(probes=False)
        if json:
            console.answer_json(releases_as_json(observed))
            return 0
        show_releases(options, observed)
        _show_what_stays(options, observed)
        console.talk(f" go back: deploykit rollback{options.again} ID", "dim")
        return 0
    session = reach.session(options, target)
    session.wait_seconds = wait or 0.0
    agreement = Agreement(options, yes)
    console.if_interrupted = reach.GOES_ON
    with open_progress(console) as progress:
        outcome = session.rollback(release, progress, functools.partial(agreement.to_steps, progress))
    if json:
        done = {"name": session.spec.name, "steps": plain(outcome.steps), "seconds": outcome.seconds}
        console.answer_json({**done, "traffic": traffic_json(outcome.traffic)})
        return 0
    show_traffic(console, outcome.traffic)
    show_report(console, outcome.report, session.source, "  ".join(outcome.urls))
    _say_what_stays(options, session, release)
    console.talk(" the next `deploykit up` goes forward again, to what the spec and the code say then", "dim")
    return 0


def _show_what_stays(options: Options, observed: Observed) -> None:
    """For each release that could serve again, what later ones did to the data."""
    from deploykit.converge import known, stays_applied

    rows: list[Row] = []
    for each in known(observed):
        for command, releases in stays_applied(observed, each.release) if not each.live else ():
            rows.append([each.release.app, each.release.id, command, Cell(f"ran for {', '.join(releases)}", "dim")])
    if rows:
        options.console.answer()
        options.console.answer(" rollback does not undo what later releases ran; it stays applied:")
        options.console.answer(table(rows, header=("app", "back to", "stays", ""), width=options.console.width))


def _say_what_stays(options: Options, session: Session, release: str) -> None:
    from deploykit.converge import known, stays_applied

    observed = session.runtime.observe(False)
    for each in known(observed):
        if each.live and each.release.id.startswith(release):
            for command, _ in stays_applied(observed, each.release):
                options.console.talk(f" rollback does not undo: {command}", "yellow")
