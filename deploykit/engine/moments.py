"""The Engine's times as numbers."""

from __future__ import annotations

from datetime import datetime


def moment(text: str) -> float | None:
    """Seconds since the epoch of the Engine's nanosecond times; None for what is none."""
    head, _, _ = text.partition(".")
    try:
        return datetime.fromisoformat(head.removesuffix("Z") + "+00:00").timestamp() + _fraction(text)
    except ValueError:
        return None


def _fraction(text: str) -> float:
    digits = text.partition(".")[2].removesuffix("Z")
    return float(f"0.{digits}") if digits.isdigit() else 0.0
