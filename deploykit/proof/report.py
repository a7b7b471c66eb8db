"""A report as rows, as JSON and as JUnit XML; pure, and the same for the same report. Drawing is the command line's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

from deploykit.errors import Place
from deploykit.plan import Report, SpecPath, Verdict

PlaceOf = Callable[[SpecPath], Place | None]
"""Where in the spec a path stands: `Source.place`."""


@dataclass(frozen=True)
class ReportRow:
    """One line of the table."""

    spec: str
    """The line, as `:30`; empty where the promise has none."""
    promise: str
    measured: str
    verdict: str


def rows(report: Report, place_of: PlaceOf) -> tuple[ReportRow, ...]:
    """One row for each verdict, in the order of the report."""
    told = []
    for verdict in report.verdicts:
        # What the whole spec implies stands on no line of it.
        place = place_of(verdict.check.spec_path) if verdict.check.spec_path else None
        line = f":{place.line}" if place is not None and place.line is not None else ""
        told.append(ReportRow(line, verdict.check.promise, verdict.measured, verdict.verdict))
    return tuple(told)


def counts(report: Report) -> dict[str, int]:
    """How many promises were kept, broken and not run."""
    return {name: sum(v.verdict == name for v in report.verdicts) for name in ("kept", "broken", "not run")}


def as_json(report: Report, place_of: PlaceOf) -> dict[str, object]:
    """Plain data, for `json.dumps`."""
    return {
        "kept": report.kept,
        "counts": counts(report),
        "checks": [_plain(verdict, place_of(verdict.check.spec_path)) for verdict in report.verdicts],
    }


def _plain(verdict: Verdict, place: Place | None) -> dict[str, object]:
    return {
        "kind": verdict.check.kind,
        "promise": verdict.check.promise,
        "verdict": verdict.verdict,
        "measured": verdict.measured,
        "seconds": round(verdict.seconds, 3),
        "effect": verdict.check.effect,
        "path": ".".join(str(part) for part in verdict.check.spec_path),
        "file": place.file if place else None,
        "line": place.line if place else None,
    }


def as_junit(report: Report, place_of: PlaceOf, name: str = "deploykit") -> str:
    """JUnit XML, as CI systems read it: a test suite of the stack, a case for each promise."""
    told = counts(report)
    numbers = {
        "tests": str(len(report.verdicts)),
        "failures": str(told["broken"]),
        "errors": "0",
        "skipped": str(told["not run"]),
        "time": _seconds(sum(verdict.seconds for verdict in report.verdicts)),
    }
    suites = ElementTree.Element("testsuites", {"name": _xml(name), **numbers})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _xml(name), **numbers})
    for verdict in report.verdicts:
        _case(suite, verdict, place_of(verdict.check.spec_path), name)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, verdict: Verdict, place: Place | None, name: str) -> None:
    about = {"name": _xml(verdict.check.promise), "classname": _xml(f"{name}.{verdict.check.kind}")}
    if place is not None:
        about["file"] = _xml(place.file)
        if place.line is not None:
            about["line"] = str(place.line)
    case = ElementTree.SubElement(suite, "testcase", {**about, "time": _seconds(verdict.seconds)})
    measured = _xml(verdict.measured)
    if verdict.verdict == "broken":
        ElementTree.SubElement(case, "failure", {"message": measured, "type": "broken"}).text = measured
    elif verdict.verdict == "not run":
        ElementTree.SubElement(case, "skipped", {"message": measured})
    else:
        ElementTree.SubElement(case, "system-out").text = measured


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _xml(text: str) -> str:
    """The text with what XML 1.0 can't hold (control characters, surrogates) as U+FFFD."""
    return "".join(
        character
        if character in "\t\n\r"
        or "\x20" <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character > "\uffff"
        else "\ufffd"
        for character in text
    )
