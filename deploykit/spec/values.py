"""The kinds of value that a spec may hold: durations, sizes, addresses, names; each refuses control characters.

Every kind is a pydantic type, so that the model, the JSON Schema and the reference come from one declaration.
`Number` is how the loader hands over a plain scalar that looks like a number: the text as written, so that
`python: 3.10` stays `3.10` and only a field that wants a number reads one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic_core import CoreSchema

from deploykit.spec.words import did_you_mean, listed, shown


class Number(str):
    """A plain YAML scalar that reads as a number, kept as it was written."""

    __slots__ = ()


class Hinted(ValueError):
    """A refusal with a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


# C0, DEL and C1; what breaks a line; what turns the direction of text, so that it reads otherwise than it is
# (https://trojansource.codes); the byte order mark; halves of surrogate pairs, which can't be written as UTF-8.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def control_character(text: str) -> str:
    """The first character that no value may hold, as `U+0007`; empty where there is none."""
    found = _CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def _no_control_characters(text: str) -> str:
    bad = control_character(text)
    if bad:
        raise ValueError(f"should not contain the control character {bad}")
    return text


def _text(value: object) -> object:
    return str(value) if isinstance(value, Number) else value


def _whole_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        if not isinstance(value, Number) or not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value):
            quoted = isinstance(value, str) and not isinstance(value, Number) and value.isdecimal()
            hint = "leave out the quotes" if quoted else ""
            raise Hinted(f"should be a whole number, not {shown(value)}", hint)
        return int(value)
    return value


DURATION = r"^[0-9]{1,9}(ms|s|m|h|d|y)$"
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 31536000}


def _duration(value: object) -> object:
    if isinstance(value, Number):
        unit = f", as in `{value!s}s`" if re.fullmatch(r"[1-9][0-9]{0,8}", value) else ""
        raise ValueError(f"should say its unit{unit}")
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d|y)", value, re.ASCII)
        if match:
            seconds = int(match[1]) * _SECONDS[match[2]]
            if not 0 < seconds <= 10 * 31536000:
                raise ValueError(f"should be more than nothing and at most 10y, not {shown(value)}")
            return float(seconds)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"should be a duration such as `30s`, `5m` or `1h`, not {shown(value)}")


def duration_words(seconds: float) -> str:
    """A duration as a spec says it: `30s`, `5m`, `1500ms`."""
    for unit in ("y", "d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{round(seconds * 1000)}ms"


def _size(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"([1-9][0-9]{0,15})([kmg])?", value, re.IGNORECASE | re.ASCII)
        if match:
            size = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[(match[2] or "").lower()]
            if size > 1 << 50:
                raise ValueError(f"should be at most 1048576g, not {shown(value)}")
            return size
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"should be a size such as `512k` or `10m`, not {shown(value)}")


CacheWord = Literal["immutable", "hashed", "no-cache", "no-store"]


def _cache_control(value: object) -> object:
    words = get_args(CacheWord)
    if value in words:
        return value
    try:
        return _duration(value)
    except ValueError:
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        raise Hinted(f"should be {listed((*words, '1h'))}, not {shown(value)}", hint) from None


def _schema(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


def matching(pattern: str, should: str) -> Callable[[object], object]:
    """What gives a text that matches `pattern` whole; `should` is the sentence of the error otherwise."""

    def check(value: object) -> object:
        text = _text(value)
        if not isinstance(text, str):
            raise ValueError(f"{should}, not {shown(text)}")
        _no_control_characters(text)
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"{should}, not {shown(text)}")
        return text

    return check


def named(pattern: str, should: str, *, schema_type: str | list[str] = "string") -> Any:
    """A string that matches `pattern` whole; `should` is the sentence of the error."""
    return Annotated[
        str, BeforeValidator(matching(pattern, should)), _schema(type=schema_type, pattern=f"^({pattern})$")
    ]


TEXT_OR_NUMBER = ["string", "number"]
"""JSON Schema types of text that may look like a number; it is taken as it is written."""

Text = Annotated[str, BeforeValidator(_text), AfterValidator(_no_control_characters), _schema(type=TEXT_OR_NUMBER)]
as_written_number = BeforeValidator(_whole_number)
WholeNumber = Annotated[int, as_written_number]
Duration = Annotated[float, BeforeValidator(_duration), _schema(type="string", pattern=DURATION)]
"""Seconds."""
Size = Annotated[
    int, BeforeValidator(_size), _schema(type=["string", "integer"], pattern="^[1-9][0-9]*[kKmMgG]?$", minimum=1)
]
"""Bytes; `k`, `m` and `g` are powers of 1024, as nginx reads them."""
CacheControl = Annotated[
    CacheWord | float,
    PlainValidator(_cache_control),
    _schema(anyOf=[{"enum": list(get_args(CacheWord))}, {"type": "string", "pattern": DURATION}]),
]
"""One of nginx's ways to let files be cached, or seconds."""

Name = named(
    r"[a-z][a-z0-9-]{0,39}",
    "should be small letters, digits and `-`, begin with a letter and have at most 40 characters",
)
EnvironmentKey = named(r"[A-Za-z_][A-Za-z0-9_]{0,254}", "should be a name such as `DATABASE_URL`: letters, digits, `_`")
Entrypoint = named(
    r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(\(\))?",
    "should be `package.module:callable`",
)
HASHED = re.compile(
    r"request_uri|uri|args|host|remote_addr|binary_remote_addr|remote_user|arg_[a-z0-9_]+|cookie_[A-Za-z0-9_]+|"
    r"http_[a-z0-9_]+",
    re.ASCII,
)
"""Names of nginx's variables that tell one request from another before it is sent on."""


