"""What is being done, while it is done: a live line on a terminal, plain lines elsewhere.

Both satisfy `converge.Progress`: `step` (a context manager that yields where the result is told), `tell` and `check`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from deploykit.cli.console import Console, paint
from deploykit.cli.words import seconds_text, step_words

if TYPE_CHECKING:
    from rich.text import Text

    from deploykit.plan import Check, Step

VERB = 9
"""Columns for the verb of a step."""
LINE = 88
"""Column at which the seconds of a step end, where the line is not longer."""


def open_progress(console: Console) -> PlainProgress:
    """The progress display that suits where the talk goes."""
    return LiveProgress(console) if console.is_live else PlainProgress(console)


class PlainProgress:
    """One line per step when it is done, and what is told meanwhile below its verb; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._told = ""

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to draw."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn meanwhile: the terminal is free for a question."""
        yield

    @contextlib.contextmanager
    def step(self, step: Step) -> Iterator[Callable[[str], None]]:
        """Shows the step and how long it took; what it yields is called with the result in a few words."""
        verb, subject = step_words(step)
        results: list[str] = []
        began = time.monotonic()
        self.begin(verb, subject, step.cause)
        try:
            yield results.append
        except BaseException as error:
            how = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.end(verb, subject, how, time.monotonic() - began, failed=True)
            raise
        self.end(verb, subject, " ".join(results) or step.cause, time.monotonic() - began, failed=False)

    def tell(self, line: str) -> None:
        """One short line about what is being done; the same one twice in a row is shown once. Any thread."""
        if line != self._told:
            self._told = line
            self.show_told(line)

    def check(self, check: Check) -> None:
        """That promise is being measured now."""
        if self.console.verbose:
            self.console.talk(f" {'check':<{VERB}}{check.promise}", "dim")

    def begin(self, verb: str, subject: str, cause: str) -> None:
        """A step begins."""
        self._told = ""
        if self.console.verbose:
            self.console.talk(f" {verb:<{VERB}}{subject}  ({cause})", "dim")

    def show_told(self, line: str) -> None:
        """Shows a line that was told."""
        self.console.talk(f" {'':<{VERB}}{line}", "dim")

    def end(self, verb: str, subject: str, result: str, seconds: float, *, failed: bool) -> None:
        """A step is over."""
        self.console.talk(self.line(verb, subject, result, seconds, failed=failed))

    def line(self, verb: str, subject: str, result: str, seconds: float, *, failed: bool) -> str:
        """The line that stays of a step."""
        style = "red" if failed else "cyan"
        # A result that begins with its subject, as `nginx has ended`, says it once.
        said = result.removeprefix(f"{subject} ") if subject else result
        text = self.console.redactor(f"{subject}  {said}" if subject else said)
        width = min(LINE, (self.console.width or LINE) - 1)
        room = max(len(text), width - VERB - 9)
        return f" {paint(f'{verb:<{VERB}}', style)}{text:<{room}} {paint(f'{seconds_text(seconds):>7}', 'dim')}"


class LiveProgress(PlainProgress):
    """On a terminal: the running step with a spinner and its seconds, what is told below it, and done steps above."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Any = None
        self._doing = ""
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> LiveProgress:
        from rich.console import Console as RichConsole
        from rich.live import Live

        screen = RichConsole(
            file=self.console.err, no_color=not self.console.err_colours, highlight=False, markup=False, soft_wrap=True
        )
        # stdout and stderr are not redirected: everything that is printed here goes through the console.
        self._live = Live(
            get_renderable=self._draw,
            console=screen,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._doing = ""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn meanwhile: the terminal is free for a question."""
        if self._live is not None:
            self._live.stop()
        yield
        if self._live is not None:
            self._live.start()

    def check(self, check: Check) -> None:
        """That promise is being measured now."""
        if not self._doing.startswith("check"):
            self._began = time.monotonic()
        self._doing, self._told = f"{'check':<{VERB}}{check.promise}", ""

    def begin(self, verb: str, subject: str, cause: str) -> None:
        """A step begins."""
        self._began = time.monotonic()
        self._doing, self._told = f"{verb:<{VERB}}{subject}  {cause}", ""

    def show_told(self, line: str) -> None:
        """Shows a line that was told: a warning stays, with `-v` or between steps all do, else until the next."""
        if self.console.verbose or not self._doing or line.startswith("warning: "):
            self._above(paint(f" {'':<{VERB}}{line}", "dim"))

    def end(self, verb: str, subject: str, result: str, seconds: float, *, failed: bool) -> None:
        """A step is over: its line stays above the live one."""
        self._doing, self._told = "", ""
        self._above(self.line(verb, subject, result, seconds, failed=failed))

    def _above(self, line: str) -> None:
        from rich.text import Text

        with self._lock:
            if self._live is None:
                self.console.talk(line)
            else:
                self._live.console.print(Text.from_ansi(self.console.redactor(line)), soft_wrap=True)

    def _draw(self) -> Text:
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        if not self._doing:
            return text
        seconds = time.monotonic() - self._began
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if _can_show(self.console.err.encoding) else "|/-\\"
        text.append(frames[int(seconds * 8) % len(frames)], style="cyan")
        text.append(self.console.redactor(self._doing))
        text.append(f"  {seconds_text(seconds)}", style="dim")
        if self._told:
            text.append(f"\n {'':<{VERB}}{self.console.redactor(self._told)}", style="dim")
        return text


def _can_show(encoding: str) -> bool:
    return "utf" in encoding.lower()
