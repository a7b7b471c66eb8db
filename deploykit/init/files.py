"""The files that say how a project is started: Procfile, Dockerfile, .flaskenv, uwsgi.ini, gunicorn.conf.py."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploykit.detection import Finding
from deploykit.detection.layout import inner
from deploykit.detection.syntax import Sources, assignments, text_of
from deploykit.init.commands import Start, read_command, read_words, uwsgi_entrypoint

MOST_BYTES = 1 << 20
NOTHING = Start()
_OWN_CONFIG = "{} is not used, deploykit writes its own; what the spec has room for was taken from it."


@dataclass(frozen=True)
class Dockerfile:
    """What a Dockerfile says of the app."""

    start: Start = NOTHING
    python: Finding | None = None
    environment: tuple[tuple[str, Finding], ...] = ()
    requirements: tuple[str, ...] = ()
    """Files that it installs with `pip install -r`, as it names them."""
    notes: tuple[str, ...] = ()


def lines_of(sources: Sources, path: str) -> list[tuple[int, str]]:
    """(number, text) of the lines of a file that belongs to the project, none where it is not there or not text."""
    if path not in sources.files:
        return []
    return plain_lines(sources, path)


def plain_lines(sources: Sources, path: str) -> list[tuple[int, str]]:
    """The same for a file that is left out of releases, such as .env."""
    file = sources.folder / path
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return []
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    return [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]


def variables(sources: Sources, path: str) -> tuple[tuple[str, Finding], ...]:
    """(name, value) of a file of NAME=value lines such as .flaskenv or .env."""
    found = []
    for number, line in plain_lines(sources, path):
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", line, re.ASCII)
        if match:
            found.append((match[1], Finding(match[2].strip("'\""), f"{path}:{number}")))
    return tuple(found)


def procfile(sources: Sources) -> Start:
    """What the Procfile's `web` starts, its `release` command, and that its other processes are not run."""
    start, release, notes = Start(), [], []
    for number, line in lines_of(sources, "Procfile"):
        match = re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*:\s*(.+?)\s*", line)
        if not match or line.lstrip().startswith("#"):
            continue
        name, command, where = match[1], match[2], f"Procfile:{number}"
        if name == "web":
            start = read_command(command, where)
        elif name == "release":
            release += [Finding(command, where)] if not re.search(r"[$`|<>&;]", command) else []
            if not release:
                notes.append(f"The release command in {where} needs a shell: put it into a script or take it apart.")
        else:
            notes.append(f"The Procfile's `{name}` ({where}) is not run: this version starts the web process only.")
    return replace(start, release=(*start.release, *release), notes=(*start.notes, *notes))


def dockerfile(sources: Sources) -> Dockerfile:
    """What the Dockerfile starts, on which Python, with which requirements."""
    arguments: dict[str, str] = {}
    environment: list[tuple[str, Finding]] = []
    python: Finding | None = None
    requirements: list[str] = []
    notes: list[str] = []
    commands: dict[str, tuple[str, int]] = {}
    path = _dockerfile_path(sources)
    for number, word, rest in _instructions(sources, path):
        where = f"{path}:{number}"
        if word == "FROM":
            commands = {}
            image = _expanded(rest, arguments)
            version = re.match(r"(?:--\S+\s+)*(?:\S*/)?python:(3\.\d{1,2})", image)
            python = Finding(version[1], f"FROM python:{version[1]} in {where}") if version else python
        elif word in ("ARG", "ENV"):
            for name, value in _pairs(rest):
                arguments.setdefault(name, value)
                if word == "ENV" and "$" not in value:
                    environment.append((name, Finding(value, f"ENV in {where}")))
        elif word == "RUN":
            requirements += re.findall(r"(?:\s-r|--requirement)[ =]?\s*([\w./-]+)", rest)
            if re.search(r"\bapt(-get)?\b.*\binstall\b|\bapk\b.*\badd\b", rest):
                notes.append(
                    f"The image gets system packages ({where}); this version's have Python and the requirements only."
                )
        elif word in ("CMD", "ENTRYPOINT"):
            commands[word] = (rest, number)
    start = _started(sources, path, commands)
    return Dockerfile(start, python, tuple(environment), tuple(requirements), tuple(dict.fromkeys(notes)))


def _dockerfile_path(sources: Sources) -> str:
    """The Dockerfile at the top, else the only one a folder below it."""
    below = [name for name in sources.files if name.endswith("/Dockerfile") and name.count("/") == 1]
    return below[0] if "Dockerfile" not in sources.files and len(below) == 1 else "Dockerfile"


def _instructions(sources: Sources, path: str) -> Iterator[tuple[int, str, str]]:
    """(line, INSTRUCTION, the rest) with continued lines joined."""
    joined, first = "", 0
    for number, line in lines_of(sources, path):
        if line.lstrip().startswith("#") or (not line.strip() and not joined):
            continue
        first = first or number
        joined += line.rstrip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            word, _, rest = joined.strip().partition(" ")
            yield first, word.upper(), rest.strip()
            joined, first = "", 0


