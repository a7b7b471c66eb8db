"""Whether what a command is about to do is agreed to: shown and asked where others are concerned, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli.options import Options
from deploykit.cli.tables import Cell, Row, table
from deploykit.cli.words import step_words
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.cli.progress import PlainProgress
    from deploykit.plan import Step

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before changing a named environment.")]


class Agreement:
    """What has to be agreed to before a named environment is changed; in `local`, and with `--yes`, nothing has."""

    def __init__(self, options: Options, yes: bool) -> None:
        """Raises SpecError where somebody has to agree and nobody is there to be asked."""
        self._options = options
        from deploykit.spec.environments import LOCAL

        self.needed = options.environment != LOCAL and not yes
        if self.needed and not options.console.can_ask:
            what = f"`{options.environment}` is changed only where somebody agrees, and nobody is there to be asked"
            raise SpecError(Problem("", what, "add `--yes`"))

    def to(self, rows: Sequence[Row]) -> None:
        """Shows what will be done and asks; raises SpecError unless the answer is yes."""
        if not self.needed:
            return
        console = self._options.console
        if rows:
            console.complain(table(rows, width=console.width, indent=" "))
        answer = console.ask(f"Do this in `{self._options.environment}`? [y/N]")
        if answer.lower() not in ("y", "yes"):
            raise SpecError(Problem("", "not agreed; nothing was changed"))

    def to_steps(self, progress: PlainProgress, steps: tuple[Step, ...]) -> None:
        """The same for steps, while a display of progress is open."""
        if not self.needed:
            return
        with progress.paused():
            self.to([[Cell(verb, "cyan"), subject, Cell(why, "dim")] for verb, subject, why in map(_said, steps)])


def _said(step: Step) -> tuple[str, str, str]:
    return (*step_words(step), step.cause)
