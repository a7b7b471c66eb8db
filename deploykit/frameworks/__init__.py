"""One file per framework: how an app of it is found in a checkout, and laid out.

A driver looks; it never writes, and runs the project's own code only in a subprocess with a time limit.
"""

from __future__ import annotations

from typing import Protocol

from deploykit.detection import Detected, Finding, Project
from deploykit.registry import Registry

__all__ = ["REGISTRY", "Detected", "Finding", "Framework", "Project"]


class Framework(Protocol):
    """What the planner and `init` ask of a framework."""

    def detect(self, project: Project) -> Detected | None:
        """What was found, None where the project is not of this framework."""
        ...

    def default_static(self, files: tuple[str, ...], entrypoint: str) -> tuple[tuple[str, str], ...]:
        """(URL path, folder relative to the source) that nginx serves where the spec names no sites.

        `files` are the source's files, relative. A folder that is not among them is one that a release command fills.
        """
        ...


REGISTRY: Registry[Framework] = Registry("deploykit.frameworks")
