"""Answers that are JSON: a value that grows while it comes, and objects of a class.

``growing`` follows the text, ``schema`` knows classes. Where the text comes from is not known here.
"""

from __future__ import annotations

from .growing import NOTHING, GrowingJSON
from .schema import check_class, convert, schema_name, strict_schema

__all__ = [
    "NOTHING",
    "GrowingJSON",
    "check_class",
    "convert",
    "schema_name",
    "strict_schema",
]
