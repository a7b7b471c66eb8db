"""`deploykit lock`: the facts of each environment's target, written down so that every machine renders the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Json, Options, Target
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.converge import Session
    from deploykit.lockfile import Locked


def lock(
    options: Options,
    every: Annotated[bool, typer.Option("--all", help="All environments, and nothing that was there before.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where the targets are not what is written down.")
    ] = False,
    target: Target = None,
    json: Json = False,
) -> int:
    """Write down what rendering has to know of a target, beside the spec, to be committed.

    The build of nginx, the Pythons, CPUs, memory and base images. `check`, `plan` and `render` then need no target.
    """
    from deploykit import converge, lockfile

    if every and target is not None:
        raise SpecError(Problem("", "`--target` is of one environment", "name it with `-e`, or leave out `--target`"))
    console = options.console
    names = converge.all_environments(options.file)
    chosen = names if every else (options.environment,)
    renewed = every and not check
    found: dict[str, Locked] = {}
    different: dict[str, list[str]] = {}
    for name in chosen:
        session = converge.open_stack(options.file, target, console.talk, name, without_lock=renewed)
        found[name] = converge.written_down(session)
        different[name] = _different(session, found[name])
        console.talk(f"{name}: {_words(found[name])}")
    path, kept = lockfile.beside(session.source.path), session.lock.file
    if not check:
        before = {} if kept is None else {name: each for name, each in kept.environments.items() if name in names}
        changed = lockfile.write(path, session.spec.name, before | found)
    if json:
        options.console.answer_json({"file": str(path), "environments": list(found), "differences": different})
    elif check:
        for line in (line for lines in different.values() for line in lines):
            console.answer(line)
    else:
        _told(options, path, changed)
    return 1 if check and any(different.values()) else 0


def _different(session: Session, now: Locked) -> list[str]:
    """Why what is written down of that environment is not what is there now."""
    facts, words = session.lock.facts(session.target)
    if facts is None:
        return [words or f"there is no lock file; `{session.lock.again}` writes one"]
    return session.lock.differences(now.facts)


def _words(locked: Locked) -> str:
    facts = locked.facts
    pythons = ", ".join(dict.fromkeys(f"Python {version}" for version in facts.pythons.values()))
    memory = f"{facts.memory_bytes >> 20} MiB"
    return f"target {locked.target}, nginx {facts.nginx.version_text}, {pythons}, {facts.cpus} CPUs, {memory}"


def _told(options: Options, path: Path, changed: bool) -> None:
    name = reach.shown(path)
    options.console.talk(f"{name} is written; commit it" if changed else f"{name} says so already", "green")
