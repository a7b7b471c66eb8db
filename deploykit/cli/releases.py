"""`deploykit releases`: what there is to go back to."""

from __future__ import annotations

import time

from deploykit.cli import reach
from deploykit.cli.options import Json, Options, StackName
from deploykit.cli.tables import Cell, Row, table
from deploykit.cli.words import plain, seconds_text
from deploykit.plan import Observed


def releases(options: Options, name: StackName = None, json: Json = False) -> int:
    """Show which releases are there, what changed with each, and which one is live."""
    _, runtime = reach.running(options, name)
    observed = runtime.observe(probes=False)
    if json:
        options.console.answer_json(releases_as_json(observed))
        return 0
    show_releases(options, observed)
    return 0


def releases_as_json(observed: Observed) -> object:
    """Every release with what of later ones stays applied where it serves again."""
    from deploykit.converge import known, stays_applied

    told = []
    for each in known(observed):
        stays = [{"command": command, "ran_for": list(ids)} for command, ids in stays_applied(observed, each.release)]
        told.append({**plain(each.release), "live": each.live, "stays_applied": stays})
    return {"releases": told}


def show_releases(options: Options, observed: Observed) -> None:
    """The table of releases, newest first for each app."""
    from deploykit.converge import known

    now = time.time()
    rows: list[Row] = []
    for each in known(observed):
        origin = each.release.origin
        revision = origin.revision[:10] + ("" if origin.clean else " + changes") if origin.revision else "-"
        rows.append(
            [
                each.release.app,
                each.release.id,
                Cell("live", "green") if each.live else Cell(""),
                f"{seconds_text(max(0.0, now - origin.at))} ago" if origin.at else "-",
                origin.by or "-",
                revision,
                origin.cause or "-",
                "; ".join(origin.commands) or "-",
            ]
        )
    header = ("app", "release", "", "made", "by", "commit", "why", "release steps")
    options.console.answer(table(rows, header=header, width=options.console.width))
