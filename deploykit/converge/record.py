"""What deploykit remembers of a stack, and what can be done from that alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deploykit import disk
from deploykit.errors import EnvironmentLacks
from deploykit.plan import TargetName
from deploykit.runtimes import REGISTRY, Runtime, Stack
from deploykit.spec.environments import LOCAL


@dataclass(frozen=True)
class Record:
    """What deploykit remembers of a stack, enough to end it without its spec."""

    name: str
    target: TargetName
    folder: str
    spec_file: str
    deploykit: str
    environment: str = LOCAL

    @property
    def stack(self) -> Stack:
        """The stack that is recorded."""
        return Stack(self.name, Path(self.folder), self.environment)

    @classmethod
    def read(cls, home: Path) -> Record | None:
        """The record in a stack's home, None where there is none.

        Raises:
            EnvironmentLacks: there is one, but it can't be read as one.
        """
        path = home / "state.json"
        try:
            data = json.loads(path.read_text())
            data = {"environment": LOCAL, **data}  # what was up before there were environments
            return cls(**{name: str(data[name]) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentLacks(
                f"{path} can't be read as what deploykit wrote there: {error}",
                hint="restore it; where nothing of this stack runs any more, remove it",
            ) from error


def recorded(folder: Path, name: str | None, environment: str = LOCAL) -> Record:
    """The stack of that environment that was brought up from there or a folder above, whatever became of its spec.

    Raises:
        EnvironmentLacks: there is none, or several and no name.
    """
    elsewhere: list[str] = []
    for parent in (folder, *folder.parents):
        homes = sorted((parent / ".deploykit").glob("*/state.json"))
        named = [record for home in homes if (record := Record.read(home.parent)) and name in (None, record.name)]
        found = [record for record in named if record.environment == environment]
        if len(found) > 1:
            names = ", ".join(record.name for record in found)
            raise EnvironmentLacks(f"several stacks are up from here: {names}", hint="say which: --name NAME")
        if found:
            return replace(found[0], folder=str(parent))
        elsewhere += [record.environment for record in named]
    what = f"no stack `{name}`" if name else "no stack"
    where = "" if environment == LOCAL else f" in the environment `{environment}`"
    option = "" if environment == LOCAL else f" -e {environment}"
    hint = f"deploykit up{option} brings one up"
    if elsewhere:
        others = [f"-e {other}" if other != LOCAL else "without -e" for other in dict.fromkeys(elsewhere)]
        hint += f"; one is up {' and '.join(others)}"
    raise EnvironmentLacks(f"{what} was brought up{where} from {folder}", hint=hint)


def recorded_runtime(record: Record, tell: Callable[[str], None]) -> tuple[Stack, Runtime]:
    """What runs a recorded stack; needs no spec."""
    stack = record.stack
    return stack, REGISTRY.get(record.target)(stack, tell)


def down_recorded(record: Record, volumes: bool, tell: Callable[[str], None]) -> tuple[str, ...]:
    """All of a recorded stack is gone, and only it; what was kept."""
    stack, runtime = recorded_runtime(record, tell)
    with disk.locked(stack.home / "lock"):
        for folder in (stack.home.parent, stack.home):
            disk.sweep(folder)
        kept = runtime.down(volumes=volumes)
        disk.remove(stack.home / "state.json")
    return kept
