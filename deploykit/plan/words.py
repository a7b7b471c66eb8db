"""Names that all of the plan's data share."""

from __future__ import annotations

from typing import Literal

from deploykit.spec.words import SpecPath

__all__ = ["BalanceMethod", "SpecPath", "TargetName"]

BalanceMethod = Literal["round_robin", "least_conn", "ip_hash", "random", "fair", "hash"]
"""How an upstream spreads its requests."""

TargetName = Literal["process", "docker"]
"""The names of the targets, as the spec and the command line say them."""
