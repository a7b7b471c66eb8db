"""Looking at a checkout: its files, its Python as syntax trees, and its own settings asked in a subprocess.

Nothing here writes, or imports the project's code into this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploykit.detection.syntax import Sources


@dataclass(frozen=True)
class Finding:
    """One value for the spec, and what it was concluded from."""

    value: str
    seen: str
    """What was seen and where, such as `app = Flask(__name__) in shop/app.py:12`."""


@dataclass(frozen=True)
class Detected:
    """What a framework's driver found in a project. Empty tuples and None mean: nothing was found.

    More than one entrypoint means that somebody has to choose; the likeliest is first.
    """

    framework: str
    seen: str = ""
    """What says that the project is of this framework."""
    folder: str = ""
    """Where its modules are imported from, relative to the project; empty where that is the project's own folder."""
    entrypoints: tuple[Finding, ...] = ()
    static: tuple[tuple[str, Finding], ...] = ()
    """(URL path, folder relative to the project) for each folder of static files."""
    static_cache: str = "no-cache"
    """`hashed` where the names of the files carry a hash."""
    media: tuple[tuple[str, Finding], ...] = ()
    """(URL path, folder relative to the project) for each folder of uploads; the path is empty where nginx should not
    serve it."""
    data: tuple[tuple[str, Finding], ...] = ()
    """(volume name, folder relative to the project) for each other folder whose data has to outlive releases, such as
    that of an SQLite file."""
    server_names: tuple[Finding, ...] = ()
    """Host names that the project answers to."""
    release: tuple[Finding, ...] = ()
    """Commands to run once per release; `{program}` stands for `program` as seen from the source."""
    program: str = ""
    """The file that the release commands call, relative to the project, such as `backend/manage.py`."""
    health_path: Finding | None = None
    environment: tuple[tuple[str, Finding], ...] = ()
    """Variables that the project needs, with the value it should have here."""
    needs: tuple[tuple[str, str], ...] = ()
    """(variable, where it is read) for variables whose value only a person knows."""
    notes: tuple[str, ...] = ()
    """What the user has to know or change, one sentence each."""


@dataclass(frozen=True)
class Project:
    """A checkout to look at."""

    sources: Sources
    """Its files; what .gitignore names is left out."""
    environment: Mapping[str, Finding] = field(default_factory=dict)
    """Variables that the project already sets where it runs: a Dockerfile's ENV, .flaskenv."""
    python: str = ""
    """An interpreter that has the project's requirements; empty where there is none to ask."""
    limit_seconds: float = 10.0
    """How long the project's own code may take to answer."""

    @property
    def folder(self) -> Path:
        return self.sources.folder
