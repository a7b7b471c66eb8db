"""The JSON Schema of a spec, from the model: what editors complete and check from.

It says what a key may hold by itself; what the loader says of keys together is not in it.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import BaseModel

from deploykit.spec.environments import KEY, MOST_ENVIRONMENTS, THE_SAME
from deploykit.spec.model import Instance, Spec
from deploykit.spec.shape import model_at
from deploykit.spec.values import DURATION, duration_words
from deploykit.spec.words import SpecPath

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NAME_PATTERN = "^[a-z][a-z0-9-]{0,39}$"
_INTERNAL = ("title", "ge", "le", "gt", "lt")
"""Keywords that say nothing to an editor, or are pydantic's own."""


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a whole spec, with the short forms in it."""
    found: dict[str, Any] = _tidy(Spec.model_json_schema())
    changes = _changes(found)
    found["$defs"] = dict(sorted({**found["$defs"], "Environment": changes}.items()))
    found["properties"][KEY] = {
        "type": "object",
        "description": "What differs elsewhere, by name: mappings merge, lists and scalars are replaced, null removes.",
        "patternProperties": {NAME_PATTERN: {"$ref": "#/$defs/Environment"}},
        "maxProperties": MOST_ENVIRONMENTS,
        "additionalProperties": False,
    }
    return {"$schema": DRAFT, "title": "deploykit.yaml", **found}


def default_words(mapping: SpecPath, key: str) -> str | int | None:
    """The default of a key in a mapping of the spec as a spec would write it; None where it has none of its own."""
    model = model_at(mapping)
    if model is None:
        return None
    found = _all_defaults(model).get(key)
    if found is None and model.model_fields[key].default == (Instance(),):  # type: ignore[call-arg]
        return 1
    return found


@functools.cache
def _all_defaults(model: type[BaseModel]) -> dict[str, str | int]:
    properties = _tidy(model.model_json_schema())["properties"]
    found: dict[str, Any] = {name: value.get("default") for name, value in properties.items()}
    if model is Spec:
        found["listen"] = str(Spec.model_fields["listen"].default)
    return {name: value for name, value in found.items() if value is not None}


def _changes(whole: dict[str, Any]) -> dict[str, Any]:
    """The schema of what an environment changes: the same keys, none of them required, null to remove one."""
    inner = {name: _optional(value) for name, value in whole["$defs"].items()}
    top: dict[str, Any] = _optional({name: whole[name] for name in ("properties", "required", "type")})
    for name in THE_SAME:
        top["properties"].pop(name, None)
    description = "What is different in one environment. The same keys as at the top; those below as well."
    return {"description": description, **top, "additionalProperties": False, "$defs": inner}


def _optional(node: Any, *, item: bool = False) -> Any:
    if isinstance(node, list):
        return [_optional(one, item=item) for one in node]
    if not isinstance(node, dict):
        return node
    changed: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "patternProperties"):
            # A description beside the choice is what editors show.
            changed[key] = {name: _or_null(_optional(below)) for name, below in value.items()}
        elif key == "$ref":
            name = value.rpartition("/")[2]
            changed[key] = value if item else f"#/$defs/Environment/$defs/{name}"
        elif key == "items":
            changed[key] = _optional(value, item=True)  # a list is replaced, so its items are whole
        elif key not in ("default", "examples", "minProperties", *(() if item else ("required",))):
            changed[key] = _optional(value, item=item)
    return changed


def _or_null(node: dict[str, Any]) -> dict[str, Any]:
    described = {key: node.pop(key) for key in ("description",) if key in node}
    choices = node["anyOf"] if set(node) == {"anyOf"} else [node]
    return {"anyOf": [*choices, {"type": "null"}], **described}


def _tidy(node: Any) -> Any:
    """The schema without titles and null, with defaults as a spec would write them."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "patternProperties", "$defs"):
            tidy[key] = {name: _tidy(below) for name, below in value.items()}
        elif key == "anyOf":
            tidy.update(_choice([_tidy(choice) for choice in value if choice != {"type": "null"}]))
        elif key not in (*_INTERNAL, "default"):
            tidy[key] = _tidy(value)
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    if tidy.get("type") == "integer":
        limits = {"minimum": node.get("ge"), "maximum": node.get("le")}
        tidy.update({name: limit for name, limit in limits.items() if limit is not None})
    if tidy.get("type") != "string":
        tidy.pop("examples", None)  # they are YAML
    default = _default(node.get("default"), tidy)
    if default is not None:
        tidy["default"] = default
    return tidy


def _choice(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """One of these; a choice of choices is flat, as editors show it better."""
    flat = [inner for choice in choices for inner in choice.get("anyOf", [choice])]
    return flat[0] if len(flat) == 1 else {"anyOf": flat}


def _default(value: object, tidy: dict[str, Any]) -> object:
    """The default as a spec would write it, None where it would write nothing."""
    if isinstance(value, float) and tidy.get("pattern") == DURATION:
        return duration_words(value)
    if isinstance(value, int) and not isinstance(value, bool) and "[kKmMgG]" in tidy.get("pattern", ""):
        return f"{value >> 20}m"
    return value if isinstance(value, str | int) else None
