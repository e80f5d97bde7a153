"""What a model or a server says, as characters that command no terminal."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["harmless", "json_line"]

# A picture of the character in its place, not nothing: the text does not pretend that it was clean,
# and of an escape sequence that is cut in two by a stream no part is left that acts.
_PICTURES: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
_PICTURES |= {0x7F: "\u2421"}
# C1 controls: 0x9B, for one, is an escape sequence's beginning in one character.
_PICTURES |= dict.fromkeys(range(128, 160), "�")
# What nobody sees, or what has the text around it shown in another order than it is in: a command
# that is copied from the terminal is not the one that was read. The joiners (U+200C, U+200D) stay:
# scripts and emoji are written with them.
_UNSEEN = [
    *(
        0x61C,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x180E,
        0x200B,
        0x200E,
        0x200F,
        0x3164,
        0xFEFF,
        0xFFA0,
    ),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFFF0, 0xFFFC),
    *range(0xE0000, 0xE1000),
]
_PICTURES |= dict.fromkeys(_UNSEEN, "�")
_PICTURES |= {0xAD: None, ord("\n"): "\n", ord("\t"): "\t", ord("\r"): None}
# Of these, ``str.isprintable`` thinks well.
_LETTERS = re.compile("[\u115f\u1160\u17b4\u17b5\u3164\uffa0]")

_IN_JSON = {code: json.dumps(chr(code))[1:-1] for code in (*range(0x7F, 0xA0), *_UNSEEN, 0xAD)}


def harmless(text: str) -> str:
    """The text without control characters and what is unseen, but for line ends and tabs."""
    if text.isprintable() and (text.isascii() or not _LETTERS.search(text)):
        return text
    return text.translate(_PICTURES)


def json_line(value: Any) -> bytes:
    """The value as one line of JSON in UTF-8, in which no control character is left as it is."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).translate(_IN_JSON)
    # Half a surrogate pair, which a server may send, has no UTF-8; Python's escape is JSON's too.
    return text.encode("utf-8", "backslashreplace") + b"\n"