def _pairs(rest: str) -> list[tuple[str, str]]:
    """The names and values of ENV or ARG, in both of their forms."""
    found = re.findall(r"([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)", rest)
    if found:
        return [(name, value.strip("'\"")) for name, value in found]
    name, _, value = rest.partition(" ")
    return [(name, value.strip())] if value else []


def _expanded(text: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda match: arguments.get(match[1], match[2] or ""), text)


def _started(sources: Sources, path: str, commands: dict[str, tuple[str, int]]) -> Start:
    """CMD and ENTRYPOINT as one command, or CMD alone where the entrypoint is a script that ends in its arguments."""
    for names in (("ENTRYPOINT", "CMD"), ("CMD",), ("ENTRYPOINT",)):
        words: list[str] = []
        number = 0
        for name in names:
            if name in commands:
                rest, number = commands[name]
                words += _command_words(rest)
        start = read_words(words, f"{path}:{number}") if words else Start()
        if start.entrypoint or start.server or start.asgi or start.notes:
            return start
        script = next((posixpath.basename(word) for word in words[:2] if word.endswith(".sh")), "")
        own = next((name for name in sources.files if posixpath.basename(name) == script), "") if script else ""
        if own:
            found = _script(sources, own)
            if found.entrypoint or found.server or found.asgi:
                return found
    return Start()


def _command_words(rest: str) -> list[str]:
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except ValueError:
            return []
        return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
    return ["sh", "-c", rest]


def _script(sources: Sources, path: str) -> Start:
    """The server that a shell script ends in, and the commands before it."""
    release: list[Finding] = []
    joined, first = "", 0
    for number, line in lines_of(sources, path):
        first = first or number
        joined += line.rstrip().removesuffix("\\") + " "
        if line.rstrip().endswith("\\"):
            continue
        text, where = joined.strip(), f"{path}:{first}"
        joined, first = "", 0
        if text and not text.startswith("#"):
            start = read_command(text, where)
            release += start.release
            if start.entrypoint or start.server or start.asgi:
                return replace(start, release=tuple(release))
    return Start(release=tuple(release))


def server_config(sources: Sources, start: Start) -> Start:
    """What uwsgi.ini or gunicorn.conf.py adds, where the start says no other file."""
    server = start.server.value if start.server else ""
    if server != "gunicorn":
        named = start.config or next((name for name in ("uwsgi.ini", "wsgi.ini") if name in sources.files), "")
        path = inner(start.folder, named)
        if path.endswith(".ini") and path in sources.files:
            return _uwsgi_ini(sources, path)
    if server != "uwsgi":
        path = inner(start.folder, start.config or "gunicorn.conf.py")
        module = sources.read(path) if path in sources.files else None
        if module is not None:
            return _gunicorn_config(sources, path)
    return Start()


def _uwsgi_ini(sources: Sources, path: str) -> Start:
    values: dict[str, tuple[str, int]] = {}
    section = ""
    for number, line in lines_of(sources, path):
        text = line.strip()
        if text.startswith("["):
            section = text.strip("[]")
        elif section == "uwsgi" and "=" in text and not text.startswith((";", "#")):
            name, _, value = text.partition("=")
            values[name.strip()] = (value.strip(), number)
    names = {"processes": "workers", "workers": "workers", "threads": "threads", "harakiri": "timeout"}
    names["max-requests"] = "max_requests"
    settings = tuple(
        (names[key], Finding(value, f"{key} in {path}:{number}"))
        for key, (value, number) in values.items()
        if key in names and re.fullmatch(r"[1-9][0-9]{0,8}", value)
    )
    module, file, called = (values.get(key, ("", 0)) for key in ("module", "wsgi-file", "callable"))
    return Start(
        entrypoint=uwsgi_entrypoint(module[0], file[0], called[0], f"{path}:{module[1] or file[1]}"),
        folder=_inside(values.get("chdir", ("", 0))[0]),
        server=Finding("uwsgi", path),
        settings=settings,
        notes=(_OWN_CONFIG.format(path),),
    )


def _inside(folder: str) -> str:
    return "" if folder.startswith("/") or "%" in folder or "$" in folder else folder.removeprefix("./").strip("/")


def _gunicorn_config(sources: Sources, path: str) -> Start:
    module = sources.read(path)
    names = {"workers": "workers", "threads": "threads", "timeout": "timeout", "max_requests": "max_requests"}
    settings = []
    entrypoint = None
    for name, value, statement in assignments(module.tree) if module else ():
        where = f"{path}:{statement.lineno}"
        is_count = isinstance(value, ast.Constant) and type(value.value) is int and value.value > 0
        if name in names and is_count and isinstance(value, ast.Constant):
            settings.append((names[name], Finding(str(value.value), f"{name} in {where}")))
        elif name == "wsgi_app" and text_of(value):
            text = text_of(value) or ""
            entrypoint = Finding(text if ":" in text else f"{text}:application", where)
    return Start(
        entrypoint=entrypoint,
        server=Finding("gunicorn", path),
        settings=tuple(settings),
        notes=(_OWN_CONFIG.format(path),),
    )
