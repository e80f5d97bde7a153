"""Waiting for the end of a stream, as for a future."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import Any

import pytest
from helpers import SOON, Chat
from streaming import WHOLE, content, nothing, saw_the_close, wait_until

from openai_stream import (
    ChatCompletion,
    Stream,
    StreamInterruptedError,
)
from openai_stream.testing import (
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
)


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
