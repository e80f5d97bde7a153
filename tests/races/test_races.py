"""Moments that meet: who stops a stream, who reads it, and what ends it by itself.

Each race is run many times, with chance deciding the moment; in each round the outcome must be one
of those that are promised, and come soon. ``make races`` runs a thousand rounds of each.
"""

from __future__ import annotations

import gc
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest
from racing import RUNS, SOON, Moments, Reading, Track, wait_for_no_readers

from openai_stream import DONE, Client, EventQueue, ShutDown, Stream, StreamInterruptedError
from openai_stream.testing import (
    Connection,
    Hang,
    Pause,
    Repeat,
    Reset,
    answer,
    blackhole_url,
    chat_chunks,
    chunk,
    frame,
)

WHOLE = chat_chunks([f"{number} " for number in range(20)])
TEXT = "".join(f"{number} " for number in range(20))
STALLED = answer([*WHOLE[:2], Hang()])
FLOOD = [*answer([], done=False)[:1], Repeat(chunk(frame(WHOLE[1])))]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


over_both = pytest.mark.parametrize("track", ["tcp", "tls"], indirect=True)


def chat(track: Track, **arguments: Any) -> Any:
    return track.client.create_chat_completion(model="any", messages=[], stream=True, **arguments)


def callbacks_of(track: Track, **callbacks: Callable[[Any], object]) -> dict[str, Any]:
    """The callbacks; none where many streams are read together, which those with any are not."""
    return {} if track.client.readers else callbacks


def connection(track: Track) -> Connection:
    """The one that the newest request came over."""
    return track.server.requests[-1].connection


def a_moment(chance: random.Random, most: float = 0.002) -> None:
    """Between nothing and two milliseconds, often very little; busy, so that it is exact."""
    until = time.perf_counter() + most * chance.random() ** 3
    while time.perf_counter() < until:
        pass


def see_the_end(moments: Moments, reader: Reading, gone: Connection | None) -> None:
    """The reader ends, and the server sees the connection close."""
    reader.join(SOON)
    moments.note("reader ended")
    assert not reader.is_alive()
    if gone is not None:
        assert gone.client_closed.wait(SOON)
        moments.note("server saw the close", gone.client_closed_at)


def is_empty(events: EventQueue[Any]) -> bool:
    try:
        events.get_nowait()
    except queue.Empty:
        return True
    return False


def texts(events: list[Any]) -> str:
    return "".join(event.choices[0].delta.content or "" for event in events)


# Stopping a reader that waits -----------------------------------------------------------------


@over_both
def test_close_while_blocked(track: Track, pool: ThreadPoolExecutor) -> None:
    track.server.always(STALLED)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track)
        assert [events.get(timeout=SOON).to_dict() for _ in range(2)] == WHOLE[:2]
        taking = pool.submit(lambda: (events.get(), time.monotonic()))
        a_moment(chance)
        moments.begin()
        events.close()
        item, at = taking.result(SOON)
        assert item is DONE
        moments.note("consumer released", at)
        see_the_end(moments, Reading(events.stream), connection(track))
        assert is_empty(events)
        with pytest.raises(CancelledError):
            events.stream.result()

    # The worst of a thousand on a machine of its own; of few, on one that is busy, it says little.
    track.run(one_round, median=0.005, slowest=0.1 if RUNS >= 1000 else SOON)


@over_both
def test_drop_the_queue(track: Track) -> None:
    def stalled() -> EventQueue[Any]:
        events: EventQueue[Any] = chat(track)
        events.get(timeout=SOON)
        return events

    def stalled_and_full() -> EventQueue[Any]:
        events: EventQueue[Any] = chat(track, maxsize=1)
        return events

    def flooded() -> EventQueue[Any]:
        track.server.play(FLOOD)
        events: EventQueue[Any] = chat(track, maxsize=3)
        for _ in range(10):
            events.get(timeout=SOON)
        return events

    makers = [stalled, stalled_and_full, flooded]
    track.server.always(STALLED)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chance.choice(makers)()
        reader, gone = Reading(events.stream), connection(track)
        a_moment(chance)
        moments.begin()
        del events
        see_the_end(moments, reader, gone)

    track.run(one_round)


def test_drop_the_queue_in_a_circle(track: Track) -> None:
    track.server.always(STALLED)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, maxsize=chance.choice([0, 1]))
        events.get(timeout=SOON)
        reader, gone = Reading(events.stream), connection(track)
        circle: list[Any] = [events]
        circle.append(circle)
        del events, circle
        a_moment(chance)
        moments.begin()
        gc.collect()
        see_the_end(moments, reader, gone)

    track.run(one_round)


