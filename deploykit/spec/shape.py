"""Tree to Spec: every key and value against the model, and what is wrong in the words of who wrote it.

No word of pydantic's reaches a user: each kind of error it can give for this model has a sentence here.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from deploykit.errors import Problem
from deploykit.spec.model import Spec
from deploykit.spec.reading import Items, Keys, Node, Scalar
from deploykit.spec.short import Short
from deploykit.spec.values import Number, duration_words
from deploykit.spec.words import SpecPath, did_you_mean, listed, path_words, shown

MOST_LOOKED_AT = 200
"""Errors that get a sentence; nobody reads more, and looking for near names takes time."""

NEIGHBOURS = {
    "address": "listen",
    "bind": "listen",
    "client_max_body_size": "body_size",
    "dir": "source",
    "domain": "server_name",
    "domains": "server_name",
    "env": "environment",
    "expect_status": "status",
    "folder": "files",
    "health": "healthcheck",
    "health_check": "healthcheck",
    "host": "server_name",
    "hosts": "server_name",
    "load_balancing": "balance",
    "max_body_size": "body_size",
    "module": "entrypoint",
    "path": "source",
    "paths": "locations",
    "port": "listen",
    "ports": "listen",
    "pre_deploy": "release",
    "proxy_read_timeout": "timeout",
    "python_version": "python",
    "replicas": "instances",
    "root": "files",
    "routes": "locations",
    "scale": "instances",
    "server": "app_server",
    "server_names": "server_name",
    "services": "apps",
    "static": "files",
    "url": "get",
    "wsgi": "entrypoint",
}
"""What neighbours (compose, nginx, platforms) call a thing, to what it is called here."""


def check_shape(root: Keys) -> tuple[Spec | None, list[Problem]]:
    """The spec, or what is wrong with its keys and values, without places; nothing of what reading refused."""
    problems: list[Problem] = []
    told: dict[SpecPath, Scalar] = {}
    data = _data(root, (), told)
    nulls = [path for path, scalar in told.items() if not scalar.refused]
    for path in nulls[:MOST_LOOKED_AT]:
        problems.append(Problem(path_words(path), "has no value", _hint_for_nothing(path)))
    silent = {path_words(path) for path in told}
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False)[:MOST_LOOKED_AT]:
            problem = _problem(detail, root)
            if problem is not None and problem.path not in silent:
                problems.append(problem)
        return None, problems
    return (None if problems else spec), problems


def _data(node: Node, path: SpecPath, told: dict[SpecPath, Scalar]) -> Any:
    """The tree as plain data, but for keys with no value or one that was refused: those are in `told`."""
    if isinstance(node, Keys):
        pairs = [(key, child, (*path, key)) for key, (_, child) in node.entries.items()]
        return {key: _data(child, at, told) for key, child, at in pairs if not _is_told(child, at, told)}
    if isinstance(node, Items):
        for index, child in enumerate(node.nodes):
            _is_told(child, (*path, index), told)
        return tuple(_data(child, (*path, index), told) for index, child in enumerate(node.nodes))
    return node.value


def _is_told(node: Node, path: SpecPath, told: dict[SpecPath, Scalar]) -> bool:
    if isinstance(node, Scalar) and (node.refused or node.value is None):
        told[path] = node
        return True
    return False


# --- errors in words --------------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, root: Keys) -> Problem | None:
    """The problem behind one of pydantic's errors, None where it only follows from others."""
    path, node = _written(tuple(detail["loc"]), root)
    kind, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        path = tuple(detail["loc"])
        field = _field(path)
        example = field.examples[0] if field is not None and field.examples else ""
        return Problem(path_words(path), "is missing", f"add `{path[-1]}: {example}`" if example else "")
    if kind == "too_short" and isinstance(node, Keys) and node.entries:
        return None  # all that is in it was refused
    if kind == "extra_forbidden":
        return Problem(path_words(path), "unknown key", _hint_for_key(path))
    written = node.text if isinstance(node, Scalar) and isinstance(value, str | int | float) else value
    message, hint = _sentence(kind, value, written, limits)
    if kind in ("string_type", "value_error") and isinstance(value, bool) and isinstance(node, Scalar):
        hint = hint or (f'put it in quotes if it is meant as text: "{node.text}"' if kind == "string_type" else "")
    return Problem(path_words(path), message, hint)


