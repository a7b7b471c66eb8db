"""The project's Python files as syntax trees. Reads them; never imports or runs them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deploykit.detection.layout import inner, module_file, module_name, package_folder

LARGEST_FILE_BYTES = 1 << 20
"""Larger Python files are generated; nobody writes an app in one."""
MOST_FILES = 3000
LONGEST_SHOWN = 60
"""Characters of a line that is quoted in a comment."""

NOT_THE_APP = frozenset(
    {"tests", "test", "testing", "docs", "doc", "examples", "example", "migrations", "site-packages"}
)
"""Folders whose modules are not what is served."""
NOT_THE_APP_FILES = frozenset({"setup.py", "conftest.py", "noxfile.py", "fabfile.py", "tasks.py"})


@dataclass(frozen=True, eq=False)
class Module:
    """One Python file as a syntax tree."""

    path: str
    """Relative to the project."""
    text: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    """Name in the module to the dotted name that it was imported as, such as `Flask` to `flask.Flask`."""

    def seen(self, node: ast.stmt | ast.expr) -> str:
        """The first line of a statement as it was written, and where: for the spec's comments."""
        line = self.text.splitlines()[node.lineno - 1].strip(" \t,") if self.text else ""
        shown = line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 3] + "..."
        return f"{shown} in {self.path}:{node.lineno}"

    def qualified(self, node: ast.expr) -> str:
        """The dotted name of what an expression names, through the module's imports; empty for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])


class Sources:
    """Every Python file of a project, parsed when it is asked for, once."""

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        self.folder = folder
        self.files = files
        self.unreadable: dict[str, str] = {}
        """File to why it could not be read as Python."""
        self._modules: dict[str, Module | None] = {}

    def read(self, path: str) -> Module | None:
        """The module in that file; None where it is not there or not Python that this interpreter reads."""
        if path not in self._modules:
            self._modules[path] = self._parse(path)
        return self._modules[path]

    def _parse(self, path: str) -> Module | None:
        file = self.folder / path
        try:
            if not file.is_file() or file.stat().st_size > LARGEST_FILE_BYTES:
                return None
            data = file.read_bytes()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(data)
        except SyntaxError as error:
            self.unreadable[path] = f"line {error.lineno}: {error.msg}"
            return None
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            self.unreadable[path] = str(error) or type(error).__name__
            return None
        return Module(path, data.decode(errors="replace"), tree, _imports(tree, path))

    @cached_property
    def app_files(self) -> tuple[str, ...]:
        """The Python files that may be the app's: no tests, docs or migrations; those nearest to the top first."""
        names = [name for name in self.files if name.endswith(".py") and _may_be_the_app(name)]
        return tuple(sorted(names, key=lambda name: (name.count("/"), name))[:MOST_FILES])

    def app_modules(self) -> Iterator[Module]:
        """The modules that may be the app's, those nearest to the top first."""
        for name in self.app_files:
            module = self.read(name)
            if module is not None:
                yield module

    def import_folder(self, path: str) -> str:
        """The folder from which a file is imported: above its packages, relative to the project.

        A folder without `__init__.py` counts as a package where other modules import it by that name.
        """
        folder = package_folder(path)
        known = set(self.files)
        while folder and (inner(folder, "__init__.py") in known or self._is_imported(folder)):
            folder = package_folder(folder)
        return folder

    def _is_imported(self, folder: str) -> bool:
        return folder.rpartition("/")[2] in self._imported_names

    @cached_property
    def _imported_names(self) -> frozenset[str]:
        """The first parts of all absolute imports."""
        origins = {origin for module in self.app_modules() for origin in module.imports.values()}
        return frozenset(origin.partition(".")[0] for origin in origins) - {""}

    def find(self, module: str, folder: str = "") -> Module | None:
        """The project's module of that dotted name, imported from `folder`; with a leading dot, from the top."""
        if module.startswith("."):
            module, folder = module[1:], ""
        path = module_file(self.files, module, folder)
        return self.read(path) if path else None

    def name(self, path: str, folder: str = "") -> str:
        """The dotted name under which a file is imported from `folder`."""
        return module_name(path, folder)


def _may_be_the_app(name: str) -> bool:
    *folders, file = name.split("/")
    return (
        NOT_THE_APP.isdisjoint(folders)
        and file not in NOT_THE_APP_FILES
        and not file.startswith("test_")
        and not file.endswith("_test.py")
    )


def _imports(tree: ast.Module, path: str) -> dict[str, str]:
    """Every import of the file, also inside functions; relative ones with a dot in front, named from the top."""
    package = [part for part in package_folder(path).split("/") if part]
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ("." if node.level else "") + ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                separator = "" if origin in ("", ".") else "."
                found[alias.asname or alias.name] = f"{origin}{separator}{alias.name}"
    return found


def assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr, ast.stmt]]:
    """(name, value, statement) for each name that the module itself is given, also under `if`, `try` and `with`."""
    for statement in top_statements(tree.body):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value, statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value, statement


def top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, without what only `__main__` runs."""
    for statement in body:
        if isinstance(statement, ast.If):
            if not _is_main(statement.test):
                yield from top_statements(statement.body)
                yield from top_statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from top_statements([*statement.body, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.With):
            yield from top_statements(statement.body)
        else:
            yield statement


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test)
    )


def text_of(node: ast.expr | None) -> str | None:
    """The text of a string constant, None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a call's keyword, None where it has none."""
    return next((word.value for word in call.keywords if word.arg == name), None)
