"""What is wrong reaches each program in the form that it reads, whatever characters are in it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from deploykit import pipelines
from deploykit.errors import Place, Problem
from deploykit.findings import RULES, Finding, from_problem, relative
from deploykit.pipelines.github import data, value
from deploykit.plan import Check, Report, Verdict
from deploykit.proof.report import Stage
from deploykit.proof.summary import MOST_BYTES, as_markdown
from deploykit.sarif import sarif

NASTY = "50% of a:b, c\r\n::error::no | `x` <b>[l](u)</b> é"
FINDINGS = (
    Finding("spec", "apps.web", NASTY, place=Place("a folder/deploykit.yaml", 3, 5)),
    Finding("spec", "listen", "taken", "warning", Place("/srv/deploykit.yaml", 1)),
    Finding("deployment", "deploykit up", "no Engine"),
)


# --- GitHub ----------------------------------------------------------------------------------------------------


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it: actions/runner, ActionCommand.TryParseV2 and its unescaping."""
    assert line.startswith("::") and "\n" not in line and "\r" not in line
    head, _, text = line[2:].partition("::")
    name, _, properties = head.partition(" ")
    pairs = dict(pair.split("=", 1) for pair in properties.split(",") if pair)
    escapes = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))

    def plain(text: str, of: tuple[tuple[str, str], ...]) -> str:
        for written, meant in of:
            text = text.replace(written, meant)
        return text

    return name, {key: plain(text, escapes) for key, text in pairs.items()}, plain(text, (*escapes[:2], escapes[-1]))


def test_an_annotation_says_all_of_the_finding_at_its_place() -> None:
    first, second, third = pipelines.REGISTRY.get("github").annotations(FINDINGS[:1] + FINDINGS[2:] + FINDINGS[1:2])
    about = {"file": "a folder/deploykit.yaml", "line": "3", "col": "5", "title": "apps.web"}
    assert read_command(first) == ("error", about, NASTY)
    assert read_command(second) == ("error", {"title": "deploykit up"}, "no Engine")
    assert read_command(third)[0] == "warning"


def test_what_would_end_a_property_or_a_line_is_escaped() -> None:
    assert data("a%b\r\nc:d,e") == "a%25b%0D%0Ac:d,e"
    assert value("a%b\r\nc:d,e") == "a%25b%0D%0Ac%3Ad%2Ce"


def test_of_many_findings_those_that_github_shows_are_annotated() -> None:
    many = [Finding("spec", str(number), "wrong") for number in range(30)]
    assert len(pipelines.REGISTRY.get("github").annotations(many)) == 10


def test_what_a_section_holds_is_no_command() -> None:
    github = pipelines.REGISTRY.get("github")
    begin, end = github.begin("up", "deploykit up", 0.0, "unguessable"), github.end("up", 0.0, "unguessable")
    assert begin.splitlines() == ["::group::deploykit up", "::stop-commands::unguessable"]
    assert end.splitlines() == ["::unguessable::", "::endgroup::"]


# --- GitLab ----------------------------------------------------------------------------------------------------

CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^[^.]"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
"""docs.gitlab.com/ci/testing/code_quality: what a report from another tool has to have."""


def test_a_code_quality_report_has_what_gitlab_asks_for() -> None:
    gitlab = pipelines.REGISTRY.get("gitlab")
    report = json.loads(gitlab.report(FINDINGS))
    jsonschema.validate(report, CODE_QUALITY)
    assert [issue["severity"] for issue in report] == ["major", "minor", "major"]
    assert report[0]["location"] == {"path": "a folder/deploykit.yaml", "lines": {"begin": 3}}
    assert len({issue["fingerprint"] for issue in report}) == 3
    assert json.loads(gitlab.report(())) == []


def test_a_finding_that_only_moved_is_the_same_to_gitlab() -> None:
    gitlab = pipelines.REGISTRY.get("gitlab")
    here = Finding("spec", "listen", "taken", place=Place("deploykit.yaml", 3, 1))
    below = Finding("spec", "listen", "taken", place=Place("deploykit.yaml", 9, 1))
    assert json.loads(gitlab.report([here]))[0]["fingerprint"] == json.loads(gitlab.report([below]))[0]["fingerprint"]


