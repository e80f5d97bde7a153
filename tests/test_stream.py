"""The life of a stream: its handle, its callbacks, and everything that can end it."""

from __future__ import annotations

import concurrent.futures
import contextvars
import copy
import gc
import itertools
import logging
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import SOON, Chat
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    ChatCompletion,
    Client,
    EventQueue,
    InternalServerError,
    OpenAIStreamError,
    RateLimitError,
    ShutDown,
    Stream,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    Connection,
    Hang,
    Pause,
    Repeat,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    chunk,
    error_answer,
    frame,
    refused_url,
)

WHOLE = chat_chunks("one two three")
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "Count"}]}
# More than the buffers between a server and a reader that waits hold.
FLOOD = Repeat(chunk(frame(chat_chunks(["x" * 10_000])[1])))


def nothing(*_: object) -> None:
    """A callback."""


@pytest.fixture
def chat(client: Client) -> Callable[..., Any]:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns often, as they would on a loaded machine, and more so."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def content(whole: ChatCompletion) -> str | None:
    return whole.choices[0].message.content


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def readers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]


def wait_for_readers(count: int = 0) -> None:
    wait_until(lambda: len(readers()) == count)


def saw_the_close(connection: Connection) -> None:
    assert connection.client_closed.wait(SOON)


class Log:
    """Callbacks that note what they were called with, and on which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.ended = threading.Event()

    def _note(self, name: str, value: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.calls.append((name, value))
        if name != "next":
            self.ended.set()

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "on_next": lambda event: self._note("next", event.to_dict()),
            "on_done": lambda whole: self._note("done", content(whole)),
            "on_error": lambda error: self._note("error", error),
        }

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


# Waiting for the end -------------------------------------------------------------------------


class TestLikeAFuture:
    def test_that_goes_well(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([*WHOLE[:2], Wait(go), *WHOLE[2:]]))
        stream = chat().stream
        assert (stream.running(), stream.done(), stream.cancelled()) == (True, False, False)
        with pytest.raises(TimeoutError, match=r"^the stream has not ended within 0\.02 s$"):
            stream.result(timeout=0.02)
        with pytest.raises(TimeoutError, match=r"^the stream has not ended within 0 s$"):
            stream.exception(timeout=0)
        go.set()
        whole = stream.result(SOON)
        assert isinstance(whole, ChatCompletion)
        assert content(whole) == "one two three"
        assert whole.choices[0].finish_reason == "stop"
        assert stream.result() == whole
        assert stream.exception() is None
        assert (stream.running(), stream.done(), stream.cancelled()) == (False, True, False)

    def test_that_fails(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Reset()]))
        stream = chat().stream
        error = stream.exception(SOON)
        assert isinstance(error, StreamInterruptedError)
        for _ in range(2):
            with pytest.raises(StreamInterruptedError) as caught:
                stream.result()
            assert caught.value is error
        assert content(error.snapshot) == "one"
        assert (stream.running(), stream.done(), stream.cancelled()) == (False, True, False)

    def test_that_is_closed(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        stream = chat().stream
        for _ in range(2):
            stream.close()
            assert (stream.running(), stream.done(), stream.cancelled()) == (False, True, True)
            with pytest.raises(concurrent.futures.CancelledError):
                stream.result()
            with pytest.raises(concurrent.futures.CancelledError):
                stream.exception(timeout=0)

    def test_close_after_the_end_changes_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        events = chat()
        whole = events.stream.result(SOON)
        events.close()
        assert not events.stream.cancelled()
        assert events.stream.result() == whole
        assert len(list(events)) == len(WHOLE)

    @pytest.mark.parametrize(
        ("end", "outcome"),
        [
            ((), "one two three"),
            ((Reset(),), StreamInterruptedError),
            ((Hang(),), concurrent.futures.CancelledError),
        ],
    )
    def test_every_thread_that_waits_is_told(
        self, server: ScriptedServer, chat: Chat, end: tuple[Any, ...], outcome: Any
    ) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), *(end or WHOLE)]))
        stream = chat(on_next=nothing)

        def told() -> Any:
            try:
                return content(stream.result(SOON))
            except (StreamInterruptedError, concurrent.futures.CancelledError) as error:
                return type(error)

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            waiting = [pool.submit(told) for _ in range(5)]
            wait_until(lambda: len(stream._core._over._waiters) == 5)
            begin = time.monotonic()
            go.set()
            if outcome is concurrent.futures.CancelledError:
                stream.close()
            assert [future.result() for future in waiting] == [outcome] * 5
            assert time.monotonic() - begin < SOON / 2  # told, not timed out

    def test_a_with_block_closes_at_its_end(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([Hang()]), answer([Hang()]))
        with chat(on_next=nothing) as stream:
            assert isinstance(stream, Stream)
            assert stream.running()
        assert stream.cancelled()
        saw_the_close(server.connections[0])
        with pytest.raises(KeyError), chat().stream as stream:
            raise KeyError
        assert stream.cancelled()


def test_the_end_comes_before_the_body_has_ended(server: ScriptedServer, chat: Chat) -> None:
    """A server that never ends the body behind [DONE] holds nothing up."""
    server.play([*answer(WHOLE)[:-1], Hang()])
    stream = chat().stream
    assert content(stream.result(SOON)) == "one two three"
    saw_the_close(server.connections[0])


# What the handle shows -----------------------------------------------------------------------


def test_the_response(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE, headers={"X-Request-Id": "req_1", "X-More": "more"}), answer(WHOLE))
    stream = chat().stream
    assert stream.status_code == 200
    assert stream.headers["x-more"] == stream.headers["X-MORE"] == "more"
    assert stream.request_id == "req_1"
    assert chat().stream.request_id is None


def test_the_response_before_there_is_one(chat: Chat, server: ScriptedServer) -> None:
    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)])
    stream = chat(nowait=True).stream
    assert (stream.status_code, stream.headers, stream.request_id) == (None, None, None)
    assert repr(stream) == "<Stream of /chat/completions, connecting>"
    assert stream.stats.first_event_seconds is None
    assert stream.snapshot().choices == []
    go.set()
    stream.result(SOON)
    assert stream.status_code == 200


def test_repr(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]), answer(WHOLE), answer([Reset()]))
    stream = chat(on_next=nothing)
    assert repr(stream) == "<Stream of /chat/completions, streaming>"
    stream.close()
    assert repr(stream) == "<Stream of /chat/completions, cancelled>"
    stream = chat(on_next=nothing)
    stream.result(SOON)
    assert repr(stream) == "<Stream of /chat/completions, done>"
    stream = chat(on_next=nothing)
    stream.exception(SOON)
    assert repr(stream) == "<Stream of /chat/completions, failed>"


def test_snapshot_at_any_time(server: ScriptedServer, chat: Chat) -> None:
    steps = [threading.Event() for _ in range(3)]
    server.play(
        answer([WHOLE[0], Wait(steps[0]), WHOLE[1], Wait(steps[1]), WHOLE[2], Wait(steps[2])])
    )
    events = chat()
    seen = []
    for step in steps:
        events.get(timeout=SOON)
        seen.append(events.stream.snapshot())
        step.set()
    assert [content(snapshot) for snapshot in seen] in (
        [None, "one", "one two"],
        ["", "one", "one two"],
    )
    events.close()
    assert content(events.stream.snapshot()) == "one two"


def test_snapshot_after_a_failure(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:3], Reset()]))
    stream = chat().stream
    stream.exception(SOON)
    assert content(stream.snapshot()) == "one two"


def test_snapshots_while_the_reader_adds_to_it(server: ScriptedServer, chat: Chat) -> None:
    whole = chat_chunks([f"{number} " for number in range(2000)])
    text = "".join(f"{number} " for number in range(2000))
    server.play(answer(whole, events_per_chunk=50))
    stream = chat().stream
    longest = -1
    while not stream.done():
        snapshot = stream.snapshot()
        got = (content(snapshot) or "") if snapshot.choices else ""
        assert text.startswith(got)
        assert len(got) >= longest
        longest = len(got)
    assert content(stream.result()) == text


@pytest.mark.own_session("when it is connected, only requests knows")
def test_stats(server: ScriptedServer, chat: Chat) -> None:
    server.play(
        answer([Pause(0.05), *WHOLE[:2], b": waiting\n\n", Pause(0.1), *WHOLE[2:]]), answer(WHOLE)
    )
    begin = time.monotonic()
    events = chat()
    stream = events.stream
    stream.result(SOON)
    took = time.monotonic() - begin
    stats = stream.stats
    assert 0 < stats.connect_seconds < stats.first_event_seconds
    # The server's pauses, but for what passes between a send and the next wait.
    assert 0.04 <= stats.first_event_seconds < took
    assert 0.09 <= stats.longest_gap_seconds < took
    assert 0.14 <= stats.seconds <= took
    assert (stats.events, stats.keep_alives) == (len(WHOLE), 1)
    wait_until(lambda: stats.bytes == server.connections[0].sent)  # it counts after it sent
    time.sleep(0.02)
    assert stream.stats == stats  # at the end the clock has stopped

    again = chat().stream
    again.result(SOON)
    assert again.stats.connect_seconds == 0  # on the connection that was kept
    assert len(server.connections) == 1


def test_a_slow_callback_does_not_blur_the_stats(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    held = float(HELD_UP)
    slow = iter([held])
    stream = chat(on_next=lambda _: time.sleep(next(slow, 0)))
    stream.result(SOON)
    assert stream.stats.longest_gap_seconds < held
    assert stream.stats.first_event_seconds < held


# Callbacks -----------------------------------------------------------------------------------


class TestCallbacks:
    def test_of_a_stream_that_ends_well(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        log = Log()
        stream = chat(**log.callbacks)
        assert content(stream.result(SOON)) == "one two three"
        assert log.calls == [*(("next", event) for event in WHOLE), ("done", "one two three")]
        assert len(log.threads) == 1
        assert re.fullmatch(r"openai-stream-\d+", log.threads.pop())

    def test_of_a_stream_that_fails(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Reset()]))
        log = Log()
        stream = chat(**log.callbacks)
        error = stream.exception(SOON)
        assert isinstance(error, StreamInterruptedError)
        assert log.calls == [*(("next", event) for event in WHOLE[:2]), ("error", error)]

    def test_of_a_stream_that_is_closed(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        log = Log()
        stream = chat(**log.callbacks)
        wait_until(lambda: len(log.calls) == 2)
        stream.close()
        wait_for_readers()
        assert log.names == ["next", "next"]

    def test_each_stream_has_a_thread_with_a_number(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer([Hang()]), answer([Hang()]))
        before = {reader.name for reader in readers()}
        with chat(), chat():
            names = {reader.name for reader in readers()} - before
            assert len(names) == 2
            assert all(re.fullmatch(r"openai-stream-\d+", name) for name in names)

    def test_on_done_runs_before_anybody_is_told(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        inside, go = threading.Event(), threading.Event()

        def on_done(_: object) -> None:
            inside.set()
            assert go.wait(SOON)

        events = chat(on_done=on_done)
        got = [events.get(timeout=SOON) for _ in WHOLE]
        assert [event.to_dict() for event in got] == WHOLE
        assert inside.wait(SOON)
        assert events.stream.running()
        assert events.empty()
        with pytest.raises(TimeoutError):
            events.stream.result(timeout=0.02)
        go.set()
        assert events.get(timeout=SOON) is DONE
        assert events.stream.done()

    def test_on_done_and_the_result_are_the_same(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        got: list[ChatCompletion] = []
        assert chat(on_next=nothing, on_done=got.append).result(SOON) == got[0]

    def test_with_a_queue(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE), answer([WHOLE[0], Reset()]))
        done: list[ChatCompletion] = []
        errors: list[BaseException] = []
        events = chat(on_done=done.append, on_error=errors.append)
        assert len(list(events)) == len(WHOLE)
        assert ([content(whole) for whole in done], errors) == (["one two three"], [])
        events = chat(on_done=done.append, on_error=errors.append)
        with pytest.raises(StreamInterruptedError) as caught:
            list(events)
        assert (len(done), errors) == (1, [caught.value])

    def test_on_error_runs_before_the_queue_is_told(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer([Reset()]))
        inside, go = threading.Event(), threading.Event()

        def on_error(_: object) -> None:
            inside.set()
            assert go.wait(SOON)

        events = chat(on_error=on_error)
        assert inside.wait(SOON)
        assert events.empty()
        assert events.stream.running()
        go.set()
        with pytest.raises(StreamInterruptedError):
            events.get(timeout=SOON)

    def test_they_run_in_a_copy_of_the_callers_context(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
        go = threading.Event()
        seen: list[str] = []

        def note(_: object) -> None:
            seen.append(variable.get())
            variable.set("of the callback")

        server.play(answer([Wait(go), *WHOLE]))
        variable.set("of the caller")
        stream = chat(on_next=note, on_done=note)
        variable.set("of the caller, later")
        go.set()
        stream.result(SOON)
        assert seen == ["of the caller", *["of the callback"] * len(WHOLE)]
        assert variable.get() == "of the caller, later"

    @pytest.mark.parametrize("wait", ["result", "exception"])
    @pytest.mark.parametrize("callback", ["on_next", "on_done", "on_error"])
    def test_waiting_inside_a_callback_is_refused(
        self, server: ScriptedServer, chat: Chat, callback: str, wait: str
    ) -> None:
        go = threading.Event()
        server.play(
            answer([Wait(go), WHOLE[0], Reset()] if callback == "on_error" else [Wait(go), *WHOLE])
        )
        got: list[BaseException] = []

        def wait_inside(_: object) -> None:
            if not got:
                with pytest.raises(RuntimeError) as caught:
                    getattr(stream, wait)()
                got.append(caught.value)

        stream = chat(**{"on_next": nothing, callback: wait_inside})
        go.set()
        stream.exception(SOON)
        assert isinstance(got[0], RuntimeError)
        assert str(got[0]) == "a callback cannot wait for the end of its own stream"

    def test_a_callback_may_wait_for_another_stream(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(answer(WHOLE), answer(chat_chunks("four five")))
        got: list[str | None] = []
        stream = chat(
            on_next=nothing, on_done=lambda _: got.append(content(chat().stream.result(SOON)))
        )
        stream.result(SOON)
        assert got == ["four five"]


class TestCallbacksThatRaise:
    @pytest.mark.parametrize("raised", [ValueError("mine"), SystemExit(3), OSError("mine")])
    def test_on_next(
        self,
        server: ScriptedServer,
        chat: Chat,
        caplog: pytest.LogCaptureFixture,
        raised: BaseException,
    ) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        log = Log()

        def on_next(_: object) -> None:
            log.calls.append(("next", None))
            raise raised

        stream = chat(**{**log.callbacks, "on_next": on_next})
        assert stream.exception(SOON) is raised
        with pytest.raises(type(raised)) as caught:
            stream.result()
        assert caught.value is raised
        assert log.calls == [("next", None), ("error", raised)]
        assert caplog.records == []
        saw_the_close(server.connections[0])

    @pytest.mark.parametrize("raised", [ValueError("mine"), TimeoutError("mine")])
    def test_on_done(self, server: ScriptedServer, chat: Chat, raised: BaseException) -> None:
        server.play(answer(WHOLE), answer(WHOLE))
        log = Log()

        def on_done(_: object) -> None:
            raise raised

        stream = chat(**{**log.callbacks, "on_done": on_done})
        assert stream.exception(SOON) is raised
        assert log.names == [*["next"] * len(WHOLE), "error"]
        assert log.calls[-1] == ("error", raised)

        events = chat(on_done=on_done, on_error=nothing)
        for _ in WHOLE:
            events.get(timeout=SOON)
        with pytest.raises(type(raised)):
            events.get(timeout=SOON)

    @pytest.mark.parametrize("callback", ["on_next", "on_done"])
    @pytest.mark.parametrize("raised", [ValueError, OpenAIStreamError, StreamInterruptedError])
    def test_without_on_error_it_is_logged_with_its_traceback(
        self,
        server: ScriptedServer,
        chat: Chat,
        caplog: pytest.LogCaptureFixture,
        callback: str,
        raised: type[Exception],
    ) -> None:
        """Whatever it is: a callback may well make calls of its own, and those raise ours."""
        server.play(answer(WHOLE))

        def fails_here(_: object) -> None:
            raise raised("mine")

        stream = chat(**{"on_next": nothing, callback: fails_here})
        error = stream.exception(SOON)
        assert type(error) is raised
        (record,) = caplog.records
        assert (record.levelno, record.name) == (logging.ERROR, "openai_stream")
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert "fails_here" in caplog.text

    def test_a_failed_call_inside_a_callback_stays_as_it_was(
        self, server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.play(answer(WHOLE), error_answer(429, "not now"))
        stream = chat(on_next=lambda _: chat())
        error = stream.exception(SOON)
        assert isinstance(error, RateLimitError)
        assert error.__traceback__ is not None
        assert "not now" in caplog.text

    @pytest.mark.parametrize("mode", ["callbacks", "queue"])
    def test_on_error_is_logged(
        self, server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture, mode: str
    ) -> None:
        server.play(answer([Reset()]))

        def fails_here(_: object) -> None:
            raise ZeroDivisionError

        handle = chat(on_error=fails_here, **({"on_next": nothing} if mode == "callbacks" else {}))
        stream = handle if mode == "callbacks" else handle.stream
        assert isinstance(stream.exception(SOON), StreamInterruptedError)
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "fails_here" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    def test_no_event_comes_after_it(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE, events_per_chunk=100))
        calls: list[object] = []

        def on_next(event: object) -> None:
            calls.append(event)
            raise ValueError

        chat(on_next=on_next, on_error=nothing).exception(SOON)
        assert len(calls) == 1


# Close ---------------------------------------------------------------------------------------


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
        wait_until(lambda: events.stream._core.room._waiters)
        events.close()
        wait_for_readers()
        assert [event.to_dict() for event in events] == WHOLE[:1]
        saw_the_close(server.connections[0])

    @pytest.mark.parametrize("events_per_chunk", [1, 100])
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

    def test_in_on_next_by_an_answer_that_goes_on(self, server: ScriptedServer, chat: Chat) -> None:
        """Nobody was there to be woken, and the server says nothing more."""
        go = threading.Event()
        server.play(answer([Wait(go), WHOLE[0], Hang()]))
        stream: Stream[Any, Any] = chat(on_next=lambda _: stream.close())
        go.set()
        wait_for_readers()
        saw_the_close(server.connections[0])

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

    def test_in_on_error_changes_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play(answer([Wait(go), Reset()]))
        stream: Stream[Any, Any] = chat(on_next=nothing, on_error=lambda _: stream.close())
        go.set()
        assert isinstance(stream.exception(SOON), StreamInterruptedError)

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

    def test_calls_nothing(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([WHOLE[0], Hang()]), answer([WHOLE[0], Hang()]))
        log = Log()
        del log.callbacks["on_next"]
        events = chat(on_done=log.callbacks["on_done"], on_error=log.callbacks["on_error"])
        events.get(timeout=SOON)
        events.close()
        wait_for_readers()
        assert log.calls == []


# nowait --------------------------------------------------------------------------------------


class TestNowait:
    def test_returns_before_there_is_a_response(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play([Wait(go), *answer(WHOLE)])
        events = chat(nowait=True)
        assert events.empty()
        go.set()
        assert [event.to_dict() for event in events] == WHOLE

    def test_an_error_status_is_told_by_the_queue(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(error_answer(500, "broken"))
        events = chat(nowait=True)
        with pytest.raises(InternalServerError, match="broken"):
            events.get(timeout=SOON)
        assert isinstance(events.stream.exception(), InternalServerError)

    def test_a_refused_connection_is_told_by_callbacks(self) -> None:
        log = Log()
        with refused_url() as url, Client(api_key="test", base_url=url, max_retries=0) as client:
            stream = client.create_chat_completion(
                **BODY, stream=True, nowait=True, **log.callbacks
            )
            assert isinstance(stream.exception(SOON), APIConnectionError)
        assert log.names == ["error"]
        assert len(log.threads) == 1
        assert log.threads.pop().startswith("openai-stream-")

    def test_without_it_they_are_raised_from_the_call(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        server.play(error_answer(500, "broken"), error_answer(500, "broken"))
        log = Log()
        with pytest.raises(InternalServerError):
            chat()
        with pytest.raises(InternalServerError):
            chat(**log.callbacks)
        assert log.calls == []

    @pytest.mark.own_session("it is stopped when the headers are there")
    def test_close_while_waiting_for_the_headers(self, server: ScriptedServer, chat: Chat) -> None:
        server.play([Hang()])
        events = chat(nowait=True)
        server.wait_for_requests(1)
        events.close()
        assert events.get_nowait() is DONE
        saw_the_close(server.connections[0])

    def test_close_while_it_connects(self) -> None:
        with blackhole_url() as url, Client(api_key="test", base_url=url) as client:
            events: EventQueue[Any] = client.create_chat_completion(
                **BODY, stream=True, nowait=True
            )
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                getting = pool.submit(events.get)
                wait_until(lambda: events.not_empty._waiters)  # type: ignore[attr-defined]
                events.close()
                assert getting.result(SOON) is DONE
            assert events.stream.cancelled()

    def test_close_between_retries(self, server: ScriptedServer) -> None:
        server.play(error_answer(503, "later", headers={"Retry-After": "30"}))
        log = Log()
        with Client(api_key="test", base_url=server.base_url) as client:
            stream = client.create_chat_completion(
                **BODY, stream=True, nowait=True, **log.callbacks
            )
            server.wait_for_requests(1)
            stream.close()
            wait_for_readers()
        assert log.calls == []

    @pytest.mark.own_session("it is stopped when that step ends")
    def test_dropped_while_it_connects(self) -> None:
        with blackhole_url() as url, Client(api_key="test", base_url=url) as client:
            client.create_chat_completion(**BODY, stream=True, nowait=True)
            wait_for_readers()


# Deadlines that are the stream's --------------------------------------------------------------


def test_total_is_met_where_nobody_reads_a_full_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE, Hang()], events_per_chunk=100))
    begin = time.monotonic()
    events = chat(maxsize=1, timeout=Timeout(total=0.3))
    error = events.stream.exception(SOON)
    assert 0.3 <= time.monotonic() - begin < 1.3 + HELD_UP
    assert isinstance(error, StreamTimeoutError)
    assert "total" in str(error)
    got = []
    with pytest.raises(StreamTimeoutError):
        got.extend(events)
    assert [event.to_dict() for event in got] == WHOLE  # what had arrived is not lost
    saw_the_close(server.connections[0])


def test_total_is_met_against_a_server_that_floods(server: ScriptedServer, chat: Chat) -> None:
    server.play([*answer([], done=False)[:1], FLOOD])
    begin = time.monotonic()
    stream = chat(timeout=Timeout(total=0.3)).stream
    assert isinstance(stream.exception(SOON), StreamTimeoutError)
    assert 0.3 <= time.monotonic() - begin < 1.3 + HELD_UP


# Ownership -----------------------------------------------------------------------------------


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
        wait_until(lambda: stream._core.room._waiters)
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
        wait_until(lambda: stream._core.room._waiters)
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
        wait_until(lambda: core.room._waiters)
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


# One client ----------------------------------------------------------------------------------


def test_streams_one_after_another_use_one_connection(server: ScriptedServer, chat: Chat) -> None:
    server.always(answer(WHOLE))
    for _ in range(3):
        chat(on_next=nothing).result(SOON)
        events = chat()
        while events.get(timeout=SOON) is not DONE:
            pass
    assert len(server.connections) == 1


@pytest.mark.own_session("it is not closed with the client")
def test_closing_the_client_ends_no_stream(server: ScriptedServer, client: Client) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    stream = client.create_chat_completion(**BODY, stream=True).stream
    client.close()
    go.set()
    assert content(stream.result(SOON)) == "one two three"
    assert server.connections[0].closed.wait(SOON)


def test_a_stream_that_was_stopped_leaves_others_alone(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Hang()]), answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    stopped, other = chat(), chat()
    stopped.close()
    go.set()
    assert content(other.stream.result(SOON)) == "one two three"


# When no thread can be had --------------------------------------------------------------------

_NO_THREAD = """
import resource, sys, threading
from openai_stream import Client, OpenAIStreamError
url, mode, earlier = sys.argv[1:]
client = Client(api_key="test", base_url=url, max_retries=0)
called = []
if earlier == "True":
    client.create_chat_completion(model="any", messages=[], stream=True).stream.result()
