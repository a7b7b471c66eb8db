"""One file per CI system: what its log, its reports and its pages of a run understand. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from deploykit.findings import Finding
from deploykit.registry import Registry


class Pipeline(Protocol):
    """What a CI system is asked."""

    report_file: str
    """Where it looks for findings by default; empty where it takes them from the log."""
    step_file: str
    """The file in a checkout that makes `deploykit ci` a step there."""

    def is_here(self, environ: Mapping[str, str]) -> bool:
        """Whether this runs in it."""
        ...

    def top(self, environ: Mapping[str, str]) -> Path:
        """The top of the checkout, where its paths begin."""
        ...

    def begin(self, section: str, title: str, at: float, token: str) -> str:
        """What begins a section in its log; `token` can't be guessed by what writes into that section."""
        ...

    def end(self, section: str, at: float, token: str) -> str:
        """What ends it."""
        ...

    def annotations(self, findings: Sequence[Finding]) -> tuple[str, ...]:
        """Lines of the log that show each finding beside its line; none where a report does that."""
        ...

    def report(self, findings: Sequence[Finding]) -> str:
        """The findings as a document of its own format."""
        ...

    def summary_file(self, environ: Mapping[str, str]) -> Path | None:
        """Where Markdown is appended that it shows on the page of the run."""
        ...


REGISTRY: Registry[Pipeline] = Registry("deploykit.pipelines")


def here(environ: Mapping[str, str]) -> Pipeline | None:
    """The CI system that this runs in; None where it is none of those that are known."""
    found = (REGISTRY.get(name) for name in REGISTRY.names())
    return next((each for each in found if each.is_here(environ)), None)