def _hash_key(value: object) -> object:
    text = _text(value)
    should = "should be text with variables of nginx, such as `$cookie_session`"
    if not isinstance(text, str):
        raise ValueError(f"{should}, not {shown(text)}")
    _no_control_characters(text)
    names = re.findall(r"\$([A-Za-z0-9_]*)", text)
    if not names or not re.fullmatch(r"[$A-Za-z0-9_./:|-]+", text, re.ASCII):
        raise ValueError(f"{should}, not {shown(text)}")
    for name in names:
        if not HASHED.fullmatch(name):
            hint = "there is `$request_uri`, `$uri`, `$args`, `$arg_NAME`, `$cookie_NAME`, `$http_NAME`, `$remote_addr`"
            raise Hinted(f"has `${name}`, which tells no request from another", hint)
    return text


HashKey = Annotated[
    str, BeforeValidator(_hash_key), _schema(type="string", pattern=r"^[A-Za-z0-9_./:|-]*\$[$A-Za-z0-9_./:|-]+$")
]
PythonVersion = named(r"3\.[0-9]{1,2}", "should be a version such as `3.12`", schema_type=TEXT_OR_NUMBER)
HostName = named(
    r"(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    "should be a host name in small letters, without scheme or port (international names in their xn-- form)",
)
_url_path = matching(
    r"/[A-Za-z0-9._~!&'()*+,=:@%/-]*",
    "should be a path that starts with `/`, percent-encoded, without query or `;`",
)
UrlPath = Annotated[str, BeforeValidator(_url_path), _schema(type="string", pattern="^/[A-Za-z0-9._~!&'()*+,=:@%/-]*$")]
"""A path in a URL; what nginx, a regular expression or a shell could read as syntax is refused."""


def _location_key(value: object) -> object:
    text = _text(value)
    if not isinstance(text, str) or text[:1] not in ("=", "~"):
        return _url_path(value)
    mark, _, rest = text.partition(" ")
    if mark == "=":
        return f"= {_url_path(rest)}"
    should = "should be `~ REGEX` or `~* REGEX` (in any case), with printable ASCII only"
    if mark not in ("~", "~*") or not re.fullmatch("[!-~]{1,500}", rest):
        raise ValueError(f"{should}, not {shown(text)}")
    try:
        re.compile(rest)
    except (re.error, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


LocationKey = Annotated[str, BeforeValidator(_location_key), _schema(type="string", pattern=r"^(/|= /|~\*? [!-~]).*$")]
"""What is below a path, a path alone (`= /robots.txt`), or what a regular expression finds (`~ ^/u/[0-9]+$`)."""
Redirect = named(
    r"(https?://[a-z0-9.-]+(:[0-9]{1,5})?)?/[A-Za-z0-9._~!&'()*+,;=:@%/?#-]*",
    "should be a path, or an address such as `https://www.example.com/`, percent-encoded",
)
Origin = named(
    r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?",
    "should be an address without a path, such as `https://www.example.com`",
)
RequestTarget = named(r"/[!-~]*", "should start with `/` and have printable ASCII only (the rest percent-encoded)")
Registry = named(
    r"[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*){0,8}",
    "should be a registry and a path in it, such as `registry.example.com/team`",
)
ImageName = named(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}", "should be the name of an image, such as `python:3.12-slim`")


def _relative_path(value: object) -> str:
    text = _text(value)
    if not isinstance(text, str):
        raise ValueError(f"should be a path, not {shown(text)}")
    _no_control_characters(text)
    if not text or text.startswith(("/", "~")) or "\\" in text or ".." in text.split("/"):
        raise ValueError(f"should be a path inside this folder, without `..`, not {shown(text)}")
    if len(text) > 1024:
        raise ValueError("should be a path of at most 1024 characters")
    return text


RelativePath = Annotated[str, BeforeValidator(_relative_path), _schema(type=TEXT_OR_NUMBER)]
"""A path below the folder it is relative to. Whether links lead out of it is checked where it is opened."""


@dataclass(frozen=True)
class Address:
    """Where something listens: `host:port`, the host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^(\[[0-9a-fA-F:]+\]|[0-9.]+):[0-9]{1,5}$"}


def _address(value: object) -> object:
    if isinstance(value, Address):
        return value
    if isinstance(value, Number) and re.fullmatch(r"[1-9][0-9]{0,4}", value):
        raise ValueError(f"should say the address too, as in `127.0.0.1:{value!s}`")
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) and int(port) <= 65535 and (":" in bare) == (bare != host):
            try:
                return Address(str(ipaddress.ip_address(bare)), int(port))
            except ValueError:
                pass
    raise ValueError(f"should be an address and a port such as `127.0.0.1:8080`, not {shown(value)}")


Listen = Annotated[Address, BeforeValidator(_address)]


def _version_range(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"should be a range of versions such as `~=1.0`, not {shown(text)}") from None
    return text


VersionRange = Annotated[Text, AfterValidator(_version_range)]
"""Versions as Python packages name them: https://packaging.python.org/en/latest/specifications/version-specifiers/"""

Key = TypeVar("Key")
Value = TypeVar("Value")


def _frozen(table: Mapping[Key, Value]) -> Mapping[Key, Value]:
    return MappingProxyType(dict(table))


Table = Annotated[Mapping[Key, Value], AfterValidator(_frozen)]
"""A mapping that can't be changed, in the order of the spec."""