def _sentence(kind: str, value: object, written: object, limits: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong with a value, and a hint."""
    if kind == "value_error":
        error = limits["error"]
        return str(error), getattr(error, "hint", "")
    if kind == "literal_error":
        choices = [word.strip("'") for word in limits["expected"].replace(" or ", ", ").split(", ")]
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"should be {listed(choices)}, not {_said(value, written)}", hint
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = limits.get("ge", limits.get("le"))
        text = duration_words(bound) if isinstance(value, float) else str(int(bound or 0))
        side = "at least" if kind == "greater_than_equal" else "at most"
        return f"should be {side} {text}, not {shown(written)}", ""
    if kind == "too_short":
        return "should not be empty", ""
    wanted = {
        "string_type": "text",
        "bool_type": "`true` or `false`",
        "tuple_type": "a list",
        "dict_type": "a mapping",
        "mapping_type": "a mapping",
        "model_type": "a mapping",
    }.get(kind)
    return (f"should be {wanted}, not {_said(value, written)}" if wanted else "can't be used here"), ""


def _said(value: object, written: object) -> str:
    return str(written) if isinstance(value, bool) else shown(value if isinstance(value, Number) else written)


def _written(path: SpecPath, root: Keys) -> tuple[SpecPath, Node]:
    """As much of a path as stands in the file: a short form ends it, as does pydantic's own mark of a bad key."""
    node: Node = root
    for depth, part in enumerate(path):
        child = below(node, part)
        if child is None:
            if isinstance(node, Keys) and part != "[key]":
                return path[: depth + 1], node
            return path[:depth], node
        node = child
    return path, node


def below(node: Node, part: str | int) -> Node | None:
    """The value of a key or the item of that index, None where there is none."""
    if isinstance(node, Keys) and part in node.entries:
        return node.entries[str(part)][1]
    if isinstance(node, Items) and isinstance(part, int) and 0 <= part < len(node.nodes):
        return node.nodes[part]
    return None


# --- hints from the model ---------------------------------------------------------------------------------------


def _hint_for_nothing(path: SpecPath) -> str:
    if isinstance(path[-1], int):
        return "write the item, or remove the `-`"
    field = _field(path)
    if field is None:
        return 'empty text is `""`' if "environment" in path else ""
    if field.is_required():
        return f"write a value, as in `{path[-1]}: {field.examples[0]}`" if field.examples else ""
    return "write a value, or remove the key to get its default"


def _hint_for_key(path: SpecPath) -> str:
    """A hint for an unknown key: the nearest of its mapping, what its neighbours mean, or where it belongs."""
    key = path[-1]
    model = model_at(path[:-1])
    if model is None or not isinstance(key, str):
        return ""
    keys = keys_at(path[:-1])
    meant = NEIGHBOURS.get(key.lower().replace("-", "_"), "")
    if meant in keys:
        return f"it is called `{meant}` here"
    near = did_you_mean(key, [name for name in keys if not (name == "environments" and key == "environment")])
    if near:
        return near
    word = key.strip().lower().replace("-", "_")
    here = next((home for home, other in _mappings() if other is model), "")
    related = [
        (home, other.model_fields) for home, other in _mappings() if _is_above(home, here) or _is_above(here, home)
    ]
    homes = [home for home, fields in related if word in fields]
    if homes:
        return f"`{word}` belongs {' or '.join(map(_home_words, homes))}" if len(homes) <= 3 else ""
    homes = [home for home, fields in related if meant in fields]
    return f"that is `{meant}`, {_home_words(homes[0])}" if len(homes) == 1 else ""


def keys_at(path: SpecPath) -> list[str]:
    """The keys that a mapping of the spec may have; none where there is no such mapping."""
    model = model_at(path)
    # Environments are merged before there is a model.
    return [*(model.model_fields if model is not None else ()), *(() if path else ("environments",))]


def short_key(path: SpecPath) -> str | None:
    """The key that a short form of the mapping at that path stands for; None where there is no short form."""
    parent: Any = Spec
    for part in path[:-1]:
        parent = _below_annotation(parent, part)
    bare = _bare(parent)
    known = bare.model_fields.get(str(path[-1])) if isinstance(bare, type) and issubclass(bare, BaseModel) else None
    annotation = known.annotation if known is not None else _below_annotation(parent, path[-1])
    found = [*(known.metadata if known is not None else ()), *_metadata(annotation)]
    return next((one.key for one in found if isinstance(one, Short)), None)


def _metadata(annotation: Any) -> Iterator[Any]:
    """What annotates an annotation, also inside of `| None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        yield from annotation.__metadata__
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for choice in typing.get_args(annotation):
            yield from _metadata(choice)


def _is_above(home: str, other: str) -> bool:
    return not home or other.startswith(f"{home}.")


def _home_words(home: str) -> str:
    return f"in `{home}`" if home else "at the top"


def _bare(annotation: Any) -> Any:
    """An annotation without its metadata and without None."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(arg for arg in typing.get_args(annotation) if arg is not types.NoneType)
        else:
            return annotation


def _below_annotation(annotation: Any, part: str | int) -> Any:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field is not None else None
    arguments = typing.get_args(annotation)
    if not arguments or isinstance(part, int) != (typing.get_origin(annotation) is tuple):
        return None
    return arguments[0] if isinstance(part, int) else arguments[-1]


def model_at(path: SpecPath) -> type[BaseModel] | None:
    """The model of the mapping at that path, None where there is none."""
    annotation: Any = Spec
    for part in path:
        annotation = _below_annotation(annotation, part)
    annotation = _bare(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _field(path: SpecPath) -> FieldInfo | None:
    model = model_at(path[:-1])
    return model.model_fields.get(str(path[-1])) if model is not None else None


@functools.cache
def _mappings() -> tuple[tuple[str, type[BaseModel]], ...]:
    """Every mapping of the spec, and where it is, as in `apps.NAME.app_server`."""

    def walk(annotation: Any, at: str) -> Iterator[tuple[str, type[BaseModel]]]:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield at, annotation
            for name, field in annotation.model_fields.items():
                yield from walk(field.annotation, f"{at}.{name}".removeprefix("."))
        elif typing.get_origin(annotation) is tuple:
            yield from walk(typing.get_args(annotation)[0], at)
        elif typing.get_args(annotation):
            here = "PATH" if at.endswith("locations") else "NAME"
            yield from walk(typing.get_args(annotation)[-1], f"{at}.{here}")

    return tuple(walk(Spec, ""))
