"""One stack, from its spec to what runs: load, plan, render, observe, reconcile, apply, prove, in that order."""

from __future__ import annotations

from deploykit.converge.leaving import leave
from deploykit.converge.locking import Lock, written_down
from deploykit.converge.opening import all_environments, open_stack, read_spec
from deploykit.converge.outcome import BrokenAtFirst, Outcome, Progress, RefusedByChecks
from deploykit.converge.planning import plan_spec
from deploykit.converge.record import Damaged, Record, Recorded, down_recorded, recorded, recorded_runtime
from deploykit.converge.rehearsal import Rehearsal
from deploykit.converge.rollback import Known, known, stays_applied
from deploykit.converge.session import ALL_EFFECTS, Session
from deploykit.plan import TargetName
from deploykit.spec.load import unknown_environment

__all__ = [
    "ALL_EFFECTS",
    "BrokenAtFirst",
    "Damaged",
    "Known",
    "Lock",
    "Outcome",
    "Progress",
    "Record",
    "Recorded",
    "RefusedByChecks",
    "Rehearsal",
    "Session",
    "TargetName",
    "all_environments",
    "down_recorded",
    "known",
    "leave",
    "open_stack",
    "plan_spec",
    "read_spec",
    "recorded",
    "recorded_runtime",
    "stays_applied",
    "unknown_environment",
    "written_down",
]
