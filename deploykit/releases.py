"""Which release of each app the plan and the checkout ask for, named by content: nothing changes without a reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from deploykit import secrets, source
from deploykit.plan import AppPlan, Build, Plan, Release, RenderedFile

PARTS = {
    "code": "its code changed",
    "requirements": "its requirements changed",
    "python": "its Python changed",
    "settings": "its settings in the spec changed",
    "secrets": "its secrets changed",
    "steps": "its release commands changed",
}
"""What a release is made of, and what is said where that differs."""


def wanted(
    plan: Plan,
    files: tuple[RenderedFile, ...],
    folder: Path,
    values: Mapping[str, Mapping[str, str]],
    key: bytes,
    builds: Mapping[str, Build],
) -> dict[str, Release]:
    """App name to the release that should serve; an app in `builds` is promoted, and its source is not looked at.

    Raises:
        OSError: the source can't be read.
    """
    return {
        app.name: _release(
            app,
            files,
            builds[app.name].parts if app.name in builds else build_parts(plan, app, folder),
            values.get(app.name, {}),
            key,
        )
        for app in plan.apps
    }


def build_parts(plan: Plan, app: AppPlan, folder: Path) -> dict[str, str]:
    """What of a release is the same in every environment: its code, its requirements, its Python.

    Raises:
        OSError: the source can't be read.
    """
    top = folder / app.source
    required = (top / app.requirements,) if app.requirements else ()
    return {
        "code": source.digest(top, source_files(app, folder)),
        "requirements": source.files_digest(required) + app.server_requirement,
        "python": plan.facts.pythons[app.name] + plan.facts.images.get(app.name, ""),
    }


def build_id(parts: Mapping[str, Mapping[str, str]]) -> str:
    """The name of the builds that are made of these parts, by app."""
    return _digest(sorted((app, sorted(its.items())) for app, its in parts.items()))[:10]


def _release(
    app: AppPlan,
    files: tuple[RenderedFile, ...],
    built: Mapping[str, str],
    values: Mapping[str, str],
    key: bytes,
) -> Release:
    own = [(file.path, file.digest) for file in files if file.path.startswith(f"apps/{app.name}/")]
    parts = {
        **built,
        "settings": _digest([own, sorted(app.volumes.items()), app.static_folders, app.socket, app.stop_signal]),
        "secrets": secrets.fingerprint(values, key),
        "steps": _digest(app.release_commands),
    }
    told = secrets.fingerprints(values, key)
    return Release(app.name, _digest(sorted(parts.items()))[:10], parts, secrets=told)


def source_files(app: AppPlan, folder: Path) -> tuple[str, ...]:
    """The files of the app's source that go into a release; what lies in its volumes or holds its secrets does not."""
    inside = tuple(path.strip("/") + "/" for path in app.volumes.values())
    origins = [app.env_file, *(ref.origin for ref in app.secrets if ref.kind == "file")]
    # Not `Path.resolve`, which a circle of links in the checkout would end.
    secret = {os.path.realpath(secrets.origin_path(folder, origin)) for origin in origins if origin}
    top = folder / app.source
    return tuple(
        name
        for name in source.listing(top)
        if not name.startswith(inside) and (not secret or os.path.realpath(top / name) not in secret)
    )


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def cause(wanted_release: Release, live: Release | None) -> str:
    """In a few words, why the wanted release is not the live one."""
    if live is None:
        return "not there yet"
    changed = [part for part in PARTS if wanted_release.parts.get(part) != live.parts.get(part)]
    texts = [
        text for part in changed for text in ((part == "secrets" and _secrets(wanted_release, live)) or [PARTS[part]])
    ]
    return ", ".join(texts) or "made by another deploykit"


def _secrets(new: Release, old: Release) -> list[str]:
    """Which variables are others; empty where that is not known."""
    if new.secrets is None or old.secrets is None:
        return []
    found = []
    for name in sorted({*new.secrets, *old.secrets}):
        if name not in old.secrets:
            found.append(f"{name} added")
        elif name not in new.secrets:
            found.append(f"{name} removed")
        elif new.secrets[name] != old.secrets[name]:
            found.append(f"{name} changed")
    return found
