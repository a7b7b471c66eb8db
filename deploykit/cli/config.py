"""`deploykit config`: the spec as it is in one environment, and where each value of it comes from."""

from __future__ import annotations

import json as json_format
from typing import TYPE_CHECKING

from deploykit.cli.console import paint
from deploykit.cli.options import Json, Options

if TYPE_CHECKING:
    from deploykit.spec.origins import Value


def config(options: Options, json: Json = False) -> int:
    """Show the spec as it is in the environment, with where each value comes from.

    Defaults are marked as such; where a secret comes from is shown, never the secret.
    """
    from deploykit import converge
    from deploykit.spec.origins import values

    console = options.console
    spec, source = converge.read_spec(options.file, options.environment)
    found = values(spec, source)
    if json:
        told = [
            {
                "path": list(value.path),
                "value": value.value,
                "default": value.place is None,
                "file": value.place.file if value.place else None,
                "line": value.place.line if value.place else None,
            }
            for value in found
        ]
        console.answer_json({"name": spec.name, "environment": options.environment, "values": told})
        return 0
    lines = _lines(found)
    width = max(len(text) for text, _ in lines)
    for text, origin in lines:
        console.answer(f"{text:<{width}}  {paint(f'# {origin}', 'dim')}" if origin else text)
    return 0


def _lines(found: list[Value]) -> list[tuple[str, str]]:
    """The values as YAML, each line with where it comes from; lines of keys above values have no origin."""
    lines: list[tuple[str, str]] = []
    before: tuple[str | int, ...] = ()
    for value in found:
        same = next(
            (depth for depth, (old, new) in enumerate(zip(before, value.path, strict=False)) if old != new),
            min(len(before), len(value.path)),
        )
        dash = ""
        for depth in range(same, len(value.path)):
            part, last = value.path[depth], depth == len(value.path) - 1
            indent = "  " * (depth - len(dash) // 2) + dash
            text, dash = (f"{indent}-", f"{dash}- ") if isinstance(part, int) else (f"{indent}{_scalar(part)}:", "")
            if last:
                origin = f"{value.place.file}:{value.place.line}" if value.place else "default"
                lines.append((f"{text} {_scalar(value.value)}", origin))
            elif not dash:
                lines.append((text, ""))
        before = value.path
    return lines


def _scalar(value: object) -> str:
    """A value as YAML on one line; text in quotes where it could be read as something else."""
    from deploykit.spec.origins import plain_text

    return value if isinstance(value, str) and plain_text(value) else json_format.dumps(value, ensure_ascii=False)
