"""What a tool call calls: the name of a tool and what it is given, both in pieces."""

from __future__ import annotations

import json
from typing import Any

from .blocks import GROWING, grow
from .json_object import ObjectScanner
from .pieces import Node, Object, Text, frozen, is_void, join

#: Longer than the name of any tool: what is longer is not looked up.
_LONGEST_NAME = 1000


def is_blank(given: Any) -> bool:
    """Whether arguments say nothing."""
    return not given.strip() if type(given) is str else is_void(given)


def is_object(given: Any) -> bool:
    """Whether arguments begin an object."""
    return type(given) is str and given.lstrip()[:1] == "{"


class Tool(Node):
    """What is called: the name of a tool and what it is given, both in pieces.

    :param tools: the names of the tools that the model may call, where they are known.
    :param takes_json: what the tool is given is a JSON object.
    """

    __slots__ = (
        "_fields",
        "_is_cumulative",
        "_length",
        "_name_length",
        "_scanned",
        "_scanner",
        "_takes_json",
        "_tools",
        "has_arguments",
    )

    def __init__(self, tools: frozenset[str], takes_json: bool) -> None:
        self._fields = Object()
        self._tools = tools
        self._takes_json = takes_json
        #: Whether it was given more than white space so far.
        self.has_arguments = False
        self._name_length = 0
        self._length = 0
        #: Whether a piece was all of the arguments so far.
        self._is_cumulative = False
        self._scanner = ObjectScanner()
        self._scanned = 0

    def add(self, piece: dict[str, Any]) -> None:
        """One piece, in whatever form."""
        had_arguments = self.has_arguments
        for key, value in piece.items():
            if key == ("arguments" if self._takes_json else "input"):
                self.has_arguments = self.has_arguments or not is_blank(value)
            if key == "name" and type(value) is str:
                self._add_name(value, had_arguments)
            elif key == "arguments" and self._takes_json and type(value) is str:
                self._add_arguments(value)
            elif type(value) is not str:
                grow(self._fields, key, value)
            elif key in GROWING:
                join(self._fields, key, value)
            elif value or self._fields.get(key) is None:
                self._fields[key] = value

    # -- the name -----------------------------------------------------------------------------

    @property
    def has_name(self) -> bool:
        """Whether there is at least a piece of a name."""
        return self._name_length > 0

    @property
    def name(self) -> str:
        """The name, as far as it came."""
        return self._name()

    def is_named(self, name: str) -> bool:
        """Whether the name, as far as it came, is this one."""
        return len(name) == self._name_length and self._name() == name

    def is_another(self, name: str) -> bool:
        """Whether this name and the one that is there are two of the tools that were asked for."""
        return (
            name in self._tools
            and self._name_length < _LONGEST_NAME
            and self._name() in self._tools - {name}
        )

    def _name(self) -> str:
        have = self._fields.get("name")
        return "".join(have) if type(have) is Text else ""

    def _add_name(self, piece: str, had_arguments: bool) -> None:
        have = self._fields.get("name")
        if type(have) is not Text:
            if piece or have is None:
                self._fields["name"] = Text((piece,))
                self._name_length = len(piece)
        elif not piece or self.is_named(piece):
            return  # the whole name again
        elif had_arguments or (len(piece) > self._name_length and piece.startswith(self._name())):
            # Longer, and so the name so far; or a name after arguments, which is no piece.
            self._fields["name"] = Text((piece,))
            self._name_length = len(piece)
        else:
            have.append(piece)
            self._name_length += len(piece)

    # -- what it is given ---------------------------------------------------------------------

    @property
    def arguments(self) -> Any:
        """What it is given so far, as it grows: :class:`.pieces.Text`, another value, ``None``."""
        return self._fields.get("arguments" if self._takes_json else "input")

    @property
    def is_hollow(self) -> bool:
        """Whether what it is given says nothing so far, and may be replaced by what is yet to come:
        nothing at all, or an object of which only brackets came.
        """
        given = self.arguments
        if type(given) is not Text or not self._takes_json:
            return is_void(frozen(given))
        return self._scan(given).is_empty

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are a whole JSON object."""
        if not self._takes_json:
            return False
        given = self._fields.get("arguments")
        return self._scan(given).is_whole if type(given) is Text else isinstance(given, Node)

    @property
    def is_empty(self) -> bool:
        """Whether they are that, and nothing is in it."""
        given = self._fields.get("arguments")
        if type(given) is Text:
            return self.is_whole and self._scanner.is_empty
        return isinstance(given, Node) and not frozen(given)

    def is_repeated_by(self, arguments: Any) -> bool:
        """Whether these are the whole arguments that are there already, perhaps with other white
        space. Looking costs no more than what is given is long.
        """
        given = self._fields.get("arguments")
        if type(given) is not Text or type(arguments) is not str or not self.is_whole:
            return False
        if not self._length < 4 * len(arguments) < 16 * self._length:
            return False
        text = "".join(given)
        if text == arguments:
            return True
        try:
            return bool(json.loads(text) == json.loads(arguments))
        except (ValueError, RecursionError):
            return False

    def _scan(self, given: Text) -> ObjectScanner:
        """Catch up on what came since the last look, which is seldom taken."""
        for piece in given[self._scanned :]:
            self._scanner.feed(piece)
        self._scanned = len(given)
        return self._scanner

    def _add_arguments(self, piece: str) -> None:
        have = self._fields.get("arguments")
        if type(have) is not Text:
            join(self._fields, "arguments", piece)
            self._length = len(piece)
        elif piece and not (is_object(piece) and self._begins_again(have, piece)):
            have.append(piece)
            self._length += len(piece)

    def _begins_again(self, have: Text, piece: str) -> bool:
        """Whether a piece that begins an object is all of the arguments, and not a part of them."""
        scanner = self._scan(have)
        if not scanner.is_empty or not scanner.is_whole:  # "{}" stands for what is yet to come
            if self.is_repeated_by(piece):
                return True
            # So far, and more: where no object may begin, it cannot be a part of this one. What
            # begins with nothing, as with the empty piece that many servers send first, is no more.
            if not 0 < self._length <= len(piece) or not piece.startswith("".join(have)):
                return False
            if scanner.may_hold(piece) and not self._is_cumulative:
                return False
            self._is_cumulative = True
        self._fields["arguments"] = Text((piece,))
        self._length = len(piece)
        self._scanner = ObjectScanner()
        self._scanned = 0
        return True

    def frozen(self) -> dict[str, Any]:
        """Name, arguments and what else came."""
        return {key: frozen(item) for key, item in self._fields.copy().items()}
