"""Quoting, one function per syntax: the only way in which a value reaches generated text.

The model has refused control characters already; these refuse them again, because a filter must be safe by itself.
"""

from __future__ import annotations

import json
import re
import shlex


class Unquotable(ValueError):
    """The syntax has no way to say this value."""


def _printable(value: object, syntax: str) -> str:
    text = str(value)
    for character in text:
        if ord(character) < 0x20 or ord(character) == 0x7F or character in "\x85\u2028\u2029":
            raise Unquotable(f"{syntax} can't hold the control character U+{ord(character):04X}")
    return text


def nginx(value: object) -> str:
    """One nginx parameter, in quotes unless it is a plain word; `$` is refused, because nginx has no escape for it."""
    text = _printable(value, "nginx")
    if "$" in text:
        raise Unquotable("nginx reads `$` as the start of a variable and has no escape for it")
    return _nginx_quoted(text)


def nginx_path(value: object) -> str:
    """The path of a prefix location: like `nginx`, but `$` is literal there."""
    return _nginx_quoted(_printable(value, "nginx"))


def nginx_variables(value: object) -> str:
    """One nginx parameter in which `$NAME` is meant as nginx's variable; anything that would need quotes is refused."""
    text = _printable(value, "nginx")
    if not re.fullmatch(r"(\$[A-Za-z0-9_]+|[A-Za-z0-9_./:|-])+", text) or len(text) > 4000:
        raise Unquotable("should be variables of nginx with letters, digits and `_./:|-` between them")
    return text


def nginx_before(value: object, variables: str) -> str:
    """One nginx parameter: the text, in which `$` is refused, then the template's own variables."""
    text = _printable(value, "nginx")
    if "$" in text:
        raise Unquotable("nginx reads `$` as the start of a variable and has no escape for it")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}{variables}"'


def _nginx_quoted(text: str) -> str:
    if len(text.encode()) > 4000:
        raise Unquotable("nginx takes parameters of at most 4095 bytes")
    if re.fullmatch(r"[A-Za-z0-9_./:*@%+=,-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def python(value: object) -> str:
    """A Python literal of plain data."""
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(python(item) for item in value) + "]"
    if hasattr(value, "items"):
        entries = [f"    {python(key)}: {python(item)},\n" for key, item in sorted(value.items())]
        return "{\n" + "".join(entries) + "}" if entries else "{}"
    raise Unquotable(f"{type(value).__name__} is no plain data")


def uwsgi(value: object) -> str:
    """A value in a uwsgi.ini. What uWSGI would expand, run or strip is refused; `%` is doubled."""
    text = _printable(value, "uwsgi.ini")
    for magic in ("@(", "$(", "%("):
        if magic in text:
            raise Unquotable(f"uWSGI would expand `{magic}`")
    if text != text.strip():
        raise Unquotable("uWSGI strips blanks at the ends")
    return text.replace("%", "%%")


def json_text(value: object) -> str:
    """JSON, as for the exec form in a Dockerfile."""
    return json.dumps(value, ensure_ascii=False)


def compose(value: object) -> str:
    """A value in a compose.yaml, as JSON, which YAML reads; `$` is doubled, because compose would expand it."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def docker_word(value: object) -> str:
    """A word of a Dockerfile instruction such as FROM or LABEL; what would be expanded or continued is refused."""
    text = _printable(value, "Dockerfile")
    if not re.fullmatch(r"[A-Za-z0-9_./:@+=,-]+", text):
        raise Unquotable("should have only letters, digits and `_./:@+=,-` in a Dockerfile")
    return text


def shell(value: object) -> str:
    """One word of a shell command."""
    return shlex.quote(_printable(value, "a shell"))


FILTERS = {
    "nginx": nginx,
    "nginx_path": nginx_path,
    "nginx_before": nginx_before,
    "nginx_variables": nginx_variables,
    "python": python,
    "uwsgi": uwsgi,
    "json": json_text,
    "compose": compose,
    "docker": docker_word,
    "shell": shell,
}
