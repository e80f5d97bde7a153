"""``Timeout(first=…, content=…)``: limits for what carries something of the answer, and for nothing
else.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from machine import HELD_UP

from openai_stream import (
    DONE,
    APITimeoutError,
    Client,
    OpenAIStreamError,
    Restarted,
    Stream,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.content import choices_content, response_content
from openai_stream.testing import (
    Call,
    Drip,
    Hang,
    Pause,
    Repeat,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    chunk,
    frame,
    head,
    json_answer,
)

LIMIT = 0.4
LATEST = LIMIT + 0.5
CHUNKS = chat_chunks("one two", usage=True, seed=5)
ROLE, ONE, TWO, FINISH, USAGE = CHUNKS


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def event(number: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": number, **fields}


IN_PROGRESS = event(1, "response.in_progress", response={"id": "resp_1", "status": "in_progress"})
CREATED = event(0, "response.created", response={"id": "resp_1", "status": "queued"})


def begun(*steps: Any) -> Script:
    """The headers and these, and then nothing."""
    script = answer(steps, done=False)
    assert isinstance(script, list)
    return [*script[:-1], Hang()]


def on(item: Any, delay: float = 0.02) -> Script:
    """The same frame again and again."""
    return begun(Repeat(chunk(item if isinstance(item, bytes) else frame(item)), delay=delay))


@contextmanager
def in_time(least: float = LIMIT, most: float = LATEST) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert least * 0.8 - (HELD_UP - 1) <= time.monotonic() - start < most + HELD_UP


SILENCE: dict[str, tuple[Script, type[OpenAIStreamError]]] = {
    "no headers": ([Hang()], APITimeoutError),
    "headers that trickle": ([Drip(head(200, {"X-Long": "x" * 2000}))], APITimeoutError),
    "headers only": (begun(), StreamTimeoutError),
    "a role": (begun(ROLE), StreamTimeoutError),
    "roles only": (on(ROLE), StreamTimeoutError),
    "empty deltas": (
        on(delta(content="", reasoning_content=None, tool_calls=[])),
        StreamTimeoutError,
    ),
    "a flood of empty deltas": (on(delta(content=""), 0), StreamTimeoutError),
    "keep-alives": (on(b": keep-alive\n\n"), StreamTimeoutError),
    "a flood of keep-alives": (on(b": keep-alive\n\n", 0), StreamTimeoutError),
    "usage": (on(USAGE), StreamTimeoutError),
}


#: How to ask, by endpoint.
CHAT: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
RESPONSE: dict[str, Any] = {"model": "m", "input": "", "stream": True}


def read_queue(call: Callable[..., Any]) -> OpenAIStreamError:
    with pytest.raises(OpenAIStreamError) as caught:
        for _ in call():
            pass
    return caught.value


def read_callback(call: Callable[..., Any]) -> OpenAIStreamError:
    stream = call(nowait=True, on_next=lambda event: None, on_error=lambda error: None)
    error = stream.exception(30)
    assert isinstance(error, OpenAIStreamError)
    return error


def read_foreign_queue(call: Callable[..., Any]) -> OpenAIStreamError:
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    call(nowait=True, queue=mine)
    items: list[Any] = []
    while (item := mine.get(timeout=30)) is not DONE:
        items.append(item)
    error = items[-1]
    assert isinstance(error, OpenAIStreamError)
    return error


def read_result(call: Callable[..., Any]) -> OpenAIStreamError:
    with pytest.raises(OpenAIStreamError) as caught:
        call().stream.result(30)
    return caught.value


READS = [read_queue, read_callback, read_foreign_queue, read_result]
Read = Callable[[Callable[..., Any]], OpenAIStreamError]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("silence", SILENCE)
def test_first_is_met(
    server: ScriptedServer,
    client: Client,
    silence: str,
    read: Read,
) -> None:
    script, kind = SILENCE[silence]
    server.always(script)
    with in_time():
        error = read(partial(client.create_chat_completion, **CHAT, timeout=Timeout(first=LIMIT)))
    assert type(error) is kind
    assert "Timeout(first=…) allows more" in str(error)
    assert error.retryable
    if isinstance(error, StreamTimeoutError):
        assert error.deadline == "first"


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("later", [on(IN_PROGRESS), begun(CREATED, IN_PROGRESS)])
def test_first_is_met_while_a_response_is_in_progress(
    server: ScriptedServer, client: Client, later: Script, read: Read
) -> None:
    server.play(later)
    limit = LIMIT + HELD_UP / 4  # for the headers to come, however busy the machine is
    with in_time(limit, limit + LATEST - LIMIT):
        error = read(partial(client.create_response, **RESPONSE, timeout=Timeout(first=limit)))
    assert isinstance(error, StreamTimeoutError)
    assert error.deadline == "first"


@pytest.mark.own_thread("it never comes to read a stream")
def test_first_counts_the_handshake(server: ScriptedServer) -> None:
    server.on_connect([Hang()])
    https = server.base_url.replace("http:", "https:")
    with Client("k", https, max_retries=0) as client, in_time(), pytest.raises(APITimeoutError):
        client.create_chat_completion(
            model="m", messages=[], stream=True, timeout=Timeout(connect=20, first=LIMIT)
        )


def test_first_is_tried_again_before_the_headers(server: ScriptedServer) -> None:
    server.play([Hang()], answer(CHUNKS))
    with Client("k", server.base_url, max_retries=1) as client:
        events = client.create_chat_completion(
            model="m", messages=[], stream=True, timeout=Timeout(first=LIMIT)
        )
        assert "".join(events.text()) == "one two"


@pytest.mark.parametrize("timeout", [Timeout(first=LIMIT), Timeout(content=LIMIT, first=5)])
def test_restarts_are_for_it(server: ScriptedServer, client: Client, timeout: Timeout) -> None:
    begins = [ROLE] if timeout.content is None else [ROLE, ONE]
    server.play(begun(*begins), answer(CHUNKS))
    items = list(
        client.create_chat_completion(
            model="m", messages=[], stream=True, restarts=1, timeout=timeout
        )
    )
    (again,) = [item for item in items if isinstance(item, Restarted)]
    assert isinstance(again.error, StreamTimeoutError)
    assert again.error.deadline == ("first" if timeout.content is None else "content")
    assert len(items) == len(begins) + 1 + len(CHUNKS)


@pytest.mark.parametrize(
    "silence",
    [
        Hang(),
        Repeat(chunk(frame(delta(content=""))), delay=0.02),
        Repeat(chunk(frame(delta(content="")))),
        Repeat(chunk(frame({"choices": [], "usage": {"total_tokens": 1}})), delay=0.02),
        Repeat(chunk(b": keep-alive\n\n"), delay=0.02),
    ],
    ids=["nothing", "empty deltas", "a flood of them", "usage", "keep-alives"],
)
@pytest.mark.parametrize("read", READS)
def test_content_is_met(server: ScriptedServer, client: Client, silence: Any, read: Read) -> None:
    server.play(begun(ROLE, ONE, silence))
    with in_time():
        error = read(partial(client.create_chat_completion, **CHAT, timeout=Timeout(content=LIMIT)))
    assert isinstance(error, StreamTimeoutError)
    assert "Timeout(content=…)" in str(error)
    assert error.deadline == "content"
    assert error.snapshot.choices[0].message.content == "one"


# The mirror image: what may take its time ------------------------------------------------------


def test_content_has_no_say_before_the_first(server: ScriptedServer, client: Client) -> None:
    server.play(answer([ROLE, Pause(2 * LIMIT), ONE, TWO, FINISH]))
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, timeout=Timeout(content=LIMIT)
    )
    assert "".join(events.text()) == "one two"


def test_first_has_no_say_after_it(server: ScriptedServer, client: Client) -> None:
    server.play(answer([ROLE, ONE, Pause(2 * LIMIT), TWO, FINISH]))
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, timeout=Timeout(first=LIMIT)
    )
    assert "".join(events.text()) == "one two"


def test_content_stops_at_the_finish_reason(server: ScriptedServer, client: Client) -> None:
    server.play(answer([ROLE, ONE, FINISH, Pause(2 * LIMIT), USAGE]))
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, timeout=Timeout(first=LIMIT, content=LIMIT)
    )
    assert len(list(events)) == 4


@pytest.mark.parametrize("slow", ["callback", "queue"])
def test_a_slow_consumer_does_not_trip_it(
    server: ScriptedServer, client: Client, slow: str
) -> None:
    empty = [delta(content="") for _ in range(5)]
    server.play(answer([ROLE, *empty, ONE, *empty, TWO, FINISH]))
    arguments: dict[str, Any] = {
        "model": "m",
        "messages": [],
        "stream": True,
        "timeout": Timeout(first=LIMIT, content=LIMIT),
    }
    if slow == "callback":
        handle: Stream[Any, Any] = client.create_chat_completion(
            **arguments, on_next=lambda event: time.sleep(LIMIT / 3)
        )
        assert handle.result(30).choices[0].message.content == "one two"
        return
    events = client.create_chat_completion(**arguments, maxsize=1)
    seen = []
    for piece in events:
        time.sleep(LIMIT / 3)
        seen.append(piece)
    assert len(seen) == 14


@pytest.mark.own_thread("it has no stream")
def test_without_a_stream_it_has_no_effect(server: ScriptedServer, client: Client) -> None:
    server.play([Pause(2 * LIMIT), *_steps(json_answer({"choices": []}))])
    timeout = Timeout(first=LIMIT, content=LIMIT)
    client.create_chat_completion(model="m", messages=[], timeout=timeout)


def _steps(script: Script) -> list[Any]:
    assert isinstance(script, list)
    return script


def test_of_any_endpoint_each_event_counts(server: ScriptedServer, client: Client) -> None:
    pings = [{"n": number} for number in range(4)]
    server.play(answer([step for ping in pings for step in (ping, Pause(LIMIT / 2))]))
    timeout = Timeout(first=LIMIT, content=LIMIT)
    assert len(list(client.stream("/x", {}, timeout=timeout))) == 4
    server.play(begun({"n": 0}))
    with pytest.raises(StreamTimeoutError) as caught:
        list(client.stream("/x", {}, timeout=timeout))
    assert caught.value.deadline == "content"


def test_nothing_looks_where_there_is_no_limit(server: ScriptedServer, client: Client) -> None:
    played: list[float] = []
    server.play(answer([ROLE, Call(lambda: played.append(time.monotonic())), ONE, FINISH]))
    assert len(list(client.create_chat_completion(model="m", messages=[], stream=True))) == 3
    assert played


# Which events ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "carries"),
    [
        ({"content": "a"}, True),
        ({"content": [{"type": "text", "text": "a"}]}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}, True),
        ({"refusal": "a"}, True),
        (
            {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]},
            True,
        ),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a", "data": "UklG"}}, True),
        ({"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}, True),
        ({}, False),
        ({"role": "assistant", "content": "", "refusal": None}, False),
        ({"content": None, "tool_calls": None}, False),
        ({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {}}]}, False),
        ({"audio": {"id": "a"}}, False),
        ({"content": [{"type": "text", "text": ""}]}, False),
    ],
)
def test_which_deltas_carry_content(fields: dict[str, Any], carries: bool) -> None:
    assert choices_content(delta(**fields)) is carries


def test_which_choices_carry_content() -> None:
    assert choices_content({"choices": [{"text": "a"}]})
    assert choices_content({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    filtered = {"hate": {"filtered": False, "severity": "safe"}}
    for silent in (
        {"choices": [], "usage": {"total_tokens": 1}},
        {"choices": None},
        {"choices": [None, {"text": ""}]},
        {"choices": [{"delta": {}, "content_filter_results": filtered}]},
        {"prompt_filter_results": [filtered]},
    ):
        assert not choices_content(silent)


@pytest.mark.parametrize(
    ("kind", "fields", "carries"),
    [
        ("response.output_text.delta", {"item_id": "m", "delta": "a"}, True),
        ("response.output_text.delta", {"item_id": "m", "delta": "", "logprobs": []}, False),
        ("response.reasoning_summary_text.delta", {"delta": "a"}, True),
        ("response.refusal.delta", {"delta": "a"}, True),
        ("response.function_call_arguments.delta", {"delta": "{"}, True),
        ("response.audio.delta", {"delta": "UklG"}, True),
        ("response.shell_call_output_content.delta", {"delta": {"stdout": "a"}}, True),
        ("response.image_generation_call.partial_image", {"partial_image_b64": "a"}, True),
        ("response.output_text.done", {"text": "a"}, True),
        ("response.output_item.added", {"item": {"type": "function_call", "name": "f"}}, True),
        ("response.output_item.added", {"item": {"type": "web_search_call", "id": "w"}}, True),
        (
            "response.output_item.added",
            {"item": {"id": "m", "type": "message", "role": "assistant", "content": []}},
            False,
        ),
        ("response.output_item.added", {"item": {"type": "reasoning", "summary": []}}, False),
        ("response.content_part.added", {"part": {"type": "output_text", "text": ""}}, False),
        ("response.completed", {"response": {}}, True),
        ("response.incomplete", {"response": {}}, True),
        ("response.created", {"response": {"id": "r", "instructions": "Be brief"}}, False),
        ("response.in_progress", {"response": {"id": "r"}}, False),
        ("response.queued", {"response": {"id": "r"}}, False),
        ("response.web_search_call.searching", {"item_id": "w"}, False),
        ("keepalive", {}, False),
    ],
)
def test_which_events_of_responses_carry_content(
    kind: str, fields: dict[str, Any], carries: bool
) -> None:
    assert response_content(event(7, kind, output_index=0, **fields)) is carries


def test_what_has_no_type_carries_none() -> None:
    assert not response_content({"delta": "a"})
    assert not response_content({"type": ["response.output_text.delta"], "delta": "a"})
