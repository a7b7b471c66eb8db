"""The changes that there are, one small class each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """One change, with its cause; the subclasses are all there are."""

    cause: str


@dataclass(frozen=True)
class EndOrphans(Step):
    """End what carries this stack's id and belongs to nothing."""

    orphans: tuple[str, ...]


@dataclass(frozen=True)
class PrepareBase(Step):
    """Make what everything else stands on: folders and supervisord, or network and volumes."""


@dataclass(frozen=True)
class DiscardRelease(Step):
    """Remove a release with its files, sockets and image."""

    app: str
    release: str


@dataclass(frozen=True)
class BuildRelease(Step):
    """Make a release whole: dependencies, a copy of the code, its rendered files, its secrets."""

    app: str
    release: str


@dataclass(frozen=True)
class RunReleaseCommands(Step):
    """Run the spec's `release` commands in the new release's environment; then its files are final."""

    app: str
    release: str


@dataclass(frozen=True)
class StartMember(Step):
    """Start one instance of a release and wait until it is healthy; nginx does not know it yet."""

    app: str
    slot: int
    release: str


@dataclass(frozen=True)
class SwitchRelease(Step):
    """Move an app's slots, `previous` and `current`, each by one rename; new requests go to the release at once."""

    app: str
    release: str
    before: str
    """The release that served, empty where none did."""
    previous: str = ""
    """The release whose hashed files are answered beside those of this one; empty where there is none."""


@dataclass(frozen=True)
class StageNginx(Step):
    """Write a generation beside the live one and let the nginx that will run it accept it."""

    generation: str


@dataclass(frozen=True)
class RunNginx(Step):
    """Make nginx run a staged generation (start, reload or replace) and confirm it from the live nginx."""

    generation: str
    how: Literal["start", "reload", "replace"]
    before: str
    """The generation that `current` named, empty where there was none."""


@dataclass(frozen=True)
class StopMember(Step):
    """Stop one instance by its server's graceful signal and wait for its end."""

    app: str
    slot: int
    release: str


@dataclass(frozen=True)
class RemoveLeftovers(Step):
    """Remove files that an interrupted run left and nothing needs; what came to be needed meanwhile stays."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class StopNginx(Step):
    """Stop nginx gracefully."""