# A stack that no address space has room for.
limit = 512 * 1024 * 1024
arguments = dict(model="any", messages=[], stream=True, on_error=called.append)
if mode == "callbacks":
    arguments["on_next"] = called.append
elif mode == "nowait":
    arguments["nowait"] = True
threading.stack_size(limit * 2)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    client.create_chat_completion(**arguments)
except OpenAIStreamError as error:
    print("raised:", error)
else:
    print("started")
assert called == []
assert [one.name for one in threading.enumerate()] == ["MainThread"]
print("threads:", threading.active_count())
sys.stdin.readline()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize("mode", ["queue", "callbacks", "nowait"])
@pytest.mark.parametrize("earlier", [False, True])
def test_without_a_thread_nothing_is_left_open(
    server: ScriptedServer, mode: str, earlier: bool
) -> None:
    """The first stream looks before it sends anything; a later one closes the response."""
    server.play(*[answer(WHOLE)] * earlier, answer([WHOLE[0], Hang()]))
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", _NO_THREAD, server.base_url, mode, str(earlier)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        try:
            first = script.stdout.readline()
            assert "cannot start a reader thread" in first, (first, script.stderr)
            assert script.stdout.readline() == "threads: 1\n"
            if mode == "nowait" or not earlier:
                assert len(server.requests) == earlier
            else:  # while the script still lives
                saw_the_close(server.connections[0])
        finally:
            _, complaints = script.communicate("\n", timeout=SOON)
        assert (script.returncode, complaints) == (0, "")


