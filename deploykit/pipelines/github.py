"""GitHub Actions: workflow commands in the log, groups, a summary of the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploykit.findings import Finding
from deploykit.pipelines import Pipeline

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step and drops the rest."""


class GitHub:
    """Answers in workflow commands: a line `::name key=value,key=value::text`."""

    report_file = ""
    step_file = ".github/workflows/deploykit.yml"

    def is_here(self, environ: Mapping[str, str]) -> bool:
        return environ.get("GITHUB_ACTIONS") == "true"

    def top(self, environ: Mapping[str, str]) -> Path:
        return Path(environ.get("GITHUB_WORKSPACE") or Path.cwd())

    def begin(self, section: str, title: str, at: float, token: str) -> str:
        # What an app or a build prints meanwhile is text: without this, `::error::` in it would be a command.
        return f"::group::{data(title)}\n::stop-commands::{token}"

    def end(self, section: str, at: float, token: str) -> str:
        return f"::{token}::\n::endgroup::"

    def annotations(self, findings: Sequence[Finding]) -> tuple[str, ...]:
        return tuple(
            _annotation(finding)
            for level in ("error", "warning")
            for finding in [each for each in findings if each.level == level][:MOST_ANNOTATIONS]
        )

    def report(self, findings: Sequence[Finding]) -> str:
        return "\n".join(_annotation(finding) for finding in findings)

    def summary_file(self, environ: Mapping[str, str]) -> Path | None:
        named = environ.get("GITHUB_STEP_SUMMARY")
        return Path(named) if named else None


def data(text: str) -> str:
    """The text of a command as its line can hold it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def value(text: str) -> str:
    """The value of a property: also what separates properties is text in it."""
    return data(text).replace(":", "%3A").replace(",", "%2C")


def _annotation(finding: Finding) -> str:
    about = {}
    if finding.place is not None:
        about["file"] = finding.place.file
        for name, number in (("line", finding.place.line), ("col", finding.place.column)):
            if number is not None:
                about[name] = str(number)
    about["title"] = finding.title
    return f"::{finding.level} {','.join(f'{name}={value(text)}' for name, text in about.items())}::" + data(
        finding.message
    )


DRIVER: Pipeline = GitHub()
