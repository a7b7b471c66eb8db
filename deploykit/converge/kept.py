"""What deploykit writes beside a spec for itself: the folder that git passes over, the record, the key."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict

from deploykit import __version__, disk
from deploykit.converge.place import refuse_others
from deploykit.converge.record import FILE, Damaged, Record
from deploykit.errors import EnvironmentLacks
from deploykit.plan import TargetName
from deploykit.runtimes import Stack

KEY_BYTES = 32
CANT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


def prepare(stack: Stack) -> None:
    """There is a home for the stack, which nobody else could have made.

    Raises:
        EnvironmentLacks: it is another user's, or can't be made.
    """
    refuse_others(stack)
    ignore = stack.folder / ".deploykit" / ".gitignore"
    if not os.path.lexists(ignore):
        disk.write(ignore, "*\n")
    with disk.explained(f"can't make {stack.home}"):
        stack.home.mkdir(parents=True, exist_ok=True)
    # Once more: in a folder that others write to, somebody may have been quicker.
    refuse_others(stack)


def remember(stack: Stack, target: TargetName, spec_file: str) -> None:
    """What is up is recorded; nothing is written where that is recorded already."""
    record = Record(stack.name, target, str(stack.folder), spec_file, __version__, stack.environment)
    try:
        known = Record.read(stack.home)
    except Damaged:
        known = None
    if known != record:
        disk.write(stack.home / FILE, json.dumps(asdict(record), indent=2) + "\n")


def key(stack: Stack, tell: Callable[[str], None]) -> bytes:
    """What fingerprints of secrets are made with; a damaged one is replaced, which makes each a changed secret.

    Raises:
        EnvironmentLacks: something else than a file has its name, or it can't be read or written.
    """
    path = stack.home / "key"
    refuse_others(stack)
    if os.path.lexists(path):
        with disk.explained("can't read the stack's key"):
            found = disk.read_regular(path)
        if len(found) == KEY_BYTES:
            return found
        tell(f"warning: {path} was damaged, so another takes its place; each app with secrets is released anew")
    made = os.urandom(KEY_BYTES)
    try:
        prepare(stack)
        disk.write(path, made, 0o600)
    except EnvironmentLacks as error:
        # Looked at by somebody who can't write here: then nothing was made with a key yet.
        if not os.path.lexists(path) and getattr(error.__cause__, "errno", None) in CANT_WRITE:
            return b""
        raise
    return made
