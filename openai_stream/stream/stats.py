"""Figures of a stream: what has come, and how long it took."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

import attrs

from openai_stream.background import Background
from openai_stream.protocol import StreamProtocol
from openai_stream.transport import NetworkCall

__all__ = ["Figures", "Stats"]


@attrs.frozen
class Stats:
    """Figures of a stream, measured when bytes arrive: a slow consumer does not distort them.

    :param connect_seconds: TCP, proxy and TLS; 0 on a kept connection, ``None`` before.
    :param first_event_seconds: from the call to the arrival of the first event.
    :param longest_gap_seconds: the longest wait for the network between two events.
    :param seconds: from the call to the end, or to now.
    :param events: events received.
    :param keep_alives: comments and events without data received.
    :param bytes: received over the wire, headers included.

    .. versionadded:: 0.1
    """

    connect_seconds: float | None
    first_event_seconds: float | None
    longest_gap_seconds: float
    seconds: float
    events: int
    keep_alives: int
    bytes: int


@attrs.frozen(eq=False, repr=False)
class _Received:
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

    def and_then(self, later: _Received) -> _Received:
        """Those of both."""
        first = self.first_event_seconds
        return _Received(
            events=self.events + later.events,
            keep_alives=self.keep_alives + later.keep_alives,
            first_event_seconds=later.first_event_seconds if first is None else first,
            longest_gap_seconds=max(self.longest_gap_seconds, later.longest_gap_seconds),
        )


class AnswerFigures:
    """Figures of one answer, which its reader tells; :attr:`received` is for any thread.

    :param call: knows how long the network was waited for.
    """

    #: Counts the events; set before anything else is asked for.
    protocol: StreamProtocol

    def __init__(self, call: NetworkCall) -> None:
        self._call = call
        self._carried = False  # an event with content has come since the last wait
        self._first_event_seconds: float | None = None
        self._longest_gap_seconds = 0.0
        self._noted = 0
        self._awaits_content = call.awaits_content
        self._consumed = 0.0  # seconds since the last bytes that were the consumer's

    @property
    def received(self) -> _Received:
        """The figures so far."""
        return _Received(
            events=self.protocol.events,
            keep_alives=self.protocol.comments + self.protocol.empty,
            first_event_seconds=self._first_event_seconds,
            longest_gap_seconds=self._longest_gap_seconds,
        )

    def note_first(self) -> None:
        """The first event is there."""
        self._first_event_seconds = self._call.last_byte - self._call.started

    def looking(
        self, carries: Callable[[Any], bool], background: Background | None
    ) -> Callable[[Any], bool] | None:
        """What looks at each event first: for content, if there is a limit for it, and whether it
        comes again. ``None`` for nearly all streams.

        :param carries: whether an event carries content.
        """
        if not self._awaits_content:
            return None if background is None else background.is_repeated

        def look(data: Any) -> bool:
            if background is not None and background.is_repeated(data):
                return True
            if carries(data):
                self._carried = True
            return False

        return look

    def timed(self, deliver: Callable[[Any], object]) -> Callable[[Any], object]:
        """What delivers an event, where the time that a consumer takes counts for no deadline."""
        if not self._awaits_content:
            return deliver

        def timed(event: Any) -> None:
            start = time.monotonic()
            try:
                deliver(event)
            finally:
                self._consumed += time.monotonic() - start

        return timed

    def _note_content(self) -> None:
        if self._carried:
            self._call.content_came(self.protocol.is_complete)
        else:
            self._call.no_content_came(self._consumed)
        self._carried = False
        self._consumed = 0.0

    def note_wait(self) -> None:
        """Before each wait for the network, and after the last one: if events have come since, the
        gap before them has ended.
        """
        call, events = self._call, self.protocol.events
        if events != self._noted:
            if self._awaits_content:
                self._note_content()
            waited = call.waited
            if self._noted and waited > self._longest_gap_seconds:
                self._longest_gap_seconds = waited
            call.restart_gap()
            self._noted = events


class _TimedFigures(AnswerFigures):
    """Figures, and the time that each event took, which nobody but an observer wants: noted once
    for what arrived together, before the next wait, as the others are.

    :param call: knows when the last bytes came.
    :param chunk_seconds: gets the seconds between two events, for each but the first.
    """

    def __init__(self, call: NetworkCall, chunk_seconds: array[float]) -> None:
        super().__init__(call)
        self._chunk_seconds = chunk_seconds
        self._came_at = 0.0  # the newest event

    def note_wait(self) -> None:
        came = self.protocol.events - self._noted
        if came:
            last_byte = self._call.last_byte
            if self._noted:
                self._chunk_seconds.append(last_byte - self._came_at)
            self._chunk_seconds.frombytes(bytes(8 * (came - 1)))  # with the one before: 0.0
            self._came_at = last_byte
        super().note_wait()


class Figures:
    """What :class:`Stats` are made of, over all answers of a stream.

    The reader thread tells what it reads, and :meth:`ended` is called with the stream's lock held;
    :meth:`stats` may be called on any thread.
    """

    def __init__(self) -> None:
        self._earlier = _Received()  # of the answers before the newest, which are void
        self._newest: AnswerFigures | None = None
        self._ended_at: float | None = None
        #: Seconds between two events, for each that is not the first of its answer. For the reader
        #: thread; empty unless :meth:`time_chunks` was called.
        self.chunk_seconds: array[float] = array("d")
        self._times_chunks = False

    def time_chunks(self) -> None:
        """Note :attr:`chunk_seconds` too. Before the first answer."""
        self._times_chunks = True

    def of_answer(self, call: NetworkCall) -> AnswerFigures:
        """The figures of an answer that is about to be read.

        :param call: brought it.
        """
        if self._times_chunks:
            return _TimedFigures(call, self.chunk_seconds)
        return AnswerFigures(call)

    def begin(self, answer: AnswerFigures) -> None:
        """An answer is being read. Of the one before nothing but its figures stays."""
        if self._newest is not None:
            self._earlier = self._earlier.and_then(self._newest.received)
        self._newest = answer

    def ended(self) -> None:
        """The stream has ended, now."""
        self._ended_at = time.monotonic()

    def stats(self, call: NetworkCall) -> Stats:
        """The figures so far."""
        received, newest = self._earlier, self._newest
        if newest is not None:
            received = received.and_then(newest.received)
        end = time.monotonic() if self._ended_at is None else self._ended_at
        return Stats(
            connect_seconds=call.connect_seconds,
            first_event_seconds=received.first_event_seconds,
            longest_gap_seconds=received.longest_gap_seconds,
            seconds=end - call.started,
            events=received.events,
            keep_alives=received.keep_alives,
            bytes=call.bytes,
        )
