"""What comes with its first use: most programs use none of it.

A module is imported when something of it is asked for, on whatever thread that is; other threads
that ask for something meanwhile wait. What a reader thread may need is there before the thread is
started: an import may fail while the interpreter shuts down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["at_first_use", "importing"]

#: Held by whoever imports at a first use, and by whoever forks: see :func:`importing`. Before any
#: lock of a module: a module that comes so, and what it imports, asks for no first use while it is
#: imported itself. Not a plain lock, for one import may cause another.
_lock = threading.RLock()
#: Seconds. Nothing that holds the lock takes so long, unless it waits for what this thread holds (a
#: lock of ``logging``, which a fork takes too), or its thread is gone: then it is better to go on.
_PATIENCE = 5.0


@contextmanager
def importing() -> Iterator[None]:
    """Around an import at a first use: no fork comes in between.

    Python does not renew the locks of modules in a child. One that is forked while another thread
    imports a module would wait for that thread for ever when it imports the same module.
    """
    has_lock = _lock.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        if has_lock:
            _lock.release()


class _Forks(threading.local):
    has_lock = False


_forks = _Forks()


def _before_fork() -> None:
    _forks.has_lock = _lock.acquire(timeout=_PATIENCE)


def _after_fork() -> None:
    if _forks.has_lock:
        _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
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
        with importing():
            module = import_module(module_of[name], package["__name__"])
        found = package[name] = getattr(module, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*package, *module_of})

    return __getattr__, __dir__
