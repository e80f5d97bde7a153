"""Characters that a server cut in two.

JSON writes a character beyond U+FFFF as two surrogates, a high one and a low one (RFC 8259, section
7). A server that cuts an answer by those sends each half in an event of its own. Events keep what
was sent; whoever joins their texts joins the halves, here.
"""

from __future__ import annotations

import re

__all__ = ["Halves", "joined"]

_HALF = "[\ud800-\udfff]"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def joined(text: str) -> str:
    """The text, with halves that follow each other as one character. A lone half stays."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


class Halves:
    """A text in pieces, of which each that is given back can be encoded.

    A high half at the end of a piece is held until the next piece, which may bring its low one.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        #: The half that is held, if any.
        self.held = ""

    def feed(self, piece: str) -> str:
        """The next piece, with what was held, without what is held now; it may be empty.

        Whoever has nothing held and a piece that ``isascii()`` need not ask.
        """
        piece = joined(self.held + piece)
        self.held = ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            self.held = piece[-1]
            piece = piece[:-1]
        return re.sub(_HALF, _REPLACEMENT, piece)

    def end(self) -> str:
        """What is left at the end: nothing, or the replacement of a half that stayed alone."""
        rest = _REPLACEMENT if self.held else ""
        self.held = ""
        return rest
