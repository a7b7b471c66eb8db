"""Virtual environments, named by what they are made from: made once, used by every release that asks the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploykit import disk
from deploykit.causes import pip_cause
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.machine import Interpreter

MARKER = "deploykit.json"
"""Written last into an environment: without it, it is half made."""

_PASSED_ON = (
    "PATH HOME USER LOGNAME LANG LC_ALL TMPDIR NETRC XDG_CONFIG_HOME XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy "
    "CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBRARY_PATH CPATH PKG_CONFIG_PATH MAKEFLAGS "
    "CARGO_HOME RUSTUP_HOME SSH_AUTH_SOCK GIT_SSH_COMMAND"
)
PASSED_ON = frozenset(_PASSED_ON.split())
"""What pip gets of the user's environment, beside its own PIP_ settings. Secrets of the spec may be in the rest."""

REFUSED_PIP = frozenset({"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_DRY_RUN"})
"""Settings that would make pip install somewhere else."""


@dataclass(frozen=True)
class Requirements:
    """What an environment holds."""

    file: Path | None
    """A requirements file or pyproject.toml."""
    server: str
    """The app server's own requirement, empty where the file brings it."""

    def digest(self, interpreter: Interpreter, code: str) -> str:
        """Names the environment; `code` (the digest of the release's code) counts where a requirement is part of it."""
        total = hashlib.sha256(f"{interpreter.version}\0{interpreter.path}\0{self.server}\0".encode())
        local = False
        for path in with_included(self.file) if self.file else ():
            content = path.read_bytes()
            total.update(path.name.encode() + b"\0" + content + b"\0")
            local = local or bool(re.search(rb"^\s*(?:-e\b|--editable\b|\.|/|file:)|@\s*file:", content, re.MULTILINE))
        if local:
            total.update(code.encode())
        return total.hexdigest()[:16]

    def words(self) -> list[str]:
        """What pip is told to install.

        Raises:
            DeployFailed: pyproject.toml has no list of dependencies that can be read without building it.
        """
        words = [self.server] if self.server else []
        if self.file is None:
            return words
        if self.file.suffix == ".toml":
            return [*_project_dependencies(self.file), *words]
        return ["--requirement", str(self.file), *words]


def with_included(path: Path, seen: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The file and all that it names by `-r` or `-c`; what is not there is pip's to complain about."""
    path = Path(os.path.normpath(path))
    if path in seen or not path.is_file():
        return
    yield path
    if path.suffix == ".toml":
        return
    pattern = r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]*([^\s#]+)"
    for name in re.findall(pattern, path.read_text(errors="replace"), re.MULTILINE):
        if "://" not in name:
            yield from with_included(path.parent / name, seen | {path})


def _project_dependencies(path: Path) -> list[str]:
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeployFailed(f"can't read {path.name}: {error}") from error
    if "dependencies" in project.get("dynamic", ()):
        raise DeployFailed(
            f"the dependencies in {path.name} are dynamic: only building the project would tell them",
            hint="list them in `project.dependencies`, or name a requirements file in `requirements`",
        )
    return [str(dependency) for dependency in project.get("dependencies", ())]


def environment_python(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def is_whole(environment: Path) -> bool:
    """Whether it was made to its end, and where it lies now: environments can't be moved."""
    try:
        marker = json.loads(disk.read_regular(environment / MARKER))
        return bool(marker.get("path") == str(environment)) and environment_python(environment).exists()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def make(environment: Path, interpreter: Interpreter, requirements: Requirements, log: Path, stack_id: str) -> None:
    """The environment holds what the requirements ask; what pip said is in the log.

    Raises:
        DeployFailed: pip could not; with its last lines.
        EnvironmentLacks: this Python can't make environments, or can't be run by this user.
    """
    disk.remove(environment)
    disk.write(log, "", 0o600)
    variables = _variables(stack_id)
    with disk.explained(f"can't make {environment}"):
        environment.parent.mkdir(parents=True, exist_ok=True)
    command = [interpreter.path, "-m", "venv", str(environment)]
    if _logged(command, environment.parent, variables, log) != 0:
        lines = _last_lines(log)
        raise EnvironmentLacks(
            Failure(
                f"Python {interpreter.version} can't make a virtual environment",
                tried=(shlex.join(command),),
                log_name=str(log),
                log_lines=lines,
                cause=pip_cause(lines),
            )
        )
    words = requirements.words()
    if words:
        pip = [str(environment_python(environment)), "-m", "pip"]
        command = [*pip, "install", "--no-input", "--disable-pip-version-check", *words]
        folder = requirements.file.parent if requirements.file else environment
        if _logged(command, folder, variables, log) != 0:
            lines = _last_lines(log)
            raise DeployFailed(
                Failure(
                    "the requirements could not be installed",
                    tried=(shlex.join(command),),
                    log_name=str(log),
                    log_lines=lines,
                    cause=pip_cause(lines),
                )
            )
    _make_scripts_findable(environment)
    marker = {"path": str(environment), "python": interpreter.version, "interpreter": interpreter.path}
    disk.write(environment / MARKER, json.dumps(marker, indent=2) + "\n")


def _variables(stack_id: str) -> Mapping[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or (name.startswith("PIP_") and name not in REFUSED_PIP)
    }
    return {**kept, "PYTHONNOUSERSITE": "1", "DEPLOYKIT_STACK": stack_id}


def _logged(command: list[str], folder: Path, variables: Mapping[str, str], log: Path) -> int:
    """The exit code; all output is in the log."""
    with log.open("ab") as output:
        output.write(f"$ {shlex.join(command)}\n".encode("utf-8", "replace"))
        output.flush()
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise EnvironmentLacks(f"can't run {command[0]}: {error.strerror}") from error
    return done.returncode


def _last_lines(log: Path, count: int = 20) -> tuple[str, ...]:
    return tuple(log.read_text(errors="replace").splitlines()[-count:])


def _make_scripts_findable(environment: Path) -> None:
    """Scripts that start whatever characters the path has: pip puts it into a shell line that knows only blanks."""
    if re.fullmatch(r"""[^"$`\\]*""", str(environment)):
        return
    # A shell reads the first two lines, Python sees a string in them. `$0` is where the script was found.
    head = b"#!/bin/sh\n'''exec' \"${0%/*}/python\" \"$0\" \"$@\"\n' '''\n"
    for script in (environment / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if content.startswith(b"#!/bin/sh\n'''exec'"):
            rest = content.split(b"\n", 3)[3]
        elif content.startswith(b"#!") and os.fsencode(environment) in content.split(b"\n", 1)[0]:
            rest = content.split(b"\n", 1)[1]
        else:
            continue
        disk.write(script, head + rest, script.stat().st_mode & 0o777)
