"""What is wrong, for programs that show it beside a line: problems of a spec, drift, broken promises. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploykit.errors import Place, Problem
from deploykit.plan import Report, SpecPath

Level = Literal["error", "warning"]

RULES = {
    "spec": "What the spec says can't be honoured.",
    "rendered": "A committed file is not what the spec gives.",
    "promise": "What runs does not do what the spec promises.",
    "deployment": "The stack could not be brought up or taken down.",
}
"""Each kind of finding, in a sentence."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; `rule` is a key of `RULES`."""

    rule: str
    title: str
    message: str
    level: Level = "error"
    place: Place | None = None
    """Relative to the top of the checkout, as whoever shows it knows the file."""

    @property
    def line(self) -> str:
        """All of it on one line, its place first."""
        at = f"{self.place}: " if self.place is not None else ""
        return " ".join(f"{at}{self.title}: {self.message}".split())


def from_problem(problem: Problem, top: Path, level: Level = "error") -> Finding:
    """A problem of a spec, with its hint."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return Finding("spec", problem.path or "spec", f"{problem.message}{hint}", level, relative(problem.place, top))


def from_report(report: Report, place_of: Callable[[SpecPath], Place | None], top: Path) -> tuple[Finding, ...]:
    """The broken promises, each on the line of the spec that makes it."""
    return tuple(
        Finding(
            "promise",
            verdict.check.promise,
            f"measured: {verdict.measured}",
            place=relative(place_of(verdict.check.spec_path), top),
        )
        for verdict in report.broken
    )


def relative(place: Place | None, top: Path) -> Place | None:
    """The same place with its file as seen from the top of a checkout; as it is where the file lies outside."""
    if place is None:
        return None
    # Links stay: the checkout knows the file by the name that was used.
    file = os.path.relpath(Path.cwd() / place.file, top)
    return place if file.startswith("..") else Place(file, place.line, place.column)


def first_error(findings: Iterable[Finding]) -> Finding | None:
    """The first that is not only a warning."""
    return next((finding for finding in findings if finding.level == "error"), None)
