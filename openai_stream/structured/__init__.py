"""Answers that are JSON: a value that grows while it comes, and objects of a class.

``growing`` follows the text, ``schema`` knows classes, ``asking`` how they are asked for, and
``json_answer`` what an answer says instead.
Where the text comes from is not known here.
"""

from __future__ import annotations

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
