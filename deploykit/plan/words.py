"""Names that all of the plan's data share."""

from __future__ import annotations

from typing import Literal

from deploykit.spec.words import SpecPath

__all__ = ["SpecPath", "TargetName"]

TargetName = Literal["process", "docker"]
"""The names of the targets, as the spec and the command line say them."""
