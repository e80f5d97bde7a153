"""What consumers read from the events of a queue: text, parts, and JSON that grows.

Generators over items that come one by one; whoever has the queue says how the next one is taken,
and whether more have arrived already. What ends a stream, and how, is the queue's business.
"""

from __future__ import annotations

import concurrent.futures
import queue
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from openai_stream import structured
from openai_stream.errors import CLOSED, StreamDecodeError
from openai_stream.surrogates import Halves

from .items import DONE, Restarted
from .source import Source

if TYPE_CHECKING:
    from openai_stream.parts import Part

__all__ = [
    "check_every",
    "check_index",
    "items",
    "partials",
    "parts",
    "text",
    "text_every",
]


class _Text:
    """The text of one choice, event by event, in pieces that can be encoded."""

    def __init__(self, source: Source, choice: int) -> None:
        self._source = source
        self._choice = choice
        self._given = False
        self._begin()

    def _begin(self) -> None:
        self._text = self._source.texts(self._choice)
        self._halves = Halves()

    def add(self, event: Any) -> str:
        """The piece that an event adds, which may be empty.

        :raises StreamError: the answer begins anew, and text cannot be taken back.
        """
        if event.__class__ is Restarted:
            if self._given:
                raise event.error
            self._begin()
            return ""
        piece = self._text(event)
        if not piece:
            return ""
        halves = self._halves
        if halves.held or not piece.isascii():
            piece = halves.feed(piece)
        return piece

    def given(self) -> None:
        """The consumer has a piece."""
        self._given = True

    def end(self) -> str:
        """What is left when nothing more comes."""
        return self._halves.end()


def text(source: Source, choice: int) -> Iterator[str]:
    """The pieces of text of one choice, as they come."""
    pieces = _Text(source, choice)
    while True:
        try:
            event = source.take()
            if event is DONE:
                break
            piece = pieces.add(event)
        except Exception:
            if rest := pieces.end():
                yield rest
            raise
        if piece:
            pieces.given()
            yield piece
    if rest := pieces.end():
        yield rest


def parts(
    source: Source, choice: int, take: Callable[[], Any] | None = None
) -> Iterator[Part | None]:
    """The parts of one choice, as they come.

    :param take: gives the next item, in the place of the source's own. If it raises
        ``queue.Empty``, ``None`` is given for once.
    """
    if take is None:
        take = source.take
    reader = source.parts(choice)
    begun = given = False
    while True:
        try:
            event = take()
            if event is DONE:
                break
            if event.__class__ is Restarted:
                if given:
                    raise event.error
                reader = source.parts(choice)
                continue
            begun = True
            found = reader.feed(event)
        except queue.Empty:
            yield None
            continue
        except Exception as error:
            if not begun and isinstance(error, StreamDecodeError) and error.snapshot is not None:
                yield from reader.whole(error.snapshot.to_dict())  # it ignores ``stream``
            yield from reader.rest()
            raise
        if found:
            given = True
            yield from found
    yield from reader.rest()
    if not source.is_cut():
        yield from reader.end()


def check_index(name: str, index: Any) -> None:
    """Refuse what is no index.

    :raises TypeError: it is not an integer.
    :raises ValueError: it is negative.
    """
    if not isinstance(index, int) or isinstance(index, bool):
        raise TypeError(f"{name} must be an integer, not {index!r}")
    if index < 0:
        raise ValueError(f"{name} must not be negative: {index}")


def check_every(every: Any) -> None:
    """Refuse what is no pause.

    :raises ValueError: it is not above 0.
    :raises TypeError: it is not a number.
    """
    if not isinstance(every, (int, float)) or isinstance(every, bool):
        raise TypeError(f"every must be a number of seconds, not {every!r}")
    if not every > 0:
        raise ValueError(f"every must be above 0: {every!r}")


def text_every(source: Source, choice: int, every: float) -> Iterator[str]:
    """The same, what arrives faster joined: the first at once, then one in so many seconds."""
    pieces = _Text(source, choice)
    held: list[str] = []
    due = 0.0  # when the next may be given
    while True:
        try:
            event = source.take(max(0.0, due - monotonic()) if held else None)
            if event is DONE:
                break
            if piece := pieces.add(event):
                held.append(piece)
        except queue.Empty:
            pass  # it is time
        except Exception:
            held.append(pieces.end())
            if rest := "".join(held):
                yield rest
            raise
        if held and monotonic() >= due:
            joined = "".join(held)
            held.clear()
            pieces.given()
            yield joined
            due = monotonic() + every
    held.append(pieces.end())
    if rest := "".join(held):
        yield rest


