"""What a model or a server says, as characters that command no terminal."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["harmless", "json_line"]

# A picture of the character in its place, not nothing: the text does not pretend that it was clean,
# and of an escape sequence that is cut in two by a stream no part is left that acts.
_PICTURES: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
_PICTURES |= {0x7F: "\u2421"}
# C1 controls: 0x9B, for one, is an escape sequence's beginning in one character.
_PICTURES |= dict.fromkeys(range(128, 160), "�")
_PICTURES |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): None}

_IN_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def harmless(text: str) -> str:
    """The text without control characters, but for line ends and tabs."""
    return text if text.isprintable() else text.translate(_PICTURES)


def json_line(value: Any) -> bytes:
    """The value as one line of JSON in UTF-8, in which no control character is left as it is."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).translate(_IN_JSON)
    # Half a surrogate pair, which a server may send, has no UTF-8; Python's escape is JSON's too.
    return text.encode("utf-8", "backslashreplace") + b"\n"
