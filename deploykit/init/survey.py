"""From a folder to a Survey: everything that a spec could say of the project, each value with where it was seen."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploykit import disk, frameworks, source
from deploykit.detection import Detected, Finding, Project
from deploykit.detection.asgi import asgi_app
from deploykit.detection.layout import inner, module_file
from deploykit.detection.syntax import Sources
from deploykit.errors import Problem, SpecError
from deploykit.init.commands import ENTRYPOINT, Start
from deploykit.init.files import Dockerfile, dockerfile, procfile, server_config, variables
from deploykit.init.requirements import PythonVersion, Requirements, choose, distributions, python_version

LIMIT_SECONDS = 10.0
"""How long a project's own settings may take to answer."""
_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY|CREDENTIAL|DSN|URL$|URI$", re.IGNORECASE)
"""A variable of such a name is never copied into a spec with its value."""


_VARIABLE = re.compile(r"[A-Za-z_]\w{0,254}", re.ASCII)


@dataclass(frozen=True)
class App:
    """One way to read the project as an app of some framework."""

    detected: Detected
    entrypoints: tuple[Finding, ...]
    """One where it is clear, several where somebody has to choose, none where nothing was found."""
    folder: str
    """Where its modules are imported from, relative to the project."""
    requirements: Requirements
    python: PythonVersion
    env_file: Finding | None
    environment: tuple[tuple[str, Finding], ...]
    needs: tuple[tuple[str, str], ...]
    """(variable, where it is read) for variables whose value only a person knows."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What was found in a project."""

    name: str
    """The folder's name, made a name that a stack can have."""
    apps: tuple[App, ...]
    """The likeliest first; empty where no WSGI application was found."""
    start: Start
    distributions: tuple[tuple[str, str], ...]
    """(name, where) of what the project requires."""
    unsupported: str = ""
    """Why no spec can be written: the project is of a kind that this version does not run."""


def look(
    folder: Path,
    python: str | None = None,
    *,
    limit_seconds: float = LIMIT_SECONDS,
    machine_python: tuple[int, int] = sys.version_info[:2],
) -> Survey:
    """What is in that project. Runs its own code only to ask a Django project's settings, at most `limit_seconds`.

    `python` is the interpreter to ask; without one it is the project's virtual environment, where there is one.

    Raises:
        SpecError: there is no such folder.
        EnvironmentLacks: it can't be read.
    """
    if not folder.is_dir():
        raise SpecError(Problem("", f"there is no folder `{folder}`", "name the folder that the project is in"))
    folder = folder.resolve()
    with disk.explained(f"can't look at {folder}"):
        files = _files(folder)
    sources = Sources(folder, files)
    docker = dockerfile(sources)
    start = procfile(sources).over(docker.start)
    start = start.over(server_config(sources, start))
    required = distributions(sources)
    in_env_file = [one for one in variables(sources, ".env") if one[0] in ("DJANGO_SETTINGS_MODULE", "FLASK_APP")]
    own_environment = dict((*docker.environment, *start.environment, *in_env_file, *variables(sources, ".flaskenv")))
    asked = os.path.abspath(python) if python and "/" in python else python or _own_python(folder)  # noqa: PTH100
    project = Project(sources, own_environment, asked, limit_seconds)
    found = tuple(
        detected
        for name in frameworks.REGISTRY.names()
        if (detected := frameworks.REGISTRY.get(name).detect(project)) is not None
    )
    # Plain WSGI is what is left: a framework's own callable is one, too.
    found = tuple(one for one in found if one.framework != "wsgi") or found or _from_start(start, sources)
    apps = tuple(_app(project, one, start, docker, machine_python) for one in found)
    return Survey(
        name=stack_name(folder.name),
        apps=apps,
        start=start,
        distributions=tuple(required.items()),
        unsupported="" if apps else _unsupported(sources, start),
    )


def _files(folder: Path) -> tuple[str, ...]:
    """The project's files, without virtual environments under whatever name."""
    files = source.listing(folder)
    environments = tuple(name.removesuffix("pyvenv.cfg") for name in files if name.endswith("/pyvenv.cfg"))
    return tuple(name for name in files if not name.startswith(environments)) if environments else files


def _own_python(folder: Path) -> str:
    """The interpreter of the project's virtual environment, empty where there is none."""
    active = os.environ.get("VIRTUAL_ENV", "")
    for own in (folder / ".venv", folder / "venv", folder / "env", *((Path(active),) if active else ())):
        python = own / "bin" / "python"
        if os.access(python, os.X_OK):
            return str(python)
    return ""


