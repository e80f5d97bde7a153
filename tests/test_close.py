"""Closing a stream, from any thread at any moment."""

from __future__ import annotations

import concurrent.futures
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import SOON, Chat
from machine import HELD_UP
from streaming import (
    WHOLE,
    Log,
    content,
    nothing,
    readers,
    saw_the_close,
    wait_for_no_room,
    wait_for_readers,
    wait_until,
)

from openai_stream import (
    DONE,
    EventQueue,
    Stream,
    StreamInterruptedError,
)
from openai_stream.testing import (
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns often, as they would on a loaded machine, and more so."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


class TestClose:
    def test_wakes_the_reader(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        events = chat()
        assert [events.get(timeout=SOON).to_dict() for _ in range(2)] == WHOLE[:2]
        (reader,) = readers()
        events.close()
        assert events.get_nowait() is DONE
        reader.join(SOON)
        assert not reader.is_alive()
        saw_the_close(server.connections[0])

    def test_what_is_in_the_queue_stays(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:3], Hang()]))
        events = chat()
        wait_until(lambda: events.qsize() == 3)
        events.close()
        assert [event.to_dict() for event in events] == WHOLE[:3]

    def test_releases_a_consumer_that_is_blocked(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([Hang()]))
        events = chat()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            getting = pool.submit(events.get)
            wait_until(lambda: events.not_empty._waiters)
            events.close()
            assert getting.result(SOON) is DONE

    def test_wakes_a_reader_that_waits_for_room(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:3], Hang()]))
        events = chat(maxsize=1)
        wait_for_no_room(events.stream._core)
        events.close()
        wait_for_readers()
        assert [event.to_dict() for event in events] == WHOLE[:1]
        saw_the_close(server.connections[0])

    @pytest.mark.parametrize("events_per_chunk", [1, 100])
    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_in_on_next(self, server: ScriptedServer, chat: Chat, events_per_chunk: int) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE], events_per_chunk=events_per_chunk))
        log = Log()

        def close(event: Any) -> None:
            log.calls.append(("next", event.to_dict()))
            stream.close()

        stream = chat(**{**log.callbacks, "on_next": close})
        go.set()
        with pytest.raises(concurrent.futures.CancelledError):
            stream.result(SOON)
        wait_for_readers()
        assert log.calls == [("next", WHOLE[0])]
        saw_the_close(server.connections[0])

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_in_on_next_by_an_answer_that_goes_on(self, server: ScriptedServer, chat: Chat) -> None:
        """Nobody was there to be woken, and the server says nothing more."""
        go = threading.Event()
        server.play(answer([Wait(go), WHOLE[0], Hang()]))
        stream: Stream[Any, Any] = chat(on_next=lambda _: stream.close())
        go.set()
        wait_for_readers()
        saw_the_close(server.connections[0])

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_in_on_done_changes_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]), answer([Wait(go), *WHOLE]))
        stream: Stream[Any, Any] = chat(on_next=nothing, on_done=lambda _: stream.close())
        go.set()
        assert content(stream.result(SOON)) == "one two three"
        assert not stream.cancelled()
        go.clear()
        events: EventQueue[Any] = chat(on_done=lambda _: events.close())
        go.set()
        assert len(list(events)) == len(WHOLE)
        assert not events.stream.cancelled()

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_in_on_error_changes_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), Reset()]))
        stream: Stream[Any, Any] = chat(on_next=nothing, on_error=lambda _: stream.close())
        go.set()
        assert isinstance(stream.exception(SOON), StreamInterruptedError)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_then_raising_in_on_next(
        self, server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture
    ) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        log = Log()

        def close_and_raise(_: object) -> None:
            stream.close()
            raise ValueError

        stream = chat(**{**log.callbacks, "on_next": close_and_raise})
        go.set()
        with pytest.raises(concurrent.futures.CancelledError):
            stream.result(SOON)
        wait_for_readers()
        assert log.calls == []

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_waits_for_a_callback_that_runs(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        inside = threading.Event()
        calls: list[str] = []

        def on_next(_: object) -> None:
            calls.append("begins")
            inside.set()
            time.sleep(0.01)
            calls.append("ends")

        stream = chat(on_next=on_next)
        assert inside.wait(SOON)
        stream.close()
        seen = list(calls)
        assert seen[-1] == "ends"
        wait_for_readers()
        assert calls == seen

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_does_not_wait_for_ever(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        inside, go = threading.Event(), threading.Event()

        def on_next(_: object) -> None:
            inside.set()
            go.wait(SOON)

        stream = chat(on_next=on_next)
        assert inside.wait(SOON)
        begin = time.monotonic()
        stream.close()
        assert time.monotonic() - begin < 1 + HELD_UP
        assert not go.is_set()
        with pytest.raises(concurrent.futures.CancelledError):
            stream.result(timeout=0)
        go.set()

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_from_a_thread_that_the_callback_waits_for(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE[:2], Hang()]))

        def on_next(_: object) -> None:
            closer = threading.Thread(target=stream.close)
            closer.start()
            closer.join(SOON)
            assert not closer.is_alive()

        stream = chat(on_next=on_next)
        go.set()
        with pytest.raises(concurrent.futures.CancelledError):
            stream.result(SOON)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_two_streams_whose_callbacks_close_each_other(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.always(answer([WHOLE[0], Hang()]))
        both = threading.Barrier(2)
        streams: list[Stream[Any, Any]] = []

        def close_the_other(number: int) -> None:
            both.wait(SOON)
            streams[number].close()

        ready = threading.Event()

        def of(number: int) -> Callable[[object], None]:
            def on_next(_: object) -> None:
                ready.wait(SOON)
                close_the_other(number)

            return on_next

        streams += [chat(on_next=of(1)), chat(on_next=of(0))]
        ready.set()
        for stream in streams:
            with pytest.raises(concurrent.futures.CancelledError):
                stream.result(SOON)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_while_the_last_callback_is_about_to_start(
        self, server: ScriptedServer, chat: Chat, switching: None
    ) -> None:
        """When close() has returned, on_done has run, or will not; whatever the moment."""
        whole = chat_chunks(["a"] * 58)
        server.always(answer(whole, events_per_chunk=100))
        outcomes = set()
        for moment in range(240):
            arrived, closed = threading.Event(), threading.Event()
            late: list[bool] = []
            count = itertools.count()

            def on_next(
                _: object,
                last: int = len(whole) - 1 - moment % len(whole),
                count: Iterator[int] = count,
                arrived: threading.Event = arrived,
            ) -> None:
                if next(count) == last:
                    arrived.set()

            def on_done(_: object, late: list[bool] = late, closed: Any = closed) -> None:
                late.append(closed.is_set())

            stream = chat(on_next=on_next, on_done=on_done)
            assert arrived.wait(SOON)
            stream.close()
            closed.set()
            called = list(late)
            wait_for_readers()
            assert late == called  # nothing came later
            assert True not in late
            assert stream.cancelled() is not bool(late)
            outcomes.add(stream.cancelled())
        assert outcomes == {False, True}

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_before_the_last_callback_may_start(self, server: ScriptedServer, chat: Chat) -> None:
        """The state says that the end has come when on_done starts, not a moment before."""
        called: list[object] = []
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        events = chat(on_done=called.append)
        with events.stream._core.calling:  # nothing can start
            go.set()
            for _ in WHOLE:
                events.get(timeout=SOON)
            time.sleep(0.05)
            events.close()
        wait_for_readers()
        assert called == []
        assert events.stream.cancelled()

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_a_large_answer_is_not_added_up_while_close_waits(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        """The last callback starts right after the state says that it will."""
        go = threading.Event()
        choices = [{**WHOLE[-1]["choices"][0], "index": index} for index in range(40_000)]
        whole = {**WHOLE[-1], "choices": choices}  # takes longer than close() waits
        server.play(answer([Wait(go), whole]))
        closed, arrived = threading.Event(), threading.Event()
        late: list[bool] = []
        stream = chat(
            on_next=lambda _: arrived.set(), on_done=lambda _: late.append(closed.is_set())
        )
        go.set()
        assert arrived.wait(SOON)
        time.sleep(0.02)  # for the end of the body; then it is added up
        stream.close()
        closed.set()
        wait_for_readers()
        assert True not in late
        assert stream.cancelled() is not bool(late)

    def test_from_many_threads_at_once(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:1], Hang()]))
        events = chat()
        events.get(timeout=SOON)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(events.close) for _ in range(8)]:
                future.result(SOON)
        assert events.get_nowait() is DONE
        assert events.empty()

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_calls_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([WHOLE[0], Hang()]), answer([WHOLE[0], Hang()]))
        log = Log()
        del log.callbacks["on_next"]
        events = chat(on_done=log.callbacks["on_done"], on_error=log.callbacks["on_error"])
        events.get(timeout=SOON)
        events.close()
        wait_for_readers()
        assert log.calls == []
