"""`deploykit logs`: what the processes of a stack wrote, with their names."""

from __future__ import annotations

from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.complaints import addresses, member_meant
from deploykit.cli.console import paint, printable
from deploykit.cli.options import Options, StackName

NAME_STYLES = ("cyan", "yellow", "green", "magenta", "blue")


def logs(
    options: Options,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="web, web-1, nginx. Default: all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines as they come.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, metavar="N", help="How many lines of each.")] = 50,
    name: StackName = None,
) -> int:
    """Show what nginx and the apps wrote last."""
    console = options.console
    _stack, runtime = reach.running(options, name)
    observed = runtime.observe(probes=False)
    members = sorted({f"{member.app}-{member.slot}" for member in observed.members})
    wanted: list[str] = []
    for given in names or ():
        of_app = [f"{member.app}-{member.slot}" for member in observed.members if member.app == given]
        if not of_app:
            reach.known_name("process", given, [*members, *observed.apps_known, "nginx"])
        wanted += sorted(set(of_app)) or [given]
    if follow:
        console.if_interrupted = ""
    width = max((len(each) for each in wanted or [*members, "nginx"]), default=0)
    styles: dict[str, str] = {}
    names_of = addresses(observed)
    for line in runtime.logs(tuple(wanted), lines=lines, follow=follow):
        style = styles.setdefault(line.name, NAME_STYLES[len(styles) % len(NAME_STYLES)])
        text = printable(line.text, colours=console.colours)
        meant = member_meant(line.text, names_of) if line.name == "nginx" else ""
        text += paint(f"  <- {meant}", "yellow") if meant else ""
        console.answer(f"{paint(f'{line.name:<{width}} |', style)} {text}")
    return 0
