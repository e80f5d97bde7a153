"""Where events go besides the stream's own queue: other queues, subscribers, nowhere (a drain)."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import attrs
import janus
import pytest
from helpers import SOON, Chat
from ways import read_together

from openai_stream import (
    DONE,
    APIConnectionError,
    APIStatusError,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    Completion,
    ConfigurationError,
    EventQueue,
    OpenAIStreamError,
    RateLimitError,
    Response,
    ResponseEvent,
    Restarted,
    ServerEvent,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    Tagged,
    Timeout,
    errors,
)
from openai_stream.testing import (
    Call,
    Connection,
    Event,
    Fin,
    Hang,
    Repeat,
    Request,
    Reset,
    Script,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    chunk,
    completion_chunks,
    error_answer,
    frame,
    tool_call_chunks,
)

WHOLE = chat_chunks("one two three", usage=True)
TEXTS = ["one", " two", " three"]
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "Count"}]}
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def chat(client: Client) -> Chat:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream


def nothing(*_: object) -> None:
    """A callback."""


def gated(*before: Event, after: list[Any] = WHOLE) -> tuple[threading.Event, Script]:
    """An answer of which the first part comes at once, and the rest when the event is set."""
    go = threading.Event()
    return go, answer([*before, Wait(go), *after[len(before) :]])


def texts(items: list[Any]) -> list[str]:
    """The text in the events among the items."""
    return [
        text
        for item in items
        if isinstance(item, ChatCompletionChunk)
        for choice in item.choices
        if (text := choice.delta.content)
    ]


def dicts(items: list[Any]) -> list[Any]:
    return [item.to_dict() for item in items]


def taken(source: Any, count: int) -> list[Any]:
    return [source.get(timeout=SOON) for _ in range(count)]


def to_the_end(source: Any) -> list[Any]:
    """Everything up to ``DONE``, which is left out."""
    items: list[Any] = []
    while (item := source.get(timeout=SOON)) is not DONE:
        items.append(item)
    return items


def assert_empty(source: Any) -> None:
    with pytest.raises(queue.Empty):
        source.get_nowait()


def saw_the_close(connection: Connection) -> None:
    assert connection.client_closed.wait(SOON)


def wait_for_readers() -> None:
    deadline = time.monotonic() + SOON
    while [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]:
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Queues of others ----------------------------------------------------------------------------


class Listed:
    """The least that a queue can be."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.threads: set[str] = set()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self.threads.add(threading.current_thread().name)


@pytest.mark.parametrize("make", [queue.SimpleQueue, queue.Queue, queue.LifoQueue, Listed])
def test_any_queue(server: ScriptedServer, chat: Chat, make: Callable[[], Any]) -> None:
    server.play(answer(WHOLE))
    mine = make()
    stream = chat(queue=mine)
    assert isinstance(stream, Stream)
    assert stream.result(SOON).choices[0].message.content == "one two three"
    if isinstance(mine, Listed):
        items = mine.items
        assert len(mine.threads) == 1
        assert mine.threads.pop().startswith("openai-stream-")
    else:
        items = taken(mine, len(WHOLE) + 1)
        assert_empty(mine)
    if isinstance(mine, queue.LifoQueue):
        items.reverse()
    assert items.pop() is DONE
    assert dicts(items) == WHOLE


def test_a_bounded_queue_holds_the_server_back(chat: Chat, client: Client) -> None:
    mine: queue.Queue[Any] = queue.Queue(maxsize=2)
    flood = [frame(chat_chunks(["x" * 10_000])[1])] * 200
    with ScriptedServer(send_buffer=4096) as slow:
        client.base_url = slow.base_url
        slow.play(answer([*flood, *WHOLE]))
        stream = chat(queue=mine)
        (connection,) = slow.wait_for_connections(1)
        assert connection.wait_until_blocked()
        assert mine.qsize() == 2
        items = to_the_end(mine)
        assert len(items) == 200 + len(WHOLE)
        stream.result(SOON)


def test_a_failure_puts_the_error_and_then_done(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:3], Fin()]))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = chat(queue=mine)
    *events, error, end = taken(mine, 5)
    assert dicts(events) == WHOLE[:3]
    assert isinstance(error, StreamInterruptedError)
    assert error.snapshot.choices[0].message.content == "one two"
    assert end is DONE
    assert stream.exception(SOON) is error
    assert_empty(mine)


@pytest.mark.own_thread("it never comes to read a stream")
def test_what_goes_wrong_while_connecting(server: ScriptedServer, chat: Chat) -> None:
    """With ``nowait`` it is told in the queue; without, by the call, and the queue gets nothing."""
    server.always(error_answer(429, "Slow down."))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = chat(queue=mine, nowait=True, tag="t")
    error, end = taken(mine, 2)
    assert isinstance(error.item, RateLimitError)
    assert end == Tagged("t", DONE)
    assert stream.exception(SOON) is error.item
    with pytest.raises(RateLimitError):
        chat(queue=mine)
    assert_empty(mine)


def test_closing_puts_done(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Hang()]))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = chat(queue=mine)
    assert dicts(taken(mine, 2)) == WHOLE[:2]
    stream.close()
    assert mine.get(timeout=SOON) is DONE
    with pytest.raises(CancelledError):
        stream.result(SOON)
    saw_the_close(server.connections[0])
    wait_for_readers()
    assert_empty(mine)


