"""Whether an instance is healthy, what was seen where it is not, and what that most likely means. Asks nobody."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from deploykit.causes import likely_cause, unhealthy_cause
from deploykit.errors import Failure
from deploykit.plan import Probe
from deploykit.wire import Answer

SHOWN_LINES = 20
"""Of a log, with an error."""
READ_LINES = 500
"""Of a log, for its cause: a server that starts its worker again repeats itself below the first reason."""
LOOP_SECONDS = 90.0
"""Ends with less than this between them belong together; a supervisor waits a minute at most before it tries again."""


@dataclass(frozen=True)
class End:
    """One time that an instance ended without being asked to."""

    at: float
    """Seconds since the epoch."""
    exit_code: int | None = None
    """Above 128 it was killed by the signal of that number less 128."""
    out_of_memory: bool = False

    def __str__(self) -> str:
        if self.out_of_memory:
            return "out of memory"
        if self.exit_code is None:
            return "nobody knows how"
        if self.exit_code > 128:
            return f"killed by {signal_name(self.exit_code - 128)}"
        return f"exit code {self.exit_code}"


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 99` where it has no name here."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def why_unhealthy(probe: Probe, answer: Answer) -> str:
    """What was seen instead of health, to be read after the instance's name; empty where it is healthy."""
    low, high = probe.statuses
    if not answer.status:
        if answer.error.startswith("timed out"):
            return f"does not answer within {round(answer.seconds, 1):g} s"
        if answer.error in ("refused", "no such socket"):
            return f"does not listen ({answer.error})"
        return f"gives no answer ({answer.error})"
    if not low <= answer.status <= high:
        return f"answers {answer.status}, not {low}" + (f" to {high}" if high != low else "")
    if probe.contains not in answer.body:
        return f"answers {answer.status}, but without `{probe.contains}`"
    return ""


def more_telling(before: Answer | None, now: Answer) -> Answer:
    """The answer now, but for the last of a row that did not come: it was waited for the least."""
    both_late = before is not None and before.error.startswith("timed out") and now.error.startswith("timed out")
    return before if both_late and before is not None else now


def ended_text(end: End | None) -> str:
    """How an instance ended while it was waited for, to be read after its name."""
    if end is None:
        return "ended at once"
    return f"ended at once {'with ' if end.exit_code is not None and end.exit_code <= 128 else ''}{end}"


def failure(
    member: str, probe: Probe, ended: str, answer: Answer | None, log_name: str, lines: Sequence[str]
) -> Failure:
    """What is told of an instance that never got healthy: it `ended` like that, or was asked until its time was over.

    `answer` is the last one; `lines` are those of its own log since it was started.
    """
    what = f"{member} {ended}" if ended else f"{member} did not become healthy within {probe.start_period_seconds:g} s"
    seen = why_unhealthy(probe, answer) if answer is not None else ""
    return Failure(
        what,
        tried=(f"GET {probe.path} (Host {probe.host}): it {seen}",) if seen and not ended else (),
        log_name=log_name,
        log_lines=tuple(lines[-SHOWN_LINES:]),
        cause=likely_cause(lines) or unhealthy_cause(lines, probe, answer, ended),
    )


def loop(ends: Sequence[End]) -> tuple[End, ...]:
    """The last ends that belong together, oldest first."""
    found: list[End] = []
    for end in sorted(ends, key=lambda end: end.at, reverse=True):
        if found and found[-1].at - end.at > LOOP_SECONDS:
            break
        found.append(end)
    return tuple(reversed(found))


def told(ends: Sequence[End], now: float, why: str) -> tuple[str, float | None]:
    """What to say of an instance that is asked about now, and since when that is so; empty where all is well.

    `ends` are all that are known of it, `why` is what its probe saw.
    """
    last = loop(ends)
    if not last or (not why and now - last[-1].at > LOOP_SECONDS):
        return why, None
    if len(last) == 1:
        text = f"restarted once, {now - last[0].at:.0f} s ago: {last[0]}"
    else:
        text = f"restarted {len(last)} times in {max(1.0, now - last[0].at):.0f} s, the last time: {last[-1]}"
    return (f"{text}; {why}" if why else text), last[0].at
