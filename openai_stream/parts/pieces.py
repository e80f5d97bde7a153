"""What the readers of both APIs have in common: texts that can be encoded, and calls that grow."""

from __future__ import annotations

import json
from typing import Any, Protocol

from openai_stream.accumulate.pieces import Text as GrowingText
from openai_stream.accumulate.pieces import frozen
from openai_stream.strict_json import loads
from openai_stream.surrogates import Halves

from . import Call, CallDelta, Part, Reasoning, Refusal, Text

__all__ = ["CallProgress", "NoParts", "PartsReader", "Texts", "as_json_text"]


class PartsReader(Protocol):
    """Makes the parts of one answer of its events. It waits for nothing."""

    def feed(self, event: Any) -> list[Part]:
        """What an event adds."""

    def whole(self, answer: dict[str, Any]) -> list[Part]:
        """All parts of an answer that came whole, and not as events."""

    def end(self) -> list[Part]:
        """What is complete only now that the answer has ended well."""

    def rest(self) -> list[Part]:
        """What was held back of the texts; last, however the answer ended."""


class NoParts:
    """Of a choice that there is not."""

    def feed(self, event: Any) -> list[Part]:
        """Nothing."""
        return []

    def whole(self, answer: dict[str, Any]) -> list[Part]:
        """Nothing."""
        return []

    def end(self) -> list[Part]:
        """Nothing."""
        return []

    def rest(self) -> list[Part]:
        """Nothing."""
        return []


class Texts:
    """Pieces of text, reasoning and refusal, each of which can be encoded."""

    __slots__ = ("_halves",)

    def __init__(self) -> None:
        self._halves: dict[type[Text | Reasoning | Refusal], Halves] = {
            kind: Halves() for kind in (Text, Reasoning, Refusal)
        }

    def add(self, parts: list[Part], kind: type[Text | Reasoning | Refusal], piece: str) -> None:
        """Add a piece of one kind to the parts, without half a character at its end."""
        halves = self._halves[kind]
        if halves.held or not piece.isascii():
            piece = halves.feed(piece)
        if piece:
            parts.append(kind(piece))

    @property
    def holds_nothing(self) -> bool:
        """No half of a character is held."""
        return not any(halves.held for halves in self._halves.values())

    def rest(self) -> list[Part]:
        """The halves that stayed alone."""
        return [kind(rest) for kind, halves in self._halves.items() if (rest := halves.end())]


def as_json_text(given: Any) -> str:
    """Arguments as text: an object, as some servers send it, is written as JSON."""
    given = frozen(given)
    if isinstance(given, str):
        return given
    if given is None:
        return ""
    try:
        text = json.dumps(given, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # half a character
        return json.dumps(given)
    except RecursionError:  # nested deeper than JSON can be written
        return ""
    return text


class CallProgress:
    """One tool call: what was given of it.

    :param index: its place in the order of beginning.
    """

    __slots__ = (
        "_given",
        "_halves",
        "_index",
        "_is_json",
        "_is_named",
        "_position",
        "_seen",
        "is_done",
    )

    def __init__(self, index: int) -> None:
        self._index = index
        self._given: list[str] = []
        self._halves = Halves()
        #: The text that was seen last, and how many of its pieces.
        self._seen: Any = None
        self._position = 0
        self._is_named = False
        self._is_json: bool | None = None  # nobody has looked
        #: The call was given.
        self.is_done = False

    def _grow(self, arguments: Any) -> str:
        """What is new in arguments, which are not told anew as another text: its cost is that of
        what is new, however much is there.
        """
        if type(arguments) is GrowingText and arguments is self._seen:
            new = "".join(arguments[self._position :])
        else:
            whole, given = as_json_text(arguments), "".join(self._given)
            new = whole[len(given) :] if whole.startswith(given) else ""
        if type(arguments) is GrowingText:
            self._seen, self._position = arguments, len(arguments)
        if new:
            self._given.append(new)
        return new

    def is_json(self, arguments: Any) -> bool:
        """Whether arguments whose brackets are closed are JSON. It is looked at once: those that
        are not may go on, and the call is complete at the end.
        """
        if self._is_json is None:
            try:
                loads(as_json_text(arguments))
                self._is_json = True
            except (ValueError, RecursionError):
                self._is_json = False
        return self._is_json

    def grow(self, ident: str | None, name: str, arguments: Any) -> list[Part]:
        """The part of what is new.

        :param arguments: as they have grown so far.
        """
        return self._delta(ident, name, self._grow(arguments))

    def _delta(self, ident: str | None, name: str, new: str) -> list[Part]:
        halves = self._halves
        piece = halves.feed(new) if halves.held or not new.isascii() else new
        if not piece:
            return []
        first = not self._is_named
        self._is_named = True
        return [CallDelta(self._index, ident, name if first else None, piece)]

    def complete(self, ident: str | None, name: str, arguments: Any) -> list[Part]:
        """What is missing, and the call."""
        self.is_done = True
        parts = self._delta(ident, name, self._grow(arguments))
        if rest := self._halves.end():
            parts.append(CallDelta(self._index, ident, None, rest))
        parts.append(Call(self._index, ident, name, as_json_text(arguments)))
        return parts
