"""Stopping, time and memory beside slow callbacks, crowded machines and many restarts."""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    ChatCompletionChunk,
    Client,
    EventQueue,
    Restarted,
    Stream,
    StreamTimeoutError,
    Timeout,
    retrying,
)
from openai_stream.testing import Hang, Reset, ScriptedServer, Wait, answer, chat_chunks

RUNS = int(os.environ.get("RUNS", "30"))
CLOSERS = 8  # that close at the same time
WHOLE = chat_chunks("one two three four five six seven")
MANY = chat_chunks("word " * 3000)


def chat(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="any", messages=[], stream=True, **arguments)


def to_the_end(events: EventQueue[Any]) -> list[Any]:
    taken = []
    while (event := events.get(timeout=SOON)) is not DONE:
        taken.append(event.to_dict())
    return taken


# Subscribers ---------------------------------------------------------------------------------


class TestSubscribersComeFirst:
    """They have each event before the user's own function is called with it."""

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_beside_a_callback_that_blocks(self, server: ScriptedServer, client: Client) -> None:
        server.play(answer(WHOLE))
        go, called = threading.Event(), threading.Semaphore(0)

        def on_next(event: object) -> None:
            called.release()
            go.wait(SOON)

        stream = chat(client, on_next=on_next, replay=True)
        events = stream.subscribe()
        assert called.acquire(timeout=SOON)
        assert events.get(timeout=SOON).to_dict() == WHOLE[0]
        go.set()
        assert to_the_end(events) == WHOLE[1:]

    @pytest.mark.parametrize("number", [1, 5])
    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_at_each_call(self, server: ScriptedServer, client: Client, number: int) -> None:
        """Whatever the place of the event in its burst."""
        server.play(answer(WHOLE))
        seen: list[list[Any]] = []
        made = threading.Event()

        def on_next(event: object) -> None:
            made.wait(SOON)
            seen.append([one.to_dict() for one in list(stream.subscribe().queue)])

        stream = chat(client, on_next=on_next, replay=True)
        made.set()
        stream.result(SOON)
        assert seen[number - 1] == WHOLE[:number]

    def test_beside_a_full_queue(self, server: ScriptedServer, client: Client) -> None:
        server.play(answer(WHOLE))
        full: queue.Queue[Any] = queue.Queue(maxsize=1)
        events = chat(client, queue=full, replay=True).subscribe()
        for sent in WHOLE[:2]:  # the second is the one that has no room
            assert events.get(timeout=SOON).to_dict() == sent
        while full.get(timeout=SOON) is not DONE:
            pass
        assert to_the_end(events) == WHOLE[2:]

    @pytest.mark.parametrize("mode", ["callback", "queue"])
    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_of_a_function_that_raises(
        self, server: ScriptedServer, client: Client, mode: str
    ) -> None:
        server.play(answer([*WHOLE, Hang()]))
        calls = 0

        class Sink:
            def put(self, item: object) -> None:
                nonlocal calls
                calls += 1
                if calls == 5:
                    raise ZeroDivisionError

        told: dict[str, Any] = {"on_error": lambda error: None}
        where = {"queue": Sink()} if mode == "queue" else {"on_next": Sink().put}
        stream = chat(client, replay=True, **where, **told)
        with pytest.raises(ZeroDivisionError):
            stream.result(SOON)
        events = stream.subscribe()
        assert [events.get(timeout=SOON).to_dict() for _ in range(5)] == WHOLE[:5]
        with pytest.raises(ZeroDivisionError):
            events.get(timeout=SOON)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_of_a_callback_that_closes(self, server: ScriptedServer, client: Client) -> None:
        server.play(answer([*WHOLE, Hang()]))
        calls, made = 0, threading.Event()

        def on_next(event: object) -> None:
            nonlocal calls
            calls += 1
            made.wait(SOON)
            if calls == 5:
                stream.close()

        stream: Stream[ChatCompletionChunk, Any] = chat(client, on_next=on_next, replay=True)
        made.set()
        with pytest.raises(CancelledError):
            stream.result(SOON)
        assert to_the_end(stream.subscribe()) == WHOLE[:5]
        assert calls == 5


