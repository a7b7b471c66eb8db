"""What a run of `up` tells while it works, and what it ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from deploykit.errors import DeployFailed, Failure, PromiseBroken
from deploykit.nginx.access_log import Traffic
from deploykit.plan import Check, Report, Step


class Progress(Protocol):
    """Where it is told what is being done; the drawing is the command line's."""

    def step(self, step: Step) -> AbstractContextManager[Callable[[str], None]]:
        """Entered when a step begins; the function it gives is called with what came of it."""
        ...

    def tell(self, line: str) -> None:
        """A detail of the step that is being taken, or a remark."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Entered while something else has the terminal, as a question."""
        ...

    def check(self, check: Check) -> None:
        """A check begins."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What `up` did and what was measured then."""

    changed: bool
    steps: tuple[Step, ...]
    report: Report
    urls: tuple[str, ...]
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    only_on: str = ""
    """The machine of an Engine elsewhere where nobody but itself reaches the stack."""
    traffic: Traffic | None = None
    """What came meanwhile, from the first step that moved requests on; None where nothing served or was switched."""


class BrokenAtFirst(PromiseBroken):
    """A check is broken on a stack that nothing served before; carries the report."""

    def __init__(self, failure: Failure, report: Report) -> None:
        super().__init__(failure)
        self.report = report


class RefusedByChecks(DeployFailed):
    """A check is broken, and what served before was restored; carries the report."""

    def __init__(self, failure: Failure, report: Report) -> None:
        super().__init__(failure)
        self.report = report


def broken_promises(report: Report) -> Failure:
    """What is told of a report in which not everything held."""
    first = report.broken[0]
    return Failure(
        f"{len(report.broken)} of {len(report.verdicts)} promises are broken, the first: {first.check.promise}",
        tried=tuple(f"{v.check.promise}: {v.measured}" for v in report.broken),
    )
