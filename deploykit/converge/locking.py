"""What `deploykit.lock` says of an environment: whether it covers it, and what the live target has otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit import lockfile
from deploykit.errors import EnvironmentLacks, Failure, Problem, SpecError
from deploykit.lockfile import Locked, LockFile
from deploykit.plan import Facts
from deploykit.spec.load import Source
from deploykit.spec.model import Spec

if TYPE_CHECKING:
    from deploykit.converge.session import Session


class Lock:
    """The lock file beside a spec, read when it is first asked for: what needs none is not stopped by a broken one."""

    def __init__(self, spec: Spec, origin: Source, *, ignored: bool = False) -> None:
        self._spec, self._origin, self._ignored = spec, origin, ignored
        self._read: list[LockFile | None] = []

    @property
    def environment(self) -> str:
        return self._origin.environment

    @property
    def again(self) -> str:
        """The command that writes this environment down."""
        return "deploykit lock" + ("" if self.environment == "local" else f" -e {self.environment}")

    @property
    def file(self) -> LockFile | None:
        """What is in it, None where there is none.

        Raises:
            SpecError: it is not what `deploykit lock` wrote of this stack.
        """
        if not self._read:
            ignored = None if self._ignored else lockfile.read_beside(self._origin.path, self._spec.name)
            self._read.append(ignored)
        return self._read[0]

    @property
    def entry(self) -> Locked | None:
        """What it says of the environment, None where it says nothing."""
        return self.file.environments.get(self.environment) if self.file is not None else None

    def facts(self, target: str) -> tuple[Facts | None, str]:
        """The facts where it covers the environment on that target, and in words where they come from.

        No words where there is no lock file.
        """
        if self.file is None:
            return None, ""
        if self.entry is None:
            return None, f"{self.file.file} says nothing of `{self.environment}`; `{self.again}` writes it down"
        gaps = lockfile.gaps(self.entry, self._spec, target)
        if gaps:
            return None, f"{self.entry.place} does not do: {'; '.join(gaps)}; `{self.again}` writes it anew"
        return lockfile.facts_for(self.entry, self._spec), f"as {self.entry.place} says"

    def demanded(self, target: str) -> Facts:
        """The facts of the lock file, and of nothing else.

        Raises:
            SpecError: it does not cover the environment on that target.
        """
        facts, words = self.facts(target)
        if facts is None:
            raise SpecError(
                Problem("", words or "there is no lock file beside the spec", f"{self.again}, and commit it")
            )
        return facts

    def differences(self, live: Facts) -> list[str]:
        """What the live target has otherwise, a line each."""
        if self.file is None or self.entry is None:
            return []
        return lockfile.differences(self.entry, live, self.file.file, self.again)

    def compare(self, live: Facts, target: str, tell: Callable[[str], None], *, strictly: bool) -> None:
        """Tells what the live target has otherwise.

        Raises:
            EnvironmentLacks: there is something, and it is looked at `strictly`.
            SpecError: likewise, and the lock file says nothing of it.
        """
        if strictly:
            self.demanded(target)
        if self.entry is not None and self.entry.target != target:
            tell(f"warning: {self.facts(target)[1]}")
            return
        found = self.differences(live)
        if found and strictly:
            what = f"what is there is not what the lock file says of `{self.environment}`"
            raise EnvironmentLacks(Failure(what, tried=tuple(found), hint=f"{self.again}, look at its diff, commit it"))
        for line in found:
            tell(f"warning: {line}")


def written_down(session: Session) -> Locked:
    """What the live target of a session has now, to be locked."""
    facts = session.runtime.facts(session.spec)
    tcp = {name for name, app in session.spec.apps.items() if app.app_server.socket == "tcp"}
    before = session.lock.entry
    ports = {name: ports for name, ports in facts.ports.items() if name in tcp and session.target == "process"}
    for name, found in ports.items():
        # Releases take turns between two sets of ports: which one serves now is no reason to write another.
        if before is not None and len(before.facts.ports.get(name, ())) == len(found):
            ports[name] = before.facts.ports[name]
    return Locked(session.target, replace(facts, ports=ports))
