"""An app's dependencies as wheels in a folder, fetched on this side with the user's own pip: builds need no network."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploykit import disk
from deploykit.causes import pip_cause
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.machine import Interpreter, find_python
from deploykit.plan import AppPlan
from deploykit.supervision.environments import PASSED_ON, REFUSED_PIP, Requirements

MARKER = "deploykit.digest"
"""Written last into a folder of wheels; says what they were fetched for."""

REFUSED = REFUSED_PIP | {"PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS", "PIP_DEST"}
LEGACY = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}
"""Older names of some manylinux platforms, with the glibc that they need."""


@dataclass(frozen=True)
class Target:
    """The Python that the wheels are for."""

    version: str
    """In full, such as `3.11.7`."""
    machine: str
    """Such as `x86_64`."""
    libc: str
    """Such as `glibc 2.36`."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def glibc(self) -> tuple[int, int] | None:
        found = re.fullmatch(r"glibc (\d+)\.(\d+)", self.libc)
        return (int(found[1]), int(found[2])) if found else None

    def platforms(self) -> list[str]:
        """The platform tags that fit, the newest first (PEP 600, PEP 656)."""
        if self.glibc is None:
            return [f"musllinux_1_{minor}_{self.machine}" for minor in (2, 1, 0)]
        major, newest = self.glibc
        tags = [f"manylinux_{major}_{minor}_{self.machine}" for minor in range(newest, 4, -1)]
        return tags + [f"{name}_{self.machine}" for name, least in LEGACY.items() if least <= self.glibc]


def digest(app: AppPlan, folder: Path, target: Target) -> str:
    """Names what wheels are fetched for: the same as long as the requirements and the image's Python are."""
    requirements = _requirements(app, folder)
    code = ""
    if requirements.file is not None:
        from deploykit import releases, source

        top = folder / app.source
        code = source.digest(top, releases.source_files(app, folder))
    stand_in = Interpreter(f"{target.machine} {target.libc}", target.minor)
    return requirements.digest(stand_in, code)


def are_fresh(into: Path, wanted: str) -> bool:
    """Whether the folder holds the wheels for that digest."""
    try:
        return (into / MARKER).read_text().strip() == wanted
    except OSError:
        return False


def fetch(
    app: AppPlan, folder: Path, into: Path, target: Target, tell: Callable[[str], None], *, again: bool = False
) -> Path:
    """The folder with all wheels that the app needs; fetched where it does not have them, or `again`.

    Raises:
        DeployFailed: pip could not, with its last lines; names the package that has no wheel.
        EnvironmentLacks: there is no pip, or nothing that can build what has no wheel.
    """
    with disk.explained("can't read the source"):
        wanted = digest(app, folder, target)
    if not again and are_fresh(into, wanted):
        return into
    tell(f"{app.name}: fetching wheels for Python {target.minor}")
    with disk.explained(f"can't make {into}"):
        into.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        _fill(app, _requirements(app, folder), part, target, tell)
        _refuse_empty(app, part)
        disk.write(part / MARKER, wanted + "\n")
        with disk.explained(f"can't change {into}"):
            disk.remove(into)
            part.rename(into)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return into


def _requirements(app: AppPlan, folder: Path) -> Requirements:
    return Requirements((folder / app.source / app.requirements) if app.requirements else None, app.server_requirement)


def _refuse_empty(app: AppPlan, part: Path) -> None:
    if not any(part.glob("*.whl")):
        raise DeployFailed(f"the requirements of {app.name} bring not a single package")


def _fill(app: AppPlan, requirements: Requirements, part: Path, target: Target, tell: Callable[[str], None]) -> None:
    words = requirements.words()
    folder = requirements.file.parent if requirements.file else part
    pip = _pip(target)
    tags = [word for tag in target.platforms() for word in ("--platform", tag)]
    abi = f"cp{target.minor.replace('.', '')}"
    download = [*pip, "download", "--only-binary=:all:", "--implementation", "cp", "--python-version", target.minor]
    download += ["--abi", abi, "--abi", "abi3", "--abi", "none", *tags, "--dest", str(part), *_quiet(), *words]
    code, lines = _run(download, folder)
    if code == 0:
        return
    # Something has no wheel, or is a path or a repository: it has to be built, by the same Python on the same system.
    builder = _builder(target)
    if builder is None or not _may_be_built(lines):
        raise _failed(app, target, download, lines, builder)
    tell(f"{app.name}: building what has no wheel")
    build = [*builder, "wheel", "--wheel-dir", str(part), "--find-links", str(part), *_quiet(), *words]
    code, built = _run(build, folder)
    if code != 0:
        raise _failed(app, target, build, built, builder)


def _quiet() -> list[str]:
    return ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]


def _pip(target: Target) -> list[str]:
    """A pip that runs on the image's version of Python, where this machine has that: markers are read by it.

    Raises:
        EnvironmentLacks: no pip is found at all.
    """
    for command in (_pip_of(target.minor), [sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        if command and _works(command):
            return command
    raise EnvironmentLacks(
        "there is no pip to fetch wheels with", hint="python3 -m ensurepip, or apt install python3-pip"
    )


def _pip_of(minor: str) -> list[str]:
    try:
        return [find_python(minor).path, "-m", "pip"]
    except EnvironmentLacks:
        return []


def _works(command: list[str]) -> bool:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, timeout=60, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _builder(target: Target) -> list[str] | None:
    """A pip whose wheels run in the image: the same Python and machine, and no newer C library."""
    own = re.fullmatch(r"(\d+)\.(\d+)", platform.libc_ver()[1])
    if target.glibc is None or own is None or platform.machine() != target.machine:
        return None
    if (int(own[1]), int(own[2])) > target.glibc:
        return None
    command = _pip_of(target.minor)
    if not command and f"{sys.version_info[0]}.{sys.version_info[1]}" == target.minor:
        command = [sys.executable, "-m", "pip"]
    return command if command and _works(command) else None


def _may_be_built(lines: list[str]) -> bool:
    text = "\n".join(lines)
    return bool(re.search(r"No matching distribution|from versions|only-binary|Can't use|editable|source", text, re.I))


def _failed(
    app: AppPlan, target: Target, command: list[str], lines: list[str], builder: list[str] | None
) -> DeployFailed:
    found = re.search(r"No matching distribution found for (\S+)", "\n".join(lines))
    cause, hint = pip_cause(lines), ""
    if found and builder is None:
        cause = (
            f"`{found[1]}` has no wheel for Python {target.minor} on {target.machine}, or the index can't be reached"
        )
        hint = f"with Python {target.minor} on this machine, deploykit builds what has no wheel"
    return DeployFailed(
        Failure(
            f"the wheels of {app.name} could not be fetched",
            tried=(shlex.join(command[:4]) + " ...",),
            log_name="pip",
            log_lines=tuple(_without_passwords(line) for line in lines[-15:]),
            cause=_without_passwords(cause),
            hint=hint,
        )
    )


def _without_passwords(line: str) -> str:
    """pip hides most by itself; what a URL holds before its host is never shown."""
    return re.sub(r"(://)[^/@\s]+@", r"\1****@", line)


def _run(command: list[str], folder: Path) -> tuple[int, list[str]]:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(_variables()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise EnvironmentLacks(f"can't run {command[0]}: {error.strerror}") from error
    return done.returncode, done.stdout.splitlines()


def _variables() -> Mapping[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or (name.startswith("PIP_") and name not in REFUSED)
    }
    return {**kept, "PYTHONNOUSERSITE": "1"}
