"""What a module's constants come to, worked out from its syntax: paths, texts, lists, defaults of variables.

A value that can't be known without running the module is `UNKNOWN`; nothing is guessed.
"""

from __future__ import annotations

import ast
import posixpath
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploykit.detection.layout import inner, package_folder
from deploykit.detection.syntax import Module, Sources, keyword, text_of


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
DEEPEST_IMPORT = 8

_DEFAULTED = ("os.environ.get", "os.getenv", "environ.get", "getenv")
"""Reads a variable; without a second argument it gives None."""
_PATH_FUNCTIONS = {"os.path.abspath", "os.path.realpath", "os.path.normpath", "os.fspath", "str", "os.path.expanduser"}
_SAME_PATH = {"resolve", "absolute", "as_posix", "expanduser", "__str__"}


@dataclass(frozen=True)
class Known:
    """What a name holds at the end of a module, and where it was last given that."""

    value: object
    path: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


def module_values(sources: Sources, module: Module, folder: str, depth: int = 0) -> dict[str, Known]:
    """Every name of the module with what it comes to, through its imports from the project."""
    names: dict[str, Known] = {}
    _run(sources, module, module.tree.body, names, folder, depth)
    return names


def evaluate(node: ast.expr | None, module: Module, names: dict[str, Known], folder_of_project: str) -> object:
    """What an expression comes to, UNKNOWN where that takes running it. Paths are absolute, as texts."""
    return _Evaluator(module, names, folder_of_project).value(node)


def _run(
    sources: Sources, module: Module, body: list[ast.stmt], names: dict[str, Known], folder: str, depth: int
) -> None:
    evaluator = _Evaluator(module, names, str(sources.folder))
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if statement.value is not None:
                value = evaluator.value(statement.value)
                for target in targets:
                    evaluator.assign(target, value, statement.lineno)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
            value = _add(evaluator.value(statement.target), evaluator.value(statement.value))
            evaluator.assign(statement.target, value, statement.lineno)
        elif isinstance(statement, ast.If):
            test = evaluator.value(statement.test)
            if test is UNKNOWN:
                _forget([*statement.body, *statement.orelse], evaluator)
            else:
                _run(sources, module, statement.body if test else statement.orelse, names, folder, depth)
        elif isinstance(statement, ast.Try):
            _run(sources, module, [*statement.body, *statement.orelse, *statement.finalbody], names, folder, depth)
        elif isinstance(statement, ast.With):
            _run(sources, module, statement.body, names, folder, depth)
        elif isinstance(statement, ast.ImportFrom) and depth < DEEPEST_IMPORT:
            _import(sources, module, statement, names, folder, depth)


def _forget(body: list[ast.stmt], evaluator: _Evaluator) -> None:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    evaluator.assign(target, UNKNOWN, node.lineno)


def _import(
    sources: Sources, module: Module, statement: ast.ImportFrom, names: dict[str, Known], folder: str, depth: int
) -> None:
    origin = statement.module or ""
    if statement.level:
        above = package_folder(module.path)
        for _ in range(statement.level - 1):
            above = package_folder(above)
        candidates = ((origin, above),)
    else:
        candidates = ((origin, folder),)
    for name, start in candidates:
        found = sources.find(name, start) if name else sources.read(inner(start, "__init__.py"))
        if found is None or found.path == module.path:
            continue
        values = module_values(sources, found, folder, depth + 1)
        for alias in statement.names:
            if alias.name == "*":
                names.update({key: value for key, value in values.items() if not key.startswith("_")})
            elif alias.name in values:
                names[alias.asname or alias.name] = values[alias.name]


