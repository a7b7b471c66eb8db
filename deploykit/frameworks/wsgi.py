"""Any other WSGI application: a callable named `application` or `app` that some module holds."""

from __future__ import annotations

import ast

from deploykit.detection import Detected, Finding, Project
from deploykit.detection.syntax import Module, assignments
from deploykit.detection.variables import needed

NAMES = ("application", "app")
"""What a WSGI callable is called by custom, the likelier first."""
MAKERS = ("wsgifunc", "make_wsgi_app", "get_wsgi_application", "WSGIApplication", "default_app", "Bottle", "falcon.App")
"""Functions and classes whose result is a WSGI application, whatever module they come from."""
NOT_WSGI = ("Celery", "Typer", "QApplication", "Flask", "FastAPI", "Starlette", "ArgumentParser")


class _Wsgi:
    def detect(self, project: Project) -> Detected | None:
        sources = project.sources
        found: list[tuple[int, Module, str, Finding]] = []
        for module in sources.app_modules():
            found += [(rank, module, name, Finding("", seen)) for rank, name, seen in _callables(module)]
        if not found:
            return None
        best = min(rank for rank, *_ in found)
        folder = sources.import_folder(next(module.path for rank, module, *_ in found if rank == best))
        entrypoints = tuple(
            Finding(f"{sources.name(module.path, folder)}:{name}", finding.seen)
            for rank, module, name, finding in found
            if rank == best and sources.import_folder(module.path) == folder
        )
        inside = [module for module in sources.app_modules() if sources.import_folder(module.path) == folder]
        return Detected(
            framework="wsgi",
            seen=entrypoints[0].seen,
            folder=folder,
            entrypoints=entrypoints,
            needs=needed(inside),
        )

    def default_static(self, files: tuple[str, ...], entrypoint: str) -> tuple[tuple[str, str], ...]:
        return ()


def _callables(module: Module) -> list[tuple[int, str, str]]:
    """(rank, name, what was seen) for each WSGI callable of a module, one name per module: the likelier."""
    is_wsgi_module = module.path.rpartition("/")[2] == "wsgi.py"
    found: dict[str, tuple[int, str]] = {}
    for statement in module.tree.body:
        if isinstance(statement, ast.FunctionDef) and _takes_environ(statement.args):
            found[statement.name] = (1 if statement.name in NAMES else 2, module.seen(statement))
    instances = {node.name for node in module.tree.body if isinstance(node, ast.ClassDef) and _is_callable_class(node)}
    for name, value, statement in assignments(module.tree):
        if name not in NAMES:
            continue
        made = module.qualified(value.func) if isinstance(value, ast.Call) else ""
        if made.rpartition(".")[2] in NOT_WSGI:
            continue
        if made in instances or made.endswith(MAKERS) or _method(value) in MAKERS or is_wsgi_module:
            found[name] = (1, module.seen(statement))
    if is_wsgi_module:
        for name in NAMES:
            if name in module.imports and name not in found:
                found[name] = (1, f"{name} is imported in {module.path}")
    names = [name for name in NAMES if name in found] or sorted(found)
    return [(0 if is_wsgi_module else found[name][0], name, found[name][1]) for name in names[:1]]


def _method(value: ast.expr) -> str:
    return value.func.attr if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else ""


def _takes_environ(arguments: ast.arguments) -> bool:
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args) if argument.arg != "self"]
    return len(names) == 2 and (names[0] in ("environ", "env") or names[1] == "start_response")


def _is_callable_class(node: ast.ClassDef) -> bool:
    return any(
        isinstance(item, ast.FunctionDef) and item.name == "__call__" and _takes_environ(item.args)
        for item in node.body
    )


DRIVER = _Wsgi()
