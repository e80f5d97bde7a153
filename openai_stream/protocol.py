"""A response into events: the streaming protocol of the OpenAI API, and what *complete* means.

It turns the parsed frames into an endpoint's events and adds them up, and tells an answer that is
whole from one that was cut. It knows nothing of threads, queues and callbacks: each event goes to
a function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import requests
from urllib3.response import HTTPResponse

from .background import Background
from .endpoints import Accumulator, Endpoint
from .errors import StreamAPIError, StreamDecodeError, StreamInterruptedError
from .event_kinds import is_failed_chunk, is_failed_response, is_keep_alive, is_typed
from .misframed import is_done, meant
from .server_errors import api_error, clip, parse_leniently, says_error, says_failure
from .sse import Frames, begins_event_stream, decode_json, events
from .strays import Strays
from .transport import ASK_AGAIN, Body, NetworkCall, codings_of

__all__ = ["Reader"]

# What some servers send so that proxies see traffic, as an event's name or as its data.
_KEEP_ALIVE_EVENTS = frozenset({"ping", "keep-alive", "keepalive", "heartbeat"})
_KEEP_ALIVE_DATA = _KEEP_ALIVE_EVENTS | {"[ping]", "[keep-alive]", "[keepalive]", "[heartbeat]"}


@attrs.frozen
class Received:
    """Figures of one answer, or of several one after another.

    :param events: how many.
    :param keep_alives: comments, and events without data.
    :param first_event_seconds: from the call to the first event.
    :param longest_gap_seconds: the longest wait between two events.
    """

    events: int = 0
    keep_alives: int = 0
    first_event_seconds: float | None = None
    longest_gap_seconds: float = 0.0

    def and_then(self, later: Received) -> Received:
        """Those of both."""
        first = self.first_event_seconds
        return Received(
            events=self.events + later.events,
            keep_alives=self.keep_alives + later.keep_alives,
            first_event_seconds=later.first_event_seconds if first is None else first,
            longest_gap_seconds=max(self.longest_gap_seconds, later.longest_gap_seconds),
        )


class Reader:
    """Reads one response to its end. For one thread; :attr:`events` and its like for any.

    :param response: a streamed response with a good status.
    :param exchange: the call that it came from.
    :param endpoint: the endpoint that was asked.
    :param accumulator: takes in each event before it is delivered.
    :param limit: the most bytes of one event.
    :param clean: takes secrets out of what the server says, for messages.
    :param background: counts the events, if the response runs in the background.
    """

    def __init__(
        self,
        response: requests.Response,
        exchange: NetworkCall,
        endpoint: Endpoint[Any, Any],
        accumulator: Accumulator,
        limit: int,
        clean: Callable[[str], str],
        background: Background | None = None,
    ) -> None:
        self._response = response
        self._exchange = exchange
        self._endpoint = endpoint
        self._accumulator = accumulator
        self._limit = limit
        self._clean = clean
        self._body = Body(response, exchange)
        self._frames = Frames(
            self._next_block, limit, Strays(self._hear), lambda: self._body.framed
        )
        #: What its label says against it, should it bring no event.
        self._refusal: StreamDecodeError | None = None
        self._noted = 0
        self._flush: Callable[[], object] | None = None  # while it reads
        self._done = False  # "[DONE]" has come
        #: Looks for events that carry content, where there is a limit for them.
        self._carries = endpoint.carries if exchange.awaits_content else None
        #: Looks at each event first, and drops some; ``None`` for nearly all streams.
        self._look = self._looking(background)
        self._carried = False  # one has come since the last wait
        self._consumed = 0.0  # seconds since the last bytes that were the consumer's
        #: Events so far.
        self.events = 0
        #: Events without data so far.
        self.empty = 0
        #: Seconds from the call to the first event, and the longest wait between two events.
        self.first_event_seconds: float | None = None
        self.longest_gap_seconds = 0.0

    @property
    def received(self) -> Received:
        """The figures so far."""
        return Received(
            events=self.events,
            keep_alives=self._frames.comments + self.empty,
            first_event_seconds=self.first_event_seconds,
            longest_gap_seconds=self.longest_gap_seconds,
        )

    def read(
        self,
        deliver: Callable[[Any], object],
        flush: Callable[[], object],
        on_first: Callable[[], object],
    ) -> None:
        """Read to the end of the answer, and keep the connection where that is possible.

        :param deliver: takes each event, as soon as it is parsed.
        :param flush: called before each wait for the network.
        :param on_first: called before the first event is delivered.
        :returns: when the answer is complete.
        :raises Aborted: the call was aborted.
        :raises StreamInterruptedError: it ended before it was complete.
        :raises Expired: a deadline has passed; ``exchange.expiry()`` says it in words.
        :raises StreamDecodeError: it is no event stream, or what is in it is not JSON.
        :raises StreamAPIError: the server sent an error.
        """

        self._flush = flush
        if self._carries is not None:
            deliver = self._timed(deliver)
        try:
            self._check_content_type()
            self._read_events(deliver, on_first)
        except UnicodeDecodeError as error:
            raise StreamDecodeError(
                f"the server sent an event that is not UTF-8: {error.reason}"
            ) from error
        finally:
            self._flush = None
            self._note_wait()
        flush()  # before the connection's farewell, which may take a moment
        self._body.finish()

    def close(self) -> None:
        """Close the connection, unless it was kept."""
        self._body.close()

    def _read_events(
        self, deliver: Callable[[Any], object], on_first: Callable[[], object]
    ) -> None:
        if self._take(events(self._frames, self._clean), deliver, on_first) and not self._done:
            return  # with a last event of its own
        if not self.events and (error := self._no_stream()) is not None:
            raise error
        # A proxy may put "[DONE]" behind any stream, one that was cut too: where an answer has a
        # last event of its own, it completes nothing.
        done = self._done and not self._endpoint.last
        any_event = self._endpoint.server_event is not None
        framed = any_event and self._body.framed and not self._frames.cut
        if not (done or framed or self._accumulator.complete):
            raise self._cut()

    def _take(
        self,
        messages: Iterable[Any],
        deliver: Callable[[Any], object],
        on_first: Callable[[], object],
    ) -> bool:
        """Take in the frames as events, up to the one that ends the answer.

        :returns: whether it came.
        """
        # This loop runs once an event: see benchmarks before and after any change.
        add = self._accumulator.add
        make = self._endpoint.event
        server_event = self._endpoint.server_event
        last = self._endpoint.last
        look = self._look
        for message in messages:
            text = message.data
            if message.event != "message" and not self._is_ours(message, deliver, on_first):
                continue
            if text == "[DONE]":
                self._done = True
                return True
            try:
                data = decode_json(text)
            except StreamDecodeError:
                # Not JSON: the few things that servers send which mean no harm, or mean something.
                text = text.strip()
                if is_done(text):
                    self._done = True
                    return True
                if not text or text.startswith(":") or text.lower() in _KEEP_ALIVE_DATA:
                    self.empty += 1
                    continue
                if server_event is None:
                    if text[:5].lower() == "error":
                        raise api_error(text, self._clean) from None
                    if (said := _behind_a_broken_one(text)) is not None:
                        raise api_error(said, self._clean) from None
                    if several := meant(text):
                        if self._take(several, deliver, on_first):
                            return True
                        continue
                raise
            if data.__class__ is not dict:
                if data.__class__ is list and says_failure(data):
                    raise api_error(data, self._clean)
                if server_event is None:
                    if data is None:  # llama.cpp's, one for each prompt of several but the first
                        self.empty += 1
                        continue
                    raise StreamDecodeError(
                        "the server sent an event that is not a JSON object: "
                        f"its data is a {type(data).__name__}"
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
                self._begin(data, on_first)
            # A chunk that repeats what is known in all but its delta, as nearly all do, does not
            # say that anything failed.
            if not add(data) and is_failed_chunk(data):
                raise api_error(data, self._clean)
            self.events += 1
            if server_event is not None:
                deliver(server_event(message, data))
                continue
            if last:
                kind = data.get("type")
                if kind in self._endpoint.failed or (kind in last and is_failed_response(data)):
                    raise api_error(data, self._clean)
            deliver(make(data))
            if last and kind in last and self._accumulator.complete:
                return True
        return False

    def _begin(self, data: Any, on_first: Callable[[], object]) -> None:
        """The first event is there; one that says that the server failed is none."""
        if is_failed_chunk(data):
            self._accumulator.add(data)
            raise api_error(data, self._clean)
        self.first_event_seconds = self._exchange.last_byte - self._exchange.started
        on_first()

    def _is_ours(
        self, message: Any, deliver: Callable[[Any], object], on_first: Callable[[], object]
    ) -> bool:
        """Whether an event that has a name is to be read as one that has none.

        The others are done with here: errors, keep-alives, and what a gateway or a tool puts in
        between, which is delivered as an event and is no part of the answer.

        :raises StreamAPIError: it is an error.
        """
        name = message.event.strip().lower()
        text = message.data.strip()
        if name == "error":
            raise api_error(parse_leniently("" if text == "[DONE]" else text), self._clean)
        endpoint = self._endpoint
        if endpoint.server_event is not None or name.startswith(endpoint.own) or text == "[DONE]":
            return True
        if name in _KEEP_ALIVE_EVENTS or text[:1] not in ("{", "["):
            self.empty += 1
            return False
        try:
            data = decode_json(text)
        except StreamDecodeError:
            return True  # a chunk may be what broke
        if not isinstance(data, dict):
            self.empty += 1
            return False
        kinds = (data.get("object"), data.get("type"))
        if (
            "choices" in data
            or "usage" in data
            or any(isinstance(kind, str) and kind.startswith(endpoint.own) for kind in kinds)
        ):
            return True
        if says_error(data):
            raise api_error(data, self._clean)
        if not self.events:
            self._begin(data, on_first)
        self.events += 1
        deliver(endpoint.event(data))
        return False

    def _hear(self, kind: str, text: str) -> StreamAPIError | None:
        """What stands in the stream beside its events: an error, or nothing that matters."""
        said = parse_leniently(text.strip())
        if kind == "error":
            said = {"error": said}
        if not says_failure(said):
            return None
        return api_error(said, self._clean, None if self.events else self._whole(said))

    def _whole(self, body: Any) -> Any:
        """The answer that a JSON body is, if it is one."""
        is_whole = isinstance(body, dict) and self._endpoint.is_whole(body)
        return self._endpoint.whole(body) if is_whole else None

    def _check_content_type(self) -> None:
        """Refuse what is plainly no event stream; anything unknown gets the benefit of the doubt.

        WHATWG 9.2.2 wants ``text/event-stream``, but servers that stream well send ``text/plain``,
        nothing, or call it a page or JSON: what begins as an event stream is one.
        """
        self._check_compression()
        content_type = self._clean(self._response.headers.get("content-type", ""))
        kind = content_type.split(";", 1)[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        if kind in ("text/html", "application/xhtml+xml", "application/xml", "text/xml"):
            self._refusal = StreamDecodeError(
                f"the server answered with a page ({kind}) instead of an event stream: is the "
                "base URL right, and does it end in /v1 where the server wants that?",
                lasting=True,
            )
        elif is_json:
            what = f"the server answered with JSON ({kind}) instead of an event stream"
            self._refusal = StreamDecodeError(f"{what}: is the base URL right?", lasting=True)
        if self._refusal is None or begins_event_stream(self._frames.peek()):
            return
        if is_json:
            try:
                text = self._frames.peek() + self._body.read_all(self._limit)
            except (StreamDecodeError, StreamInterruptedError):
                raise self._refusal from None
            raise self._json(what, text) or self._refusal
        raise self._refusal

    def _check_compression(self) -> None:
        for coding in codings_of(self._response.headers.get("content-encoding", "")):
            if coding not in HTTPResponse.CONTENT_DECODERS:
                what = clip(self._clean(coding), 40)
                raise StreamDecodeError(
                    f"the server compressed its answer, unasked, by {what!r}: no way to undo that",
                    lasting=True,
                )

    def _json(self, what: str, text: bytes) -> StreamDecodeError | StreamAPIError | None:
        """The error for a JSON body, which may well be a whole answer that was not streamed.

        :param what: what is wrong with it.
        :returns: ``None`` for what is neither an answer nor an error.
        """
        try:
            body = decode_json(text.decode().strip().removesuffix("data: [DONE]"))
        except (StreamDecodeError, UnicodeDecodeError):
            return None
        snapshot = self._whole(body)
        if says_failure(body, body=True):
            return api_error(body, self._clean, snapshot)
        if snapshot is None:
            return None
        return StreamDecodeError(
            f"{what}: it ignores stream=True. The answer is whole, and is this error's "
            "snapshot; call without stream=True",
            snapshot=snapshot,
            lasting=True,
        )

    def _no_stream(self) -> StreamDecodeError | StreamAPIError | None:
        """The error for a body without events that is JSON, or is called a page or JSON."""
        error = None
        if self._frames.kept is not None:
            what = "the server answered with JSON instead of an event stream"
            error = self._json(what, bytes(self._frames.kept))
        return error or self._refusal

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
        return StreamInterruptedError(
            f"the server ended the answer after {self.events} events, before it was complete: its "
            f"last event, or a finish_reason for every choice, had not come. {ASK_AGAIN}"
        )

    def _next_block(self) -> bytes:
        """What has arrived next; what came before it is delivered by then."""
        self._note_wait()
        if self._flush is not None:
            self._flush()
        return self._body.read()

    def _looking(self, background: Background | None) -> Callable[[Any], bool] | None:
        carries = self._carries
        if carries is None:
            return None if background is None else background.is_repeated

        def look(data: Any) -> bool:
            if background is not None and background.is_repeated(data):
                return True
            if carries(data):
                self._carried = True
            return False

        return look

    def _timed(self, deliver: Callable[[Any], object]) -> Callable[[Any], object]:
        def timed(event: Any) -> None:
            start = time.monotonic()
            try:
                deliver(event)
            finally:
                self._consumed += time.monotonic() - start

        return timed

    def _note_content(self) -> None:
        if self._carried:
            self._exchange.content_came(self._accumulator.complete)
        else:
            self._exchange.no_content_came(self._consumed)
        self._carried = False
        self._consumed = 0.0

    def _note_wait(self) -> None:
        """Where events came since the last wait, the gap before them is over."""
        if self.events != self._noted:
            if self._carries is not None:
                self._note_content()
            waited = self._exchange.waited
            if self._noted and waited > self.longest_gap_seconds:
                self.longest_gap_seconds = waited
            self._exchange.restart_gap()
            self._noted = self.events


def _behind_a_broken_one(text: str) -> Any:
    """The error that a server sent behind an event that it could not finish, nor end."""
    first, *others = text.split("\n")
    if others and isinstance(parse_leniently(first), str):
        for line in others:
            if line[:1] == "{" and says_failure(said := parse_leniently(line)):
                return said
    return None