def test_it_lives_on_unheld(server: ScriptedServer, chat: Chat) -> None:
    go, script = gated(*WHOLE[:1])
    server.play(script)
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    chat(queue=mine)
    gc.collect()
    go.set()
    assert dicts(to_the_end(mine)) == WHOLE


@pytest.mark.parametrize("tag", ["a", 0, "", False, ("a", 1)])
def test_each_item_is_tagged(server: ScriptedServer, chat: Chat, tag: Any) -> None:
    server.play(answer([*WHOLE[:2], Fin()]))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = chat(queue=mine, tag=tag)
    items = taken(mine, 4)
    assert all(type(item) is Tagged and item.tag is tag for item in items)
    assert dicts([item.item for item in items[:2]]) == WHOLE[:2]
    assert items[2].item is stream.exception(SOON)
    assert items[3].item is DONE


def unless_together(**callbacks: Callable[[Any], object]) -> dict[str, Any]:
    """The callbacks; none if streams are read together, which those with any are not."""
    return {} if read_together() else callbacks


class Refusing:
    """A queue that takes so many items and then raises."""

    def __init__(self, takes: int, error: BaseException) -> None:
        self.items: list[Any] = []
        self.refused = 0
        self._takes = takes
        self._error = error

    def put(self, item: Any) -> None:
        if len(self.items) == self._takes:
            self.refused += 1
            raise self._error
        self.items.append(item)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("full of it"), TimeoutError("mine"), OSError(5, "mine"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("takes", [0, 2])
def test_a_refused_put_is_the_error_and_closes(
    server: ScriptedServer,
    chat: Chat,
    caplog: pytest.LogCaptureFixture,
    takes: int,
    error: BaseException,
) -> None:
    server.play(answer([*WHOLE[:3], Hang()]))
    mine = Refusing(takes, error)
    told: list[BaseException] = []
    callbacks = unless_together(on_error=told.append, on_done=told.append)
    stream = chat(queue=mine, **callbacks, restarts=3)
    assert stream.exception(SOON) is error
    with pytest.raises(type(error)) as caught:
        stream.result(SOON)
    assert caught.value is error
    assert not callbacks or told == [error]
    saw_the_close(server.connections[0])
    wait_for_readers()
    assert dicts(mine.items) == WHOLE[:takes]
    assert mine.refused == 1  # whoever refuses is not asked again, not for the end either
    assert len(server.requests) == 1
    assert not callbacks or caplog.records == []


def test_a_refused_put_is_logged_where_nobody_is_told(
    server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(answer(WHOLE))
    error = RuntimeError("full of it")
    assert chat(queue=Refusing(1, error)).exception(SOON) is error
    (record,) = caplog.records
    assert record.name == "openai_stream"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_refused_end_is_the_error(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    error = RuntimeError("full of it")
    told: list[BaseException] = []
    callbacks = unless_together(on_error=told.append)
    stream = chat(queue=Refusing(len(WHOLE), error), **callbacks)
    assert stream.exception(SOON) is error
    assert not callbacks or told == [error]


def test_a_refused_error_does_not_hide_it(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Fin()]))
    mine = Refusing(2, RuntimeError("full of it"))
    error = chat(queue=mine, **unless_together(on_error=nothing)).exception(SOON)
    assert type(error) is StreamInterruptedError
    assert mine.refused == 1


def test_a_queue_of_a_process_that_was_closed(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    mine: Any = SPAWN.Queue()
    mine.close()
    mine.join_thread()
    stream = chat(queue=mine, **unless_together(on_error=nothing))
    assert isinstance(stream.exception(SOON), ValueError)


# Many streams into one queue -----------------------------------------------------------------

STREAMS = 50
CUT = 7  # every seventh stream is cut


def numbered(number: int) -> list[dict[str, Any]]:
    return chat_chunks([f"{number}:{part} " for part in range(40)], usage=True, seed=number)


def answer_number(request: Request) -> Script:
    """Each stream its own text; some are cut, some break off at first."""
    number = int(request.json["user"])
    chunks = numbered(number)
    return answer([*chunks[:20], Fin()] if number % CUT == 0 else chunks)


@attrs.frozen
class Received:
    """What the reader of a shared queue has seen of one stream."""

    events: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[tuple[str, str]] = attrs.field(factory=list)
    after_the_end: list[str] = attrs.field(factory=list)
    ended: list[bool] = attrs.field(factory=list)

    def note(self, item: Any) -> None:
        if self.ended:
            self.after_the_end.append(repr(item))
        elif item is DONE:
            self.ended.append(True)
        elif isinstance(item, ChatCompletionChunk):
            self.events.append(item.to_dict())
        else:
            self.errors.append((type(item).__name__, item.snapshot.choices[0].message.content))


def receive(get: Callable[[], Any]) -> dict[Any, Received]:
    """Read a shared queue until each of its streams has ended."""
    received: dict[Any, Received] = {number: Received() for number in range(STREAMS)}
    while not all(one.ended for one in received.values()):
        tagged = get()
        received[tagged.tag].note(tagged.item)
    return received


def work(inbox: Any, outbox: Any) -> None:
    """In a process of its own."""
    outbox.send(receive(partial(inbox.get, timeout=30)))


def start_all(client: Client, mine: Any, **arguments: Any) -> list[Stream[Any, ChatCompletion]]:
    return [
        client.create_chat_completion(
            **BODY, user=str(number), stream=True, queue=mine, tag=number, **arguments
        )
        for number in range(STREAMS)
    ]


def assert_all_received(received: dict[Any, Received]) -> None:
    for number, one in received.items():
        chunks = numbered(number)
        if number % CUT == 0:
            assert one.events == chunks[:20]
            assert one.errors == [
                ("StreamInterruptedError", "".join(f"{number}:{part} " for part in range(19)))
            ]
        else:
            assert one.events == chunks
            assert one.errors == []
        assert one.after_the_end == []


@pytest.mark.limit(120)
def test_a_process_of_its_own_receives_50_streams(server: ScriptedServer, client: Client) -> None:
    server.always(answer_number)
    inbox: Any = SPAWN.Queue()
    mine, theirs = SPAWN.Pipe(duplex=False)
    with mine, theirs:
        worker = SPAWN.Process(target=work, args=(inbox, theirs), daemon=True)
        worker.start()
        start_all(client, inbox)
        assert mine.poll(60)
        assert_all_received(mine.recv())
        worker.join(SOON)
        assert worker.exitcode == 0
        worker.close()
    inbox.close()
    inbox.join_thread()


@pytest.mark.limit(120)
def test_a_managers_queue_receives_50_streams(server: ScriptedServer, client: Client) -> None:
    server.always(answer_number)
    with SPAWN.Manager() as manager:
        shared: Any = manager.Queue()
        streams = start_all(client, shared)
        assert_all_received(receive(partial(shared.get, timeout=30)))
        for stream in streams:
            stream.exception(SOON)
        # Its process goes away while a stream is on: the put is refused.
        go, script = gated(*WHOLE[:1])
        server.play(script)
        stream = client.create_chat_completion(**BODY, stream=True, queue=shared, on_error=nothing)
        assert shared.get(timeout=30).to_dict() == WHOLE[0]
        manager.shutdown()
        go.set()
        error = stream.exception(SOON)
        assert isinstance(error, (OSError, EOFError))
        # In its traceback is the buffer of a pickle, of which CPython complains when it is garbage.
        for one in (error, error.__context__):
            if one is not None:
                one.__traceback__ = None


def test_janus_receives_50_streams(server: ScriptedServer, client: Client) -> None:
    server.always(answer_number)

    async def main() -> dict[Any, Received]:
        mine: janus.Queue[Any] = janus.Queue(maxsize=10)
        start_all(client, mine.sync_q, nowait=True)
        received: dict[Any, Received] = {number: Received() for number in range(STREAMS)}
        while not all(one.ended for one in received.values()):
            tagged = await asyncio.wait_for(mine.async_q.get(), SOON)
            received[tagged.tag].note(tagged.item)
        await mine.aclose()
        return received

    assert_all_received(asyncio.run(main()))


def test_shutting_janus_down_frees_a_stream_that_waits_for_room(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer([*WHOLE[:4], Hang()]))

    async def main() -> Stream[Any, ChatCompletion]:
        mine: janus.Queue[Any] = janus.Queue(maxsize=1)
        stream = client.create_chat_completion(
            **BODY, stream=True, queue=mine.sync_q, nowait=True, on_error=nothing
        )
        await asyncio.wait_for(mine.async_q.get(), SOON)
        mine.shutdown(immediate=True)
        await mine.wait_closed()
        return stream

    stream = asyncio.run(main())
    assert isinstance(stream.exception(SOON), janus.SyncQueueShutDown)
    saw_the_close(server.connections[0])


# What does not go together -------------------------------------------------------------------

#: Of each streaming argument a value that is not its default.
GIVEN: dict[str, Any] = {
    "on_next": nothing,
    "on_done": nothing,
    "on_error": nothing,
    "stream_close": True,
    "maxsize": 5,
    "queue": queue.Queue(),
    "tag": "t",
    "restarts": 1,
    "nowait": True,
    "replay": True,
}
CALLS: dict[str, Callable[[Client], Callable[..., Any]]] = {
    "chat": lambda client: partial(client.create_chat_completion, model="m", messages=[]),
    "text": lambda client: partial(client.create_completion, model="m", prompt=""),
    "response": lambda client: partial(client.create_response, model="m", input=""),
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.own_thread("it never comes to read a stream")
def test_streaming_arguments_want_stream(
    server: ScriptedServer, client: Client, call: str, name: str
) -> None:
    for stream in ({}, {"stream": False}):
        with pytest.raises(TypeError, match=f"{name} goes with stream=True only"):
            CALLS[call](client)(**stream, **{name: GIVEN[name]})
    assert server.connections == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("on_next", "queue"), "on_next and queue do not go together"),
        (("on_next", "maxsize"), "maxsize is for the queue that is made"),
        (("on_next", "stream_close"), "stream_close is for the queue that is made"),
        (("queue", "maxsize"), "maxsize is for the queue that is made"),
        (("queue", "stream_close"), "stream_close is for the queue that is made"),
        (("tag",), "tag goes with queue only"),
        (("tag", "on_next"), "tag goes with queue only"),
        (("replay", "maxsize"), "replay keeps all events"),
        (("replay", "maxsize", "nowait"), "replay keeps all events"),
    ],
)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.own_thread("it never comes to read a stream")
def test_what_does_not_go_together(
    server: ScriptedServer, client: Client, call: str, names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        CALLS[call](client)(stream=True, **{name: GIVEN[name] for name in names})
    assert server.connections == []


DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("on_next", "on_done", "on_error", "queue", "tag")),
    "stream_close": False,
    "maxsize": 0,
    "restarts": 0,
    "nowait": False,
    "replay": False,
}


