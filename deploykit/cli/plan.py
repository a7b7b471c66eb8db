"""`deploykit plan`: what will exist and what would be done now, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.cli import reach
from deploykit.cli.locked import Locked, locked_facts
from deploykit.cli.options import Json, Options, Target
from deploykit.cli.tables import Cell, Row, table
from deploykit.cli.words import bytes_text, plain, step_words
from deploykit.errors import EnvironmentLacks

if TYPE_CHECKING:
    from deploykit.converge import Session
    from deploykit.plan import (
        AppPlan,
        Desired,
        Observed,
        Plan,
        Release,
        RenderedFile,
        Route,
        SitePlan,
        Slot,
        SpecPath,
        Step,
    )


@dataclass(frozen=True)
class _Live:
    """What `up` would do on the target as it is."""

    desired: Desired
    observed: Observed
    steps: tuple[Step, ...]


def plan(options: Options, target: Target = None, locked: Locked = False, json: Json = False) -> int:
    """Show what would be made and done, with reasons.

    Files, processes, upstreams, sites, releases and steps. Changes nothing, so it asks nothing; `up` shows the steps
    of a named environment and asks. With a lock file the target may be out of reach: then no steps are shown.
    """
    console = options.console
    session = reach.session(options, target)
    facts = locked_facts(session, console, locked)
    live, why_not = _looked_at(session, needed=facts is None)
    if facts is not None:
        shown, files, generation = session.rendered(facts)
    elif live is not None:
        shown, files, generation = live.desired.plan, live.desired.files, live.desired.generation
    if live is not None and session.lock.file is not None:
        session.lock.compare(live.desired.plan.facts, session.target, console.talk, strictly=False)
    if json:
        console.answer_json(_as_json(session, shown, files, generation, live, why_not))
        return 0
    sections: list[tuple[str, list[Row]]] = [
        ("files", [_file(session, file.path, file.reason, file.spec_path) for file in files]),
        ("processes", [row for app in shown.apps for row in _processes(session, app)]),
        ("upstreams", [row for app in shown.apps for row in _upstream(app)]),
        ("sites", [row for site in shown.sites for row in _site(session, site)]),
    ]
    if live is not None:
        releases = [_release(release, live.observed) for _, release in sorted(live.desired.releases.items())]
        sections += [("releases", releases), ("steps", [_step(step) for step in live.steps])]
    for title, rows in sections:
        if rows:
            console.answer(title, "bold")
            console.answer(table(rows, width=console.width, indent="  "))
            console.answer()
    if live is None:
        console.answer(f"what would be done is not known here: {why_not}")
    elif not live.steps:
        console.answer("nothing to do: what runs is what the spec says")
    return 0


def _looked_at(session: Session, *, needed: bool) -> tuple[_Live | None, str]:
    """What is there and what would be done; where that is not `needed` and the target is out of reach, why."""
    try:
        changes, desired, observed = session.changes(probes=False)
    except EnvironmentLacks as error:
        if needed:
            raise
        return None, error.failure.what
    return _Live(desired, observed, changes.steps), ""


def _line(session: Session, path: SpecPath) -> Cell:
    return Cell(f":{session.source.place(path).line}" if path else "", "dim")


def _file(session: Session, path: str, reason: str, spec_path: SpecPath) -> Row:
    return [path, Cell(reason, "dim"), _line(session, spec_path)]


def _processes(session: Session, app: AppPlan) -> list[Row]:
    where = _line(session, app.spec_path)
    return [
        [f"{app.name}-{slot.number}", " ".join(app.command), Cell(app.sizing, "dim"), where]
        if slot.number == 1
        else [f"{app.name}-{slot.number}", "the same", "", where]
        for slot in app.slots
    ]


def _upstream(app: AppPlan) -> list[Row]:
    return [
        [app.name if slot.number == 1 else "", slot.address, _share(app, slot), f"{app.server}, {app.protocol}"]
        for slot in app.upstream
    ]


def _share(app: AppPlan, slot: Slot) -> str:
    if slot in app.vacant:
        return "down: no instance, its place is kept"
    most = f", at most {slot.max_conns} at a time" if slot.max_conns else ""
    return ("backup" if slot.backup else f"weight {slot.weight}") + most


def _site(session: Session, site: SitePlan) -> list[Row]:
    return [
        [site.url if number == 0 else "", route.path, _answers(route), _line(session, route.spec_path)]
        for number, route in enumerate(site.routes)
    ]


def _answers(route: Route) -> str:
    if route.folder:
        return f"files in {route.folder} ({route.cache_control})"
    return f"app {route.app}, {route.timeout_seconds:g}s, bodies up to {bytes_text(route.body_bytes)}"


def _release(release: Release, observed: Observed) -> Row:
    from deploykit.releases import cause

    live = observed.live.get(release.app, "")
    if live == release.id:
        return [release.app, release.id, Cell("it serves", "dim")]
    known = next((each for each in observed.complete.get(release.app, ()) if each.id == live), None)
    return [release.app, release.id, Cell(f"{cause(release, known)}: new release", "dim")]


def _step(step: Step) -> Row:
    verb, subject = step_words(step)
    return [Cell(verb, "cyan"), subject, Cell(step.cause, "dim")]


def _as_json(
    session: Session, shown: Plan, files: tuple[RenderedFile, ...], generation: str, live: _Live | None, why_not: str
) -> object:
    return {
        "name": session.spec.name,
        "target": session.target,
        "why_target": session.why_target,
        "facts": plain(shown.facts),
        "files": [
            {"path": file.path, "digest": file.digest, "reason": file.reason, "spec_path": plain(file.spec_path)}
            for file in files
        ],
        "apps": plain(shown.apps),
        "sites": plain(shown.sites),
        "checks": plain(shown.checks),
        "generation": generation,
        "releases": plain(live.desired.releases) if live is not None else None,
        "steps": plain(live.steps) if live is not None else None,
        "why_no_steps": why_not,
    }
