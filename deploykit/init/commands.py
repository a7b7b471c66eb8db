"""How a project is started already, from the command that starts it: Gunicorn, uWSGI and what stands in their place."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from deploykit.detection import Finding
from deploykit.detection.layout import inner

ENTRYPOINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.]*(\(\))?)?", re.ASCII)
ASGI_SERVERS = frozenset({"uvicorn", "daphne", "hypercorn"})
_WRAPPERS = frozenset(
    {"exec", "time", "nohup", "tini", "dumb-init", "--", "-g", "ddtrace-run", "opentelemetry-instrument"}
)
"""Words before a command that change nothing about which app is started."""
_RUNNERS = frozenset(
    {("poetry", "run"), ("pipenv", "run"), ("uv", "run"), ("pdm", "run"), ("newrelic-admin", "run-program")}
)
_GUNICORN_FLAGS = frozenset(
    {
        "--reload",
        "--preload",
        "--daemon",
        "-D",
        "--check-config",
        "--print-config",
        "--capture-output",
        "--enable-stdio-inheritance",
        "--no-sendfile",
        "--reuse-port",
        "--spew",
        "--initgroups",
        "--log-syslog",
        "--strip-header-spaces",
    }
)
"""Gunicorn's options that take no value."""
_GUNICORN_SETTINGS = {
    "-w": "workers",
    "--workers": "workers",
    "--threads": "threads",
    "-t": "timeout",
    "--timeout": "timeout",
    "--max-requests": "max_requests",
}
_UWSGI_SETTINGS = {
    "-p": "workers",
    "--processes": "workers",
    "--workers": "workers",
    "--threads": "threads",
    "--harakiri": "timeout",
    "--max-requests": "max_requests",
}


