"""Every value of a spec as it is in one environment, with the place where it is written, or that it is a default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from deploykit.errors import Place
from deploykit.spec.environments import long_form
from deploykit.spec.load import Source
from deploykit.spec.model import Model, Spec
from deploykit.spec.reading import Items, Keys, Node
from deploykit.spec.schema import default_words
from deploykit.spec.shape import below, model_at
from deploykit.spec.values import Number
from deploykit.spec.words import SpecPath

_PLAIN = re.compile(
    r"[0-9]{1,9}(ms|[smhdykg])|[0-9]+([.][0-9]+){3}:[0-9]+|[A-Za-z/.][A-Za-z0-9_./@$*+=-]*([: ][A-Za-z0-9_./@$*+=-]+)*"
)
_OTHER_THAN_TEXT = re.compile(r"(null|true|false|yes|no|on|off|y|n|\.nan|[-+]?\.inf|\.[0-9].*|\.)", re.IGNORECASE)


@dataclass(frozen=True)
class Value:
    """One value that is no mapping, in the form in which a spec would hold it."""

    path: SpecPath
    value: str | int | float | bool | list[object] | dict[str, object] | None
    place: Place | None
    """Where it is written; None for a default."""


def values(spec: Spec, source: Source) -> list[Value]:
    """All values, in the order of the model and, in tables and lists, of the file; reads no secret.

    Keys whose default depends on the target or on other keys are left out where they are not written.
    """
    return list(_values(source.root, spec, (), source))


def _values(node: Node | None, data: Any, path: SpecPath, source: Source) -> list[Value]:
    if isinstance(data, Model):
        keys = None if node is None else long_form(node, path)
        found: list[Value] = []
        for name in type(data).model_fields:
            child = below(keys, name) if keys is not None else None
            found += _values(child, getattr(data, name), (*path, name), source)
        return found
    if node is None:
        words = default_words(path[:-1], str(path[-1])) if model_at(path[:-1]) is not None else None
        if words is None and isinstance(data, str):
            # A key without a default of its own in a mapping that is one, as the method of `balance`.
            return [Value(path, data, None)]
        if words is None:
            # A mapping that is not written, such as that of the app server: each of its keys has a default.
            return []
        return [Value(path, words, None)]
    if isinstance(node, Keys) and node.entries:
        children = [(key, child) for key, (_, child) in node.entries.items()]
        return [one for key, child in children for one in _values(child, data[key], (*path, key), source)]
    if isinstance(node, Items) and node.nodes:
        pairs = enumerate(zip(node.nodes, data, strict=True))
        return [one for index, (child, item) in pairs for one in _values(child, item, (*path, index), source)]
    return [Value(path, _plain(node), source.place(path))]


def _plain(node: Node) -> str | int | float | bool | list[object] | dict[str, object] | None:
    if isinstance(node, Keys):
        return {}
    if isinstance(node, Items):
        return []
    if isinstance(node.value, Number) and re.fullmatch("0|-?[1-9][0-9]{0,17}", node.value):
        return int(node.value)
    return node.value if isinstance(node.value, bool) else node.text


def plain_text(text: str) -> bool:
    """Whether YAML reads that as text also without quotes."""
    return bool(_PLAIN.fullmatch(text)) and not _OTHER_THAN_TEXT.fullmatch(text)
