"""Where a release comes from: who asks for it, and the commit of its source. Asks git, changes nothing."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from pathlib import Path

from deploykit.plan import AppPlan, Build, Origin

PATIENCE_SECONDS = 5.0
"""How long git may take; a release is worth more than knowing its commit."""


def provenance(app: AppPlan, folder: Path, cause: str, build: Build | None = None) -> Origin:
    """Who asks now, from which commit, and why; where a build is promoted, the commit is that of the build."""
    revision, clean = commit(folder / app.source) if build is None else (build.origin.revision, build.origin.clean)
    return Origin(
        at=time.time(),
        by=f"{_user()}@{socket.gethostname()}",
        revision=revision,
        clean=clean,
        cause=cause,
        protocol=app.protocol,
        socket=app.socket,
        commands=tuple(" ".join(words) for words in app.release_commands),
        build=build.image if build is not None else "",
        build_id=build.id if build is not None else "",
    )


def commit(folder: Path) -> tuple[str, bool]:
    """The commit that is checked out there, and whether nothing in the folder differs from it.

    Empty where there is no git, no commit, or the folder belongs to somebody whose repository git does not trust.
    """
    revision = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not revision:
        return "", True
    changes = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".")
    return revision, changes == ""


def _git(folder: Path, *words: str) -> str | None:
    # A repository can name programs that git would run; nothing that only reads needs them.
    safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        ended = subprocess.run(
            ["git", *safe, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
