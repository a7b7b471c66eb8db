"""What nginx's log says of the requests that it answered; the other half of `log_format` in its configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LINE = re.compile(
    r'\S+ \[[^]]*\] "[^"]*" (?P<status>\d{3}) \d+ (?P<seconds>[\d.]+)'
    r' "(?P<upstream>[^"]*)" "(?P<answered>[^"]*)" \S+ "[^"]*" "(?P<began>[^"]*)" (?P<probe>\S+)'
)
PROBE = "probe"
"""Stands at the end of the line of a request of deploykit's own checks."""

CUT_OFF = re.compile(r"\[error\] .*(prematurely closed connection|\(104: [^)]*\)) while reading upstream,")
"""What the error log says of an answer that ended in its middle; the access log shows its first status."""

UNREADABLE, REFUSED, LEFT = 400, 444, 499
"""What is no HTTP, a host that no site has, a client that went before it had its answer."""


@dataclass(frozen=True)
class Traffic:
    """The requests of clients that ended in a time, without those of deploykit's own checks."""

    requests: int = 0
    errors: Mapping[int, int] = field(default_factory=dict)
    """Status of 500 and more to how many got it, whoever said so."""
    cut_off: int = 0
    """Answers that ended in their middle, because an instance did."""
    left: int = 0
    """Requests whose client did not wait for the answer."""
    slowest_seconds: float = 0.0
    """The longest that an app took until it began its answer."""

    @property
    def failed(self) -> int:
        return sum(self.errors.values()) + self.cut_off

    def __str__(self) -> str:
        """`1,204 requests, 2 failed (1 x 502, 1 cut off), the slowest answer began after 0.41 s`."""
        what = [f"{count} x {status}" for status, count in sorted(self.errors.items())]
        what += [f"{self.cut_off} cut off"] if self.cut_off else []
        words = [f"{self.requests:,} request{'' if self.requests == 1 else 's'}", f"{self.failed} failed"]
        words[-1] += f" ({', '.join(what)})" if what else ""
        words += [f"{self.left} not waited for by the client"] if self.left else []
        return ", ".join([*words, f"the slowest answer began after {self.slowest_seconds:.2f} s"])


def traffic(lines: Iterable[str]) -> Traffic:
    """What these lines of nginx's log tell, access and errors in one."""
    statuses: Counter[int] = Counter()
    cut_off, slowest = 0, 0.0
    for line in lines:
        if CUT_OFF.search(line):
            cut_off += 1
        elif (found := LINE.fullmatch(line.strip())) and _is_of_a_client(found):
            statuses[int(found["status"])] += 1
            slowest = max(slowest, _waited(found["began"], found["answered"]))
    errors = {status: count for status, count in statuses.items() if status >= 500}
    return Traffic(statuses.total(), errors, cut_off, statuses[LEFT], slowest)


def _is_of_a_client(found: re.Match[str]) -> bool:
    # Of a request that nginx could not read it knows no header either, so nobody can say whose it was.
    no_request = found["upstream"] == "-" and int(found["status"]) in (UNREADABLE, REFUSED)
    return found["probe"] != PROBE and not no_request


def _waited(began: str, answered: str) -> float:
    """Seconds until an app began its answer, those of every instance that was tried; 0 where nginx answered itself."""
    pairs = zip(re.split(r"[,:] ?", began), re.split(r"[,:] ?", answered), strict=False)
    return sum(_seconds(first.strip()) or _seconds(all_of_it.strip()) for first, all_of_it in pairs)


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"[\d.]+", text) else 0.0
