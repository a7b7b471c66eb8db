"""The layers hold: who imports whom, which library belongs where, what no file may do. Reads, imports nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from deploykit.registry import Registry
from deploykit.spec.load import load_spec

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "deploykit"

ORDER = (
    ("errors", "registry", "wire", "disk", "exclusion"),
    ("spec",),
    ("plan",),
    ("source", "secrets", "secret_commands", "releases", "provenance", "lockfile"),
    ("detection", "frameworks", "app_servers", "nginx", "nginx_build"),
    ("targets",),
    ("sizing", "routing", "promises", "planner"),
    ("render", "reconcile"),
    ("machine", "causes", "health", "draining", "engine", "supervision", "wheels", "runtimes"),
    ("proof",),
    ("findings", "sarif", "pipelines", "ejection"),
    ("init", "converge"),
    ("cli",),
    ("__main__",),
)
"""From what knows nothing to what knows all. A part imports from rows above its own, and from its own row."""

LIBRARIES = {
    "yaml": {"spec", "init"},
    "pydantic": {"spec"},
    "pydantic_core": {"spec"},
    "packaging": {"spec", "detection"},
    "pathspec": {"source"},
    "jinja2": {"render"},
    "docker": {"runtimes", "engine"},
    "requests": {"engine"},
    "urllib3": {"engine"},
    "supervisor": {"runtimes", "supervision"},
    "psutil": {"runtimes", "supervision", "machine"},
    "testinfra": {"proof", "runtimes", "engine"},
    "typer": {"cli"},
    "rich": {"cli"},
}
"""The only parts that may import a library; what is not named here is not imported at all."""

HEAVY = {"docker", "requests", "urllib3", "supervisor", "psutil", "testinfra", "rich"}
"""Imported inside functions only, so that what does not need them does not wait for them."""

RUN_ELSEWHERE = {"detection/settings_probe.py": {"django"}}
"""Files that are run by a project's own interpreter, and what they find there."""

