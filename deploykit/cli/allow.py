"""The option `--allow`: which effects the checks of a command may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach

if TYPE_CHECKING:
    from deploykit.plan import Effect

EFFECTS: tuple[Effect, ...] = ("read", "load", "disruptive")
"""From the gentlest on; allowing one allows those before it."""

Allow = Annotated[
    str | None,
    typer.Option(
        "--allow",
        metavar="EFFECT",
        help="The strongest effect that a check may have: read, load (many requests) or disruptive (over a limit). "
        "Default: disruptive in `local`, read in a named environment.",
    ),
]


def allowed(strongest: str | None) -> frozenset[Effect] | None:
    """The effects up to that one; None where nothing was said.

    Raises:
        SpecError: there is no such effect.
    """
    if strongest is None:
        return None
    reach.known_name("effect", strongest, EFFECTS)
    names: list[str] = list(EFFECTS)
    return frozenset(EFFECTS[: names.index(strongest) + 1])
