"""What `deploykit build` makes of a checkout, one build per app, and which of them serves. Reads the source only."""

from __future__ import annotations

from pathlib import Path

from deploykit import releases, source
from deploykit.converge.rollback import known
from deploykit.errors import Problem, SpecError
from deploykit.plan import Build, Observed, Plan, RenderedFile
from deploykit.provenance import provenance
from deploykit.spec.model import Spec


def builds_of(plan: Plan, folder: Path) -> dict[str, Build]:
    """App name to the build of what is checked out; all have one id.

    Raises:
        OSError: the source can't be read.
    """
    parts = {app.name: releases.build_parts(plan, app, folder) for app in plan.apps}
    identity = releases.build_id(parts)
    return {
        app.name: Build(
            app=app.name,
            id=identity,
            image="",
            python=plan.facts.pythons[app.name],
            server=app.server_requirement,
            files=source.listing(folder / app.source),
            parts=parts[app.name],
            origin=provenance(app, folder, "built"),
        )
        for app in plan.apps
    }


def dockerfile(files: tuple[RenderedFile, ...], app: str) -> str:
    """The rendered Dockerfile of an app."""
    return next(file.text for file in files if file.path == f"apps/{app}/Dockerfile")


def promoted_build(observed: Observed, apps: set[str]) -> str:
    """The id of the build that all these apps serve; empty where one of them was made from a checkout."""
    live = {each.release.app: each.release.origin.build_id for each in known(observed) if each.live}
    return live.popitem()[1] if set(live) == apps and len(set(live.values())) == 1 else ""


def refuse_push_to_nowhere(spec: Spec, push: bool) -> None:
    """Raises SpecError where there is no registry to push to."""
    if push and not spec.images.registry:
        raise SpecError(
            Problem("images", "there is no `registry` to push to", "images: {registry: registry.example.com/team}")
        )
