"""A file to a Spec and back to its lines: finds it, reads it, checks it, places every problem.

Any file whatever ends in a Spec or in a SpecError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from deploykit import __version__
from deploykit.errors import Place, Problem, SpecError
from deploykit.spec import rules
from deploykit.spec.environments import KEY, LOCAL, Environments, reached, split
from deploykit.spec.model import Spec
from deploykit.spec.reading import Items, Keys, Mark, Node, Scalar, read
from deploykit.spec.shape import MOST_LOOKED_AT, below, check_shape
from deploykit.spec.values import Number, control_character
from deploykit.spec.words import SpecPath, did_you_mean, listed, path_words, shown

FILE_NAME = "deploykit.yaml"
MOST_BYTES = 1 << 20
MOST_PROBLEMS = 100
"""What is said at once; the rest is counted."""


def find_spec(start: Path) -> Path:
    """The spec in that folder or the nearest parent that has one.

    Raises:
        SpecError: there is none.
    """
    folder = start.absolute()
    for parent in (folder, *folder.parents):
        if os.path.lexists(parent / FILE_NAME):
            return parent / FILE_NAME
    other = next((folder / name for name in ("deploykit.yml", "Deploykit.yaml") if (folder / name).exists()), None)
    hint = f"rename {other.name} to it" if other else "`deploykit init` writes one, -f names one that lies elsewhere"
    raise SpecError(Problem("", f"there is no {FILE_NAME} in {start} nor in a folder above it", hint))


def load_spec(path: Path, environment: str = LOCAL) -> tuple[Spec, Source]:
    """The spec in that file as it is in that environment, each key and value checked; `meaning` checks the rest.

    Raises:
        SpecError: everything that is wrong with single keys and values, in line order; or there is no such environment.
    """
    whole, environments, wrong = _read_whole(path)
    if not wrong and environment not in environments.names:
        raise SpecError(unknown_environment(environment, environments.names))
    root, refused = environments.merged(environment)
    source = replace(whole, root=root, environment=environment, changes=environments.changes.get(environment))
    spec, problems = check_shape(root)
    if spec is None or wrong or refused:
        told = whole.locate([*wrong, *refused])
        raise _all_of(source.locate([*told, *problems]))
    return spec, source


def environments_of(path: Path) -> tuple[str, ...]:
    """The names of all environments of that file, `local` first; those that are no mapping are left out.

    Raises:
        SpecError: the file can't be read as a tree.
    """
    return _read_whole(path)[1].names


def unknown_environment(name: str, names: Sequence[str]) -> Problem:
    """What is said of an environment that the spec does not have."""
    hint = did_you_mean(name, names) or f"there is {listed(names)}; `environments:` in the spec has the others"
    return Problem("", f"there is no environment {shown(name)}", hint)


def _read_whole(path: Path) -> tuple[Source, Environments, list[Problem]]:
    """The whole file, its environments, and what is wrong with its text and with how these are written."""
    file = shown_path(path)
    text = read_text(path, file)
    root, refused = read(text, file)
    source = Source(path, text, root, file)
    _refuse_other_languages(source)
    environments, problems = split(root)
    return source, environments, [*refused, *problems]


def meaning(
    spec: Spec, source: Source, *, app_servers: Sequence[str] | None = None, frameworks: Sequence[str] | None = None
) -> None:
    """Holds what a spec says in one place against what it says in others, and its folders against the disk.

    `app_servers` and `frameworks` are the drivers that there are; without them their names aren't checked.

    Raises:
        SpecError: everything that is wrong, in line order.
    """
    public = source.environment != LOCAL
    found = chain(rules.check(spec, app_servers, frameworks, public), _folders(spec, source.path))
    problems = [source.problem(*one) for one in islice(found, MOST_LOOKED_AT)]
    if problems:
        raise _all_of(source.locate(problems))


@dataclass(frozen=True)
class Source:
    """The text of a spec, and where in it everything stands."""

    path: Path
    text: str
    root: Keys
    """The tree, merged for the environment."""
    file: str
    """The path as messages say it."""
    environment: str = LOCAL
    changes: Keys | None = None
    """What the environment changes, as it is written."""

    def place(self, spec_path: SpecPath) -> Place:
        """Where the key or the item at that path stands, else the nearest above it that is written."""
        mark, _ = self._written(spec_path)
        return Place(self.file, mark.line, mark.column)

    def problem(self, path: SpecPath, message: str, hint: str = "") -> Problem:
        """A problem at that path, told by what is written: a short form has no keys."""
        _, node, depth = reached(self.root, path)
        written = path if depth == len(path) or isinstance(node, Keys | Items) else path[:depth]
        return self._placed(Problem(path_words(written), message, hint), path)

    def locate(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems in line order, each with its place, and none twice."""
        placed = [
            problem if problem.place is not None else self._placed(problem, self._parts(problem.path))
            for problem in dict.fromkeys(problems)
        ]
        return sorted(placed, key=lambda problem: _position(problem.place))

    def _placed(self, problem: Problem, path: SpecPath) -> Problem:
        """The problem with its place, told from the top of the file where its environment wrote the value."""
        mark, changed = self._written(path)
        words = f"{path_words((KEY, self.environment))}.{problem.path}" if changed else problem.path
        return replace(problem, path=words, place=Place(self.file, mark.line, mark.column))

    def _written(self, path: SpecPath) -> tuple[Mark, bool]:
        """Where the nearest to that path stands, and whether the environment wrote it, or removed it."""
        mark, node, depth = reached(self.root, path)
        if self.changes is not None:
            change_mark, change, change_depth = reached(self.changes, path)
            # What replaces or adds is the same node in both trees, what merges is in neither.
            if change_depth > depth or (change_depth == depth and change is node):
                return change_mark, True
        return mark, False

    def _parts(self, words: str) -> SpecPath:
        """The path behind the words, as far as it is written; keys may hold dots, so the file decides."""
        found = _parts_below(self.root, words)
        removed = _parts_below(self.changes, words) if self.changes is not None else ()
        return removed if len(removed) > len(found) else found


