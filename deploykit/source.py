"""Which files belong to a project, and a digest of them. Reads the checkout, changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

ALWAYS_LEFT_OUT = (
    ".git",
    ".env",
    ".deploykit",
    ".venv",
    "venv",
    "__pycache__",
    ".hg",
    ".svn",
    "node_modules",
    "deploykit.yaml",
    "deploykit.lock",
)
"""Names that never go into a release, at any depth: history, secrets, the spec and its lock, what tools make.

An edit of the spec makes a new release where it changes what the app is run with, not by being an edit.
"""

IGNORE_FILES = (".gitignore", ".dockerignore")


def listing(folder: Path, *, keep: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every file and link that belongs to the project, relative with `/`, sorted by code point.

    Left out is what `.gitignore` (in any folder) and `.dockerignore` (at the top) name, and `ALWAYS_LEFT_OUT`; `keep`
    names folders that come along all the same. Links are listed, never followed.

    Raises:
        OSError: a folder can't be read.
    """
    from pathspec import GitIgnoreSpec

    found: list[str] = []

    def patterns(at: Path, names: tuple[str, ...]) -> GitIgnoreSpec | None:
        lines: list[str] = []
        for name in names:
            path = at / name
            if path.is_file():
                lines += path.read_text("utf-8", errors="surrogateescape").split("\n")
        return GitIgnoreSpec.from_lines(lines) if lines else None

    def walk(at: Path, relative: str, specs: tuple[tuple[str, GitIgnoreSpec], ...]) -> None:
        own = patterns(at, IGNORE_FILES if not relative else IGNORE_FILES[:1])
        if own is not None:
            specs = (*specs, (relative, own))
        with os.scandir(at) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{relative}{entry.name}"
                if entry.name in ALWAYS_LEFT_OUT:
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                slash = "/" if is_folder else ""
                kept = any(path == name.strip("/") or path.startswith(name.strip("/") + "/") for name in keep)
                if not kept and _ignored(path + slash, specs):
                    continue
                if is_folder:
                    walk(Path(entry.path), path + "/", specs)
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    found.append(path)

    walk(folder, "", ())
    return tuple(sorted(found))


def _ignored(path: str, specs: tuple[tuple[str, object], ...]) -> bool:
    ignored = False
    for base, spec in specs:
        include = spec.check_file(path[len(base) :]).include  # type: ignore[attr-defined]
        if include is not None:
            ignored = include
    return ignored


def digest(folder: Path, files: tuple[str, ...]) -> str:
    """SHA-256 over the names, contents, executable bits and link targets of `files`, hex."""
    total = hashlib.sha256()
    for name in files:
        path = folder / name
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            kind, content = b"l", hashlib.sha256(os.fsencode(os.readlink(path)))  # noqa: PTH115
        else:
            kind = b"x" if info.st_mode & 0o100 else b"f"
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256")
        total.update(kind + hashlib.sha256(os.fsencode(name)).digest() + content.digest())
    return total.hexdigest()


def files_digest(paths: tuple[Path, ...]) -> str:
    """SHA-256 over the contents of single files, hex."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
