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

__all__ = ["Match", "answers_from", "recorded"]

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


def answers_from(
    exchanges: Iterable[RecordedExchange], match: Match, speed: float | None
) -> Callable[[Request], Script]:
    """A handler; see :meth:`~openai_stream.testing.ScriptedServer.answer_from`."""
    if match not in ("request", "turn"):
        raise ValueError(f"match must be 'request' or 'turn', not {match!r}")
    known = list(exchanges)
    by_body: dict[object, list[int]] = {}
    for place, exchange in enumerate(known):
        key = _key(exchange.request.method, exchange.request.body)
        by_body.setdefault(key, []).append(place)
    # Of several answers that fit, one after the other, and then again the first.
    turns: dict[tuple[int, ...], itertools.cycle[int]] = {}
    lock = threading.Lock()

    def handler(request: Request) -> Script:
        if match == "turn":
            places = tuple(range(len(known)))
        else:
            # The server of the recording may have had its API at another place.
            end = request.path.removeprefix("/v1")
            places = tuple(
                place
                for place in by_body.get(_key(request.method, request.body), ())
                if known[place].request.path.endswith(end)
            )
        if not places:
            return error_answer(
                404,
                f"none of the {len(known)} recorded requests is this {request.method} "
                f"{request.path} with this body",
                code="not_recorded",
            )
        with lock:
            place = next(turns.setdefault(places, itertools.cycle(places)))
        return recorded(known[place], speed)

    return handler


def _key(method: str, body: bytes) -> tuple[str, str | bytes]:
    """What is the same for two requests that ask the same: the order of keys does not matter."""
    try:
        return method, json.dumps(json.loads(body), sort_keys=True)
    except ValueError:
        return method, body