def _add(left: object, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    return UNKNOWN


class _Evaluator:
    """One module's expressions; lists, tuples and sets all come to lists."""

    def __init__(self, module: Module, names: dict[str, Known], project: str) -> None:
        self.module = module
        self.names = names
        self.file = posixpath.join(project, module.path)

    def assign(self, target: ast.expr, value: object, line: int) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = Known(value, self.module.path, line)
        elif isinstance(target, ast.Subscript):
            container, key = self.value(target.value), self.value(target.slice)
            if isinstance(container, dict) and isinstance(key, str):
                container[key] = value

    def value(self, node: ast.expr | None) -> object:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            if node.id == "__file__":
                return self.file
            return self.names[node.id].value if node.id in self.names else UNKNOWN
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self.value(item) for item in node.elts if not isinstance(item, ast.Starred)]
        if isinstance(node, ast.Dict):
            return {
                key: self.value(value)
                for key_node, value in zip(node.keys, node.values, strict=True)
                if isinstance(key := self.value(key_node), str)
            }
        if isinstance(node, ast.JoinedStr):
            return self._joined(node)
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, ast.Attribute):
            value = self.value(node.value)
            return posixpath.dirname(value) if node.attr == "parent" and isinstance(value, str) else UNKNOWN
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        return self._truth(node)

    def _truth(self, node: ast.expr | None) -> object:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self.value(node.operand)
            return UNKNOWN if value is UNKNOWN else not value
        if isinstance(node, ast.IfExp):
            test = self.value(node.test)
            return UNKNOWN if test is UNKNOWN else self.value(node.body if test else node.orelse)
        if isinstance(node, ast.BoolOp):
            wanted = isinstance(node.op, ast.Or)
            last: object = UNKNOWN
            for item in node.values:
                last = self.value(item)
                if last is UNKNOWN or bool(last) is wanted:
                    break
            return last
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            left, right = self.value(node.left), self.value(node.comparators[0])
            if left is UNKNOWN or right is UNKNOWN:
                return UNKNOWN
            return (left == right) is isinstance(node.ops[0], ast.Eq)
        return UNKNOWN

    def _joined(self, node: ast.JoinedStr) -> object:
        parts = [self.value(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
        return "".join(map(str, parts)) if all(isinstance(part, str | int) for part in parts) else UNKNOWN

    def _operation(self, node: ast.BinOp) -> object:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Add):
            return _add(left, right)
        if isinstance(node.op, ast.Div) and isinstance(left, str) and isinstance(right, str):
            return posixpath.normpath(posixpath.join(left, right))
        return UNKNOWN

    def _subscript(self, node: ast.Subscript) -> object:
        key = self.value(node.slice)
        if isinstance(node.value, ast.Attribute) and node.value.attr == "parents" and isinstance(key, int):
            path = self.value(node.value.value)
            parents = PurePosixPath(path).parents if isinstance(path, str) else ()
            return str(parents[key]) if 0 <= key < len(parents) else UNKNOWN
        container = self.value(node.value)
        if isinstance(container, dict) and isinstance(key, str):
            return container.get(key, UNKNOWN)
        if isinstance(container, list) and isinstance(key, int) and 0 <= key < len(container):
            return container[key]
        return UNKNOWN

    def _call(self, node: ast.Call) -> object:
        name = self.module.qualified(node.func)
        arguments = [self.value(item) for item in node.args]
        if name in ("os.path.join", "pathlib.Path", "Path", "pathlib.PurePath", "os.path.normpath"):
            return self._path(arguments)
        if name == "os.path.dirname" and arguments and isinstance(arguments[0], str):
            return posixpath.dirname(arguments[0])
        if name in _PATH_FUNCTIONS and len(arguments) == 1:
            return arguments[0] if isinstance(arguments[0], str) else UNKNOWN
        if name in _DEFAULTED:
            return arguments[1] if len(arguments) > 1 else self._default(node, None)
        if name.endswith(("dj_database_url.config", "dj_database_url.parse")) or name in ("env.db", "env.db_url"):
            return _database(arguments[0] if name.endswith("parse") and arguments else self._default(node, UNKNOWN))
        if isinstance(node.func, ast.Attribute) and node.func.attr in _SAME_PATH:
            return self.value(node.func.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
            return self._path([self.value(node.func.value), *arguments])
        if name in ("int", "bool") and len(arguments) == 1:
            return _cast(name, arguments[0])
        return self._default(node, UNKNOWN) if text_of(node.args[0] if node.args else None) is not None else UNKNOWN

    def _default(self, node: ast.Call, otherwise: object) -> object:
        default = keyword(node, "default")
        return self.value(default) if default is not None else otherwise

    def _path(self, parts: list[object]) -> object:
        texts = [part for part in parts if isinstance(part, str)]
        return posixpath.normpath(posixpath.join(*texts)) if texts and len(texts) == len(parts) else UNKNOWN


def _cast(name: str, value: object) -> object:
    if name == "bool":
        return UNKNOWN if value is UNKNOWN else bool(value)
    return int(value) if isinstance(value, str) and value.isdigit() else value if isinstance(value, int) else UNKNOWN


def _database(url: object) -> object:
    """What a database URL means to Django; only SQLite is of interest here."""
    if isinstance(url, str) and url.startswith("sqlite:///"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    return {"ENGINE": UNKNOWN, "NAME": UNKNOWN}
