"""When is a JSON object whole that comes in pieces? Told without joining the pieces."""

from __future__ import annotations

import re

_NEXT = re.compile(r'["{}\[\]]')
_NEXT_IN_STRING = re.compile(r'["\\]')
_BLANK = " \t\n\r"


class ObjectScanner:
    """Follows the text of a JSON object to its end.

    It looks at each character once and keeps none, so that its cost is that of the pieces, however
    many there are. It counts brackets outside of strings. That is enough to find the end of an
    object; whether what is in it is JSON is left to those who parse it.
    """

    __slots__ = ("_broken", "_escaped", "_in_string", "_last", "_open", "is_empty", "is_whole")

    def __init__(self) -> None:
        #: Whether an object has begun and ended, and nothing but white space stands around it.
        self.is_whole = False
        #: Whether nothing but white space and brackets came so far: ``{}``, once it is whole.
        self.is_empty = True
        self._open: list[str] = []
        self._in_string = False
        self._escaped = False
        self._broken = False
        #: The last character outside of strings that is no white space.
        self._last = ""

    def may_hold(self, piece: str) -> bool:
        """Whether a piece that begins with an object's bracket may be a part of the object."""
        if self._in_string:
            # Its first quote ends the string.
            after = piece.partition('"')[2].lstrip(_BLANK)[:1]
            return after in ",:}]"  # or nothing
        if not self._open:
            return False
        return self._last in ":[" or (self._last == "," and self._open[-1] == "[")

    def feed(self, piece: str) -> None:
        """The next piece of the text."""
        if self._broken:
            return
        position = 0
        if not self._open:
            # Before the object, or after it.
            head = piece.lstrip(_BLANK)
            if not head:
                return
            if self.is_whole or head[0] != "{":
                self._break()
                return
            position = len(piece) - len(head)
        self._scan(piece, position)

    def _scan(self, piece: str, position: int) -> None:
        """Go on in an object, or begin with its bracket."""
        length = len(piece)
        while position < length:
            if self._in_string:
                position = self._scan_string(piece, position)
                continue
            found = _NEXT.search(piece, position)
            end = length if found is None else found.start()
            if between := piece[position:end].rstrip(_BLANK):
                self.is_empty = self.is_empty and not between.strip(_BLANK)
                self._last = between[-1]
            if found is None:
                return
            self._last = piece[end]
            position = end + 1
            match piece[end]:
                case '"':
                    self._in_string = True
                    self.is_empty = False
                case "{" | "[" as bracket:
                    self._open.append(bracket)
                    if len(self._open) > 1:
                        self.is_empty = False
                case _:
                    self._open.pop()
            if not self._open:
                self.is_whole = True
                if piece[position:].strip(_BLANK):
                    self._break()
                return

    def _scan_string(self, piece: str, position: int) -> int:
        """Go on in a string; where to go on after that."""
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _NEXT_IN_STRING.search(piece, position)
        if found is None:
            return len(piece)
        if found[0] == '"':
            self._in_string = False
        else:
            self._escaped = True
        return found.end()

    def _break(self) -> None:
        """It is no object, or more than one."""
        self._broken = True
        self.is_whole = False
        self.is_empty = False
