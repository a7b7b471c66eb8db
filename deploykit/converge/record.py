"""What deploykit remembers of a stack, what can be proven where that is damaged, and what can be done from it alone.

A record that can't be read is never taken for a stack that is not there. `recall` (of `up` and all that needs a spec)
and `recorded` (of `down` and all that needs none) rebuild it: the name and the environment are the name of its folder,
the target is proven by what lies there (a supervisord's folder) or by what the Engine has with this stack's id. Where
neither proves one, and where a newer deploykit wrote the record, they refuse; `down` goes on with what is proven.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from deploykit import disk, exclusion
from deploykit.converge.place import refuse_others, whereabouts, why_others
from deploykit.errors import EnvironmentLacks
from deploykit.plan import TargetName
from deploykit.runtimes import REGISTRY, Runtime, Stack
from deploykit.spec.environments import LOCAL

Tell = Callable[[str], None]

VERSION = 1
FILE = "state.json"


class Damaged(EnvironmentLacks):
    """A record is there and can't be used."""

    newer = False
    """Whether a newer deploykit wrote it."""


@dataclass(frozen=True)
class Record:
    """What deploykit remembers of a stack, enough to end it without its spec."""

    name: str
    target: TargetName
    folder: str
    """Where it was brought up."""
    spec_file: str
    deploykit: str
    environment: str = LOCAL
    version: int = VERSION

    @property
    def stack(self) -> Stack:
        """The stack that is recorded."""
        return Stack(self.name, Path(self.folder), self.environment)

    @classmethod
    def read(cls, home: Path) -> Record | None:
        """The record in a stack's home, None where there is none.

        Raises:
            Damaged: there is one, but it can't be read as one, is of another stack or of a newer deploykit.
        """
        path = home / FILE
        try:
            data = json.loads(disk.read_regular(path))
            if isinstance(data, dict) and isinstance(data.get("version", 0), int) and data.get("version", 0) > VERSION:
                raise _newer(path, data)
            record = _record(data)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else "it is cut, empty or overwritten"
            raise _damaged(path, why) from error
        if record.stack.full_name != home.name:
            raise _damaged(path, f"it is of the stack `{record.stack.full_name}`")
        return record


