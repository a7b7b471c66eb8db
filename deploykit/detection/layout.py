"""Modules and folders by the names of files alone: which file is a dotted name's, what lies in a folder."""

from __future__ import annotations


def module_file(files: tuple[str, ...], module: str, folder: str = "") -> str:
    """The file of a dotted module name, empty where `files` has none; looked for below `folder`."""
    stem = (f"{folder}/" if folder else "") + module.replace(".", "/")
    known = set(files)
    return next((name for name in (f"{stem}/__init__.py", f"{stem}.py") if name in known), "")


def module_name(path: str, folder: str = "") -> str:
    """The dotted name of a Python file that is imported from `folder`."""
    inside = path.removeprefix(f"{folder}/") if folder else path
    return inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def package_folder(path: str) -> str:
    """The folder that a module's files lie in, relative, empty for the top."""
    return path.rpartition("/")[0]


def has_folder(files: tuple[str, ...], folder: str) -> bool:
    """Whether any file lies in that folder."""
    return any(name.startswith(folder.rstrip("/") + "/") for name in files)


def inner(*parts: str) -> str:
    """The parts joined by `/`, without the empty ones."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
