"""Where everything of one stack lies on this machine. Names only: nothing here touches the disk."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from deploykit.errors import EnvironmentLacks

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What supervisord and all that it starts find programs on; an app's own environment comes before it."""

LANG = "C.UTF-8"


@dataclass(frozen=True)
class Home:
    """The folder of a stack, `.deploykit/NAME/`; nginx's prefix and the working folder of supervisord."""

    root: Path
    stack_id: str

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def programs(self) -> Path:
        """One file per program that supervisord knows."""
        return self.supervisor / "programs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def nginx(self) -> Path:
        """One folder per generation, and `current`."""
        return self.root / "nginx"

    @property
    def environments(self) -> Path:
        """One virtual environment per set of requirements."""
        return self.root / "venvs"

    @property
    def all_releases(self) -> Path:
        return self.root / "releases"

    @property
    def sockets(self) -> Path:
        return self.root / "run"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    def releases(self, app: str) -> Path:
        return self.all_releases / app

    def release(self, app: str, release: str) -> Path:
        return self.releases(app) / release

    def code(self, app: str, release: str) -> Path:
        return self.release(app, release) / "code"

    def secrets(self, app: str, release: str) -> Path:
        return self.release(app, release) / "secrets"

    def current(self, app: str) -> Path:
        """The link to the release that serves."""
        return self.releases(app) / "current"

    def previous(self, app: str) -> Path:
        """The link to the release that served before: its hashed files are still answered."""
        return self.releases(app) / "previous"

    def slot(self, app: str, slot: int) -> Path:
        """The link that nginx connects to."""
        return self.sockets / app / f"{slot}.sock"

    def socket(self, app: str, slot: int, release: str) -> Path:
        """What an instance listens on; the name is what its slot's link holds."""
        return self.sockets / app / f"{release}-{slot}.sock"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def program(self, name: str) -> Path:
        return self.programs / f"{name}.conf"


def refuse_unusable(folder: Path) -> None:
    """Says why a stack can't live below that folder.

    Raises:
        EnvironmentLacks: its name has what no tool on the way can hold: a colon (a search path ends there, so `venv`
            refuses it), a control character, or bytes that are no UTF-8.
    """
    text = str(folder)
    reason = ""
    if ":" in text:
        reason = "has a `:`, where a search path would end, so no virtual environment can be made there"
    elif any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
        reason = "has a control character"
    elif not text.isascii() and sys.getfilesystemencoding() != "utf-8":
        reason = "has more than ASCII, which this locale has no UTF-8 for (LC_ALL=C.UTF-8 has)"
    elif any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        reason = "is not UTF-8"
    if reason:
        raise EnvironmentLacks(
            f"the path of this folder {reason}: {text!r}", hint="move the project to a folder without it"
        )


def refuse_foreign(root: Path) -> None:
    """Says whose the home is where this user may not look into it.

    Raises:
        EnvironmentLacks: it is another user's.
    """
    if os.path.lexists(root) and not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        owner = root.stat().st_uid
        raise EnvironmentLacks(f"{root} belongs to user {owner}, this is {os.geteuid()}", hint="run it as that user")


def member_name(app: str, slot: int) -> str:
    """How a person calls an instance, and its log: `web-1`."""
    return f"{app}-{slot}"


def program_name(app: str, slot: int, release: str) -> str:
    """How supervisord calls one instance of one release."""
    return f"{app}-{slot}-{release}"


def program_parts(name: str) -> tuple[str, int, str] | None:
    """App, slot and release of a program's name; None where it is no instance (nginx)."""
    parts = name.rsplit("-", 2)
    if len(parts) != 3 or not parts[1].isdigit():
        return None
    return parts[0], int(parts[1]), parts[2]


def clean_environment(home: Home) -> dict[str, str]:
    """All the variables that supervisord is started with; every program gets what it has, so no secret is there."""
    try:
        folder = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        folder = str(home.root)
    return {"PATH": PATH, "HOME": folder, "LANG": LANG, "DEPLOYKIT_STACK": home.stack_id}
