"""`deploykit schema`: the JSON Schema of the spec, for editors."""

from __future__ import annotations

from deploykit.cli.options import Options


def schema(options: Options) -> int:
    """Print the JSON Schema of the spec."""
    from deploykit.spec.schema import schema as build

    options.console.answer_json(build())
    return 0
