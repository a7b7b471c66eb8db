"""What the checks saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploykit.plan.stack import Check


@dataclass(frozen=True)
class Verdict:
    """What one check saw."""

    check: Check
    verdict: Literal["kept", "broken", "not run"]
    measured: str
    """What was seen, or why it was not run."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """The verdicts of all checks, in the order of the plan."""

    verdicts: tuple[Verdict, ...]

    @property
    def broken(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.verdict == "broken")

    @property
    def kept(self) -> bool:
        """Whether nothing was broken."""
        return not self.broken
