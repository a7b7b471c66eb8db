"""A rendered tree in a folder of the user's: read, compared, written whole. Touches only what a render wrote."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit import disk
from deploykit.cli.words import plain
from deploykit.errors import Problem, SpecError

if TYPE_CHECKING:
    from deploykit.plan import Facts, RenderedFile

MANIFEST = ".deploykit-render.json"
"""Names every file that an earlier render wrote, and the facts that it was rendered for."""


@dataclass(frozen=True)
class Tree:
    """A folder as an earlier render left it; nothing at all where there was none."""

    folder: Path
    files: frozenset[str]
    facts: Facts | None
    foreign: tuple[str, ...]
    """What lies there and was not written by a render."""


def read(folder: Path) -> Tree:
    """What is in that folder.

    Raises:
        SpecError: it is a link or no folder, or its manifest is not one.
    """
    if folder.is_symlink():
        raise _refusal(f"`{folder}` is a link", "name the folder itself")
    if folder.exists() and not folder.is_dir():
        raise _refusal(f"`{folder}` is not a folder")
    with disk.explained(f"can't read {folder}"):
        there = frozenset(_walk(folder, "")) if folder.exists() else frozenset()
        text = (folder / MANIFEST).read_text(errors="replace") if MANIFEST in there else ""
    files, facts = _manifest(folder, text) if text else (frozenset(), None)
    return Tree(folder, files, facts, tuple(sorted(there - files - {MANIFEST})))


def _walk(folder: Path, relative: str) -> Iterator[str]:
    """Every file and link below the folder, relative; a link to a folder is a link.

    What a render that failed was writing is none of them: the next one removes it.
    """
    halves = {path.name for path in disk.abandoned(folder / relative)}
    with os.scandir(folder / relative) as entries:
        for entry in entries:
            if entry.name in halves:
                continue
            path = f"{relative}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder, path + "/")
            else:
                yield path


def _manifest(folder: Path, text: str) -> tuple[frozenset[str], Facts]:
    try:
        data = json.loads(text)
        names = frozenset(str(name) for name in data["files"])
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise ValueError("a path that leaves the folder")
        return names, _facts(data["facts"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(
            f"`{folder / MANIFEST}` is not what deploykit wrote: {error}", "render to another folder"
        ) from error


def _facts(data: Mapping[str, Any]) -> Facts:
    from deploykit.plan import Facts, NginxBuild

    nginx = data["nginx"]
    major, minor, patch = nginx["version"]
    return Facts(
        nginx=NginxBuild(
            (major, minor, patch), frozenset(nginx["modules"]), nginx["command"], tuple(nginx["loadable"])
        ),
        pythons=dict(data["pythons"]),
        cpus=data["cpus"],
        memory_bytes=data["memory_bytes"],
        user=data["user"],
        ports={app: tuple(ports) for app, ports in data["ports"].items()},
        images=dict(data["images"]),
    )


def differences(tree: Tree, files: Sequence[RenderedFile]) -> Iterator[str]:
    """A unified diff, line by line, from what is in the folder to what is rendered; nothing where they are the same."""
    for lines in drift(tree, files).values():
        yield from lines


def drift(tree: Tree, files: Sequence[RenderedFile]) -> dict[str, list[str]]:
    """Each path that differs, sorted, with its unified diff from what is in the folder to what is rendered."""
    wanted = {file.path: file for file in files}
    every = sorted({*wanted, *tree.files, *tree.foreign})
    return {path: lines for path in every if (lines := list(_difference(tree.folder / path, path, wanted.get(path))))}


def _difference(there: Path, path: str, file: RenderedFile | None) -> Iterator[str]:
    old, old_mode = _read_text(there)
    if file is None and old is None:
        return
    new = None if file is None else file.text
    if old != new:
        yield from _diff(path, old, new)
    elif file is not None and old_mode != file.mode:
        yield f"--- a/{path} (mode {old_mode:04o})"
        yield f"+++ b/{path} (mode {file.mode:04o})"


def _read_text(path: Path) -> tuple[str | None, int]:
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None, 0
    if stat.S_ISLNK(info.st_mode):
        return f"a link to {disk.read_link(path)}\n", 0
    if not stat.S_ISREG(info.st_mode):
        return "not a file\n", 0
    with disk.explained(f"can't read {path}"):
        return path.read_bytes().decode("utf-8", "backslashreplace"), stat.S_IMODE(info.st_mode)


def _diff(path: str, old: str | None, new: str | None) -> Iterator[str]:
    yield from (
        line.removesuffix("\n")
        for line in difflib.unified_diff(
            (old or "").splitlines(keepends=True),
            (new or "").splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            "/dev/null" if new is None else f"b/{path}",
        )
    )
    if not old and not new:
        yield f"--- {'/dev/null' if old is None else f'a/{path}'}"
        yield f"+++ {'/dev/null' if new is None else f'b/{path}'}"


def write(tree: Tree, files: Sequence[RenderedFile], facts: Facts) -> tuple[int, int, int]:
    """(written, left as they were, removed) files; afterwards the folder holds exactly the rendered files.

    The manifest names old and new files before the first of them changes, so that a killed render can be run again.

    Raises:
        SpecError: something lies there that no render wrote, or a folder on the way is a link; nothing was touched.
    """
    if tree.foreign:
        shown = ", ".join(f"`{name}`" for name in tree.foreign[:5]) + (", ..." if len(tree.foreign) > 5 else "")
        raise _refusal(
            f"`{tree.folder}` holds what no render wrote there: {shown}", "name an empty folder, or a new one"
        )
    new = {file.path for file in files}
    _save_manifest(tree.folder, new | tree.files, facts)
    for parent in {(tree.folder / path).parent for path in (MANIFEST, *new)}:
        disk.sweep(parent)
    written = 0
    for file in files:
        text, mode = _read_text(tree.folder / file.path)
        if (text, mode) != (file.text, file.mode) or (tree.folder / file.path).is_symlink():
            disk.write(tree.folder / file.path, file.text, file.mode)
            written += 1
    gone = sorted(path for path in tree.files - new if _read_text(tree.folder / path)[0] is not None)
    for path in gone:
        disk.remove(tree.folder / path)
        _remove_empty(tree.folder, (tree.folder / path).parent)
    _save_manifest(tree.folder, new, facts)
    return written, len(files) - written, len(gone)


def _save_manifest(folder: Path, paths: set[str] | frozenset[str], facts: Facts) -> None:
    text = json.dumps({"files": sorted(paths), "facts": plain(facts)}, indent=2, sort_keys=True) + "\n"
    if _read_text(folder / MANIFEST)[0] != text:
        disk.write(folder / MANIFEST, text)


def _remove_empty(top: Path, folder: Path) -> None:
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _refusal(message: str, hint: str = "") -> SpecError:
    return SpecError(Problem("", message, hint))
