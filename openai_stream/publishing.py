"""Public names say the module from which they are imported, wherever they are written.

So pickles, tracebacks, ``repr`` and ``help()`` survive each move inside of the package.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

__all__ = ["publish"]


def publish(module: Mapping[str, Any]) -> None:
    """Give what a module makes public that module as its own.

    :param module: its ``globals()``, with ``__all__``.
    """
    for name in module["__all__"]:
        thing = module[name]
        if not isinstance(thing, (type, types.FunctionType)):
            continue
        if not thing.__module__.startswith("openai_stream"):
            continue  # of the standard library, under a name of ours
        if isinstance(thing, type):
            _resolve(thing)
        thing.__module__ = module["__name__"]


def _resolve(cls: type) -> None:
    """Put types in the place of the texts of a class's annotations, while its module is known.

    ``typing`` looks for what they name in the module that the class says it is of.
    """
    own = inspect.get_annotations(cls)
    if any(isinstance(hint, str) for hint in own.values()):
        hints = typing.get_type_hints(cls, include_extras=True)
        cls.__annotations__ = {name: hints[name] for name in own}
