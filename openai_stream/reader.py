"""A response into events: the streaming protocol of the OpenAI API, and what *complete* means.

It turns the parsed frames into an endpoint's events and adds them up, and tells an answer that is
whole from one that was cut. It knows nothing of threads, queues and callbacks: each event goes to
a function.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
import requests
from urllib3.response import HTTPResponse

from .endpoints import Accumulator, Endpoint
from .errors import StreamDecodeError, StreamInterruptedError
from .server_errors import api_error, clip, parse_leniently
from .sse import Frames, decode_json, events
from .transport import ASK_AGAIN, Body, Exchange

__all__ = ["Reader", "expiry"]

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
    :param exchange: the exchange that it came from.
    :param endpoint: the endpoint that was asked.
    :param accumulator: takes in each event before it is delivered.
    :param limit: the most bytes of one event.
    :param clean: takes secrets out of what the server says, for messages.
    """

    def __init__(
        self,
        response: requests.Response,
        exchange: Exchange,
        endpoint: Endpoint[Any, Any],
        accumulator: Accumulator,
        limit: int,
        clean: Callable[[str], str],
    ) -> None:
        self._response = response
        self._exchange = exchange
        self._endpoint = endpoint
        self._accumulator = accumulator
        self._limit = limit
        self._clean = clean
        self._body = Body(response, exchange)
        self._frames = Frames(self._body.read, limit)
        self._noted = 0
        self._waits = 0
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
        :raises Aborted: the exchange was aborted.
        :raises StreamInterruptedError: it ended before it was complete.
        :raises Expired: idle, gap or total time was up; :func:`expiry` says it in words.
        :raises StreamDecodeError: it is no event stream, or what is in it is not JSON.
        :raises StreamAPIError: the server sent an error.
        """

        def before_wait() -> None:
            self._note_wait()
            flush()

        self._exchange.before_wait = before_wait
        try:
            self._check_content_type()
            self._read_events(deliver, on_first)
        except UnicodeDecodeError as error:
            raise StreamDecodeError(
                f"the server sent an event that is not UTF-8: {error.reason}"
            ) from error
        finally:
            self._note_wait()
        flush()  # before the connection's farewell, which may take a moment
        self._body.finish()

    def close(self) -> None:
        """Close the connection, unless it was kept."""
        self._body.close()

    def _read_events(
        self, deliver: Callable[[Any], object], on_first: Callable[[], object]
    ) -> None:
        # This loop runs once an event: see benchmarks before and after any change.
        add = self._accumulator.add
        make = self._endpoint.event
        server_event = self._endpoint.server_event
        last = self._endpoint.last
        done = False
        for message in events(self._frames, self._clean):
            text = message.data
            if text == "[DONE]":
                done = True
                break
            if message.event != "message":
                if server_event is None and message.event in _KEEP_ALIVE_EVENTS:
                    self.empty += 1
                    continue
                if message.event == "error":
                    raise api_error(parse_leniently(text), self._clean)
            try:
                data = decode_json(text)
            except StreamDecodeError:
                # Not JSON: the few things that servers send which mean no harm.
                text = text.strip()
                if text == "[DONE]":
                    done = True
                    break
                if not text or text.startswith(":") or text.lower() in _KEEP_ALIVE_DATA:
                    self.empty += 1
                    continue
                raise
            if data.__class__ is not dict:
                if server_event is None:
                    if data is None:  # llama.cpp's, one for each prompt of several but the first
                        self.empty += 1
                        continue
                    raise StreamDecodeError(
                        "the server sent an event that is not a JSON object: "
                        f"its data is a {type(data).__name__}"
                    )
            elif ("error" in data and data["error"] is not None) or (
                "choices" not in data and data.get("object") == "error"  # vLLM's
            ):
                raise api_error(data, self._clean)
            self.events += 1
            if self.events == 1:
                self.first_event_seconds = self._exchange.last_byte - self._exchange.started
                on_first()
            add(data)
            if server_event is not None:
                deliver(server_event(message, data))
                continue
            if last and data.get("type") in self._endpoint.failed:
                raise api_error(data, self._clean)
            deliver(make(data))
            if last and data.get("type") in last:
                return
        # A proxy may put "[DONE]" behind any stream, one that was cut too: where an answer has a
        # last event of its own, it completes nothing.
        done = done and not last
        framed = server_event is not None and self._body.framed and not self._frames.cut
        if not (done or framed or self._accumulator.complete):
            raise self._cut()

    def _check_content_type(self) -> None:
        """Refuse what is plainly no event stream; anything unknown gets the benefit of the doubt.

        WHATWG 9.2.2 wants ``text/event-stream``, but servers that stream well send ``text/plain``
        or nothing.
        """
        self._check_compression()
        content_type = self._clean(self._response.headers.get("content-type", ""))
        kind = content_type.split(";", 1)[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml", "application/xml", "text/xml"):
            raise StreamDecodeError(
                f"the server answered with a page ({kind}) instead of an event stream: is the "
                "base URL right, and does it end in /v1 where the server wants that?",
                lasting=True,
            )
        if kind == "application/json" or kind.endswith("+json"):
            raise self._whole_json(kind)

    def _check_compression(self) -> None:
        known = {"identity", "", *HTTPResponse.CONTENT_DECODERS}
        for coding in self._response.headers.get("content-encoding", "").lower().split(","):
            if coding.strip() not in known:
                what = clip(self._clean(coding), 40)
                raise StreamDecodeError(
                    f"the server compressed its answer, unasked, by {what!r}: no way to undo that",
                    lasting=True,
                )

    def _whole_json(self, kind: str) -> StreamDecodeError:
        """The error for a JSON body, which may well be a whole answer that was not streamed."""
        try:
            body = decode_json(self._body.read_all(self._limit).decode())
        except (StreamDecodeError, StreamInterruptedError, UnicodeDecodeError):
            body = None
        what = f"the server answered with JSON ({kind}) instead of an event stream"
        if isinstance(body, dict) and body.get("error") is not None:
            return StreamDecodeError(f"{what}: {api_error(body, self._clean)}", lasting=True)
        if isinstance(body, dict) and self._endpoint.is_whole(body):
            return StreamDecodeError(
                f"{what}: it ignores stream=True. The answer is whole, and is this error's "
                "snapshot; call without stream=True",
                snapshot=self._endpoint.whole(body),
                lasting=True,
            )
        return StreamDecodeError(f"{what}: is the base URL right?", lasting=True)

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

    def _note_wait(self) -> None:
        """Where events came since the last wait, the gap before them is over."""
        if self.events != self._noted:
            waited = self._exchange.waited
            if self._noted and waited > self.longest_gap_seconds:
                self.longest_gap_seconds = waited
            self._exchange.waited = 0.0
            self._noted = self.events
        elif self._waits:
            # What came was no event, and no consumer took time: keep-alives in a flood, which
            # leaves nothing to wait for, shall not outrun the gap.
            self._exchange.waited += time.monotonic() - self._exchange.last_byte
        self._waits += 1


def expiry(exchange: Exchange) -> str:
    """What a deadline that is over says, and what to do about it."""
    limits = exchange.timeout
    if exchange.expired == "connect":
        return (
            f"no connection within {limits.connect} s: is there a proxy in between? "
            "Timeout(connect=…) allows more"
        )
    if exchange.expired == "gap":
        return f"no event for {limits.gap} s; Timeout(gap=…) allows more"
    if exchange.expired == "total":
        return f"the total time of {limits.total} s is up"
    return f"no progress for {limits.idle} s; Timeout(idle=…) allows more"
