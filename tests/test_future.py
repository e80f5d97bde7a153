"""Done callbacks, and the result as a future of the standard library."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import os
import signal
import threading
import warnings
import weakref
from concurrent.futures import CancelledError
from typing import Any

import pytest
from helpers import SOON

from openai_stream import ChatCompletion, Client, Stream, StreamInterruptedError
from openai_stream.testing import Hang, ScriptedServer, Wait, answer, chat_chunks

CHUNKS = chat_chunks("one two three")


def start(client: Client, **arguments: Any) -> Any:
    events = client.create_chat_completion(model="m", messages=[], stream=True, **arguments)
    return events if isinstance(events, Stream) else events.stream


class Called:
    """A done callback that remembers."""

    def __init__(self) -> None:
        self.streams: list[Stream[Any, Any]] = []
        self.threads: list[str] = []
        self.event = threading.Event()

    def __call__(self, stream: Stream[Any, Any]) -> None:
        assert stream.done()
        self.threads.append(threading.current_thread().name)
        self.streams.append(stream)
        self.event.set()


# Done callbacks ------------------------------------------------------------------------------


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_called_last_on_the_reader_thread(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    order: list[str] = []
    server.play(answer([*CHUNKS[:2], Wait(rest), *CHUNKS[2:]]))
    stream = start(client, on_next=lambda _: None, on_done=lambda _: order.append("on_done"))
    called = Called()
    stream.add_done_callback(lambda stream: order.append(stream.result().choices[0].finish_reason))
    stream.add_done_callback(called)
    rest.set()
    assert called.event.wait(SOON)
    assert order == ["on_done", "stop"]
    assert called.streams == [stream]
    assert called.threads[0].startswith("openai-stream-")


def test_called_at_once_where_it_is_over(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS))
    stream = start(client)
    over = Called()
    stream.add_done_callback(over)
    assert over.event.wait(SOON)
    again = Called()
    stream.add_done_callback(again)
    assert again.threads == [threading.current_thread().name]


def test_called_after_an_error_and_after_a_close(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS, fault="cut"), answer([*CHUNKS[:2], Hang()]))
    failed, closed = Called(), Called()
    broken = start(client)
    broken.add_done_callback(failed)
    assert failed.event.wait(SOON)
    assert isinstance(failed.streams[0].exception(), StreamInterruptedError)
    stream = start(client)
    stream.add_done_callback(closed)
    stream.close()
    assert closed.event.wait(SOON)
    assert closed.streams[0].cancelled()


def test_called_where_the_handle_was_dropped(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    called = Called()
    stream = start(client)
    stream.add_done_callback(called)
    del stream
    gc.collect()
    assert called.event.wait(SOON)
    assert called.streams[0].cancelled()


def test_what_it_raises_is_logged(
    server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(answer(CHUNKS))
    stream = start(client)
    called = Called()
    stream.add_done_callback(lambda _: 1 / 0)
    stream.add_done_callback(called)
    assert called.event.wait(SOON)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.message == "a done callback raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def coroutine(_: object) -> None: ...


@pytest.mark.parametrize("fn", [None, 5, coroutine])
def test_refuses_what_cannot_be_called(server: ScriptedServer, client: Client, fn: Any) -> None:
    server.play(answer(CHUNKS))
    stream = start(client)
    with pytest.raises(TypeError, match="fn must be"):
        stream.add_done_callback(fn)
    stream.result(SOON)


# Futures -------------------------------------------------------------------------------------


def test_many_are_waited_for(server: ScriptedServer, client: Client) -> None:
    server.always(answer(CHUNKS))
    futures = {start(client).future(): n for n in range(8)}
    done = [futures[future] for future in concurrent.futures.as_completed(futures, SOON)]
    assert sorted(done) == list(range(8))
    for future in futures:
        assert isinstance(future.result(), ChatCompletion)
        assert future.exception() is None
        assert not future.running()
        assert not future.cancel()
        assert not future.cancelled()


def test_of_a_stream_that_is_over(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS))
    stream = start(client)
    whole = stream.result(SOON)
    assert stream.future().result(SOON) == whole


def test_has_the_error(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS, fault="cut"))
    stream = start(client)
    future = stream.future()
    assert future.exception(SOON) is stream.exception()
    with pytest.raises(StreamInterruptedError):
        future.result()


@pytest.mark.parametrize("through", ["future", "stream"])
def test_cancel_closes_the_stream(server: ScriptedServer, client: Client, through: str) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    stream = start(client)
    future = stream.future()
    assert future.running()
    told = threading.Event()
    future.add_done_callback(lambda _: told.set())
    if through == "future":
        assert future.cancel()
        assert stream.cancelled()
    else:
        stream.close()
    assert told.wait(SOON)
    assert concurrent.futures.wait([future], SOON).not_done == set()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(SOON)
    (connection,) = server.connections
    assert connection.client_closed.wait(SOON)


def test_a_coroutine_awaits_it(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS), answer([*CHUNKS[:2], Hang()]))

    async def ask() -> ChatCompletion:
        whole: ChatCompletion = await asyncio.wrap_future(start(client).future())
        return whole

    async def give_up() -> Stream[Any, Any]:
        stream: Stream[Any, Any] = start(client)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(stream.future()), 0.1)
        return stream

    assert asyncio.run(ask()).choices[0].message.content == "one two three"
    assert asyncio.run(give_up()).cancelled()


def test_it_holds_the_stream_and_the_stream_does_not_hold_it(
    server: ScriptedServer, client: Client
) -> None:
    rest = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(rest), *CHUNKS[2:]]), answer([*CHUNKS[:2], Hang()]))
    future = start(client).future()
    gc.collect()
    rest.set()
    assert future.result(SOON).choices[0].finish_reason == "stop"
    dropped = start(client).future()
    ref = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert ref() is None
    assert server.wait_for_connections(1)[-1].client_closed.wait(SOON)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_it_does_not_wait_for_ever(
    server: ScriptedServer, client: Client
) -> None:
    """Nor does the stream's own ``result()``."""
    server.play(answer([*CHUNKS[:2], Hang()]))
    future = start(client).future()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(int(SOON))
        try:
            future.result()
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert future.cancel()


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_in_a_callback_it_does_not_wait_for_ever(server: ScriptedServer, client: Client) -> None:
    go = threading.Event()
    futures: list[concurrent.futures.Future[Any]] = []
    refused: list[BaseException] = []

    def on_next(event: object) -> None:
        try:
            futures[0].result()
        except RuntimeError as error:
            refused.append(error)

    server.play([Wait(go), *answer(CHUNKS)])
    stream = start(client, on_next=on_next, nowait=True)
    ended: list[str] = []
    # Before the future is made: it is settled behind this.
    stream.add_done_callback(lambda _: ended.append(futures[0].result().choices[0].finish_reason))
    futures.append(stream.future())
    go.set()
    assert futures[0].result(SOON)
    stream.result(SOON)
    assert len(refused) == len(CHUNKS)
    assert ended == ["stop"]


