"""Answers out of recordings: the same bytes, at the same pace, with the same end."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from openai_stream.recordings import RecordedExchange

from .connection import Request, Script, Step
from .steps import Fin, Hang, Reset, Until
from .wire import error_answer

__all__ = ["Match", "RecordedAnswers", "recorded"]

#: How an answer is chosen: by what is asked, or one after the other.
Match = Literal["request", "turn"]


def recorded(exchange: RecordedExchange, speed: float | None = 1.0) -> list[Step | bytes]:
    """A script that answers as it was recorded.

    Where the recording ended because the client closed the connection, or its time was up, nothing
    more is known: the connection stays open, and silent.

    :param exchange: of :func:`~openai_stream.recordings.read_recording`.
    :param speed: 1 keeps the recorded pace, 2 is twice as fast; 0 or ``None`` waits for nothing.

    .. versionadded:: 0.1
    """
    if speed is not None and speed < 0:
        raise ValueError(f"speed must not be negative: {speed}")

    def at(seconds: float | None) -> list[Step | bytes]:
        return [Until(seconds / speed)] if seconds and speed else []

    script: list[Step | bytes] = []
    for seconds, data in exchange.blocks:
        script += [*at(seconds), data]
    if exchange.end == "eof":
        return [*script, *at(exchange.end_at), Fin()]
    if exchange.end == "reset":
        return [*script, *at(exchange.end_at), Reset()]
    return script if exchange.end == "open" else [*script, Hang()]


class RecordedAnswers:
    """A handler; see :meth:`~openai_stream.testing.ScriptedServer.answer_from`.

    May be called from many threads at once.
    """

    #: Answers the requests that were not recorded; otherwise that is status 404.
    missing: Callable[[Request], Script] | None = None

    def __init__(
        self,
        exchanges: Iterable[RecordedExchange],
        match: Match,
        speed: float | None,
    ) -> None:
        if match not in ("request", "turn"):
            raise ValueError(f"match must be 'request' or 'turn', not {match!r}")
        self._match = match
        self._speed = speed
        self._known: list[RecordedExchange] = []
        self._by_body: dict[object, list[int]] = {}
        # Of several answers that fit, one after the other, and then again the first.
        self._turns: dict[tuple[int, ...], itertools.cycle[int]] = {}
        self._lock = threading.Lock()
        for exchange in exchanges:
            self.add(exchange)

    def add(self, exchange: RecordedExchange) -> None:
        """Have one more."""
        with self._lock:
            key = _key(exchange.request.method, exchange.request.body)
            self._by_body.setdefault(key, []).append(len(self._known))
            self._known.append(exchange)

    def __call__(self, request: Request) -> Script:
        with self._lock:
            places = self._places(request)
            if places:
                place = next(self._turns.setdefault(places, itertools.cycle(places)))
                return recorded(self._known[place], self._speed)
        if self.missing is not None:
            return self.missing(request)
        return error_answer(
            404,
            f"none of the {len(self._known)} recorded requests is this {request.method} "
            f"{request.path} with this body",
            code="not_recorded",
        )

    def _places(self, request: Request) -> tuple[int, ...]:
        if self._match == "turn":
            return tuple(range(len(self._known)))
        # The server of the recording may have had its API at another place.
        end = request.path.removeprefix("/v1")
        return tuple(
            place
            for place in self._by_body.get(_key(request.method, request.body), ())
            if self._known[place].request.path.endswith(end)
        )


def _key(method: str, body: bytes) -> tuple[str, str | bytes]:
    """What is the same for two requests that ask the same: the order of keys does not matter."""
    try:
        return method, json.dumps(json.loads(body), sort_keys=True)
    except ValueError:
        return method, body
