"""What nginx's error log says of the instances behind it: which one, what, how often, since when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploykit.plan import Observed
    from deploykit.runtimes import LogLine

LINE = re.compile(
    r"^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?:warn|error|crit|alert)\] \S+ (?:\*\d+ )?(.*?), client: .*"
    r', upstream: "(?:http|uwsgi)://(unix:[^":]+|[^"/]+)'
)
"""A line of nginx that names an upstream (ngx_http_log_error_handler)."""


@dataclass(frozen=True)
class Complaint:
    """All that nginx said of one instance."""

    member: str
    what: str
    """The last of it, in nginx's words."""
    times: int
    first: float
    """Seconds since the epoch."""
    last: float


def addresses(observed: Observed) -> Mapping[str, str]:
    """What nginx calls each instance to what a person calls it."""
    return {member.address: f"{member.app}-{member.slot}" for member in observed.members}


def member_meant(text: str, names: Mapping[str, str]) -> str:
    """The instance that a line of nginx complains about, as `web-1`; empty where it is about none."""
    found = LINE.match(text)
    return names.get(found[3], "") if found else ""


def complaints(lines: Iterable[LogLine], observed: Observed) -> dict[str, Complaint]:
    """Instance to what nginx said of it since it was started last."""
    names = addresses(observed)
    started = {f"{member.app}-{member.slot}": member.since or 0.0 for member in observed.members}
    found: dict[str, Complaint] = {}
    for line in lines:
        match = LINE.match(line.text) if line.name == "nginx" else None
        name = names.get(match[3], "") if match else ""
        if match is None or not name:
            continue
        at = line.at or datetime.strptime(match[1], "%Y/%m/%d %H:%M:%S").timestamp()
        if at < started[name]:
            continue
        before = found.get(name)
        if before is None:
            found[name] = Complaint(name, match[2], 1, at, at)
        else:
            found[name] = replace(before, what=match[2], times=before.times + 1, last=at)
    return found
