"""Findings as SARIF 2.1.0 (OASIS), which code scanning of GitHub, Azure and editors read; the same for the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

from deploykit import __version__
from deploykit.findings import RULES, Finding

VERSION = "2.1.0"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Iterable[Finding]) -> str:
    """One run of deploykit with these results; also one without a result says that it looked."""
    rules = list(RULES)
    driver = {
        "name": "deploykit",
        "semanticVersion": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": RULES[rule]}} for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules) for finding in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, indent=2, ensure_ascii=False)


def _result(finding: Finding, rules: list[str]) -> dict[str, object]:
    result: dict[str, object] = {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": finding.level,
        "message": {"text": f"{finding.title}: {finding.message}"},
    }
    if finding.place is not None:
        # An absolute path is no URI by itself.
        file = quote(finding.place.file)
        physical: dict[str, object] = {"artifactLocation": {"uri": f"file://{file}" if file[:1] == "/" else file}}
        region = {"startLine": finding.place.line, "startColumn": finding.place.column}
        if finding.place.line is not None:
            physical["region"] = {name: value for name, value in region.items() if value is not None}
        result["locations"] = [{"physicalLocation": physical}]
    return result
