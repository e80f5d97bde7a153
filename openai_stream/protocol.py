"""Bytes into events: the streaming protocol of the OpenAI API, and what *complete* means.

Blocks of bytes go in as they arrive, an endpoint's events come out; it tells an answer that is
whole from one that was cut. It reads nothing, waits for nothing, holds no lock and knows no thread,
clock, queue or callback: whoever has the bytes drives it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from .endpoints import Accumulator, Endpoint
from .errors import ASK_AGAIN, StreamAPIError, StreamDecodeError, StreamInterruptedError
from .event_kinds import (
    KEEP_ALIVE_DATA,
    KEEP_ALIVE_NAMES,
    is_failed_chunk,
    is_failed_response,
    is_keep_alive,
    is_typed,
)
from .misframed import is_done, meant
from .not_streamed import Label
from .server_errors import api_error, parse_leniently, says_error, says_failure
from .sse import Frames, parser
from .strays import Strays
from .strict_json import decode_json

__all__ = ["StreamProtocol"]

#: An event that is to be read as one that has no name.
_OURS = object()

#: What JSON calls what is no object, and no ``null``.
_KINDS = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


class StreamProtocol:
    """One answer: :meth:`feed` it blocks as they arrive, until it has :attr:`ended` or the body is
    at its end, then :meth:`end`; :meth:`finish` raises unless the answer is complete.

    ::

        while not protocol.ended and (block := read()):
            yield from protocol.feed(block)
        if not protocol.ended:
            yield from protocol.end(framed=False)
        protocol.finish()

    What :meth:`feed` and :meth:`end` give is to be used up before the next call: they work while
    it is. What they raise ends the answer, and comes after the events before it. All methods are
    for one thread at a time, whichever reads; the counts may be looked at from any.

    :param endpoint: the endpoint that was asked.
    :param accumulator: takes in each event before it is given.
    :param limit: the most bytes of one event.
    :param content_type: what the response's header calls the answer.
    :param clean: takes secrets out of what the server says, for messages.
    :param on_first: called once, when the first event is there, before it is added up.
    :param look: looks at the JSON of each event first; true drops the event, as one that came
        before.
    """

    def __init__(
        self,
        endpoint: Endpoint[Any, Any],
        accumulator: Accumulator,
        limit: int,
        content_type: str = "",
        clean: Callable[[str], str] = str,
        on_first: Callable[[], object] = bool,
        look: Callable[[Any], bool] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._accumulator = accumulator
        self._clean = clean
        self._on_first = on_first
        # Neither leads back here: nothing of a stream waits for the garbage collector.
        self._frames = Frames(limit, Strays(partial(_hear, weakref.ref(self))))
        self._parse = parser(clean)
        self._done = False  # "[DONE]" has come
        self._whole = False  # a last event of its own has come
        self._framed = False
        self._label = Label(content_type, limit, partial(_whole_of, endpoint), clean)
        self._look = look
        #: Events so far.
        self.events = 0
        #: Events without data so far.
        self.empty = 0
        #: Its last event, or ``[DONE]``, has come: nothing more is to be fed.
        self.ended = False

    @property
    def is_complete(self) -> bool:
        """An orderly end would now be the end of the answer."""
        return self._accumulator.complete

    @property
    def comments(self) -> int:
        """Comments so far."""
        return self._frames.comments

    def feed(self, block: bytes) -> Iterable[Any]:
        """Take in what has arrived.

        :param block: not empty.
        :returns: the events that are whole now.
        :raises StreamDecodeError: it is no event stream, or what is in it is not JSON.
        :raises StreamAPIError: the server sent an error.
        """
        label = self._label
        if label.doubted and not (block := label.look(self._frames, block)):
            return ()
        batches = self._frames.feed(block)
        if isinstance(batches, tuple):  # without a step of ours between an event and who takes it
            return self._take(self._parse(batches[0])) if batches else ()
        return self._take_all(batches)

    def end(self, framed: bool) -> Iterable[Any]:
        """Take in the end of the body, which came in order.

        :param framed: the body itself told that it ends here, so that it was not cut unnoticed.
        :returns: the events that this makes whole.
        :raises: as :meth:`feed`.
        """
        self._framed = framed
        if self._label.doubted:
            self._label.end(self._frames)
        return self._take_all(self._frames.end(framed))

    def finish(self) -> None:
        """Raise unless the answer is complete; once it has :attr:`ended`, or after :meth:`end`.

        :raises StreamInterruptedError: it ended before it was complete.
        :raises StreamDecodeError: it was no event stream.
        :raises StreamAPIError: it was an error.
        """
        if self._whole:
            return
        if not self.events and (error := self._label.of_no_event(self._frames)) is not None:
            raise error
        # A proxy may put "[DONE]" behind any stream, one that was cut too: where an answer has a
        # last event of its own, it completes nothing.
        done = self._done and not self._endpoint.last
        any_event = self._endpoint.server_event is not None
        framed = any_event and self._framed and not self._frames.cut
        if not (done or framed or self._accumulator.complete):
            raise self._cut()

    def broken(self, error: Exception) -> Exception:
        """What to raise where the body cannot be read on.

        :param error: what reading raised, ``StreamInterruptedError`` or ``StreamDecodeError``.
        """
        return self._label.broken(error)

    # -- events -------------------------------------------------------------------------------

    def _take_all(self, batches: Iterable[list[bytes]]) -> Iterator[Any]:
        for frames in batches:
            yield from self._take(self._parse(frames))
            if self.ended:  # what is behind the end is not looked at
                return

    def _take(self, messages: Iterable[Any]) -> Iterator[Any]:
        """Take in parsed frames, up to the one that ends the answer."""
        # This loop runs once an event: see benchmarks before and after any change.
        add = self._accumulator.add
        make = self._endpoint.event
        server_event = self._endpoint.server_event
        last = self._endpoint.last
        look = self._look
        try:
            for message in messages:
                text = message.data
                if message.event != "message" and (event := self._named(message)) is not _OURS:
                    if event is not None:
                        yield event
                    continue
                if text == "[DONE]":
                    self._done = self.ended = True
                    return
                try:
                    data = decode_json(text)
                except StreamDecodeError:
                    # The few things that servers send which mean no harm, or mean something.
                    text = text.strip()
                    if is_done(text):
                        self._done = self.ended = True
                        return
                    if not text or text.startswith(":") or text.lower() in KEEP_ALIVE_DATA:
                        self.empty += 1
                        continue
                    if server_event is None:
                        if text[:5].lower() == "error":
                            raise api_error(text, self._clean) from None
                        if (said := _behind_a_broken_one(text)) is not None:
                            raise api_error(said, self._clean) from None
                        if several := meant(text):
                            yield from self._take(several)
                            if self.ended:
                                return
                            continue
                    raise
                if data.__class__ is not dict:
                    if data.__class__ is list and says_failure(data):
                        raise api_error(data, self._clean)
                    if server_event is None:
                        if data is None:  # llama.cpp's, one a prompt of several but the first
                            self.empty += 1
                            continue
                        raise StreamDecodeError(
                            "the server sent an event that is not a JSON object: "
                            f"its data is {_KINDS[type(data)]}"
                        )
                elif "choices" not in data and ("error" in data or not (last and is_typed(data))):
                    if says_failure(data, known=server_event is None):
                        raise api_error(data, self._clean)
                    if server_event is None and is_keep_alive(data):
                        self.empty += 1
                        continue
                if look is not None and look(data):
                    self.empty += 1
                    continue
                if not self.events:
                    self._begin(data)
                # A chunk that repeats what is known in all but its delta, as nearly all do, does
                # not say that anything failed.
                if not add(data) and is_failed_chunk(data):
                    raise api_error(data, self._clean)
                self.events += 1
                if server_event is not None:
                    yield server_event(message, data)
                    continue
                if last:
                    kind = data.get("type")
                    failed = kind in self._endpoint.failed
                    if failed or (kind in last and is_failed_response(data)):
                        raise api_error(data, self._clean)
                yield make(data)
                if last and kind in last and self._accumulator.complete:
                    self._whole = self.ended = True
                    return
        except UnicodeDecodeError as error:
            raise StreamDecodeError(
                f"the server sent an event that is not UTF-8: {error.reason}"
            ) from error

    def _begin(self, data: Any) -> None:
        """The first event is there; one that says that the server failed is none."""
        if is_failed_chunk(data):
            self._accumulator.add(data)
            raise api_error(data, self._clean)
        on_first, self._on_first = self._on_first, bool
        on_first()

    def _named(self, message: Any) -> Any:
        """What an event that has a name is: to be read as one that has none, or done with.

        The others are errors, keep-alives, and what a gateway or a tool puts in between, which is
        given as an event and is no part of the answer.

        :returns: ``_OURS`` if it is to be read; an event to be given; ``None`` for neither.
        :raises StreamAPIError: it is an error.
        """
        name = message.event.strip().lower()
        text = message.data.strip()
        if name == "error":
            raise api_error(parse_leniently("" if text == "[DONE]" else text), self._clean)
        endpoint = self._endpoint
        if endpoint.server_event is not None or name.startswith(endpoint.own) or text == "[DONE]":
            return _OURS
        if name in KEEP_ALIVE_NAMES or text[:1] not in ("{", "["):
            self.empty += 1
            return None
        try:
            data = decode_json(text)
        except StreamDecodeError:
            return _OURS  # a chunk may be what broke
        if not isinstance(data, dict):
            self.empty += 1
            return None
        kinds = (data.get("object"), data.get("type"))
        if (
            "choices" in data
            or "usage" in data
            or any(isinstance(kind, str) and kind.startswith(endpoint.own) for kind in kinds)
        ):
            return _OURS
        if says_error(data):
            raise api_error(data, self._clean)
        if not self.events:
            self._on_first()
        self.events += 1
        return endpoint.event(data)

    def hear(self, kind: str, text: str) -> StreamAPIError | None:
        """What stands in the stream beside its events: an error, or nothing that matters."""
        said = parse_leniently(text.strip())
        if kind == "error":
            said = {"error": said}
        if not says_failure(said):
            return None
        snapshot = None if self.events else _whole_of(self._endpoint, said)
        return api_error(said, self._clean, snapshot)

    def _cut(self) -> StreamDecodeError | StreamInterruptedError:
        """The error for an orderly end that came too early."""
        head = self._frames.head.lstrip()
        if not self.events and head[:1] in (b"<", b"{", b"["):
            return StreamDecodeError(
                "the server answered with something else than an event stream; it begins with "
                f"{head[:1].decode()!r}: is the base URL right?",
                lasting=True,
            )
        if not self.events:
            return StreamInterruptedError(
                f"the server ended the answer before its first event. {ASK_AGAIN}"
            )
        came = "1 event" if self.events == 1 else f"{self.events} events"
        return StreamInterruptedError(
            f"the server ended the answer after {came}, before it was complete: its last event, or "
            f"a finish_reason for every choice, is missing. {ASK_AGAIN}"
        )


def _hear(me: weakref.ref[StreamProtocol], kind: str, text: str) -> StreamAPIError | None:
    protocol = me()
    return None if protocol is None else protocol.hear(kind, text)


def _whole_of(endpoint: Endpoint[Any, Any], body: Any) -> Any:
    """The answer that a JSON body is, if it is one."""
    return endpoint.whole(body) if isinstance(body, dict) and endpoint.is_whole(body) else None


def _behind_a_broken_one(text: str) -> Any:
    """The error that a server sent behind an event that it could not finish, nor end."""
    first, *others = text.split("\n")
    if others and isinstance(parse_leniently(first), str):
        for line in others:
            if line[:1] == "{" and says_failure(said := parse_leniently(line)):
                return said
    return None
