"""One snapshot of what runs, plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deploykit.plan.release import Release


@dataclass(frozen=True)
class Member:
    """One instance as it is: which release, since when, how it does."""

    app: str
    slot: int
    release: str
    state: Literal["starting", "running", "stopped", "failed"]
    healthy: bool | None = None
    """None where it was not asked."""
    since: float | None = None
    """Seconds since the epoch."""
    restarts: int = 0
    memory_bytes: int | None = None
    seen: str = ""
    """What is wrong with it, to be read after its name; empty where nothing is, or where it was not asked."""
    unwell_since: float | None = None
    """Seconds since the epoch, where it is known when that began."""
    address: str = ""
    """What nginx calls it, such as `unix:run/web/1.sock`; the same for all releases but over TCP."""


@dataclass(frozen=True)
class NginxSeen:
    """nginx as it is."""

    state: Literal["absent", "stopped", "running"] = "absent"
    on_disk: str = ""
    """The generation that `current` names; empty where there is none or its files are not what was written."""
    live: str = ""
    """The generation that the running nginx tells; empty where it tells none."""
    shape: str = ""
    """Digest of what can't change without replacing the process or container (ports, mounts, image)."""
    since: float | None = None
    restarts: int = 0
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Observed:
    """One snapshot of a stack, plain data; nothing in it makes a further call."""

    members: tuple[Member, ...] = ()
    complete: Mapping[str, tuple[Release, ...]] = field(default_factory=dict)
    """App name to the releases that are built whole, newest first."""
    incomplete: tuple[tuple[str, str], ...] = ()
    """(app, release id) of what an interrupted run left half built."""
    live: Mapping[str, str] = field(default_factory=dict)
    """App name to the release that all its slots and `current` name; absent where they don't agree."""
    previous: Mapping[str, str] = field(default_factory=dict)
    """App name to the release whose hashed files are still answered."""
    nginx: NginxSeen = NginxSeen()
    orphans: tuple[str, ...] = ()
    """What carries this stack's id and belongs to nothing: names to print and to end."""
    leftovers: tuple[str, ...] = ()
    """Files that an interrupted run left and nothing needs: names to print and to remove."""
    base_ready: bool = False
    """Whether what everything else stands on is there: supervisord, or the network and volumes."""
    apps_known: tuple[str, ...] = ()
    """Every app that anything was found of."""

    @property
    def anything(self) -> bool:
        """Whether anything of this stack runs."""
        return self.nginx.state == "running" or any(m.state in ("running", "starting") for m in self.members)
