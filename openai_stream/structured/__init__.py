"""Answers that are JSON: a value that grows while it comes, and objects of a class.

``growing`` follows the text, ``schema`` knows classes, ``asking`` how they are asked for, and
``json_answer`` what an answer says instead. Each comes with its first use: most programs use none.
Where the text comes from is not known here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asking import take_class
    from .growing import NOTHING, GrowingJSON
    from .json_answer import JSONAnswer
    from .schema import check_class, convert, element_class, schema_name, strict_schema

__all__ = [
    "NOTHING",
    "GrowingJSON",
    "JSONAnswer",
    "check_class",
    "convert",
    "element_class",
    "schema_name",
    "strict_schema",
    "take_class",
]

_MODULES = {
    "asking": ("take_class",),
    "growing": ("NOTHING", "GrowingJSON"),
    "json_answer": ("JSONAnswer",),
    "schema": ("check_class", "convert", "element_class", "schema_name", "strict_schema"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = found
    return found
