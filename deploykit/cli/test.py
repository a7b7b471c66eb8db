"""`deploykit test`: what the spec promises, measured on what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.allow import Allow, allowed
from deploykit.cli.locked import Locked
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.progress import open_progress
from deploykit.cli.report import show_report


def test(
    options: Options,
    target: Target = None,
    allow: Allow = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the report as JUnit XML as well.")
    ] = None,
    locked: Locked = False,
    json: Json = False,
) -> int:
    """Measure what the spec promises on what runs.

    Exit code 1 where a promise is broken.
    """
    effects = allowed(allow)
    console = options.console
    session = reach.session(options, target)
    with open_progress(console) as progress:
        report = session.test(progress, effects, locked=locked)
    if junit is not None:
        from deploykit import disk
        from deploykit.proof.report import as_junit

        disk.write(junit, as_junit(report, session.source.place, session.spec.name))
    if json:
        from deploykit.proof.report import as_json

        console.answer_json({"name": session.spec.name, **as_json(report, session.source.place)})
    else:
        show_report(console, report, session.source)
    return 0 if report.kept else 1
