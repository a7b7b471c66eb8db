"""How a command becomes a part of the command line: its own options from its signature, the common ones added."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from deploykit.cli.console import Console

Target = Annotated[
    str | None,
    typer.Option(
        "--target", "-t", metavar="NAME", help="process or docker. Default: the spec's own, else what is there."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
StackName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="The stack, where its spec is gone or can't be read.")
]

LONGEST_WAIT = 600
"""Seconds that `--wait` waits where it is not told how long: as long as a slow build takes."""

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="[SECONDS]",
        min=0,
        help=f"Wait while another deploykit works on this stack, {LONGEST_WAIT} s at most or as long as is said.",
    ),
]


class WithWait(TyperCommand):
    """A command whose `--wait` needs no value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The same, where `--wait` alone means the longest wait."""
        return super().parse_args(ctx, list(_with_seconds(args)))


def _with_seconds(words: list[str]) -> Iterator[str]:
    for number, word in enumerate(words):
        # Longer numbers are ids of releases.
        has_value = re.fullmatch(r"\d{1,5}(\.\d+)?", "".join(words[number + 1 : number + 2]))
        yield f"--wait={LONGEST_WAIT}" if word == "--wait" and not has_value else word


@dataclass(frozen=True)
class Options:
    """What every command is given."""

    file: Path | None
    console: Console
    environment: str = "local"

    @property
    def again(self) -> str:
        """What has to be added to another command to mean the same stack."""
        at = f" --file {self.file}" if self.file is not None else ""
        return at if self.environment == "local" else f"{at} -e {self.environment}"


Command = Callable[..., int]
"""A command: takes `options` and its own parameters, gives the exit code, raises DeploykitError."""


def add(app: typer.Typer, command: Command, console: Console, *, of_a_spec: bool = True, **settings: Any) -> None:
    """Makes a function a command of its own name; `of_a_spec` gives it an option to name the spec.

    Parsing the line gives a call that is still to be made, so that whatever the command raises passes through nothing
    but the error boundary of `main`.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in _common(own).items()
        if of_a_spec or name not in ("file", "environment")
    ]

    def parse(**values: Any) -> Callable[[], int]:
        file, environment = values.pop("file", None), values.pop("environment", "local")
        console.verbose = values.pop("verbose")
        console.quiet = values.pop("quiet")
        return functools.partial(command, options=Options(file, console, environment), **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common
    parse.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parse.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    if any(parameter.name == "wait" for parameter in own):
        settings["cls"] = WithWait
    app.command(command.__name__.strip("_"), help=inspect.getdoc(command), **settings)(parse)


def _common(own: list[inspect.Parameter]) -> dict[str, tuple[Any, object]]:
    """The options that every command has, as (annotation, default)."""
    # `logs -f` follows, as everywhere else where there are logs; the spec is `--file` there.
    declared = [each for parameter in own for each in getattr(parameter.annotation, "__metadata__", ())]
    taken = {word for option in declared for word in option.param_decls or ()}
    file_names = [name for name in ("--file", "-f") if name not in taken]
    spec_help = "The spec. Default: deploykit.yaml here or in a parent folder."
    return {
        "file": (Annotated[Path | None, typer.Option(*file_names, metavar="FILE", help=spec_help)], None),
        "environment": (
            Annotated[str, typer.Option("--env", "-e", metavar="NAME", help="The environment.")],
            "local",
        ),
        "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="Show what is done in more detail.")], False),
        "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Show the answer and errors only.")], False),
    }
