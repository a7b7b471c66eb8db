"""All that reaches the user: the answer on standard output, the talk on standard error, secrets hidden in both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from deploykit.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Callable

STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
"""Name to SGR code; the sixteen-colour set, which every terminal maps to something readable."""

SGR = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def paint(text: str, style: str) -> str:
    """The text in that style; styles are separated by blanks, none leaves it as it is."""
    codes = ";".join(STYLES[name] for name in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour what goes there: only on a terminal, and never against NO_COLOR."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def printable(text: str, *, colours: bool) -> str:
    """The text of a foreign process, unable to move the cursor or change the terminal; its colours stay if wanted."""
    kept: list[str] = []
    position = 0
    for match in SGR.finditer(text):
        kept.append(_visible(text[position : match.start()]))
        if colours:
            kept.append(match.group())
        position = match.end()
    kept.append(_visible(text[position:]))
    if colours and len(kept) > 1:
        kept.append("\x1b[0m")
    return "".join(kept)


def _visible(text: str) -> str:
    return CONTROLS.sub(lambda match: f"\\x{ord(match.group()):02x}", text.replace("\r", ""))


def _leave(stream: TextIO) -> None:
    """Nothing is written there from now on, not even what is still buffered when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Console:
    """Where one command writes to. Safe to call from any thread."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        environ = os.environ if environ is None else environ
        self.colours = wants_colour(self.out, environ)
        self.err_colours = wants_colour(self.err, environ)
        self.redactor: Callable[[str], str] = str
        """Hides secrets; a session that reads some hands its own over, until then there are none to hide."""
        self.verbose = False
        self.quiet = False
        self.if_interrupted = "interrupted"
        """What is said after Ctrl-C; empty where that is how a command ends."""
        self._lock = threading.RLock()

    @property
    def width(self) -> int:
        """Columns of the terminal that the answer goes to; 0 where it goes elsewhere, and lines have no limit."""
        return shutil.get_terminal_size().columns if self.out.isatty() else 0

    @property
    def is_live(self) -> bool:
        """Whether the talk goes to a terminal on which a line can be drawn again."""
        return self.err.isatty() and os.environ.get("TERM") != "dumb" and not self.quiet

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return sys.stdin is not None and sys.stdin.isatty() and self.err.isatty()

    def answer(self, text: str = "", style: str = "") -> None:
        """One piece of what was asked for, on standard output."""
        text = self.redactor(text)
        with self._lock:
            try:
                self.out.write((paint(text, style) if self.colours else SGR.sub("", text)) + "\n")
                self.out.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                _leave(self.out)
                raise EnvironmentLacks(f"can't write the answer: {error.strerror}") from error

    def talk(self, text: str = "", style: str = "") -> None:
        """A line about what is going on, on standard error; left out with `-q`."""
        if not self.quiet:
            self.complain(text, style)

    def complain(self, text: str = "", style: str = "") -> None:
        """Something that has to be read, on standard error, also with `-q`."""
        text = self.redactor(text)
        with self._lock:
            try:
                self.err.write((paint(text, style) if self.err_colours else SGR.sub("", text)) + "\n")
                self.err.flush()
            except OSError:
                # Nobody listens any more: no reason to stop half-way in what is being done.
                _leave(self.err)

    def answer_json(self, data: Any) -> None:
        """The answer for a program: one JSON value."""
        self.answer(json.dumps(data, indent=2, ensure_ascii=False))

    def ask(self, question: str, default: str = "") -> str:
        """What the person types, `default` for an empty line; the question goes to standard error."""
        shown = f"{question} [{default}] " if default else f"{question} "
        self.err.write(self.redactor(shown))
        self.err.flush()
        line = sys.stdin.readline()
        if not line:
            self.err.write("\n")
            raise KeyboardInterrupt
        return line.strip() or default
