"""`deploykit restart`: the instances again, one after the other."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.agreement import Agreement, Yes
from deploykit.cli.options import Options, StackName, Wait
from deploykit.cli.tables import Cell
from deploykit.cli.words import seconds_text


def restart(
    options: Options,
    member: Annotated[str | None, typer.Argument(metavar="NAME", help="web or web-1. Default: all apps.")] = None,
    name: StackName = None,
    yes: Yes = False,
    wait: Wait = None,
) -> int:
    """Restart instances gracefully, one after the other.

    The next one is stopped when the one before is healthy again. With `-e` it shows which ones first and asks.
    """
    from deploykit import exclusion

    console = options.console
    stack, runtime = reach.running(options, name)
    agreement = Agreement(options, yes)
    console.if_interrupted = reach.GOES_ON
    with exclusion.held(stack.home / "lock", wait or 0.0, console.talk):
        members = [
            (each.app, each.slot)
            for each in runtime.observe(probes=False).members
            if each.state != "stopped" and member in (None, each.app, f"{each.app}-{each.slot}")
        ]
        if not members:
            names = {each for m in runtime.observe(probes=False).members for each in (m.app, f"{m.app}-{m.slot}")}
            reach.known_name("process", member or "", names)
        why = Cell("the next one when it is healthy again", "dim")
        agreement.to([[Cell("restart", "cyan"), f"{app}-{slot}", why] for app, slot in sorted(set(members))])
        for app, slot in sorted(set(members)):
            began = time.monotonic()
            runtime.restart(app, slot)
            console.talk(f" restart  {app}-{slot}  healthy  {seconds_text(time.monotonic() - began)}")
    return 0