class Raising(logging.Handler):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("over", [True, False])
def test_a_logging_handler_that_raises_keeps_nobody_waiting(
    server: ScriptedServer,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    over: bool,
    error: type[BaseException],
) -> None:
    """What it raises is told as what ends a thread is; and if that raises too, nothing is."""
    told: list[Any] = []

    def hook(args: threading.ExceptHookArgs) -> None:
        told.append(args.exc_type)
        raise ValueError("the hook's own")

    monkeypatch.setattr(threading, "excepthook", hook)
    rest = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(rest), *CHUNKS[2:]]))
    stream = start(client)
    logger, handler = logging.getLogger("openai_stream"), Raising(error)
    logger.addHandler(handler)
    try:
        if over:
            rest.set()
            stream.result(SOON)

        def fail(stream: object) -> None:
            raise KeyError("a done callback's")

        stream.add_done_callback(fail)
        called = Called()
        stream.add_done_callback(called)
        future = stream.future()
        rest.set()
        assert future.result(SOON).choices[0].finish_reason == "stop"
        assert called.event.wait(SOON)
    finally:
        logger.removeHandler(handler)
    assert told == [error]


@pytest.mark.limit(120)
def test_a_cancel_races_the_end(server: ScriptedServer, client: Client) -> None:
    for _ in range(100):
        server.play(answer(CHUNKS))
        stream = start(client)
        future = stream.future()
        threads = [threading.Thread(target=future.cancel) for _ in range(2)]
        for thread in threads:
            thread.start()
        done = concurrent.futures.wait([future], SOON)
        for thread in threads:
            thread.join(SOON)
        assert done.not_done == set()
        assert future.cancelled() == stream.cancelled()
