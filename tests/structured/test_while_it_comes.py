"""Answers that are JSON, read while they come: ``partials``, ``items`` and ``parsed``."""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
from concurrent.futures import CancelledError
from typing import Any

import attrs
import pytest
from helpers import JSON
from hypothesis import given
from hypothesis import strategies as st
from machine import calmly

from openai_stream import (
    ChatCompletion,
    Client,
    Response,
    StreamInterruptedError,
    StructuredOutputError,
)
from openai_stream.testing import Fin, Hang, ScriptedServer, Wait, answer, chat_chunks, json_answer

WAIT = 5.0


@attrs.define
class Step:
    explanation: str
    output: str = ""


@attrs.define
class Solution:
    steps: list[Step]
    final: str


VALUE: JSON = {
    "steps": [{"explanation": "a", "output": "1"}, {"explanation": "b", "output": "2"}],
    "final": "😀",
}
TEXT = json.dumps(VALUE)


def chunks(*pieces: str, finish: str = "stop") -> list[JSON]:
    first, *_, last = chat_chunks("x")
    last = copy.deepcopy(last)
    last["choices"][0]["finish_reason"] = finish
    made = [
        {**first, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    return [first, *made, last]


def cut(text: str, size: int = 4) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def ask(client: Client, cls: Any = Solution, **arguments: Any) -> Any:
    return client.create_chat_completion(
        model="m", messages=[], stream=True, response_format=cls, **arguments
    )


# The request ---------------------------------------------------------------------------------


def test_a_chat_sends_the_schema(server: ScriptedServer, client: Client) -> None:
    server.play(answer(chunks(TEXT)))
    list(ask(client))
    sent = server.requests[0].json["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "Solution"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["required"] == ["steps", "final"]


def test_a_response_sends_the_schema(server: ScriptedServer, client: Client) -> None:
    whole = {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": TEXT}]},
        ],
    }
    server.play(json_answer(whole))
    response = client.create_response(
        model="m", input="i", text_format=Solution, text={"verbosity": "low"}
    )
    sent = server.requests[0].json
    assert "text_format" not in sent
    assert sent["text"]["verbosity"] == "low"
    assert sent["text"]["format"]["type"] == "json_schema"
    assert sent["text"]["format"]["name"] == "Solution"
    assert response.parsed(Solution).steps[1] == Step("b", "2")


def test_a_dict_is_a_field_of_the_body(server: ScriptedServer, client: Client) -> None:
    server.play(answer(chunks("1")))
    list(ask(client, {"type": "json_object"}))
    assert server.requests[0].json["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("create_chat_completion", {"response_format": int}, "response_format must be"),
        ("create_chat_completion", {"response_format": "Solution"}, "response_format must be"),
        ("create_chat_completion", {"text_format": Solution}, "in create_response only"),
        ("create_response", {"response_format": Solution}, "in create_chat_completion only"),
        ("create_completion", {"response_format": Solution}, "in create_chat_completion only"),
        ("create_response", {"text_format": Solution, "text": {"format": {}}}, "do not go"),
        (
            "create_response",
            {"text_format": dataclasses.make_dataclass("Odd", [("f", bytes)])},
            "Odd.f cannot be asked for",
        ),
    ],
)
def test_refuses_what_cannot_be_asked_for(
    server: ScriptedServer, client: Client, call: str, arguments: JSON, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        getattr(client, call)(model="m", **arguments)
    assert server.requests == []


# parsed --------------------------------------------------------------------------------------


def test_parsed(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer(chunks(*cut(TEXT))), json_answer({"choices": [{"message": {"content": TEXT}}]})
    )
    stream = ask(client).stream
    whole = Solution([Step("a", "1"), Step("b", "2")], "😀")
    assert stream.parsed(timeout=WAIT) == whole
    assert stream.parsed(dict) == VALUE
    assert stream.result().parsed(Solution) == whole
    unstreamed = client.create_chat_completion(model="m", messages=[])
    assert unstreamed.parsed(Solution) == whole


def test_parsed_needs_a_class(server: ScriptedServer, client: Client) -> None:
    server.play(answer(chunks("[1]")))
    stream = client.create_chat_completion(model="m", stream=True).stream
    with pytest.raises(TypeError, match="needs a class"):
        stream.parsed()
    assert stream.parsed(list[int], WAIT) == [1]


def message(content: str | None, finish: str = "stop", refusal: str | None = None) -> JSON:
    said = {"role": "assistant", "content": content, "refusal": refusal}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}


def response(text: str, status: str = "completed", reason: str | None = None) -> JSON:
    return {
        "status": status,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
    }


REFUSED = {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}


@pytest.mark.parametrize(
    ("whole", "reason", "said"),
    [
        (ChatCompletion.from_dict(message(None, refusal="No.")), "refusal", "refused: No."),
        (ChatCompletion.from_dict(message('{"steps"', "length")), "length", "limit of tokens"),
        (ChatCompletion.from_dict(message("12", "length")), "length", "limit of tokens"),
        (ChatCompletion.from_dict(message("{", "content_filter")), "content_filter", "filter"),
        (ChatCompletion.from_dict(message("Sure!")), "invalid", "not JSON"),
        (ChatCompletion.from_dict(message("")), "invalid", "not JSON"),
        (ChatCompletion.from_dict(message('{"steps": NaN}')), "invalid", "JSON: NaN"),
        (ChatCompletion.from_dict(message("[" * 100_000)), "invalid", "not JSON"),
        (ChatCompletion.from_dict(message("[1]")), "invalid", "Expected `object`"),
        (ChatCompletion.from_dict({}), "invalid", "not JSON"),
        (Response.from_dict(REFUSED), "refusal", "refused: No."),
        (Response.from_dict(response("{", "incomplete", "max_output_tokens")), "length", "limit"),
        (
            Response.from_dict(response("{", "incomplete", "content_filter")),
            "content_filter",
            "filter",
        ),
        (Response.from_dict(response('{"steps": {}}')), "invalid", r"\$\.steps"),
    ],
)
def test_says_why_it_cannot_be_parsed(whole: Any, reason: str, said: str) -> None:
    with pytest.raises(StructuredOutputError, match=said) as caught:
        whole.parsed(Solution)
    assert caught.value.reason == reason
    assert caught.value.snapshot is whole
    assert isinstance(caught.value.text, str)


# partials ------------------------------------------------------------------------------------


@calmly
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.integers(1, 5),
)
def test_the_last_partial_is_the_whole(value: Any, size: int) -> None:
    with ScriptedServer() as server, Client(api_key="k", base_url=server.base_url) as client:
        text = json.dumps(value)
        server.play(answer(chunks(*cut(text, size)), events_per_chunk=3))
        events = client.create_chat_completion(model="m", stream=True)
        got = list(events.partials())
    assert got[-1] == json.loads(text)
    assert json.dumps(got[-1]) == json.dumps(json.loads(text))


