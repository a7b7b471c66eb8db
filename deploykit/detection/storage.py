"""Where a project's code keeps data in files: SQLite, uploads. From syntax, so only what is written out."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator

from deploykit.detection.syntax import Module, Sources
from deploykit.detection.values import Known, evaluate, module_values

DATABASE_ENDINGS = (".sqlite", ".sqlite3", ".db")


def relative(sources: Sources, path: str, working_folder: str) -> str | None:
    """A path of the project's code relative to the project, `""` for its top; None where it lies outside."""
    top = str(sources.folder)
    absolute = posixpath.normpath(posixpath.join(top, working_folder, path))
    if absolute == top:
        return ""
    return absolute.removeprefix(top + "/") if absolute.startswith(top + "/") else None


def sqlite_files(sources: Sources, modules: tuple[Module, ...], folder: str) -> Iterator[tuple[str, str]]:
    """(path as the code has it, where) for each SQLite file that a text in the code names."""
    for module in modules:
        names = module_values(sources, module, folder)
        yield from _texts(module, module.tree, names, str(sources.folder))


def _texts(module: Module, node: ast.AST, names: dict[str, Known], top: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        if isinstance(child, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Call):
            path = _database(evaluate(child, module, names, top))
            if path:
                yield path, f"{module.path}:{child.lineno}"
                continue
            if isinstance(child, ast.JoinedStr | ast.BinOp) or _is_path_call(child):
                continue  # a path whose beginning is not known here; its end alone would mislead
        yield from _texts(module, child, names, top)


def _is_path_call(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("join", "joinpath", "format", "endswith")
    )


def _database(value: object) -> str:
    """The path in a text that names an SQLite file, empty for any other text."""
    if not isinstance(value, str) or "\n" in value or ":memory:" in value:
        return ""
    if value.startswith("sqlite:///"):
        return value.removeprefix("sqlite:///").partition("?")[0]
    plain = not any(character in value for character in " *?<>%{}:")
    is_named = not posixpath.basename(value).startswith(".")
    return value if plain and is_named and value.endswith(DATABASE_ENDINGS) else ""


def named_folder(sources: Sources, modules: tuple[Module, ...], folder: str, name: str) -> tuple[str, str] | None:
    """(path as the code has it, where) of a setting such as UPLOAD_FOLDER: a name, an item or a keyword."""
    for module in modules:
        names = module_values(sources, module, folder)
        for node in ast.walk(module.tree):
            value = _value_of(node, name)
            path = evaluate(value, module, names, str(sources.folder)) if value is not None else None
            if value is not None and isinstance(path, str) and path:
                return path, f"{module.path}:{value.lineno}"
    return None


def _value_of(node: ast.AST, name: str) -> ast.expr | None:
    """What a statement or keyword gives that name."""
    if isinstance(node, ast.Assign) and any(_named(target) == name for target in node.targets):
        return node.value
    return node.value if isinstance(node, ast.keyword) and node.arg == name else None


def _named(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ""
