"""One app's release, and everything that a runtime is handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploykit.plan.stack import Plan, RenderedFile


@dataclass(frozen=True)
class Origin:
    """Where a release comes from, to tell people; no part of what it is."""

    at: float = 0.0
    """Seconds since the epoch."""
    by: str = ""
    """`user@machine`."""
    revision: str = ""
    """The git commit of its source; empty where there is none."""
    clean: bool = True
    """Whether the source was just what that commit has."""
    cause: str = ""
    """Why it was made, such as `its code changed`."""
    protocol: str = ""
    """What nginx speaks to it."""
    socket: str = ""
    commands: tuple[str, ...] = ()
    """Its release commands, as the spec says them."""
    build_id: str = ""
    """As `deploykit build` said it; empty where it was made from a checkout."""
    build: str = ""
    """The image that was promoted, by digest where it has one; empty likewise."""


@dataclass(frozen=True)
class Release:
    """One app's code, environment and settings, named by their content.

    `parts` are digests of what it is made of (`releases.PARTS` lists them), so that a change has a reason.
    Two releases with the same parts have the same `id`.
    """

    app: str
    id: str
    parts: Mapping[str, str]
    origin: Origin = field(default=Origin(), compare=False)
    secrets: Mapping[str, str] | None = field(default=None, compare=False)
    """Variable to a keyed fingerprint of its secret value; None where it was made before these were written down."""


@dataclass(frozen=True)
class Build:
    """One app's code and what it needs, as an image that is the same for every environment.

    A release is a build with an environment's settings and secrets. What a build is made of is in `parts` (those of a
    release that no environment decides); `id` names all builds that were made together, one per app.
    """

    app: str
    id: str
    image: str
    """How the Engine knows it: by digest where it came from a registry or went there, else by its tag."""
    python: str
    """The full version of its Python."""
    server: str
    """What was installed to run it, as `AppPlan.server_requirement`."""
    files: tuple[str, ...]
    """The files of its source, for the planner, which may have no checkout."""
    parts: Mapping[str, str]
    origin: Origin


@dataclass(frozen=True)
class Desired:
    """Everything that a runtime is handed: the plan as text, and one release per app."""

    plan: Plan
    files: tuple[RenderedFile, ...]
    generation: str
    """Names the nginx configuration by its content; the live nginx tells it on loopback."""
    releases: Mapping[str, Release]

    def app_files(self, app: str) -> tuple[RenderedFile, ...]:
        """The rendered files that go into the releases of that app."""
        return tuple(file for file in self.files if file.path.startswith(f"apps/{app}/"))

    def nginx_files(self) -> tuple[RenderedFile, ...]:
        """The rendered files that nginx reads."""
        return tuple(file for file in self.files if file.path.startswith("nginx/"))
