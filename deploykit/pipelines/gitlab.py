"""GitLab CI: sections of the log that fold, a Code Quality report; promises go into its JUnit report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploykit.findings import Finding
from deploykit.pipelines import Pipeline

ERASE = "\x1b[0K"
SEVERITIES = {"error": "major", "warning": "minor"}


class GitLab:
    """Answers in GitLab's section markers and its subset of Code Climate's issues."""

    report_file = "gl-code-quality-report.json"
    step_file = ".gitlab-ci.yml"

    def is_here(self, environ: Mapping[str, str]) -> bool:
        return environ.get("GITLAB_CI") == "true"

    def top(self, environ: Mapping[str, str]) -> Path:
        return Path(environ.get("CI_PROJECT_DIR") or Path.cwd())

    def begin(self, section: str, title: str, at: float, token: str) -> str:
        return f"{ERASE}section_start:{int(at)}:deploykit_{section}\r{ERASE}{title}"

    def end(self, section: str, at: float, token: str) -> str:
        return f"{ERASE}section_end:{int(at)}:deploykit_{section}\r{ERASE}"

    def annotations(self, findings: Sequence[Finding]) -> tuple[str, ...]:
        return ()

    def report(self, findings: Sequence[Finding]) -> str:
        return json.dumps([_issue(finding) for finding in findings], indent=2, ensure_ascii=False)

    def summary_file(self, environ: Mapping[str, str]) -> Path | None:
        return None


def _issue(finding: Finding) -> dict[str, object]:
    path = finding.place.file if finding.place is not None else "deploykit.yaml"
    # The same finding keeps its fingerprint when lines above it come and go: else it would be new each time.
    same = "\0".join((finding.rule, path, finding.title, finding.message))
    return {
        "type": "issue",
        "check_name": f"deploykit.{finding.rule}",
        "description": f"{finding.title}: {finding.message}",
        "categories": ["Bug Risk"],
        "severity": SEVERITIES[finding.level],
        "fingerprint": hashlib.sha256(same.encode("utf-8", "backslashreplace")).hexdigest()[:32],
        "location": {"path": path, "lines": {"begin": (finding.place.line if finding.place else None) or 1}},
    }


DRIVER: Pipeline = GitLab()
