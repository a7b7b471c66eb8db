"""Where a project makes its Flask app, and every way to name it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from deploykit.detection import Finding, Project
from deploykit.detection.layout import module_name
from deploykit.detection.syntax import Module, Sources, assignments, top_statements

NAMES = ("app", "application")
FACTORIES = ("create_app", "make_app")
"""The names that Flask's own command looks for, in its order."""
SERVED = frozenset({"app", "application", "main", "run", "server", "index", "__init__"})
"""File names, without `.py`, that an app is served from by custom."""


@dataclass(frozen=True)
class Made:
    """A call that makes a Flask app."""

    module: Module
    call: ast.Call


@dataclass(frozen=True)
class Candidate:
    """One way to name the app; the lowest rank is the likeliest."""

    rank: int
    module: Module
    name: str
    seen: str


@dataclass(frozen=True)
class Factory:
    """A function that makes an app."""

    module: Module
    function: ast.FunctionDef

    @property
    def needs_arguments(self) -> bool:
        arguments = self.function.args
        required = len(arguments.args) + len(arguments.posonlyargs) - len(arguments.defaults)
        return required > 0 or None in arguments.kw_defaults


def apps_made(sources: Sources) -> tuple[Made, ...]:
    """Every call that makes a Flask app, also of a class that the project derives from Flask."""
    named = [module for module in sources.app_modules() if "Flask" in module.text]
    derived = {
        node.name
        for module in named
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and any(_is_flask(module, base) for base in node.bases)
    }
    found = []
    for module in sources.app_modules() if derived else named:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                name = module.qualified(node.func).rpartition(".")[2]
                if _is_flask(module, node.func) or name in derived:
                    found.append(Made(module, node))
    return tuple(found)


def _is_flask(module: Module, node: ast.expr) -> bool:
    name = module.qualified(node)
    return name in ("flask.Flask", "flask.app.Flask") or (name == "Flask" and module.imports.get("*") == "flask.*")


def factories(made: tuple[Made, ...]) -> tuple[Factory, ...]:
    """Each function of a module that makes a Flask app and returns something."""
    found = []
    for module in dict.fromkeys(one.module for one in made):
        calls = {id(one.call) for one in made}
        for statement in top_statements(module.tree.body):
            if isinstance(statement, ast.FunctionDef):
                nodes = list(ast.walk(statement))
                returns = any(isinstance(node, ast.Return) and node.value for node in nodes)
                if returns and any(id(node) in calls for node in nodes):
                    found.append(Factory(module, statement))
    return tuple(found)


def candidates(sources: Sources, made: tuple[Made, ...]) -> tuple[Candidate, ...]:
    """Every way to name the app, the likeliest first: a wsgi.py, then objects, then factories without arguments."""
    calls = {id(one.call) for one in made}
    makers = factories(made)
    names = {maker.function.name for maker in makers}
    found: list[Candidate] = []
    for module in sources.app_modules():
        stem = module.path.rpartition("/")[2].removesuffix(".py")
        is_wsgi = stem in ("wsgi", "passenger_wsgi")
        own: dict[int, Candidate] = {}
        for name, value, statement in assignments(module.tree):
            if not isinstance(value, ast.Call):
                continue
            if id(value) in calls or module.qualified(value.func).rpartition(".")[2] in names:
                rank = 0 if is_wsgi else 1 if name in NAMES and stem in SERVED else 2
                own.setdefault(id(statement), Candidate(rank, module, name, module.seen(statement)))
        if is_wsgi and not own:
            found += _imported(module)
        found += own.values()
    for maker in makers:
        if not maker.needs_arguments:
            found.append(Candidate(3, maker.module, f"{maker.function.name}()", maker.module.seen(maker.function)))
    return tuple(sorted(found, key=lambda one: (one.rank, one.module.path.count("/"), one.module.path)))


def _imported(module: Module) -> list[Candidate]:
    """An app that a wsgi.py only imports."""
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if name in NAMES:
                    return [Candidate(0, module, name, module.seen(node))]
    return []


def entrypoints(
    project: Project, found: tuple[Candidate, ...], makers: tuple[Factory, ...], folder: str
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """(the entrypoints that are equally likely, what to say about those that can't be used)."""
    inside = [one for one in found if project.sources.import_folder(one.module.path) == folder]
    named = project.environment.get("FLASK_APP")
    notes: list[str] = []
    if named is not None and not (inside and inside[0].rank == 0):
        chosen, note = _by_flask_app(named, inside, folder)
        if chosen is not None:
            return (chosen,), ()
        notes += note
    best = [one for one in inside if one.rank == inside[0].rank]
    if not best:
        notes += [
            f"`{maker.function.name}` in {maker.module.path}:{maker.function.lineno} needs an argument, which an "
            "entrypoint can't give: add a wsgi.py that says `app = ...` and name `wsgi:app`."
            for maker in makers
            if maker.needs_arguments
        ]
    return tuple(Finding(f"{module_name(one.module.path, folder)}:{one.name}", one.seen) for one in best), tuple(notes)


def _by_flask_app(named: Finding, inside: list[Candidate], folder: str) -> tuple[Finding | None, tuple[str, ...]]:
    """What FLASK_APP means: `shop`, `shop.py`, `src/shop`, `shop:app`, `shop:create_app()`."""
    path, _, name = named.value.partition(":")
    module = module_name(path.removeprefix("./").removesuffix(".py") + ".py", folder)
    if name:
        plain = re.fullmatch(r"([A-Za-z_]\w*)(\(\s*\))?", name)
        if plain is None:
            return None, (f"FLASK_APP={named.value} ({named.seen}) gives arguments: put that call into a wsgi.py.",)
        is_factory = any(one.name == f"{plain[1]}()" for one in inside)
        return Finding(f"{module}:{plain[1]}{'()' if plain[2] or is_factory else ''}", named.seen), ()
    own = [one for one in inside if module_name(one.module.path, folder) == module]
    for wanted in (*NAMES, *(f"{factory}()" for factory in FACTORIES)):
        for one in own:
            if one.name == wanted:
                return Finding(f"{module}:{one.name}", f"{named.seen}, {one.seen}"), ()
    return None, ()


def app_of(sources: Sources, chosen: tuple[Finding, ...], made: tuple[Made, ...], folder: str) -> Made:
    """The app that the first entrypoint means, as far as imports tell; else the first that is made."""
    module = chosen[0].value.partition(":")[0] if chosen else ""
    entry = sources.find(module, folder) if module else None
    if entry is None or len(made) == 1:
        return made[0]
    for one in made:
        if one.module is entry:
            return one
    origins = tuple(entry.imports.values())
    for one in made:
        names = (module_name(one.module.path, folder), "." + module_name(one.module.path))
        if any(origin == name or origin.startswith(name + ".") for origin in origins for name in names):
            return one
    return made[0]
