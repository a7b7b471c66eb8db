"""Changes on this machine's disk that are either done or not: files and links. Knows nothing of stacks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploykit.errors import EnvironmentLacks


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

    The mode is right from the first moment. Folders on the way are made with mode 0755. What a kill leaves of it is
    among the `abandoned`.
    """
    if isinstance(data, str):
        data = data.encode()
    with explained(f"can't write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}.", suffix=".part", dir=path.parent)
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
        part = temporary(path)
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        part.symlink_to(target)
        part.replace(path)
        _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Nothing of that name is left; links are removed, never followed.

    A folder is gone from one moment to the next, so that none is ever seen of which a part is missing.
    """
    import shutil

    with explained(f"can't remove {path}"):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        if not _TEMPORARY.fullmatch(path.name):
            gone = temporary(path)
            if os.path.lexists(gone):  # of an earlier process of the same number
                shutil.rmtree(gone)
            path = path.rename(gone)
        shutil.rmtree(path)


_TEMPORARY = re.compile(r"\..+\.(\d+)\.[^.]+\.part")


def temporary(path: Path) -> Path:
    """What this process calls something beside `path` for a moment; the name tells whose it is."""
    return path.with_name(f".{path.name}.{os.getpid()}.now.part")


def abandoned(folder: Path) -> list[Path]:
    """What lies in that folder under a name for a moment, of a process that has ended or of this one."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    found = ((name, _TEMPORARY.fullmatch(name)) for name in names)
    return [folder / name for name, match in found if match and not _is_at_work(int(match[1]))]


def sweep(folder: Path) -> None:
    """Nothing `abandoned` lies in that folder; what lies deeper stays."""
    for path in abandoned(folder):
        remove(path)


def _is_at_work(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def read_regular(path: Path, limit_bytes: int = 4 << 20) -> bytes:
    """What a regular file of that very name holds: no link is followed and nothing is waited for.

    Raises:
        OSError: it is not there, can't be read, or is a folder, a link, a pipe or a device; says which.
    """
    try:
        # Without O_NONBLOCK, to open a pipe would wait until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_file(path, path.lstat().st_mode) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _no_file(path, mode)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes} bytes", str(path))
    return data


def _no_file(path: Path, mode: int) -> OSError:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return OSError(errno.EINVAL, f"it is {kinds.get(stat.S_IFMT(mode), 'a device')} and not a file", str(path))


def read_link(path: Path) -> str:
    """What the link names, empty where there is no link."""
    try:
        return os.readlink(path)  # noqa: PTH115 -- a string, not a path
    except OSError:
        return ""
