"""`init` on messy checkouts: each folder below tests/checkouts is looked at, and its whole spec compared."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from deploykit import app_servers, frameworks
from deploykit.errors import SpecError
from deploykit.init import SCHEMA_FILE, Survey, look, questions, write_spec
from deploykit.init.survey import stack_name
from deploykit.init.write import comment_text, quoted
from deploykit.spec.load import load_spec, meaning
from deploykit.spec.model import Spec

CHECKOUTS = Path(__file__).with_name("checkouts")
NAMES = sorted(path.name for path in CHECKOUTS.iterdir() if path.is_dir() and not path.name.startswith("__"))
ASKED = {
    "django-startproject",
    "django-settings-for-production",
    "django-below-the-top",
    "django-own-folder",
    "django-noisy",
    "django-src-layout",
    "django-two-projects",
}
"""Projects whose settings are asked; this interpreter has what they need."""
UNSUPPORTED = {"asgi-only"}
ENTRYPOINT_IS_OPEN = {"flask-file-with-a-dash", "flask-several-apps", "nothing-there"}
MACHINE = (3, 11)


@pytest.fixture(autouse=True)
def no_active_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)


def checkout(name: str, tmp_path: Path) -> Path:
    """A copy of a checkout, so that nothing of ours lies in or above it."""
    return shutil.copytree(CHECKOUTS / name, tmp_path / name, ignore=shutil.ignore_patterns("expected.yaml"))


def survey(name: str, tmp_path: Path) -> Survey:
    return look(
        checkout(name, tmp_path),
        sys.executable if name in ASKED or name == "django-hangs" else None,
        limit_seconds=1 if name == "django-hangs" else 30,
        machine_python=MACHINE,
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNSUPPORTED])
def test_a_checkout_gets_the_expected_spec(name: str, tmp_path: Path, update_golden: bool) -> None:
    written = write_spec(survey(name, tmp_path))
    expected = CHECKOUTS / name / "expected.yaml"
    if update_golden:
        expected.write_text(written)
    assert written == expected.read_text()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNSUPPORTED | ENTRYPOINT_IS_OPEN])
def test_a_written_spec_passes_check(name: str) -> None:
    spec, origin = load_spec(CHECKOUTS / name / "expected.yaml")
    meaning(spec, origin, app_servers=app_servers.REGISTRY.names(), frameworks=frameworks.REGISTRY.names())
    assert spec.name == name


@pytest.mark.parametrize("name", sorted(ENTRYPOINT_IS_OPEN))
def test_check_says_what_was_left_open(name: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_spec(CHECKOUTS / name / "expected.yaml")
    assert [problem.path for problem in raised.value.problems] == ["apps.web.entrypoint"]


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_asgi_app_is_refused_in_words_instead_of_written_down_wrong(name: str, tmp_path: Path) -> None:
    found = survey(name, tmp_path)
    assert found.unsupported.startswith("app = FastAPI() in main.py:3 is an ASGI application")
    with pytest.raises(SpecError, match="ASGI application"):
        write_spec(found)


def test_every_checkout_is_compared() -> None:
    assert len(NAMES) >= 20
    assert {path.parent.name for path in CHECKOUTS.glob("*/expected.yaml")} == set(NAMES) - UNSUPPORTED


def test_no_value_of_an_env_file_is_written_down(tmp_path: Path) -> None:
    for name in ("django-environ", "flask-runs-on-import", "flask-dockerfile"):
        written = write_spec(survey(name, tmp_path))
        assert "do-not-write-this-down" not in written
        assert "only-for-the-build" not in written


def test_settings_that_print_and_start_threads_leave_nothing_behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = checkout("django-noisy", tmp_path)
    before = sorted(folder.rglob("*"))
    look(folder, sys.executable, limit_seconds=30)
    assert capfd.readouterr() == ("", "")
    assert sorted(folder.rglob("*")) == before


def test_settings_that_hang_are_ended_with_their_children(tmp_path: Path) -> None:
    folder = checkout("django-hangs", tmp_path)
    child = tmp_path / "child"
    (folder / "slow" / "settings.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(child)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(1000)\n"
    )
    started = time.monotonic()
    found = look(folder, sys.executable, limit_seconds=2)
    assert time.monotonic() - started < 10
    assert "slow.settings did not answer within 2 s" in write_spec(found)
    state = Path(f"/proc/{child.read_text()}/stat")
    deadline = time.monotonic() + 5
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("import sys\nsys.exit('no')\n", "SystemExit: no"),
        ("import os\nos._exit(7)\n", "ended the interpreter (exit 7)"),
        ("import a_module_that_is_not_there\n", "No module named 'a_module_that_is_not_there'"),
        ("raise ValueError('bad postgres://user:hidden@db/x')\n", "bad postgres://...@db/x"),
        ("def broken(:\n", "invalid syntax"),
    ],
)
def test_what_settings_failed_with_is_said(settings: str, said: str, tmp_path: Path) -> None:
    folder = checkout("django-hangs", tmp_path)
    (folder / "slow" / "settings.py").write_text(settings)
    written = " ".join(write_spec(look(folder, sys.executable, limit_seconds=30)).replace("#", " ").split())
    assert said in written
    assert "hidden" not in written


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    found = look(checkout("django-hangs", tmp_path), str(tmp_path / "no" / "python"))
    assert "can't be run (No such file or directory)" in " ".join(found.apps[0].notes)


def test_the_project_s_own_virtual_environment_is_asked(tmp_path: Path) -> None:
    folder = checkout("django-noisy", tmp_path)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert not any("not asked" in note for note in look(folder, limit_seconds=30).apps[0].notes)


def test_answers_fill_what_was_open(tmp_path: Path) -> None:
    found = survey("flask-several-apps", tmp_path)
    asked = questions(found)
    assert [question.key for question in asked] == ["entrypoint", "requirements"]
    assert [choice.value for choice in asked[0].choices] == ["admin:app", "public:app"]
    answers = {"entrypoint": "public:app", "requirements": "requirements/server.txt"}
    assert questions(found, answers) == ()
    spec = loaded(write_spec(found, answers), tmp_path)
    assert spec.apps["web"].entrypoint == "public:app"
    assert spec.apps["web"].requirements == "requirements/server.txt"


def test_a_variable_can_come_from_the_environment(tmp_path: Path) -> None:
    found = survey("django-settings-for-production", tmp_path)
    assert [question.key for question in questions(found)] == ["variable.SECRET_KEY", "variable.DB_PASSWORD"]
    spec = loaded(write_spec(found, {"variable.SECRET_KEY": "environment", "variable.DB_PASSWORD": "later"}), tmp_path)
    assert {name: secret.env for name, secret in spec.apps["web"].secrets.items()} == {"SECRET_KEY": "SECRET_KEY"}


def test_where_nothing_was_found_an_entrypoint_is_asked_for(tmp_path: Path) -> None:
    found = survey("nothing-there", tmp_path)
    (question,) = questions(found)
    assert question.problem("shop.main") == "should be `package.module:callable`, not 'shop.main'"
    assert question.problem("shop.main:make()") == ""
    assert loaded(write_spec(found, {"entrypoint": "shop.main:app"}), tmp_path).apps["web"].framework == "wsgi"


def test_an_answer_outside_of_the_choices_is_none(tmp_path: Path) -> None:
    question = questions(survey("flask-several-apps", tmp_path))[0]
    assert question.problem("other:app") == "should be one of admin:app, public:app"


def test_several_frameworks_are_asked_about_first(tmp_path: Path) -> None:
    folder = checkout("django-two-projects", tmp_path)
    (folder / "hook.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    found = look(folder)
    assert [question.key for question in questions(found)] == ["framework"]
    assert questions(found)[0].default == "django"
    assert "entrypoint: hook:app" in write_spec(found, {"framework": "flask"})


def test_what_is_commented_out_can_be_put_in_by_removing_the_mark(tmp_path: Path) -> None:
    written = write_spec(survey("django-settings-for-production", tmp_path))
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith(("# secrets:", "#   SECRET", "#   DB_")) else line
        for line in written.splitlines()
    ]
    secrets = loaded("\n".join(lines) + "\n", tmp_path).apps["web"].secrets
    assert {name: secret.env for name, secret in secrets.items()} == {
        "SECRET_KEY": "SECRET_KEY",
        "DB_PASSWORD": "DB_PASSWORD",
    }


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "shop"),
        ("My Shop_2", "my-shop-2"),
        ("2048", "app-2048"),
        ("Übersicht", "bersicht"),
        ("---", "app"),
        ("", "app"),
        ("a" * 60, "a" * 40),
        ("a" * 39 + ".b", "a" * 39),
    ],
)
def test_any_folder_s_name_becomes_a_stack_s_name(folder: str, name: str) -> None:
    assert stack_name(folder) == name


def test_names_of_files_can_t_write_into_the_spec(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    evil = folder / "x\nname: evil\u2028\x1b[31m"
    evil.mkdir(parents=True)
    (evil / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    (evil / "static").mkdir()
    (evil / "static" / "a.css").write_text("")
    (folder / os.fsdecode(b"\xff\xfe.py")).write_text("x = 1\n")
    written = write_spec(look(folder))
    assert "\x1b" not in written
    assert "\u2028" not in written
    assert sum(line.startswith("name:") for line in written.splitlines()) == 1
    written.encode()


def test_files_that_are_not_what_they_seem_are_passed_over(tmp_path: Path) -> None:
    folder = checkout("flask-hello", tmp_path)
    (folder / "broken.py").write_text("def broken(:\n")
    (folder / "nul.py").write_bytes(b"x = 1\0")
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (folder / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1"))
    (folder / "large.py").write_text("x = 1\n" * 400_000)
    (folder / "Procfile").write_bytes(b"web: gunicorn 'app:app\xff\nworker\n")
    (folder / "Dockerfile").write_bytes(b'\xff\xfeFROM\nCMD ["gunicorn",\nENTRYPOINT {}\n')
    (folder / "pyproject.toml").write_text("[project\n")
    (folder / "requirements.txt").write_text("-r requirements.txt\n" + "-e .\n=====\n")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.py").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "wsgi.py")
    written = write_spec(look(folder))
    assert "entrypoint: app:app" in written
    assert "broken.py can't be read by the Python that deploykit runs on" in written


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no folder"):
        look(tmp_path / "nowhere")


def test_the_first_line_makes_editors_complete(tmp_path: Path) -> None:
    first = write_spec(survey("flask-hello", tmp_path)).splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE}"


def test_a_second_look_sees_the_same(tmp_path: Path) -> None:
    folder = checkout("flask-factory", tmp_path)
    assert write_spec(look(folder)) == write_spec(look(folder))


@given(st.text(max_size=40))
@example("no")
@example("1.10")
@example("0o17")
@example("22:22")
@example("a: b")
@example("a #b")
@example("- a")
@example(" a")
@example("a ")
@example("~")
@example("=")
@example("<<")
@example("\x85")
@example("#")
@example("a:")
@example(".5")
@example("1e3")
def test_a_quoted_text_reads_as_itself(text: str) -> None:
    scalar = quoted(text)
    assert yaml.safe_load(f"key: {scalar}  # seen: x") == {"key": text}
    assert yaml.safe_load(f"[{scalar}]") == [text] or "," not in text


@given(st.text(max_size=40))
def test_a_comment_is_one_line_whatever_was_seen(text: str) -> None:
    assert yaml.safe_load(f"a: 1  # {comment_text(text)}\nb: 2\n") == {"a": 1, "b": 2}


def loaded(text: str, tmp_path: Path) -> Spec:
    """The spec in that text, checked as `check` does."""
    path = tmp_path / "deploykit.yaml"
    path.write_text(text)
    spec, origin = load_spec(path)
    meaning(spec, origin, app_servers=app_servers.REGISTRY.names(), frameworks=frameworks.REGISTRY.names())
    return spec


@pytest.mark.parametrize(
    "name",
    [
        "flask-hello",
        "flask-flaskenv",
        "flask-src-layout",
        "flask-started-in-a-folder",
        "flask-dockerfile",
        "django-below-the-top",
        "django-own-folder",
        "django-src-layout",
        "wsgi-plain",
    ],
)
def test_gunicorn_finds_the_app_that_was_written_down(name: str, tmp_path: Path) -> None:
    top = checkout(name, tmp_path)
    app = loaded((CHECKOUTS / name / "expected.yaml").read_text(), top).apps["web"]
    folder = top / app.source
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "x", **app.environment}
    words = [sys.executable, "-m", "gunicorn", "--check-config", app.entrypoint]
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["django-below-the-top", "django-own-folder", "django-src-layout"])
def test_the_release_commands_run_from_the_source(name: str, tmp_path: Path) -> None:
    top = checkout(name, tmp_path)
    app = loaded((CHECKOUTS / name / "expected.yaml").read_text(), top).apps["web"]
    for volume in app.volumes.values():
        (top / app.source / volume).mkdir(parents=True)
    for command in app.release:
        words = [sys.executable, *shlex.split(command)[1:]]
        environment = {"PATH": os.environ["PATH"], **app.environment}
        result = subprocess.run(
            words, cwd=top / app.source, env=environment, capture_output=True, text=True, timeout=30
        )
        assert result.returncode == 0, result.stderr
    (database,) = (top / app.source).rglob("*.sqlite3")
    assert any(database.is_relative_to(top / app.source / volume) for volume in app.volumes.values())