def test_defaults_go_with_everything(server: ScriptedServer, chat: Chat, client: Client) -> None:
    assert DEFAULTS.keys() == GIVEN.keys()
    server.always(answer(WHOLE))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    assert isinstance(chat(**DEFAULTS), EventQueue)
    assert isinstance(chat(**{**DEFAULTS, "on_next": nothing}), Stream)
    assert isinstance(chat(**{**DEFAULTS, "queue": mine}), Stream)
    assert len(to_the_end(mine)) == len(WHOLE)
    assert server.requests[0].json == {**BODY, "stream": True}
    wait_for_readers()


@pytest.mark.parametrize(
    "mine",
    [
        asyncio.Queue(),
        asyncio.PriorityQueue(),
        [],
        "queue",
        5,
        False,
        object(),
        type("Data", (), {"put": 5})(),
    ],
    ids=lambda mine: type(mine).__name__,
)
@pytest.mark.own_thread("it never comes to read a stream")
def test_what_is_no_queue(server: ScriptedServer, chat: Chat, mine: Any) -> None:
    with pytest.raises(TypeError, match="queue must have a put"):
        chat(queue=mine)
    assert server.connections == []


@pytest.mark.own_thread("it never comes to read a stream")
def test_janus_wants_its_synchronous_side(server: ScriptedServer, chat: Chat) -> None:
    async def main() -> None:
        both: janus.Queue[Any] = janus.Queue()
        for mine in (both, both.async_q):
            with pytest.raises(TypeError, match="pass its synchronous side"):
                chat(queue=mine)
        await both.aclose()

    asyncio.run(main())
    assert server.connections == []


