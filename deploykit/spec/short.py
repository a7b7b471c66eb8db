"""Short forms of the spec: what a person may write in place of a mapping or a list, taken apart before it is checked.

Each is an annotation of the model, so that a value in either form is checked once and its JSON Schema has both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from deploykit.spec.values import TEXT_OR_NUMBER, Number
from deploykit.spec.words import shown


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
        return {key: text[key] for key in ("type", "pattern") if key in text}


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
