"""``ui_messages``: the chunks of the AI SDK's protocol, over real streams."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from helpers import SOON
from pages import comments, told

from openai_stream import Client
from openai_stream.testing import (
    Event,
    Hang,
    Pause,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    completion_chunks,
    frame,
    tool_call_chunks,
)
from openai_stream.web import EVENT_STREAM_HEADERS, UI_MESSAGES_HEADERS, ui_messages
from openai_stream.web.frames import SILENCE

BEGIN = [{"type": "start"}, {"type": "start-step"}]

Ask = Callable[..., Any]


@pytest.fixture
def ask(client: Client) -> Ask:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(model="m", messages=[], stream=True, **arguments)

    return stream


def chunks(body: Any) -> list[dict[str, Any]]:
    """The chunks between the first two and ``[DONE]``, which must be there."""
    found = told(body)
    assert {one.event for one in found} == {"message"}
    *rest, last = [one.data for one in found]
    assert last == "[DONE]"
    assert rest[:2] == BEGIN
    return rest[2:]


def ending(reason: str | None) -> list[dict[str, Any]]:
    finish = {"type": "finish"} if reason is None else {"type": "finish", "finishReason": reason}
    return [{"type": "finish-step"}, finish]


def block(kind: str, ident: int, *deltas: str) -> list[dict[str, Any]]:
    return [
        {"type": f"{kind}-start", "id": str(ident)},
        *({"type": f"{kind}-delta", "id": str(ident), "delta": delta} for delta in deltas),
        {"type": f"{kind}-end", "id": str(ident)},
    ]


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": fields, "finish_reason": reason}],
    }


# What is sent --------------------------------------------------------------------------------


def test_gives_text_as_one_block(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one two")))
    assert chunks(ui_messages(ask())) == [*block("text", 0, "one", " two"), *ending("stop")]


def test_closes_each_block_before_the_next(server: ScriptedServer, ask: Ask) -> None:
    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a":1}'}}
    events: list[Event] = [
        delta(reasoning_content="hm"),
        delta(reasoning_content=", so"),
        delta(content="Yes"),
        delta(tool_calls=[call]),
        delta(content="\n"),
        delta(reasoning_content="well"),
        delta(refusal="no"),
        delta("stop"),
    ]
    server.play(answer(events))
    assert chunks(ui_messages(ask())) == [
        *block("reasoning", 0, "hm", ", so"),
        *block("text", 1, "Yes"),
        {"type": "tool-input-start", "toolCallId": "t", "toolName": "f"},
        {"type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": '{"a":1}'},
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {"a": 1}},
        *block("text", 2, "\n"),
        *block("reasoning", 3, "well"),
        *block("text", 4, "no"),
        *ending("tool-calls"),
    ]


def test_gives_calls_while_they_grow(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(tool_call_chunks(("f", '{"a": 1}'), ("g", '{"b": 2}'))))
    found = chunks(ui_messages(ask()))
    calls: dict[str, str] = {}
    for one in found:
        if one["type"] == "tool-input-start":
            calls[one["toolCallId"]] = ""
        elif one["type"] == "tool-input-delta":
            calls[one["toolCallId"]] += one["inputTextDelta"]
        elif one["type"] == "tool-input-available":
            assert one["input"] == json.loads(calls[one["toolCallId"]])
    assert [*calls.values()] == ['{"a": 1}', '{"b": 2}']
    assert found[-2:] == ending("tool-calls")


@pytest.mark.parametrize("arguments", ['{"a": ', "no", "{'a': 1}", '{"a": NaN}', "[" * 10_000])
def test_gives_arguments_that_are_not_json_as_they_are(
    server: ScriptedServer, ask: Ask, arguments: str
) -> None:
    server.play(answer(tool_call_chunks(("f", arguments))))
    (found,) = [one for one in chunks(ui_messages(ask())) if one["type"] == "tool-input-error"]
    assert found["input"] == arguments
    assert found["toolName"] == "f"


@pytest.mark.parametrize("arguments", ["", "{}"])
def test_gives_a_call_without_arguments(server: ScriptedServer, ask: Ask, arguments: str) -> None:
    server.play(answer(tool_call_chunks(("f", arguments))))
    (found,) = [one for one in chunks(ui_messages(ask())) if one["type"] == "tool-input-available"]
    assert found["input"] == {}


def test_closes_the_text_before_a_call_that_has_no_arguments(
    server: ScriptedServer, ask: Ask
) -> None:
    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}
    server.play(answer([delta(content="Hm"), delta(tool_calls=[call]), delta("tool_calls")]))
    assert chunks(ui_messages(ask())) == [
        *block("text", 0, "Hm"),
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {}},
        *ending("tool-calls"),
    ]


def test_gives_calls_without_ids_one_each(server: ScriptedServer, ask: Ask) -> None:
    events: list[Event] = [
        delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        delta(tool_calls=[{"index": 1, "function": {"name": "f", "arguments": '{"a":2}'}}]),
        delta("tool_calls"),
    ]
    server.play(answer(events))
    found = chunks(ui_messages(ask()))
    ids = [one["toolCallId"] for one in found if one["type"] == "tool-input-start"]
    assert ids == ["c1-call-0", "c1-call-1"]
    done = {one["toolCallId"]: one["input"] for one in found if "input" in one}
    assert done == {"c1-call-0": {"a": 1}, "c1-call-1": {"a": 2}}


def test_gives_calls_of_the_same_id_one_each(server: ScriptedServer, ask: Ask) -> None:
    """A page would take the second for the first, begun anew."""
    functions = [{"name": "f", "arguments": '{"a":1}'}, {"name": "g", "arguments": '{"a":2}'}]
    calls = [{"index": at, "id": "x", "function": one} for at, one in enumerate(functions)]
    server.play(answer([delta(tool_calls=calls), delta("tool_calls")]))
    found = chunks(ui_messages(ask()))
    done = {one["toolCallId"]: one["input"] for one in found if "input" in one}
    assert done == {"x": {"a": 1}, "c1-call-1": {"a": 2}}


@pytest.mark.parametrize("given", ["print(1)", "42"])
def test_gives_a_custom_tool_its_text(server: ScriptedServer, ask: Ask, given: str) -> None:
    call = {"index": 0, "id": "t", "type": "custom", "custom": {"name": "py", "input": given}}
    server.play(answer([delta(tool_calls=[call]), delta("tool_calls")]))
    (found,) = [one for one in chunks(ui_messages(ask())) if "input" in one]
    assert (found["type"], found["input"]) == ("tool-input-available", given)


def test_gives_a_response(server: ScriptedServer, client: Client) -> None:
    call = {"type": "function_call", "id": "i", "call_id": "t", "name": "f", "arguments": ""}
    own = {"type": "custom_tool_call", "id": "j", "call_id": "u", "name": "py", "input": ""}
    whole = [{**call, "arguments": '{"a":1}'}, {**own, "input": "42"}]
    events: list[Event] = [
        {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "Hi"},
        {"type": "response.output_item.added", "output_index": 1, "item": call},
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "i",
            "output_index": 1,
            "delta": '{"a":1}',
        },
        {"type": "response.output_item.done", "output_index": 1, "item": whole[0]},
        {"type": "response.output_item.done", "output_index": 2, "item": whole[1]},
        {
            "type": "response.incomplete",
            "response": {
                "id": "r",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
        },
    ]
    server.play(answer(events, done=False))
    found = chunks(ui_messages(client.create_response(model="m", input="Hi", stream=True)))
    assert found[:3] == block("text", 0, "Hi")
    assert [one for one in found if "input" in one] == [
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {"a": 1}},
        {"type": "tool-input-available", "toolCallId": "u", "toolName": "py", "input": "42"},
    ]
    assert found[-2:] == ending("length")


def test_gives_a_text_completion(server: ScriptedServer, client: Client) -> None:
    server.play(answer(completion_chunks("one two")))
    body = ui_messages(client.create_completion(model="m", prompt="", stream=True))
    assert chunks(body) == [*block("text", 0, "one", " two"), *ending("stop")]


@pytest.mark.parametrize(
    ("reason", "told_as"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("tool_calls", "tool-calls"),
        ("SAFETY", "content-filter"),
        ("eos_token", "other"),
    ],
)
def test_names_the_reason_as_the_protocol_does(
    server: ScriptedServer, ask: Ask, reason: str, told_as: str
) -> None:
    server.play(answer(chat_chunks("one", finish_reason=reason)))
    assert chunks(ui_messages(ask()))[-2:] == ending(told_as)


def test_an_answer_without_a_reason_ends_without_one(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one")[:-1]))
    assert chunks(ui_messages(ask()))[-2:] == ending(None)


def test_joins_halves_and_replaces_one_that_stays_alone(server: ScriptedServer, ask: Ask) -> None:
    pieces = chat_chunks(["a\ud83d", "\ude00b", "\ud83d"])
    server.play(answer([frame(json.dumps(chunk)) for chunk in pieces]))
    body = b"".join(ui_messages(ask()))
    text = "".join(one.get("delta", "") for one in chunks(body))
    assert text == "a😀b\ufffd"
    text.encode()


# Ends ----------------------------------------------------------------------------------------


def error_of(found: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    data, error, finish = found[-3:]
    assert (data["type"], data["transient"]) == ("data-error", True)
    assert finish == {"type": "finish", "finishReason": "error"}
    assert error["type"] == "error"
    return data["data"], error["errorText"]


def test_tells_an_error_without_its_words(server: ScriptedServer, ask: Ask) -> None:
    body = {"error": {"message": "secret words", "type": "server_error", "code": "boom"}}
    server.play(answer([*chat_chunks("one two")[:2], body]))
    blocks = b"".join(ui_messages(ask()))
    found = chunks(blocks)
    assert found[:-3] == block("text", 0, "one")
    data, text = error_of(found)
    assert (data["type"], data["code"]) == ("StreamAPIError", "boom")
    assert isinstance(data["retryable"], bool)
    assert text == "StreamAPIError (boom)"
    assert b"secret" not in blocks


def test_shows_the_words_of_the_site(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one two"), fault="cut"))
    body = ui_messages(ask(), error_text=lambda error: f"Sorry: {type(error).__name__}")
    assert error_of(chunks(body))[1] == "Sorry: StreamInterruptedError"
    server.play(answer(chat_chunks("one two"), fault="cut"))
    body = ui_messages(ask(), error_text=lambda error: None)
    assert error_of(chunks(body))[1] == "StreamInterruptedError"


def test_a_call_that_was_cut_is_not_available(server: ScriptedServer, ask: Ask) -> None:
    cut = tool_call_chunks(("f", '{"a": 1}'))[:3]
    server.play(answer(cut, done=False))
    kinds = [one["type"] for one in chunks(ui_messages(ask()))]
    assert kinds == ["tool-input-start", "tool-input-delta", "data-error", "error", "finish"]


def test_a_restart_after_text_is_an_error(server: ScriptedServer, ask: Ask) -> None:
    pieces = chat_chunks("one two three")
    server.play(answer([*pieces[:2], Pause(0.2), *pieces[2:]], fault="cut"))
    server.always(answer([*pieces[:1], Hang()]))
    events = ask(restarts=1)
    found = chunks(ui_messages(events))
    assert found[0]["type"] == "text-start"
    assert error_of(found)[0]["type"] == "StreamInterruptedError"
    # Nobody reads what comes: the new answer is not paid for.
    assert events.stream.cancelled()
    assert server.connections[-1].client_closed.wait(SOON)


def test_a_restart_before_any_text_is_none(server: ScriptedServer, ask: Ask) -> None:
    pieces = chat_chunks("one")
    server.play(answer(pieces[:1], done=False), answer(pieces))
    assert chunks(ui_messages(ask(restarts=1))) == [*block("text", 0, "one"), *ending("stop")]


def test_a_stream_that_was_closed_aborts(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer([*chat_chunks("one two")[:2], Hang()]))
    events = ask()
    body = ui_messages(events)
    first = [next(body) for _ in range(4)]
    events.stream.close()
    assert chunks([*first, *body]) == [*block("text", 0, "one"), {"type": "abort"}]


# Silence, and the end of the page ------------------------------------------------------------


def test_a_comment_comes_while_no_chunk_does(
    server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events come all the time, but none that the page would see."""
    monkeypatch.setattr("openai_stream.web.ui.SILENCE", 0.05)
    more = threading.Event()
    empty: list[Event] = [delta(content=""), Pause(0.01)]
    server.play(answer([*empty * 50, Wait(more), *chat_chunks("one")]))
    body = ui_messages(ask())
    first = [next(body) for _ in range(2 + 10)]
    assert len(comments(first)) == 10
    more.set()
    assert chunks([*first, *body]) == [*block("text", 0, "one"), *ending("stop")]