def test_shutdown_of_a_queue_is_no_failure(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(stream_close=True)
    events.get(timeout=SOON)
    events.shutdown()
    assert events.stream.cancelled()
    assert events.get() is DONE
    with pytest.raises(ShutDown):
        events.get()


def test_how_a_stream_looks_in_each_state(server: ScriptedServer, chat: Chat) -> None:
    seen: list[str] = []

    def look(_: object) -> None:
        seen.append(repr(stream))

    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)], answer([Reset()]), answer([Hang()]))
    stream = chat(on_done=look, on_next=nothing, nowait=True)
    look(None)
    go.set()
    stream.result(SOON)
    look(None)
    stream = chat().stream
    stream.exception(SOON)
    look(None)
    stream = chat().stream
    look(None)
    stream.close()
    look(None)
    states = ["connecting", "ending", "done", "failed", "streaming", "cancelled"]
    assert seen == [f"<Stream of /chat/completions, {state}>" for state in states]


def test_stats_before_there_is_an_answer(server: ScriptedServer, chat: Chat) -> None:
    server.play([Hang()])
    with chat(nowait=True) as events:
        stats = events.stream.stats
        assert stats.first_event_seconds is None
        assert stats.longest_gap_seconds == 0.0
        assert (stats.events, stats.keep_alives, stats.bytes) == (0, 0, 0)
        assert 0 <= stats.seconds < SOON


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_handles_are_not_copied(
    server: ScriptedServer, chat: Chat, duplicate: Callable[[Any], Any]
) -> None:
    server.play(answer(WHOLE))
    events = chat()
    with pytest.raises(
        TypeError, match=r"^a stream has a thread, and is not to be copied or pickled$"
    ):
        duplicate(events.stream)
    assert content(events.stream.result(SOON)) == "one two three"


def test_a_failure_in_callback_mode_is_logged_where_nobody_else_is_told(
    server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(
        answer([WHOLE[0], Reset()]), answer([WHOLE[0], Reset()]), answer([WHOLE[0], Reset()])
    )
    told: list[BaseException] = []
    chat(on_next=lambda event: None, on_error=told.append).exception(SOON)
    chat().stream.exception(SOON)
    assert told
    assert not caplog.records
    chat(on_next=lambda event: None).exception(SOON)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], StreamInterruptedError)


@pytest.mark.parametrize("ends", ["subscriber", "queue", "stream"])
def test_ending_in_a_signals_handler_while_the_lock_is_held(
    server: ScriptedServer, chat: Chat, ends: str
) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(replay=True)
    subscriber = events.stream.subscribe()
    end = {
        "subscriber": subscriber.close,
        "queue": events.shutdown,
        "stream": events.stream.close,
    }[ends]
    before = signal.signal(signal.SIGUSR1, lambda *_: end())
    try:
        with events.mutex:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [type(item) for item in subscriber] in ([], [type(events.get(timeout=SOON))])
    events.close()
