"""What should not be in a crowd's thread: bugs, selectors that fail, forks, no more threads."""

from __future__ import annotations

import gc
import os
import selectors
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import SOON, Chat
from streaming import (
    BODY,
    WHOLE,
    HeldQueue,
    content,
    reading,
    saw_the_close,
    wait_for_no_room,
    wait_until,
)

from openai_stream import DONE, Client, EventQueue, Fallback, OpenAIStreamError, Restarted
from openai_stream.protocol import StreamProtocol
from openai_stream.stream.exit import live
from openai_stream.stream.loop import Loop
from openai_stream.stream.reader import Reader
from openai_stream.stream.reading import Reading
from openai_stream.stream.sinks import QueueSink
from openai_stream.testing import Hang, Reset, ScriptedServer, Wait, answer, chat_chunks
from openai_stream.transport import Turns


class Planted(Exception):
    """Nobody expects it."""


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("openai-stream-")]


def three(server: ScriptedServer, chat: Chat) -> tuple[threading.Event, list[EventQueue[Any]]]:
    """Streams of one thread that have begun, and what lets them go on."""
    go = threading.Event()
    server.always(lambda _: answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    streams = [chat() for _ in range(3)]
    for events in streams:
        assert events.get(timeout=SOON).to_dict() == WHOLE[0]
    return go, streams


def only_one_ended(streams: list[EventQueue[Any]]) -> OpenAIStreamError:
    """The error of the one that ended, when the others have ended well."""
    failed = [events for events in streams if events.stream.exception(SOON) is not None]
    assert len(failed) == 1
    for events in streams:
        if events is not failed[0]:
            assert content(events.stream.result(SOON)) == "one two three"
    error = failed[0].stream.exception(SOON)
    assert isinstance(error, OpenAIStreamError)
    return error


def once(work: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """The function, but for its first call."""
    calls = iter([True])

    def planted(*args: Any, **kwargs: Any) -> Any:
        if next(calls, False):
            raise error
        return work(*args, **kwargs)

    return planted


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Reading, "go_on"),
        (Reading, "_read"),
        (Turns, "fetch"),
        (StreamProtocol, "feed"),
        (QueueSink, "flush"),
        (Loop, "watch"),
        (Loop, "_set_alarm"),
    ],
)
@pytest.mark.parametrize("kind", [Planted, MemoryError, SystemExit])
def test_a_planted_exception_ends_one_stream(
    server: ScriptedServer,
    chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    kind: type[BaseException],
) -> None:
    go, streams = three(server, chat)
    planted = kind("planted")
    if owner is Loop:  # these are called when nobody is read yet
        monkeypatch.setattr(Loop, name, once(getattr(Loop, name), planted))
        streams.append(chat())
    else:
        monkeypatch.setattr(owner, name, once(getattr(owner, name), planted))
    go.set()
    error = only_one_ended(streams)
    assert "bug in openai-stream" in str(error)
    assert error.__cause__ is planted
    wait_until(lambda: not threads())
    wait_until(lambda: any(one.client_closed.is_set() for one in server.connections))