def test_grows_as_the_pieces_come(server: ScriptedServer, client: Client) -> None:
    gates = [threading.Event() for _ in range(3)]
    script: list[Any] = chunks('{"a": [1', ', "x', 'y"]}')
    for place, gate in zip((4, 3, 2), reversed(gates), strict=True):
        script.insert(place, Wait(gate))
    server.play(answer(script))
    values = client.create_chat_completion(model="m", stream=True).partials()
    seen = []
    for gate in gates:
        seen.append(copy.deepcopy(next(values)))
        gate.set()
    seen += [copy.deepcopy(value) for value in values]
    assert seen[:3] == [{"a": []}, {"a": [1, "x"]}, {"a": [1, "xy"]}]
    assert seen[-1] == {"a": [1, "xy"]}


def test_a_cut_gives_what_came_then_raises(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer(chunks('{"steps": [{"expl', finish="length")),
        answer(chunks('{"steps": [{"explanation": "a"}, {"expl', finish="length")),
        answer(chunks('{"steps": [{"explanation": "a"}'), fault="cut"),
        answer(chunks("Sure: {")),
    )
    values = []
    with pytest.raises(StructuredOutputError) as caught:
        values += [copy.deepcopy(value) for value in ask(client).partials()]
    assert caught.value.reason == "length"
    items = ask(client).items("steps")
    assert next(items) == Step("a")
    with pytest.raises(StructuredOutputError):
        next(items)
    with pytest.raises(StreamInterruptedError):
        list(ask(client).items("steps"))
    with pytest.raises(StructuredOutputError, match="not JSON") as caught:
        list(ask(client).partials())
    assert str(caught.value).count("JSON") == 1
    assert caught.value.text == "Sure: {"


