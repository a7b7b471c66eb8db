"""Which file names what an app needs, which distributions those are, and which Python it wants."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deploykit.detection import Finding
from deploykit.detection.layout import inner
from deploykit.detection.syntax import Sources
from deploykit.init.files import lines_of

FOLDER_NAMES = ("production", "prod", "base", "common", "main", "requirements")
"""Files in a folder of requirements, the one for real use first."""
EXPORTS = (
    ("uv.lock", "uv export --no-dev --no-emit-project -o requirements.txt"),
    ("poetry.lock", "poetry export -f requirements.txt -o requirements.txt"),
    ("pdm.lock", "pdm export --prod -o requirements.txt"),
    ("Pipfile.lock", "pipenv requirements > requirements.txt"),
)
"""Lock file to the command that makes a requirements file of it."""
DEEPEST_INCLUDE = 5


@dataclass(frozen=True)
class Requirements:
    """The file to install from, where there is one, and what is to be said about it."""

    file: Finding | None = None
    candidates: tuple[str, ...] = ()
    """Where somebody has to choose: the files that could be meant."""
    missing: str = ""
    """Why there is none, and what to do."""
    notes: tuple[str, ...] = ()


def choose(sources: Sources, folder: str, installed: Iterable[str]) -> Requirements:
    """The requirements of the app in `folder`; `installed` are the files that a Dockerfile installs from."""
    known = set(sources.files)
    for name in installed:
        path = name.removeprefix("./").lstrip("/")
        found = next((own for own in (path, path.partition("/")[2], inner(folder, path)) if own and own in known), "")
        if found:
            return Requirements(Finding(found, f"pip install -r {name} in Dockerfile"))
    for top in dict.fromkeys((folder, "")):
        found_here = _in_folder(sources, known, top)
        if found_here is not None:
            return found_here
    return Requirements(missing=_nothing(sources, known, folder))


def _in_folder(sources: Sources, known: set[str], top: str) -> Requirements | None:
    names = [f"requirements-{name}.txt" for name in FOLDER_NAMES[:2]]
    for name in ("requirements.txt", *names, *(f"{name}-requirements.txt" for name in FOLDER_NAMES[:2])):
        path = inner(top, name)
        if path in known:
            return Requirements(Finding(path, path))
    listed = [path for path in sources.files if posixpath.dirname(path) == inner(top, "requirements")]
    texts = [path for path in listed if path.endswith(".txt")]
    for name in FOLDER_NAMES:
        path = inner(top, "requirements", f"{name}.txt")
        if path in texts:
            others = ", ".join(posixpath.basename(other) for other in texts if other != path)
            return Requirements(Finding(path, f"{path}; beside it {others}" if others else path))
    if texts:
        return Requirements(Finding(texts[0], texts[0])) if len(texts) == 1 else Requirements(candidates=tuple(texts))
    return _pyproject(sources, known, top)


def _pyproject(sources: Sources, known: set[str], top: str) -> Requirements | None:
    path = inner(top, "pyproject.toml")
    project = table(sources, path).get("project")
    if not isinstance(project, dict):
        return None
    dynamic = project.get("dynamic")
    if not project.get("dependencies") and not (isinstance(dynamic, list) and "dependencies" in dynamic):
        return None
    lock, command = next(((lock, command) for lock, command in EXPORTS if inner(top, lock) in known), ("", ""))
    notes = (f"{lock} pins versions that pyproject.toml does not: `{command}` makes a file that pip reads.",)
    return Requirements(Finding(path, f"[project] dependencies in {path}"), notes=notes if lock else ())


def _nothing(sources: Sources, known: set[str], folder: str) -> str:
    for top in dict.fromkeys((folder, "")):
        for lock, command in EXPORTS:
            if inner(top, lock) in known:
                where = f" in {top}/" if top else ""
                return f"{inner(top, lock)} is for its own tool; make a file that pip reads: `{command}`{where}"
        for name in ("Pipfile", "setup.py", "setup.cfg", "environment.yml", "pyproject.toml"):
            if inner(top, name) in known:
                return f"{inner(top, name)} names no requirements that pip reads as they are: write a requirements.txt"
    return "no requirements file was found: `pip freeze > requirements.txt` in the app's environment writes one"


def table(sources: Sources, path: str) -> Mapping[str, object]:
    """A TOML file of the project, empty where it is not there or can't be read."""
    text = "\n".join(line for _, line in lines_of(sources, path))
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def distributions(sources: Sources) -> dict[str, str]:
    """Name of each distribution that any file of the project requires, to where."""
    found: dict[str, str] = {}
    for path in sources.files:
        name = posixpath.basename(path)
        if name.endswith(".txt") and ("requirements" in name or posixpath.dirname(path).endswith("requirements")):
            _from_text(sources, path, found, 0)
    for path in (path for path in sources.files if posixpath.basename(path) in ("pyproject.toml", "Pipfile")):
        for name in _from_toml(table(sources, path)):
            found.setdefault(name, path)
    return found


