"""Pieces of tool calls into calls, on the general and on the fast way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accumulating import (
    Accumulator,
    F,
    G,
    Slow,
    called,
    chunk,
    collect,
    envelope,
    message,
    part,
    whole,
    without,
)
from helpers import JSON

from openai_stream.accumulate import ChatAccumulator, CompletionAccumulator
from openai_stream.accumulate.message import Message


def fragments(*deltas: list[Any]) -> list[JSON]:
    """The whole tool calls, from the chunks' fragments."""
    return message(*({"tool_calls": calls} for calls in deltas))["tool_calls"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [
                [part(0, "a", "f", "")],
                [part(0, arguments="{")],
                [part(0, arguments="1}")],
                [part(1, "b", "g", "")],
                [part(1, arguments="{2}")],
            ],
            [F, G],
            id="by index",
        ),
        pytest.param(
            [[part(0, "a", "f", "{1}")], [part(1, arguments="{2}")], [part(1, "b", "g", "")]],
            [F, {"function": G["function"], "id": "b"}],
            id="a new index without a name",
        ),
        pytest.param(
            [
                [part(0, "a", "f", ""), part(1, "b", "g", "")],
                [part(1, arguments="{"), part(0, arguments="{")],
                [part(0, arguments="1}"), part(1, arguments="2}")],
            ],
            [F, G],
            id="interleaved",
        ),
        pytest.param(
            [[part(1, "b", "g", "{")], [part(0, "a", "f", "{1}")], [part(1, arguments="2}")]],
            [F, G],
            id="indexes out of order",
        ),
        pytest.param([[part(7, "b", "g", "{2}"), part(3, "a", "f", "{1}")]], [F, G], id="gaps"),
        pytest.param(
            [
                [part(0, "a", "f", "{")],
                [{"index": 0, "id": None, "function": {"name": None, "arguments": "1"}}],
                [{"index": 0, "id": "", "function": {"name": "", "arguments": "}"}}],
            ],
            [F],
            id="continuations with null or empty id and name",
        ),
        pytest.param(
            [[part(0, "a", "f", "{")], [part(0, "a", "f", "1}")]], [F], id="id and name repeated"
        ),
        pytest.param(
            [
                [part(0, "a", "f", "{")],
                [part(0, arguments="1}")],
                [part(0, "b", "g", "{")],
                [part(0, arguments="2}")],
            ],
            [F, G],
            id="all of index 0, ids differ",
        ),
        pytest.param(
            [[part(0, "a", "f", "{1}"), part(0, "b", "g", "{2}")]],
            [F, G],
            id="all of index 0 in one chunk",
        ),
        pytest.param(
            [
                [part(0, "a", "f", "{"), part(0, "b", "g", "{")],
                [part(0, "a", arguments="1}"), part(0, "b", arguments="2}")],
            ],
            [F, G],
            id="all of index 0, ids repeated",
        ),
        pytest.param(
            [
                [part(None, "a", "f", "{")],
                [part(arguments="1}")],
                [part(None, "b", "g", "{")],
                [part(arguments="2}")],
            ],
            [F, G],
            id="no index: by new id, then the open call",
        ),
        pytest.param(
            [
                [{"index": None, "id": "a", "function": {"name": "f", "arguments": "{"}}],
                [{"index": None, "id": None, "function": {"arguments": "1}"}}],
            ],
            [F],
            id="index null",
        ),
        pytest.param(
            [
                [part(None, "a", "f", "{")],
                [part(None, "b", "g", "{")],
                [part(None, "a", arguments="1}")],
                [part(None, "b", arguments="2}")],
            ],
            [F, G],
            id="no index: by known id",
        ),
        pytest.param(
            [[part(None, "a", "f", "{")], [part(0, arguments="1}")]], [F], id="index comes later"
        ),
        pytest.param(
            [[part(None, "a", "f", "{")], [part(0, "a", arguments="1}")]],
            [F],
            id="index comes later, with the id",
        ),
        pytest.param(
            [[part(0, None, "f", "{")], [part(0, "a", None, "1}")]],
            [{"function": {"name": "f", "arguments": "{1}"}, "id": "a"}],
            id="id comes later",
        ),
        pytest.param(
            [[part(0, "a", "f", "{1}")], [part(1, "a", "g", "{2}")]],
            [F, called("a", "g", "{2}")],
            id="an id used twice: the index tells",
        ),
        pytest.param(
            [[part(0, "a", "f", "{")], [part(1, "b", "g", "{2}")], [part(None, "a", None, "1}")]],
            [F, G],
            id="index left out later",
        ),
        pytest.param(
            [[part(name="f", arguments="{")], [part(name="f", arguments="1}")]],
            [{"function": {"name": "f", "arguments": "{1}"}}],
            id="neither, the name repeated",
        ),
        pytest.param(
            [[part(name="f", arguments="{1}")], [part(name="g", arguments="{2}")]],
            [
                {"function": {"name": "f", "arguments": "{1}"}},
                {"function": {"name": "g", "arguments": "{2}"}},
            ],
            id="neither, another name",
        ),
        pytest.param(
            [[{"custom": {"name": "f", "input": "x"}}], [{"custom": {"name": "g", "input": "y"}}]],
            [{"custom": {"name": "f", "input": "x"}}, {"custom": {"name": "g", "input": "y"}}],
            id="neither, another custom tool",
        ),
        pytest.param(
            [[part(name="f", arguments="{")], [part(name=5, arguments="1}")]],
            [{"function": {"name": 5, "arguments": "{1}"}}],
            id="neither, a name that is none",
        ),
        pytest.param(
            [[part(name="f", arguments="{1}"), part(name="f", arguments="{2}")]],
            [
                {"function": {"name": "f", "arguments": "{1}"}},
                {"function": {"name": "f", "arguments": "{2}"}},
            ],
            id="neither, whole calls in one chunk",
        ),
        pytest.param(
            [[part("0", "a", "f", "{")], [part(True, "a", arguments="1}")]],
            [F],
            id="index no number",
        ),
        pytest.param([[part(0, 5, "f", "{1}")]], [called(5, "f", "{1}")], id="id no string"),
        pytest.param(
            [[None, 5, "x", [], part(0, "a", "f", "{1}")]], [F], id="fragments that are none"
        ),
        pytest.param(
            [
                [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}],
                [{"index": 0, "custom": {"input": "y"}}],
            ],
            [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "xy"}}],
            id="custom tool",
        ),
        pytest.param(
            [
                [part(0, "a", "f", "", type="function")],
                [part(0, type="function", x="p", extra_content={"google": 1})],
                [part(0, type="", x="q", extra_content={"google": 2})],
            ],
            [
                {
                    "id": "a",
                    "function": {"name": "f", "arguments": ""},
                    "type": "function",
                    "x": "pq",
                    "extra_content": {"google": 2},
                }
            ],
            id="other fields",
        ),
        pytest.param(
            [[part(0, "a", "f", {"k": 1})], [part(0, arguments="")]],
            [{"id": "a", "function": {"name": "f", "arguments": {"k": 1}}}],
            id="arguments as an object",
        ),
        pytest.param(
            [[part(0, "a", "f", "{1}")], [{"index": 0, "function": "x"}]], [F], id="no function"
        ),
    ],
)
def test_tool_calls(deltas: list[list[Any]], expected: list[JSON]) -> None:
    assert fragments(*deltas) == expected