@dataclass(frozen=True)
class Start:
    """How a project is started already; what is None was not said."""

    entrypoint: Finding | None = None
    folder: str = ""
    """Where it is started, relative to the project."""
    server: Finding | None = None
    """gunicorn or uwsgi."""
    settings: tuple[tuple[str, Finding], ...] = ()
    """(workers, threads, timeout or max_requests, a whole number) in the order of the command."""
    release: tuple[Finding, ...] = ()
    """Commands that run before the server."""
    environment: tuple[tuple[str, Finding], ...] = ()
    asgi: Finding | None = None
    """The ASGI application that is started instead of a WSGI one."""
    config: str = ""
    """The server's config file."""
    notes: tuple[str, ...] = ()

    def over(self, other: Start) -> Start:
        """What this says, and the other where this says nothing; notes of both."""
        names = {name for name, _ in self.settings}
        same_server = not self.server or not other.server or self.server.value == other.server.value
        return Start(
            entrypoint=self.entrypoint or other.entrypoint,
            folder=self.folder if self.entrypoint else other.folder,
            server=self.server or other.server,
            settings=self.settings
            + (tuple(one for one in other.settings if one[0] not in names) if same_server else ()),
            release=self.release or other.release,
            environment=(*self.environment, *other.environment),
            asgi=self.asgi or other.asgi,
            config=self.config or other.config,
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


@dataclass
class _Reading:
    """What was read of a command line so far."""

    where: str
    folder: str = ""
    release: list[Finding] = field(default_factory=list)
    environment: list[tuple[str, Finding]] = field(default_factory=list)


def read_command(text: str, where: str) -> Start:
    """What a shell's command line starts; `where` is its file and line."""
    try:
        words = _words(text)
    except ValueError as error:
        return Start(notes=(f"The command in {where} can't be read ({error}).",))
    return read_words(words, where)


def read_words(words: list[str], where: str) -> Start:
    """What a command line, already in words, starts. Commands are separated by `&&`, `;` or a new line."""
    reading = _Reading(where)
    for command in _commands(words):
        start = _one(command, reading)
        if start is not None:
            return replace(
                start,
                folder=inner(reading.folder, start.folder),
                release=tuple(reading.release),
                environment=tuple(reading.environment) + start.environment,
            )
    return Start(release=tuple(reading.release), environment=tuple(reading.environment))


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _commands(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in words:
        if word and set(word) <= set(";&|\n"):
            if command:
                yield command
            command = []
        else:
            command.append(word)
    if command:
        yield command


def _one(words: list[str], reading: _Reading) -> Start | None:
    """What one command starts; None where it is no server, and then it is noted as what runs before."""
    words = _unwrapped(words, reading)
    if not words:
        return None
    program = posixpath.basename(words[0])
    arguments = [_shell_default(word) for word in words[1:]]
    if program in ("sh", "bash") and len(arguments) > 1 and arguments[0].startswith("-") and "c" in arguments[0]:
        return _nested(arguments[1], reading)
    if program == "cd" and arguments:
        reading.folder = arguments[0].strip("/").removeprefix("./") if not arguments[0].startswith("/") else ""
        return None
    if program == "gunicorn":
        return _gunicorn(arguments, reading.where)
    if program == "uwsgi":
        return _uwsgi(arguments, reading.where)
    if program == "waitress-serve":
        return _waitress(arguments, reading.where)
    if program in ASGI_SERVERS:
        app = next((word for word in arguments if ":" in word and ENTRYPOINT.fullmatch(word)), program)
        return Start(asgi=Finding(app, f"{program} {app} in {reading.where}"))
    if program == "flask" and "run" in arguments:
        return _flask_run(arguments, reading.where)
    if "runserver" in arguments:
        return Start(notes=(_development(f"{program} ... runserver", reading.where),))
    if program in ("python", "python3", "flask", "alembic") and _is_plain(words):
        reading.release.append(Finding(shlex.join(words), reading.where))
    return None


def _nested(text: str, reading: _Reading) -> Start | None:
    nested = read_command(text, reading.where)
    reading.release += nested.release
    found = nested.entrypoint or nested.server or nested.asgi or nested.notes
    return replace(nested, release=()) if found else None


def _unwrapped(words: list[str], reading: _Reading) -> list[str]:
    """The words without variables, `exec`, `poetry run` and `python -m` in front."""
    while words:
        given = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", words[0], re.DOTALL)
        if given:
            if "$" not in given[2]:
                reading.environment.append((given[1], Finding(given[2], reading.where)))
            words = words[1:]
        elif posixpath.basename(words[0]) in _WRAPPERS:
            words = words[1:]
        elif tuple(words[:2]) in _RUNNERS:
            words = words[2:]
        elif posixpath.basename(words[0]).startswith("python") and words[1:2] == ["-m"] and words[2:] != []:
            if words[2] not in ("gunicorn", "uvicorn", "flask", "waitress", "hypercorn"):
                return words
            words = words[2:]
        else:
            return words
    return words


def _shell_default(word: str) -> str:
    """The word with `${NAME:-default}` replaced by the default."""
    return re.sub(r"\$\{\w+:?-([^{}]*)\}", r"\1", word)


def _is_plain(words: list[str]) -> bool:
    return not any(character in word for word in words for character in "$`*<>(){}")


def _options(arguments: list[str], flags: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(option, value) for each option, (``, word) for each other word."""
    waiting = iter(arguments)
    for word in waiting:
        name, has_value, value = word.partition("=")
        if not word.startswith("-"):
            yield "", word
        elif word.startswith("--"):
            yield name, value if has_value or name in flags else next(waiting, "")
        elif len(word) > 2:
            yield word[:2], word[2:].lstrip("=")
        else:
            yield word, "" if word in flags else next(waiting, "")


def _settings(found: list[tuple[str, str]], names: dict[str, str], where: str) -> tuple[tuple[str, Finding], ...]:
    return tuple(
        (names[option], Finding(value, f"{option} {value} in {where}"))
        for option, value in found
        if option in names and re.fullmatch(r"[1-9][0-9]{0,8}", value)
    )


def _gunicorn(arguments: list[str], where: str) -> Start:
    found = list(_options(arguments, _GUNICORN_FLAGS))
    notes = []
    app = next((word for option, word in found if not option), "")
    config = next((value for option, value in found if option in ("-c", "--config")), "")
    worker_class = next((value for option, value in found if option in ("-k", "--worker-class")), "")
    folder = next((value for option, value in found if option == "--chdir"), "")
    asgi = Finding(app, f"worker class {worker_class} in {where}") if "uvicorn" in worker_class else None
    if worker_class and asgi is None and worker_class not in ("sync", "gthread"):
        notes.append(
            f"Gunicorn's worker class {worker_class} ({where}) is not part of this version: threads do the waiting."
        )
    entrypoint = None
    if app and asgi is None:
        if ENTRYPOINT.fullmatch(app):
            # Without a name Gunicorn takes `application`.
            entrypoint = Finding(app if ":" in app else f"{app}:application", f"gunicorn {app} in {where}")
        else:
            notes.append(f"`{app}` ({where}) can't be an entrypoint as it is: put that call into a wsgi.py.")
    variables = tuple(
        (name, Finding(value, where))
        for option, word in found
        if option in ("-e", "--env")
        for name, _, value in [word.partition("=")]
    )
    start = Start(
        entrypoint=entrypoint,
        server=None if asgi else Finding("gunicorn", f"gunicorn in {where}"),
        settings=_settings(found, _GUNICORN_SETTINGS, where),
        environment=variables,
        asgi=asgi,
        config=config.removeprefix("file:").removeprefix("./"),
        notes=tuple(notes),
    )
    return replace(start, folder=folder.removeprefix("./").strip("/")) if not folder.startswith("/") else start


def _uwsgi(arguments: list[str], where: str) -> Start:
    found = list(_options(arguments, frozenset({"--master", "-M", "--enable-threads", "--vacuum", "--lazy-apps"})))
    named = dict(found)
    config = named.get("--ini", "") or next((word for option, word in found if not option and ".ini" in word), "")
    entrypoint = uwsgi_entrypoint(
        named.get("--module") or named.get("-w") or "",
        named.get("--wsgi-file") or named.get("--file") or "",
        named.get("--callable") or "",
        f"uwsgi in {where}",
    )
    return Start(
        entrypoint=entrypoint,
        server=Finding("uwsgi", f"uwsgi in {where}"),
        settings=_settings(found, _UWSGI_SETTINGS, where),
        config=config,
    )


def uwsgi_entrypoint(module: str, file: str, name: str, seen: str) -> Finding | None:
    """The entrypoint in uWSGI's `module`, `wsgi-file` and `callable`."""
    if not module and file.endswith(".py") and not file.startswith("/"):
        module = file.removeprefix("./").removesuffix(".py").replace("/", ".")
    module, _, inside = module.partition(":")
    # Without a callable uWSGI takes `application`.
    text = f"{module}:{inside or name or 'application'}"
    return Finding(text, seen) if module and ENTRYPOINT.fullmatch(text) else None


def _waitress(arguments: list[str], where: str) -> Start:
    found = list(_options(arguments, frozenset({"--call"})))
    app = next((word for option, word in found if not option), "")
    is_factory = any(option == "--call" for option, _ in found) and not app.endswith(")")
    value = f"{app}()" if is_factory else app
    return Start(
        entrypoint=Finding(value, f"waitress-serve in {where}")
        if ENTRYPOINT.fullmatch(value) and ":" in value
        else None,
        settings=_settings(found, {"--threads": "threads"}, where),
        notes=(f"Waitress ({where}) is not among the app servers of this version: Gunicorn takes its place.",),
    )


def _flask_run(arguments: list[str], where: str) -> Start:
    named = next((value for option, value in _options(arguments, frozenset()) if option in ("--app", "-A")), "")
    environment = (("FLASK_APP", Finding(named, f"flask --app {named} in {where}")),) if named else ()
    return Start(environment=environment, notes=(_development("flask run", where),))


def _development(command: str, where: str) -> str:
    return f"`{command}` ({where}) is a server for development only: Gunicorn takes its place."
