"""Names that all of the plan's data share."""

from __future__ import annotations

from typing import Literal

from deploykit.spec.words import SpecPath

__all__ = ["BalanceMethod", "Match", "SpecPath", "TargetName"]

Match = Literal["prefix", "exact", "regex", "regex_any_case"]
"""How the path of a location is compared with that of a request."""

BalanceMethod = Literal["round_robin", "least_conn", "ip_hash", "random", "fair", "hash"]
"""How an upstream spreads its requests."""

TargetName = Literal["process", "docker"]
"""The names of the targets, as the spec and the command line say them."""
