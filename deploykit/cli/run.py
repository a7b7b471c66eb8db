"""`deploykit run`: a one-off command in an app's own environment, with its secrets and this terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Options
from deploykit.errors import Problem, SpecError


def run(
    options: Options,
    app: Annotated[str, typer.Argument(metavar="APP", help="The app, as the spec names it.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="What to run.")] = None,
) -> int:
    """Run a command in an app's environment.

    It has the live release's code, variables and secrets, and this terminal. Its exit code is passed on.
    """
    words = command[1:] if command and command[0] == "--" else command
    if not words:
        raise SpecError(Problem("", "there is no command to run", f"deploykit run {app} -- python --version"))
    _stack, runtime = reach.running(options, None)
    reach.known_name("app", app, runtime.observe(probes=False).apps_known)
    return runtime.run(app, words, tty=sys.stdin.isatty() and sys.stdout.isatty())
