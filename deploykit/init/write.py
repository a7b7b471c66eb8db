"""A Survey and answers to the text of a deploykit.yaml, each value with what it was concluded from."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploykit.detection import Finding
from deploykit.errors import Problem, SpecError
from deploykit.init.questions import FROM_ENVIRONMENT, chosen_app
from deploykit.init.survey import App, Survey

SCHEMA_FILE = "deploykit.schema.json"
"""What the first line names, beside the spec: the JSON Schema that editors complete from."""
WIDTH = 100
_WORD = r"[A-Za-z0-9_./+()=-]"
_PLAIN = re.compile(rf"\.?[A-Za-z/_]{_WORD}*(:{_WORD}+)*( {_WORD}+(:{_WORD}+)*)*", re.ASCII)
_NOT_TEXT = re.compile(r"~|null|true|false|yes|no|on|off|y|n|\.?inf|\.nan", re.IGNORECASE)


def quoted(text: str) -> str:
    """The text as a YAML scalar that reads as that text."""
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    return "".join(map(_escaped, json.dumps(_encodable(text), ensure_ascii=False)))


def _escaped(character: str) -> str:
    """A character as YAML's double quotes can hold it."""
    return character if character.isprintable() else f"\\U{ord(character):08X}"


def comment_text(text: str) -> str:
    """The text as it can stand in a comment: one line, nothing that a terminal or YAML reads as more."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(_encodable(text).split()))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@dataclass
class _Text:
    """The lines of the spec as they come to be."""

    lines: list[str] = field(default_factory=list)

    def line(self, indent: int, text: str, seen: str = "", word: str = "seen") -> None:
        """A line with what it was concluded from: behind it where that fits, else above."""
        text = " " * indent + text
        remark = f"# {word}: {comment_text(seen)}" if seen else ""
        if remark and len(text) + 2 + len(remark) <= WIDTH:
            self.lines.append(f"{text}  {remark}")
            return
        if remark:
            self.comment(indent, remark[2:])
        self.lines.append(text)

    def value(self, indent: int, key: str, finding: Finding) -> None:
        self.line(indent, f"{quoted(key)}: {quoted(finding.value)}", finding.seen)

    def comment(self, indent: int, text: str, hanging: str = "") -> None:
        start = " " * indent + "# "
        wrapper = textwrap.TextWrapper(
            WIDTH,
            initial_indent=start,
            subsequent_indent=start + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.lines += wrapper.wrap(comment_text(text))

    def open(self, indent: int, text: str, remark: str = "") -> None:
        """A commented line to fill in."""
        self.lines.append(" " * indent + f"# {text}" + (f"  # {comment_text(remark)}" if remark else ""))


@dataclass(frozen=True)
class _Place:
    """Which folder is the app's source, and what follows from that."""

    source: str
    """Relative to the spec, empty for its own folder."""
    python_path: str
    """The folder below the source that its modules are imported from, empty for the source itself."""

    def inside(self, path: str) -> str:
        """A path of the project relative to the source."""
        return path.removeprefix(f"{self.source}/") if self.source else path


def write_spec(survey: Survey, answers: Mapping[str, str] | None = None) -> str:
    """The text of a deploykit.yaml; what is not known is a commented line with what to fill in.

    Raises:
        SpecError: the project is of a kind that this version does not run.
    """
    if survey.unsupported:
        raise SpecError(Problem("", survey.unsupported))
    answers = answers or {}
    app = chosen_app(survey, answers)
    text = _Text()
    text.lines.append(f"# yaml-language-server: $schema={SCHEMA_FILE}")
    text.comment(0, "Written by `deploykit init`, yours from here on. `seen` is what a value was concluded from.")
    todo = _todo(app, answers)
    if todo:
        text.lines.append("#")
        text.comment(0, "To look at:")
        for note in todo:
            text.comment(0, f"- {note}", "  ")
    text.lines += ["version: 1", f"name: {survey.name}", "", "apps:", "  web:"]
    if app is None:
        _entrypoint(text, (), answers)
        text.line(4, "framework: wsgi", "no Flask and no Django app")
        return "\n".join(text.lines) + "\n"
    place = _place(app, answers)
    _what(text, survey, app, place, answers)
    _server(text, survey)
    _behaviour(text, survey, app)
    _environment(text, app, place, answers)
    _release(text, survey, app, place)
    volumes = _volumes(text, app, place)
    _sites(text, survey, app, place, volumes)
    return "\n".join(text.lines) + "\n"


