"""Changes on this machine's disk that are either done or not: files, links, locks. Knows nothing of stacks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploykit.errors import EnvironmentLacks, LockHeld


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Tells an OSError as what this machine lacks: no space, no permission, no such place.

    Raises:
        EnvironmentLacks: names the path and `what` was being done.
    """
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or ""
        at = f" ({place})" if place else ""
        raise EnvironmentLacks(f"{what}: {error.strerror or error}{at}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """The file holds all of `data` or what it held before, also after a kill or on a full disk.

    The mode is right from the first moment. Folders on the way are made with mode 0755.
    """
    if isinstance(data, str):
        data = data.encode()
    with explained(f"can't write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(name, path)  # noqa: PTH105 -- both names are strings of this function
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108
            raise
        _sync_folder(path.parent)


def link(path: Path, target: str) -> None:
    """`path` is a symbolic link to `target`, from one moment to the next; a link of that name is replaced."""
    with explained(f"can't make the link {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        part.symlink_to(target)
        part.replace(path)
        _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Nothing of that name is left; links are removed, never followed."""
    import shutil

    with explained(f"can't remove {path}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def read_link(path: Path) -> str:
    """What the link names, empty where there is no link."""
    try:
        return os.readlink(path)  # noqa: PTH115 -- a string, not a path
    except OSError:
        return ""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else is inside at the same time; the kernel frees it when its holder dies, however it dies.

    The file is never removed: a lock on a removed file would let two in.

    Raises:
        LockHeld: another process is inside; names its id where that is known.
    """
    with explained(f"can't open the lock {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            who = f" (process {holder})" if holder.isdigit() else ""
            raise LockHeld(
                f"another deploykit is at work on this stack{who}",
                hint="wait until it is done; the lock is freed when that process ends",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
