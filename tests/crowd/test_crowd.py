"""Many streams on few threads: what a thread each would have brought, and which threads there are.

The tests of behaviour run over a crowd too (``ways.py``); here is what only a crowd can get wrong.
"""

from __future__ import annotations

import contextvars
import gc
import queue
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Literal

import pytest
from helpers import SOON, Chat
from machine import HELD_UP
from streaming import BODY, FLOOD, WHOLE, HeldQueue, content, reading, saw_the_close, wait_until

from openai_stream import (
    DONE,
    Client,
    EventQueue,
    Restarted,
    Stream,
    StreamInterruptedError,
    StreamTimeoutError,
    Tagged,
    Timeout,
    retrying,
)
from openai_stream.stream.loop import Loop
from openai_stream.testing import (
    Call,
    Hang,
    Repeat,
    Reset,
    ScriptedServer,
    Send,
    Wait,
    answer,
    chat_chunks,
    chunk,
    frame,
)

LONG = "word " * 4000


def threads(prefix: str = "openai-stream-") -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(prefix)]


def crowds() -> list[str]:
    return threads("openai-stream-readers-")


def alone() -> list[str]:
    """Streams that have a thread of their own."""
    return [name for name in threads() if name not in crowds()]


def text(stream: Any) -> str | None:
    return content(stream.result(SOON))


# What is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_reads_every_kind_of_body(
    either_server: ScriptedServer,
    framing: Literal["chunked", "length", "close"],
    encoding: Literal["gzip", "deflate"] | None,
) -> None:
    go = threading.Event()
    script = answer([Wait(go), *chat_chunks(LONG)], framing=framing, encoding=encoding)
    either_server.always(lambda _: script)
    with reading(either_server, 1) as client:
        streams = [client.create_chat_completion(**BODY, stream=True) for _ in range(4)]
        assert len(crowds()) == 1
        assert not alone()
        go.set()
        for events in streams:
            assert "".join(events.text()) == LONG == text(events.stream)


def test_takes_what_came_with_the_headers(server: ScriptedServer, chat: Chat) -> None:
    """It is in a buffer by then, and its socket stays silent."""
    whole = b"".join(part for part in answer(WHOLE) if isinstance(part, bytes))
    server.play([whole, Hang()])
    assert text(chat().stream) == "one two three"


def test_takes_what_tls_has_decrypted_already(tls_server: ScriptedServer) -> None:
    """Several records that come together, and then nothing: no look at the socket shows them."""
    frames = [frame(one) for one in chat_chunks(LONG)]
    body = chunk(b"".join(frames))
    for size in (1_000, 16_384, 16_385, 50_000, len(body)):
        sends = [Send(body[at : at + size]) for at in range(0, len(body), size)]
        tls_server.play([*answer([], done=False)[:1], *sends, Hang()])
        with reading(tls_server, 1) as client:
            events = client.create_chat_completion(**BODY, stream=True)
            pieces, got = events.text(), ""
            while len(got) < len(LONG):
                got += next(pieces)
            assert got == LONG
            events.close()


@pytest.mark.parametrize("deadline", ["idle", "gap"])
def test_what_came_while_the_reader_was_held_up_is_no_silence(
    server: ScriptedServer, deadline: str
) -> None:
    """A ``put`` of one keeps the reader from another for longer than that one may wait."""
    holding = HeldQueue()
    limit = 0.5 + HELD_UP / 4
    begun = answer(WHOLE[:1], done=False)[:-1]
    server.play([*begun, Wait(holding.held), *[chunk(frame(one)) for one in WHOLE[1:]], Hang()])
    with reading(server, 1) as client:
        events = client.create_chat_completion(
            **BODY, stream=True, timeout=Timeout(**{deadline: limit})
        )
        events.get(timeout=SOON)
        server.play(answer(WHOLE))
        other = client.create_chat_completion(**BODY, stream=True, queue=holding)
        assert holding.held.wait(SOON)
        time.sleep(1.5 * limit)
        holding.go.set()
        assert [events.get(timeout=SOON).to_dict() for _ in WHOLE[1:]] == WHOLE[1:]
        with pytest.raises(StreamTimeoutError):  # from then on it is one
            events.get(timeout=SOON)
        other.result(SOON)


