"""Secret values: read from where the spec says, kept out of everything that is printed.

The only module that holds values. They leave it into one file of mode 0600 per release and into nothing else.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import json
import os
import stat
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deploykit.errors import Problem, SpecError
from deploykit.plan import AppPlan, SecretRef

LONGEST_VARIABLE = 131072
"""MAX_ARG_STRLEN of Linux, in bytes: name, `=`, value and the NUL at its end."""

LEAST_REDACTED = 4
"""Shorter values are left alone: hiding each `1` or `yes` would make every output unreadable."""


def encode(values: Mapping[str, str]) -> bytes:
    """The launcher's file: `NAME=value` ended by NUL each, so that a value may hold any byte but NUL."""
    return b"".join(
        name.encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\0"
        for name, value in sorted(values.items())
    )


def fingerprint(values: Mapping[str, str], key: bytes) -> str:
    """Changes when a value changes, and tells nothing of it to who lacks the key; hex."""
    return hmac.new(key, encode(values), hashlib.sha256).hexdigest()


def fingerprints(values: Mapping[str, str], key: bytes) -> dict[str, str]:
    """Variable to what changes when its value does; tells nothing of a value, however short, without the key."""
    return {name: fingerprint({name: value}, key)[:32] for name, value in sorted(values.items())}


Print = Callable[[AppPlan, SecretRef], bytes]
"""What the command of a secret prints."""


def read(
    app: AppPlan, folder: Path, environ: Mapping[str, str] | None = None, printed: Print | None = None
) -> dict[str, str]:
    """Variable to value of all secrets of an app; `secrets` win over `env_file`.

    Where nothing is `printed`, those that a command prints are left out.

    Raises:
        SpecError: every secret that is not there, at once, before the first command is run.
    """
    values, problems = _read_plain(app, folder, os.environ if environ is None else environ)
    if problems:
        raise SpecError(*problems)
    for ref in app.secrets:
        if ref.kind == "command" and printed is not None:
            values[ref.name] = _without_newline(printed(app, ref))
    problems = [problem for name, value in values.items() for problem in _unusable(app, name, value)]
    if problems:
        raise SpecError(*problems)
    return values


def at_hand(app: AppPlan, folder: Path) -> dict[str, str]:
    """The secrets of an app that can be read now without running a command: enough to hide them."""
    return _read_plain(app, folder, os.environ)[0]