# The total time ------------------------------------------------------------------------------


def slowly(seconds: float, calls: list[float]) -> Callable[[object], None]:
    def on_next(event: object) -> None:
        calls.append(time.monotonic())
        time.sleep(seconds)

    return on_next


class Slow:
    """A queue whose ``put`` takes its time."""

    def __init__(self, put: Callable[[object], None]) -> None:
        self.put = put


@pytest.mark.parametrize("mode", ["callback", "queue", "replay"])
class TestTotal:
    """It is looked at between events; a function that runs is not interrupted."""

    def start(self, client: Client, mode: str, put: Callable[[object], None], total: float) -> Any:
        where: dict[str, Any] = {"queue": Slow(put)} if mode == "queue" else {"on_next": put}
        return chat(
            client,
            replay=mode == "replay",
            on_error=lambda error: None,
            timeout=Timeout(total=total),
            **where,
        )

    def test_beside_a_slow_function(
        self, server: ScriptedServer, client: Client, mode: str
    ) -> None:
        server.play(answer(MANY))
        calls: list[float] = []
        begin = time.monotonic()
        stream = self.start(client, mode, slowly(0.02, calls), 0.5)
        error = stream.exception(SOON)
        assert time.monotonic() - begin < 1.0 + HELD_UP
        assert isinstance(error, StreamTimeoutError)
        assert error.deadline == "total"
        assert len(calls) < 60  # with those of a queue that takes its end
        given = len(calls) - (2 if mode == "queue" else 0)
        words = error.snapshot.choices[0].message.content.count("word")
        assert words >= given - 1  # the first event has none

    def test_beside_functions_that_become_slow(
        self, server: ScriptedServer, client: Client, mode: str
    ) -> None:
        server.play(answer(MANY))
        calls: list[float] = []
        begin = time.monotonic()

        def put(event: object) -> None:
            calls.append(time.monotonic())
            if len(calls) > 500:
                time.sleep(0.1)

        error = self.start(client, mode, put, 0.6).exception(SOON)
        assert isinstance(error, StreamTimeoutError)
        assert time.monotonic() - begin < 1.1 + HELD_UP

    def test_that_is_kept(self, server: ScriptedServer, client: Client, mode: str) -> None:
        server.play(answer(MANY))
        calls: list[float] = []
        stream = self.start(client, mode, calls.append, 60.0)  # type: ignore[arg-type]
        assert len(stream.result(SOON).choices[0].message.content) == len("word " * 3000)
        assert len(calls) == len(MANY) + (mode == "queue")

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_over_a_function_that_runs(
        self, server: ScriptedServer, client: Client, mode: str
    ) -> None:
        """The last event came in time, and so did its end: that its function took longer is no
        failure of the stream.
        """
        server.play(answer(WHOLE[-1:], events_per_chunk=2))  # and [DONE], at once
        stream = self.start(client, mode, lambda event: time.sleep(0.4), 0.3)
        assert stream.exception(SOON) is None


