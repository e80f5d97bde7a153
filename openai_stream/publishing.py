"""Public names say the module from which they are imported, wherever they are written.

So pickles, tracebacks, ``repr`` and ``help()`` survive each move inside of the package.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["publish"]


def publish(module: Mapping[str, Any], under: str = "", names: Iterable[str] = ()) -> None:
    """Give what a module makes public the module that users import it from as its own.

    :param module: its ``globals()``, with ``__all__``.
    :param under: the name of that module; default: its own. A module that comes with its first use
        says it, as those above it have not imported it.
    :param names: default: all that it makes public.
    """
    for name in names or module["__all__"]:
        # What comes with its first use is published by the module that brings it.
        thing = module.get(name)
        if not isinstance(thing, (type, types.FunctionType)):
            continue
        if not thing.__module__.startswith("openai_stream"):
            continue  # of the standard library, under a name of ours
        if isinstance(thing, type):
            _resolve(thing)
        thing.__module__ = under or module["__name__"]


def _resolve(cls: type) -> None:
    """Put types in the place of the texts of a class's annotations, while its module is known.

    ``typing`` looks for what they name in the module that the class says it is of.
    """
    if any(isinstance(hint, str) for hint in inspect.get_annotations(cls).values()):
        cls.__annotations__ = inspect.get_annotations(cls, eval_str=True)