def _todo(app: App | None, answers: Mapping[str, str]) -> list[str]:
    if app is None:
        return ["No Flask, Django or other WSGI application was found in this folder."]
    found = []
    if len(app.entrypoints) != 1 and not answers.get("entrypoint"):
        found.append("`entrypoint` is missing: see below.")
    if app.requirements.missing:
        found.append(f"Requirements: {app.requirements.missing}.")
    if _open_needs(app, answers):
        found.append("`secrets` below: the app needs variables whose values only you know.")
    return [*found, *app.notes]


def _open_needs(app: App, answers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [one for one in app.needs if answers.get(f"variable.{one[0]}") != FROM_ENVIRONMENT]


def _place(app: App, answers: Mapping[str, str]) -> _Place:
    """The app's folder is the source where everything that the spec names lies in it; else the project is."""
    folder, detected = app.folder, app.detected
    required = app.requirements.file.value if app.requirements.file else answers.get("requirements", "")
    named = [finding.value for _, finding in (*detected.static, *detected.media, *detected.data)]
    named += [path for path in (required, detected.program) if path]
    if folder and all(path.startswith(f"{folder}/") for path in named):
        return _Place(folder, "")
    return _Place("", folder)


def _what(text: _Text, survey: Survey, app: App, place: _Place, answers: Mapping[str, str]) -> None:
    if place.source:
        text.value(4, "source", Finding(place.source, f"the app is in {place.source}/"))
    same = any(one.seen == app.detected.seen for one in app.entrypoints)
    text.value(4, "framework", Finding(app.detected.framework, "" if same else app.detected.seen))
    _entrypoint(text, app.entrypoints, answers)
    python = app.python
    if python.version is not None:
        text.line(4, f'python: "{python.version.value}"', python.version.seen)
    elif python.remark:
        text.line(4, '# python: "3.X"', python.remark)
    chosen = answers.get("requirements", "")
    if app.requirements.file is not None:
        found = app.requirements.file
        seen = "" if found.seen == found.value else found.seen
        text.value(4, "requirements", Finding(place.inside(found.value), seen))
    elif chosen:
        text.value(4, "requirements", Finding(place.inside(chosen), "your answer"))
    elif app.requirements.candidates:
        for name in app.requirements.candidates:
            text.open(4, f"requirements: {quoted(place.inside(name))}", "remove the first # of one of these")
    else:
        text.open(4, "requirements: requirements.txt", "there is none yet")


def _entrypoint(text: _Text, found: tuple[Finding, ...], answers: Mapping[str, str]) -> None:
    answer = answers.get("entrypoint", "")
    if answer:
        seen = next((one.seen for one in found if one.value == answer), "your answer")
        text.value(4, "entrypoint", Finding(answer, seen))
    elif len(found) == 1:
        text.value(4, "entrypoint", found[0])
    elif found:
        text.comment(4, "Which of these is the application? Remove the # in front of it.")
        for one in found:
            text.line(4, f"# entrypoint: {quoted(one.value)}", one.seen)
    else:
        text.open(4, "entrypoint: package.module:callable", "fill in: the module and the WSGI callable in it")


def _server(text: _Text, survey: Survey) -> None:
    """What runs the app: as it is started already, else as the requirements say."""
    start, required = survey.start, dict(survey.distributions)
    server = start.server
    if server is None:
        brought = next((name for name in ("gunicorn", "uwsgi", "pyuwsgi") if name in required), "")
        if brought:
            name = "gunicorn" if brought == "gunicorn" else "uwsgi"
            server = Finding(name, f"{brought} in {required[brought]}")
    settings = [(name, finding) for name, finding in start.settings if name != "timeout"]
    if not settings:
        if server is not None:
            text.value(4, "app_server", server)
        return
    text.lines.append("    app_server:")
    text.value(6, "type", server or Finding("gunicorn", ""))
    for name, finding in settings:
        # The model's own bounds; more was never meant.
        if int(finding.value) <= 512 or name == "max_requests":
            text.line(6, f"{name}: {int(finding.value)}", finding.seen)
    if not any(name == "workers" for name, _ in settings):
        text.open(6, "workers: 2", "without this line: from CPUs and memory")


def _behaviour(text: _Text, survey: Survey, app: App) -> None:
    timeout = dict(survey.start.settings).get("timeout")
    if timeout is not None and int(timeout.value) <= 86400:
        text.line(4, f"timeout: {int(timeout.value)}s", timeout.seen)
    health = app.detected.health_path
    if health is not None:
        text.value(4, "healthcheck", health)
    else:
        text.open(4, "healthcheck: /healthz", "no such path was found; without one, / has to answer below 500")


def _environment(text: _Text, app: App, place: _Place, answers: Mapping[str, str]) -> None:
    environment = list(app.environment)
    if place.python_path:
        environment.insert(
            0, ("PYTHONPATH", Finding(place.python_path, f"the app is imported from {place.python_path}/"))
        )
    if environment:
        text.lines.append("    environment:")
        for name, finding in environment:
            text.value(6, name, finding)
    if app.env_file is not None:
        text.value(4, "env_file", app.env_file)
    still_open = _open_needs(app, answers)
    given = [one for one in app.needs if one not in still_open]
    if given:
        text.lines.append("    secrets:")
        for name, where in given:
            text.line(6, f"{quoted(name)}: {{env: {quoted(name)}}}", where, "read in")
    if still_open:
        if not given:
            text.open(
                4, "secrets:", "{file: ...} and {command: ...} do as well; fill in, and remove the # here and below"
            )
        for name, where in still_open:
            text.line(6 if given else 4, f"# {'' if given else '  '}{name}: {{env: {name}}}", where, "read in")


def _release(text: _Text, survey: Survey, app: App, place: _Place) -> None:
    commands = [
        Finding(finding.value.replace("{program}", place.inside(app.detected.program)), finding.seen)
        for finding in app.detected.release
    ]
    kinds = {_kind(finding.value) for finding in commands}
    commands += [finding for finding in survey.start.release if _kind(finding.value) not in kinds]
    if commands:
        text.lines.append("    release:")
        for finding in commands:
            text.line(6, f"- {quoted(finding.value)}", finding.seen)


def _kind(command: str) -> str:
    """What a command does, so that the same is not done twice: `manage.py migrate` whatever its options."""
    found = re.search(r"(?:manage\.py|-m django)\s+(\w+)|flask\b.*\bdb upgrade", command)
    return (found[1] or "db upgrade") if found else command


def _volumes(text: _Text, app: App, place: _Place) -> list[str]:
    """Writes `volumes`; gives the folders. A folder inside another volume needs none of its own."""
    wanted = [("uploads" if app.detected.framework == "flask" else "media", one) for _, one in app.detected.media]
    wanted += app.detected.data
    chosen: dict[str, Finding] = {}
    for name, finding in sorted(wanted, key=lambda one: one[1].value.count("/")):
        covered = any(f"{finding.value}/".startswith(f"{other.value}/") for other in chosen.values())
        if not covered:
            chosen[_volume_name(name, chosen)] = finding
    if chosen:
        text.lines.append("    volumes:")
        for name, finding in chosen.items():
            text.value(6, name, Finding(place.inside(finding.value) + "/", finding.seen))
    return [finding.value for finding in chosen.values()]


def _volume_name(name: str, taken: Iterable[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-")
    plain = plain if plain[:1].isalpha() else f"data-{plain}".strip("-")
    number = 1
    wanted = plain
    while wanted in taken:
        number += 1
        wanted = f"{plain}-{number}"
    return wanted


def _sites(text: _Text, survey: Survey, app: App, place: _Place, volumes: list[str]) -> None:
    detected = app.detected
    text.lines += ["", "sites:", f"  {survey.name}:"]
    if detected.server_names:
        names = ", ".join(quoted(finding.value) for finding in detected.server_names)
        text.line(4, f"server_name: [{names}]", detected.server_names[0].seen)
    else:
        text.open(4, "server_name: shop.example.com", "the public name; http://localhost:8080 works without")
    text.lines += ["    locations:", "      /: web"]
    for url, finding in detected.static:
        text.lines.append(f"      {quoted(url)}:")
        text.value(8, "files", Finding(finding.value + "/", finding.seen))
        if detected.static_cache == "hashed":
            text.line(8, "cache_control: hashed", "the names of the files carry a hash")
    for url, finding in detected.media:
        if url:
            text.lines.append(f"      {quoted(url)}:")
            text.value(8, "files", Finding(finding.value + "/", finding.seen))
