"""The vocabulary of observables: one function for each kind of check, found by its name."""

from __future__ import annotations

from deploykit.proof.checks import answers, balance, configuration, files, limits, rights
from deploykit.proof.scene import Measure

SUBJECTS = (configuration, answers, balance, files, limits, rights)


def find(kind: str) -> Measure:
    """The function that measures checks of that kind.

    Raises:
        LookupError: there is none, so the planner and this package don't fit together.
    """
    for subject in SUBJECTS:
        if kind in subject.__all__:
            measure: Measure = getattr(subject, kind)
            return measure
    raise LookupError(f"no check is called {kind}")


def kinds() -> tuple[str, ...]:
    """The name of every kind."""
    return tuple(name for subject in SUBJECTS for name in subject.__all__)
