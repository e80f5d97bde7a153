"""Background responses: resumed, not asked for again; cancelled, not only closed.

The server here does what OpenAI's does: it numbers the events, keeps them, and gives those after a
number to whoever asks.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from machine import HELD_UP

import openai_stream
from openai_stream import (
    DONE,
    AzureClient,
    Client,
    NotFoundError,
    Response,
    ResponseEvent,
    Restarted,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    resume_response,
    retrying,
)
from openai_stream.testing import FAULTS as NAMED
from openai_stream.testing import (
    Fin,
    Hang,
    Request,
    Reset,
    Script,
    ScriptedServer,
    Wait,
    answer,
    chunk,
    error_answer,
    frame,
    json_answer,
)

SOON = 30.0
IDENT = "resp_1"
TEXT = "one two three"
BODY: dict[str, Any] = {"model": "any", "input": "Count", "background": True}


def events_of(text: str, ident: str = IDENT) -> list[dict[str, Any]]:
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    part = {"type": "output_text", "text": "", "annotations": []}
    whole = {**part, "text": text}
    said = {**item, "status": "completed", "content": [whole]}
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": ident, "object": "response", "background": True}
    pieces = [f"{word} " for word in text.split(" ")]
    pieces[-1] = pieces[-1].rstrip()
    kinds: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "queued", "output": []}},
        {"type": "response.in_progress", "response": {**response, "status": "in_progress"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "content": []},
        },
        {"type": "response.content_part.added", **where, "part": part},
        *({"type": "response.output_text.delta", **where, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **where, "text": text},
        {"type": "response.content_part.done", **where, "part": whole},
        {"type": "response.output_item.done", "output_index": 0, "item": said},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [said]},
        },
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(kinds)]


EVENTS = events_of(TEXT)
LAST = len(EVENTS) - 1


def rest(request: Request) -> list[dict[str, Any]]:
    """The events that a request asks for."""
    if request.method == "POST":
        return EVENTS
    _, _, query = request.target.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&"))
    assert parameters["stream"] == "true"
    return EVENTS[int(parameters.get("starting_after", -1)) + 1 :]


def whole(request: Request) -> Script:
    return answer(rest(request), done=False)


def asked(server: ScriptedServer) -> list[tuple[str, str]]:
    return [(request.method, request.target) for request in server.requests]


def get(after: int | None) -> tuple[str, str]:
    rest = "" if after is None else f"&starting_after={after}"
    return ("GET", f"/v1/responses/{IDENT}?stream=true{rest}")


POST = ("POST", "/v1/responses")
CANCEL = ("POST", f"/v1/responses/{IDENT}/cancel")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "backoff", lambda retries: 0.01)


# After a break -----------------------------------------------------------------------------------

#: What ends a connection behind some of the events.
FAULTS: dict[str, list[Any]] = {
    "an orderly end": [],
    "a cut": [Fin()],
    "a reset": [Reset()],
    "half a frame": [chunk(b'data: {"type": "response.out'), Fin()],
    "what is not JSON": [chunk(b"data: {]\n\n"), Hang()],
    "what is not UTF-8": [chunk(b'data: {"a": "\xff"}\n\n'), Hang()],
    "silence": [Hang()],
    "keep-alives only": [chunk(b": keep-alive\n\n"), Hang()],
}


def read_queue(call: Callable[..., Any]) -> list[Any]:
    events = call()
    items = list(events)
    assert events.stream.result().output_text == TEXT
    return items


def read_callback(call: Callable[..., Any]) -> list[Any]:
    items: list[Any] = []
    assert call(on_next=items.append).result(SOON).output_text == TEXT
    return items


def read_foreign_queue(call: Callable[..., Any]) -> list[Any]:
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = call(queue=mine)
    items = []
    while (item := mine.get(timeout=SOON)) is not DONE:
        items.append(item)
    assert stream.result(SOON).output_text == TEXT
    return items


def read_result(call: Callable[..., Any]) -> list[Any]:
    assert call().stream.result(SOON).output_text == TEXT
    return []


READERS = [read_queue, read_callback, read_foreign_queue]

#: The named faults that end an answer, and do not make it another one.
ENDING = (
    "corrupt_chunk", "corrupt_gzip", "cut", "invalid_utf8", "keep_alives", "malformed", "reset",
    "short_length", "stall", "truncated",
)  # fmt: skip
#: And those that a request for the rest may meet.
REFUSING = ("no_response", "rate_limited", "server_error", "unanswered")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_break_after_every_event_in_turn(
    server: ScriptedServer, client: Client, fault: str
) -> None:
    """Each request brings one event more, and then the fault: nothing is lost or comes twice."""

    def one_more(request: Request) -> Script:
        left = rest(request)
        if len(left) == 1:
            return answer(left, done=False)
        script = answer([left[0], *FAULTS[fault]], done=False)
        return script[:-1] if fault in ("silence", "keep-alives only") else script

    server.always(one_more)
    timeout = (
        Timeout(idle=0.15 * HELD_UP)
        if FAULTS[fault] and isinstance(FAULTS[fault][-1], Hang)
        else None
    )
    events = client.create_response(**BODY, stream=True, restarts=LAST, timeout=timeout)
    items = list(events)
    assert [item.to_dict() for item in items] == EVENTS
    assert events.stream.result().output_text == TEXT
    assert asked(server) == [POST, *(get(after) for after in range(LAST))]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("broken", range(1, len(EVENTS)))
def test_a_break_after_any_event(
    server: ScriptedServer, client: Client, broken: int, read: Callable[..., list[Any]]
) -> None:
    server.play(answer([*EVENTS[:broken], Reset()]), whole)
    items = read(lambda **where: client.create_response(**BODY, stream=True, restarts=1, **where))
    assert [item.to_dict() for item in items] == EVENTS
    assert asked(server) == [POST, get(broken - 1)]


@pytest.mark.parametrize("read", [*READERS, read_result])
@pytest.mark.parametrize("name", ENDING)
def test_each_fault_by_name_after_each_event(
    server: ScriptedServer, client: Client, name: str, read: Callable[..., list[Any]]
) -> None:
    silent = name in ("keep_alives", "stall")
    timeout = Timeout(idle=0.2 * HELD_UP, gap=0.2 * HELD_UP) if silent else None
    for broken in range(1, len(EVENTS)):
        server.play(answer(EVENTS, fault=NAMED[name](after=broken), done=False), whole)
        items = read(
            lambda **where: client.create_response(
                **BODY, stream=True, restarts=1, timeout=timeout, **where
            )
        )
        if read is not read_result:
            assert [item.to_dict() for item in items] == EVENTS
        assert asked(server)[-2:] == [POST, get(broken - 1)]


@pytest.mark.parametrize("read", [*READERS, read_result])
@pytest.mark.parametrize("name", REFUSING)
def test_a_request_for_the_rest_is_tried_again(
    server: ScriptedServer, name: str, read: Callable[..., list[Any]]
) -> None:
    server.play(answer([*EVENTS[:5], Fin()]), answer(EVENTS, fault=name), whole)
    with Client("k", server.base_url, max_retries=1) as client:
        items = read(
            lambda **where: client.create_response(
                **BODY, stream=True, restarts=1, timeout=Timeout(gap=0.3), **where
            )
        )
    if read is not read_result:
        assert [item.to_dict() for item in items] == EVENTS
    assert asked(server) == [POST, get(4), get(4)]


def test_the_snapshot_and_the_text_go_on(server: ScriptedServer, client: Client) -> None:
    more = threading.Event()
    server.play(
        answer([*EVENTS[:5], Fin()]),
        [*answer(EVENTS[5:6], done=False)[:-1], Wait(more), Hang()],
    )
    events = client.create_response(**BODY, stream=True, restarts=1)
    texts = events.text()
    assert next(texts) + next(texts) == "one two "
    assert events.stream.snapshot().output_text == "one two "
    events.close(cancel=False)
    more.set()


def test_restarts_count_each_time(server: ScriptedServer, client: Client) -> None:
    server.always(lambda request: answer([rest(request)[0], Fin()]))
    events = client.create_response(**BODY, stream=True, restarts=2)
    with pytest.raises(StreamInterruptedError) as caught:
        list(events)
    assert asked(server) == [POST, get(0), get(1)]
    assert isinstance(caught.value.snapshot, Response)


def test_before_its_id_is_known_it_is_asked_for_again(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer([Fin()]), whole)
    items = list(client.create_response(**BODY, stream=True, restarts=1))
    assert isinstance(items[0], Restarted)
    assert [item.to_dict() for item in items[1:]] == EVENTS
    assert asked(server) == [POST, POST]


def test_a_server_that_numbers_nothing_is_asked_for_all_of_it_again(
    server: ScriptedServer, client: Client
) -> None:
    bare = [{k: v for k, v in event.items() if k != "sequence_number"} for event in EVENTS]
    server.play(answer([*bare[:6], Fin()]), answer(bare, done=False))
    items = list(client.create_response(**BODY, stream=True, restarts=1))
    assert isinstance(items[6], Restarted)
    assert [item.to_dict() for item in items[7:]] == bare
    assert asked(server) == [POST, get(None)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "any", "input": "Count", "extra_body": {"background": True}},
        {"model": "any", "input": "", "background": False, "extra_body": {"background": True}},
    ],
)
def test_extra_body_counts(
    server: ScriptedServer, client: Client, arguments: dict[str, Any]
) -> None:
    server.play(answer([*EVENTS[:3], Fin()]), whole)
    assert len(list(client.create_response(**arguments, stream=True, restarts=1))) == len(EVENTS)
    assert asked(server) == [POST, get(2)]


def test_others_are_asked_for_again(server: ScriptedServer, client: Client) -> None:
    for _ in range(2):
        server.play(answer([*EVENTS[:3], Fin()]), whole)
    foreground = {**BODY, "background": False}
    items = list(client.create_response(**foreground, stream=True, restarts=1))
    assert isinstance(items[3], Restarted)
    list(client.stream("/responses", {**BODY, "stream": True}, restarts=1))
    assert asked(server) == [POST] * 4


def test_headers_and_query_go_along(server: ScriptedServer) -> None:
    server.play(answer([*EVENTS[:3], Fin()]), whole)
    with Client("sk-key", server.base_url, organization="org") as client:
        client.create_response(
            **BODY,
            stream=True,
            restarts=1,
            extra_headers={"X-Mine": "1"},
            extra_query={"include[]": "a"},
        ).stream.result()
    request = server.requests[1]
    assert request.target == f"/v1/responses/{IDENT}?include%5B%5D=a&stream=true&starting_after=2"
    assert request.headers["x-mine"] == "1"
    assert request.headers["authorization"] == "Bearer sk-key"
    assert request.headers["openai-organization"] == "org"
    assert request.headers["accept"] == "text/event-stream"
    assert "content-type" not in request.headers
    assert request.body == b""


# Servers that do it wrong ------------------------------------------------------------------------


def test_a_server_that_forgot_it(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*EVENTS[:6], Fin()]), error_answer(404, "no such response"))
    events = client.create_response(**BODY, stream=True, restarts=3)
    with pytest.raises(NotFoundError, match="still keep that response"):
        list(events)
    assert len(server.requests) == 2
    assert events.stream.snapshot().output_text == "one two "


@pytest.mark.parametrize("again", [0, 3, 6])
def test_what_comes_again_is_dropped(server: ScriptedServer, client: Client, again: int) -> None:
    server.play(answer([*EVENTS[:6], Fin()]), answer(EVENTS[again:], done=False))
    items = list(client.create_response(**BODY, stream=True, restarts=1))
    assert [item.to_dict() for item in items] == EVENTS


def test_a_number_that_comes_twice_is_dropped(server: ScriptedServer, client: Client) -> None:
    twice = [event for event in EVENTS for _ in range(2)]
    server.play(answer(twice, done=False))
    assert [item.to_dict() for item in client.create_response(**BODY, stream=True)] == EVENTS


def test_a_server_that_resumes_too_late(server: ScriptedServer, client: Client) -> None:
    late = answer(EVENTS[8:], done=False)
    server.play(answer([*EVENTS[:6], Fin()]), late, late)
    events = client.create_response(**BODY, stream=True, restarts=2)
    got: list[Any] = []
    with pytest.raises(StreamDecodeError, match="after number 5 comes number 8") as caught:
        got.extend(iter(events.get, DONE))
    assert len(server.requests) == 3
    assert caught.value.snapshot.output_text == "one two "


def test_what_was_left_out_is_asked_for(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*EVENTS[:5], *EVENTS[6:]], done=False), whole)
    items = list(client.create_response(**BODY, stream=True, restarts=1))
    assert [item.to_dict() for item in items] == EVENTS
    assert asked(server) == [POST, get(4)]


def test_a_gateway_that_gives_each_event_the_same_number(
    server: ScriptedServer, client: Client
) -> None:
    zeros = [{**event, "sequence_number": 0} for event in EVENTS]
    server.play(answer(zeros, done=False), answer(zeros, done=False))
    assert len(list(client.create_response(**BODY, stream=True))) == len(EVENTS)
    foreground = {**BODY, "background": False}
    assert len(list(client.create_response(**foreground, stream=True))) == len(EVENTS)


@pytest.mark.parametrize("number", [0, 7])
@pytest.mark.parametrize("broken", [1, 6])
def test_a_break_in_events_of_the_same_number(
    server: ScriptedServer, client: Client, number: int, broken: int
) -> None:
    same = [{**event, "sequence_number": number} for event in EVENTS]
    server.play(answer([*same[:broken], Fin()]), *[answer(same, done=False)] * 2)
    events = client.create_response(**BODY, stream=True, restarts=2)
    items = list(events)
    assert isinstance(items[broken], Restarted)
    assert [item.to_dict() for item in items[broken + 1 :]] == same
    assert events.stream.result().output_text == TEXT


def test_half_a_character_is_not_part_of_an_id(server: ScriptedServer, client: Client) -> None:
    odd = {**EVENTS[0], "response": {**EVENTS[0]["response"], "id": "resp_\ud800"}}
    first = f"data: {json.dumps(odd)}\n\n".encode()
    server.play(answer([chunk(first), Fin()]), whole)
    items = list(client.create_response(**BODY, stream=True, restarts=1))
    assert isinstance(items[1], Restarted)
    assert asked(server) == [POST, POST]


def test_a_failed_response_is_not_resumed(server: ScriptedServer, client: Client) -> None:
    failed = {"type": "response.failed", "sequence_number": 3, "response": {"id": IDENT}}
    failed["response"] = {"id": IDENT, "status": "failed", "error": {"message": "boom"}}
    server.play(answer([*EVENTS[:3], failed], done=False))
    with pytest.raises(StreamAPIError, match="boom"):
        list(client.create_response(**BODY, stream=True, restarts=3))
    assert len(server.requests) == 1


# resume_response ---------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [None, *range(len(EVENTS) - 1)])
def test_resumes_after_a_number(server: ScriptedServer, client: Client, after: int | None) -> None:
    server.always(whole)
    for events in (
        client.resume_response(IDENT, after),
        resume_response(IDENT, starting_after=after, client=client),
    ):
        items = [item.to_dict() for item in events]
        assert items == EVENTS[0 if after is None else after + 1 :]
        response = events.stream.result()
        assert response.output_text == TEXT
        assert response.http is not None
    assert asked(server) == [get(after)] * 2


@pytest.mark.parametrize("read", READERS)
def test_resumes_again_after_a_break(
    server: ScriptedServer, client: Client, read: Callable[..., list[Any]]
) -> None:
    server.play(
        answer([Fin()]),
        lambda request: answer([*rest(request)[:2], Reset()]),
        whole,
    )
    items = read(lambda **where: client.resume_response(IDENT, 3, restarts=2, **where))
    assert [item.to_dict() for item in items] == EVENTS[4:]
    assert asked(server) == [get(3), get(3), get(5)]


def test_a_replay_that_begins_too_late_is_an_error(server: ScriptedServer, client: Client) -> None:
    server.play(answer(EVENTS[4:], done=False))
    with pytest.raises(StreamDecodeError, match="the beginning of the response"):
        list(client.resume_response(IDENT))


def test_takes_what_a_stream_takes(server: ScriptedServer, client: Client) -> None:
    server.always(whole)
    events = client.resume_response(IDENT, maxsize=1, stream_close=True, nowait=True, timeout=9)
    assert len(list(events)) == len(EVENTS)
    replayed = client.resume_response(IDENT, replay=True)
    assert len(list(replayed)) == len(list(replayed.stream.subscribe())) == len(EVENTS)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"id": 7}, TypeError, "id of a response"),
        ({"id": ""}, ValueError, "id of a response"),
        ({"id": "resp_\ud800"}, ValueError, "id of a response"),
        ({"id": IDENT, "starting_after": "1"}, TypeError, "starting_after"),
        ({"id": IDENT, "starting_after": True}, TypeError, "starting_after"),
        ({"id": IDENT, "starting_after": -1}, ValueError, "starting_after"),
        ({"id": IDENT, "stream": False}, TypeError, "takes no argument 'stream'"),
        ({"id": IDENT, "model": "m"}, TypeError, "takes no argument 'model'"),
        ({"id": IDENT, "maxsize": 1, "replay": True}, TypeError, "replay"),
    ],
)
@pytest.mark.own_thread("it never comes to read a stream")
def test_refuses_what_does_not_go(
    server: ScriptedServer,
    client: Client,
    arguments: dict[str, Any],
    error: type[Exception],
    match: str,
) -> None:
    with pytest.raises(error, match=match):
        cast("Any", client.resume_response)(**arguments)
    assert not server.requests


def test_azure_has_none() -> None:
    azure: Any = AzureClient(api_key="k", endpoint="https://e.test")
    with pytest.raises(TypeError, match="resume_response needs a Client"):
        openai_stream.resume_response(IDENT, client=azure)


# Closing -----------------------------------------------------------------------------------------


def going_on(*events: dict[str, Any]) -> Script:
    return [*answer(events, done=False)[:-1], Hang()]


STOPPED = json_answer({"id": IDENT, "object": "response", "status": "cancelled", "output": []})


def wait_for_reader(handle: Any) -> None:
    over = threading.Event()
    handle.add_done_callback(lambda stream: over.set())
    assert over.wait(SOON)


@pytest.mark.parametrize("how", ["close", "twice", "with", "shutdown", "stream"])
def test_closing_cancels_at_the_server_once(
    server: ScriptedServer, client: Client, how: str
) -> None:
    server.play(going_on(*EVENTS[:5]), STOPPED)
    events = client.create_response(**BODY, stream=True)
    stream = events.stream
    assert isinstance(events.get(timeout=SOON), ResponseEvent)
    if how == "with":
        with events:
            pass
    elif how == "shutdown":
        events.shutdown()
    else:
        (stream if how == "stream" else events).close()
        if how == "twice":
            events.close()
    wait_for_reader(stream)
    assert asked(server) == [POST, CANCEL]
    assert stream.cancelled()


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_a_callback_may_close_it(server: ScriptedServer, client: Client) -> None:
    server.play(going_on(*EVENTS[:5]), STOPPED)
    box: list[Any] = []
    ready = threading.Event()

    def on_next(event: Any) -> None:
        ready.wait(SOON)
        box[0].close()

    box.append(client.create_response(**BODY, stream=True, on_next=on_next))
    ready.set()
    wait_for_reader(box[0])
    assert asked(server) == [POST, CANCEL]


@pytest.mark.parametrize("resumed", [False, True])
def test_it_may_be_left_running(server: ScriptedServer, client: Client, resumed: bool) -> None:
    server.play(going_on(*EVENTS[:5]))
    events: Any = (
        client.resume_response(IDENT) if resumed else client.create_response(**BODY, stream=True)
    )
    events.get(timeout=SOON)
    events.close(cancel=False)
    events.close()  # it is closed already
    wait_for_reader(events.stream)
    assert len(server.requests) == 1


def test_a_resumed_one_is_cancelled_too(server: ScriptedServer, client: Client) -> None:
    server.play([Hang()], STOPPED)
    events = client.resume_response(IDENT, 3, nowait=True)
    server.wait_for_requests(1)
    events.close()  # its id is known before anything comes
    wait_for_reader(events.stream)
    assert asked(server) == [get(3), CANCEL]


def test_nothing_is_cancelled_that_has_no_id_or_is_over(
    server: ScriptedServer, client: Client
) -> None:
    server.play([Hang()])
    events = client.create_response(**BODY, stream=True, nowait=True)
    server.wait_for_requests(1)
    events.close()
    wait_for_reader(events.stream)
    server.play(whole)
    events = client.create_response(**BODY, stream=True)
    events.stream.result(SOON)
    events.close()
    wait_for_reader(events.stream)
    assert asked(server) == [POST, POST]


def test_what_runs_in_the_foreground_is_not_cancelled(
    server: ScriptedServer, client: Client
) -> None:
    server.play(going_on(*EVENTS[:5]))
    events = client.create_response(**{**BODY, "background": False}, stream=True)
    events.get(timeout=SOON)
    events.close()
    wait_for_reader(events.stream)
    assert asked(server) == [POST]


@pytest.mark.parametrize("how", ["dropped", "deadline", "drain", "raises"])
def test_nothing_else_cancels(server: ScriptedServer, client: Client, how: str) -> None:
    go_on = threading.Event()
    server.play([*answer(EVENTS[:5], done=False)[:-1], Wait(go_on), *answer(EVENTS[5:])[1:]])
    arguments: dict[str, Any] = {**BODY, "stream": True}
    if how == "raises":

        def on_next(event: Any) -> None:
            raise ArithmeticError

        stream = client.create_response(**arguments, on_next=on_next, on_error=lambda error: None)
        with pytest.raises(ArithmeticError):
            stream.result(SOON)
        wait_for_reader(stream)
    elif how == "deadline":
        events = client.create_response(**arguments, timeout=Timeout(idle=0.1))
        with pytest.raises(StreamTimeoutError):
            list(events)
        wait_for_reader(events.stream)
    else:
        events = client.create_response(**arguments)
        events.get(timeout=SOON)
        over = threading.Event()
        events.stream.add_done_callback(lambda stream: over.set())
        if how == "dropped":
            del events
        else:
            events.close(drain=True)
            go_on.set()
        assert over.wait(SOON)
    go_on.set()
    assert asked(server) == [POST]


@pytest.mark.parametrize("refusal", ["status", "reset", "silence"])
def test_a_server_that_does_not_cancel_is_only_logged(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, refusal: str
) -> None:
    key = "sk-secret-0123456789abcdef"
    answers: dict[str, Script] = {
        "status": error_answer(400, f"Cannot cancel, {key}"),
        "reset": [Reset()],
        "silence": [Hang()],
    }
    server.play(going_on(*EVENTS[:5]), answers[refusal])
    with Client(key, server.base_url, timeout=Timeout(connect=0.3)) as client:
        events = client.create_response(**BODY, stream=True)
        events.get(timeout=SOON)
        start = time.monotonic()
        events.close()
        assert time.monotonic() - start < 0.25  # who closes does not wait for it
        wait_for_reader(events.stream)
    assert asked(server) == [POST, CANCEL]
    (record,) = (one for one in caplog.records if one.name == "openai_stream")
    assert record.levelno == logging.WARNING
    assert "was not cancelled at the server" in record.getMessage()
    assert key not in caplog.text


def test_closing_while_it_waits_to_resume(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "backoff", lambda retries: SOON)
    server.play(answer([*EVENTS[:5], Fin()]), STOPPED)
    events = client.create_response(**BODY, stream=True, restarts=1)
    for _ in range(5):
        events.get(timeout=SOON)
    events.close()
    wait_for_reader(events.stream)
    assert asked(server) == [POST, CANCEL]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])}
#: A script that has seen an event, and ends.
SCRIPT = """
import sys
from openai_stream import Client
client = Client("k", sys.argv[1])
events = client.create_response(model="m", input="i", background=True, stream=True)
assert events.get(timeout=30).sequence_number == 0
"""


@pytest.mark.parametrize(
    ("last", "cancelled"),
    [
        ("events.close()", True),
        ("events.close(cancel=False)", False),
        ("", False),
        ("1 / 0", False),
    ],
)
@pytest.mark.own_thread("it never comes to read a stream")
def test_the_end_of_a_script_lets_a_cancel_go_out_and_begins_none(
    server: ScriptedServer, last: str, cancelled: bool
) -> None:
    server.play(going_on(*EVENTS[:5]), STOPPED)
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", SCRIPT + last, server.base_url],
        check=last != "1 / 0",
        timeout=SOON,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    assert time.monotonic() - start < SOON
    assert asked(server) == ([POST, CANCEL] if cancelled else [POST])


@pytest.mark.own_thread("it never comes to read a stream")
def test_the_end_of_a_script_waits_a_second_for_a_cancel(server: ScriptedServer) -> None:
    server.play(going_on(*EVENTS[:5]), [Hang()])
    command = [sys.executable, "-c", SCRIPT + "events.close()", server.base_url]
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        server.wait_for_requests(2, SOON)
        start = time.monotonic()
        assert process.wait(SOON) == 0
        assert time.monotonic() - start < 1.5 * HELD_UP + 1


def test_frames_without_data_are_no_events(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*EVENTS[:2], frame("", event="ping"), Fin()]), whole)
    assert len(list(client.create_response(**BODY, stream=True, restarts=1))) == len(EVENTS)
