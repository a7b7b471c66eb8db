"""`deploykit ci`: the whole line as one step of a pipeline, told the way that the pipeline shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import check as checking
from deploykit.cli import reach
from deploykit.cli.allow import Allow, allowed
from deploykit.cli.locked import locked_facts
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.progress import open_progress
from deploykit.cli.report import show_report
from deploykit.cli.stages import Failed, FirstSignal, Stages
from deploykit.cli.tables import Cell, table
from deploykit.cli.words import count_text, plain, seconds_text
from deploykit.errors import EnvironmentLacks, Place, Problem, PromiseBroken, SpecError

if TYPE_CHECKING:
    from deploykit.converge import Rehearsal, Session
    from deploykit.findings import Finding
    from deploykit.pipelines import Pipeline
    from deploykit.plan import Effect, Report, SpecPath

ORDER = ("check", "render", "up", "test", "down")


def ci(
    options: Options,
    target: Target = None,
    rendered: Annotated[
        Path | None, typer.Option("--rendered", metavar="DIR", help="A committed folder of `render`, to be compared.")
    ] = None,
    allow: Allow = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write stages and promises as JUnit XML.")
    ] = None,
    code_quality: Annotated[
        Path | None,
        typer.Option("--code-quality", metavar="FILE", help="Write what is wrong as a Code Quality report of GitLab."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also for a named environment.")] = False,
    json: Json = False,
) -> int:
    """Check, render --check, up, test and down in one: a step of a pipeline.

    Takes down what it brought up, also where it fails or is cancelled; a stack that was up before is refused and left
    as it was. In GitHub Actions it annotates and writes a summary, in GitLab CI a Code Quality report. The last line
    names the first broken promise.
    """
    from deploykit import pipelines

    effects = allowed(allow)
    if options.environment != "local" and not yes:
        what = f"`{options.environment}` would be brought up and taken down again"
        raise SpecError(Problem("", what, "add `--yes` where that is meant"))
    console = options.console
    pipeline = pipelines.here(os.environ)
    if not json:
        # One stream, so that what a stage says stays within its section.
        console.err, console.err_colours = console.out, console.colours
    run = _Run(options, target, Stages(console, pipeline), pipeline)
    with FirstSignal() as signals:
        try:
            run.check_and_render(rendered)
            run.up_and_test(effects, quiet=json)
        except Failed as failed:
            run.failed(failed)
        except BaseException as error:
            run.verdict = "interrupted" if isinstance(error, KeyboardInterrupt) else "ended by a bug of deploykit"
            run.ended_early = True
            raise
        finally:
            signals.deaf = True
            run.down()
            run.report(junit, code_quality, json)
    return run.exit_code


class Drifted(PromiseBroken):
    """A committed file is not what the spec gives; each is a finding already."""


class _Run:
    """One run: what is known of it so far, and its stages."""

    def __init__(self, options: Options, target: str | None, stages: Stages, pipeline: Pipeline | None) -> None:
        self.options = options
        self.target = target
        self.stages = stages
        self.pipeline = pipeline
        self.top = pipeline.top(os.environ) if pipeline is not None else Path.cwd()
        self.session: Session | None = None
        self.rehearsal: Rehearsal | None = None
        self.measured: Report | None = None
        self.findings: list[Finding] = []
        self.verdict = ""
        self.exit_code = 0
        self.ended_early = False
        """Interrupted, or a bug: who ends it says so last."""

    # --- the stages ---

    def check_and_render(self, rendered: Path | None) -> None:
        """The spec is right, without a warning, and what is committed of it is what it gives."""
        with self.stages.stage("check") as said:
            reach.known_target(self.target)
            names, read = checking.read_all(self.options, self.target, strict=True)
            said.append(checking.said(names, read))
            self.options.console.talk(said[0])
            self.session = reach.session(self.options, self.target)
        if rendered is not None:
            with self.stages.stage("render") as said:
                said.append(self._compare(rendered, self.session))

    def _compare(self, folder: Path, session: Session) -> str:
        from deploykit.cli import tree
        from deploykit.findings import Finding, relative

        there = tree.read(folder)
        if there.facts is None:
            raise SpecError(Problem("", f"`{folder}` holds nothing that was rendered", f"deploykit render -o {folder}"))
        facts = locked_facts(session, self.options.console, demanded=False)
        _plan, files, _generation = session.rendered(facts or there.facts)
        drift = tree.drift(there, files)
        if not drift:
            said = f"{folder} is what the spec gives: {count_text(len(files), 'file')}"
            self.options.console.talk(said)
            return said
        for line in [line for lines in drift.values() for line in lines]:
            self.options.console.complain(line)
        for path in drift:
            place = relative(Place(str(folder / path)), self.top)
            self.findings.append(
                Finding("rendered", path, f"differs from what the spec gives in {folder}", place=place)
            )
        raise Drifted(
            f"{count_text(len(drift), 'file')} in {folder} differ from what the spec gives: {', '.join(drift)}",
            hint=f"deploykit render -o {folder}",
        )

    def up_and_test(self, effects: frozenset[Effect] | None, *, quiet: bool) -> None:
        """The stack runs, and keeps its promises."""
        from deploykit import converge
        from deploykit.findings import from_report
        from deploykit.proof.report import counts

        assert self.session is not None  # noqa: S101 -- the stage before has set it
        console, session = self.options.console, self.session
        self.rehearsal = converge.Rehearsal(session)
        with self.stages.stage("up") as said, open_progress(console) as progress:
            outcome = self.rehearsal.up(progress)
            said.append("  ".join(outcome.urls))
        with self.stages.stage("test") as said:
            with open_progress(console) as progress:
                self.measured = self.rehearsal.test(progress, effects)
            if not quiet:
                show_report(console, self.measured, session.source)
            said.append(" · ".join(f"{count} {name}" for name, count in counts(self.measured).items()))
            self.findings += from_report(self.measured, session.source.place, self.top)
            if self.measured.broken:
                raise Failed("test", said[0], 1)

    def down(self) -> None:
        """What was brought up is gone."""
        if self.rehearsal is None or not self.rehearsal.has_something_to_end:
            return
        try:
            with self.stages.stage("down") as said:
                kept = self.rehearsal.end()
                said.append(f"kept: {', '.join(kept)}" if kept else "nothing is left")
            self.options.console.if_interrupted = "interrupted; what was brought up is down again"
        except Failed as failed:
            self.failed(failed)

    def failed(self, failed: Failed) -> None:
        """The run ends with that exit code, if nothing failed before."""
        from deploykit.findings import Finding, from_problem

        self.exit_code = self.exit_code or failed.exit_code
        error = failed.__cause__
        if isinstance(error, SpecError):
            self.findings += [from_problem(problem, self.top) for problem in error.problems]
        elif error is not None and not isinstance(error, Drifted):
            self.findings.append(Finding("deployment", f"deploykit {failed.stage}", failed.said))

    # --- what is told ---

    def _place(self, path: SpecPath) -> Place | None:
        from deploykit.findings import relative

        return relative(self.session.source.place(path), self.top) if self.session is not None else None

    def report(self, junit: Path | None, code_quality: Path | None, json: bool) -> None:
        """Everything that a pipeline and a person are told at the end; the verdict comes last."""
        from deploykit.findings import first_error

        console = self.options.console
        ran = {stage.name for stage in self.stages.told}
        for name in [each for each in ORDER if each not in ran and each != "render"]:
            self.stages.left_out(name, "nothing was brought up" if name == "down" else "an earlier stage failed")
        self.findings = [self._redacted(finding) for finding in self.findings]
        first = first_error(self.findings)
        seconds = seconds_text(sum(stage.seconds for stage in self.stages.told))
        if first is not None:
            kind = {"promise": "broken: ", "rendered": "drifted: "}.get(first.rule, "failed: ")
            self.verdict = self.verdict or f"{kind}{first.line}"
        kept = "".join(f", {stage.said}" for stage in self.stages.told if stage.name == "test")
        self.verdict = self.verdict or f"ci: all is as the spec says{kept} ({seconds})"
        for line in self.pipeline.annotations(self.findings) if self.pipeline is not None else ():
            console.complain(line)
        try:
            self._write(junit, code_quality)
        except EnvironmentLacks as error:
            console.complain(str(error))
            self.exit_code = self.exit_code or error.exit_code
        if json:
            console.answer_json(self._as_json())
        else:
            console.talk()
            rows = [[Cell(text, style) for text, style in row] for row in self.stages.table()]
            console.answer(table(rows, width=console.width, indent=" "))
        if not self.ended_early:
            console.complain(self.verdict, "red bold" if first is not None else "green")

    def _redacted(self, finding: Finding) -> Finding:
        from dataclasses import replace

        redact = self.options.console.redactor
        return replace(finding, title=redact(finding.title), message=redact(finding.message))

    def _write(self, junit: Path | None, code_quality: Path | None) -> None:
        from deploykit import disk, pipelines
        from deploykit.plan import Report
        from deploykit.proof.report import as_junit
        from deploykit.proof.summary import as_markdown

        name = self.session.spec.name if self.session is not None else "deploykit"
        if junit is not None:
            disk.write(junit, as_junit(self.measured or Report(()), self._place, name, self.stages.told))
        if code_quality is None and self.pipeline is not None and self.pipeline.report_file:
            code_quality = Path(self.pipeline.report_file)
        if code_quality is not None:
            disk.write(code_quality, pipelines.REGISTRY.get("gitlab").report(self.findings) + "\n")
        summary = self.pipeline.summary_file(os.environ) if self.pipeline is not None else None
        if summary is not None:
            title = f"deploykit ci: {name}"
            text = as_markdown(title, self.verdict, self.stages.told, self.measured, self._place)
            # Other steps of the job have written into it, and others will.
            with disk.explained(f"can't write the summary {summary}"), summary.open("a", encoding="utf-8") as file:
                file.write(text)

    def _as_json(self) -> object:
        from deploykit.proof.report import as_json

        session = self.session
        return {
            "name": session.spec.name if session is not None else None,
            "environment": self.options.environment,
            "target": session.target if session is not None else None,
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "stages": plain(self.stages.told),
            "findings": plain(self.findings),
            **(as_json(self.measured, self._place) if self.measured is not None else {"kept": None, "checks": []}),
        }
