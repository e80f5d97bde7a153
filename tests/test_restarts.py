"""``restarts``: an answer that breaks off is asked for again, and everybody is told."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from concurrent.futures import CancelledError
from typing import Any

import attrs
import pytest
from helpers import SOON, Chat
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    InternalServerError,
    Restarted,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    Tagged,
    Timeout,
)
from openai_stream.testing import (
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
    error_answer,
    frame,
    json_answer,
)

PAUSE = 0.375  # seconds that the first restart waits at least
WHOLE = chat_chunks("one two three", usage=True, seed=1)
#: What comes before it breaks off: role, "four", " five".
BROKEN = chat_chunks("four five six", seed=2)[:3]
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "Count"}]}
CUT = answer([*BROKEN, Fin()])


@pytest.fixture
def chat(client: Client) -> Chat:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream


def dicts(items: list[Any]) -> list[Any]:
    return [item.to_dict() for item in items]


def content(whole: ChatCompletion) -> str | None:
    return whole.choices[0].message.content


def taken(source: Any, count: int) -> list[Any]:
    return [source.get(timeout=SOON) for _ in range(count)]


def assert_restarted_once(items: list[Any]) -> Restarted:
    """The events of the broken answer, the news, the events of the whole one."""
    again = items[len(BROKEN)]
    assert isinstance(again, Restarted)
    assert dicts(items[: len(BROKEN)]) == BROKEN
    assert dicts(items[len(BROKEN) + 1 :]) == WHOLE
    assert again.attempt == 1
    assert isinstance(again.error, StreamError)
    return again


# Who is told ---------------------------------------------------------------------------------


def test_every_way_of_reading(server: ScriptedServer, chat: Chat) -> None:
    """All at once, since each waits for the server to recover."""
    attempts: dict[str, int] = defaultdict(int)

    def answer_to(request: Request) -> Script:
        attempts[request.json["user"]] += 1
        return CUT if attempts[request.json["user"]] == 1 else answer(WHOLE)

    server.always(answer_to)
    calls: list[tuple[str, Any]] = []
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    tagged: queue.SimpleQueue[Any] = queue.SimpleQueue()

    by_get = chat(user="get", restarts=1)
    by_loop = chat(user="loop", restarts=3, on_done=lambda whole: calls.append(("done", whole)))
    bounded = chat(user="bounded", restarts=1, maxsize=1)
    by_result = chat(user="result", restarts=1).stream
    by_callback = chat(
        user="callback",
        restarts=1,
        on_next=lambda event: calls.append(("next", event)),
        on_done=lambda whole: calls.append(("done", whole)),
        on_error=lambda error: calls.append(("error", error)),
    )
    by_queue = chat(user="queue", restarts=1, queue=mine)
    with_tag = chat(user="tag", restarts=1, queue=tagged, tag="t", nowait=True)

    *items, end = taken(by_get, len(BROKEN) + len(WHOLE) + 2)
    assert end is DONE
    again = assert_restarted_once(items)
    assert type(again.error) is StreamInterruptedError
    assert content(again.error.snapshot) == "four five"
    assert_restarted_once(list(by_loop))
    assert_restarted_once(list(bounded))
    assert content(by_result.result(SOON)) == "one two three"
    whole = by_callback.result(SOON)
    assert_restarted_once([value for name, value in calls if name == "next"])
    assert [value for name, value in calls if name != "next"] == [whole, whole]
    *items, end = taken(mine, len(BROKEN) + len(WHOLE) + 2)
    assert end is DONE
    assert_restarted_once(items)
    items = taken(tagged, len(BROKEN) + len(WHOLE) + 2)
    assert all(isinstance(item, Tagged) and item.tag == "t" for item in items)
    assert_restarted_once([item.item for item in items[:-1]])
    for handle in (by_get.stream, by_loop.stream, bounded.stream, by_result, by_queue, with_tag):
        assert handle.result(SOON) == whole
        assert handle.exception() is None
    assert set(attempts.values()) == {2}
    # The same is asked for, in the same words.
    bodies = {request.body for request in server.requests if request.json["user"] == "get"}
    assert len(bodies) == 1


class TestText:
    def test_text_cannot_be_taken_back(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(CUT, answer(WHOLE))
        events = chat(restarts=1)
        pieces = events.text()
        assert [next(pieces), next(pieces)] == ["four", " five"]
        with pytest.raises(StreamInterruptedError) as caught:
            next(pieces)
        assert content(caught.value.snapshot) == "four five"
        assert list(pieces) == []
        # The stream itself goes on, and so may whoever wants the new answer.
        assert "".join(events.text()) == "one two three"
        assert content(events.stream.result(SOON)) == "one two three"

    def test_where_none_had_come_it_goes_on(self, server: ScriptedServer, chat: Chat) -> None:
        server.play(answer([BROKEN[0], Fin()]), answer(WHOLE))
        assert list(chat(restarts=1).text()) == ["one", " two", " three"]

    def test_text_of_another_choice_is_not_void(self, server: ScriptedServer, chat: Chat) -> None:
        other = {"choices": [{"index": 1, "delta": {"content": "other"}}]}
        server.play(CUT, answer([*WHOLE, other]))
        assert list(chat(restarts=1).text(choice=1)) == ["other"]


# What is asked for again, and what is not ----------------------------------------------------


@attrs.frozen
class Break:
    """An answer that ends badly after the events of ``BROKEN``.

    :param then: what comes after them.
    """

    then: list[Event]
    error: type[StreamError]
    timeout: Timeout = attrs.field(factory=Timeout)
    arguments: dict[str, Any] = attrs.field(factory=dict)

    def script(self) -> Script:
        return answer([*BROKEN, *self.then], **{"done": False, **self.arguments})


PASSING = {
    "FIN": Break([Fin()], StreamInterruptedError),
    "the end of a chunked body": Break([], StreamInterruptedError),
    "the end of a close-delimited body": Break(
        [], StreamInterruptedError, arguments={"framing": "close"}
    ),
    "a length that is not met": Break(
        [Fin()], StreamInterruptedError, arguments={"headers": {"Content-Length": "9999"}}
    ),
    "not JSON": Break(["{"], StreamDecodeError),
    "no object": Break(["[1]"], StreamDecodeError),
    "not UTF-8": Break([b'data: {"a": "\xff"}\n\n'], StreamDecodeError),
    "idle": Break([Hang()], StreamTimeoutError, Timeout(idle=0.15)),
    "gap": Break([Repeat(chunk(b":\n\n"), delay=0.01)], StreamTimeoutError, Timeout(gap=0.15)),
}


def test_what_passes(server: ScriptedServer, chat: Chat) -> None:
    """All at once, since each waits for the server to recover."""
    attempts: dict[str, int] = defaultdict(int)

    def answer_to(request: Request) -> Script:
        name = request.json["user"]
        attempts[name] += 1
        return PASSING[name].script() if attempts[name] == 1 else answer(WHOLE)

    server.always(answer_to)
    streams = {
        name: chat(user=name, restarts=1, timeout=broken.timeout)
        for name, broken in PASSING.items()
    }
    for name, events in streams.items():
        again = assert_restarted_once(list(events))
        assert type(again.error) is PASSING[name].error, name
        assert content(again.error.snapshot) == "four five", name
        assert content(events.stream.result(SOON)) == "one two three"
    assert attempts == dict.fromkeys(PASSING, 2)


def test_broken_compression_passes(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    begun = answer(BROKEN, encoding="gzip", done=False)[: 1 + len(BROKEN)]
    server.play([*begun, Wait(go), chunk(b"\xff" * 100)], answer(WHOLE))
    events = chat(restarts=1)
    items = taken(events, len(BROKEN))  # what comes together with rubbish cannot be told from it
    go.set()
    again = assert_restarted_once([*items, *events])
    assert type(again.error) is StreamDecodeError


def test_a_reset_passes(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([*BROKEN, Wait(go), Reset()]), answer(WHOLE))
    events = chat(restarts=1)
    items = taken(events, len(BROKEN))  # a reset may overtake what was sent before it
    go.set()
    assert_restarted_once([*items, *events])


ERROR = {"error": {"message": "Overloaded.", "code": "c", "type": "t"}}
LASTING = {
    "an error object": Break([frame(ERROR)], StreamAPIError),
    "a named error": Break([frame(ERROR, event="error")], StreamAPIError),
    "an event too large": Break([frame({"x": "x" * 20_000})], StreamDecodeError),
    "total": Break([Hang()], StreamTimeoutError, Timeout(total=0.2)),
}


@pytest.mark.parametrize("name", LASTING)
def test_what_does_not_pass(server: ScriptedServer, client: Client, chat: Chat, name: str) -> None:
    client.max_event_bytes = 10_000
    broken = LASTING[name]
    server.play(broken.script())
    events = chat(restarts=3, timeout=broken.timeout)
    assert dicts(taken(events, len(BROKEN))) == BROKEN
    with pytest.raises(broken.error):
        events.get(timeout=SOON)
    assert content(events.stream.snapshot()) == "four five"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "script",
    [
        answer([], content_type="text/html"),
        json_answer({"object": "chat.completion", "choices": []}),
        json_answer({"error": "No."}),
        answer([frame(ERROR)]),
        answer([b"<!doctype html>\n<html>"], done=False),
    ],
    ids=["HTML", "a whole answer", "an error", "an error in the stream", "unlabelled HTML"],
)
def test_what_is_no_event_stream_does_not_pass(
    server: ScriptedServer, chat: Chat, script: Script
) -> None:
    server.play(script)
    error = chat(restarts=3).stream.exception(SOON)
    assert isinstance(error, (StreamDecodeError, StreamAPIError))
    assert len(server.requests) == 1


def test_the_first_connection_is_no_restart(server: ScriptedServer, chat: Chat) -> None:
    server.always(error_answer(500, "No."))
    error = chat(restarts=3, nowait=True).stream.exception(SOON)
    assert type(error) is InternalServerError
    assert len(server.requests) == 1


@pytest.mark.parametrize("where", ["on_next", "on_done", "put"])
@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_what_callbacks_raise_does_not_pass(server: ScriptedServer, chat: Chat, where: str) -> None:
    # Of the classes that do pass, where they are the library's own.
    mine = StreamInterruptedError("mine")

    def fail(_: Any) -> None:
        raise mine

    class Refusing:
        put = staticmethod(fail)

    server.play(answer(WHOLE))
    given: dict[str, Any] = {"queue": Refusing()} if where == "put" else {where: fail}
    made = chat(restarts=3, on_error=lambda _: None, **given)
    stream = made.stream if where == "on_done" else made
    assert stream.exception(SOON) is mine
    assert len(server.requests) == 1


def test_what_ended_well_is_not_asked_for_again(server: ScriptedServer, chat: Chat) -> None:
    server.play(
        answer([*WHOLE, frame("[DONE]"), Reset()], done=False),
        answer([*WHOLE, Fin()], framing="close", done=False),
    )
    for _ in range(2):
        assert dicts(list(chat(restarts=3))) == WHOLE
    assert len(server.requests) == 2


def test_without_restarts_none_is_made(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT)
    assert isinstance(chat().stream.exception(SOON), StreamInterruptedError)
    assert len(server.requests) == 1


def test_a_response_is_asked_for_again(server: ScriptedServer, client: Client) -> None:
    created = {"type": "response.created", "response": {"id": "r", "output": []}}
    delta = {"type": "response.output_text.delta", "delta": "Hi"}
    completed = {"type": "response.completed", "response": {"id": "s", "output": []}}
    failed = {"type": "response.failed", "response": {"error": {"message": "No."}}}
    server.play(answer([created, delta]), answer([delta, completed], done=False), answer([failed]))
    events = client.create_response(stream=True, restarts=1)
    items = list(events)
    assert isinstance(items.pop(2), Restarted)
    assert dicts(items) == [created, delta, delta, completed]
    assert events.stream.result(SOON).id == "s"
    error = client.create_response(stream=True, restarts=1).stream.exception(SOON)
    assert isinstance(error, StreamAPIError)
    assert len(server.requests) == 3


# Several of them -----------------------------------------------------------------------------


def test_they_are_numbered(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, answer([WHOLE[0], "{"]), answer(WHOLE))
    events = chat(restarts=2)
    items = list(events)
    first, second = (item for item in items if isinstance(item, Restarted))
    assert [items.index(first), items.index(second)] == [3, 5]
    assert (first.attempt, second.attempt) == (1, 2)
    assert type(first.error) is StreamInterruptedError
    assert content(first.error.snapshot) == "four five"
    assert type(second.error) is StreamDecodeError
    assert content(second.error.snapshot) == ""
    assert dicts([items[4]]) == WHOLE[:1]
    assert dicts(items[6:]) == WHOLE
    assert content(events.stream.result(SOON)) == "one two three"


def test_the_last_error_is_raised_when_all_are_used_up(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, answer([*WHOLE[:2], Fin()]))
    errors: list[BaseException] = []
    events = chat(restarts=1, on_error=errors.append)
    items = taken(events, len(BROKEN) + 1 + 2)
    with pytest.raises(StreamInterruptedError) as caught:
        events.get(timeout=SOON)
    assert caught.value is not items[len(BROKEN)].error
    assert content(caught.value.snapshot) == content(events.stream.snapshot()) == "one"
    assert errors == [caught.value]
    with pytest.raises(StreamInterruptedError) as again:
        events.stream.result()
    assert again.value is caught.value
    assert len(server.requests) == 2


def test_an_answer_without_an_event_makes_nothing_void(server: ScriptedServer, chat: Chat) -> None:
    """Nobody hears of it but by the number of the next one that does bring something."""
    server.play(CUT, answer([], done=False), answer(WHOLE))
    events = chat(restarts=2)
    items = list(events)
    again = items.pop(len(BROKEN))
    assert isinstance(again, Restarted)
    assert again.attempt == 2
    assert content(again.error.snapshot) == "four five"
    assert dicts(items) == [*BROKEN, *WHOLE]


def test_the_last_answer_may_bring_nothing(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, answer([], done=False))
    events = chat(restarts=1)
    assert dicts(taken(events, len(BROKEN))) == BROKEN
    with pytest.raises(StreamInterruptedError, match="before its first event") as caught:
        events.get(timeout=SOON)
    assert content(caught.value.snapshot) == content(events.stream.snapshot()) == "four five"


def test_a_first_answer_without_an_event(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([], done=False), answer(WHOLE))
    again, *items = list(chat(restarts=1))
    assert isinstance(again, Restarted)
    assert again.error.snapshot.choices == []
    assert dicts(items) == WHOLE


# What the handle tells -----------------------------------------------------------------------


@pytest.mark.own_session("when it is connected, only requests knows")
def test_the_news_comes_with_the_first_event_and_not_before(
    server: ScriptedServer, chat: Chat
) -> None:
    first, second = threading.Event(), threading.Event()
    headers = [{"X-Request-Id": "a"}, {"X-Request-Id": "b"}]
    server.play(
        answer([b":\n\n", *BROKEN, Fin()], headers=headers[0]),
        answer([b":\n\n", Wait(first), *WHOLE[:2], Wait(second), *WHOLE[2:]], headers=headers[1]),
    )
    events = chat(restarts=1)
    stream = events.stream
    taken(events, len(BROKEN))
    assert stream.request_id == "a"
    bytes_before = stream.stats.bytes
    server.wait_for_requests(2)
    deadline = time.monotonic() + SOON
    while stream.stats.keep_alives < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    # The new answer has begun, and brought no event.
    assert stream.request_id == "b"
    assert stream.headers["x-request-id"] == "b"
    assert stream.status_code == 200
    assert events.qsize() == 0
    assert content(stream.snapshot()) == "four five"
    assert stream.running()
    first.set()
    again, *items = taken(events, 3)
    assert isinstance(again, Restarted)
    assert dicts(items) == WHOLE[:2]
    assert content(stream.snapshot()) == "one"
    assert stream.snapshot().id == WHOLE[0]["id"]
    second.set()
    assert dicts(list(events)) == WHOLE[2:]
    stats = stream.stats
    assert stats.events == len(BROKEN) + len(WHOLE)
    assert stats.keep_alives == 2
    assert stats.bytes > 2 * bytes_before > 0
    assert stats.seconds > PAUSE
    assert stats.first_event_seconds is not None
    assert stats.first_event_seconds < PAUSE * HELD_UP  # of the first
    assert stats.connect_seconds is not None
    assert stats.connect_seconds < PAUSE * HELD_UP
    assert stats.longest_gap_seconds < stats.seconds


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_a_snapshot_from_the_callback_that_is_told(server: ScriptedServer, chat: Chat) -> None:
    """When it hears that all is void, all is."""
    returned = threading.Event()
    seen: list[str | None] = []

    def on_next(event: ChatCompletionChunk | Restarted) -> None:
        assert returned.wait(SOON)
        choices = stream.snapshot().choices
        seen.append(choices[0].message.content if choices else None)

    server.play(CUT, answer(WHOLE[:3]))
    stream = chat(restarts=1, on_next=on_next)
    returned.set()
    stream.result(SOON)
    assert seen == ["", "four", "four five", None, "", "one", "one two"]


@pytest.mark.parametrize("mode", ["queue", "callback", "foreign"])
def test_subscribers(server: ScriptedServer, chat: Chat, mode: str) -> None:
    """Who was there hears of it; who comes later gets the newest answer only."""
    go = threading.Event()
    server.play(CUT, answer([*WHOLE[:2], Wait(go), *WHOLE[2:]]))
    sinks: dict[str, dict[str, Any]] = {
        "queue": {},
        "callback": {"on_next": lambda _: None},
        "foreign": {"queue": queue.SimpleQueue()},
    }
    to = sinks[mode]
    made = chat(restarts=1, replay=True, **to)
    stream = made.stream if mode == "queue" else made
    early = stream.subscribe()
    items = taken(early, len(BROKEN))
    between = stream.subscribe()  # the answer that broke off is the newest that there is
    items += taken(early, 3)
    late = stream.subscribe()
    go.set()
    assert_restarted_once([*items, *early])
    assert_restarted_once(list(between))
    assert dicts(list(late)) == WHOLE
    assert dicts(list(stream.subscribe())) == WHOLE


# The wait, and the connecting ----------------------------------------------------------------


def wait_for_the_pause(server: ScriptedServer) -> None:
    """Until the reader has left the broken connection, and so waits for the server to recover."""
    assert server.connections[-1].client_closed.wait(SOON)


@pytest.mark.parametrize("mode", ["queue", "callback", "foreign"])
def test_closing_during_the_wait(server: ScriptedServer, chat: Chat, mode: str) -> None:
    server.play(CUT)
    mine: Any = queue.SimpleQueue()
    if mode == "queue":
        mine = chat(restarts=3)
        stream = mine.stream
    elif mode == "callback":
        stream = chat(restarts=3, on_next=mine.put)
    else:
        stream = chat(restarts=3, queue=mine)
    wait_for_the_pause(server)
    start = time.monotonic()
    stream.close()
    while [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]:
        assert time.monotonic() < start + PAUSE * 0.8  # it was woken
        time.sleep(0.001)
    assert dicts(taken(mine, len(BROKEN))) == BROKEN
    if mode != "callback":
        assert mine.get_nowait() is DONE
    with pytest.raises(CancelledError):
        stream.result(0)
    assert len(server.requests) == 1


def test_dropping_it_during_the_wait(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT)
    events = chat(restarts=3)
    wait_for_the_pause(server)
    start = time.monotonic()
    del events
    while [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]:
        assert time.monotonic() < start + PAUSE * 0.8
        time.sleep(0.001)
    assert len(server.requests) == 1


def test_there_is_a_wait(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, answer(WHOLE))
    list(chat(restarts=1))
    first, second = server.requests
    assert PAUSE <= second.received_at - first.received_at < 3.0 * HELD_UP


def test_total_is_over_all(server: ScriptedServer, chat: Chat) -> None:
    server.always(answer([*BROKEN, Hang()]))
    start = time.monotonic()
    events = chat(restarts=100, timeout=Timeout(idle=0.1, total=0.9))
    with pytest.raises(StreamTimeoutError, match=r"total time of 0\.9 s") as caught:
        list(events)
    assert caught.value.deadline == "total"
    assert 0.9 <= time.monotonic() - start < 1.4 + HELD_UP
    assert content(caught.value.snapshot) == "four five"
    assert len(server.requests) == 2


def test_total_is_up_during_the_wait(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT)
    start = time.monotonic()
    error = chat(restarts=1, timeout=Timeout(total=0.2)).stream.exception(SOON)
    assert isinstance(error, StreamTimeoutError)
    assert error.deadline == "total"
    assert content(error.snapshot) == "four five"
    assert 0.2 <= time.monotonic() - start < 0.7 + HELD_UP
    assert len(server.requests) == 1


def test_a_connection_that_fails_ends_it(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, error_answer(500, "Gone."))
    errors: list[BaseException] = []
    events = chat(restarts=5, on_error=errors.append)
    assert dicts(taken(events, len(BROKEN))) == BROKEN
    with pytest.raises(InternalServerError, match="Gone") as caught:
        events.get(timeout=SOON)
    assert errors == [caught.value]
    assert events.stream.exception(SOON) is caught.value
    assert content(events.stream.snapshot()) == "four five"
    assert len(server.requests) == 2


def test_no_connection_ends_it(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT)
    server.on_connect((), Reset())
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    chat(restarts=5, queue=mine)
    *events, error, end = taken(mine, len(BROKEN) + 2)
    assert dicts(events) == BROKEN
    assert isinstance(error, APIConnectionError)
    assert end is DONE


def test_connecting_is_retried_like_the_first(
    server: ScriptedServer, client: Client, chat: Chat
) -> None:
    client.max_retries = 2
    busy = error_answer(503, "Busy.", headers={"retry-after-ms": "1"})
    server.play(busy, CUT, busy, busy, answer(WHOLE))
    events = chat(restarts=1)
    assert_restarted_once(list(events))
    assert len(server.requests) == 5


def test_closing_while_it_connects_again(server: ScriptedServer, chat: Chat) -> None:
    server.play(CUT, [Hang()])
    events = chat(restarts=1)
    server.wait_for_requests(2)
    events.close()
    assert dicts(taken(events, len(BROKEN))) == BROKEN
    assert events.get(timeout=SOON) is DONE
    assert server.connections[-1].client_closed.wait(SOON)


def test_the_trace_sees_each_attempt(server: ScriptedServer) -> None:
    server.play(CUT, answer(WHOLE))
    seen: list[int] = []
    with Client(
        api_key="test",
        base_url=server.base_url,
        trace=lambda _, response: seen.append(response.status_code),  # type: ignore[union-attr]
    ) as client:
        list(client.create_chat_completion(**BODY, stream=True, restarts=1))
    assert seen == [200, 200]
