"""`deploykit init` as a person runs it: what it shows, what it asks, what it never overwrites."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

APP = "from flask import Flask\n\napp = Flask(__name__)\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "two-doors"
    folder.mkdir()
    (folder / "public.py").write_text(APP)
    (folder / "admin.py").write_text(APP)
    (folder / "requirements.txt").write_text("flask\n")
    return folder


def test_what_is_written_says_where_each_value_was_seen_and_passes_check(deploykit: Run, checkout: Path) -> None:
    (checkout / "admin.py").unlink()
    result = deploykit("init", folder=checkout)
    assert result.returncode == 0
    assert "entrypoint: public:app  # seen: " in result.stdout
    assert (checkout / "deploykit.yaml").read_text() == result.stdout
    assert "next: deploykit plan" in result.stderr
    assert deploykit("check", folder=checkout).returncode == 0


def test_the_schema_that_the_first_line_names_is_there(deploykit: Run, checkout: Path) -> None:
    result = deploykit("init", folder=checkout)
    name = result.stdout.splitlines()[0].partition("$schema=")[2]
    assert (checkout / name).read_text() == deploykit("schema").stdout


def test_a_spec_that_is_there_is_never_overwritten_without_force(deploykit: Run, checkout: Path) -> None:
    (checkout / "deploykit.yaml").write_text("mine\n")
    result = deploykit("init", folder=checkout)
    assert result.returncode == 2
    assert "`--force` replaces it" in result.stderr
    assert (checkout / "deploykit.yaml").read_text() == "mine\n"
    assert deploykit("init", "--force", folder=checkout).returncode == 0
    assert "mine" not in (checkout / "deploykit.yaml").read_text()


def test_what_is_not_known_is_left_to_fill_in_where_nobody_can_be_asked(deploykit: Run, checkout: Path) -> None:
    result = deploykit("init", folder=checkout)
    assert result.returncode == 0
    assert "# entrypoint: admin:app" in result.stdout
    assert "# entrypoint: public:app" in result.stdout
    assert "it needs you:\nerror: apps.web.entrypoint: is missing" in result.stderr


def answered(folder: Path, *answers: str) -> tuple[int, str]:
    """Runs `deploykit init` on a terminal and types an answer at each prompt."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "deploykit", "init"], cwd=folder, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen, typed = "", list(answers)
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        assert ready, seen
        try:
            piece = os.read(ours, 65536).decode()
        except OSError:  # the terminal's other end is closed
            break
        seen += piece
        if typed and seen.rstrip().endswith(("open:", ">", "]")):
            os.write(ours, typed.pop(0).encode())
    os.close(ours)
    return process.wait(60), seen


def test_on_a_terminal_it_asks_and_takes_a_number(checkout: Path) -> None:
    code, seen = answered(checkout, "7\n", "2\n")
    assert code == 0, seen
    assert "Which of these is the application?" in seen
    assert "should be one of" in seen
    chosen = [line for line in (checkout / "deploykit.yaml").read_text().splitlines() if "entrypoint:" in line]
    assert [line.strip().split("  ")[0] for line in chosen] == ["entrypoint: public:app"]


def test_the_end_of_input_at_a_question_writes_nothing(checkout: Path) -> None:
    code, seen = answered(checkout, "\x04")
    assert code == 130, seen
    assert not (checkout / "deploykit.yaml").exists()
