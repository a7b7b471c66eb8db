"""Base images from Debian packages, for where no registry can be reached: `deploykit images build`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deploykit.disk import explained as disk_explained
from deploykit.engine import connection
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure

if TYPE_CHECKING:
    from docker import DockerClient

Suite = Literal["bookworm", "trixie"]

LABEL = "deploykit.base"
"""On images that were made here: the suite of Debian."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
"""Read by nobody in a container; each layer on top of an image costs by the number of its files."""
KEPT = "/usr/share/doc/*/copyright"


@dataclass(frozen=True)
class Base:
    """One image to make."""

    name: str
    packages: tuple[str, ...]
    command: str
    """The CMD of the image, as JSON."""


PYTHON_PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata", "netbase", "media-types")
"""What Docker Hub's Python image has as well: Django asks for a time zone, others for names of ports and file types."""

NGINX_PACKAGES = ("nginx", "libnginx-mod-http-upstream-fair")
"""The module is loaded only where an app has `balance: fair`."""

BASES: dict[Suite, tuple[Base, ...]] = {
    "bookworm": (
        Base("deploykit/python:3.11", PYTHON_PACKAGES, '["python3"]'),
        Base("deploykit/nginx:1.22", NGINX_PACKAGES, '["nginx", "-g", "daemon off;"]'),
    ),
    "trixie": (
        Base("deploykit/python:3.13", PYTHON_PACKAGES, '["python3"]'),
        Base("deploykit/nginx:1.26", NGINX_PACKAGES, '["nginx", "-g", "daemon off;"]'),
    ),
}

Tell = Callable[[str], None]


def build(which: Suite, tell: Tell, *, force: bool = False) -> tuple[str, ...]:
    """The names of the images that were made; those that are there already are left alone unless `force`.

    Raises:
        EnvironmentLacks: no Engine, not root, or neither mmdebstrap nor debootstrap here.
        DeployFailed: Debian's packages could not be installed; with the last lines.
    """
    client = connection.connect()
    made = []
    for base in BASES[which]:
        if not force and _is_there(client, base.name):
            tell(f"{base.name} is there")
            continue
        tell(f"{base.name}: Debian {which} with {', '.join(base.packages)}")
        with tempfile.TemporaryDirectory(prefix="deploykit-") as folder, disk_explained("can't make the image"):
            archive = Path(folder) / "root.tar"
            _bootstrap(which, base, archive, tell)
            _load(client, which, base, archive)
        made.append(base.name)
    return tuple(made)


def _is_there(client: DockerClient, name: str) -> bool:
    import docker

    with connection.explained(f"can't look for {name}"):
        try:
            client.images.get(name)
        except docker.errors.ImageNotFound:
            return False
        return True


def _bootstrap(which: Suite, base: Base, archive: Path, tell: Tell) -> None:
    """A Debian of essential packages and those of the image, as a tar."""
    tool = shutil.which("mmdebstrap") or shutil.which("debootstrap") or ""
    if os.geteuid() != 0:
        raise EnvironmentLacks(
            "base images can only be built by root", hint="sudo deploykit images build (the packages keep their owners)"
        )
    if not tool:
        raise EnvironmentLacks(
            "neither mmdebstrap nor debootstrap is here", hint="apt install mmdebstrap, then: deploykit images build"
        )
    if tool.endswith("mmdebstrap"):
        _run(_mmdebstrap(tool, which, base, archive), tell)
    else:
        _debootstrap(tool, which, base, archive, tell)


def _mmdebstrap(tool: str, which: Suite, base: Base, archive: Path) -> list[str]:
    leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    return [
        tool,
        "--variant=apt",
        f"--include={','.join(base.packages)}",
        *leave_out,
        f"--dpkgopt=path-include={KEPT}",
        which,
        str(archive),
        *sources(which),
    ]


def _debootstrap(tool: str, which: Suite, base: Base, archive: Path, tell: Tell) -> None:
    root = archive.parent / "root"
    packages = f"--include={','.join(base.packages)}"
    # It knows one mirror only, and no security updates.
    mirror = [line.split()[1] for line in sources(which) if line.split()[1].rstrip("/").endswith("/debian")][:1]
    _run([tool, "--variant=minbase", packages, which, str(root), *mirror], tell)
    for left in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/man", "usr/share/locale", "usr/share/info"):
        shutil.rmtree(root / left, ignore_errors=True)
    _run(["tar", "--numeric-owner", "--one-file-system", "-C", str(root), "-cf", str(archive), "."], tell)
    shutil.rmtree(root, ignore_errors=True)


def sources(which: Suite, apt: Path = Path("/etc/apt"), own: str | None = None) -> list[str]:
    """This machine's own sources of Debian, security updates too, as lines for that suite.

    Empty where it has none, as on another distribution: mmdebstrap then takes Debian's own.
    """
    own = _own_suite() if own is None else own
    lines = []
    for uri, suites, components in _listed(apt):
        if not re.search(r"/debian(-security)?/?$", uri):
            continue
        for suite in suites:
            name, _, part = suite.partition("-")
            if name in (own, "stable") and part in ("", "updates", "security"):
                lines.append(f"deb {uri} {which}{'-' if part else ''}{part} {' '.join(components)}")
    return list(dict.fromkeys(lines))


def _own_suite() -> str:
    try:
        found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def _listed(apt: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(address, suites, components) of apt's sources, in both of its formats (sources.list(5))."""
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            for found in re.finditer(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$", text, re.MULTILINE):
                yield found[1], [found[2]], found[3].partition("#")[0].split()
        elif path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
                if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
                    for uri in fields.get("URIs", "").split():
                        yield uri, fields.get("Suites", "").split(), fields.get("Components", "").split()


def _run(command: Sequence[str], tell: Tell) -> None:
    lines: deque[str] = deque(maxlen=20)
    # Nothing of this terminal's locale or apt's questions reaches the packages.
    environment = {"PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    proxies = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TMPDIR")
    environment |= {name: os.environ[name] for name in proxies if name in os.environ}
    with subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if line.strip():
                lines.append(line.rstrip())
                tell(line.strip())
    if process.returncode != 0:
        raise DeployFailed(
            Failure(
                "the base image could not be built",
                tried=(" ".join(command),),
                log_name=Path(command[0]).name,
                log_lines=tuple(lines),
                cause="Debian's packages can't be reached" if _unreachable(lines) else "",
            )
        )


def _unreachable(lines: deque[str]) -> bool:
    words = ("Could not resolve", "Could not connect", "Failed to fetch", "Temporary failure", "Unable to connect")
    return any(word in line for line in lines for word in words)


def _load(client: DockerClient, which: Suite, base: Base, archive: Path) -> None:
    repository, _, tag = base.name.partition(":")
    changes = [f"ENV PATH={PATH}", "ENV LANG=C.UTF-8", f"CMD {base.command}", f"LABEL {LABEL}={which}"]
    with connection.explained(f"the Engine did not take {base.name}"):
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
        # The answer is a stream that may end in an error.
        client.images.get(base.name)