def _from_text(sources: Sources, path: str, found: dict[str, str], depth: int) -> None:
    for number, line in lines_of(sources, path):
        include = re.match(r"\s*(?:-r|--requirement)[ =]?\s*(\S+)", line)
        if include and depth < DEEPEST_INCLUDE:
            other = posixpath.normpath(posixpath.join(posixpath.dirname(path), include[1]))
            _from_text(sources, other, found, depth + 1)
        name = distribution(line)
        if name:
            found.setdefault(name, f"{path}:{number}")


def _from_toml(data: Mapping[str, object]) -> list[str]:
    names: list[str] = []
    project, tool = data.get("project"), data.get("tool")
    if isinstance(project, dict) and isinstance(project.get("dependencies"), list):
        names += [distribution(item) for item in project["dependencies"] if isinstance(item, str)]
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    for own in (poetry.get("dependencies") if isinstance(poetry, dict) else None, data.get("packages")):
        if isinstance(own, dict):
            names += [distribution(name) for name in own]
    return [name for name in names if name]


def distribution(requirement: str) -> str:
    """The normal form of the name in a line of a requirements file, empty where it names none."""
    match = re.match(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:$|[\[<>=!~;@#,\s(])", requirement)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


@dataclass(frozen=True)
class PythonVersion:
    """The Python that the project says it runs on."""

    version: Finding | None = None
    remark: str = ""
    """What is to be said where no single version is named."""


def python_version(
    sources: Sources, folder: str, dockerfile: Finding | None, machine: tuple[int, int]
) -> PythonVersion:
    """From .python-version, runtime.txt, .tool-versions, a Dockerfile, Pipfile or requires-python, in this order."""
    for top in dict.fromkeys((folder, "")):
        for name in (".python-version", "runtime.txt", ".tool-versions"):
            path = inner(top, name)
            for number, line in lines_of(sources, path):
                match = re.fullmatch(r"(?:c?python[- ]?)?(3\.\d{1,2})(?:\.\d+)?\s*", line.strip())
                if match:
                    return PythonVersion(Finding(match[1], f"{line.strip()} in {path}:{number}"))
    if dockerfile is not None:
        return PythonVersion(dockerfile)
    for top in dict.fromkeys((folder, "")):
        wanted = table(sources, inner(top, "Pipfile")).get("requires")
        text = str(wanted.get("python_version")) if isinstance(wanted, dict) else ""
        if re.fullmatch(r"3\.\d{1,2}", text):
            return PythonVersion(Finding(text, f"python_version in {inner(top, 'Pipfile')}"))
        path = inner(top, "pyproject.toml")
        spoken = _requires_python(table(sources, path))
        if spoken:
            return _from_bounds(spoken, path, machine)
    return PythonVersion()


def _requires_python(data: Mapping[str, object]) -> str:
    project, tool = data.get("project"), data.get("tool")
    if isinstance(project, dict) and isinstance(project.get("requires-python"), str):
        return str(project["requires-python"])
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    dependencies = poetry.get("dependencies") if isinstance(poetry, dict) else None
    python = dependencies.get("python") if isinstance(dependencies, dict) else None
    return python if isinstance(python, str) else ""


def _from_bounds(text: str, path: str, machine: tuple[int, int]) -> PythonVersion:
    """The lowest version that the bounds name, where this machine's own is outside of them."""
    seen = f"requires-python {text!r} in {path}"
    exact = re.fullmatch(r"\s*(?:==|~=)\s*(3\.\d{1,2})\.[\d*]+\s*|\s*~\s*(3\.\d{1,2})(?:\.\d+)?\s*", text)
    if exact:
        return PythonVersion(Finding(exact[1] or exact[2], seen))
    lowest = re.search(r"(?:>=|\^|~=|==)\s*3\.(\d{1,2})", text)
    too_high = re.search(r"<\s*3\.(\d{1,2})", text)
    own = machine[1]
    low = int(lowest[1]) if lowest else 0
    if lowest and (own < low or (too_high and own >= int(too_high[1]))):
        return PythonVersion(Finding(f"3.{low}", seen))
    return PythonVersion(remark=f"{seen}; the target's own will do")