def test_a_cut_gives_nothing_twice(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    role, piece, end = chunks('{"a": ["b', finish="length")
    server.play(answer([role, piece, Wait(rest), end]))
    values = ask(client).partials()
    assert next(values) == {"a": ["b"]}
    rest.set()
    with pytest.raises(StructuredOutputError):
        next(values)


def test_a_closed_stream_never_looks_whole(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*chunks('{"a": 1')[:2], Hang()]))
    events = ask(client)
    values = events.partials()
    assert next(values) == {}
    events.close()
    with pytest.raises(CancelledError):
        list(values)


def test_a_restart_begins_anew_or_raises(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    server.play(
        answer([*chunks()[:1], Fin()]),
        answer(chunks('{"a": 1}')),
        answer([*chunks('{"a": {')[:2], Wait(rest), Fin()]),
        answer(chunks('{"a": 1}')),
    )
    assert list(ask(client, restarts=1).partials())[-1] == {"a": 1}
    values = ask(client, restarts=1).partials()
    assert next(values) == {"a": {}}
    rest.set()
    with pytest.raises(StreamInterruptedError):
        list(values)


# items ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_items_come_once_and_before_the_end(
    server: ScriptedServer, client: Client, size: int
) -> None:
    rest = threading.Event()
    script: list[Any] = chunks(*cut(TEXT, size))
    script.insert(-1, Wait(rest))
    server.play(answer(script))
    items = ask(client).items("steps")
    assert [next(items), next(items)] == [Step("a", "1"), Step("b", "2")]
    rest.set()
    assert list(items) == []


def test_items_without_a_class_are_dicts(server: ScriptedServer, client: Client) -> None:
    server.play(answer(chunks(*cut(TEXT))), answer(chunks('{"steps": 5}')), answer(chunks("[1]")))
    events = client.create_chat_completion(model="m", stream=True)
    assert list(events.items("steps")) == VALUE["steps"]
    for _ in range(2):
        events = client.create_chat_completion(model="m", stream=True)
        with pytest.raises(StructuredOutputError, match="no list 'steps'"):
            list(events.items("steps"))


def test_an_item_that_does_not_fit_raises_there(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer(chunks('{"steps": [{"explanation": "a"}, {"explanation": 1}], "final": ""}'))
    )
    items = ask(client).items("steps")
    assert next(items) == Step("a")
    with pytest.raises(StructuredOutputError, match=r"steps\[1\]: .*explanation"):
        next(items)


@pytest.mark.parametrize(
    ("name", "kind"), [("nope", ValueError), ("final", ValueError), (5, TypeError)]
)
def test_a_wrong_list_raises_at_the_call(
    server: ScriptedServer, client: Client, name: Any, kind: type[Exception]
) -> None:
    server.play(answer(chunks(TEXT)))
    events = ask(client)
    with pytest.raises(kind):
        events.items(name)
    assert list(events.items("steps")) == [Step("a", "1"), Step("b", "2")]


def test_only_one_may_take_them(server: ScriptedServer, client: Client) -> None:
    server.play(answer(chunks(TEXT)))
    events = ask(client, replay=True)
    first = events.partials()
    with pytest.raises(RuntimeError, match=r"partials\(\) takes .*subscribe\(\)"):
        events.items("steps")
    assert list(events.stream.subscribe().items("steps")) == [Step("a", "1"), Step("b", "2")]
    assert list(first)[-1] == VALUE
