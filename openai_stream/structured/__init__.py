"""Answers that are JSON: a value that grows while it comes, and objects of a class.

``growing`` follows the text, ``schema`` knows classes, ``asking`` how they are asked for, and
``json_answer`` what an answer says instead. Each comes with its first use: most programs use none.
Where the text comes from is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .asking import take_class
    from .growing import NOTHING, GrowingJSON
    from .json_answer import JSONAnswer
    from .schema import check_class, convert, element_class, schema_name, strict_schema
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(),
        {
            ".asking": ("take_class",),
            ".growing": ("NOTHING", "GrowingJSON"),
            ".json_answer": ("JSONAnswer",),
            ".schema": (
                "check_class",
                "convert",
                "element_class",
                "schema_name",
                "strict_schema",
            ),
        },
    )

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
