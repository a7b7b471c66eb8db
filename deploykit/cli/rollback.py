"""`deploykit rollback`: a release that is still there serves again."""

from __future__ import annotations

from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.progress import open_progress
from deploykit.cli.releases import show_releases
from deploykit.cli.report import show_report
from deploykit.cli.words import plain


def rollback(
    options: Options,
    release: Annotated[str | None, typer.Argument(metavar="ID", help="Of `releases`, or how it starts.")] = None,
    target: Target = None,
    json: Json = False,
) -> int:
    """Let a release serve again that is still there; no build, no network.

    Without an ID it shows what there is. Release commands, such as migrations, are not undone.
    """
    console = options.console
    if release is None:
        _, runtime = reach.running(options, None)
        show_releases(options, runtime.observe(probes=False))
        console.talk(
            f" go back: deploykit rollback{options.again} ID      what release commands did to the data stays", "dim"
        )
        return 0
    session = reach.session(options, target)
    console.if_interrupted = reach.GOES_ON
    with open_progress(console) as progress:
        outcome = session.rollback(release, progress)
    if json:
        console.answer_json({"name": session.spec.name, "steps": plain(outcome.steps), "seconds": outcome.seconds})
        return 0
    show_report(console, outcome.report, session.source, "  ".join(outcome.urls))
    console.talk(" the next `deploykit up` goes forward again, to what the spec and the code say then", "dim")
    return 0
