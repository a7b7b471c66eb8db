"""Short forms of the spec: what a person may write in place of a mapping or a list, taken apart before it is checked.

Each is an annotation of the model, so that a value in either form is checked once and its JSON Schema has both.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from deploykit.spec.values import TEXT_OR_NUMBER, Hinted, Number
from deploykit.spec.words import shown

SHELL_SYNTAX = ("&&", "||", "|", ";", ">", ">>", "<", "&")
"""What means something to a shell only; a command of the spec meets none."""


class _Form:
    """A form that `expand` turns into the long one."""

    def expand(self, value: object) -> object:
        raise NotImplementedError

    def schema(self, long: dict[str, Any]) -> dict[str, Any]:
        """JSON Schema of the short form; may add to that of the long one."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        long = handler(core)
        return {"anyOf": [self.schema(handler.resolve_ref_schema(long)), long]}


@dataclass(frozen=True)
class Short(_Form):
    """A mapping that may be written as the value of one of its keys."""

    key: str
    what: str
    """What the short form is, for the message."""

    def expand(self, value: object) -> object:
        if isinstance(value, str):
            return {self.key: value}
        if value is None or isinstance(value, bool | int | float | Sequence):
            raise ValueError(f"should be {self.what} or a mapping, not {shown(value)}")
        return value

    def schema(self, long: dict[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = long["properties"][self.key]
        text = next(one for one in own.get("anyOf", [own]) if one.get("type") != "null")
        return {key: text[key] for key in ("type", "pattern", "enum") if key in text}


@dataclass(frozen=True)
class OneAsList(_Form):
    """A list that may be written as its only item."""

    what: str

    def expand(self, value: object) -> object:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, bool | int | float | Mapping):
            raise ValueError(f"should be {self.what} or a list, not {shown(value)}")
        return value

    def schema(self, long: dict[str, Any]) -> dict[str, Any]:
        items: dict[str, Any] = long.get("items", {"type": TEXT_OR_NUMBER})
        return items


@dataclass(frozen=True)
class OneLine(_Form):
    """A list of words, the first of them a program, that may be written as one line in the quoting of a shell."""

    def expand(self, value: object) -> object:
        if isinstance(value, str):
            return self._split(value)
        if value is None or isinstance(value, bool | int | float | Mapping):
            raise ValueError(f"should be a command or a list of its words, not {shown(value)}")
        if isinstance(value, Sequence) and (not value or value[0] == ""):
            raise ValueError("should begin with the name of a program")
        return value

    def _split(self, line: str) -> tuple[str, ...]:
        try:
            words = tuple(shlex.split(line))
        except ValueError as error:
            raise ValueError(f"can't be read as a command: {str(error).lower()}") from None
        if not words or not words[0]:
            raise ValueError("should be a command, not nothing")
        for word in words:
            if word in SHELL_SYNTAX:
                text = f"no shell reads this, so `{word}` would be an argument"
                raise Hinted(text, "put it into a script, and name that")
        return words

    def schema(self, long: dict[str, Any]) -> dict[str, Any]:
        long.update(minItems=1)
        return {"type": "string", "pattern": r"\S"}


@dataclass(frozen=True)
class Count(_Form):
    """A list of mappings that may be written as their number, each then with its defaults."""

    most: int

    def expand(self, value: object) -> object:
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not 1 <= len(value) <= self.most:
                raise ValueError(f"should have 1 to {self.most} items, not {len(value)}")
            return value
        number = int(value) if isinstance(value, Number | int) and str(value).isdecimal() else 0
        if not 1 <= number <= self.most or str(value) != str(number):
            raise ValueError(f"should be a number from 1 to {self.most} or a list, not {shown(value)}")
        return ({},) * number

    def schema(self, long: dict[str, Any]) -> dict[str, Any]:
        long.update(minItems=1, maxItems=self.most)
        return {"type": "integer", "minimum": 1, "maximum": self.most}
