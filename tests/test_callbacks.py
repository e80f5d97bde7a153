"""Callbacks, those that raise, and connecting on the reader thread."""

from __future__ import annotations

import concurrent.futures
import contextvars
import logging
import re
import threading
from typing import Any

import pytest
from helpers import SOON, Chat
from streaming import (
    BODY,
    WHOLE,
    Log,
    content,
    nothing,
    readers,
    saw_the_close,
    wait_for_readers,
    wait_until,
)

from openai_stream import (
    DONE,
    APIConnectionError,
    ChatCompletion,
    Client,
    EventQueue,
    InternalServerError,
    OpenAIStreamError,
    RateLimitError,
    StreamInterruptedError,
)
from openai_stream.testing import (
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    error_answer,
    refused_url,
)


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
