"""A report as rows, JSON and JUnit XML: every verdict is in each, and nothing that was measured can spoil them."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from deploykit.errors import Place
from deploykit.plan import Check, Report, SpecPath, Verdict
from deploykit.proof.report import as_json, as_junit, counts, rows

REPORT = Report(
    (
        Verdict(Check("weights", "weights 3:1", ("apps", "web", "instances"), "load"), "kept", "30/10 of 40", 0.5),
        Verdict(Check("user_check", "GET /: 200", ("checks", 0), "read"), "broken", 'a <b> & "c" \x00\x1b\ud800', 0.25),
        Verdict(Check("spread", "clients", (), "load"), "not run", "not allowed here", 0.0),
    )
)


def place(path: SpecPath) -> Place | None:
    return {"apps": Place("deploykit.yaml", 30, 5), "checks": Place("deploykit.yaml", 52, 3)}.get(
        str(path[:1] and path[0])
    )


def test_a_row_says_line_promise_measured_and_verdict() -> None:
    first, _, last = rows(REPORT, place)
    assert (first.spec, first.promise, first.measured, first.verdict) == (":30", "weights 3:1", "30/10 of 40", "kept")
    assert (last.spec, last.verdict) == ("", "not run")


def test_every_verdict_is_counted() -> None:
    assert counts(REPORT) == {"kept": 1, "broken": 1, "not run": 1}


def test_json_has_everything_a_program_asks_for() -> None:
    data = json.loads(json.dumps(as_json(REPORT, place)))
    assert data["kept"] is False
    assert data["checks"][0] == {
        "kind": "weights",
        "promise": "weights 3:1",
        "verdict": "kept",
        "measured": "30/10 of 40",
        "seconds": 0.5,
        "effect": "load",
        "path": "apps.web.instances",
        "file": "deploykit.yaml",
        "line": 30,
    }
    assert data["checks"][2]["line"] is None


def test_junit_is_xml_whatever_was_measured() -> None:
    text = as_junit(REPORT, place, "shop")
    suite = ElementTree.fromstring(text).find("testsuite")  # noqa: S314 -- our own text
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "time": "0.750",
    }
    cases = suite.findall("testcase")
    assert [(case.get("name"), case.get("line")) for case in cases] == [
        ("weights 3:1", "30"),
        ("GET /: 200", "52"),
        ("clients", None),
    ]
    failure, skipped = cases[1].find("failure"), cases[2].find("skipped")
    assert failure is not None and skipped is not None
    assert failure.get("message") == 'a <b> & "c" \ufffd\ufffd\ufffd'
    assert skipped.get("message") == "not allowed here"


def test_the_same_report_gives_the_same_text() -> None:
    assert as_junit(REPORT, place) == as_junit(REPORT, place)