# A connection that ends just before the handshake: ``ssl`` forgets the socket that it has taken
# over (CPython's, as of 3.13.0), and leaves it to be closed by being collected.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@over_both
@pytest.mark.own_thread("it never comes to read a stream")
def test_stop_while_connecting(track: Track, pool: ThreadPoolExecutor) -> None:
    track.server.always(lambda request: [Hang()] if len(track.server.requests) % 2 else STALLED)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, nowait=True)
        taking = pool.submit(lambda: (list(events), time.monotonic()))
        a_moment(chance, 0.005)
        moments.begin()
        events.close()
        got, at = taking.result(SOON)
        moments.note("consumer released", at)
        assert [event.to_dict() for event in got] in (WHOLE[:2], WHOLE[:1], [])
        assert events.stream.cancelled()
        see_the_end(moments, Reading(events.stream), None)

    track.run(one_round)
    for one in list(track.server.connections):
        assert one.client_closed.wait(SOON)


@pytest.mark.own_thread("it never comes to reading")
def test_stop_while_nobody_answers(track: Track, pool: ThreadPoolExecutor) -> None:
    with blackhole_url() as url, Client(api_key="test", base_url=url, max_retries=0) as client:

        def one_round(chance: random.Random, moments: Moments) -> None:
            events = client.create_chat_completion(
                model="any", messages=[], stream=True, nowait=True
            )
            taking = pool.submit(lambda: (events.get(), time.monotonic()))
            a_moment(chance, 0.005)
            moments.begin()
            events.close()
            item, at = taking.result(SOON)
            assert item is DONE
            moments.note("consumer released", at)
            see_the_end(moments, Reading(events.stream), None)

        track.run(one_round)


# Stopping a reader that is at work ------------------------------------------------------------


@pytest.mark.own_thread("callbacks have a thread of their own")
@over_both
def test_close_during_a_callback(track: Track) -> None:
    track.server.always(FLOOD)

    def one_round(chance: random.Random, moments: Moments) -> None:
        closed, inside = threading.Event(), threading.Event()
        late: list[str] = []
        count = 0

        def on_next(event: object) -> None:
            nonlocal count
            count += 1
            if closed.is_set():
                late.append("on_next")
            inside.set()
            a_moment(chance)

        def last(_: object) -> None:
            late.append("the last one")

        stream = chat(track, on_next=on_next, on_done=last, on_error=last)
        assert inside.wait(SOON)
        a_moment(random.Random(count))  # noqa: S311
        moments.begin()
        stream.close()
        closed.set()
        moments.note("close returned")
        before = count
        see_the_end(moments, Reading(stream), connection(track))
        assert (late, count) == ([], before)
        with pytest.raises(CancelledError):
            stream.result()

    track.run(one_round)


@pytest.mark.own_thread("callbacks have a thread of their own")
@over_both
def test_close_inside_a_callback(track: Track) -> None:
    track.server.always(FLOOD)

    def one_round(chance: random.Random, moments: Moments) -> None:
        calls: list[object] = []
        made = threading.Event()
        last = chance.randrange(1, 50)

        def on_next(event: object) -> None:
            calls.append(event)
            if len(calls) == last:
                assert made.wait(SOON)
                moments.begin()
                stream.close()

        stream = chat(track, on_next=on_next, on_done=calls.append, on_error=calls.append)
        made.set()
        with pytest.raises(CancelledError):
            stream.result(SOON)
        see_the_end(moments, Reading(stream), connection(track))
        assert len(calls) == last

    track.run(one_round)


@over_both
def test_take_while_closing_a_full_queue(track: Track, pool: ThreadPoolExecutor) -> None:
    endless = [*answer([], done=False)[:1], *(chunk(frame(one)) for one in WHOLE * 50), Hang()]
    track.server.always(endless)
    expected = WHOLE * 50

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, maxsize=chance.choice([1, 2, 64]))

        def take() -> tuple[list[Any], float]:
            taken = []
            while (item := events.get()) is not DONE:
                taken.append(item)
            return taken, time.monotonic()

        taking = pool.submit(take)
        a_moment(chance, 0.01)
        moments.begin()
        events.close()
        taken, at = taking.result(SOON)
        moments.note("consumer released", at)
        assert [event.to_dict() for event in taken] == expected[: len(taken)]
        see_the_end(moments, Reading(events.stream), connection(track))
        assert is_empty(events)

    track.run(one_round)