def test_reads_the_records_of_tls_that_have_come_together(
    tls_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read gives one, however small. With others to be read, each would wait for them all."""
    rounds = 0

    class Counting(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            nonlocal rounds
            rounds += 1
            return super().select(timeout)

    monkeypatch.setattr(Loop, "selector", Counting)
    holding = HeldQueue()
    body = chunk(b"".join(frame(one) for one in chat_chunks("word " * 30)))
    sends = [Send(body[at : at + 7]) for at in range(0, len(body), 7)]
    tls_server.play(answer(WHOLE), [*answer([], done=False)[:1], *sends, *answer([])[1:]])
    with reading(tls_server, 1) as client:
        other = client.create_chat_completion(**BODY, stream=True, queue=holding)
        assert holding.held.wait(SOON)
        events = client.create_chat_completion(**BODY, stream=True)
        wait_until(lambda: tls_server.connections[1].sent > len(body))
        rounds = 0
        holding.go.set()
        assert text(events.stream) == "word " * 30
        assert rounds < len(sends) / 20
        other.result(SOON)


def test_counts_the_bytes_of_the_wire(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer(WHOLE))
    events = chat()
    assert text(events.stream) == "one two three"
    sent = server.connections[0].sent
    assert events.stream.stats.bytes == sent
    assert events.stream.stats.events == len(WHOLE)


def test_keeps_the_connection(either_server: ScriptedServer) -> None:
    either_server.always(lambda _: answer(WHOLE))
    with reading(either_server, 1) as client:
        for _ in range(5):
            events = client.create_chat_completion(**BODY, stream=True)
            assert text(events.stream) == "one two three"
    assert len(either_server.connections) == 1


def test_the_end_of_a_body_holds_nobody_up(server: ScriptedServer, chat: Chat) -> None:
    """A server that never ends its body gets 20 milliseconds, in which others are read."""
    server.play(*[[*answer(WHOLE)[:-1], Hang()]] * 20)
    streams = [chat().stream for _ in range(20)]
    begun = time.monotonic()
    assert [text(stream) for stream in streams] == ["one two three"] * 20
    assert time.monotonic() - begun < 20 * 0.02 * max(1.0, float(HELD_UP))
    for connection in server.connections:
        saw_the_close(connection)


# Which threads there are -----------------------------------------------------------------------


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_has_no_more_threads_than_it_may(server: ScriptedServer, readers: int) -> None:
    server.always(lambda _: answer([WHOLE[0], Hang()]))
    with reading(server, readers) as client:
        streams = [client.create_chat_completion(**BODY, stream=True) for _ in range(7)]
        for events in streams:
            events.get(timeout=SOON)
        assert len(crowds()) == readers
        assert not alone()
        [crowd] = client._crowds._crowds.values()
        assert sorted(loop.load() for loop in crowd._loops) == sorted(
            len(range(number, 7, readers)) for number in range(readers)
        )
        for events in streams:
            events.close()
        wait_until(lambda: not threads())


def test_its_threads_go_and_come_again(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer(WHOLE))
    for _ in range(5):
        assert text(chat().stream) == "one two three"
        wait_until(lambda: not threads())


def test_outlives_its_client(server: ScriptedServer) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    with reading(server, 1) as client:
        stream = client.create_chat_completion(**BODY, stream=True).stream
    del client
    gc.collect()
    go.set()
    assert text(stream) == "one two three"


def test_connects_on_a_thread_that_ends_with_nowait(server: ScriptedServer, chat: Chat) -> None:
    headers, go = threading.Event(), threading.Event()
    server.play([Wait(headers), *answer([WHOLE[0], Wait(go), *WHOLE[1:]])])
    events = chat(nowait=True)
    wait_until(lambda: len(alone()) == 1)
    headers.set()
    events.get(timeout=SOON)
    wait_until(lambda: not alone())
    assert len(crowds()) == 1
    go.set()
    assert text(events.stream) == "one two three"


@pytest.mark.parametrize("name", ["on_next", "on_done", "on_error"])
def test_leaves_what_has_callbacks_alone(server: ScriptedServer, chat: Chat, name: str) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    sink: dict[str, Any] = {} if name == "on_next" else {"queue": queue.SimpleQueue()}
    stream = chat(**{name: lambda _: None}, **sink)
    wait_until(lambda: len(alone()) == 1)
    assert not crowds()
    stream.close()
    wait_until(lambda: not threads())


def test_a_restart_has_a_thread_and_comes_back(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "backoff", lambda _: 0.0)
    asked, go = threading.Event(), threading.Event()
    server.play(
        answer([*WHOLE[:2], Reset()]),
        [Call(asked.set), Wait(go), *answer([WHOLE[0], Hang()])],
    )
    events = chat(restarts=1)
    assert asked.wait(SOON)
    wait_until(lambda: not crowds())
    assert len(alone()) == 1
    go.set()
    got = [events.get(timeout=SOON) for _ in range(4)]
    assert isinstance(got[2], Restarted)
    wait_until(lambda: not alone())
    assert len(crowds()) == 1
    events.close()
    wait_until(lambda: not threads())


@pytest.mark.limit(120)
def test_a_thousand_streams_on_two_threads(server: ScriptedServer) -> None:
    begun = threading.Semaphore(0)
    go = threading.Event()
    server.always(lambda _: answer([Call(begun.release), Wait(go), *WHOLE]))
    with reading(server, 2) as client:
        shared: queue.SimpleQueue[Tagged] = queue.SimpleQueue()
        streams: list[Stream[Any, Any]] = []
        for number in range(1000):
            arguments: dict[str, Any] = {"queue": shared, "tag": number, "nowait": number % 2 == 0}
            streams.append(client.create_chat_completion(**BODY, stream=True, **arguments))
        for _ in streams:
            assert begun.acquire(timeout=SOON)
        wait_until(lambda: len(threads()) == 2)
        stopped = streams[::100]
        for stream in stopped:
            stream.close()
        go.set()
        items: dict[int, list[Any]] = {number: [] for number in range(1000)}
        while any(not got or got[-1] is not DONE for got in items.values()):
            tag, item = shared.get(timeout=SOON)
            items[tag].append(item)
        assert [number for number, got in items.items() if len(got) == 1] == [*range(0, 1000, 100)]
        assert {len(got) for got in items.values()} == {1, len(WHOLE) + 1}
    wait_until(lambda: not threads())


# Who waits, and who does not --------------------------------------------------------------------


def test_a_full_queue_holds_its_own_stream_back(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(chat_chunks(LONG)), answer(chat_chunks(LONG)))
    full, other = chat(maxsize=2), chat()
    assert text(other.stream) == LONG
    assert full.qsize() == 2
    assert "".join(full.text()) == LONG == text(full.stream)


def test_a_full_queue_holds_the_server_back(server: ScriptedServer, chat: Chat) -> None:
    server.play([*answer([], done=False)[:1], FLOOD])
    events = chat(maxsize=1)
    assert server.connections[0].wait_until_blocked()
    events.get(timeout=SOON)
    events.close()
    saw_the_close(server.connections[0])


def test_close_ends_what_waits_for_room(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE, Hang()]))
    events = chat(maxsize=1)
    wait_until(events.full)
    events.close()
    saw_the_close(server.connections[0])
    wait_until(lambda: not threads())


def test_an_error_waits_for_room_behind_what_came(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE, Reset()], done=False, events_per_chunk=10))
    events = chat(maxsize=1)
    got = [events.get(timeout=SOON).to_dict() for _ in range(2)]
    assert got == WHOLE[:2]


def test_total_ends_what_waits_for_room(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE, Hang()], events_per_chunk=len(WHOLE)))  # one read has them all
    limit = 0.3 + HELD_UP / 4  # for all to come, however busy the machine is
    events = chat(maxsize=1, timeout=Timeout(total=limit))
    assert isinstance(events.stream.exception(SOON), StreamTimeoutError)
    assert [events.get(timeout=SOON).to_dict() for _ in WHOLE] == WHOLE


def test_idle_does_not_run_while_there_is_no_room(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat(maxsize=1, timeout=Timeout(idle=0.2, gap=0.2))
    wait_until(events.full)
    time.sleep(0.5)
    assert len([*events]) == len(WHOLE)


def test_each_deadline_is_met_among_many(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer([WHOLE[0], Hang()]))
    begun = time.monotonic()
    seconds = [0.2 + 0.05 * number for number in range(12)]
    streams = [chat(timeout=Timeout(idle=idle)).stream for idle in reversed(seconds)]
    errors = [stream.exception(SOON) for stream in streams]
    assert all(isinstance(error, StreamTimeoutError) for error in errors)
    for stream, idle in zip(streams, reversed(seconds), strict=True):
        assert idle - 0.05 <= stream.stats.seconds < idle + 0.5
    assert time.monotonic() - begun < seconds[-1] + 2


def test_a_flood_starves_nobody(server: ScriptedServer, chat: Chat) -> None:
    flood = Repeat(chunk(frame(WHOLE[1]) * 1000))
    server.play([*answer([], done=False)[:1], flood])
    server.always(lambda _: answer(WHOLE, delay=0.001))
    flooding = chat(queue=_Dropping())
    begun = time.monotonic()
    for _ in range(20):
        assert text(chat().stream) == "one two three"
    assert time.monotonic() - begun < 10
    assert flooding.running()
    flooding.close()


class _Dropping:
    """A queue that keeps nothing."""

    def put(self, item: Any) -> None: ...


def test_holds_no_stream_that_has_ended(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer(WHOLE), answer([Wait(go), *WHOLE]))
    first, second = chat(), chat()
    assert text(first.stream) == "one two three"
    core = weakref.ref(first.stream._core)
    del first
    gc.collect()
    wait_until(lambda: gc.collect() is not None and core() is None)
    go.set()
    assert text(second.stream) == "one two three"


@pytest.mark.parametrize("how", ["ends", "closed", "fails", "full"])
def test_leaves_no_circle_behind(server: ScriptedServer, chat: Chat, how: str) -> None:
    """Nothing of a stream waits for the garbage collector."""
    script = answer([WHOLE[0], Reset()]) if how == "fails" else answer([*WHOLE, Hang()])
    server.play(answer(WHOLE) if how == "ends" else script)
    gc.collect()
    gc.disable()
    try:
        events = chat(maxsize=1 if how == "full" else 0)
        known = weakref.ref(events.stream._core)
        events.get(timeout=SOON)
        if how in ("closed", "full"):
            events.close()
        if how == "fails":  # raised, the error would lead to the queue by its traceback
            assert isinstance(events.stream.exception(SOON), StreamInterruptedError)
        del events
        wait_until(lambda: not threads())
        wait_until(lambda: known() is None)
    finally:
        gc.enable()


def test_costs_nothing_while_nothing_comes(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer([*WHOLE, Hang()]))
    streams = [chat(maxsize=number % 2) for number in range(20)]
    for events in streams:
        events.get(timeout=SOON)
    wait_until(lambda: all(events.full() for events in streams[1::2]))
    time.sleep(0.05)
    begun = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begun < 0.1
    for events in streams:
        events.close()


# What is the user's own ------------------------------------------------------------------------


def test_a_put_may_close_its_stream(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), *WHOLE]))

    class Closing:
        def __init__(self) -> None:
            self.items: list[Any] = []

        def put(self, item: Any) -> None:
            self.items.append(item)
            stream.close()

    taken = Closing()
    stream = chat(queue=taken)
    go.set()
    wait_until(lambda: not threads())
    assert taken.items[0].to_dict() == WHOLE[0]
    assert taken.items[1:] == [DONE]
    assert stream.cancelled()


def test_a_put_that_raises_ends_its_own_stream(server: ScriptedServer, chat: Chat) -> None:
    class Refusing:
        def put(self, item: Any) -> None:
            raise KeyError("no room for it")

    go = threading.Event()
    server.always(lambda _: answer([Wait(go), *WHOLE]))
    streams = [chat().stream, chat(queue=Refusing()), chat().stream]
    go.set()
    assert text(streams[0]) == text(streams[2]) == "one two three"
    assert isinstance(streams[1].exception(SOON), KeyError)


def test_a_put_is_called_in_the_context_of_the_call(server: ScriptedServer, chat: Chat) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    go = threading.Event()
    server.always(lambda _: answer([Wait(go), *WHOLE]))

    class Noting:
        def __init__(self) -> None:
            self.seen: set[str] = set()

        def put(self, item: Any) -> None:
            self.seen.add(who.get())

    noted = {}
    streams = []
    for name in ("one", "two"):
        token = who.set(name)
        noted[name] = Noting()
        streams.append(chat(queue=noted[name]))
        streams[-1].add_done_callback(lambda _, noting=noted[name]: noting.put(None))
        who.reset(token)
    go.set()
    for stream in streams:
        stream.result(SOON)
    wait_until(lambda: not threads())
    assert {name: one.seen for name, one in noted.items()} == {"one": {"one"}, "two": {"two"}}


def list_of(events: EventQueue[Any]) -> object:
    return [*events]


@pytest.mark.limit(30)
@pytest.mark.parametrize("begun", ["before", "there", "there, not connected"])
@pytest.mark.parametrize(
    "wait_for",
    [
        lambda events: events.stream.result(),
        lambda events: events.stream.exception(SOON),
        list_of,
        lambda events: events.get(),
        lambda events: list_of(events.stream.subscribe()),
    ],
    ids=["result", "exception", "loop", "get", "subscribe"],
)
def test_a_done_callback_cannot_wait_for_a_stream_of_its_crowd(
    server: ScriptedServer, chat: Chat, wait_for: Callable[[Any], object], begun: str
) -> None:
    """No thread would be left to read it. What does not wait for ever, and what has ended, can."""
    go = threading.Event()
    server.always(lambda _: answer(WHOLE))
    over = chat()
    assert text(over.stream) == "one two three"
    server.play(answer([Wait(go), *WHOLE]), answer([Hang()]))
    first = chat()
    second = [chat(replay=True)] if begun == "before" else []
    raised: list[BaseException] = []

    def wait(_: object) -> None:
        events = second[0] if second else chat(replay=True, nowait="not" in begun)
        try:
            assert text(over.stream) == "one two three"
            with pytest.raises(queue.Empty):
                events.get(timeout=0.001)
            with pytest.raises(queue.Empty):
                events.get_nowait()
            wait_for(events)
        except BaseException as error:
            raised.append(error)
        events.close()

    first.stream.add_done_callback(wait)
    go.set()
    wait_until(lambda: raised)
    assert isinstance(raised[0], RuntimeError)
    assert "cannot wait" in str(raised[0])
    wait_until(lambda: not threads())


def test_a_break_is_told_to_one(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), Reset()]), answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    broken, whole = chat(), chat()
    go.set()
    assert isinstance(broken.stream.exception(SOON), StreamInterruptedError)
    assert text(whole.stream) == "one two three"


def test_a_client_of_two_readers_serves_many_threads(server: ScriptedServer) -> None:
    server.always(lambda _: answer(WHOLE))
    with reading(server, 2) as client:
        texts: list[str | None] = []

        def ask(client: Client = client) -> None:
            for _ in range(10):
                texts.append(text(client.create_chat_completion(**BODY, stream=True).stream))

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    assert texts == ["one two three"] * 80


def test_a_socket_is_as_it_was_when_it_is_kept(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer(WHOLE))
    client_sockets: list[socket.socket] = []
    events = chat()
    assert text(events.stream) == "one two three"
    wait_until(lambda: not threads())
    response: Any = events.stream._core.response
    pool = response.raw._pool
    connection = pool.pool.get()
    client_sockets.append(connection.sock)
    assert connection.sock.getblocking()
    pool.pool.put(connection)