def _record(data: object) -> Record:
    """The record that was read; what was up before there were environments and versions has none.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(data, dict):
        raise ValueError("no mapping")
    texts = {name: data.get(name) for name in ("name", "target", "folder", "spec_file", "deploykit")}
    texts["environment"] = data.get("environment", LOCAL)
    if not all(isinstance(text, str) for text in texts.values()) or texts["target"] not in REGISTRY.names():
        raise ValueError("not what deploykit writes")
    if not Path(texts["folder"] or "").is_absolute():
        raise ValueError("no folder")
    return Record(**texts)  # type: ignore[arg-type]


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(
        f"{path} can't be read as what deploykit wrote there: {why}",
        hint="put it back from a backup, or `deploykit down`: it ends what can be proven to be of this stack",
    )


def _newer(path: Path, data: dict[str, object]) -> Damaged:
    by = data.get("deploykit")
    which = f" {by}" if isinstance(by, str) and by.isprintable() and len(by) < 40 else ""
    error = Damaged(
        f"{path} was written by a newer deploykit{which}, and this one does not know all that it says",
        hint="use that deploykit; `deploykit down` with this one ends what it knows of the stack",
    )
    error.newer = True
    return error


# --- proven where it is not written ---------------------------------------------------------------------------------


def proven(stack: Stack, tell: Tell) -> Record | None:
    """The record that what is there amounts to; None where nothing is there.

    Raises:
        EnvironmentLacks: no process of it is there, and the Engine can't be asked.
    """
    if (stack.home / "supervisor").is_dir():
        return _proven(stack, "process")
    seen = REGISTRY.get("docker")(stack, tell).observe(False)
    there = seen.anything or seen.orphans or seen.apps_known or seen.base_ready
    return _proven(stack, "docker") if there else None


def _proven(stack: Stack, target: str) -> Record:
    return Record(stack.name, cast(TargetName, target), str(stack.folder), "", "", stack.environment)


def refuse_copied(stack: Stack, record: Record) -> None:
    """Nothing, where the record is of the stack in this folder, or its processes were moved together with it.

    Raises:
        EnvironmentLacks: it was copied with the folder, or what it names is still known to the Engine by the old one.
    """
    became = whereabouts(stack, record.folder, FILE)
    if became == "copied":
        raise EnvironmentLacks(
            f"{stack.home} was copied from the stack `{stack.full_name}` in {record.folder}, which has nothing here",
            hint=f"`deploykit down{stack.option}` here removes the copy but its volumes, and nothing of that stack",
        )
    if became == "moved" and record.target != "process":
        raise EnvironmentLacks(
            f"`{stack.full_name}` was brought up in {record.folder}, and its containers are still named after that",
            hint=f"move it back, or `deploykit down{stack.option}` here ends them; then deploykit up{stack.option}",
        )


def recall(stack: Stack, tell: Tell) -> Record | None:
    """What is remembered of a stack; rebuilt from what is proven where it is damaged, and then told.

    Raises:
        EnvironmentLacks: it is damaged and nothing is proven, or a newer deploykit wrote it, or others could have.
    """
    refuse_others(stack)
    try:
        found = Record.read(stack.home)
    except Damaged as damaged:
        if damaged.newer:
            raise
        try:
            rebuilt = proven(stack, tell)
        except EnvironmentLacks:
            raise damaged from None
        if rebuilt is None:
            raise
        tell(f"warning: {damaged.failure.what}; what is there is of the target {rebuilt.target}")
        return rebuilt
    if found is None and (stack.home / "supervisor").is_dir():
        # Whoever removed the record has ended nothing by that.
        return _proven(stack, "process")
    return found


@dataclass(frozen=True)
class Recorded:
    """A stack that was brought up, found by what is kept of it."""

    stack: Stack
    target: TargetName


def recorded(folder: Path, name: str | None, environment: str = LOCAL, tell: Tell = lambda _line: None) -> Recorded:
    """The stack of that environment that was brought up from there or a folder above, whatever became of its spec.

    Raises:
        EnvironmentLacks: there is none, or several and no name, or it is damaged and nothing can be proven.
    """
    elsewhere: list[str] = []
    for parent in (folder, *folder.parents):
        named = [stack for stack in _homes(parent) if name in (None, stack.name)]
        found = [stack for stack in named if stack.environment == environment]
        if len(found) > 1:
            names = ", ".join(stack.name for stack in found)
            raise EnvironmentLacks(f"several stacks are up from here: {names}", hint="say which: --name NAME")
        if found:
            return _recorded(found[0], tell)
        elsewhere += [stack.environment for stack in named]
    what = f"no stack `{name}`" if name else "no stack"
    where = "" if environment == LOCAL else f" in the environment `{environment}`"
    option = "" if environment == LOCAL else f" -e {environment}"
    hint = f"deploykit up{option} brings one up"
    if elsewhere:
        others = [f"-e {other}" if other != LOCAL else "without -e" for other in dict.fromkeys(elsewhere)]
        hint += f"; one is up {' and '.join(others)}"
    raise EnvironmentLacks(f"{what} was brought up{where} from {folder}", hint=hint)


def _homes(folder: Path) -> Iterator[Stack]:
    """Each stack that something is kept of in that folder, by the name of its home."""
    top = folder / ".deploykit"
    if not top.is_dir() or why_others(folder, top):
        return
    with disk.explained(f"can't look into {top}"):
        homes = sorted(top.iterdir())
    for home in homes:
        name, _, environment = home.name.partition(".")
        there = os.path.lexists(home / FILE) or (home / "supervisor").is_dir()
        if name and there and not why_others(folder, home):
            yield Stack(name, folder, environment or LOCAL)


def _recorded(stack: Stack, tell: Tell) -> Recorded:
    try:
        found = Record.read(stack.home)
    except Damaged as damaged:
        try:
            rebuilt = proven(stack, tell)
        except EnvironmentLacks as lacking:
            raise Damaged(replace(damaged.failure, tried=(lacking.failure.what,))) from None
        tell(f"warning: {damaged.failure.what}")
        # Where nothing is there, either target ends nothing and forgets the rest.
        return Recorded(stack, rebuilt.target if rebuilt is not None else "process")
    if found is None:
        return Recorded(stack, "process")
    if whereabouts(stack, found.folder, FILE) == "moved":
        # What runs is still named after where it was brought up.
        stack = replace(stack, made_in=Path(found.folder))
    return Recorded(stack, found.target)


def recorded_runtime(found: Recorded, tell: Tell) -> tuple[Stack, Runtime]:
    """What runs a recorded stack; needs no spec."""
    return found.stack, REGISTRY.get(found.target)(found.stack, tell)


def down_recorded(found: Recorded, volumes: bool, tell: Tell, wait_seconds: float = 0.0) -> tuple[str, ...]:
    """All of a recorded stack is gone, and only it; what was kept."""
    stack, runtime = recorded_runtime(found, tell)
    with exclusion.held(stack.home / "lock", wait_seconds, tell):
        for folder in (stack.home.parent, stack.home):
            disk.sweep(folder)
        kept = runtime.down(volumes=volumes)
        disk.remove(stack.home / FILE)
    return kept
