"""The command line, and the one error boundary: nothing else catches, prints a traceback or chooses an exit code."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, cast

import typer

import deploykit
from deploykit.cli import (
    build,
    check,
    ci,
    config,
    down,
    eject,
    images,
    init,
    lock,
    logs,
    plan,
    releases,
    render,
    restart,
    rollback,
    schema,
    status,
    test,
    up,
    wheels,
)
from deploykit.cli import run as run_one_off
from deploykit.cli.console import Console
from deploykit.cli.options import Command, add
from deploykit.errors import DeploykitError

INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129
BUG = 70
"""EX_SOFTWARE of sysexits.h: none of the codes that have a meaning here."""

# Typer used to need the package click and now carries it inside. In both, BadParameter is a UsageError and that a
# ClickException, the parent of all that is said about a command line.
CommandLineError = cast(type[Exception], typer.BadParameter.__mro__[2])


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a cancelled pipeline sends it: ends like Ctrl-C, with its own exit code."""

    exit_code = TERMINATED


class HungUp(Terminated):
    """SIGHUP, as a closed terminal sends it: likewise."""

    exit_code = HUNG_UP


def run(argv: Sequence[str]) -> int:
    """The exit code of that command line, everything said that there is to say."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _hang_up)
    _open_streams()
    # Whatever the umask: what others could write into, they could make this user run.
    os.umask(os.umask(0o022) | 0o022)
    for stream in (sys.stdout, sys.stderr):
        # Any terminal can be told anything: what its encoding lacks is written as an escape.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    console = Console()
    return guarded(lambda: _run(argv, console), console)


def guarded(work: Callable[[], int], console: Console) -> int:
    """The exit code of that work, whatever it raises; the one error boundary."""
    try:
        return work()
    except BrokenPipeError:
        # Whoever read the answer has gone, as `head` does. Without this the interpreter complains when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stopped:
        # The terminal has written ^C into the line.
        console.complain(f"\n{console.if_interrupted}".rstrip("\n"))
        return stopped.exit_code if isinstance(stopped, Terminated) else INTERRUPTED
    except DeploykitError as error:
        console.complain(_coloured(str(error), console))
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EIO and _leave_closed_terminal():
            return HUNG_UP  # its signal is still on the way
        import traceback

        console.complain(traceback.format_exc().rstrip())
        console.complain(
            f"\nThis is a bug in deploykit {deploykit.__version__}, not in your spec. Please report it where you got\n"
            "deploykit from, with the lines above; known secrets are hidden in them, but look once more."
        )
        return BUG


def _open_streams() -> None:
    """Each standard stream is there: one that was closed is /dev/null, so that no file gets its number and its text."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 -- for as long as this runs


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


def _hang_up(_number: int, _frame: object) -> None:
    _leave_closed_terminal()
    raise HungUp


def _leave_closed_terminal() -> bool:
    """Whether there was one; what is written goes nowhere from now on, and no longer fails."""
    closed = []
    for number in (1, 2):
        asked = select.poll()
        asked.register(number, 0)
        if any(seen & (select.POLLHUP | select.POLLERR) for _, seen in asked.poll(0)):
            closed.append(number)
    for number in closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return bool(closed)


def _run(argv: Sequence[str], console: Console) -> int:
    try:
        result = build_app(console)(args=list(argv), standalone_mode=False, prog_name="deploykit", obj=console)
    except CommandLineError as error:
        context = getattr(error, "ctx", None)
        message = error.format_message()  # type: ignore[attr-defined]
        if message.startswith("Usage:"):
            console.complain(message)
        else:
            console.complain(_coloured(f"error: {message[:1].lower()}{message[1:]}", console))
            if context is not None:
                console.complain(f"  hint: {context.command_path} --help")
        return 2
    if callable(result):
        return cast(Callable[[], int], result)()
    return int(result or 0)


def build_app(console: Console) -> typer.Typer:
    """The whole command line; parsing it gives a call that is still to be made."""
    # Rich's help is off: it alone would take longer than all the rest of `--help`.
    app = typer.Typer(
        name="deploykit",
        help="Generates and proves nginx + app-server stacks for Python web apps.",
        epilog="Exit codes: 0 done, 1 a promise is broken, 2 the spec or the command line is wrong, 3 a deployment "
        "failed and what ran before runs again, 4 another deploykit is at work, 5 the machine lacks something.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    app.callback()(_common)
    add(app, init.init, console, of_a_spec=False)
    before: tuple[Command, ...] = (
        check.check,
        config.config,
        plan.plan,
        render.render,
        lock.lock,
        build.build,
        up.up,
        status.status,
        logs.logs,
        test.test,
        ci.ci,
    )
    after: tuple[Command, ...] = (restart.restart, releases.releases, rollback.rollback, down.down, eject.eject)
    for command in before:
        add(app, command, console)
    # What follows the app's name is the one-off's own command line, with or without `--`.
    add(app, run_one_off.run, console, context_settings={"allow_interspersed_args": False})
    for command in after:
        add(app, command, console)
    add(app, schema.schema, console, of_a_spec=False)
    add(app, wheels.wheels, console)
    group = typer.Typer(help="Base images where no registry can be reached.", no_args_is_help=True)
    add(group, images.build, console, of_a_spec=False)
    app.add_typer(group, name="images")
    return app


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.obj.answer(f"deploykit {deploykit.__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What holds for all commands; its one option is done in `_show_version`."""


def _coloured(text: str, console: Console) -> str:
    """An error with its first word in red, on a terminal."""
    if not console.err_colours:
        return text
    return "\n".join(
        f"\x1b[1;31merror:\x1b[0m{line[6:]}" if line.startswith("error:") else line for line in text.split("\n")
    )
