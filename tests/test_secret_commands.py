"""A secret that a command prints: run once, without a shell, and nothing of it is told where it fails."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from test_reconcile import app

from deploykit import secret_commands, secrets
from deploykit.errors import EnvironmentLacks, SpecError
from deploykit.plan import AppPlan, SecretRef
from deploykit.secret_commands import Commands


def wanting(*words: str, name: str = "web") -> AppPlan:
    return replace(app(), name=name, env_file="", secrets=(SecretRef("DATABASE_URL", "command", "", words),))


def commands(folder: Path, *known: str) -> Commands:
    redact = secrets.Redactor(known)
    return Commands(folder, lambda app, ref: f"deploykit.yaml:7:3 ({app.name}, {ref.name})", redact)


def value(folder: Path, *words: str) -> str:
    return secrets.read(wanting(*words), folder, {}, commands(folder))["DATABASE_URL"]


def failure(folder: Path, *words: str, known: tuple[str, ...] = ()) -> str:
    with pytest.raises(EnvironmentLacks) as caught:
        secrets.read(wanting(*words), folder, {}, commands(folder, *known))
    assert caught.value.exit_code == 5
    return str(caught.value)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [("plain", "plain"), ("one\\n", "one"), ("two\\n\\n", "two\n"), ("dos\\r\\n", "dos"), (" a b ", " a b ")],
)
def test_what_it_prints_is_the_value_without_one_newline(tmp_path: Path, printed: str, expected: str) -> None:
    assert value(tmp_path, "printf", printed) == expected


def test_its_words_reach_it_as_they_are_and_no_shell_reads_them(tmp_path: Path) -> None:
    assert value(tmp_path, "printf", "%s|", "$HOME", "a b", "*", "$(id)") == "$HOME|a b|*|$(id)|"


def test_it_runs_in_the_folder_of_the_spec_with_the_callers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN_HERE", "from the caller")
    assert value(tmp_path, "pwd") == str(tmp_path)
    assert value(tmp_path, "printenv", "VAULT_TOKEN_HERE") == "from the caller"
    script = tmp_path / "print-it"
    script.write_text("#!/bin/sh\necho from the folder\n")
    script.chmod(0o755)
    assert value(tmp_path, "./print-it") == "from the folder"


def test_the_same_words_are_run_once_for_all_apps(tmp_path: Path) -> None:
    words = ("sh", "-c", "echo run >> runs; echo value")
    printed = commands(tmp_path)
    for name in ("web", "api", "web"):
        assert secrets.read(wanting(*words, name=name), tmp_path, {}, printed)["DATABASE_URL"] == "value"
    assert (tmp_path / "runs").read_text() == "run\n"


def test_one_that_fails_is_told_with_its_variable_line_exit_code_and_words(tmp_path: Path) -> None:
    text = failure(tmp_path, "sh", "-c", "echo vault is sealed >&2; exit 7")
    assert "the secret DATABASE_URL of web can't be read: its command ended with exit code 7" in text
    assert "deploykit.yaml:7:3" in text
    assert "    vault is sealed" in text


def test_nothing_secret_is_in_what_is_told_of_one_that_fails(tmp_path: Path) -> None:
    script = "echo half-printed-secret; echo tried half-printed-secret with other-secret >&2; exit 1"
    text = failure(tmp_path, "sh", "-c", script, known=("other-secret",)).partition("last lines")[2]
    assert "tried [secret] with [secret]" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-program-here",), "`no-such-program-here` can't be started: no such file or directory"),
        (("/",), "`/` can't be started: permission denied"),
        (("true",), "its command printed nothing"),
        (("echo",), "its command printed nothing"),
        (("yes",), "its command prints more than 131072 bytes"),
        (("sh", "-c", "kill -9 $$"), "its command was ended by SIGKILL"),
    ],
)
def test_one_that_gives_no_value_is_a_failure(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert said in failure(tmp_path, *words)


def test_one_that_hangs_ends_in_time_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_commands, "PATIENCE_SECONDS", 2.0)
    text = failure(tmp_path, "sh", "-c", "sleep 600 & wait")
    assert "its command did not end within 2 s" in text
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and at_work_in(tmp_path):
        time.sleep(0.05)
    assert not at_work_in(tmp_path)


def at_work_in(folder: Path) -> list[int]:
    """The processes whose working folder that is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(folder):
                found.append(process.pid)
    return found


def test_an_agent_that_it_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    # Waited for, it would outlast the patience, and that is a failure.
    assert value(tmp_path, "sh", "-c", "setsid sleep 300 & echo $! > agent; echo value") == "value"
    os.kill(int((tmp_path / "agent").read_text()), 15)


def test_a_value_that_no_process_could_be_started_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds a NUL byte"):
        value(tmp_path, "printf", "a\\0b")


def test_what_is_missing_is_told_before_any_command_is_run(tmp_path: Path) -> None:
    refs = (SecretRef("A", "command", "", ("touch", "ran")), SecretRef("B", "env", "NOT_SET_HERE"))
    with pytest.raises(SpecError, match="NOT_SET_HERE"):
        secrets.read(replace(app(), secrets=refs, env_file=""), tmp_path, {}, commands(tmp_path))
    assert not (tmp_path / "ran").exists()


# --- which one changed -------------------------------------------------------------------------------------------


def test_a_fingerprint_tells_nothing_without_the_key_not_even_of_a_short_value() -> None:
    one, other = secrets.fingerprints({"A": "1", "B": "1"}, b"k" * 32), secrets.fingerprints({"A": "1"}, b"j" * 32)
    assert one["A"] != other["A"]
    assert one["A"] != one["B"]
    assert one == secrets.fingerprints({"A": "1", "B": "1"}, b"k" * 32)
    assert len(one["A"]) == 32
