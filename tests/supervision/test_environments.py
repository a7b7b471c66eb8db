"""Virtual environments are named by what they are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit.errors import DeployFailed
from deploykit.machine import Interpreter
from deploykit.supervision.environments import Requirements, is_whole

PYTHON = Interpreter("/usr/bin/python3.11", "3.11.2")


def digest(path: Path, code: str = "code") -> str:
    return Requirements(path, "gunicorn>=23").digest(PYTHON, code)


def test_a_change_of_an_included_file_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("flask\n")
    (tmp_path / "prod.txt").write_text("-r base.txt  # and more\n--constraint=limits.txt\n")
    before = digest(tmp_path / "prod.txt")
    assert digest(tmp_path / "prod.txt", "other code") == before
    (tmp_path / "base.txt").write_text("flask\ndjango\n")
    after = digest(tmp_path / "prod.txt")
    assert after != before
    (tmp_path / "limits.txt").write_text("flask<4\n")
    assert digest(tmp_path / "prod.txt") != after


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    assert digest(tmp_path / "a.txt") == digest(tmp_path / "a.txt")


@pytest.mark.parametrize("line", ["-e .", "./lib", ".", "shop @ file:///srv/shop"])
def test_the_code_counts_where_a_requirement_is_part_of_it(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"flask\n{line}\n")
    path = tmp_path / "requirements.txt"
    assert digest(path, "one") != digest(path, "another")


def test_the_interpreter_and_the_server_count(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("flask\n")
    names = {
        Requirements(path, "gunicorn>=23").digest(PYTHON, ""),
        Requirements(path, "pyuwsgi>=2").digest(PYTHON, ""),
        Requirements(path, "gunicorn>=23").digest(Interpreter("/usr/bin/python3.11", "3.11.3"), ""),
        Requirements(None, "gunicorn>=23").digest(PYTHON, ""),
    }
    assert len(names) == 4


def test_the_dependencies_of_a_project_file_are_installed_without_the_project(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\nname = "shop"\ndependencies = ["flask>=3", "redis"]\n')
    assert Requirements(path, "gunicorn>=23").words() == ["flask>=3", "redis", "gunicorn>=23"]
    path.write_text('[project]\nname = "shop"\ndynamic = ["dependencies"]\n')
    with pytest.raises(DeployFailed, match="dynamic"):
        Requirements(path, "").words()
    path.write_text("[project\n")
    with pytest.raises(DeployFailed, match=r"can't read pyproject\.toml"):
        Requirements(path, "").words()


def test_an_environment_without_its_last_file_is_not_whole(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "nothing")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("")
    assert not is_whole(tmp_path)
    (tmp_path / "deploykit.json").write_text(f'{{"path": "{tmp_path}"}}')
    assert is_whole(tmp_path)
    (tmp_path / "deploykit.json").write_text('{"path": "/elsewhere"}')
    assert not is_whole(tmp_path), "environments can't be moved"
