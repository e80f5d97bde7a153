"""JSON that grows: fed with text in pieces of any size, it holds the value as far as it has come.

Each character is looked at once, whatever the pieces. Objects, lists and strings are there from
their first character on; numbers, ``true``, ``false`` and ``null`` once they are whole, so that no
value ever turns into another one. What is accepted is what :func:`json.loads` accepts (RFC 8259),
but for NaN and Infinity; of repeated keys the last wins, as there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["NOTHING", "GrowingJSON"]

_RUN = re.compile(r'[^"\\\x00-\x1f]*').match
_SPACE = re.compile(r"[ \t\n\r]*").match
_WORD = re.compile(r"[-+.0-9A-Za-z]*").match
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?").fullmatch
_HEX = re.compile(r"[0-9A-Fa-f]{4}").fullmatch
_LITERALS = {"true": True, "false": False, "null": None}
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


#: The value before its first character.
NOTHING: Final = _Nothing()


class GrowingJSON:
    """One JSON text, and its value so far.

    Dicts and lists grow in place: the same objects are there from the first look to the last. For
    one thread.
    """

    def __init__(self) -> None:
        #: The value so far; :data:`NOTHING` before it begins.
        self.value: Any = NOTHING
        self._open: list[Any] = []  # the containers that are open, and for dicts the newest key
        self._keys: list[str] = []
        self._state: Callable[[str, int], int] = self._at_value
        self._in_key = False
        self._fresh = False  # the container has just been opened, so it may close at once
        self._parts: list[str] = []  # of a key or a word that is still open
        self._escape = ""  # an escape that is still open, without its backslash
        self._high = ""  # the first half of a character that is escaped in two

    def feed(self, text: str) -> None:
        """Take in the next piece.

        :raises ValueError: it is not JSON; what came before it stays.
        """
        position, end = 0, len(text)
        while position < end:
            position = self._state(text, position)

    def finish(self) -> Any:
        """There is no more.

        :returns: the whole value.
        :raises ValueError: it is not whole.
        """
        if self._state == self._in_word:
            self._close_word()
        if self.value is NOTHING or self._state != self._after_value or self._open:
            raise ValueError("it ends before it is whole")
        return self.value

    def closed(self, items: list[Any]) -> int:
        """How many items of a list in the value are whole."""
        # What is open below it is open in its last item; a string is open while it is read.
        for depth, container in enumerate(self._open):
            if container is items:
                inner = depth + 1 < len(self._open) or (
                    not self._in_key and self._state in (self._in_string, self._in_escape)
                )
                return len(items) - inner
        return len(items)

    # -- the states: each takes the text from a position on, and returns the next one ------------

    def _at_value(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position == len(text):
            return position
        character = text[position]
        if character == '"':
            self._put("")
            self._in_key = False
            self._state = self._in_string
        elif character in "{[":
            container: Any = {} if character == "{" else []
            self._put(container)
            self._open.append(container)
            self._fresh = True
            if character == "{":
                self._keys.append("")
                self._state = self._at_key
        elif character == "]" and self._fresh and type(self._open[-1]) is list:
            return self._close(position)
        else:
            self._parts.clear()
            self._state = self._in_word
            if _end(_WORD, text, position) == position:
                raise ValueError(f"{character!r} where a value should be")
            return position
        return position + 1

    def _at_key(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position == len(text):
            return position
        character = text[position]
        if character == '"':
            self._parts.clear()
            self._in_key = True
            self._state = self._in_string
            return position + 1
        if character == "}" and self._fresh:
            return self._close(position)
        raise ValueError(f"{character!r} where a key should be")

    def _at_colon(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position == len(text):
            return position
        if text[position] != ":":
            raise ValueError(f"{text[position]!r} where a colon should be")
        self._fresh = False
        self._state = self._at_value
        return position + 1

    def _after_value(self, text: str, position: int) -> int:
        position = _end(_SPACE, text, position)
        if position == len(text):
            return position
        character = text[position]
        if self._open:
            in_dict = type(self._open[-1]) is dict
            if character == ",":
                self._fresh = False
                self._state = self._at_key if in_dict else self._at_value
                return position + 1
            if character == ("}" if in_dict else "]"):
                return self._close(position)
        raise ValueError(f"{character!r} after a value")

    def _in_string(self, text: str, position: int) -> int:
        end = _end(_RUN, text, position)
        if end > position:
            self._grow(text[position:end])
        if end == len(text):
            return end
        character = text[end]
        if character == '"':
            self._grow("")
            if self._in_key:
                self._keys[-1] = "".join(self._parts)
                self._state = self._at_colon
            else:
                self._state = self._after_value
        elif character == "\\":
            self._escape = ""
            self._state = self._in_escape
        else:
            raise ValueError(f"the control character {character!r} in a string")
        return end + 1

    def _in_escape(self, text: str, position: int) -> int:
        if not self._escape and text[position] != "u":
            character = _ESCAPES.get(text[position])
            if character is None:
                raise ValueError(f"the escape \\{text[position]} in a string")
            self._grow(character)
            self._state = self._in_string
            return position + 1
        end = position + 5 - len(self._escape)
        self._escape += text[position:end]
        if len(self._escape) < 5:
            return len(text)
        if not _HEX(self._escape, 1):
            raise ValueError(f"the escape \\{self._escape} in a string")
        self._state = self._in_string
        character = chr(int(self._escape[1:], 16))
        if self._high and "\udc00" <= character <= "\udfff":
            high, self._high = self._high, ""
            character = (high + character).encode("utf-16", "surrogatepass").decode("utf-16")
        if "\ud800" <= character <= "\udbff":
            self._grow("")  # a half before it stays alone
            self._high = character
        else:
            self._grow(character)
        return end

    def _in_word(self, text: str, position: int) -> int:
        end = _end(_WORD, text, position)
        self._parts.append(text[position:end])
        if end < len(text):
            self._close_word()
        return end

    # -- what the states do ----------------------------------------------------------------------

    def _close_word(self) -> None:
        word = "".join(self._parts)
        if word in _LITERALS:
            self._put(_LITERALS[word])
        elif number := _NUMBER(word):
            self._put(float(word) if number[2] or number[3] else int(word))
        else:
            raise ValueError(f"{word[:40]!r} where a value should be")
        self._state = self._after_value

    def _put(self, value: Any) -> None:
        """A new value, where one is due."""
        if not self._open:
            self.value = value
        elif type(self._open[-1]) is list:
            self._open[-1].append(value)
        else:
            container = self._open[-1]
            container[self._keys[-1]] = value

    def _grow(self, piece: str) -> None:
        """More of the string that is open."""
        if self._high:
            piece, self._high = self._high + piece, ""
        if self._in_key:
            self._parts.append(piece)
            return
        if not piece:
            return
        # CPython extends a string in place if nobody else refers to it, and so a long one that
        # comes in small pieces takes a time linear in its length: so it is taken out meanwhile.
        if not self._open:
            string, self.value = self.value, None
            string += piece
            self.value = string
        elif type(self._open[-1]) is list:
            string = self._open[-1].pop()
            string += piece
            self._open[-1].append(string)
        else:
            container, key = self._open[-1], self._keys[-1]
            string = container[key]
            container[key] = None
            string += piece
            container[key] = string

    def _close(self, position: int) -> int:
        if type(self._open.pop()) is dict:
            self._keys.pop()
        self._fresh = False
        self._state = self._after_value
        return position + 1


def _end(pattern: Callable[[str, int], re.Match[str] | None], text: str, position: int) -> int:
    found = pattern(text, position)
    assert found is not None  # each of them matches nothing too
    return found.end()