# To another process --------------------------------------------------------------------------

CUT_SHORT = StreamInterruptedError("cut", snapshot=ChatCompletion.from_dict(WHOLE[0]))
STATUS: dict[str, Any] = {
    "status_code": 429,
    "body": {"error": {"message": "m"}},
    "code": "c",
    "type": "t",
    "request_id": "r",
    "headers": {"a": "b"},
}
PICKLED: list[Any] = [
    DONE,
    *map(ChatCompletionChunk.from_dict, [*WHOLE, *tool_call_chunks(("f", "{}")), {}, {"x": [1]}]),
    *map(Completion.from_dict, completion_chunks("one", usage=True)),
    ResponseEvent.from_dict({"type": "response.created", "response": {"id": "r", "z": None}}),
    Response.from_dict({"output": [{"type": "message", "content": []}], "new": 1}),
    ServerEvent("e", [1, None], "i"),
    Tagged(("a", 1), DONE),
    Restarted(2, CUT_SHORT),
    Tagged("t", Restarted(1, CUT_SHORT)),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_items_survive_pickling(protocol: int) -> None:
    for item in PICKLED:
        copy = pickle.loads(pickle.dumps(item, protocol))  # noqa: S301 - our own
        assert type(copy) is type(item)
        if not isinstance(item, (Restarted, Tagged)):
            assert copy == item
        if hasattr(item, "to_dict"):
            assert repr(copy.to_dict()) == repr(item.to_dict())
        assert repr(copy) == repr(item)
        assert copy is not item or item is DONE
        if isinstance(item, Tagged):
            assert copy.tag == item.tag
            assert copy.item is DONE or copy.item.error.snapshot == CUT_SHORT.snapshot
        if isinstance(item, Restarted):
            assert (copy.attempt, str(copy.error)) == (2, "cut")
            assert copy.error.snapshot == CUT_SHORT.snapshot


def every_error() -> Iterator[OpenAIStreamError]:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if not (isinstance(kind, type) and issubclass(kind, OpenAIStreamError)):
            continue
        if issubclass(kind, APIStatusError):
            yield kind("told", **STATUS)
        elif issubclass(kind, StreamError):
            yield kind("told", snapshot=CUT_SHORT.snapshot, code="c", body=[1])
        else:
            yield kind("told")


@pytest.mark.parametrize("kind", [type(error) for error in every_error()])
def test_errors_survive_pickling(kind: type[OpenAIStreamError]) -> None:
    # Made here: what was made before another test imports Dask is pickled with its causes.
    error = next(one for one in every_error() if type(one) is kind)
    error.__cause__ = OSError(lambda: None)  # which does not
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own
        assert type(copy) is type(error)
        assert str(copy) == str(error) == "told"
        assert vars(copy) == vars(error)
        assert copy.__cause__ is None


def test_all_errors_are_looked_at() -> None:
    kinds = {type(error) for error in every_error()}
    assert {APIConnectionError, ConfigurationError, StreamAPIError, StreamDecodeError} < kinds
    assert len(kinds) == 20


# Subscribers ---------------------------------------------------------------------------------

MODES = ["queue", "callback", "foreign"]


def in_mode(chat: Chat, mode: str, **arguments: Any) -> tuple[Any, Stream[Any, ChatCompletion]]:
    """Start a stream: what holds it (a queue, or nothing), and its handle."""
    if mode == "queue":
        events = chat(**arguments)
        return events, events.stream
    if mode == "callback":
        return None, chat(on_next=nothing, **arguments)
    return None, chat(queue=queue.SimpleQueue(), **arguments)


class TestSubscribe:
    @pytest.mark.parametrize("mode", MODES)
    def test_before_during_and_after(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        first, second = threading.Event(), threading.Event()
        server.play(answer([Wait(first), *WHOLE[:2], Wait(second), *WHOLE[2:]]))
        held, stream = in_mode(chat, mode, replay=True)
        before = stream.subscribe()
        assert isinstance(before, EventQueue)
        assert before.stream is stream
        assert_empty(before)
        first.set()
        assert dicts(taken(before, 2)) == WHOLE[:2]
        during = stream.subscribe()
        assert during.qsize() == 2  # at once, and not when the next one comes
        assert dicts(taken(during, 2)) == WHOLE[:2]
        assert_empty(during)
        second.set()
        assert dicts(to_the_end(before)) == WHOLE[2:]
        assert dicts(to_the_end(during)) == WHOLE[2:]
        stream.result(SOON)
        for _ in range(2):
            after = stream.subscribe()
            assert after.qsize() == len(WHOLE) + 1
            assert dicts(list(after)) == WHOLE
        for one in (before, during, after):
            assert_empty(one)
        if held is not None:
            assert dicts(list(held)) == WHOLE  # its own queue lacks nothing

    @pytest.mark.parametrize("mode", MODES)
    def test_after_a_failure(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        server.play(answer([*WHOLE[:3], Fin()]))
        _held, stream = in_mode(chat, mode, replay=True)
        during = stream.subscribe()
        error = stream.exception(SOON)
        assert isinstance(error, StreamInterruptedError)
        after = stream.subscribe()
        for subscriber in (during, after):
            assert dicts(taken(subscriber, 3)) == WHOLE[:3]
            with pytest.raises(StreamInterruptedError) as caught:
                subscriber.get(timeout=SOON)
            assert caught.value is error
            assert_empty(subscriber)
            with pytest.raises(StreamInterruptedError):
                list(subscriber)

    @pytest.mark.parametrize("mode", MODES)
    def test_after_close(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        _held, stream = in_mode(chat, mode, replay=True)
        during = stream.subscribe()
        assert dicts(taken(during, 2)) == WHOLE[:2]
        stream.close()
        assert during.get(timeout=SOON) is DONE
        after = stream.subscribe()
        assert dicts(list(after)) == WHOLE[:2]
        assert_empty(after)
        saw_the_close(server.connections[0])

    def test_while_connecting(self, server: ScriptedServer, chat: Chat) -> None:
        go = threading.Event()
        server.play([Wait(go), *answer(WHOLE)], error_answer(500, "No."))
        stream = chat(replay=True, nowait=True).stream
        subscriber = stream.subscribe()
        go.set()
        assert dicts(to_the_end(subscriber)) == WHOLE
        failed = chat(replay=True, nowait=True).stream
        with pytest.raises(APIStatusError):
            list(failed.subscribe())

    def test_it_reads_as_any_queue_of_events(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        stream = chat(replay=True, on_next=nothing)
        assert list(stream.subscribe().text()) == TEXTS
        assert texts(list(stream.subscribe())) == TEXTS
        assert stream.subscribe().maxsize == 0

    def test_without_replay(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:1], Hang()]))
        with chat() as events:
            with pytest.raises(RuntimeError, match="replay=True"):
                events.stream.subscribe()
            assert events.get(timeout=SOON).to_dict() == WHOLE[0]
        with pytest.raises(RuntimeError, match="replay=True"):
            events.stream.subscribe()

    def test_at_its_own_pace(self, server: ScriptedServer, chat: Chat) -> None:
        """Nobody waits for anybody."""
        server.play(answer(WHOLE))
        events = chat(replay=True)
        slow, fast = events.stream.subscribe(), events.stream.subscribe()
        assert dicts(list(fast)) == WHOLE
        events.stream.result(SOON)
        assert dicts(taken(slow, 2)) == WHOLE[:2]
        assert dicts(list(events)) == WHOLE
        assert dicts(list(slow)) == WHOLE[2:]

    def test_several_threads(self, server: ScriptedServer, chat: Chat) -> None:
        go, script = gated(*WHOLE[:2])
        server.play(script)
        stream = chat(replay=True, on_next=nothing)
        got: list[list[Any]] = []
        threads = [
            threading.Thread(target=lambda: got.append(dicts(list(stream.subscribe()))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        go.set()
        for thread in threads:
            thread.join(SOON)
        assert got == [WHOLE] * 8

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("how", ["close", "with", "close(drain=True)", "shutdown"])
    def test_closing_ends_only_that_one(
        self, server: ScriptedServer, chat: Chat, mode: str, how: str
    ) -> None:
        go, script = gated(*WHOLE[:2])
        server.play(script)
        held, stream = in_mode(chat, mode, replay=True)
        one, other = stream.subscribe(), stream.subscribe()
        assert dicts(taken(one, 1)) == WHOLE[:1]
        assert dicts(taken(other, 2)) == WHOLE[:2]
        if how == "with":
            with one:
                pass
        elif how == "shutdown":
            one.shutdown()
        else:
            one.close(drain="drain" in how)
        one.close()
        assert stream.running()
        assert dicts(taken(one, 1)) == WHOLE[1:2]  # what is there stays readable
        assert one.get(timeout=SOON) is DONE
        go.set()
        assert dicts(to_the_end(other)) == WHOLE[2:]
        stream.result(SOON)
        assert list(one) == []
        assert one.qsize() == 0
        if held is not None:
            assert dicts(list(held)) == WHOLE

    def test_closing_wakes_who_waits(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([Hang()]))
        with chat(replay=True) as events:
            subscriber = events.stream.subscribe()
            got: list[Any] = []
            thread = threading.Thread(target=lambda: got.append(subscriber.get(timeout=SOON)))
            thread.start()
            subscriber.close()
            thread.join(SOON)
            assert got == [DONE]
            assert events.stream.running()

    @pytest.mark.parametrize("failed", [False, True])
    @pytest.mark.parametrize("when", ["during", "after"])
    def test_closing_after_the_end_changes_nothing(
        self, server: ScriptedServer, chat: Chat, when: str, failed: bool
    ) -> None:
        go = threading.Event()
        server.play(answer([*WHOLE[:2], Wait(go), *([Fin()] if failed else WHOLE[2:])]))
        stream = chat(replay=True).stream
        subscriber = stream.subscribe()
        go.set()
        stream.exception(SOON)
        if when == "after":
            subscriber = stream.subscribe()
        subscriber.close()
        if failed:
            assert dicts(taken(subscriber, 2)) == WHOLE[:2]
            with pytest.raises(StreamInterruptedError):
                subscriber.get(timeout=SOON)
            subscriber.close()
            with pytest.raises(StreamInterruptedError):
                list(subscriber)
        else:
            assert dicts(to_the_end(subscriber)) == WHOLE
            subscriber.close()
        assert_empty(subscriber)

    def test_closing_the_stream_ends_all(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([*WHOLE[:1], Hang()]))
        events = chat(replay=True)
        subscribers = [events.stream.subscribe() for _ in range(3)]
        events.close()
        for one in (*subscribers, events):
            assert [item for item in taken(one, one.qsize()) if item is DONE] == [DONE]
        saw_the_close(server.connections[0])

    def test_a_subscriber_keeps_the_stream_alive(self, server: ScriptedServer, chat: Chat) -> None:
        go, script = gated(*WHOLE[:1])
        server.play(script, answer([*WHOLE[:1], Hang()]))
        subscriber = chat(replay=True).stream.subscribe()
        gc.collect()
        go.set()
        assert dicts(list(subscriber)) == WHOLE
        subscriber = chat(replay=True).stream.subscribe()
        assert subscriber.get(timeout=SOON).to_dict() == WHOLE[0]
        assert not server.connections[-1].client_closed.is_set()
        del subscriber
        gc.collect()
        saw_the_close(server.connections[-1])
        wait_for_readers()

    def test_a_queue_that_was_closed_as_subscriber_still_holds_the_stream(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        """It has a ``stream``, as any ``EventQueue``."""
        go, script = gated(*WHOLE[:1])
        server.play(script)
        subscriber = chat(replay=True).stream.subscribe()
        subscriber.close()
        go.set()
        assert subscriber.stream.result(SOON).choices[0].message.content == "one two three"

    def test_a_subscriber_that_is_dropped_is_forgotten(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go, script = gated(*WHOLE[:1])
        server.play(script)
        events = chat(replay=True)
        for _ in range(100):
            events.stream.subscribe()
        go.set()
        assert dicts(list(events)) == WHOLE
        assert dicts(list(events.stream.subscribe())) == WHOLE

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_subscribing_from_a_callback(self, server: ScriptedServer, chat: Chat) -> None:
        returned = threading.Event()
        subscribers: list[EventQueue[Any]] = []

        def on_next(event: Any) -> None:
            assert returned.wait(SOON)
            subscribers.append(stream.subscribe())

        server.play(answer(WHOLE))
        stream = chat(replay=True, on_next=on_next, on_done=lambda _: on_next(None))
        returned.set()
        stream.result(SOON)
        assert len(subscribers) == len(WHOLE) + 1
        for one in subscribers:
            assert dicts(to_the_end(one)) == WHOLE
            assert_empty(one)

    def test_a_foreign_queue_that_refuses_ends_subscribers_too(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        go, script = gated(*WHOLE[:1])
        server.play(script)
        error = RuntimeError("full of it")
        mine = Refusing(1, error)
        stream = chat(replay=True, queue=mine, **unless_together(on_error=nothing))
        subscriber = stream.subscribe()
        assert subscriber.get(timeout=SOON).to_dict() == WHOLE[0]
        go.set()
        assert subscriber.get(timeout=SOON).to_dict() == WHOLE[1]
        with pytest.raises(RuntimeError, match="full of it"):
            subscriber.get(timeout=SOON)


# Draining ------------------------------------------------------------------------------------


class Drained:
    """A stream in one of the modes, of which two events have come; the rest waits for ``go``."""

    def __init__(
        self, server: ScriptedServer, chat: Chat, mode: str, *after: Event, **arguments: Any
    ) -> None:
        self.go = threading.Event()
        self.done: list[Any] = []
        self.errors: list[BaseException] = []
        rest = after or WHOLE[2:]
        server.play(answer([*WHOLE[:2], Wait(self.go), *rest]))
        callbacks = {"on_done": self.done.append, "on_error": self.errors.append}
        if mode != "callback":
            callbacks = unless_together(**callbacks)
        self._tells = bool(callbacks)
        self.source: Any = queue.SimpleQueue()
        self.mode = mode
        self.stream: Any
        if mode == "queue":
            self.source = chat(**callbacks, **arguments)
            self.stream = self.source.stream
        elif mode == "callback":
            self.stream = chat(on_next=self.source.put, **callbacks, **arguments)
        else:
            self.stream = chat(queue=self.source, **callbacks, **arguments)
        assert dicts(taken(self.source, 2)) == WHOLE[:2]
        self.connection = server.connections[-1]

    def was_told(self, done: list[Any], errors: list[BaseException]) -> bool:
        """Whether the callbacks, if there are any, were given just that."""
        return not self._tells or (self.done, self.errors) == (done, errors)

    def drain(self) -> None:
        self.stream.close(drain=True)
        if self.mode == "queue":  # at once; a foreign queue's comes with the next event
            assert self.source.get(timeout=SOON) is DONE
        assert self.stream.running()
        assert not self.stream.done()
        assert not self.stream.cancelled()

    def got_its_end(self) -> None:
        if self.mode == "foreign":
            assert self.source.get(timeout=SOON) is DONE

    def got_nothing_more(self) -> None:
        assert self.source.empty()
        assert_empty(self.source)


class TestDrain:
    @pytest.mark.parametrize("mode", MODES)
    def test_the_result_still_comes(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        one = Drained(server, chat, mode)
        one.drain()
        with pytest.raises(TimeoutError):
            one.stream.result(0)
        one.go.set()
        whole = one.stream.result(SOON)
        assert whole.choices[0].message.content == "one two three"
        assert whole.usage is not None
        assert one.stream.exception() is None
        assert not one.stream.running()
        assert one.stream.done()
        assert not one.stream.cancelled()
        one.got_its_end()
        one.got_nothing_more()
        assert one.was_told([whole], [])
        assert one.stream.stats.events == len(WHOLE)

    @pytest.mark.parametrize("mode", MODES)
    def test_twice_and_after_the_end(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        one = Drained(server, chat, mode)
        one.drain()
        one.stream.close(drain=True)
        one.go.set()
        whole = one.stream.result(SOON)
        for drain in (True, False):
            one.stream.close(drain=drain)
        assert one.stream.result() == whole
        assert not one.stream.cancelled()
        one.got_its_end()
        one.got_nothing_more()

    @pytest.mark.parametrize("mode", MODES)
    def test_after_close_it_stays_closed(
        self, server: ScriptedServer, chat: Chat, mode: str
    ) -> None:
        one = Drained(server, chat, mode)
        one.stream.close()
        one.stream.close(drain=True)
        assert one.stream.cancelled()
        saw_the_close(one.connection)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_failure_meanwhile(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        """The consumer was released and hears no more of it; ``result()`` and ``on_error`` do."""
        one = Drained(server, chat, mode, Fin())
        one.drain()
        one.go.set()
        with pytest.raises(StreamInterruptedError) as caught:
            one.stream.result(SOON)
        assert caught.value.snapshot.choices[0].message.content == "one"
        assert one.was_told([], [caught.value])
        one.got_its_end()
        one.got_nothing_more()

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("how", ["close", "with", "drop"])
    def test_what_stops_it(self, server: ScriptedServer, chat: Chat, mode: str, how: str) -> None:
        one = Drained(server, chat, mode)
        one.drain()
        if how == "close":
            one.stream.close()
        elif how == "with":
            with one.stream:
                pass
        if how == "drop":
            one.stream = None
            if mode == "queue":
                one.source = queue.SimpleQueue()
            gc.collect()
        else:
            assert one.stream.cancelled()
            with pytest.raises(CancelledError):
                one.stream.result(SOON)
        saw_the_close(one.connection)
        wait_for_readers()
        one.got_its_end()
        one.got_nothing_more()
        assert one.was_told([], [])

    def test_leaving_the_with_of_the_queue_stops_it(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        one = Drained(server, chat, "queue")
        with one.source as events:
            events.close(drain=True)
            assert one.stream.running()
        assert one.stream.cancelled()
        saw_the_close(one.connection)
        assert taken(one.source, 1) == [DONE]
        one.got_nothing_more()

    def test_the_queue_alone_keeps_it_alive(self, server: ScriptedServer, chat: Chat) -> None:
        one = Drained(server, chat, "queue")
        one.drain()
        one.stream = None
        gc.collect()
        one.go.set()
        assert one.source.stream.result(SOON).choices[0].message.content == "one two three"

    def test_what_is_in_the_queue_stays_readable(self, server: ScriptedServer, chat: Chat) -> None:
        arrived, go = threading.Event(), threading.Event()
        server.play(answer([*WHOLE[:3], Call(arrived.set), Wait(go), *WHOLE[3:]]))
        events = chat(replay=True)
        assert dicts(taken(events.stream.subscribe(), 3)) == WHOLE[:3]
        events.close(drain=True)
        assert dicts(taken(events, 3)) == WHOLE[:3]
        assert events.get(timeout=SOON) is DONE
        assert_empty(events)
        assert list(events) == []
        go.set()
        events.stream.result(SOON)
        assert_empty(events)

    def test_a_reader_that_waits_for_room_goes_on(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer(WHOLE))
        events = chat(maxsize=2)
        while not events.full():
            time.sleep(0.001)
        events.close(drain=True)
        assert events.stream.result(SOON).choices[0].message.content == "one two three"
        assert dicts(taken(events, 2)) == WHOLE[:2]
        assert events.get(timeout=SOON) is DONE
        assert_empty(events)

    def test_stream_close(self, server: ScriptedServer, chat: Chat) -> None:
        one = Drained(server, chat, "queue", stream_close=True)
        one.drain()
        assert one.source.is_shutdown
        one.go.set()
        one.stream.result(SOON)

    @pytest.mark.parametrize("mode", MODES)
    def test_subscribers_still_get_theirs(
        self, server: ScriptedServer, chat: Chat, mode: str
    ) -> None:
        one = Drained(server, chat, mode, replay=True)
        before = one.stream.subscribe()
        one.drain()
        during = one.stream.subscribe()
        one.go.set()
        for subscriber in (before, during):
            assert dicts(to_the_end(subscriber)) == WHOLE
        one.stream.result(SOON)
        assert dicts(list(one.stream.subscribe())) == WHOLE
        one.got_its_end()
        one.got_nothing_more()

    def test_subscribers_alone_keep_it_alive(self, server: ScriptedServer, chat: Chat) -> None:
        one = Drained(server, chat, "queue", replay=True)
        subscriber = one.stream.subscribe()
        one.drain()
        one.stream = one.source = None
        gc.collect()
        one.go.set()
        assert dicts(to_the_end(subscriber)) == WHOLE

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize(
        ("timeout", "said"),
        [
            (Timeout(total=0.3), "total time of 0.3 s"),
            (Timeout(idle=0.2), "no progress for 0.2 s"),
            (Timeout(gap=0.2), "no event for 0.2 s"),
        ],
        ids=["total", "idle", "gap"],
    )
    def test_deadlines_hold(
        self, server: ScriptedServer, chat: Chat, mode: str, timeout: Timeout, said: str
    ) -> None:
        one = Drained(server, chat, mode, timeout=timeout)
        one.drain()
        with pytest.raises(StreamTimeoutError, match=said) as caught:
            one.stream.result(SOON)
        assert one.was_told([], [caught.value])
        saw_the_close(one.connection)
        one.got_its_end()
        one.got_nothing_more()

    @pytest.mark.parametrize("mode", MODES)
    def test_while_connecting(self, server: ScriptedServer, chat: Chat, mode: str) -> None:
        go = threading.Event()
        server.play([Wait(go), *answer(WHOLE)])
        mine: Any = queue.SimpleQueue()
        if mode == "queue":
            mine = chat(nowait=True)
            stream = mine.stream
        elif mode == "callback":
            stream = chat(nowait=True, on_next=mine.put)
        else:
            stream = chat(nowait=True, queue=mine)
        server.wait_for_requests(1)
        stream.close(drain=True)
        if mode == "queue":
            assert mine.get(timeout=SOON) is DONE
        assert stream.running()
        go.set()
        assert stream.result(SOON).choices[0].message.content == "one two three"
        if mode == "foreign":
            assert mine.get(timeout=SOON) is DONE
        assert_empty(mine)

    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_from_a_callback(self, server: ScriptedServer, chat: Chat) -> None:
        returned = threading.Event()
        got: list[Any] = []

        def on_next(event: Any) -> None:
            assert returned.wait(SOON)
            got.append(event.to_dict())
            if len(got) == 2:
                stream.close(drain=True)

        server.play(answer(WHOLE, events_per_chunk=100))
        stream = chat(on_next=on_next)
        returned.set()
        assert stream.result(SOON).choices[0].message.content == "one two three"
        assert got == WHOLE[:2]

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.own_thread("it has callbacks, and so a thread of its own")
    def test_a_callback_that_raises_fails_it(
        self, server: ScriptedServer, chat: Chat, mode: str
    ) -> None:
        error = RuntimeError("mine")

        def fail(_: Any) -> None:
            raise error

        go, script = gated(*WHOLE[:1])
        server.play(script)
        mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
        sinks: dict[str, dict[str, Any]] = {
            "queue": {},
            "callback": {"on_next": mine.put},
            "foreign": {"queue": mine},
        }
        errors: list[BaseException] = []
        made = chat(on_done=fail, on_error=errors.append, **sinks[mode])
        stream = made.stream if mode == "queue" else made
        stream.close(drain=True)
        go.set()
        assert stream.exception(SOON) is error
        assert errors == [error]

    def test_it_restarts_quietly(self, server: ScriptedServer, chat: Chat) -> None:
        one = Drained(server, chat, "callback", Fin(), restarts=1, replay=True)
        subscriber = one.stream.subscribe()
        server.play(answer(WHOLE))
        one.drain()
        one.go.set()
        assert one.stream.result(SOON).choices[0].message.content == "one two three"
        one.got_nothing_more()
        first, second, again, *rest = to_the_end(subscriber)
        assert dicts([first, second]) == WHOLE[:2]
        assert isinstance(again, Restarted)
        assert dicts(rest) == WHOLE

    def test_memory_stays_level(self, server: ScriptedServer, chat: Chat) -> None:
        """Nobody reads: what comes is added up, and not kept."""
        events = Repeat(chunk(frame(WHOLE[1])), times=20_000)
        one = Drained(server, chat, "queue", events, *WHOLE[2:])
        one.drain()
        one.go.set()
        assert one.stream.result(SOON).usage is not None
        assert one.source.qsize() == 0
        assert one.stream.stats.events == 20_000 + len(WHOLE)

    def test_a_queue_that_is_refused_while_draining(
        self, server: ScriptedServer, chat: Chat
    ) -> None:
        """The result is what a drain is for: nobody reads that queue any more."""
        go, script = gated(*WHOLE[:2])
        server.play(script)
        mine = Refusing(2, RuntimeError("full of it"))
        stream = chat(queue=mine, on_error=nothing)
        while len(mine.items) < 2:
            time.sleep(0.001)
        stream.close(drain=True)
        go.set()
        assert stream.result(SOON).choices[0].message.content == "one two three"
        assert mine.refused == 1


def test_reset_is_no_surprise_to_a_foreign_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Reset()]))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    chat(queue=mine)
    error, end = taken(mine, 2)
    assert isinstance(error, StreamInterruptedError)
    assert end is DONE
