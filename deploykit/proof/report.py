"""A report as rows, as JSON and as JUnit XML; pure, and the same for the same report. Drawing is the command line's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
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


@dataclass(frozen=True)
class Stage:
    """One part of a longer run, such as `up`: how long it took and how it ended."""

    name: str
    outcome: Literal["done", "failed", "not run"]
    seconds: float = 0.0
    said: str = ""
    """What came of it, in a few words."""


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


def as_junit(report: Report, place_of: PlaceOf, name: str = "deploykit", stages: Sequence[Stage] = ()) -> str:
    """JUnit XML, as CI systems read it: a test suite with a case for each promise, and one with the stages."""
    told = counts(report)
    seconds = sum(verdict.seconds for verdict in report.verdicts)
    suite = _suite(name, len(report.verdicts), told["broken"], told["not run"], seconds)
    for verdict in report.verdicts:
        _case(suite, verdict, place_of(verdict.check.spec_path), name)
    suites = [suite] if not stages else [suite, _stages(stages, name)]
    total = ElementTree.Element("testsuites", {**suite.attrib, **_sums(suites)})
    total.extend(suites)
    ElementTree.indent(total)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(total, encoding="unicode") + "\n"


def _suite(name: str, tests: int, failures: int, skipped: int, seconds: float) -> ElementTree.Element:
    numbers = {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    return ElementTree.Element("testsuite", {"name": _xml(name), **numbers, "time": _seconds(seconds)})


def _sums(suites: Sequence[ElementTree.Element]) -> dict[str, str]:
    whole = {key: str(sum(int(each.attrib[key]) for each in suites)) for key in ("tests", "failures", "skipped")}
    return {**whole, "time": _seconds(sum(float(each.attrib["time"]) for each in suites))}


def _stages(stages: Sequence[Stage], name: str) -> ElementTree.Element:
    told = {outcome: sum(stage.outcome == outcome for stage in stages) for outcome in ("failed", "not run")}
    seconds = sum(stage.seconds for stage in stages)
    suite = _suite(f"{name}: deploykit ci", len(stages), told["failed"], told["not run"], seconds)
    for stage in stages:
        about = {"name": stage.name, "classname": _xml(f"{name}.ci"), "time": _seconds(stage.seconds)}
        case = ElementTree.SubElement(suite, "testcase", about)
        said = _xml(stage.said)
        if stage.outcome == "failed":
            ElementTree.SubElement(case, "failure", {"message": said, "type": "failed"}).text = said
        elif stage.outcome == "not run":
            ElementTree.SubElement(case, "skipped", {"message": said})
    return suite


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
