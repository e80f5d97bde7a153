"""Names of a package that come with their first use: most programs use none of them.

A module that gives such names is imported when one of them is asked for, by any thread; the import
system has the others wait. What a reader thread may need is there before the thread is started: an
import may fail while the interpreter shuts down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["at_first_use"]


def at_first_use(
    package: dict[str, Any], modules: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package (:pep:`562`).

    The package imports the names for type checkers too, under ``if TYPE_CHECKING:``. From there
    they are known to editors, and to tools that collect the modules of a program.

    :param package: its ``globals()``.
    :param modules: of each module, relative to the package, the names that it gives.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        found = getattr(import_module(module_of[name], package["__name__"]), name)
        package[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*package, *module_of})

    return __getattr__, __dir__