def test_comments_keep_their_distance(
    server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai_stream.web.ui.SILENCE", 0.05)
    server.play(answer([Hang()]))
    with closing(ui_messages(ask())) as body:
        before = time.monotonic()
        assert len(comments(next(body) for _ in range(2 + 5))) == 5
        assert time.monotonic() - before > 0.2


def test_a_comment_makes_no_restart_an_error(
    server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai_stream.web.ui.SILENCE", 0.05)
    more = threading.Event()
    pieces = chat_chunks("one")
    server.play(answer([pieces[0], Wait(more)], done=False), answer(pieces))
    body = ui_messages(ask(restarts=1))
    first = [next(body) for _ in range(4)]
    assert comments(first)
    more.set()
    assert chunks([*first, *body]) == [*block("text", 0, "one"), *ending("stop")]


def test_no_comment_comes_between_chunks(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one two")))
    assert comments(ui_messages(ask())) == []
    assert SILENCE == 15


@pytest.mark.parametrize("read", [0, 3])
def test_close_closes_the_stream(server: ScriptedServer, ask: Ask, read: int) -> None:
    server.play(answer([*chat_chunks("one two")[:2], Hang()]))
    events = ask()
    with closing(ui_messages(events)) as body:
        for _ in range(read):
            next(body)
    assert events.stream.cancelled()
    assert server.connections[0].client_closed.wait(SOON)
    assert list(body) == []


def test_one_that_is_dropped_closes_the_stream(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer([*chat_chunks("one two")[:2], Hang()]))
    events = ask()
    stream = events.stream
    body = ui_messages(events)
    del body
    assert stream.cancelled()


def test_a_stream_that_has_failed_leaves_no_circle(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one"), fault="cut"))
    events = ask()
    body = ui_messages(events)
    gone = weakref.ref(events)
    list(body)
    gc.disable()
    try:
        del events, body
        assert gone() is None
    finally:
        gc.enable()


def test_close_ends_a_subscription_alone(server: ScriptedServer, ask: Ask) -> None:
    more = threading.Event()
    server.play(answer([*chat_chunks("one two")[:2], Wait(more), *chat_chunks("one two")[2:]]))
    events = ask(replay=True)
    stream = events.stream
    ui_messages(stream.subscribe()).close()
    body = ui_messages(stream.subscribe())
    more.set()
    assert chunks(body) == [*block("text", 0, "one", " two"), *ending("stop")]
    assert not stream.cancelled()


# Wrong use -----------------------------------------------------------------------------------


def test_refuses_what_has_no_parts(server: ScriptedServer, client: Client, ask: Ask) -> None:
    server.play(answer(["{}"]), answer(chat_chunks("one")))
    with client.stream("/any", {}) as unknown, pytest.raises(TypeError, match="endpoint"):
        ui_messages(unknown)
    with ask() as events:
        wrong: Any
        for wrong in (events.stream, None, []):
            with pytest.raises(TypeError, match=r"ui_messages\(\) takes the queue of a stream"):
                ui_messages(wrong)
        with pytest.raises(TypeError, match="error_text"):
            ui_messages(events, error_text=1)  # type: ignore[arg-type]


def test_two_do_not_share_a_queue(server: ScriptedServer, ask: Ask) -> None:
    server.play(answer(chat_chunks("one")))
    events = ask()
    body = ui_messages(events)
    with pytest.raises(RuntimeError, match=r"ui_messages\(\) takes .* already.*subscribe"):
        ui_messages(events)
    with pytest.raises(RuntimeError, match=r"ui_messages\(\) takes .* already"):
        events.partials()
    assert chunks(body)[-2:] == ending("stop")


def test_the_headers_name_the_protocol() -> None:
    assert UI_MESSAGES_HEADERS == {
        **EVENT_STREAM_HEADERS,
        "X-Vercel-AI-UI-Message-Stream": "v1",
    }