def test_content_is_null_when_only_tool_calls_came() -> None:
    calls = {"tool_calls": [part(0, "a", "f", "{1}")]}
    assert message({"role": "assistant", "content": ""}, calls)["content"] is None
    assert message({"role": "assistant", "content": None}, calls)["content"] is None
    assert message({"role": "assistant"}, calls)["content"] is None
    assert message({"content": "Let me see."}, calls)["content"] == "Let me see."
    assert message({"content": [{"type": "text", "text": ""}]}, calls)["content"] is None


def test_one_tool_call_that_is_no_list() -> None:
    assert message({"tool_calls": part(0, "a", "f", "{1}")})["tool_calls"] == [F]


def test_tool_calls_of_the_wrong_type_take_nothing_back() -> None:
    right = {"tool_calls": [part(0, "a", "f", "{1}")]}
    assert message(right, {"tool_calls": 5}, {"tool_calls": None})["tool_calls"] == [F]
    assert message({"tool_calls": 5}, right)["tool_calls"] == [F]
    assert message({"tool_calls": 5})["tool_calls"] == 5


BASE = chunk({"content": "x"})
CHOICE = BASE["choices"][0]


@pytest.mark.parametrize(
    "odd",
    [
        {**BASE, "usage": {"total_tokens": 1}},
        {**BASE, "model": "other"},
        {**BASE, "id": ""},
        {**BASE, "created": 2},
        {**BASE, "created": 1},
        {**BASE, "created": True},
        {**BASE, "service_tier": None},
        {**BASE, "x": 1},
        {**without(BASE, "obfuscation"), "x": 1},
        {**without(BASE, "choices"), "x": 1},
        {**without(BASE, "choices"), "usage": {"total_tokens": 1}},
        {**without(BASE, "model"), "x": 1},
        without(BASE, "choices"),
        without(BASE, "usage"),
        {**BASE, "choices": []},
        {**BASE, "choices": {}},
        {**BASE, "choices": {"a": CHOICE}},
        {**BASE, "choices": "abcd"},
        {**BASE, "choices": [[1, 2, 3, 4]]},
        {**BASE, "choices": ["abcd"]},
        {**BASE, "choices": [CHOICE, CHOICE]},
        {**BASE, "choices": [CHOICE, {**CHOICE, "index": 1}]},
        {**BASE, "choices": [{**CHOICE, "index": 1}]},
        {**BASE, "choices": [{**CHOICE, "index": None}]},
        {**BASE, "choices": [{**CHOICE, "finish_reason": "stop"}]},
        {**BASE, "choices": [{**CHOICE, "logprobs": {"content": [{"token": "x"}]}}]},
        {**BASE, "choices": [{**CHOICE, "x": 1}]},
        {**BASE, "choices": [{**without(CHOICE, "logprobs"), "x": 1}]},
        {**BASE, "choices": [{**without(CHOICE, "delta"), "x": 1}]},
        {**BASE, "choices": [{**without(CHOICE, "delta"), "message": {"content": "whole"}}]},
        {**BASE, "choices": [{**CHOICE, "message": {"content": "whole"}}]},
        {**BASE, "choices": [{**CHOICE, "delta": None}]},
        {**BASE, "choices": [{**CHOICE, "delta": "content"}]},
        {**BASE, "choices": [{**CHOICE, "delta": {}}]},
        {**BASE, "choices": [{**CHOICE, "delta": {"content": None}}]},
        {**BASE, "choices": [{**CHOICE, "delta": {"content": ["y"]}}]},
        {**BASE, "choices": [{**CHOICE, "delta": {"content": "y", "role": "tool"}}]},
        {**BASE, "choices": [{**CHOICE, "delta": {"reasoning": "y"}}]},
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_whatever_differs_from_the_chunk_before_is_seen(odd: JSON, count: int) -> None:
    chunks = [*[BASE] * count, odd, BASE, BASE, odd, odd, BASE]
    assert json.dumps(whole(chunks)) == json.dumps(whole(chunks, Slow))


@pytest.mark.parametrize("more", [[CHOICE], [{**CHOICE, "index": 1}], [5]])
def test_a_choice_that_changes_among_others_has_changed(more: list[Any]) -> None:
    one = {**BASE, "choices": [{**CHOICE, "x": "a"}]}
    for several in ([{**CHOICE, "x": "b"}, *more], [*more, {**CHOICE, "x": "b"}]):
        chunks = [one, one, {**BASE, "choices": several}]
        for told in (chunks, [*chunks, one], [*chunks, one, one]):
            assert json.dumps(whole(told)) == json.dumps(whole(told, Slow))


@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
@pytest.mark.parametrize(
    ("level", "first", "second"),
    [
        *(
            (level, *values)
            for level in ("chunk", "choice")
            for values in ((1, True), (0, False), (1, 2), ("a", "b"), ("a", {"a": 1}))
        ),
        ("chunk", [1], [True]),  # those of a choice grow
        ("chunk", "a", ["a"]),
    ],
)
def test_equal_is_not_the_same(
    kind: type[Accumulator], level: str, first: Any, second: Any
) -> None:
    """Python holds 1 and true for equal; and what changes back has changed."""

    def last(*values: Any) -> str:
        if level == "chunk":
            return json.dumps(whole([{**BASE, "x": value} for value in values], kind)["x"])
        chunks = [{**BASE, "choices": [{**CHOICE, "x": value}]} for value in values]
        return json.dumps(whole(chunks, kind)["choices"][0]["x"])

    assert last(first, first, second) == last(second, second) == json.dumps(second)
    assert last(second, second, first) == last(first, first) == json.dumps(first)
    assert last(first, first, second, first) == last(first, None, first) == json.dumps(first)


@pytest.mark.parametrize("fields", [{}, {"usage": None}, {"obfuscation": "a"}])
def test_the_fast_way_is_taken_for_the_chunks_of_a_usual_stream(
    monkeypatch: pytest.MonkeyPatch, fields: JSON
) -> None:
    calls = []

    def count(owner: type, name: str, label: str) -> None:
        method = getattr(owner, name)

        def counted(self: Any, item: JSON) -> None:
            calls.append(label)
            method(self, item)

        monkeypatch.setattr(owner, name, counted)

    base = ChatAccumulator.__mro__[1]
    count(base, "add", "chunk")
    count(base, "_add_envelope", "envelope")
    count(Message, "add", "message")
    deltas: list[JSON] = [{"role": "assistant"}, *[{"content": "x"}] * 5, {"tool_calls": []}]
    chunks = [envelope(choices=[{**CHOICE, "delta": delta}], **fields) for delta in deltas]
    collect(chunks)
    assert calls == ["chunk", "envelope", "message", "message"]
    # Where the envelope alone differs, it alone is looked at.
    calls.clear()
    collect([*chunks[:3], {**chunks[3], "model": "other"}])
    assert calls == ["chunk", "envelope", "message", "envelope"]
    # Where the choices take turns, and a text choice always, only the envelope is passed over.
    calls.clear()
    collect(envelope(choices=[{**CHOICE, "index": number % 2}], **fields) for number in range(6))
    assert calls == ["chunk", "envelope", "message", *["chunk", "message"] * 3]
    calls.clear()
    collect(chunks, CompletionAccumulator)
    assert calls == ["chunk", "envelope", *["chunk"] * 6]
