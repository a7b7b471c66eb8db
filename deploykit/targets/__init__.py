"""One file per target: where files go and what listens where. Decides from spec and facts alone."""

from __future__ import annotations

from typing import Protocol

from deploykit.errors import Problem
from deploykit.plan import AppPlan, Facts, FilePlan, Layout
from deploykit.registry import Registry
from deploykit.spec.model import Spec


class Target(Protocol):
    """What the planner asks of a target."""

    def check(self, spec: Spec) -> list[Problem]:
        """What in this spec the target can't honour."""
        ...

    def layout(self, spec: Spec) -> Layout:
        """Where things lie there."""
        ...

    def files(self, spec: Spec, facts: Facts, apps: tuple[AppPlan, ...]) -> tuple[FilePlan, ...]:
        """The files that only this target needs, such as a Dockerfile or supervisord's configuration."""
        ...


REGISTRY: Registry[Target] = Registry("deploykit.targets")
