"""How everything on an Engine is named, and how it is known whose it is: by label, never by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploykit.errors import EnvironmentLacks
from deploykit.plan import AppPlan, Origin, Probe, Release
from deploykit.runtimes import Stack

STACK = "deploykit.stack"
NAME = "deploykit.name"
FOLDER = "deploykit.folder"
ROLE = "deploykit.role"
APP = "deploykit.app"
SLOT = "deploykit.slot"
RELEASE = "deploykit.release"
PARTS = "deploykit.parts"
ORIGIN = "deploykit.origin"
FINGERPRINTS = "deploykit.fingerprints"
"""Of the secrets of a release, by variable; keyed, so that they tell nothing of a value."""
SETTINGS = "deploykit.settings"
SHAPE = "deploykit.shape"
MAKER = "deploykit.maker"
"""On short-lived containers: the process of deploykit that made them."""
KEEP = "deploykit.keep"
"""On volumes of the spec, which `down` keeps: the name of the volume there."""

APP_USER = "10001:10001"
NGINX_USER = "10002:10002"
APP_ID, NGINX_ID = 10001, 10002

LISTEN = "8080"
"""nginx's port in its container."""
PREFIX = "/srv/deploykit"
CODE = "/srv/app/code"
CONFIG = "/srv/app/config"
SECRETS = "/srv/app/secrets"
PYTHON = "/srv/venv/bin/python"


@dataclass(frozen=True)
class Settings:
    """What a release has to be run with, written on its image; whoever runs it later needs no spec."""

    volumes: Mapping[str, str]
    static_folders: tuple[str, ...]
    has_commands: bool
    """Release commands may change its code, which is in a volume of the release then."""
    stop_signal: str
    stop_grace_seconds: float
    most_processes: int
    protocol: str
    probe: Probe

    @classmethod
    def of(cls, app: AppPlan) -> Settings:
        """The settings of a planned app."""
        return cls(
            volumes=dict(app.volumes),
            static_folders=app.static_folders,
            has_commands=bool(app.release_commands),
            stop_signal=app.stop_signal,
            stop_grace_seconds=app.stop_grace_seconds,
            # Twice what its workers and threads are, and room for what the app starts itself.
            most_processes=256 + 2 * app.workers * (app.threads + 2),
            protocol=app.protocol,
            probe=app.probe,
        )

    def to_label(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_label(cls, text: str) -> Settings:
        """The settings that a label tells.

        Raises:
            EnvironmentLacks: it tells none that this version knows.
        """
        try:
            data = json.loads(text)
            probe = Probe(**{**data.pop("probe"), "statuses": tuple(json.loads(text)["probe"]["statuses"])})
            return cls(**{**data, "static_folders": tuple(data["static_folders"]), "probe": probe})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EnvironmentLacks(
                f"a label `{SETTINGS}` is not what this deploykit writes: {text[:60]!r}",
                hint="use the deploykit that wrote it; `deploykit down` and `deploykit up` make all anew",
            ) from error


@dataclass(frozen=True)
class Names:
    """The names and labels of one stack's things. A `.` is in no name of a spec, so none of these can meet."""

    stack: Stack

    @property
    def network(self) -> str:
        return self.stack.full_name

    @property
    def nginx(self) -> str:
        return f"{self.stack.full_name}-nginx"

    @property
    def nginx_files(self) -> str:
        return f"{self.stack.full_name}-nginx.files"

    def instance(self, app: str, slot: int, release: str) -> str:
        return f"{self.stack.full_name}-{app}-{slot}-{release}"

    def image(self, app: str, release: str) -> str:
        """The tag that a complete release has."""
        return f"{self.stack.full_name}-{app}:{release}"

    def unfinished_image(self, app: str, release: str) -> str:
        """The tag of a release whose commands have not run yet."""
        return f"{self.stack.full_name}-{app}:{release}.unfinished"

    def sockets(self, app: str) -> str:
        return f"{self.stack.full_name}-{app}.run"

    def secrets(self, app: str) -> str:
        return f"{self.stack.full_name}-{app}.secrets"

    def served(self, app: str) -> str:
        """The volume with the static folders of all its releases, as nginx sees them."""
        return f"{self.stack.full_name}-{app}.releases"

    def volume(self, app: str, volume: str) -> str:
        return f"{self.stack.full_name}-{app}-{volume}"

    def code(self, app: str, release: str) -> str:
        """The volume with the code of a release whose commands may change it."""
        return f"{self.stack.full_name}-{app}.{release}"

    def labels(self, role: str, app: str = "", release: str = "", **more: str) -> dict[str, str]:
        """The labels of one thing of this stack."""
        labels = {
            STACK: self.stack.id,
            NAME: self.stack.full_name,
            FOLDER: str(self.stack.folder.resolve()),
            ROLE: role,
        }
        if app:
            labels[APP] = app
        if release:
            labels[RELEASE] = release
        return labels | more

    @property
    def mine(self) -> dict[str, Any]:
        """The filter for all that is this stack's."""
        return {"label": f"{STACK}={self.stack.id}"}

    def refuse_foreign(self, kind: str, name: str, labels: Mapping[str, str] | None) -> None:
        """Nothing, where it is this stack's.

        Raises:
            EnvironmentLacks: a thing of that name is somebody else's; says whose and what to do.
        """
        labels = labels or {}
        if labels.get(STACK) == self.stack.id:
            return
        if STACK in labels:
            whose = f"is of the stack `{labels.get(NAME, '')}` in {labels.get(FOLDER, 'another folder')}"
            hint = f"give this stack another `name`, or run `deploykit down` in {labels.get(FOLDER, 'that folder')}"
        else:
            whose = "was not made by deploykit"
            hint = f"give this stack another `name`, or remove the {kind} if nobody needs it"
        raise EnvironmentLacks(f"the {kind} `{name}` {whose}", hint=hint)


def release_of(labels: Mapping[str, str]) -> Release:
    """The release that an image's labels tell.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they tell none.
    """
    origin = json.loads(labels.get(ORIGIN, "{}"))
    origin = Origin(**{**origin, "commands": tuple(origin.get("commands", ()))})
    told = json.loads(labels.get(FINGERPRINTS, "null"))
    return Release(labels[APP], labels[RELEASE], json.loads(labels[PARTS]), origin, told)