def _read_plain(app: AppPlan, folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    """What is in the environment and in files, and what is wrong with what is not."""
    problems: list[Problem] = []
    values: dict[str, str] = {}
    if app.env_file:
        try:
            raw = _read_file(origin_path(folder, app.env_file))
            values.update(read_env_file(raw.decode("utf-8", "surrogateescape"), app.env_file))
        except OSError as error:
            problems.append(Problem(f"apps.{app.name}.env_file", f"can't read `{app.env_file}`: {error.strerror}"))
        except SpecError as error:
            problems += error.problems
    for ref in app.secrets:
        at = f"apps.{app.name}.secrets.{ref.name}"
        if ref.kind == "env":
            value = environ.get(ref.origin)
            if value is None:
                problems.append(
                    Problem(
                        f"{at}.env",
                        f"`{ref.origin}` is not set in the environment of deploykit",
                        f"export {ref.origin}=... before, or use `file:`",
                    )
                )
                continue
        elif ref.kind == "command":
            continue
        else:
            try:
                raw = _read_file(origin_path(folder, ref.origin))
            except OSError as error:
                problems.append(Problem(f"{at}.file", f"can't read `{ref.origin}`: {error.strerror}"))
                continue
            value = _without_newline(raw)
        values[ref.name] = value
    return values, problems


def _without_newline(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")


def _unusable(app: AppPlan, name: str, value: str) -> Iterable[Problem]:
    """Why no process can be started with that value."""
    at = f"secrets.{name}" if any(ref.name == name for ref in app.secrets) else "env_file"
    size = len(name) + 2 + len(value.encode("utf-8", "surrogateescape"))
    if "\0" in value:
        yield Problem(f"apps.{app.name}.{at}", "holds a NUL byte, which no environment variable can")
    elif size > LONGEST_VARIABLE:
        text = f"`{name}` takes {size} bytes, and the kernel lets a variable take {LONGEST_VARIABLE}"
        yield Problem(f"apps.{app.name}.{at}", text)


def origin_path(folder: Path, origin: str) -> Path:
    """Where the spec says that a secret lies: relative to its folder, or in a home with `~`."""
    try:
        return folder / Path(origin).expanduser()
    except RuntimeError:
        # No such user, or no home: then it is a name like any other, and nothing is there.
        return folder / origin


def _read_file(path: Path) -> bytes:
    """The content of a regular file; anything else could have no end, or never begin."""
    # Without O_NONBLOCK, to open a pipe would wait until somebody writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind) and os.path.realpath(path) != os.devnull:
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.read()


def read_env_file(text: str, name: str) -> dict[str, str]:
    """NAME=value lines; `#` lines, blank lines and a leading `export` are passed over.

    A value in single quotes is taken as it is; in double quotes `\\n`, `\\"` and `\\\\` are read. Both may span lines,
    and a note may follow them. Without quotes the value is the rest of the line, `#` and all.
    Nothing is expanded.

    Raises:
        SpecError: every line that is none of these, with its number and never its content.
    """
    import re

    from deploykit.errors import Place

    values: dict[str, str] = {}
    problems: list[Problem] = []
    position, line = 0, 1
    pattern = re.compile(
        r"""[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"""
        r"""(?:(?:'([^']*)'|"((?:[^"\\]|\\.)*)")(?:[ \t]+\#[^\r\n]*)?|([^\r\n]*?))[ \t]*(?:\r?\n|\Z)""",
        re.DOTALL,
    )
    blank = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
    while position < len(text):
        if (match := blank.match(text, position)) and match.end() > position:
            pass
        elif match := pattern.match(text, position):
            key, single, double, bare = match.groups()
            if double is not None:
                double = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), double, flags=re.DOTALL)
            value = next(part for part in (single, double, bare) if part is not None)
            if "\0" in value:
                problems.append(Problem("", f"{key} holds a NUL byte", place=Place(name, line)))
            values[key] = value
        else:
            problems.append(
                Problem("", "should be NAME=value", "names have letters, digits and `_`", Place(name, line))
            )
            match = re.compile(r"[^\n]*(?:\n|\Z)").match(text, position)
        assert match is not None  # noqa: S101 -- the last pattern matches anything
        line += text.count("\n", position, match.end())
        position = match.end()
    if problems:
        raise SpecError(*problems)
    return values


def _forms(value: str) -> set[str]:
    """How a value may stand in a text: as it is, line by line, and as a program writes it down."""
    raw = value.encode("utf-8", "surrogateescape")
    return {
        value,
        *(line for line in value.splitlines() if len(line) >= 2 * LEAST_REDACTED),
        *_base64_forms(raw),
        raw.hex(),
        urllib.parse.quote(raw),
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote_plus(raw),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        ascii(value)[1:-1],
        repr(raw)[2:-1],
    }


def _base64_forms(raw: bytes) -> set[str]:
    """Both alphabets, by itself and inside of something longer: what does not depend on the bytes beside it."""
    found = set()
    for encode_bytes in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode_bytes(raw).decode())
        for before in range(3):
            text = encode_bytes(bytes(before) + raw).decode()
            first = (0, 2, 3)[before]
            own = text[first : len(text) - (0, 3, 2)[(before + len(raw)) % 3]]
            if len(own) >= 2 * LEAST_REDACTED:
                found.add(own)
    return found


class Redactor:
    """Hides known secret values in text that is about to be shown, also in the forms that programs give them."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these as well."""
        forms = set(self._forms)
        for value in values:
            if len(value) < LEAST_REDACTED:
                continue
            forms |= _forms(value)
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "[secret]")
        return text