def test_many_take_while_closing(track: Track, pool: ThreadPoolExecutor) -> None:
    """Of many takers one gets the end, and each loop ends; shut down or not."""
    track.server.always(answer([*WHOLE, Hang()]))

    def one_round(chance: random.Random, moments: Moments) -> None:
        stream_close = chance.random() < 0.5
        events = chat(track, maxsize=chance.choice([0, 1]), stream_close=stream_close)
        taking = [pool.submit(list, events) for _ in range(3)]
        a_moment(chance, 0.003)
        moments.begin()
        events.close()
        taken = [taker.result(SOON) for taker in taking]
        moments.note("all loops ended")
        numbers = [[WHOLE.index(event.to_dict()) for event in share] for share in taken]
        assert all(share == sorted(share) for share in numbers)
        together = sorted(number for share in numbers for number in share)
        assert together == list(range(len(together)))
        if stream_close:
            with pytest.raises(ShutDown):
                events.get(timeout=SOON)
        else:
            assert is_empty(events)

    track.run(one_round)


# What ends by itself --------------------------------------------------------------------------


def test_server_resets_mid_stream(track: Track) -> None:
    def one_round(chance: random.Random, moments: Moments) -> None:
        sent = chance.randrange(len(WHOLE))
        before = [Pause(0.001)] if chance.random() < 0.5 else []
        script = answer([*WHOLE[:sent], *before, Reset()], events_per_chunk=chance.choice([1, 5]))
        track.server.play(script)
        events = chat(track, maxsize=chance.choice([0, 1]))
        got = []
        moments.begin()
        with pytest.raises(StreamInterruptedError) as caught:  # noqa: PT012 - some come before it
            while True:
                got.append(events.get(timeout=SOON))
        moments.note("consumer told, from the call")
        assert [event.to_dict() for event in got] == WHOLE[:sent]
        assert events.stream.exception(SOON) is caught.value
        assert is_empty(events)
        if sent > 1:
            assert caught.value.snapshot.choices[0].message.content == texts(got)

    track.run(one_round)


@over_both
def test_close_and_the_natural_end(track: Track, pool: ThreadPoolExecutor) -> None:
    track.server.always(answer(WHOLE, events_per_chunk=3))

    def one_round(chance: random.Random, moments: Moments) -> None:
        closed = threading.Event()
        told: list[tuple[str, bool]] = []
        callbacks = callbacks_of(
            track,
            on_done=lambda _: told.append(("done", closed.is_set())),
            on_error=lambda _: told.append(("error", closed.is_set())),
        )
        events = chat(track, **callbacks)
        taking = pool.submit(list, events)
        a_moment(chance, 0.004)
        moments.begin()
        events.close()
        closed.set()
        got = taking.result(SOON)
        moments.note("consumer released")
        Reading(events.stream).join(SOON)
        moments.note("reader ended")
        if events.stream.cancelled():
            assert told == []
            assert [event.to_dict() for event in got] == WHOLE[: len(got)]
            with pytest.raises(CancelledError):
                events.stream.result()
        else:
            assert told == ([("done", False)] if callbacks else [])
            assert [event.to_dict() for event in got] == WHOLE
            assert events.stream.result().choices[0].message.content == TEXT
        assert is_empty(events)
        # Whatever became of the connection, the next stream gets a good one.
        assert chat(track).stream.result(SOON).choices[0].message.content == TEXT

    track.run(one_round)


def test_close_and_a_reset(track: Track) -> None:
    def one_round(chance: random.Random, moments: Moments) -> None:
        told: list[BaseException] = []
        track.server.play(answer([*WHOLE[:3], Reset()]))
        callbacks = callbacks_of(track, on_error=told.append)
        events = chat(track, **callbacks)
        a_moment(chance)
        moments.begin()
        events.close()
        got: list[Any] = []
        raised: list[StreamInterruptedError] = []
        try:
            while (item := events.get(timeout=SOON)) is not DONE:
                got.append(item)
        except StreamInterruptedError as error:
            raised.append(error)
        moments.note("consumer released")
        assert told == (raised if callbacks else [])
        assert events.stream.cancelled() is not bool(raised)
        if raised:
            assert events.stream.exception() is raised[0]
            assert len(got) == 3
        assert [event.to_dict() for event in got] == WHOLE[: len(got)]
        Reading(events.stream).join(SOON)
        moments.note("reader ended")

    track.run(one_round)


# Several at once -------------------------------------------------------------------------------