def stack_name(text: str) -> str:
    """A folder's name as a name of the spec: small letters, digits and `-`, at most 40."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain and not plain[0].isalpha():
        plain = f"app-{plain}"
    return plain[:40].rstrip("-") or "app"


def _from_start(start: Start, sources: Sources) -> tuple[Detected, ...]:
    """An app of which only the command that starts it is known."""
    if start.entrypoint is None or not _home(start.entrypoint, start.folder, "", sources):
        return ()
    return (Detected("wsgi", seen=start.entrypoint.seen),)


def _home(entrypoint: Finding, started_in: str, folder: str, sources: Sources) -> str | None:
    """The folder that an entrypoint's module is imported from, as `.` for the top; None where it is nowhere."""
    module = entrypoint.value.partition(":")[0]
    for own in dict.fromkeys((started_in, folder, "", "src")):
        if module_file(sources.files, module, own):
            return own or "."
    return None


def _app(project: Project, detected: Detected, start: Start, docker: Dockerfile, machine: tuple[int, int]) -> App:
    sources = project.sources
    entrypoints, folder, notes = _entrypoints(detected, start, sources)
    requirements = choose(sources, folder, docker.requirements)
    python = python_version(sources, folder, docker.python, machine)
    env_path = next((path for path in dict.fromkeys((inner(folder, ".env"), ".env")) if _is_file(sources, path)), "")
    in_env_file = {name for name, _ in variables(sources, env_path)} if env_path else set()
    environment = {name: finding for name, finding in detected.environment if not _SECRET.search(name)}
    needs = []
    hidden = [(name, finding.seen) for name, finding in detected.environment if name not in environment]
    for name, where in (*hidden, *(one for one in detected.needs if _VARIABLE.fullmatch(one[0]))):
        given = project.environment.get(name)
        if given is not None and not _SECRET.search(name):
            environment.setdefault(name, given)
        elif name not in in_env_file and name not in environment:
            needs.append((name, where))
    if python.version is not None and int(python.version.value.partition(".")[2]) > machine[1]:
        own = ".".join(map(str, machine))
        notes.append(
            f"Python {python.version.value} ({python.version.seen}) is newer than this machine's {own}: the process "
            "target needs it installed, the docker target an image that has it."
        )
    unreadable = [
        f"{path} can't be read by the Python that deploykit runs on ({why})." for path, why in _unreadable(sources)
    ]
    return App(
        detected=detected,
        entrypoints=entrypoints,
        folder=folder,
        requirements=requirements,
        python=python,
        env_file=Finding(env_path, "") if env_path else None,
        environment=tuple(environment.items()),
        needs=tuple(needs),
        notes=tuple(
            dict.fromkeys((*notes, *detected.notes, *requirements.notes, *start.notes, *docker.notes, *unreadable))
        ),
    )


def _is_file(sources: Sources, path: str) -> bool:
    return (sources.folder / path).is_file()


def _unreadable(sources: Sources) -> Iterable[tuple[str, str]]:
    """The files that this interpreter can't read, at most a handful."""
    return list(sources.unreadable.items())[:5]


def _entrypoints(detected: Detected, start: Start, sources: Sources) -> tuple[tuple[Finding, ...], str, list[str]]:
    """(entrypoints, the folder that they are imported from, what to say): what starts the app already goes first."""
    notes: list[str] = []
    if start.entrypoint is not None:
        home = _home(start.entrypoint, start.folder, detected.folder, sources)
        if home is not None:
            return (start.entrypoint,), home.removeprefix("."), notes
        notes.append(f"`{start.entrypoint.value}` ({start.entrypoint.seen}) is no module of this folder.")
    if start.asgi is not None:
        notes.append(
            f"The project is started as ASGI ({start.asgi.seen}); here it runs as WSGI, without websockets and "
            "asynchronous pages."
        )
    usable = tuple(one for one in detected.entrypoints if ENTRYPOINT.fullmatch(one.value))
    notes += [
        f"`{one.value}` ({one.seen}) can't be an entrypoint, because its file has no Python name: rename the file."
        for one in detected.entrypoints
        if one not in usable
    ]
    return usable, detected.folder, notes


def _unsupported(sources: Sources, start: Start) -> str:
    """Why this version can't run the project, empty where nothing was found at all."""
    found = asgi_app(sources)
    if found is None and start.asgi is not None:
        found = start.asgi
    if found is None:
        return ""
    return (
        f"{found.seen} is an ASGI application; this version of deploykit runs WSGI applications "
        "(Django, Flask and others)"
    )