# Stopping ------------------------------------------------------------------------------------


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """So many threads that never wait."""
    over = False

    def compute() -> None:
        while not over:
            sum(range(50))

    crowd = [threading.Thread(target=compute) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    try:
        yield
    finally:
        over = True
        for thread in crowd:
            thread.join(SOON)


@pytest.mark.limit(60 + RUNS)
@pytest.mark.parametrize("on_reader", ["callback", "timed", "both"])
@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_no_callback_starts_after_close_beside_a_crowd(
    server: ScriptedServer, client: Client, on_reader: str
) -> None:
    """Threads that compute take the reader's turn, and the closer's, between any two of its steps.

    Some streams are closed at a time, so that ten thousand take minutes and not hours.
    """
    parts = (part for part in answer(MANY) if isinstance(part, bytes))
    server.always(b"".join(parts))  # in few sends: each would wait for its turn
    late: list[int] = []

    def close(number: int) -> None:
        closed: list[bool] = []
        begun = threading.Event()

        def on_next(event: object) -> None:
            if closed:  # one step: in a function's it could lose its turn after it has begun
                late.append(number)
            begun.set()

        arguments: dict[str, Any] = {"on_next": on_next}
        if on_reader == "timed":  # its limit is looked at before each call
            arguments["timeout"] = Timeout(total=3600.0)
        if on_reader == "both":
            arguments.update(on_done=on_next, on_error=on_next, replay=True)
        stream = chat(client, **arguments)
        assert begun.wait(SOON * HELD_UP)
        stream.close()
        closed.append(True)
        server.forget()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with computing(24), ThreadPoolExecutor(CLOSERS) as closers:
            assert len(list(closers.map(close, range(RUNS)))) == RUNS
    finally:
        sys.setswitchinterval(usual)
    assert late == []


class Parked:
    """Parks a thread at the very start of a function, as the machine may."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._code = function.__code__
        self._go = threading.Event()
        self.parked = threading.Event()

    def trace(self, frame: FrameType, what: str, argument: object) -> None:
        if frame.f_code is self._code and not self.parked.is_set():
            self.parked.set()
            self._go.wait(SOON)

    def go(self) -> None:
        self._go.set()


@pytest.mark.parametrize("callback", ["on_next", "on_done", "on_error"])
@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_close_waits_for_a_callback_that_is_about_to_start(
    server: ScriptedServer, client: Client, callback: str
) -> None:
    end = [Reset()] if callback == "on_error" else []
    server.play(answer([*WHOLE, *end], done=not end))
    begun, closed = threading.Event(), threading.Event()

    def about_to_start(value: object) -> None:
        begun.set()

    parked = Parked(about_to_start)
    threading.settrace(parked.trace)  # of the threads that start from here on
    try:
        stream = chat(client, **{"on_next": lambda event: None, callback: about_to_start})
    finally:
        threading.settrace(None)
    assert parked.parked.wait(SOON)

    def close() -> None:
        stream.close()
        closed.set()

    closer = threading.Thread(target=close)
    closer.start()
    assert not closed.wait(0.3)
    assert not begun.is_set()
    parked.go()
    assert closed.wait(SOON)
    assert begun.is_set()
    closer.join(SOON)


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_close_does_not_wait_for_a_callback_that_runs(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer(WHOLE))
    running, go = threading.Event(), threading.Event()

    def on_next(event: object) -> None:
        running.set()
        go.wait(SOON)

    stream = chat(client, on_next=on_next)
    assert running.wait(SOON)
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 0.5 + HELD_UP
    go.set()


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_close_does_not_wait_for_a_function_in_c(server: ScriptedServer, client: Client) -> None:
    """Whose frames nobody sees: a lock's method, say, that waits for this very thread."""
    server.play(answer(WHOLE))
    lock = threading.Lock()
    lock.acquire()
    stream = chat(client, on_next=lock.acquire)  # blocks: an event is true
    server.wait_for_requests(1)
    time.sleep(0.05)
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 0.5 + HELD_UP
    lock.release()


# Memory --------------------------------------------------------------------------------------


def test_the_void_answers_of_restarts_are_released(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "x" * 2_000_000  # the server keeps a quarter of a megabyte of each, to judge by
    broken = answer(chat_chunks(text)[:-1], done=False)
    restarts = 12
    go = threading.Event()
    server.play(*[broken] * restarts, answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    seen = 0

    def on_next(event: object) -> None:
        nonlocal seen
        seen += isinstance(event, Restarted)
        if seen == restarts:
            last.set()

    last = threading.Event()
    monkeypatch.setattr(retrying, "backoff", lambda retries: 0.0)
    tracemalloc.start()
    try:
        stream = chat(client, on_next=on_next, restarts=restarts)
        assert last.wait(4 * SOON)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * len(text), f"{held / len(text):.1f} answers are held"
    go.set()
    stream.result(SOON)
    assert stream.stats.events == len(WHOLE) + restarts * (len(chat_chunks(text)) - 1)
