"""What comes with its first use: most programs use none of it.

A module is imported when something of it is asked for, by any thread; others that ask wait. What a
reader thread may need is there before the thread is started: an import may fail while the
interpreter shuts down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["at_first_use", "importing"]

#: Held by whoever imports at a first use, and by whoever forks. Python does not renew the locks of
#: modules in a child: one that is forked while another thread imports a module would wait for that
#: thread for ever when it imports the same module. Not a plain lock: one import may cause another.
importing = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=importing.acquire,
        after_in_parent=importing.release,
        after_in_child=importing.release,
    )


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
        with importing:
            module = import_module(module_of[name], package["__name__"])
        found = package[name] = getattr(module, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*package, *module_of})

    return __getattr__, __dir__