class _Arguments:
    """The arguments of one tool call, event by event."""

    def __init__(self, source: Source, call: int) -> None:
        self._source = source
        self._call = call
        self._given = False
        self._begin()

    def _begin(self) -> None:
        self._reader = self._source.parts(0)
        self.so_far: list[str] = []

    def add(self, event: Any) -> str:
        """The piece that an event adds, which may be empty.

        :raises StreamError: the answer begins anew, and what was given cannot be taken back.
        """
        if event.__class__ is Restarted:
            if self._given:
                raise event.error
            self._begin()
            return ""
        return self._of(self._reader.feed(event))

    def _of(self, parts: list[Part]) -> str:
        from openai_stream.parts import CallDelta  # noqa: PLC0415 - the reader is of it

        piece = "".join(
            part.arguments
            for part in parts
            if isinstance(part, CallDelta) and part.index == self._call
        )
        self.so_far.append(piece)
        return piece

    def given(self) -> None:
        """The consumer has something of it."""
        self._given = True

    def end(self) -> str:
        """What is left when nothing more comes."""
        return self._of(self._reader.end())

    def answer(self) -> structured.JSONAnswer:
        """What the arguments say, in the place of the text."""
        return attrs.evolve(self._source.answer(), text="".join(self.so_far))


class _Content(_Text):
    """The text of an answer that is JSON."""

    def answer(self) -> structured.JSONAnswer:
        """What the answer says."""
        return self._source.answer()


class _JSON:
    """The JSON of an answer, event by event.

    :param call: the place of the tool call whose arguments it is; ``None``: it is the text.
    """

    def __init__(self, source: Source, call: int | None = None) -> None:
        self._source = source
        self._pieces = _Content(source, 0) if call is None else _Arguments(source, call)
        self.growing = structured.GrowingJSON()
        self.broken: ValueError | None = None
        #: The consumer has not seen all of the value.
        self.is_new = False

    def add(self, event: Any) -> None:
        """Take in an event."""
        piece = self._pieces.add(event)
        if event.__class__ is Restarted:
            self.growing, self.broken, self.is_new = structured.GrowingJSON(), None, False
        elif piece:
            self._feed(piece)

    def take(self) -> Any:
        """The value so far, for the consumer."""
        self.is_new = False
        self._pieces.given()
        return self.growing.value

    def given(self) -> None:
        """The consumer has something of it."""
        self._pieces.given()

    def _feed(self, piece: str) -> None:
        if self.broken is None:
            try:
                self.growing.feed(piece)
            except ValueError as error:
                self.broken = error
            self.is_new = self.growing.value is not structured.NOTHING

    def finish(self) -> Any:
        """The whole value.

        :raises StructuredOutputError: there is none.
        :raises concurrent.futures.CancelledError: the stream was closed.
        """
        if self._source.is_closed():
            raise concurrent.futures.CancelledError(CLOSED)
        if rest := self._pieces.end():
            self._feed(rest)
        answer = self._pieces.answer()
        try:
            if self.broken is not None:
                raise self.broken
            value = self.growing.finish()
        except ValueError as error:
            raise answer.error(f"it is not JSON: {error}") from None
        answer.check(value)
        return value


def partials(source: Source, call: int | None = None) -> Iterator[Any]:
    """The value of an answer that is JSON, as far as it has come, at most once a burst.

    :param call: the place of the tool call whose arguments it is; ``None``: it is the text.
    """
    json = _JSON(source, call)
    try:
        while (event := source.take()) is not DONE:
            json.add(event)
            if json.is_new and not source.has_more():
                yield json.take()
        value = json.finish()
    except Exception:
        if json.is_new:
            yield json.take()
        raise
    yield value


def items(source: Source, name: str, cls: Any) -> Iterator[Any]:
    """The elements of a list in an answer that is a JSON object, each as soon as it is closed.

    :param name: the key of the list.
    :param cls: what each is made an object of; ``None``: left as it is.
    """
    json = _JSON(source)
    found: Any = None
    given = 0
    while True:
        event = source.take()
        over = event is DONE
        if not over:
            json.add(event)
        value = json.growing.value
        elements = value.get(name) if isinstance(value, dict) else None
        if isinstance(elements, list):
            if elements is not found:
                found, given = elements, 0
            closed = json.growing.closed(elements)
            while given < closed:
                element = elements[given]
                given += 1
                json.given()
                yield element if cls is None else _fitting(source, element, cls, name, given)
        if over:
            break
    value = json.finish()
    if not isinstance(value, dict) or not isinstance(value.get(name), list):
        raise source.answer().error(f"it has no list {name!r}")


def _fitting(source: Source, element: Any, cls: Any, name: str, number: int) -> Any:
    try:
        return structured.convert(element, cls)
    except ValueError as error:
        raise source.answer().error(f"{name}[{number - 1}]: {error}") from None
