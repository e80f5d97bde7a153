"""Moments that meet where a stream has several handles, subscribers, or nobody but its result.

Run like the others, see ``test_races.py``.
"""

from __future__ import annotations

import gc
import queue
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest
from racing import SOON, Moments, Reading, Track

from openai_stream import DONE, EventQueue, StreamInterruptedError
from openai_stream.testing import (
    Fin,
    Hang,
    Pause,
    Repeat,
    Script,
    answer,
    chat_chunks,
    chunk,
    frame,
)

WHOLE = chat_chunks([f"{number} " for number in range(20)])
TEXT = "".join(f"{number} " for number in range(20))
#: The end comes by itself, some time after the beginning.
FLOWING = answer([*WHOLE[:10], Pause(0.0005), *WHOLE[10:]])
STALLED = answer([*WHOLE[:2], Hang()])
FLOOD = [*answer([], done=False)[:1], Repeat(chunk(frame(WHOLE[1])))]
MODES = ["queue", "callback", "foreign"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(5) as pool:
        yield pool


def chat(track: Track, **arguments: Any) -> Any:
    return track.client.create_chat_completion(model="any", messages=[], stream=True, **arguments)


def later(chance: random.Random, work: Callable[[], Any], most: float = 0.002) -> Callable[[], Any]:
    """The work, after nothing to two milliseconds, often very little; busy, so that it is exact."""
    seconds = most * chance.random() ** 3

    def wait_and_work() -> Any:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return work()

    return wait_and_work


def all_done(futures: list[Future[Any]]) -> list[Any]:
    return [future.result(SOON) for future in futures]


def to_the_end(events: EventQueue[Any]) -> tuple[list[Any], BaseException | None]:
    """What ``get()`` gives and raises; nothing may come after it."""
    got = []
    raised = None
    try:
        while (item := events.get(timeout=SOON)) is not DONE:
            got.append(item.to_dict())
    except StreamInterruptedError as error:
        raised = error
    with pytest.raises(queue.Empty):
        events.get_nowait()
    return got, raised


def all_of(source: queue.SimpleQueue[Any]) -> list[Any]:
    items = []
    while not source.empty():
        items.append(source.get())
    return items


# Ownership ------------------------------------------------------------------------------------


def test_dropping_and_closing(track: Track, pool: ThreadPoolExecutor) -> None:
    """Each handle is dropped by another thread, while one may close or drain through its own."""
    scripts: list[Script] = [STALLED, FLOOD, FLOWING]
    ways: list[dict[str, Any]] = [{"replay": True}, {"maxsize": 1}, {}]

    def one_round(chance: random.Random, moments: Moments) -> None:
        script = chance.choice(scripts)
        track.server.play(script)
        events = chat(track, **chance.choice(ways))
        handles = [events, events.stream]
        if events.stream._core.history is not None:
            handles += [events.stream.subscribe(), events.stream.subscribe()]
        chance.shuffle(handles)
        reader = Reading(events.stream)
        gone = track.server.requests[-1].connection
        del events

        def drop() -> None:
            handles.pop()

        def close() -> None:
            handles.pop().close()

        def drain() -> None:
            handles.pop().close(drain=True)

        works = [chance.choice([drop, close, drain]), *[drop] * (len(handles) - 1)]
        moments.begin()
        all_done([pool.submit(later(chance, work)) for work in works])
        assert handles == []
        gc.collect(0)
        reader.join(SOON)
        assert not reader.is_alive()
        moments.note("reader ended")
        if script is not FLOWING:  # which may have ended well
            assert gone.client_closed.wait(SOON)
            moments.note("server saw the close", gone.client_closed_at)

    track.run(one_round)


def test_dropping_the_queue_while_the_stream_is_held(
    track: Track, pool: ThreadPoolExecutor
) -> None:
    """The result still comes, unless somebody closes."""
    track.server.always(FLOWING)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = [chat(track, maxsize=chance.choice([0, 1, 5]))]
        stream = events[0].stream
        closing = chance.random() < 0.5
        works = [later(chance, events.clear)]
        if closing:
            works.append(later(chance, stream.close))
        moments.begin()
        all_done([pool.submit(work) for work in works])
        try:
            whole = stream.result(SOON)
        except CancelledError:
            assert closing
            assert stream.cancelled()
        else:
            assert whole.choices[0].message.content == TEXT
        moments.note("outcome")

    track.run(one_round)


# Draining -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_draining_and_closing(track: Track, pool: ThreadPoolExecutor, mode: str) -> None:
    track.server.always(FLOWING)

    def one_round(chance: random.Random, moments: Moments) -> None:
        told: list[str] = []
        seen: list[Any] = []
        mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
        sinks: dict[str, dict[str, Any]] = {
            "queue": {"maxsize": chance.choice([0, 1])},
            "callback": {"on_next": lambda event: seen.append(event.to_dict())},
            "foreign": {"queue": mine},
        }
        made = chat(
            track,
            **sinks[mode],
            on_done=lambda _: told.append("done"),
            on_error=lambda _: told.append("error"),
        )
        stream = made.stream if mode == "queue" else made
        taking = [pool.submit(to_the_end, made)] if mode == "queue" else []
        works = [later(chance, lambda: stream.close(drain=True))]
        closing = chance.random() < 0.6
        if closing:
            works.append(later(chance, stream.close))
        moments.begin()
        all_done([pool.submit(work) for work in works])
        for got, raised in all_done(taking):
            moments.note("consumer released")
            assert raised is None
            seen.extend(got)
        try:
            whole = stream.result(SOON)
        except CancelledError:
            assert closing
        else:
            assert whole.choices[0].message.content == TEXT
        moments.note("outcome")
        Reading(stream).join(SOON)
        assert told == ([] if stream.cancelled() else ["done"])
        if mode == "foreign":
            *items, end = all_of(mine)
            assert end is DONE
            seen.extend(item.to_dict() for item in items)
        assert seen == WHOLE[: len(seen)]

    track.run(one_round)


# Subscribing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_subscribing_and_closing(track: Track, pool: ThreadPoolExecutor, mode: str) -> None:
    """A subscriber misses nothing and gets nothing twice, whenever it comes and whoever goes."""
    cut = answer([*WHOLE[:10], Pause(0.0005), *WHOLE[10:15], Fin()])

    def one_round(chance: random.Random, moments: Moments) -> None:
        script = chance.choice([FLOWING, cut])
        track.server.play(script)
        expected = WHOLE if script is FLOWING else WHOLE[:15]
        sinks: dict[str, dict[str, Any]] = {
            "queue": {},
            "callback": {"on_next": lambda _: None},
            "foreign": {"queue": queue.SimpleQueue()},
        }
        made = chat(track, replay=True, on_error=lambda _: None, **sinks[mode])
        stream = made.stream if mode == "queue" else made
        leaving = stream.subscribe()

        def subscribe() -> tuple[list[Any], BaseException | None]:
            return to_the_end(stream.subscribe())

        works = [later(chance, subscribe), later(chance, subscribe)]
        others = [later(chance, leaving.close)]
        closing = chance.random() < 0.5
        if closing:
            others.append(later(chance, stream.close))
        moments.begin()
        reading = [pool.submit(to_the_end, leaving), *(pool.submit(work) for work in works)]
        all_done([pool.submit(work) for work in others])
        (left, _), *outcomes = all_done(reading)
        moments.note("all subscribers ended")
        assert left == expected[: len(left)]
        error = None if stream.cancelled() else stream.exception(SOON)
        assert closing or not stream.cancelled()
        for got, raised in [*outcomes, subscribe()]:
            assert raised is error
            assert got == expected[: len(got)]
            if not stream.cancelled():
                assert len(got) == len(expected)
        assert (error is None) is (stream.cancelled() or script is FLOWING)

    track.run(one_round)


# Restarting -----------------------------------------------------------------------------------


def test_closing_and_restarting(track: Track, pool: ThreadPoolExecutor) -> None:
    """The wait between two answers is woken, wherever in it the stream is closed."""
    track.server.always(answer([*WHOLE[:2], Fin()]))

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, restarts=100, maxsize=chance.choice([0, 1]))
        taking = pool.submit(to_the_end, events)
        closing = pool.submit(later(chance, events.close, 0.004))
        moments.begin()
        closing.result(SOON)
        got, raised = taking.result(SOON)
        moments.note("consumer released")
        assert raised is None
        assert got == WHOLE[: len(got)]
        reader = Reading(events.stream)
        reader.join(0.3)  # the wait is longer
        assert not reader.is_alive()
        moments.note("reader ended")
        assert events.stream.cancelled()

    track.run(one_round)
