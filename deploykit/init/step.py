"""From a spec's place in a checkout to the file that makes `deploykit ci` a step of its pipeline."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from deploykit import __version__, render
from deploykit.errors import Problem, SpecError
from deploykit.pipelines import REGISTRY
from deploykit.plan import FilePlan

PYTHON = "3.12"
REQUIREMENT = f"deploykit[nginx]=={__version__}"


@dataclass(frozen=True)
class StepFile:
    """A pipeline file that is still to be written."""

    path: Path
    text: str
    include: str
    """What to add to the pipeline file that is there already; empty where this one is read by itself."""


def step_file(name: str, spec: Path, *, force: bool) -> StepFile:
    """The file for that CI system, at the top of the checkout that the spec lies in.

    Raises:
        SpecError: it is there already, and not `force`.
    """
    top = checkout(spec.parent)
    place = top / REGISTRY.get(name).step_file
    include = ""
    if os.path.lexists(place) and not force:
        if name == "gitlab":
            # One file has all jobs there: ours is written beside it.
            place = top / "deploykit.gitlab-ci.yml"
            include = f"include:\n  - local: /{place.name}"
        if os.path.lexists(place):
            raise SpecError(Problem("", f"`{place}` is there already", "`--force` replaces it"))
    file = os.path.relpath(spec.resolve(), top.resolve())
    if "${{" in file:
        raise SpecError(
            Problem("", f"GitHub would expand what is in the path `{file}`", "give that folder another name")
        )
    options = "" if file == spec.name else f" --file {shlex.quote(file)}"
    values = {"requirement": REQUIREMENT, "python": PYTHON, "options": options}
    (rendered,) = render.render_files([FilePlan(str(place), f"ci/{name}.yml.j2", values, "")], "")
    return StepFile(place, rendered.text, include)


def checkout(folder: Path) -> Path:
    """The top of the git checkout that a folder is in; the folder itself where it is in none."""
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / ".git").exists():
            return folder if parent == folder.resolve() else parent
    return folder
