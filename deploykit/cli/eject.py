"""`deploykit eject`: what runs, as plain files that work without deploykit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Options, Target


def eject(
    options: Options,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="A new folder. Default: NAME-ejected.")
    ] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write the secrets too, each app's into a file of mode 0600.")
    ] = False,
    target: Target = None,
) -> int:
    """Write what is running as plain files that work without deploykit.

    A compose.yaml with its configs, or the tree of the processes with a start script; data stays where it is. Says
    what is lost by leaving.
    """
    from deploykit import converge
    from deploykit.ejection import LOST

    console = options.console
    session = reach.session(options, target)
    into = output if output is not None else Path(f"{session.stack.full_name}-ejected")
    ejected = converge.leave(session, into, with_secrets=with_secrets)
    console.answer(f"{into}: what runs of {session.stack.full_name}, without deploykit; {into / 'README.md'} says how")
    for name, place in ejected.secrets.items():
        what = "holds secrets: keep it out of version control" if with_secrets else "is not written (--with-secrets)"
        console.answer(f"{into / place}: the secrets of {name}; it {what}")
    console.talk()
    console.talk("what is lost by leaving:", "bold")
    for line in LOST:
        console.talk(f"- {line}")
    return 0
