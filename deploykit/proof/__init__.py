"""Runs the checks of a plan against the running stack and says what each saw. Changes nothing that it measures."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploykit.errors import DeploykitError
from deploykit.plan import Check, Desired, Effect, Report, Verdict
from deploykit.proof import checks
from deploykit.proof.scene import Scene, Seen, broken, not_run, printable
from deploykit.runtimes import Runtime

__all__ = ["prove"]


def prove(desired: Desired, runtime: Runtime, *, allow: frozenset[Effect], progress: Callable[[Check], None]) -> Report:
    """One verdict for each check of the plan, in its order; `progress` is told of each check as it begins.

    A check whose effect is not in `allow` is not run, and a stack that can't be reached is a broken promise.
    """
    scene = Scene(desired, runtime)
    verdicts = []
    for check in desired.plan.checks:
        progress(check)
        started = time.monotonic()
        seen = _measure(scene, check, allow)
        verdicts.append(Verdict(check, seen.verdict, printable(seen.measured), time.monotonic() - started))
    return Report(tuple(verdicts))


def _measure(scene: Scene, check: Check, allow: frozenset[Effect]) -> Seen:
    if check.effect not in allow:
        return not_run(f"its effect, {check.effect}, is not allowed here")
    try:
        return checks.find(check.kind)(scene, check)
    except OSError as error:
        return broken(f"could not be measured: {error}")
    except DeploykitError as error:
        first = str(error).splitlines()[0].removeprefix("error: ")
        return broken(f"could not be measured: {first}")
