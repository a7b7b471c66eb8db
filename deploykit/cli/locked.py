"""The option `--locked`, and where the facts that are rendered for come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploykit.cli.console import Console
    from deploykit.converge import Session
    from deploykit.plan import Facts

Locked = Annotated[
    bool, typer.Option("--locked", help="Only where the lock file covers it and, on a live target, is right.")
]


def locked_facts(session: Session, console: Console, demanded: bool) -> Facts | None:
    """The facts of the lock file where it covers the session, told on standard error; else None.

    Raises:
        SpecError: it does not, and that was demanded.
    """
    if demanded:
        session.lock.demanded(session.target)
    facts, words = session.lock.facts(session.target)
    if words:
        console.talk(f"facts {words}" if facts is not None else f"facts of this machine: {words}", "dim")
    return facts
