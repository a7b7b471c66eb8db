"""What deploykit keeps beside a spec is never taken for a stack that is not there, whatever became of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import COMMAND, Tiny

from deploykit.converge import Damaged, Record
from deploykit.runtimes import Stack
from deploykit.supervision import records
from deploykit.supervision.home import Home

pytestmark = pytest.mark.slow

OTHERS = 65534
"""Another user than the one that runs the tests as root."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    """The tiny project, up; each test leaves it as it found it."""
    tiny = Tiny(tmp_path_factory.mktemp("state") / "tiny")
    try:
        tiny.run("up")
        yield tiny
    finally:
        subprocess.run([*COMMAND, "down", "--volumes", "--yes"], cwd=tiny.folder, capture_output=True, timeout=120)


@contextlib.contextmanager
def instead(path: Path, put: Callable[[Path], object]) -> Iterator[None]:
    """Something else is in the place of that file meanwhile."""
    # Beside the project: in it, what is kept there would be a change of its code.
    project = next(parent for parent in path.parents if parent.name == ".deploykit").parent
    with tempfile.TemporaryDirectory(dir=project.parent) as folder:
        yield from _instead(path, Path(folder) / "kept", put)


def _instead(path: Path, kept: Path, put: Callable[[Path], object]) -> Iterator[None]:
    path.rename(kept)
    try:
        put(path)
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        kept.rename(path)


def changed(record: dict[str, object], **values: object) -> bytes:
    return json.dumps({**record, **values}).encode()


RECORD: dict[str, object] = {
    "name": "shop",
    "target": "process",
    "folder": "/srv/shop",
    "spec_file": "deploykit.yaml",
    "deploykit": "0.1.0",
    "environment": "local",
    "version": 1,
}

WRONG = {
    "empty": b"",
    "zeros": b"\0" * 300,
    "no UTF-8": b"\xff\xfe\x00{",
    "no mapping": b"[1, 2]",
    "a number": b"7",
    "deep": b"[" * 100_000,
    "large": b" " * (5 << 20),
    "number as name": changed(RECORD, name=5),
    "no such target": changed(RECORD, target="mars"),
    "list as folder": changed(RECORD, folder=["/srv/shop"]),
    "relative folder": changed(RECORD, folder="../shop"),
    "another stack": changed(RECORD, name="other"),
    "another environment": changed(RECORD, environment="staging"),
    "the future": changed(RECORD, version=2, deploykit="9.0"),
    "version as text": changed(RECORD, name=None, version="2"),
}


def record_of(tmp_path: Path, content: bytes) -> Record | None:
    home = tmp_path / ".deploykit" / "shop"
    home.mkdir(parents=True, exist_ok=True)
    (home / "state.json").write_bytes(content)
    return Record.read(home)


def test_a_record_cut_at_any_byte_is_damaged_and_never_absent(tmp_path: Path) -> None:
    text = json.dumps(RECORD, indent=2).encode()
    for length in range(len(text)):
        with pytest.raises(Damaged, match=r"state\.json"):
            record_of(tmp_path, text[:length])
    assert record_of(tmp_path, text) == Record("shop", "process", "/srv/shop", "deploykit.yaml", "0.1.0")


@pytest.mark.parametrize("what", WRONG)
def test_a_record_that_is_not_ours_is_damaged_and_never_absent(tmp_path: Path, what: str) -> None:
    with pytest.raises(Damaged) as raised:
        record_of(tmp_path, WRONG[what])
    assert "deploykit down" in str(raised.value)
    assert ("newer deploykit 9.0" in str(raised.value)) == (what == "the future")


def test_a_record_of_a_version_without_versions_and_environments_is_read(tmp_path: Path) -> None:
    old = {name: value for name, value in RECORD.items() if name not in ("version", "environment")}
    found = record_of(tmp_path, json.dumps(old).encode())
    assert found is not None
    assert found.stack == Stack("shop", Path("/srv/shop"))


PLACES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff{"),
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "pipe": os.mkfifo,
    "of another stack": lambda path: path.write_bytes(changed(RECORD)),
    "gone": lambda path: None,
}


@pytest.mark.parametrize("what", ["empty", "link", "pipe", "gone"])
def test_with_a_damaged_record_what_runs_is_found_by_what_is_there(tiny: Tiny, what: str) -> None:
    alive = tiny.alive()
    with instead(tiny.home / "state.json", PLACES[what]):
        said = tiny.run("up")
        assert "nothing changed" in said, said
        assert ("state.json can't be read" in said) == (what != "gone")
        assert Record.read(tiny.home) is not None, "it is written anew"
    assert tiny.alive() == alive


def test_another_target_is_refused_also_where_the_record_is_gone(tiny: Tiny) -> None:
    with instead(tiny.home / "state.json", PLACES["gone"]):
        assert "is up on the target process" in tiny.run("up", "--target", "docker", expect=5)


def test_a_folder_in_the_place_of_the_record_is_refused_and_what_runs_goes_on(tiny: Tiny) -> None:
    alive = tiny.alive()
    with instead(tiny.home / "state.json", PLACES["folder"]):
        said = tiny.run("up", expect=5)
        assert "state.json" in said
        assert "folder" in said
        assert tiny.name in tiny.run("status", "--json")
    assert tiny.alive() == alive
    assert tiny.answer() == "first"


def test_what_a_newer_deploykit_wrote_is_refused_by_up_and_named(tiny: Tiny) -> None:
    future = {**json.loads((tiny.home / "state.json").read_text()), "version": 99, "deploykit": "9.1"}
    alive = tiny.alive()
    with instead(tiny.home / "state.json", lambda path: path.write_text(json.dumps(future))):
        assert "newer deploykit 9.1" in tiny.run("up", expect=5)
        assert "newer deploykit 9.1" in tiny.run("rollback", "abc", expect=5)
        assert json.loads((tiny.home / "state.json").read_text()) == future
    assert tiny.alive() == alive


@pytest.mark.parametrize("what", PLACES)
def test_down_works_whatever_became_of_the_record(tmp_path: Path, what: str) -> None:
    home = tmp_path / ".deploykit" / "shop"
    (home / "supervisor").mkdir(parents=True)
    (home / "volumes" / "web" / "data").mkdir(parents=True)
    (home / "state.json").write_bytes(changed(RECORD, folder=str(tmp_path)))
    (home / "state.json").unlink()
    PLACES[what](home / "state.json")
    words = [] if what == "empty" else ["--name", "shop"]
    ended = subprocess.run([*COMMAND, "down", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "shop is down" in ended.stderr
    assert {path.name for path in home.iterdir()} <= {"volumes", "lock"}
    assert Path("/etc/passwd").exists()


def test_a_damaged_record_of_one_stack_is_no_hindrance_for_another(tiny: Tiny) -> None:
    other = tiny.home.with_name("other")
    other.mkdir()
    try:
        (other / "state.json").write_bytes(b"{")
        assert tiny.name in tiny.run("status", "--json")
    finally:
        shutil.rmtree(other)


# --- the key ---------------------------------------------------------------------------------------------------------


def test_a_damaged_key_is_replaced_and_said_and_an_empty_one_is_never_used(tiny: Tiny) -> None:
    key = tiny.home / "key"
    with instead(key, lambda path: path.write_bytes(b"")):
        assert "was damaged" in tiny.run("up")
        assert len(key.read_bytes()) == 32
        assert key.stat().st_mode & 0o777 == 0o600
    tiny.run("up")
    assert "nothing changed" in tiny.run("up")


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_what_is_no_file_in_the_place_of_the_key_is_refused(tiny: Tiny, what: str) -> None:
    with instead(tiny.home / "key", PLACES[what]):
        said = tiny.run("up", expect=5)
        assert str(tiny.home / "key") in said


# --- releases and nginx ----------------------------------------------------------------------------------------------


def live(tiny: Tiny) -> Path:
    current = tiny.home / "releases" / "web" / "current"
    return current.parent / current.readlink()


def test_a_release_record_cut_at_any_byte_is_none(tiny: Tiny) -> None:
    path = live(tiny) / "release.json"
    home = Home(tiny.home, "x")
    text = path.read_bytes()
    assert records.read_release(home, "web", live(tiny).name) is not None
    with instead(path, PLACES["gone"]):
        for length in range(len(text.rstrip())):
            path.write_bytes(text[:length])
            assert records.read_release(home, "web", live(tiny).name) is None
        for content in WRONG.values():
            path.write_bytes(content)
            assert records.read_release(home, "web", live(tiny).name) is None


@pytest.mark.parametrize("what", ["empty", "garbage", "folder", "link", "pipe"])
def test_a_damaged_record_of_the_live_release_is_told_and_its_files_stay(tiny: Tiny, what: str) -> None:
    alive = tiny.alive()
    with instead(live(tiny) / "release.json", PLACES[what]):
        said = tiny.run("up", expect=5)
        assert str(live(tiny) / "release.json") in said
        assert "deploykit down" in said
        assert tiny.answer() == "first"
        assert (live(tiny) / "code" / "tiny.py").exists()
    assert tiny.alive() == alive
    assert "nothing changed" in tiny.run("up")


def test_a_changed_app_is_released_also_where_the_live_release_is_damaged(tiny: Tiny) -> None:
    (live(tiny) / "release.json").write_bytes(b"{")
    tiny.says("second")
    try:
        tiny.run("up")
        assert tiny.answer() == "second"
    finally:
        tiny.says("first")
    tiny.run("up")
    assert tiny.answer() == "first"


@pytest.mark.parametrize("what", ["empty", "pipe", "gone"])
@pytest.mark.parametrize("file", ["running.json", "current/generation.json"])
def test_a_damaged_record_of_nginx_is_rebuilt_and_nginx_goes_on(tiny: Tiny, file: str, what: str) -> None:
    alive = tiny.alive()
    path = tiny.home / "nginx" / file
    before = path.read_bytes()
    with instead(path, PLACES[what]):
        said = tiny.run("up")
        if file == "running.json":
            assert "nothing changed" in said, said
        else:
            assert json.loads(path.read_bytes()) == json.loads(before)
    gone = set(alive.items()) - set(tiny.alive().items())
    assert not gone, "no process that ran before was ended"
    assert tiny.answer() == "first"


# --- who could have put it there -------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Tiny:
    """A tiny project that was never up."""
    return Tiny(tmp_path / "tiny")


def test_a_folder_of_another_user_is_not_trusted(project: Tiny) -> None:
    project.home.mkdir(parents=True)
    (project.home / "state.json").write_bytes(changed(RECORD, name=project.name, folder=str(project.folder)))
    os.chown(project.home.parent, OTHERS, OTHERS)
    for words in (["up"], ["rollback", "abc"], ["plan"]):
        said = project.run(*words, expect=5)
        assert f"{project.home.parent} belongs to user {OTHERS}" in said
    assert (project.home / "state.json").exists()
    assert project.run("status", expect=5)


def test_a_link_of_another_user_is_not_followed(project: Tiny, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (project.folder / ".deploykit").symlink_to(tmp_path / "theirs")
    os.chown(project.folder / ".deploykit", OTHERS, OTHERS, follow_symlinks=False)
    assert "is a link of user" in project.run("up", expect=5)
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_folder_that_everybody_writes_to_is_not_trusted(project: Tiny) -> None:
    project.home.parent.mkdir()
    project.home.parent.chmod(0o777)
    assert "can be written to by everybody" in project.run("up", expect=5)
    assert list(project.home.parent.iterdir()) == []


def test_a_link_of_ones_own_is_followed(project: Tiny, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (project.folder / ".deploykit").symlink_to(tmp_path / "large")
    try:
        project.run("up")
        assert project.answer() == "first"
        assert (tmp_path / "large" / project.name / "state.json").exists()
    finally:
        project.run("down")


# --- moved and copied ------------------------------------------------------------------------------------------------


def test_a_copied_folder_is_told_apart_and_neither_is_adopted_nor_ends_the_original(tiny: Tiny, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(tiny.folder), str(copy)], check=True)
    alive = tiny.alive()
    for words in (["up"], ["rollback", "abc"]):
        said = tiny.run(*words, expect=5, folder=copy)
        assert f"was copied from the stack `{tiny.name}` in {tiny.folder}" in said
        assert "deploykit down" in said
    tiny.run("down", folder=copy)
    assert tiny.alive() == alive
    assert tiny.answer() == "first"
    said = tiny.run("up", expect=5, folder=copy)
    assert f"127.0.0.1:{tiny.port}" in said
    assert tiny.alive() == alive
    tiny.run("down", folder=copy)


def test_a_moved_folder_goes_on_with_one_up_and_down_ends_all_of_it(project: Tiny, tmp_path: Path) -> None:
    project.run("up")
    project.folder.rename(tmp_path / "moved")
    before = project.alive()
    assert before
    project.folder = tmp_path / "moved"
    try:
        project.run("up")
        assert project.answer() == "first"
    finally:
        project.run("down")
    assert project.alive() == {}
    assert not project.answer().startswith("first")
    old = Tiny.__new__(Tiny)
    old.folder, old.name = tmp_path / "tiny", project.name
    assert old.alive() == {}
