"""Finds a driver by its file name. The only cleverness in the project.

A driver is a module with a constant `DRIVER` in a package of drivers; the name of the file is its
name in the spec. Listing names imports nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Generic, TypeVar, cast

Driver = TypeVar("Driver")


class Registry(Generic[Driver]):
    """The drivers in one package, each a module with a `DRIVER` constant."""

    def __init__(self, package: str) -> None:
        self.package = package

    def names(self) -> tuple[str, ...]:
        """The names that a spec may use, sorted."""
        path = importlib.import_module(self.package).__path__
        return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))

    def get(self, name: str) -> Driver:
        """The driver of that name.

        Raises:
            KeyError: there is no such file; `names()` says what there is.
        """
        if name not in self.names():
            raise KeyError(name)
        return cast(Driver, importlib.import_module(f"{self.package}.{name}").DRIVER)
