"""The command line: help and version at once, a wrong line told in two lines, each exit code where it belongs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

import deploykit as package
from deploykit.cli.console import Console
from deploykit.cli.main import HungUp, Terminated, guarded
from deploykit.errors import DeployFailed, EnvironmentLacks, LockHeld, Problem, PromiseBroken, SpecError
from deploykit.secrets import Redactor

WORDS = "init check config plan render lock build up status logs test ci"
WORDS += " run restart releases rollback down eject schema wheels images"
COMMANDS = tuple(WORDS.split())
SLOW = ("docker", "testinfra", "rich", "jinja2", "yaml", "supervisor", "psutil", "requests", "pathspec")
TYPERS_OWN = ("pydantic",)
"""What typer itself loads once a command has parameters."""


@pytest.mark.parametrize(
    ("words", "slow"),
    [
        (["--version"], SLOW + TYPERS_OWN),
        (["--help"], SLOW + TYPERS_OWN),
        (["up", "--help"], SLOW),
        (["render", "--help"], SLOW),
    ],
)
def test_what_is_asked_most_loads_nothing_slow(words: list[str], slow: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from deploykit.cli.main import run\n"
        "code = run(sys.argv[2:])\n"
        "loaded = sorted(set(sys.argv[1].split()) & set(sys.modules))\n"
        "sys.exit(f'exit code {code}, loaded {loaded}' if code or loaded else 0)"
    )
    command = [sys.executable, "-c", script, " ".join(slow), *words]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_version_is_told(deploykit: Run) -> None:
    result = deploykit("--version")
    assert (result.returncode, result.stdout) == (0, f"deploykit {package.__version__}\n")


def test_help_names_every_command(deploykit: Run) -> None:
    result = deploykit("--help")
    assert result.returncode == 0
    listed = [line.split()[0] for line in result.stdout.split("Commands:")[1].split("\n\n")[0].splitlines() if line]
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize("command", [[name] for name in COMMANDS if name != "images"] + [["images", "build"]])
def test_every_command_explains_itself(deploykit: Run, command: list[str]) -> None:
    result = deploykit(*command, "--help")
    assert result.returncode == 0
    assert "--quiet" in result.stdout
    assert ("--file" in result.stdout) == (command[0] not in ("init", "schema", "images"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "no such command 'statsu'. Did you mean 'status'"),
        (["up", "--taget", "docker"], "no such option: --taget"),
        (["logs", "-n", "many"], "invalid value for '-n'"),
        (["up", "--target", "doker"], "there is no target `doker`\n  hint: did you mean `docker`?"),
        (["test", "--allow", "everything"], "there is no effect `everything`"),
        (["run", "web"], "there is no command to run\n  hint: deploykit run web -- python --version"),
        (["images", "build", "--debian", "sid"], "there is no Debian `sid`\n  hint: one of `bookworm`, `trixie`"),
        (["render", "--check"], "compare with a folder\n  hint: add `-o DIR`"),
        (["up", "surplus"], "unexpected extra argument"),
    ],
)
def test_a_wrong_line_is_exit_2_and_says_what_is_wrong(deploykit: Run, words: list[str], said: str) -> None:
    result = deploykit(*words)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stdout == ""


def test_without_a_command_the_help_is_shown(deploykit: Run) -> None:
    result = deploykit()
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: deploykit")


def test_no_colour_goes_into_a_pipe(deploykit: Run) -> None:
    result = deploykit("check", "--file", "missing.yaml")
    assert result.returncode == 2
    assert "\x1b" not in result.stderr


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploykit", "schema"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), said) == (0, b"")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_is_no_error(project: Path, number: int) -> None:
    words = [sys.executable, "-m", "deploykit", "check"]
    command = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *words]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_an_answer_that_finds_no_room_is_told_as_that(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "deploykit", "schema"]
        result = subprocess.run(command, cwd=project, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (5, "error: can't write the answer: No space left on device\n")


def test_talk_that_nobody_hears_stops_nothing(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "deploykit", "plan", "--target", "process"]
        result = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, stderr=full, text=True)
    assert result.returncode == 0
    assert "tiny" in result.stdout


def test_nothing_that_it_makes_can_be_written_by_others_and_git_passes_over_it(project: Path) -> None:
    words = [sys.executable, "-m", "deploykit", "plan", "--target", "process"]
    subprocess.run(["sh", "-c", 'umask 0; exec "$@"', "sh", *words], cwd=project, capture_output=True, check=True)
    made = [project / ".deploykit", *(project / ".deploykit").rglob("*")]
    assert len(made) > 2
    assert [path for path in made if path.stat().st_mode & 0o022] == []
    assert (project / ".deploykit/.gitignore").read_text() == "*\n"


def test_a_plan_needs_no_right_to_write(project: Path) -> None:
    # A file in its place stops root as well.
    (project / ".deploykit").write_text("")
    words = [sys.executable, "-m", "deploykit", "plan", "--target", "process"]
    result = subprocess.run(words, cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- the error boundary ----------------------------------------------------------------------------------------


def outcome(error: BaseException, console: Console | None = None) -> tuple[int, str]:
    def work() -> int:
        raise error

    told = io.StringIO()
    console = console or Console()
    console.err = told
    return guarded(work, console), told.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PromiseBroken("a check failed"), 1),
        (SpecError(Problem("apps.web", "is wrong")), 2),
        (DeployFailed("the new release does not start"), 3),
        (LockHeld("another deploykit is at work"), 4),
        (EnvironmentLacks("port 80 is taken"), 5),
    ],
)
def test_what_a_user_can_cause_has_its_exit_code_and_no_traceback(error: Exception, code: int) -> None:
    exit_code, told = outcome(error)
    assert exit_code == code
    assert told == f"{error}\n"
    assert told.startswith("error: ")


def test_a_bug_shows_its_traceback_and_where_to_report_it() -> None:
    exit_code, told = outcome(ZeroDivisionError("seven by nothing"))
    assert exit_code == 70
    assert "Traceback (most recent call last)" in told
    assert "seven by nothing" in told
    assert f"a bug in deploykit {package.__version__}" in told


def test_a_traceback_holds_no_secret() -> None:
    console = Console()
    console.redactor = Redactor(["hunter2-hunter2"])
    _code, told = outcome(ValueError("can't read hunter2-hunter2"), console)
    assert "hunter2" not in told
    assert "[secret]" in told


def test_an_interrupted_command_says_how_it_goes_on() -> None:
    console = Console()
    console.if_interrupted = "the next `deploykit up` goes on from here"
    for stopped, code in ((KeyboardInterrupt(), 130), (Terminated(), 143), (HungUp(), 129)):
        assert outcome(stopped, console) == (code, "\nthe next `deploykit up` goes on from here\n")
