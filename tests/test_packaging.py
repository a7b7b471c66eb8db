"""What is installed is what is here: the wheel has every module and every template, also when made from the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent


def wheel_of(source: Path, folder: Path) -> Path:
    return Path(next(WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])))


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_every_template_and_module_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    templates = {f"deploykit/_templates/{name}" for name in files_below(ROOT / "templates")}
    modules = {f"deploykit/{name}" for name in files_below(ROOT / "deploykit")}
    assert templates
    assert names == templates | modules


def test_a_wheel_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    sdist = Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = wheel_of(next(path for path in tmp_path.iterdir() if path.is_dir()), tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_an_installed_deploykit_renders_from_its_own_templates(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 -- our own wheel
    (tmp_path / "deploykit.yaml").write_text("version: 1\nname: tiny\napps: {web: {entrypoint: 'tiny:app'}}\n")
    (tmp_path / "tiny.py").write_text("app = None\n")
    command = [sys.executable, "-m", "deploykit", "render", "--assumed", "--target", "process", "-o", "out"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "site"), "LC_ALL": "C"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/nginx/nginx.conf").is_file()
    where = [sys.executable, "-c", "import deploykit.render as r; print(r.templates_dir())"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path / "site/deploykit/_templates")