def _parts_below(node: Node | None, words: str) -> SpecPath:
    parts: list[str | int] = []
    while words and node is not None:
        part, words = _first_part(words, node)
        if part is None:
            break
        parts.append(part)
        node = below(node, part)
    return tuple(parts)


def _first_part(words: str, node: Node) -> tuple[str | int | None, str]:
    """The first step of a path in words below a node, and the words after it."""
    if isinstance(node, Items):
        bracketed = words.startswith("[")
        number, _, rest = words.removeprefix("[").partition("]") if bracketed else words.partition(".")
        if not (number.isascii() and number.isdecimal() and len(number) < 6):
            return None, ""
        return int(number), rest.removeprefix(".") if bracketed else rest
    if isinstance(node, Keys):
        ends = (end for end in range(len(words), 0, -1) if words[end : end + 1] in (".", "[", ""))
        for end in ends:
            key = "" if words[:end] == repr("") else words[:end]
            if key in node.entries:
                return key, words[end:].removeprefix(".")
    return None, ""


def _position(place: Place | None) -> tuple[int, int]:
    return (place.line or 0, place.column or 0) if place is not None else (0, 0)


def _all_of(problems: Sequence[Problem]) -> SpecError:
    more = len(problems) - MOST_PROBLEMS
    if more <= 0:
        return SpecError(*problems)
    return SpecError(*problems[:MOST_PROBLEMS], Problem("", f"and {more} more problems like these"))


# --- reading the file -------------------------------------------------------------------------------------------


def shown_path(path: Path) -> str:
    """The path from the working folder where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):  # the working folder is gone
        return str(path)
    return min(str(path), relative, key=len)


def read_text(path: Path, file: str) -> str:
    """The text of a spec, without anything in it that an editor would not show.

    Raises:
        SpecError: it can't be read as that.
    """
    data = _read_bytes(path, file)
    if len(data) > MOST_BYTES:
        raise SpecError(Problem("", f"should be at most {MOST_BYTES >> 20} MiB", place=Place(file)))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_of_byte(file, data, error.start)
        hint = "" if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else "save it as UTF-8, not UTF-16"
        message = f"should be UTF-8; the byte 0x{data[error.start]:02x} can't stand here"
        raise SpecError(Problem("", message, hint, place)) from None
    if text.startswith("\ufeff"):
        raise SpecError(Problem("", "begins with a byte order mark", "save it as UTF-8 without one", Place(file, 1, 1)))
    plain = text.replace("\r\n", "\n")
    bad = control_character(plain.replace("\n", "").replace("\t", ""))
    if bad:
        index = plain.index(chr(int(bad[2:], 16)))
        line, column = plain.count("\n", 0, index) + 1, index - plain.rfind("\n", 0, index)
        raise SpecError(Problem("", f"should not contain the control character {bad}", place=Place(file, line, column)))
    return plain


def _read_bytes(path: Path, file: str) -> bytes:
    try:
        # Opening a pipe would wait for somebody to write into it.
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "neither a file nor a link to one"
            hint = f"name the file in it: {file.rstrip('/')}/{FILE_NAME}" if stat.S_ISDIR(kind) else ""
            raise SpecError(Problem("", f"should be a file; this is {what}", hint, Place(file)))
        with path.open("rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        hint = "`deploykit init` writes a first one"
        raise SpecError(Problem("", "there is no such file", hint, Place(file))) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise SpecError(Problem("", f"can't be read: {reason}", place=Place(file))) from None


def _place_of_byte(file: str, data: bytes, index: int) -> Place:
    before = data[:index]
    column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
    return Place(file, before.count(b"\n") + 1, column)


# --- what comes before and after the shape ----------------------------------------------------------------------


def _refuse_other_languages(source: Source) -> None:
    """Stops at once where the spec is for another deploykit: its keys may mean other things, or be unknown here."""
    requires, version = below(source.root, "requires"), below(source.root, "version")
    problems = []
    if isinstance(requires, Scalar) and isinstance(requires.value, str):
        try:
            fits = SpecifierSet(requires.text).contains(__version__, prereleases=True)
        except InvalidSpecifier:
            fits = True  # said with the shape
        if not fits:
            message = f"this is deploykit {__version__}, which is not {shown(requires.text)}"
            problems.append(source.problem(("requires",), message, "install one that is, or change the range"))
    number = version.text if isinstance(version, Scalar) and isinstance(version.value, Number) else ""
    if number.isdecimal() and int(number[:9]) > 1:
        message = f"is {shown(number)}; this deploykit reads version 1"
        problems.append(source.problem(("version",), message, "a newer deploykit may read it"))
    if problems:
        raise SpecError(*source.locate(problems))


def _folders(spec: Spec, path: Path) -> Iterable[rules.Found]:
    """Sources that aren't folders inside of the spec's own."""
    home = Path(os.path.realpath(path)).parent
    for name, app in spec.apps.items():
        at: SpecPath = ("apps", name, "source")
        real = Path(os.path.realpath(home / app.source))
        if not real.is_relative_to(home):
            yield at, f"should be inside of the spec's folder; the link {shown(app.source)} leads out of it", ""
        elif not real.exists():
            yield at, f"there is no folder {shown(app.source)}", "it is relative to the spec"
        elif not real.is_dir():
            yield at, f"should be a folder; {shown(app.source)} is none", "its files are named by other keys"
