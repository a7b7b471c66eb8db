"""A run and its report as Markdown, for the page that a CI system shows of it; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploykit.plan import Report
from deploykit.proof.report import PlaceOf, Stage, counts

MOST_BYTES = 1000 * 1000
"""GitHub takes 1 MiB of all steps of a job and drops a summary that is larger."""

MARKS = {"kept": "✅", "broken": "❌", "not run": "⚪", "done": "✅", "failed": "❌"}


def as_markdown(title: str, verdict: str, stages: Sequence[Stage], report: Report | None, place_of: PlaceOf) -> str:
    """The verdict, a table of the promises, broken ones first, and a table of the stages."""
    lines = [f"### {cell(title)}", "", cell(verdict), ""]
    if report is not None:
        told = " · ".join(f"{count} {name}" for name, count in counts(report).items())
        lines += [told, "", "| | promise | measured | spec |", "| --- | --- | --- | --- |"]
        order = ("broken", "not run", "kept")
        for each in sorted(report.verdicts, key=lambda one: order.index(one.verdict)):
            place = place_of(each.check.spec_path) if each.check.spec_path else None
            at = f"{cell(place.file)}:{place.line}" if place is not None else ""
            mark = f"{MARKS[each.verdict]} {each.verdict}"
            lines.append(f"| {mark} | {cell(each.check.promise)} | {cell(each.measured)} | {at} |")
        lines.append("")
    lines += ["| | stage | seconds | |", "| --- | --- | ---: | --- |"]
    for stage in stages:
        lines.append(f"| {MARKS[stage.outcome]} | {stage.name} | {stage.seconds:.1f} | {cell(stage.said)} |")
    return _cut("\n".join(lines) + "\n\n")


def cell(text: str) -> str:
    """The text on one line, without a character that Markdown or HTML would make something of."""
    flat = " ".join(text.split())
    return re.sub(r"[^\w\s.,:;=/+%()'\"?-]", lambda found: f"&#{ord(found[0])};", flat)


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= MOST_BYTES:
        return text
    return data[:MOST_BYTES].decode("utf-8", "ignore").rpartition("\n")[0] + "\n\n(cut)\n\n"
