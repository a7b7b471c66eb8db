"""Plan data, times and sizes in a person's words, and as plain JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploykit import plan
    from deploykit.nginx.access_log import Traffic


def step_words(step: plan.Step) -> tuple[str, str]:
    """(verb, object) of a step, such as `("start", "web-1")`."""
    from deploykit import plan

    match step:
        case plan.EndOrphans():
            return "end", ", ".join(step.orphans)
        case plan.PrepareBase():
            return "prepare", ""
        case plan.DiscardRelease():
            return "discard", f"{step.app} {step.release}"
        case plan.BuildRelease():
            return "build", f"{step.app} {step.release}"
        case plan.RunReleaseCommands():
            return "release", f"{step.app} {step.release}"
        case plan.StartMember():
            return "start", f"{step.app}-{step.slot}"
        case plan.SwitchRelease():
            return "switch", step.app
        case plan.StageNginx():
            return "stage", "nginx"
        case plan.RunNginx():
            return step.how, "nginx"
        case plan.StopMember():
            return "stop", f"{step.app}-{step.slot}"
        case plan.RemoveLeftovers():
            return "remove", ", ".join(step.names)
        case plan.StopNginx():
            return "stop", "nginx"
    return type(step).__name__, ""


def seconds_text(seconds: float) -> str:
    """A duration as it is read at a glance: `0.1s`, `2m 05s`, `3h 10m`, `4d 2h`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def bytes_text(count: int | None) -> str:
    """A size in the unit that leaves one to four digits; `-` where it is not known."""
    if count is None:
        return "-"
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return f"{count}B"


def count_text(number: int, noun: str) -> str:
    """`1 app`, `2 apps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def traffic_json(traffic: Traffic | None) -> Any:
    """What came while it was switched; None where that was not seen."""
    return None if traffic is None else {**plain(traffic), "failed": traffic.failed}


def plain(value: Any) -> Any:
    """The value as JSON can say it: data classes as objects, sets sorted, a step with its name as `step`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        data = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"step": type(value).__name__, **data} if "cause" in data else data
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
