"""Whether what is kept beside a spec is this stack's own: put there by nobody else, and neither moved nor copied."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from deploykit.errors import EnvironmentLacks
from deploykit.runtimes import Stack


def refuse_others(stack: Stack) -> None:
    """Nothing, where what is kept of a stack can only have been put there by its user, by root or by the spec's owner.

    Raises:
        EnvironmentLacks: `.deploykit` or the stack's folder in it is another user's, or a link or folder that another
            user could have made; nothing below it was read.
    """
    for path in (stack.folder / ".deploykit", stack.home):
        if why := why_others(stack.folder, path):
            raise EnvironmentLacks(
                f"{path} {why}, so what lies in it is not trusted",
                hint="remove it, or move the spec to a folder that only you can write to",
            )


def why_others(folder: Path, path: Path) -> str:
    """Why another user could have put that below the folder of a spec; empty where none could, or it is not there."""
    trusted = {0, os.geteuid()}
    try:
        trusted.add(folder.stat().st_uid)
        seen = path.lstat()
    except OSError:
        return ""
    if seen.st_uid not in trusted:
        kind = "is a link of" if stat.S_ISLNK(seen.st_mode) else "belongs to"
        return f"{kind} user {seen.st_uid}"
    if stat.S_ISLNK(seen.st_mode):
        try:
            seen = path.stat()
        except OSError:
            return "is a link to nothing"
        if seen.st_uid not in trusted:
            return f"is a link to what belongs to user {seen.st_uid}"
    return "can be written to by everybody" if seen.st_mode & stat.S_IWOTH else ""


def whereabouts(stack: Stack, written: str, record: str) -> Literal["here", "moved", "copied"]:
    """What became of a stack's folder since its record named the folder `written`.

    It was copied where a record of the same stack still lies there; any other is the same stack, that was moved or has
    another name here, as in a container.
    """
    there = Path(written)
    if os.path.realpath(there) == os.path.realpath(stack.folder):
        return "here"
    theirs = Stack(stack.name, there, stack.environment).home / record
    try:
        return "moved" if theirs.samefile(stack.home / record) else "copied"
    except OSError:
        return "moved"