DRIVERS = ("frameworks", "app_servers", "targets", "runtimes", "pipelines", "ejection")


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str
    deferred: bool
    """Inside a function, or for the type checker only."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def python_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_templates" not in path.parts)


def part_of(file: str) -> str:
    """The part of the package that a file belongs to, such as `spec` for `spec/load.py`."""
    return file.split("/")[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[Import]:
    file = path.relative_to(PACKAGE).as_posix()

    def walk(node: ast.AST, deferred: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(file, child.lineno, alias.name, deferred)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}:{child.lineno}: say the whole name"
                for alias in child.names:
                    yield Import(file, child.lineno, f"{child.module}.{alias.name}", deferred)
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            )
            yield from walk(child, deferred or inner)

    yield from walk(ast.parse(path.read_text()), False)


FILES = python_files()
IMPORTS = [each for path in FILES for each in imports_of(path)]


def test_every_part_has_its_place_in_the_order() -> None:
    placed = [part for row in ORDER for part in row]
    assert len(placed) == len(set(placed))
    there = {part_of(path.relative_to(PACKAGE).as_posix()) for path in FILES} - {"__init__"}
    assert there - set(placed) == set(), "name the new part in ORDER"
    assert set(placed) - there == set(), "ORDER names what is not there"


def test_no_part_imports_one_that_is_built_on_it() -> None:
    row_of = {part: number for number, row in enumerate(ORDER) for part in row}
    wrong = []
    for each in IMPORTS:
        words = each.module.split(".")
        own = part_of(each.file)
        if words[0] != "deploykit" or own == "__init__" or len(words) < 2 or words[1] == "__version__":
            continue
        if row_of[words[1]] > row_of[own]:
            wrong.append(str(each))
    assert wrong == []


def test_the_version_and_name_of_the_package_need_nothing() -> None:
    assert [str(each) for each in IMPORTS if each.file == "__init__.py"] == []


def test_each_library_stays_in_its_layer() -> None:
    import sys

    wrong = []
    for each in IMPORTS:
        library = each.module.split(".")[0]
        if library == "deploykit" or library in sys.stdlib_module_names:
            continue
        if library in RUN_ELSEWHERE.get(each.file, ()):
            continue
        if part_of(each.file) not in LIBRARIES.get(library, set()):
            wrong.append(str(each))
    assert wrong == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    wrong = [str(each) for each in IMPORTS if each.module.split(".")[0] in HEAVY and not each.deferred]
    assert wrong == []


def test_the_bytes_of_the_wire_need_only_the_standard_library() -> None:
    """Its text is run inside containers that have nothing else."""
    import sys

    wrong = [
        str(each)
        for each in IMPORTS
        if each.file == "wire.py" and each.module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert wrong == []


@pytest.mark.parametrize("package", DRIVERS)
def test_no_driver_imports_another(package: str) -> None:
    names = Registry(f"deploykit.{package}").names()
    wrong = [
        str(each)
        for each in IMPORTS
        for name in names
        if each.file.startswith(f"{package}/")
        and each.file != f"{package}/__init__.py"
        and f"{each.module}.".startswith(f"deploykit.{package}.{name}.")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", DRIVERS)
def test_every_file_beside_drivers_is_a_driver(package: str) -> None:
    for path in sorted((PACKAGE / package).glob("*.py")):
        if path.name == "__init__.py":
            continue
        targets = {
            target.id
            for statement in ast.parse(path.read_text()).body
            for target in (
                statement.targets
                if isinstance(statement, ast.Assign)
                else [statement.target]
                if isinstance(statement, ast.AnnAssign)
                else []
            )
            if isinstance(target, ast.Name)
        }
        assert "DRIVER" in targets, path


# --- what no file may do ---------------------------------------------------------------------------------------

FORBIDDEN_CALLS = {
    "eval": "text is data",
    "exec": "text is data",
    "os.system": "a shell; use subprocess with a list",
    "os.popen": "a shell; use subprocess with a list",
    "subprocess.getoutput": "a shell; use subprocess.run with a list",
    "subprocess.getstatusoutput": "a shell; use subprocess.run with a list",
    "yaml.load": "makes objects; spec.reading reads events",
    "yaml.full_load": "makes objects",
    "yaml.unsafe_load": "makes objects",
    "yaml.safe_load": "loses lines and duplicate keys; spec.load reads specs",
}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "imp"}


def calls(*, when_imported: bool = False) -> Iterator[tuple[str, ast.Call]]:
    """(file, call) of every call; `when_imported` leaves out what only a file that is run by itself does."""
    for path in FILES:
        file = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text())
        if when_imported:
            tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if __name__ == '__main__':")]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield file, node


def test_nothing_runs_text_as_code_or_through_a_shell() -> None:
    wrong = []
    for file, call in calls():
        name = ast.unparse(call.func)
        if name in FORBIDDEN_CALLS:
            wrong.append(f"{file}:{call.lineno}: {name}: {FORBIDDEN_CALLS[name]}")
        for keyword in call.keywords:
            if keyword.arg == "shell" and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                wrong.append(f"{file}:{call.lineno}: shell=: use a list of words")
    wrong += [str(each) for each in IMPORTS if each.module.split(".")[0] in FORBIDDEN_MODULES]
    assert wrong == []


def test_only_the_command_line_prints_and_exits() -> None:
    wrong = [
        f"{file}:{call.lineno}: {ast.unparse(call.func)}"
        for file, call in calls(when_imported=True)
        if ast.unparse(call.func) in ("print", "sys.exit", "exit", "quit", "os._exit")
        and file not in ("__main__.py", *RUN_ELSEWHERE)
        and part_of(file) != "wire"
    ]
    assert wrong == []


def test_only_the_error_boundary_catches_everything() -> None:
    """Elsewhere an error is caught by its name, or it is a bug that must be seen."""
    wrong = []
    for path in FILES:
        file = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                ends_in_raise = isinstance(node.body[-1], ast.Raise)
                if caught in ("everything", "Exception", "BaseException") and not ends_in_raise:
                    wrong.append(f"{file}:{node.lineno}: catches {caught}")
    assert [each for each in wrong if not each.startswith(("cli/main.py", *RUN_ELSEWHERE))] == []


# --- drivers, examples and golden cases ------------------------------------------------------------------------


def named(folder: str) -> dict[str, set[str]]:
    """What the specs below a folder name, by package of drivers."""
    found: dict[str, set[str]] = {"app_servers": set(), "frameworks": set(), "targets": set()}
    for path in sorted((ROOT / folder).glob("*/deploykit.yaml")):
        spec, _source = load_spec(path)
        found["targets"].add(spec.target or "process")
        for app in spec.apps.values():
            found["app_servers"].add(app.app_server.type)
            found["frameworks"].add(app.framework or "wsgi")
    return found


@pytest.mark.parametrize("package", ["app_servers", "frameworks", "targets"])
def test_every_driver_has_a_golden_case(package: str) -> None:
    assert set(Registry(f"deploykit.{package}").names()) - named("tests/golden")[package] == set()


@pytest.mark.parametrize("package", ["app_servers", "frameworks"])
def test_every_driver_has_an_example(package: str) -> None:
    # `wsgi` is the name for no framework at all: there is nothing in it to give an example of.
    assert set(Registry(f"deploykit.{package}").names()) - named("examples")[package] - {"wsgi"} == set()


def test_every_target_has_a_runtime() -> None:
    assert Registry("deploykit.targets").names() == Registry("deploykit.runtimes").names()


# --- templates -------------------------------------------------------------------------------------------------

TEMPLATES = sorted((ROOT / "templates").rglob("*.j2"))
ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg)
DECIDING = (nodes.Assign, nodes.AssignBlock)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_decides_nothing(path: Path) -> None:
    tree = Environment(autoescape=True).parse(path.read_text())
    wrong = [f"line {node.lineno}: {type(node).__name__}" for node in tree.find_all((*ARITHMETIC, *DECIDING))]
    wrong += [f"line {f.lineno}: default" for f in tree.find_all(nodes.Filter) if f.name in ("default", "d")]
    wrong += [f"line {t.lineno}: is {t.name}" for t in tree.find_all(nodes.Test) if t.name in ("defined", "undefined")]
    assert wrong == []


def test_there_are_templates() -> None:
    assert TEMPLATES


# --- sizes -----------------------------------------------------------------------------------------------------


def test_no_module_and_no_function_grows_beyond_the_alarm() -> None:
    wrong = []
    for path in FILES:
        text = path.read_text()
        lines = text.count("\n")
        if lines > 400:
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines, 400 at most")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > 60:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines, 60 at most")
    # plan.py is the data that all layers share, read as one table; wire.py runs inside containers as one text.
    one_by_nature = ("deploykit/plan.py: ", "deploykit/wire.py: ")
    assert [each for each in wrong if not each.startswith(one_by_nature)] == []


def test_every_public_function_says_what_it_gives() -> None:
    wrong = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        if ast.get_docstring(tree) is None:
            wrong.append(f"{path.relative_to(ROOT)}: no promise at the top")
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ]
    assert wrong == []