@over_both
def test_close_and_drop_and_collect(track: Track, pool: ThreadPoolExecutor) -> None:
    track.server.always(FLOOD)
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            gc.collect()

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, maxsize=chance.choice([0, 1, 8]))
        stream = events.stream
        reader, gone = Reading(stream), connection(track)
        if chance.random() < 0.5:
            events.get(timeout=SOON)
        circle: list[Any] = [events]
        circle.append(circle)
        start = threading.Barrier(2)

        def close(stream: Stream[Any, Any]) -> None:
            start.wait(SOON)
            stream.close()

        closing = pool.submit(close, stream)
        del stream
        start.wait(SOON)
        moments.begin()
        del events, circle
        closing.result(SOON)
        see_the_end(moments, reader, gone)

    gc.freeze()  # what other tests have left is not looked through again and again
    collecting = pool.submit(collect)
    try:
        track.run(one_round)
    finally:
        over.set()
        gc.unfreeze()
    collecting.result(SOON)


@over_both
def test_two_threads_close(track: Track, pool: ThreadPoolExecutor) -> None:
    track.server.always(STALLED)

    def one_round(chance: random.Random, moments: Moments) -> None:
        events: EventQueue[Any] = chat(track)
        start = threading.Barrier(3)

        def close() -> bool:
            start.wait(SOON)
            events.close()
            return events.stream.cancelled()

        closing = [pool.submit(close) for _ in range(2)]
        taking = pool.submit(list, events)
        start.wait(SOON)
        moments.begin()
        assert [one.result(SOON) for one in closing] == [True, True]
        moments.note("both returned")
        got = taking.result(SOON)
        moments.note("consumer released")
        assert [event.to_dict() for event in got] == WHOLE[: len(got)]
        see_the_end(moments, Reading(events.stream), connection(track))
        assert is_empty(events)

    track.run(one_round)


def test_a_signal_handler_closes(track: Track) -> None:
    """It comes between any two steps of the main thread, which may just be in the queue's lock."""
    track.server.always(FLOOD)
    main = threading.main_thread().ident
    assert main is not None
    assert threading.current_thread() is threading.main_thread()

    def one_round(chance: random.Random, moments: Moments) -> None:
        events = chat(track, maxsize=5)

        def close(*_: object) -> None:
            moments.begin()
            events.close()

        handled = signal.signal(signal.SIGUSR1, close)

        def send(pause: float) -> None:
            time.sleep(pause)
            signal.pthread_kill(main, signal.SIGUSR1)

        sender = threading.Thread(target=send, args=(chance.random() * 0.005,))
        try:
            sender.start()
            while not events.stream.done():
                events.qsize()  # under the lock, most of the time
            while events.get(timeout=SOON) is not DONE:
                pass
            moments.note("consumer released")
            sender.join(SOON)
        finally:
            signal.signal(signal.SIGUSR1, handled)
        see_the_end(moments, Reading(events.stream), connection(track))

    track.run(one_round)


def test_streams_end_while_others_begin(track: Track, pool: ThreadPoolExecutor) -> None:
    """A connection that a stop shuts is never one that already serves somebody else."""
    track.server.always(answer(WHOLE, events_per_chunk=5))
    stopping: Callable[..., Future[None]] = pool.submit

    def one_round(chance: random.Random, moments: Moments) -> None:
        first = chat(track, on_next=lambda _: None)
        seed = chance.random()

        def stop() -> None:
            a_moment(random.Random(seed), 0.003)  # noqa: S311
            first.close()

        stopped = stopping(stop)
        for _ in range(2):
            moments.begin()
            whole = chat(track).stream.result(SOON)
            moments.note("another stream was whole")
            assert whole.choices[0].message.content == TEXT
        stopped.result(SOON)

    track.run(one_round)
    wait_for_no_readers()


def test_the_client_is_closed_while_calls_begin(track: Track, pool: ThreadPoolExecutor) -> None:
    """It ends no stream, and fails no call: one that has just looked up a pool takes a new one."""
    track.server.always(answer(WHOLE, events_per_chunk=5))

    def one_round(chance: random.Random, moments: Moments) -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)  # or threads hardly meet there
        try:
            call_and_close(chance, moments)
        finally:
            sys.setswitchinterval(usual)

    def call_and_close(chance: random.Random, moments: Moments) -> None:
        calls = [pool.submit(lambda: chat(track).stream.result(SOON)) for _ in range(4)]
        a_moment(chance, 0.005)
        moments.begin()
        track.client.close()
        for call in calls:
            assert call.result(SOON).choices[0].message.content == TEXT
        moments.note("all calls were whole")

    track.run(one_round)
    wait_for_no_readers()
