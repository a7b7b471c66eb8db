"""Watches the instances that were just switched to: one that dies or gets unhealthy only then is told with its log."""

from __future__ import annotations

import time
from collections import Counter

from deploykit.causes import likely_cause
from deploykit.errors import DeploykitError, Failure
from deploykit.health import READ_LINES, SHOWN_LINES, why_unhealthy
from deploykit.plan import Desired, StartMember
from deploykit.reconcile import Changes
from deploykit.runtimes import Runtime

PAUSE_SECONDS = 0.1


class Monitor:
    """The instances that one run of deploykit started, from their switch on."""

    def __init__(self, changes: Changes, desired: Desired, runtime: Runtime) -> None:
        self.desired = desired
        self.runtime = runtime
        self.began = time.monotonic()
        self.fresh = frozenset(
            (step.app, step.slot, step.release) for step in changes.deploy if isinstance(step, StartMember)
        )
        self._failed: Counter[tuple[str, int]] = Counter()

    @property
    def seconds(self) -> float:
        """How long they are watched: the longest that the spec says of one of their apps."""
        apps = {app for app, _, _ in self.fresh}
        return max((app.monitor_seconds for app in self.desired.plan.apps if app.name in apps), default=0.0)

    def rest(self) -> Failure | None:
        """What went wrong with one of them until the time was over; None where all are as they were."""
        if not self.fresh:
            return None
        while time.monotonic() - self.began < self.seconds or self._failed.total():
            if self._is_unhealthy():
                break
            time.sleep(PAUSE_SECONDS)
        return self.look()

    def judge(self) -> Failure | None:
        """What is wrong with one of them, asked at once as often as makes it unhealthy."""
        for _ in range(max((app.probe.retries for app in self.desired.plan.apps), default=0)):
            if not self.fresh or self._is_unhealthy():
                break
            time.sleep(PAUSE_SECONDS)
        return self.look()

    def look(self) -> Failure | None:
        """What is wrong with one of them now, or was: also that it ended and was started again."""
        if not self.fresh:
            return None
        seen = self.runtime.observe(False)
        there = {(member.app, member.slot, member.release): member for member in seen.members}
        for key in sorted(self.fresh):
            app, slot, _ = key
            member = there.get(key)
            gone = member is None or member.state in ("stopped", "failed") or member.restarts > 0
            if gone or self._failed[app, slot] >= self.desired.plan.app(app).probe.retries:
                return self._failure(*key)
        return None

    def _is_unhealthy(self) -> bool:
        """Whether one of them has answered wrongly as often as makes it unhealthy; asks each once."""
        try:
            answers = self.runtime.ask_members(self.desired)
        except DeploykitError:
            return self.look() is not None  # one of them may just be started again
        for app, slot, _ in self.fresh:
            probe = self.desired.plan.app(app).probe
            answer = answers.get((app, slot))
            if answer is None or why_unhealthy(probe, answer):
                self._failed[app, slot] += 1
                if self._failed[app, slot] >= probe.retries:
                    return True
            else:
                del self._failed[app, slot]
        return False

    def _failure(self, app: str, slot: int, release: str) -> Failure:
        name = f"{app}-{slot}"
        seconds = time.monotonic() - self.began
        members = self.runtime.observe(True).members
        now = [each.seen for each in members if (each.app, each.slot, each.release) == (app, slot, release)]
        lines = [line.text for line in self.runtime.logs((name,), lines=READ_LINES, follow=False)]
        return Failure(
            f"{name} of release {release} did not stay healthy",
            tried=(f"watched it after the switch; {seconds:.1f} s later it {''.join(now) or 'is not as it was'}",),
            log_name=f"deploykit logs {name}",
            log_lines=tuple(lines[-SHOWN_LINES:]),
            cause=likely_cause(lines),
        )
