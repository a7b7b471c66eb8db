"""The steps of one `up` or `rollback`, taken, watched and proven; what served before serves again where that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from deploykit.converge.monitoring import Monitor
from deploykit.converge.outcome import BrokenAtFirst, Progress, RefusedByChecks, broken_promises
from deploykit.converge.retiring import retire
from deploykit.converge.watching import Watch
from deploykit.errors import DeployFailed, DeploykitError, EnvironmentLacks, Failure, FailureError
from deploykit.plan import Desired, Effect, Observed, Report, StartMember, Step
from deploykit.reconcile import Changes, undo
from deploykit.runtimes import Runtime


def measured(
    desired: Desired, runtime: Runtime, redact: Callable[[str], str], progress: Progress, allow: frozenset[Effect]
) -> Report:
    """The checks of the plan, measured on what runs; no secret is in what they saw."""
    from deploykit.proof import prove

    report = prove(desired, runtime, allow=allow, progress=progress.check)
    return replace(report, verdicts=tuple(replace(v, measured=redact(v.measured)) for v in report.verdicts))


@dataclass(frozen=True)
class Deployment:
    """What has to change, from what to what, and who is told."""

    changes: Changes
    desired: Desired
    observed: Observed
    runtime: Runtime
    redact: Callable[[str], str]
    progress: Progress
    option: str
    """What has to be added to a command of deploykit for this environment."""
    watch: Watch
    """What becomes of the requests that come meanwhile."""

    def settle(self, allow: frozenset[Effect]) -> Report:
        """The steps are taken, what was started has stayed healthy for its time, and the checks are kept.

        Raises:
            DeployFailed: a step failed, an instance got unhealthy or a check is broken; what served before serves.
            PromiseBroken: a check is broken and nothing served before; the stack is up to be looked at.
            EnvironmentLacks: a step found that something is missing; what served before serves.
        """
        self._deploy()
        monitor = Monitor(self.changes, self.desired, self.runtime)
        report = measured(self.desired, self.runtime, self.redact, self.progress, allow)
        trouble = monitor.judge() if report.broken else monitor.rest()
        if trouble is not None:
            self._refuse(trouble, report)
        if report.broken:
            self._refuse(broken_promises(report), report)
        retire(self.changes.retire, lambda step: self.redact(self.runtime.apply(step, self.desired)), self.progress)
        return report

    def _deploy(self) -> None:
        done: list[Step] = []
        try:
            self._take(self.changes.deploy, done)
        except FailureError as error:
            failure = replace(error.failure, now_running=self._restore(done))
            if isinstance(error, EnvironmentLacks):
                raise EnvironmentLacks(failure) from error
            raise DeployFailed(failure) from error

    def _take(self, steps: tuple[Step, ...], done: list[Step]) -> None:
        for step in steps:
            done.append(step)
            self.watch.before(step, self.runtime)
            with self.progress.step(step) as result:
                if isinstance(step, StartMember):
                    probe = self.desired.plan.app(step.app).probe
                    wait = f"waits up to {probe.start_period_seconds:g} s for GET {probe.path} to be answered"
                    self.progress.tell(wait)
                result(self.redact(self.runtime.apply(step, self.desired)))

    def _restore(self, done: list[Step]) -> str:
        problems = []
        self.runtime.undo_leftovers(self.desired)
        for step in undo(done, self.observed):
            try:
                with self.progress.step(step) as result:
                    result(self.runtime.apply(step, self.desired))
            except DeploykitError as error:
                problems.append(str(error).splitlines()[0].removeprefix("error: "))
        if seen := self.watch.seen():
            self.progress.tell(f"meanwhile: {seen}")
        if problems:
            return "going back failed too: " + "; ".join(problems)
        served = {app: release for app, release in self.observed.live.items() if release}
        if served and self.observed.nginx.state == "running":
            return "what served before serves: " + ", ".join(f"{app} {release}" for app, release in served.items())
        return "nothing served before, and nothing serves now"

    def _refuse(self, failure: Failure, report: Report) -> NoReturn:
        if self.observed.anything and self.changes.deploy:
            failure.now_running = self._restore(list(self.changes.deploy))
            raise RefusedByChecks(failure, report)
        commands = f"deploykit status{self.option}, deploykit logs{self.option}"
        failure.now_running = f"the stack is up, to be looked at: {commands}"
        raise BrokenAtFirst(failure, report)
