"""`deploykit wheels`: what the apps require, as wheels beside the spec: building an image then needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from deploykit.cli import reach
from deploykit.cli.options import Options

if TYPE_CHECKING:
    from deploykit.runtimes.docker import DockerRuntime


def wheels(
    options: Options,
    again: Annotated[bool, typer.Option("--again", help="Fetch them also where they are there.")] = False,
) -> int:
    """Download what the apps require, for offline builds.

    For the target docker: wheels for the Python of each app's base image, with this machine's pip and its settings.
    """
    console = options.console
    session = reach.session(options, "docker")
    plan = session.plan()
    runtime = cast("DockerRuntime", session.runtime)
    for app in plan.apps:
        folder = runtime.fetch_wheels(plan, app.name, again=again)
        console.answer(f"{app.name}: {len(list(folder.glob('*.whl')))} wheels in {folder}")
    return 0
