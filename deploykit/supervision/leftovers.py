"""Finds the files of a stack that an interrupted run left and nothing needs. Changes nothing."""

from __future__ import annotations

from pathlib import Path

from deploykit import disk
from deploykit.supervision import records
from deploykit.supervision.environments import is_whole
from deploykit.supervision.home import Home

PLACES = (
    "supervisor",
    "supervisor/programs",
    "logs",
    "nginx",
    "nginx/*",
    "nginx/*/sites",
    "run",
    "run/*",
    "releases",
    "releases/*",
    "releases/*/*",
    "releases/*/*/config",
    "venvs",
    "venvs/*",
    "volumes",
    "volumes/*",
)
"""Folders in which files are written or replaced; never what is in an app's code or data."""


def leftovers(home: Home) -> list[Path]:
    """All of them, sorted."""
    return sorted({*unwritten(home), *unstaged(home), *unused(home)})


def unwritten(home: Home) -> list[Path]:
    """What was being written, or removed, by a process that has ended."""
    return [
        path
        for place in PLACES
        for folder in sorted(home.root.glob(place))
        if folder.is_dir() and not folder.is_symlink()
        for path in disk.abandoned(folder)
    ]


def unstaged(home: Home) -> list[Path]:
    """Generations of nginx that were not written to their end and don't serve."""
    current = disk.read_link(home.nginx / "current")
    return [
        folder for folder in _folders(home.nginx) if folder.name != current and not (folder / records.MANIFEST).exists()
    ]


def unused(home: Home) -> list[Path]:
    """Environments that no release names, or that were not made to their end."""
    used = records.environments_used(home)
    return [folder for folder in _folders(home.environments) if folder.name not in used or not is_whole(folder)]


def _folders(parent: Path) -> list[Path]:
    try:
        found = sorted(parent.iterdir())
    except OSError:
        return []
    return [path for path in found if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")]
