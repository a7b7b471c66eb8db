"""Every error that deploykit raises on purpose, and how one is printed.

    DeploykitError            exit code
    ├── SpecError             2   the spec, a template or the command line is wrong; nothing was touched
    ├── PromiseBroken         1   a check failed, or a tree has drifted
    ├── DeployFailed          3   a deployment failed and what ran before runs again
    ├── LockHeld              4   another deploykit is at work on this stack
    └── EnvironmentLacks      5   the Engine, a port, disk space, a permission, an interpreter is missing

Only `cli.main` catches them; nothing else prints or exits. Anything else that is raised is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and what to write instead.

    `path` is the path in the spec as a person would say it (`apps.web.timeout`), empty where the
    problem is about the whole file or no file at all. `hint` is empty unless it is certain to help.
    """

    path: str
    message: str
    hint: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        head = f"error: {self.path}: {self.message}" if self.path else f"error: {self.message}"
        lines = [head]
        if self.place is not None:
            lines.append(f"  --> {self.place}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class DeploykitError(Exception):
    """What a user or a machine can cause; printed without a traceback."""

    exit_code = 5


class SpecError(DeploykitError):
    """The spec, a template or the command line is wrong; carries every problem, in line order."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(str(problem) for problem in problems))


@dataclass
class Failure:
    """What went wrong at run time, in the order a person asks: what, tried, log, likely cause."""

    what: str
    tried: tuple[str, ...] = ()
    log_name: str = ""
    log_lines: tuple[str, ...] = field(default_factory=tuple)
    cause: str = ""
    hint: str = ""
    now_running: str = ""

    def __str__(self) -> str:
        lines = [f"error: {self.what}"]
        lines += [f"  tried: {line}" for line in self.tried]
        if self.log_lines:
            lines.append(f"  last lines of {self.log_name}:")
            lines += [f"    {line}" for line in self.log_lines]
        if self.cause:
            lines.append(f"  likely cause: {self.cause}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        if self.now_running:
            lines.append(f"  now: {self.now_running}")
        return "\n".join(lines)


class FailureError(DeploykitError):
    """An error told as a `Failure`; the parent of what happens at run time, never raised itself."""

    def __init__(self, failure: Failure | str, **more: str) -> None:
        self.failure = failure if isinstance(failure, Failure) else Failure(failure, **more)  # type: ignore[arg-type]
        super().__init__(str(self.failure))

    def __str__(self) -> str:
        return str(self.failure)


class PromiseBroken(FailureError):
    """A check failed, or a tree has drifted."""

    exit_code = 1


class DeployFailed(FailureError):
    """A deployment failed; `failure.now_running` says what runs now."""

    exit_code = 3


class LockHeld(FailureError):
    """Another deploykit is at work on this stack."""

    exit_code = 4


class EnvironmentLacks(FailureError):
    """The Engine, a port, disk space, a permission or an interpreter is missing."""

    exit_code = 5
