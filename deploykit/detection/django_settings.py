"""A Django project's settings: which module, and what they say, asked where that is possible, else from syntax."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploykit.detection import Project
from deploykit.detection.asking import ask_settings
from deploykit.detection.layout import inner, module_name, package_folder
from deploykit.detection.syntax import Module, Sources, text_of
from deploykit.detection.values import UNKNOWN, Known, module_values

VARIABLE = "DJANGO_SETTINGS_MODULE"
PRODUCTION = ("production", "prod", "live", "deploy", "deployment")
"""What settings for real use are called, alone or beside the word settings; the likeliest first."""


@dataclass(frozen=True)
class Choice:
    """The settings module that a deployment uses, and why."""

    module: str
    seen: str
    set_by_code: bool
    """Whether both manage.py and wsgi.py choose it by themselves."""


@dataclass(frozen=True)
class Settings:
    """What the settings say; a name that is absent is not known."""

    values: Mapping[str, object]
    how: str
    """`asked`, or why not."""
    asked: bool
    where: Mapping[str, str] = field(default_factory=dict)
    """Setting to the `file:line` that gives it."""

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    def seen(self, name: str) -> str:
        """Where a value comes from, for a comment."""
        return f"{name} in {self.where[name]}" if name in self.where else f"{name} as Django has it by default"

    def place(self, name: str) -> str:
        """The same where the name itself is in the sentence already."""
        return self.where.get(name, "Django's default")


def named_settings(module: Module | None) -> str:
    """The settings module that a manage.py or wsgi.py falls back to, empty where it names none."""
    for node in ast.walk(module.tree) if module is not None else ():
        key: ast.expr | None = None
        value: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setdefault":
            key, value = (*node.args, None, None)[:2]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key, value = node.targets[0].slice, node.value
        if text_of(key) == VARIABLE:
            return text_of(value) or ""
    return ""


def choose(project: Project, folder: str, manage: Module | None, wsgi: Module | None) -> Choice | None:
    """The settings for production where there are some, else what wsgi.py says, else manage.py."""
    by_manage, by_wsgi = named_settings(manage), named_settings(wsgi)
    given = project.environment.get(VARIABLE)
    if given is not None:
        return Choice(given.value, given.seen, given.value == by_manage == by_wsgi)
    modules = _modules(project.sources, folder)
    default = by_wsgi or by_manage
    if not default and not modules:
        return None
    production = next((name for word in PRODUCTION for name in modules if _is_named(name, word)), "")
    origin = wsgi if by_wsgi else manage
    place = origin.path if origin is not None and default else modules.get(default, "")
    if production and production != default:
        others = [name for name in (default, *modules) if name and name != production]
        rest = f"; {place} says {default}" if default else f"; also there: {', '.join(dict.fromkeys(others))}"
        return Choice(production, f"{modules[production]}{rest}", False)
    chosen = default or next(iter(modules))
    return Choice(chosen, place or modules[chosen], chosen == by_manage == by_wsgi)


def _is_named(module: str, word: str) -> bool:
    last = module.rpartition(".")[2]
    return last in (word, f"settings_{word}", f"{word}_settings")


def _modules(sources: Sources, folder: str) -> dict[str, str]:
    """Dotted name to file of every module that looks like settings and is imported from `folder`."""
    found: dict[str, str] = {}
    for path in sources.app_files:
        stem = posixpath.basename(path).removesuffix(".py")
        parent = posixpath.basename(package_folder(path))
        looks = "settings" in stem or (parent == "settings" and stem != "__init__")
        if looks and (not folder or path.startswith(folder + "/")):
            found[module_name(path, folder)] = path
    return found


def read_settings(project: Project, folder: str, module: str) -> Settings:
    """What the settings say; asks the project's own Python, and falls back to reading their syntax."""
    sources = project.sources
    found = sources.find(module, folder)
    names = module_values(sources, found, folder) if found is not None else {}
    where = {name: known.where for name, known in names.items() if name.isupper()}
    why = "there is no virtual environment to ask"
    if project.python:
        answer = ask_settings(project.python, project.folder / folder, module, project.limit_seconds)
        if answer.values is not None:
            return Settings(answer.values, "asked", True, where)
        why = answer.failure
    return Settings(_from_syntax(names, str(project.folder), folder), why, False, where)


def _from_syntax(names: Mapping[str, Known], top: str, folder: str) -> dict[str, object]:
    values = {name: known.value for name, known in names.items() if name.isupper() and known.value is not UNKNOWN}
    storages = values.get("STORAGES")
    if isinstance(storages, dict):
        for alias, name in (("staticfiles", "STATICFILES_STORAGE"), ("default", "DEFAULT_FILE_STORAGE")):
            storage = storages.get(alias)
            if isinstance(storage, dict) and isinstance(storage.get("BACKEND"), str):
                values[name] = storage["BACKEND"]
    databases = values.get("DATABASES")
    one_by_one = [one for one in databases.values() if isinstance(one, dict)] if isinstance(databases, dict) else []
    values["databases"] = len(one_by_one) if "DATABASES" in names else 0
    values["sqlite"] = [
        posixpath.normpath(inner_path(top, folder, str(one["NAME"])))
        for one in one_by_one
        if "sqlite" in str(one.get("ENGINE")) and isinstance(one.get("NAME"), str) and "memory" not in one["NAME"]
    ]
    return values


def inner_path(top: str, folder: str, path: str) -> str:
    """A path of the settings as the project's process sees it, started in the folder of manage.py."""
    return posixpath.join(top, inner(folder), path) if folder else posixpath.join(top, path)
