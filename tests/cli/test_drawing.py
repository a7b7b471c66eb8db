"""Tables that lose nothing, progress on a terminal and in a pipe, foreign text that can't move the cursor."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from deploykit.cli.console import Console, printable
from deploykit.cli.progress import PlainProgress
from deploykit.cli.tables import Cell, table
from deploykit.cli.words import bytes_text, plain, seconds_text, step_words
from deploykit.plan import BuildRelease, NginxBuild, StageNginx, StartMember, Step


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = table([["a", "first"], ["long name", "x"]], header=("name", "what"))
    assert re.sub(r"\x1b\[\d+m", "", text).splitlines() == [" name       what", " a          first", " long name  x"]


def test_a_table_wraps_on_a_terminal_and_loses_no_word() -> None:
    words = " ".join(f"word{number}" for number in range(30))
    text = table([["name", words, "kept"]], width=60)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert re.findall(r"word\d+", text) == words.split()


def test_a_table_never_wraps_in_a_pipe() -> None:
    assert len(table([["name", "word " * 100]]).splitlines()) == 1


def test_an_empty_table_is_nothing() -> None:
    assert table([]) == ""


def test_colour_goes_to_a_terminal_only_and_never_against_no_color() -> None:
    shown = {}
    for name, stream, environ in (
        ("terminal", Terminal(), {}),
        ("pipe", io.StringIO(), {}),
        ("NO_COLOR", Terminal(), {"NO_COLOR": "1"}),
    ):
        console = Console(stream, stream, environ)
        console.answer(table([[Cell("kept", "green")]]))
        console.talk("said", "red")
        shown[name] = stream.getvalue()
    assert "\x1b[32mkept\x1b[0m" in shown["terminal"]
    assert shown["pipe"] == shown["NO_COLOR"] == " kept\nsaid\n"


@pytest.mark.parametrize(
    ("foreign", "colours", "shown"),
    [
        ("plain", True, "plain"),
        ("\x1b[31mred", False, "red"),
        ("\x1b[31mred", True, "\x1b[31mred\x1b[0m"),
        ("up\x1b[2A\x1b]0;title\x07", True, "up\\x1b[2A\\x1b]0;title\\x07"),
        ("tab\tstays\r", False, "tab\tstays"),
        ("\x9b2J", False, "\\x9b2J"),
    ],
)
def test_foreign_text_cannot_command_the_terminal(foreign: str, colours: bool, shown: str) -> None:
    assert printable(foreign, colours=colours) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (59.9, "59.9s"), (125, "2m 05s"), (3 * 3600 + 600, "3h 10m"), (90000, "1d 1h")],
)
def test_durations_read_at_a_glance(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (512, "512B"), (1536, "1.5k"), (50 << 20, "50M"), (3 << 30, "3.0G")]
)
def test_sizes_read_at_a_glance(count: int | None, text: str) -> None:
    assert bytes_text(count) == text


def all_steps(step: type[Step] = Step) -> set[type[Step]]:
    return {each for sub in step.__subclasses__() for each in ({sub} | all_steps(sub))}


def test_every_step_has_words_of_its_own() -> None:
    for step in all_steps():
        fields = {name: () if name == "orphans" else "x" for name in step.__dataclass_fields__}
        verb, _subject = step_words(step(**fields))
        assert verb != step.__name__, step


def test_plan_data_becomes_json_of_the_same_bytes_every_time() -> None:
    build = NginxBuild((1, 22, 1), frozenset({"http_ssl", "http_v2"}))
    assert plain(build) == {
        "version": [1, 22, 1],
        "modules": ["http_ssl", "http_v2"],
        "command": "nginx",
        "loadable": [],
    }
    assert plain(StartMember("its code changed", "web", 1, "ab")) == {
        "step": "StartMember",
        "cause": "its code changed",
        "app": "web",
        "slot": 1,
        "release": "ab",
    }


# --- progress --------------------------------------------------------------------------------------------------


def test_in_a_pipe_each_step_is_one_line_with_what_was_told_above_it() -> None:
    err = io.StringIO()
    progress = PlainProgress(Console(io.StringIO(), err, {}))
    with progress, progress.step(BuildRelease("its code changed", "web", "3fa8")) as result:
        progress.tell("installing requirements")
        progress.tell("installing requirements")
        result("virtual environment reused")
    told, line = err.getvalue().splitlines()
    assert told.strip() == "installing requirements"
    assert re.fullmatch(r" build +web 3fa8  virtual environment reused +0\.\ds", line)


@pytest.mark.parametrize("said", ["nginx 1.22.1 accepted 6 files", "1.22.1 accepted 6 files"])
def test_a_subject_is_named_once_and_reads_alike_whoever_names_it(said: str) -> None:
    err = io.StringIO()
    progress = PlainProgress(Console(io.StringIO(), err, {}))
    with progress, progress.step(StageNginx("new", "5e1f00d")) as result:
        result(said)
    assert re.fullmatch(r" stage +nginx  1\.22\.1 accepted 6 files +0\.\ds\n", err.getvalue())


def test_a_failed_step_is_shown_as_failed() -> None:
    err = io.StringIO()
    progress = PlainProgress(Console(io.StringIO(), err, {}))
    with pytest.raises(OSError, match="disk"), progress, progress.step(BuildRelease("new", "web", "3fa8")):
        raise OSError("disk")
    assert "failed" in err.getvalue()


def test_quiet_shows_no_progress() -> None:
    err = io.StringIO()
    console = Console(io.StringIO(), err, {})
    console.quiet = True
    progress = PlainProgress(console)
    with progress, progress.step(BuildRelease("new", "web", "3fa8")) as result:
        progress.tell("installing")
        result("done")
    assert err.getvalue() == ""


LIVE = """
import sys, time
from deploykit.cli.console import Console
from deploykit.cli.progress import LiveProgress, open_progress
from deploykit.plan import BuildRelease
from deploykit.secrets import Redactor
console = Console()
console.redactor = Redactor(["hunter2-hunter2"])
with open_progress(console) as progress:
    progress.tell("a remark before the first step")
    assert isinstance(progress, LiveProgress)
    with progress.step(BuildRelease("its code changed", "web", "3fa8")) as result:
        progress.tell("warning: something to look at")
        progress.tell("installing with hunter2-hunter2")
        time.sleep(0.5)  # longer than it takes to draw the line twice
        result("whole")
"""


def on_a_terminal(script: str) -> str:
    """All that a script writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 30)
        assert ready, "nothing was written for 30 s"
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    assert process.wait(30) == 0, written
    return written.decode()


def test_on_a_terminal_the_running_step_is_drawn_live_and_stays_as_one_line() -> None:
    shown = on_a_terminal(LIVE)
    assert "a remark before the first step\r\n" in shown.replace("\x1b[0m", "")
    assert "installing with [secret]" in shown
    assert "hunter2" not in shown
    plain_text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r" build +web 3fa8  whole +0\.\ds", plain_text)
    assert "\r          warning: something to look at\r\n" in plain_text, "a warning stays when the step is over"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"