def test_what_came_before_a_bug_is_there(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, streams = three(server, chat)
    monkeypatch.setattr(Turns, "fetch", once(Turns.fetch, Planted("planted")))
    go.set()
    only_one_ended(streams)
    for events in streams:
        assert content(events.stream.snapshot()) in ("one two three", "", None)


def test_what_is_handed_on_is_left_alone(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by another thread of the crowd before the one that gave it away has its turn."""
    start, again = Reader._start_thread, threading.Event()

    def start_and_lose_the_turn(self: Reader, work: Callable[[], object]) -> None:
        start(self, work)
        if "readers" in threading.current_thread().name:
            assert again.wait(SOON)

    monkeypatch.setattr(Reader, "_start_thread", start_and_lose_the_turn)
    go, end, fail = threading.Event(), threading.Event(), threading.Event()
    server.play(
        answer([WHOLE[0], Wait(end), *WHOLE[1:]]),
        answer([WHOLE[0], Wait(go), *WHOLE[1:]]),
        answer([WHOLE[0], Wait(fail), Reset()]),
        answer([WHOLE[0], Wait(end), *WHOLE[1:]]),
    )
    with Client(api_key="a", base_url=server.base_url, max_retries=0, readers=2) as client:
        stays, goes, fails = (
            client.create_chat_completion(**BODY, stream=True, fallbacks=fallbacks)
            for fallbacks in ([], [], [Fallback(model="other")])
        )
        for events in (stays, goes, fails):
            events.get(timeout=SOON)
        go.set()
        assert len([*goes]) == len(WHOLE) - 1
        wait_until(lambda: len(threads()) == 1)  # so what fails leaves it, and goes to a new one
        fail.set()
        assert isinstance(fails.get(timeout=SOON), Restarted)
        [crowd] = client._crowds._crowds.values()
        wait_until(lambda: [one.mask for loop in crowd._loops for one in loop.seats] == [1, 1])
        again.set()
        end.set()
        assert len([*fails]) == len(WHOLE)
        assert len([*stays]) == len(WHOLE) - 1
    wait_until(lambda: not threads())


def test_a_bug_in_the_ending_keeps_nobody_waiting(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, streams = three(server, chat)
    monkeypatch.setattr(QueueSink, "end", once(QueueSink.end, Planted("planted")))
    go.set()
    ended = [events.stream.exception(SOON) for events in streams]
    assert [type(error) for error in ended].count(type(None)) == 2
    wait_until(lambda: not threads())


class _Failing:
    """A selector that fails some times, then works."""

    left = 0

    def __init__(self) -> None:
        self._selector = selectors.SelectSelector()

    def select(self, timeout: float | None = None) -> Any:
        if _Failing.left > 0:
            _Failing.left -= 1
            raise OSError("planted")
        return self._selector.select(min(timeout or 0.0, 0.05))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


@pytest.mark.parametrize("times", [1, 2, 1000])
def test_a_selector_that_fails_loses_no_stream(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """If others do not work either, each goes on alone."""
    monkeypatch.setattr(Loop, "selector", _Failing)
    monkeypatch.setattr(_Failing, "left", 0)
    go, streams = three(server, chat)
    full = chat(maxsize=1)
    monkeypatch.setattr(_Failing, "left", times)
    wait_until(lambda: _Failing.left == 0 or len(threads()) == 4)
    go.set()
    for events in streams:
        assert content(events.stream.result(SOON)) == "one two three"
        assert [event.to_dict() for event in events] == WHOLE[1:]
    assert [event.to_dict() for event in full] == WHOLE
    wait_until(lambda: not threads())


def test_a_failure_before_a_turn_takes_no_turn_away(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It strikes when a stream no longer waits for another turn, but is noted as one that does."""
    chunks = chat_chunks(["x" * 10_000] * 100)  # what one read brings takes more than a few turns
    server.always(answer(chunks, encoding="gzip"))
    struck = threading.Event()
    work = Loop._round

    def strike(loop: Loop) -> None:
        if loop._again and not struck.is_set():
            loop._again.popleft()
            struck.set()
            raise Planted("planted")
        work(loop)

    monkeypatch.setattr(Loop, "_round", strike)
    streams = [chat() for _ in range(3)]
    for events in streams:
        assert [event.to_dict() for event in events] == chunks
    assert struck.is_set()
    wait_until(lambda: not threads())


def test_going_alone_loses_nothing_that_was_fetched(server: ScriptedServer, chat: Chat) -> None:
    holding, sent = HeldQueue(), threading.Event()
    server.play(answer([Wait(sent), *WHOLE]), answer(WHOLE))
    events = chat()
    other = chat(queue=holding)
    assert holding.held.wait(SOON)  # so is the thread of both
    sent.set()
    readers = [one for one in live if isinstance(one, Reader)]
    (reader,) = (one for one in readers if one._core is events.stream._core)
    seat = reader._seat
    assert seat is not None
    turns = seat.turns
    assert turns is not None

    def fetched() -> bool:
        turns.fetch()
        return turns.has_arrived

    wait_until(fetched)
    seat.leave()
    reader.go_alone()
    assert content(events.stream.result(SOON)) == "one two three"
    holding.go.set()
    other.result(SOON)


def test_without_descriptors_each_has_a_thread(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: Loop) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Loop, "selector", none)
    go, streams = three(server, chat)
    assert not [name for name in threads() if "readers" in name]
    go.set()
    assert [content(one.stream.result(SOON)) for one in streams] == ["one two three"] * 3


def test_without_threads_it_says_so(
    server: ScriptedServer, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always(lambda _: answer(WHOLE))
    assert content(chat().stream.result(SOON)) == "one two three"
    wait_until(lambda: not threads())

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OpenAIStreamError, match="cannot start a reader thread"):
            chat()
    assert content(chat().stream.result(SOON)) == "one two three"
    wait_until(lambda: not threads())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_crowd_alone(tls_server: ScriptedServer) -> None:
    """What it drops is finalized there: the sockets and the selector are its parent's too."""
    server = tls_server
    go = threading.Event()
    server.play(*[answer([WHOLE[0], Wait(go), *WHOLE[1:]])] * 3)
    server.always(lambda _: answer(WHOLE))
    made = reading(server, 1)
    clients = [made]
    streams = [made.create_chat_completion(**BODY, stream=True, maxsize=1) for _ in range(3)]
    for events in streams:
        events.get(timeout=SOON)
    del made, events
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            own = clients[0].create_chat_completion(**BODY, stream=True)
            whole = content(own.stream.result(SOON)) == "one two three"
            streams[0].close()
            clients[0].close()
            streams.clear()
            clients.clear()
            gc.collect()
            os.write(write, b"whole" if whole else b"wrong")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert said.read() == b"whole"
    os.waitpid(child, 0)
    go.set()
    for events in streams:
        assert [event.to_dict() for event in events] == WHOLE[1:]
    for client in clients:
        client.close()
    wait_until(lambda: not threads())


def test_stops_at_once_among_many(server: ScriptedServer, chat: Chat) -> None:
    server.always(lambda _: answer([WHOLE[0], Hang()]))
    streams = [chat() for _ in range(50)]
    for events in streams:
        events.get(timeout=SOON)
    for events, connection in zip(streams, server.connections, strict=True):
        events.close()
        saw_the_close(connection)
        assert events.get(timeout=SOON) is DONE
    wait_until(lambda: not threads())


def test_what_is_dropped_is_closed(server: ScriptedServer, client: Client) -> None:
    server.always(lambda _: answer([*WHOLE, Hang()]))
    streams = [
        client.create_chat_completion(**BODY, stream=True, maxsize=maxsize)
        for maxsize in (0, 1, 1, 0)
    ]
    for events in streams:
        events.get(timeout=SOON)
    del events
    streams.clear()
    gc.collect()
    for connection in server.connections:
        saw_the_close(connection)
    wait_until(lambda: not threads())


def test_a_socket_that_was_closed_under_it_ends_one_stream(
    server: ScriptedServer, chat: Chat
) -> None:
    """By a program that closes descriptors that are not its own, say; the others go on."""
    go, streams = three(server, chat)
    core: Any = streams[0].stream._core
    connection = core.response.raw._connection
    os.close(connection.sock.detach())
    streams[0].close()
    go.set()
    for events in streams[1:]:
        assert content(events.stream.result(SOON)) == "one two three"
    wait_until(lambda: not threads())


class _Interrupted:
    """A waker that a Ctrl-C keeps from being heard once."""

    def __init__(self, waker: Any) -> None:
        self._waker = waker
        self.send = once(waker.send, KeyboardInterrupt())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._waker, name)


