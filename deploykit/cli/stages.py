"""The stages of a longer run, one after the other: each a section of the log with its time, remembered for reports."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from deploykit.cli.console import Console
from deploykit.cli.words import seconds_text
from deploykit.errors import DeploykitError

if TYPE_CHECKING:
    from deploykit.pipelines import Pipeline
    from deploykit.proof.report import Stage

STYLES = {"done": "green", "failed": "red bold", "not run": "yellow"}


class Failed(Exception):
    """A stage ended the run; carries the exit code that it ends with. Everything about it was said."""

    def __init__(self, stage: str, said: str, exit_code: int) -> None:
        super().__init__(said)
        self.stage = stage
        self.said = said
        self.exit_code = exit_code


class Stages:
    """Where stages are drawn: folded where the CI system folds, else below a heading."""

    def __init__(self, console: Console, pipeline: Pipeline | None) -> None:
        self.console = console
        self.pipeline = pipeline
        self.told: list[Stage] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """One stage; what is put into the list it gives says what came of it.

        Raises:
            Failed: what happened inside raised a DeploykitError, which is said, or Failed itself.
        """
        began, wall, token = time.monotonic(), time.time(), secrets.token_hex(16)
        if self.pipeline is not None:
            self.console.complain(self.pipeline.begin(name, f"deploykit {name}", wall, token))
        else:
            self.console.talk(f"== {name}", "bold")
        said: list[str] = []
        outcome = "failed"
        try:
            yield said
            outcome = "done"
        except DeploykitError as error:
            self.console.complain(str(error))
            said.append(str(error).splitlines()[0].removeprefix("error: "))
            raise Failed(name, said[-1], error.exit_code) from error
        except KeyboardInterrupt:
            said.append("interrupted")
            raise
        finally:
            if self.pipeline is not None:
                self.console.complain(self.pipeline.end(name, time.time(), token))
            self._remember(name, outcome, time.monotonic() - began, " ".join(said))

    def left_out(self, name: str, why: str) -> None:
        """A stage that is not run."""
        self._remember(name, "not run", 0.0, why)

    def _remember(self, name: str, outcome: str, seconds: float, said: str) -> None:
        from deploykit.proof.report import Stage

        # What ends in a report is no output of the console, which would hide secrets in it.
        self.told.append(Stage(name, outcome, seconds, self.console.redactor(said)))  # type: ignore[arg-type]

    def table(self) -> list[list[tuple[str, str]]]:
        """A row for each stage, of (text, style)."""
        return [
            [
                (stage.name, ""),
                (seconds_text(stage.seconds), "dim"),
                (stage.said or stage.outcome, STYLES[stage.outcome]),
            ]
            for stage in self.told
        ]


class FirstSignal:
    """While entered, only the first SIGINT or SIGTERM interrupts; once `deaf`, it does so at the very end.

    A cancelled pipeline sends several within seconds, and the second would stop what tidies up after the first.
    """

    def __init__(self) -> None:
        self.deaf = False
        self._before: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._heard: int | None = None
        self._raised = False

    def __enter__(self) -> FirstSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before):  # ignored stays ignored
                self._before[number] = before
                signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard is None:
            self._heard = number
        if not self.deaf and not self._raised:
            self._raised = True
            self._before[number](number, frame)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        # One that came while the interpreter was in a place that can't be interrupted, such as a destructor, was lost.
        if self._heard is not None and (not self._raised or kind is None):
            self._before[self._heard](self._heard, None)
