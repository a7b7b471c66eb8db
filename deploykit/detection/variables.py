"""Which environment variables a project's code can't do without: those it reads and gives no default for."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from deploykit.detection.syntax import Module, keyword, text_of

FROM_THE_SYSTEM = frozenset({"PATH", "HOME", "LANG", "USER", "PWD", "SHELL", "TMPDIR", "TZ", "HOSTNAME", "PORT"})
"""Variables that a process has anyway, or that only hosting platforms set."""

_URL_VARIABLES = {"db": "DATABASE_URL", "db_url": "DATABASE_URL", "cache": "CACHE_URL", "cache_url": "CACHE_URL"}
"""What these methods of an Env object read where no name is given."""


def needed(modules: Iterable[Module], known: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """(variable, where it is read) in the order of reading, without those in `known`."""
    found: dict[str, str] = {}
    optional: set[str] = {*FROM_THE_SYSTEM, *known}
    for module in modules:
        reader = _Reader(module)
        reader.visit(module.tree)
        for name, line in reader.required:
            found.setdefault(name, f"{module.path}:{line}")
        optional |= reader.optional
    return tuple((name, where) for name, where in found.items() if name not in optional)


class _Reader(ast.NodeVisitor):
    """Collects what one module reads. What only a condition asks for, or an `except KeyError` catches, is optional."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.required: list[tuple[str, int]] = []
        self.optional: set[str] = set()
        self.asked = 0
        """How many conditions the visited expression is in; there, None for a missing variable is an answer."""
        self.caught = 0
        """How many `try` blocks that catch a missing variable it is in."""

    def visit_If(self, node: ast.If | ast.IfExp | ast.While) -> None:
        self._ask(node.test)
        for part in ast.iter_child_nodes(node):
            if part is not node.test:
                self.visit(part)

    visit_IfExp = visit_If
    visit_While = visit_If

    def _ask(self, node: ast.AST) -> None:
        self.asked += 1
        self.visit(node)
        self.asked -= 1

    def visit_Compare(self, node: ast.Compare) -> None:
        if isinstance(node.ops[0], ast.In | ast.NotIn) and self._is_environ(node.comparators[0]):
            self.optional |= {name for name in (text_of(node.left),) if name is not None}
        for part in ast.iter_child_nodes(node):
            self._ask(part)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for part in node.values[:-1]:
            self._ask(part)
        self.visit(node.values[-1])

    def visit_Try(self, node: ast.Try) -> None:
        names = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
        catches = bool(names & {"KeyError", "Exception", "ImproperlyConfigured"})
        self.caught += catches
        for statement in node.body:
            self.visit(statement)
        self.caught -= catches
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = text_of(node.slice)
        if name is not None and self._is_environ(node.value):
            self._note(name, node.lineno, hard=isinstance(node.ctx, ast.Load) and not self.caught)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self.module.qualified(node.func)
        name = text_of(node.args[0]) if node.args else None
        bare = len(node.args) == 1 and keyword(node, "default") is None
        if called.endswith(("environ.Env", "environs.Env")) or called == "Env":
            self.optional |= {word.arg for word in node.keywords if word.arg}
        elif called == "os.environ.setdefault" and name is not None:
            self.optional.add(name)
        elif name is not None and bare and called in ("os.getenv", "os.environ.get"):
            self._note(name, node.lineno, hard=not self.asked and not self.caught)
        elif name is not None and bare and _raises_without(called):
            self._note(name, node.lineno, hard=not self.caught)
        elif not node.args and not node.keywords and called.startswith("env.") and called[4:] in _URL_VARIABLES:
            self._note(_URL_VARIABLES[called[4:]], node.lineno, hard=not self.caught)
        self.generic_visit(node)

    def _note(self, name: str, line: int, *, hard: bool) -> None:
        if hard:
            self.required.append((name, line))
        else:
            self.optional.add(name)

    def _is_environ(self, node: ast.expr) -> bool:
        return self.module.qualified(node) == "os.environ"


def _raises_without(called: str) -> bool:
    """Whether a function of that name refuses to read a variable that is not there: django-environ, decouple."""
    head, _, method = called.rpartition(".")
    return called in ("env", "decouple.config") or (head == "env" and method not in ("read_env", "prefixed"))
