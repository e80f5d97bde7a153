"""Figures of a stream: what has come, and how long it took."""

from __future__ import annotations

import time
from typing import Protocol

import attrs

from openai_stream.protocol import Received
from openai_stream.transport import NetworkCall

__all__ = ["Figures", "Stats"]


@attrs.frozen
class Stats:
    """Figures of a stream, taken when bytes arrive: a slow consumer does not blur them.

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


class _Answer(Protocol):
    """An answer that is being read."""

    @property
    def received(self) -> Received: ...


class Figures:
    """What :class:`Stats` are made of, over all answers of a stream.

    The reader thread tells what it reads, and :meth:`ended` is called with the stream's lock held;
    :meth:`stats` may be called on any thread.
    """

    def __init__(self) -> None:
        self._earlier = Received()  # of the answers before the newest, which are void
        self._newest: _Answer | None = None
        self._ended_at: float | None = None

    def begin(self, answer: _Answer) -> None:
        """An answer is being read. Of the one before nothing but its figures stays."""
        if self._newest is not None:
            self._earlier = self._earlier.and_then(self._newest.received)
        self._newest = answer

    def ended(self) -> None:
        """The stream has ended, now."""
        self._ended_at = time.monotonic()

    def stats(self, exchange: NetworkCall) -> Stats:
        """The figures so far."""
        received, newest = self._earlier, self._newest
        if newest is not None:
            received = received.and_then(newest.received)
        end = time.monotonic() if self._ended_at is None else self._ended_at
        return Stats(
            connect_seconds=exchange.connect_seconds,
            first_event_seconds=received.first_event_seconds,
            longest_gap_seconds=received.longest_gap_seconds,
            seconds=end - exchange.started,
            events=received.events,
            keep_alives=received.keep_alives,
            bytes=exchange.bytes,
        )