def test_sections_fold_in_gitlabs_log() -> None:
    gitlab = pipelines.REGISTRY.get("gitlab")
    assert gitlab.begin("up", "deploykit up", 1700000000.9, "") == (
        "\x1b[0Ksection_start:1700000000:deploykit_up\r\x1b[0Kdeploykit up"
    )
    assert gitlab.end("up", 1700000003.1, "") == "\x1b[0Ksection_end:1700000003:deploykit_up\r\x1b[0K"


@pytest.mark.parametrize(
    ("environ", "found"),
    [({"GITHUB_ACTIONS": "true"}, "GitHub"), ({"GITLAB_CI": "true"}, "GitLab"), ({"CI": "true"}, "NoneType")],
)
def test_where_it_runs_is_told_by_the_variable_of_that_system(environ: dict[str, str], found: str) -> None:
    assert type(pipelines.here(environ)).__name__ == found


# --- SARIF -----------------------------------------------------------------------------------------------------

TEXT = {"type": "object", "required": ["text"], "additionalProperties": False, "properties": {"text": {"minLength": 1}}}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "semanticVersion": {"pattern": r"^\d+\.\d+\.\d+([-+].*)?$"},
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "additionalProperties": False,
                                            "properties": {"id": {"type": "string"}, "shortDescription": TEXT},
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "additionalProperties": False,
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "required": ["uri"],
                                                        "additionalProperties": False,
                                                        "properties": {"uri": {"pattern": r"^[\w.~%/:-]+$"}},
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "required": ["startLine"],
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    },
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The part of the schema of SARIF 2.1.0 that is used here (sections 3.13, 3.14, 3.18 to 3.20, 3.27 to 3.30): what is
required there is required, and nothing is written that it does not name."""


def test_sarif_has_what_its_schema_requires_and_nothing_that_it_does_not_name() -> None:
    log = json.loads(sarif(FINDINGS))
    jsonschema.validate(log, SARIF)
    (run,) = log["runs"]
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
    uris = [
        each["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"][:2] for each in one["locations"]
    ]
    assert uris == ["a%20folder/deploykit.yaml", "file:///srv/deploykit.yaml"]
    assert "locations" not in run["results"][2]


def test_sarif_of_nothing_says_that_it_looked() -> None:
    log = json.loads(sarif(()))
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"] == []
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(RULES)


# --- places and summaries --------------------------------------------------------------------------------------


def test_places_are_told_from_the_top_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert relative(Place("deploykit.yaml", 3), tmp_path) == Place("shop/deploykit.yaml", 3)
    assert relative(Place("../deploykit.yaml", 3), tmp_path) == Place("deploykit.yaml", 3)
    assert relative(Place("/etc/deploykit.yaml", 3), tmp_path) == Place("/etc/deploykit.yaml", 3)
    finding = from_problem(Problem("listen", "is taken", "another", Place("deploykit.yaml", 3, 1)), tmp_path)
    assert finding.line == "shop/deploykit.yaml:3:1: listen: is taken (another)"


def test_a_summary_shows_text_as_text_and_broken_promises_first() -> None:
    kept = Verdict(Check("weights", "kept one", (), "read"), "kept", "fine")
    broken = Verdict(Check("user_check", NASTY, ("checks", 0), "read"), "broken", NASTY)
    place = Place("deploykit.yaml", 7)
    text = as_markdown("ci", "broken", [Stage("up", "done", 1.25)], Report((kept, broken)), lambda _: place)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert rows[1].startswith("| ❌ broken | ") and rows[1].endswith(" | deploykit.yaml:7 |")
    assert rows[2] == "| ✅ kept | kept one | fine |  |"
    assert all(row.count("|") == 5 for row in rows)
    assert "<b>" not in text and "`x`" not in text and "[l]" not in text


def test_a_summary_is_never_larger_than_github_takes() -> None:
    many = tuple(Verdict(Check("weights", f"promise {n}", (), "read"), "kept", "x" * 4000) for n in range(400))
    text = as_markdown("ci", "all kept", [], Report(many), lambda _: None)
    assert len(text.encode()) < MOST_BYTES + 100
    assert text.endswith("(cut)\n\n")
