"""Who keeps a stream alive."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import time
import weakref
from typing import Any

import pytest
from helpers import SOON, Chat
from streaming import (
    FLOOD,
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
    EventQueue,
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


class TestOwnership:
    def test_the_result_of_a_stream_whose_queue_was_never_kept(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer(WHOLE), answer(WHOLE), answer([WHOLE[0], Reset()]))
        # Not inside an assert: pytest holds on to what it may want to show.
        results = [chat(maxsize=maxsize).stream.result(SOON) for maxsize in (0, 1)]
        assert [content(result) for result in results] == ["one two three"] * 2
        with pytest.raises(StreamInterruptedError):
            chat(maxsize=1).stream.result(SOON)

    def test_dropping_the_queue_frees_a_reader_that_waits_for_room(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer(chat_chunks(["a"] * 100)))
        events = chat(maxsize=1)
        stream = events.stream
        wait_for_no_room(stream._core)
        del events
        assert content(stream.result(SOON)) == "a" * 100

    def test_a_queue_whose_finalizer_takes_its_time_is_gone(
        self, server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until a finalizer returns, weak references still work, and the reader has one."""
        finalize = EventQueue.__del__

        def take_time(events: EventQueue[Any]) -> None:
            finalize(events)
            time.sleep(0.05)

        monkeypatch.setattr(EventQueue, "__del__", take_time)
        server.play(answer(WHOLE))
        events = chat(maxsize=1)
        stream = events.stream
        wait_for_no_room(stream._core)
        del events
        assert content(stream.result(SOON)) == "one two three"

    def test_dropping_the_queue_while_the_reader_waits_for_bytes(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        events = chat()
        events.get(timeout=SOON)
        stream = events.stream
        gone = weakref.ref(events)
        del events
        assert gone() is None  # the reader does not keep it
        assert stream.running()
        go.set()
        assert content(stream.result(SOON)) == "one two three"

    def test_dropping_the_stream_alone_changes_nothing(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        events = chat()
        stream = events.stream
        events.get(timeout=SOON)
        del stream
        go.set()
        assert len(list(events)) == len(WHOLE) - 1

    def test_dropping_both_while_the_reader_waits_for_bytes(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        events = chat()
        events.get(timeout=SOON)
        del events
        wait_for_readers()
        saw_the_close(server.connections[0])

    def test_dropping_both_while_the_reader_waits_for_room(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer([*WHOLE[:3], Hang()]))
        events = chat(maxsize=1)
        stream = events.stream
        core = stream._core
        wait_for_no_room(core)
        del events, stream
        wait_for_readers()
        saw_the_close(server.connections[0])

    def test_dropping_both_while_the_server_floods(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        for maxsize in (0, 1, 5):
            server.play([*answer([], done=False)[:1], FLOOD])
            events = chat(maxsize=maxsize)
            for _ in range(10):
                events.get(timeout=SOON)
            del events
            wait_for_readers()
        for connection in server.connections:
            saw_the_close(connection)

    def test_dropping_the_stream_last(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        stream = chat().stream
        assert stream.running()
        del stream
        wait_for_readers()
        saw_the_close(server.connections[0])

    @pytest.mark.parametrize("maxsize", [0, 1])
    def test_in_a_circle_the_garbage_collector_ends_it(
        self, server: ScriptedServer, chat: Chat, maxsize: int
    ) -> None:
        server.play(answer([*WHOLE[:3], Hang()]))
        gc.disable()
        try:
            circle: list[Any] = [chat(maxsize=maxsize)]
            circle.append(circle)
            circle[0].get(timeout=SOON)
            del circle
            assert len(readers()) == 1
            gc.collect()
            wait_for_readers()
        finally:
            gc.enable()
        saw_the_close(server.connections[0])

    def test_a_loop_that_is_left_drops_a_queue_that_nobody_has(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        for _ in chat():
            break
        wait_for_readers()
        saw_the_close(server.connections[0])

    def test_text_keeps_the_stream(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        text = chat().text()
        gc.collect()
        assert "".join(text) == "one two three"

    def test_a_thread_that_takes_keeps_the_stream(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            taking = pool.submit(list, chat())
            gc.collect()
            go.set()
            assert len(taking.result(SOON)) == len(WHOLE)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_callbacks_live_on_unheld(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        log = Log()
        chat(**log.callbacks)
        gc.collect()
        wait_until(lambda: log.calls)
        go.set()
        assert log.ended.wait(SOON)
        assert log.names == [*["next"] * len(WHOLE), "done"]

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_a_callback_that_refers_to_the_handle_keeps_it(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        ended = threading.Event()
        held: list[Any] = []

        def on_done(_: object, held: list[Any] = held) -> None:
            assert held
            ended.set()

        held.append(chat(on_done=on_done))
        del held, on_done
        gc.collect()
        go.set()
        assert ended.wait(SOON)

    def test_nothing_of_a_stream_that_has_ended_is_kept(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer(WHOLE), answer([WHOLE[0], Reset()]))
        for _ in range(2):
            # Told, so not logged: pytest keeps what is logged.
            stream = chat(on_next=nothing, on_error=nothing)
            stream.exception(SOON)
            core = weakref.ref(stream._core)
            wait_for_readers()
            del stream
            gc.collect()
            assert core() is None

    def test_a_queue_outlives_its_stream_with_all_that_is_in_it(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer(WHOLE))
        events = chat()
        events.stream.result(SOON)
        wait_for_readers()
        gc.collect()
        assert len(list(events)) == len(WHOLE)
