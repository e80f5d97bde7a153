"""``event_stream``: the bytes of it, over real streams."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from helpers import SOON
from pages import Told, comments, messages, told
from streaming import wait_until

from openai_stream import Client, OpenAIStreamError, Restarted, StreamInterruptedError
from openai_stream.testing import (
    Event,
    Hang,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
    frame,
)
from openai_stream.web import EVENT_STREAM_HEADERS, Body, event_stream
from openai_stream.web.frames import SILENCE

CHUNKS = chat_chunks("one two three")
DONE = Told("done", {"closed": False}, "", "86400000")

Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client) -> Ask:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(model="m", messages=[], stream=True, **arguments)

    return stream


def numbered(chunks: list[dict[str, Any]], first: int = 1) -> list[tuple[str, Any]]:
    return [(str(number), chunk) for number, chunk in enumerate(chunks, first)]


def last(blocks: bytes | Iterator[bytes]) -> Told:
    return told(blocks)[-1]


# What is sent --------------------------------------------------------------------------------


def test_gives_each_event_with_its_number_and_then_the_end(
    server: ScriptedServer, ask: Ask
) -> None:
    server.play(answer(CHUNKS))
    blocks = list(event_stream(ask()))
    assert messages(blocks) == [(str(number), data) for number, data in enumerate(CHUNKS, 1)]
    assert told(blocks)[-1] == Told("done", {"closed": False}, str(len(CHUNKS)), "86400000")
    assert len(told(blocks)) == len(CHUNKS) + 1


def test_gives_whole_events_in_each_block(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS))
    for block in event_stream(ask()):
        assert block.endswith(b"\n\n")
        assert len(told(block)) == (not block.startswith(b":"))


def test_sends_something_before_the_model_does(server: ScriptedServer, ask: Ask) -> None:
    server.play([Hang()])
    with closing(event_stream(ask(nowait=True))) as body:
        assert next(body).startswith(b":")


@pytest.mark.parametrize(
    "text",
    ["a\nb\n\ndata: x", "a\r\nb\rc", "\u2028\u2029\x85\x0b\x0c\x1c", "\0", "\ufeff", "😀", ": x"],
)
def test_carries_any_text_in_one_line(server: ScriptedServer, ask: Ask, text: str) -> None:
    server.play(answer(chat_chunks([text])))
    blocks = list(event_stream(ask()))
    assert messages(blocks)[1][1]["choices"][0]["delta"]["content"] == text
    assert all(len(block.decode("ascii").splitlines()) <= 4 for block in blocks)


def test_lets_the_page_join_a_character_that_was_cut(server: ScriptedServer, ask: Ask) -> None:
    halves = chat_chunks(["a\ud83d", "\ude00b"])
    server.play(answer([frame(json.dumps(chunk)) for chunk in halves]))
    body = b"".join(event_stream(ask()))
    assert b'"content":"a\\ud83d"' in body
    assert b'"content":"\\ude00b"' in body
    texts = [data["choices"][0]["delta"].get("content") or "" for _, data in messages(body)]
    joined = "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    assert joined == "a😀b"  # as JavaScript joins strings


def test_gives_events_of_a_response(server: ScriptedServer, client: Client) -> None:
    events: list[Event] = [
        {"type": "response.output_text.delta", "item_id": "m", "delta": "Hi"},
        {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
    ]
    server.play(answer(events, done=False))
    stream = client.create_response(model="m", input="Hi", stream=True)
    assert messages(event_stream(stream)) == numbered(events)  # type: ignore[arg-type]


def test_takes_no_name_of_a_foreign_event_for_its_own(
    server: ScriptedServer, client: Client
) -> None:
    frames = [b"event: done\nid: 7\ndata: [1]\n\n", b"event: failed\ndata: 2\n\n"]
    server.play(answer(frames))
    body = b"".join(event_stream(client.stream("/any", {})))
    assert messages(body) == [
        ("1", {"event": "done", "data": [1], "id": "7"}),
        ("2", {"event": "failed", "data": 2, "id": None}),
    ]
    assert [one.event for one in told(body)] == ["message", "message", "done"]


def test_gives_what_the_user_put_between_the_events(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([Wait(more), *CHUNKS]))
    events = ask()
    events.put({"note": 1})
    events.put(object())
    more.set()
    found = messages(event_stream(events))
    assert found[0] == ("1", {"note": 1})
    assert found[1][1].startswith("<object object")
    assert found[2:] == numbered(CHUNKS, 3)


def test_a_stream_that_was_closed_says_so(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    events = ask()
    with closing(event_stream(events)) as body:
        next(body)
        assert messages(next(body)) == [("1", CHUNKS[0])]
        wait_until(lambda: events.stream.stats.events == 2)
        events.stream.close()
        assert last(body) == Told("done", {"closed": True}, "2", "86400000")


def test_a_stream_that_was_closed_before_the_page_came_says_so(
    server: ScriptedServer, ask: Ask
) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    stream = ask(replay=True).stream
    stream.close()
    assert last(event_stream(stream.subscribe())).data == {"closed": True}
    assert last(event_stream(stream.subscribe(after=1))).data == {"closed": True}


def test_a_stream_that_drains_is_closed_for_the_page(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(more), *CHUNKS[2:]]))
    events = ask()
    body = event_stream(events)
    assert messages(next(body) + next(body)) == [("1", CHUNKS[0])]
    events.close(drain=True)
    more.set()
    assert last(body).data == {"closed": True}


# Errors --------------------------------------------------------------------------------------


def test_tells_an_error_by_type_code_and_whether_to_try_again(
    server: ScriptedServer, ask: Ask
) -> None:
    body = {"error": {"message": "secret words", "type": "server_error", "code": "boom"}}
    server.play(answer([*CHUNKS[:2], body]))
    blocks = b"".join(event_stream(ask()))
    assert messages(blocks) == numbered(CHUNKS[:2])
    failed = last(blocks)
    assert (failed.event, failed.retry) == ("failed", "86400000")
    assert failed.data.keys() == {"type", "code", "retryable"}
    assert (failed.data["type"], failed.data["code"]) == ("StreamAPIError", "boom")
    assert isinstance(failed.data["retryable"], bool)
    assert b"secret" not in blocks
    assert str(server.port).encode() not in blocks


@pytest.mark.parametrize("code", ["secret words of a server", "x" * 65, "", "a\nb"])
def test_sends_no_code_that_is_prose(server: ScriptedServer, ask: Ask, code: str) -> None:
    server.play(answer([{"error": {"message": "m", "code": code}}]))
    assert last(event_stream(ask())).data["code"] is None


def test_tells_an_error_from_connecting(server: ScriptedServer, ask: Ask) -> None:
    server.play(error_answer(401, "Your key sk-1 is wrong.", code="invalid_api_key"))
    blocks = b"".join(event_stream(ask(nowait=True)))
    assert last(blocks).data == {
        "type": "AuthenticationError",
        "code": "invalid_api_key",
        "retryable": False,
    }
    assert b"Your key" not in blocks


class _Lazily:
    def __str__(self) -> str:
        return "bald"


def test_has_the_words_of_the_site_alone(server: ScriptedServer, ask: Ask) -> None:
    seen: list[BaseException] = []

    def words(error: BaseException) -> object:
        seen.append(error)
        return ["Später.\n", _Lazily(), None][len(seen) - 1]

    found = []
    for _ in range(3):
        server.play(answer(CHUNKS, fault="cut"))
        found.append(last(event_stream(ask(), error_text=words)).data.get("text", "none"))
    assert found == ["Später.\n", "bald", "none"]
    assert {type(error) for error in seen} == {StreamInterruptedError}


def test_ends_the_page_though_error_text_fails(
    server: ScriptedServer, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    def words(error: BaseException) -> str:
        raise KeyError("no such translation")

    server.play(answer(CHUNKS, fault="cut"))
    failed = last(event_stream(ask(), error_text=words))
    assert failed.event == "failed"
    assert failed.data == {"type": "StreamInterruptedError", "code": None, "retryable": True}
    assert "no such translation" in caplog.text


def test_an_event_that_cannot_be_sent_is_an_error(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer([*CHUNKS[:1], Hang()]))
    events = ask()
    events.put(float("nan"))
    failed = last(event_stream(events))
    assert (failed.event, failed.data["type"]) == ("failed", "ValueError")
    assert events.stream.cancelled()


# The cursor ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(len(CHUNKS) + 1))
@pytest.mark.parametrize("kind", [int, str])
def test_begins_after_the_cursor(
    server: ScriptedServer, ask: Ask, after: int, kind: type[Any]
) -> None:
    server.play(answer(CHUNKS))
    events = ask(replay=True)
    events.stream.result(SOON)
    for _ in range(2):  # each page has its own
        body = b"".join(event_stream(events, kind(after)))
        assert messages(body) == numbered(CHUNKS[after:], after + 1)
        assert last(body).event == "done"


@pytest.mark.parametrize(
    "after",
    [None, "", " ", "x", "-1", "1.5", "1_0", "٣", "9" * 5000, "0x1", -3, True, 1.0, b"2", "1\0"],
)
def test_what_is_not_a_number_begins_at_the_start(
    server: ScriptedServer, ask: Ask, after: Any
) -> None:
    server.play(answer(CHUNKS))
    assert messages(event_stream(ask(replay=True), after)) == numbered(CHUNKS)


def test_a_cursor_above_what_there_is_waits(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(more), *CHUNKS[2:]]))
    body = event_stream(ask(replay=True), str(len(CHUNKS) - 1))
    next(body)
    more.set()
    assert messages(body) == [(str(len(CHUNKS)), CHUNKS[-1])]


def test_without_replay_there_is_only_the_start(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS))
    assert messages(event_stream(ask(), "2")) == numbered(CHUNKS)


def test_a_subscription_numbers_on_from_its_own_place(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS))
    events = ask(replay=True)
    stream = events.stream
    stream.result(SOON)
    for after in (0, None, "x", "1", 4):
        body = event_stream(stream.subscribe(after=2), after)
        assert messages(body) == numbered(CHUNKS[2:], 3)
    begun = stream.subscribe(after=1)
    begun.get()
    assert messages(event_stream(begun)) == numbered(CHUNKS[2:], 3)
    begun = stream.subscribe()
    begun.get()
    assert messages(event_stream(begun, "4")) == numbered(CHUNKS[1:], 2)


def test_a_subscription_from_the_start_takes_the_cursor(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([*CHUNKS[:3], Wait(more), *CHUNKS[3:]]))
    events = ask(replay=True)
    stream = events.stream
    subscription = stream.subscribe()
    body = event_stream(subscription, "2")
    next(body)
    assert messages(next(body)) == [("3", CHUNKS[2])]
    assert list(subscription) is not None  # it has ended
    more.set()
    assert messages(body) == numbered(CHUNKS[3:], 4)
    assert not stream.cancelled()


def test_a_restart_is_an_event_of_its_own(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS[:3], fault="cut"), answer(CHUNKS))
    events = ask(replay=True, restarts=1)
    stream = events.stream
    live = told(event_stream(stream.subscribe()))
    (at,) = [place for place, one in enumerate(live) if one.event == "restarted"]
    cut = at
    assert live[at].id == str(cut + 1)
    assert (live[at].data["attempt"], live[at].data["fallback"]) == (1, 0)
    assert live[at].data["error"]["type"] == "StreamInterruptedError"
    assert [(one.id, one.data) for one in live[at + 1 : -1]] == numbered(CHUNKS, cut + 2)
    stream.result(SOON)

    def late(after: int) -> list[str]:
        return [one.event for one in told(event_stream(stream.subscribe(), str(after)))]

    whole = ["message"] * len(CHUNKS)
    # A page that has something of the void answer learns so; one that has nothing need not.
    assert late(0) == [*whole, "done"]
    for after in range(1, cut + 1):
        assert late(after) == ["restarted", *whole, "done"]
    for seen in range(len(CHUNKS) + 1):
        assert late(cut + 1 + seen) == [*whole[seen:], "done"]


def test_a_page_that_begins_learns_of_no_restart(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS[:3], fault="cut"), answer(CHUNKS))
    events = ask(replay=True, restarts=1)
    events.stream.result(SOON)
    found = told(event_stream(events))
    assert [one.event for one in found] == ["message"] * len(CHUNKS) + ["done"]


def test_a_restart_is_told_without_words(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS[:3], fault="cut"), answer(CHUNKS))
    body = b"".join(event_stream(ask(restarts=1)))
    assert str(server.port).encode() not in body
    assert b"incomplete" not in body


# Silence -------------------------------------------------------------------------------------


def test_a_comment_comes_while_the_model_is_silent(
    server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai_stream.web.events.SILENCE", 0.05)
    more = threading.Event()
    server.play(answer([*CHUNKS[:1], Wait(more), *CHUNKS[1:]]))
    body = event_stream(ask())
    first = [next(body) for _ in range(5)]
    assert len(comments(first)) == 4
    more.set()
    assert messages([*first, *body]) == numbered(CHUNKS)


def test_a_comment_is_due_after_a_quarter_of_a_minute() -> None:
    assert SILENCE == 15


# The end of the page -------------------------------------------------------------------------


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("read", [0, 2])
def test_close_closes_the_stream(server: ScriptedServer, ask: Ask, read: int, replay: bool) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    events = ask(replay=replay)
    body = event_stream(events)
    for _ in range(read):
        next(body)
    body.close()
    body.close()
    assert server.connections[0].client_closed.wait(SOON)
    assert events.stream.cancelled()
    assert list(body) == []


@pytest.mark.parametrize("read", [0, 2])
def test_close_ends_a_subscription_alone(server: ScriptedServer, ask: Ask, read: int) -> None:
    more = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(more), *CHUNKS[2:]]))
    events = ask(replay=True)
    stream = events.stream
    body = event_stream(stream.subscribe())
    for _ in range(read):
        next(body)
    body.close()
    del body
    more.set()
    assert len(messages(event_stream(stream.subscribe()))) == len(CHUNKS)
    assert not stream.cancelled()


def test_a_subscription_that_is_ended_elsewhere_is_not_the_end(
    server: ScriptedServer, ask: Ask
) -> None:
    server.play(answer([*CHUNKS[:1], Hang()]))
    events = ask(replay=True)
    subscription = events.stream.subscribe()
    with events:
        body = event_stream(subscription)
        assert messages(next(body) + next(body)) == [("1", CHUNKS[0])]
        subscription.close()
        assert list(body) == []  # the page connects again
        assert not events.stream.done()


def test_close_wakes_the_thread_that_reads(server: ScriptedServer, ask: Ask) -> None:
    server.play([Hang()])
    body = event_stream(ask(nowait=True))
    next(body)
    rest: list[bytes] = []
    reads = threading.Thread(target=lambda: rest.extend(body))
    reads.start()
    time.sleep(0.05)  # it waits, most probably
    body.close()
    reads.join(SOON)
    assert not reads.is_alive()
    assert rest == []


@pytest.mark.parametrize("read", [0, 2])
@pytest.mark.parametrize("held", [False, True])
def test_one_that_is_dropped_closes_the_stream(
    server: ScriptedServer, ask: Ask, read: int, held: bool
) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    events = ask()
    body = event_stream(events)
    stops = events.stream if held else None  # as a site does that has a Stop button
    del events
    for _ in range(read):
        next(body)
    gone = weakref.ref(body)
    del body
    assert gone() is None, "a circle holds it"
    assert server.connections[0].client_closed.wait(SOON)
    assert stops is None or stops.cancelled()


def test_one_that_is_closed_holds_nothing(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer([*CHUNKS[:2], Hang()]))
    events = ask(replay=True)
    subscription = events.stream.subscribe()
    gone = weakref.ref(subscription)
    body = event_stream(subscription)
    next(body)
    body.close()
    del subscription
    assert gone() is None, "its events stay as long as the body does"
    events.close()


def test_a_subscription_that_is_dropped_ends_nothing(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(more), *CHUNKS[2:]]))
    events = ask(replay=True)
    body = event_stream(events.stream.subscribe())
    next(body)
    del body
    gc.collect()
    more.set()
    assert len(list(events)) == len(CHUNKS)


def test_a_stream_that_has_failed_leaves_no_circle(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS, fault="cut"))
    events = ask()
    body = event_stream(events)
    gone = weakref.ref(events)
    list(body)
    gc.disable()
    try:
        del events, body
        assert gone() is None
    finally:
        gc.enable()


def test_a_queue_whose_end_was_taken_ends_at_once(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS), answer(CHUNKS, fault="cut"))
    events = ask()
    list(events)
    assert [one.event for one in told(event_stream(events))] == ["done"]
    events = ask()
    with pytest.raises(OpenAIStreamError):
        list(events)
    assert [one.event for one in told(event_stream(events))] == ["failed"]
    server.play(answer(CHUNKS))
    events = ask(stream_close=True)
    assert [one.event for one in told(event_stream(events))][-1] == "done"


# Wrong use -----------------------------------------------------------------------------------


def test_two_do_not_share_a_queue(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS))
    events = ask()
    body = event_stream(events)
    with pytest.raises(RuntimeError, match=r"event_stream\(\) takes .* already.*subscribe"):
        event_stream(events)
    with pytest.raises(RuntimeError, match=r"event_stream\(\) takes .* already"):
        events.parts()
    assert len(messages(body)) == len(CHUNKS)


def test_refuses_what_is_not_a_queue(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(CHUNKS))
    events = ask()
    wrong: Any
    for wrong in (events.stream, iter(events), [Restarted], None):
        with pytest.raises(TypeError, match=r"event_stream\(\) takes the queue.*subscribe"):
            event_stream(wrong)
    with pytest.raises(TypeError, match="error_text must be a function"):
        event_stream(events, error_text="Sorry")  # type: ignore[arg-type]
    events.close()


# Web servers ---------------------------------------------------------------------------------


def application(body: Body) -> Any:
    def run(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(EVENT_STREAM_HEADERS.items()))
        return body

    return validator(run)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_keeps_to_the_standard_of_wsgi(server: ScriptedServer, ask: Ask, method: str) -> None:
    server.play(answer([*CHUNKS[:1], Hang()]))
    events = ask()
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = BytesIO()
    said: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        said.extend([status, dict(headers)])
        return lambda _: None

    response = application(event_stream(events))(environ, start_response)
    blocks = iter(response)
    if method == "GET":
        assert next(blocks).startswith(b":")
        assert messages(next(blocks)) == [("1", CHUNKS[0])]
        assert said[1]["Content-Type"] == "text/event-stream"
    response.close()
    assert events.stream.cancelled()
    assert server.connections[0].client_closed.wait(SOON)


def test_the_headers_forbid_what_holds_events_up() -> None:
    assert EVENT_STREAM_HEADERS == {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
    }


def test_a_frame_of_our_own_is_read_by_our_own_client(
    server: ScriptedServer, client: Client, ask: Ask
) -> None:
    """The bytes of a page are an event stream to others as well."""
    server.play(answer(CHUNKS))
    body = b"".join(event_stream(ask()))
    server.play(answer([body], done=False))
    again = list(client.stream("/page", {}))
    assert [(event.event, event.id) for event in again] == [
        *(("message", str(number)) for number in range(1, len(CHUNKS) + 1)),
        ("done", None),
    ]
    assert [event.data for event in again[:-1]] == CHUNKS