def test_an_interrupted_call_does_not_silence_those_that_follow(
    server: ScriptedServer, client: Client
) -> None:
    server.always(lambda _: answer([*WHOLE, Hang()]))
    first, second = (
        client.create_chat_completion(**BODY, stream=True, maxsize=1) for _ in range(2)
    )
    [crowd] = client._crowds._crowds.values()
    [loop] = crowd._loops
    wait_for_no_room(first.stream._core)
    wait_for_no_room(second.stream._core)
    wait_until(lambda: not loop._is_awake)
    loop._waker = _Interrupted(loop._waker)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        first.close()
    got: list[Any] = [second.get(timeout=SOON) for _ in WHOLE]
    assert [event.to_dict() for event in got] == WHOLE
    second.close()
    wait_until(lambda: not threads())


class _Loops(list[Loop]):
    """Where a finalizer is called just when a thread that has no stream is taken out."""

    finalizer: Callable[[], object] = bool

    def remove(self, loop: Loop) -> None:
        finalizer, self.finalizer = self.finalizer, bool
        finalizer()
        super().remove(loop)


def test_a_stream_begun_just_when_the_thread_ends_is_read(
    server: ScriptedServer, client: Client
) -> None:
    server.always(lambda _: answer(WHOLE))
    crowd = client._crowds.here(client.readers)
    assert crowd is not None
    crowd._loops = loops = _Loops()
    begun: list[EventQueue[Any]] = []
    loops.finalizer = lambda: begun.append(client.create_chat_completion(**BODY, stream=True))
    first = client.create_chat_completion(**BODY, stream=True)
    assert content(first.stream.result(SOON)) == "one two three"
    wait_until(lambda: begun)
    assert content(begun[0].stream.result(SOON)) == "one two three"
    wait_until(lambda: not threads())
