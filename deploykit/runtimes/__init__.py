"""One file per runtime: look at the world, apply one step, run a command, read logs. Decides nothing.

The contract is the same for all, and `tests/runtimes/test_contract.py` holds each of them to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from deploykit.plan import Build, Desired, Facts, Observed, Plan, Step
from deploykit.registry import Registry
from deploykit.spec.environments import LOCAL
from deploykit.spec.model import Spec
from deploykit.wire import Answer, Request

Vantage = Literal["outside", "nginx"]
"""From where a request is made: as a client of the published address, or from nginx's own loopback."""


@dataclass(frozen=True)
class Stack:
    """Which stack this is: its name, the place of its spec and its environment."""

    name: str
    folder: Path
    """The folder of the spec."""
    environment: str = LOCAL
    made_in: Path | None = None
    """The folder that what runs is named after, where the stack was moved since."""

    @property
    def full_name(self) -> str:
        """What everything of this stack is named after: `NAME`, or `NAME.ENVIRONMENT` where that is not `local`."""
        return self.name if self.environment == LOCAL else f"{self.name}.{self.environment}"

    @property
    def option(self) -> str:
        """What has to be added to a command of deploykit for this environment."""
        return "" if self.environment == LOCAL else f" -e {self.environment}"

    @property
    def home(self) -> Path:
        """Where deploykit keeps what is this stack's on this machine, below `.deploykit/` beside the spec."""
        return self.folder / ".deploykit" / self.full_name

    @property
    def id(self) -> str:
        """Tells this stack from one of the same name elsewhere: 12 hex digits from name, environment and place."""
        import hashlib

        place = (self.made_in or self.folder).resolve()
        return hashlib.sha256(os.fsencode(f"{self.full_name}\0{place}")).hexdigest()[:12]


@dataclass(frozen=True)
class LogLine:
    """One line that a process wrote."""

    name: str
    """Of the member, as `web-1`, or `nginx`."""
    text: str
    at: float | None = None
    """Seconds since the epoch where it is known."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended; a non-zero exit is a result, not an error."""

    exit_code: int
    output: str


Tell = Callable[[str], None]
"""Called with one short line about what is being done, for the progress display; any thread."""


class Runtime(Protocol):
    """What runs a stack. One object is for one stack and one command of deploykit.

    Raises, from any method: EnvironmentLacks where the Engine, a port, a permission, an interpreter or disk space
    is missing; DeployFailed where a step did not succeed (with what was tried and the last lines of the right log).
    """

    def __init__(self, stack: Stack, tell: Tell) -> None: ...

    def facts(self, spec: Spec, renewed: Collection[str] = ()) -> Facts:
        """What the planner has to know. Changes nothing on the target (but may pull a base image).

        `renewed` are the apps that get a new release: beside the old one it needs TCP ports of its own.
        """
        ...

    def secrets_reached(self, values: Mapping[str, Mapping[str, str]]) -> None:
        """App name to variable to value: what `BuildRelease` writes into the 0600 file of each release."""
        ...

    def make_builds(
        self, spec: Spec, plan: Plan, dockerfiles: Mapping[str, str], wanted: Mapping[str, Build], *, push: bool
    ) -> Mapping[str, tuple[Build, bool]]:
        """App name to its build as an image, and whether it was made now; with `push`, as the registry has it.

        Nothing of the stack is changed. Raises SpecError where the target has no images.
        """
        ...

    def promote(self, spec: Spec, build: str) -> Mapping[str, Build]:
        """App name to its build of that id; from now on `facts` are those of a stack that is made of them.

        Raises SpecError where the target has no images, EnvironmentLacks where there is no such build.
        """
        ...

    def observe(self, probes: bool = True) -> Observed:
        """One snapshot. With `probes`, each member's health is asked; it needs nothing but what is recorded there."""
        ...

    def refuse_taken(self, desired: Desired, observed: Observed) -> None:
        """Raises EnvironmentLacks where nginx would have to listen where somebody else does; asked before a build."""
        ...

    def apply(self, step: Step, desired: Desired) -> str:
        """Carry out one step; what came of it in a few words. Running it again after a kill is safe."""
        ...

    def undo_leftovers(self, desired: Desired) -> None:
        """Nothing half done stays after a failed step: temporary files, unfinished containers."""
        ...

    def exchange(self, vantage: Vantage, requests: Sequence[Request]) -> tuple[Answer, ...]:
        """The answers to raw requests, one after the other, from that vantage."""
        ...

    def ask_members(self, desired: Desired) -> Mapping[tuple[str, int], Answer]:
        """(app, slot) to the answer of each live instance itself to its app's probe, past nginx."""
        ...

    def nginx_accepts(self, desired: Desired) -> CommandResult:
        """`nginx -t` on the files that are on disk, by the nginx that runs them."""
        ...

    def nginx_files_on_disk(self) -> Mapping[str, str]:
        """Path (as in the rendered tree) to SHA-256 of each file of the generation that `current` names."""
        ...

    def run(self, app: str, command: Sequence[str], *, tty: bool) -> int:
        """The exit code of a one-off in the live release's environment, connected to this terminal."""
        ...

    def logs(self, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[LogLine]:
        """The last lines of each named process (all where none is named), then new ones as they come."""
        ...

    def export(self, desired: Desired, app: str, into: Path) -> None:
        """The live release's code as it serves is in `into/code`, data of its volumes left out.

        What its environment is made of is beside it: `wheels/`, or `requirements.txt` as pip freezes it.
        """

    def log_mark(self) -> str:
        """Where nginx's log ends now; empty where there is none."""
        ...

    def log_since(self, mark: str) -> tuple[str, ...] | None:
        """All that nginx has written to its log since that mark; None where not all of it is there any more."""
        ...

    def restart(self, app: str, slot: int) -> None:
        """Stop that instance gracefully, start it again and wait until it is healthy."""
        ...

    def down(self, *, volumes: bool) -> tuple[str, ...]:
        """Remove all of this stack and only it; what was kept, to be printed. Works without a spec."""
        ...

    def volumes_kept(self) -> tuple[str, ...]:
        """Each volume as a person would look for it: a path or a name."""
        ...

    def hosts(self) -> Mapping[str, Any]:
        """`nginx` and each member (`web-1`) to a testinfra Host where it runs; empty where there is none."""
        ...

    def process_ids(self) -> Mapping[str, tuple[int, ...]]:
        """`nginx` and each member to its process ids on the machine that deploykit can see, the main one first."""
        ...


REGISTRY: Registry[type[Runtime]] = Registry("deploykit.runtimes")
