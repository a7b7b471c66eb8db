"""From what was typed to the stack that is meant: by its spec, or by what deploykit recorded of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from deploykit.cli.options import Options
from deploykit.errors import EnvironmentLacks, Problem, SpecError

if TYPE_CHECKING:
    from deploykit.converge import Recorded, Session, TargetName
    from deploykit.runtimes import Runtime, Stack

GOES_ON = "interrupted; the next `deploykit up` goes on from here"


def session(options: Options, target: str | None) -> Session:
    """The stack of the spec, with its target chosen; says on standard error which and why.

    Raises:
        SpecError: the spec is wrong, or there is no such target.
    """
    from deploykit import converge

    opened = converge.open_stack(options.file, known_target(target), options.console.talk, options.environment)
    options.console.redactor = opened.redact
    why = f" ({opened.why_target})" if opened.why_target else ""
    where = _elsewhere() if opened.target == "docker" else ""
    options.console.talk(f"{opened.spec.name} -> {options.environment}, target {opened.target}{where}{why}")
    return opened


def shown(path: Path) -> str:
    """A path as messages say it."""
    from deploykit.spec.load import shown_path

    return shown_path(path)


def _elsewhere() -> str:
    """Which Engine it is, where somebody chose one."""
    from deploykit.engine import chosen_engine

    address = chosen_engine()
    return f" at {address}" if address else ""


def known_target(target: str | None) -> TargetName | None:
    """The same name.

    Raises:
        SpecError: there is no such target.
    """
    from deploykit import targets

    if target is not None:
        known_name("target", target, targets.REGISTRY.names())
    return cast("TargetName | None", target)


def known_name(kind: str, name: str, names: Iterable[str]) -> None:
    """Raises SpecError where `name` is none of `names`, with the nearest one."""
    import difflib

    names = sorted(names)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    one_of = ", ".join(f"`{each}`" for each in names)
    hint = f"did you mean `{near[0]}`?" if near else f"one of {one_of}" if names else ""
    raise SpecError(Problem("", f"there is no {kind} `{name}`", hint))


def record(options: Options, name: str | None) -> Recorded:
    """What is recorded of the stack that is meant: the named one, else the spec's, else the only one.

    Raises:
        EnvironmentLacks: nothing is recorded, or several are and none is named.
        SpecError: nothing is recorded, and the spec has no such environment.
    """
    from deploykit import converge

    try:
        return converge.recorded(folder(options), name or spec_name(options), options.environment, options.console.talk)
    except EnvironmentLacks:
        _known_environment(options)
        raise


def _known_environment(options: Options) -> None:
    """Raises SpecError where a spec is there and has no such environment."""
    from deploykit import converge

    try:
        names = converge.all_environments(options.file)
    except SpecError:
        return
    if options.environment not in names:
        raise SpecError(converge.unknown_environment(options.environment, names))


def running(options: Options, name: str | None) -> tuple[Stack, Runtime]:
    """The stack that is meant and what runs it; needs no readable spec."""
    from deploykit import converge

    return converge.recorded_runtime(record(options, name), options.console.talk)


def folder(options: Options) -> Path:
    """Where to look for what is recorded."""
    from deploykit.spec.load import find_spec

    path = options.file
    if path is None:
        try:
            path = find_spec(Path.cwd())
        except SpecError:
            return Path.cwd()
        if not path.is_symlink():
            # What is recorded may lie nearer than the spec, where that was removed.
            return Path.cwd()
    return path.resolve().parent


def spec_name(options: Options) -> str | None:
    """The name in the spec; None where there is no spec or it can't be read."""
    from deploykit import converge

    try:
        spec, _source = converge.read_spec(options.file, options.environment)
    except SpecError:
        return None
    return str(spec.name)
