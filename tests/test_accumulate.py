"""The accumulators: chunks in, the completion that the same call unstreamed would have returned.

Each rule has a row or a test; the properties at the end hold for whatever a server may send.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import pytest
from helpers import JSON
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import EXAMPLES

from openai_stream.accumulate import ChatAccumulator, CompletionAccumulator, ResponseAccumulator
from openai_stream.accumulate.message import Message

Accumulator: TypeAlias = ChatAccumulator | CompletionAccumulator | ResponseAccumulator

KINDS = [ChatAccumulator, CompletionAccumulator, ResponseAccumulator]


class Slow(ChatAccumulator):
    """The general way alone, to hold the fast one against."""

    def add(self, chunk: JSON) -> bool:
        self._envelope.clear()
        return super(ChatAccumulator, self).add(chunk)


def envelope(**fields: Any) -> JSON:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1741570283,
        "model": "gpt-4o-mini",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        **fields,
    }


def chunk(delta: Any, index: int = 0, finish: Any = None, **choice: Any) -> JSON:
    choices = [
        {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **choice}
    ]
    return envelope(choices=choices, usage=None, obfuscation=f"pad{id(choices)}")


def collect(chunks: Iterable[JSON], kind: type[Accumulator] = ChatAccumulator) -> Accumulator:
    """Through the parser, as everything is that comes from a server: no string is shared."""
    accumulator = kind()
    for item in chunks:
        accumulator.add(json.loads(json.dumps(item)))
    return accumulator


def whole(chunks: Iterable[JSON], kind: type[Accumulator] = ChatAccumulator) -> JSON:
    return collect(chunks, kind).snapshot()


def choice(*choices: Any) -> JSON:
    """The first whole choice, from the chunks' first choices."""
    return whole([{"choices": [item]} for item in choices])["choices"][0]  # type: ignore[no-any-return]


def message(*deltas: Any) -> JSON:
    """The whole message; the same however fast the deltas went in."""
    fast = whole([chunk(delta) for delta in deltas])["choices"][0]["message"]
    slow = whole([chunk(delta) for delta in deltas], Slow)["choices"][0]["message"]
    assert json.dumps(fast) == json.dumps(slow)
    return fast  # type: ignore[no-any-return]


def fragments(*deltas: list[Any]) -> list[JSON]:
    """The whole tool calls, from the chunks' fragments."""
    return message(*({"tool_calls": calls} for calls in deltas))["tool_calls"]  # type: ignore[no-any-return]


def part(
    index: Any = None, ident: Any = None, name: Any = None, arguments: Any = None, **more: Any
) -> JSON:
    """One fragment of a tool call, without what is left out."""
    function = {"name": name, "arguments": arguments}
    fragment = {
        "index": index,
        "id": ident,
        "function": {key: value for key, value in function.items() if value is not None},
    }
    return {**{key: value for key, value in fragment.items() if value is not None}, **more}


def called(ident: Any, name: str, arguments: str) -> JSON:
    return {"id": ident, "function": {"name": name, "arguments": arguments}}


# The whole ----------------------------------------------------------------------------------------


def test_a_plain_stream_becomes_the_completion() -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
    accumulator = collect(
        [
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"content": "Hello"}),
            chunk({"content": " world"}),
            chunk({}, finish="stop"),
            envelope(choices=[], usage=usage),
        ]
    )
    expected = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741570283,
        "model": "gpt-4o-mini",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
    }
    assert json.dumps(accumulator.snapshot()) == json.dumps(expected)
    assert accumulator.complete
    assert not accumulator.empty


def test_a_text_stream_becomes_the_completion() -> None:
    top = {"id": "cmpl-1", "object": "text_completion", "created": 5}
    accumulator = collect(
        [
            {**top, "choices": [{"text": "He", "index": 0, "finish_reason": None}], "model": "m"},
            {**top, "choices": [{"text": "llo", "index": 0, "finish_reason": None}], "model": "m"},
            {**top, "choices": [{"text": "", "index": 0, "finish_reason": "stop"}], "model": "m"},
        ],
        CompletionAccumulator,
    )
    expected = {
        **top,
        "choices": [{"text": "Hello", "index": 0, "finish_reason": "stop"}],
        "model": "m",
    }
    assert json.dumps(accumulator.snapshot()) == json.dumps(expected)
    assert accumulator.complete


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_was_added(kind: type[Accumulator]) -> None:
    accumulator = kind()
    assert accumulator.empty is True
    assert accumulator.complete is False
    json.dumps(accumulator.snapshot())
    accumulator.add({})
    assert accumulator.empty is False
    assert accumulator.complete is False


def test_the_snapshot_of_nothing_is_a_completion_without_choices() -> None:
    assert ChatAccumulator().snapshot() == {"object": "chat.completion", "choices": []}
    assert CompletionAccumulator().snapshot() == {"object": "text_completion", "choices": []}
    assert ResponseAccumulator().snapshot() == {"object": "response", "output": []}


# Top-level fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([{"id": "a"}, {"id": "b"}], {"id": "b"}, id="the last wins"),
        pytest.param([{"id": "a"}, {"id": ""}], {"id": "a"}, id="empty id"),
        pytest.param([{"id": ""}, {"id": "a"}], {"id": "a"}, id="empty id first"),
        pytest.param([{"id": ""}], {"id": ""}, id="only an empty id"),
        pytest.param([{"id": "a"}, {"id": None}], {"id": "a"}, id="null id"),
        pytest.param([{"created": 7}, {"created": 0}], {"created": 7}, id="created 0"),
        pytest.param([{"created": 0}, {"created": 7}], {"created": 7}, id="created 0 first"),
        pytest.param([{"model": "m"}, {"model": ""}], {"model": "m"}, id="empty model"),
        pytest.param([{"model": "m"}, {"model": "n"}], {"model": "n"}, id="another model"),
        pytest.param([{"service_tier": None}], {"service_tier": None}, id="null stays null"),
        pytest.param([{"x": 1}, {"x": [2]}], {"x": [2]}, id="unknown: the last wins"),
        pytest.param([{"x": "a"}, {"x": "b"}], {"x": "b"}, id="unknown: not joined"),
        pytest.param([{"x": "a"}, {"x": ""}], {"x": ""}, id="unknown: empty is a value"),
        pytest.param([{"x": 5}, {"x": 0}], {"x": 0}, id="unknown: 0 is a value"),
        pytest.param([{"x": {"a": 1}}, {"x": {"b": 2}}], {"x": {"b": 2}}, id="unknown: not merged"),
        pytest.param([{"x": 1}, {"x": None}], {"x": 1}, id="unknown: null is none"),
        pytest.param([{"obfuscation": "abc"}], {}, id="obfuscation"),
        pytest.param([{"error": None}], {"error": None}, id="null error"),
        pytest.param([{"usage": None}], {}, id="usage unknown"),
        pytest.param([{"usage": 0}, {"usage": {}}], {}, id="usage that says nothing"),
        pytest.param(
            [{"usage": {"total_tokens": 1}}, {"usage": {"total_tokens": 2}}, {"usage": None}],
            {"usage": {"total_tokens": 2}},
            id="usage in each chunk",
        ),
        pytest.param(
            [{"usage": {"total_tokens": 1}}, {"usage": {}}],
            {"usage": {"total_tokens": 1}},
            id="usage emptied",
        ),
    ],
)
@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator, Slow])
def test_top_level(
    kind: type[ChatAccumulator | CompletionAccumulator], chunks: list[JSON], expected: JSON
) -> None:
    result = whole(chunks, kind)
    assert result.pop("choices") == []
    del result["object"]
    assert result == expected


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([chunk({}, finish="stop", usage={"t": 1})], {"t": 1}, id="choice"),
        pytest.param([envelope(x_groq={"usage": {"t": 1}})], {"t": 1}, id="x_groq"),
        pytest.param(
            [chunk({}, usage={"t": 1}), envelope(choices=[], usage={"t": 2})],
            {"t": 2},
            id="there too",
        ),
        pytest.param(
            [chunk({}, usage={"t": 1}), chunk({}, 1, usage={"t": 2})], None, id="two choices"
        ),
        pytest.param([chunk({}, usage=5), envelope(x_groq=[1])], None, id="no object"),
        pytest.param([envelope(x_groq={"usage": None})], None, id="null"),
    ],
)
def test_usage_in_another_place(chunks: list[JSON], expected: Any) -> None:
    assert whole(chunks).get("usage") == expected


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (["chat.completion.chunk"], "chat.completion"),
        (["chat.completion.chunk", ""], "chat.completion"),
        (["", "chat.completion.chunk"], "chat.completion"),
        ([""], "chat.completion"),
        ([None], "chat.completion"),
        ([], "chat.completion"),
        (["chat.completion"], "chat.completion"),
        (["something"], "something"),
        ([5], 5),
    ],
)
def test_object_of_a_chat_completion(objects: list[Any], expected: Any) -> None:
    assert whole([{"object": item} for item in objects])["object"] == expected


@pytest.mark.parametrize("name", ["text_completion", "text_completion.chunk", "", None])
def test_object_of_a_text_completion(name: Any) -> None:
    assert whole([{"object": name}], CompletionAccumulator)["object"] == "text_completion"


def test_top_level_fields_stand_in_the_order_in_which_they_came() -> None:
    chunks: list[JSON] = [
        {"choices": [], "created": 1, "usage": None, "id": "a"},
        {"id": "b", "timings": {"n": 1}, "object": "chat.completion.chunk", "usage": {"t": 1}},
    ]
    assert list(whole(chunks)) == ["choices", "created", "usage", "id", "timings", "object"]


def test_azures_first_chunk_has_no_choices() -> None:
    filters = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]
    nothing = {"id": "", "object": "", "created": 0, "model": ""}
    safe = {"filtered": False, "severity": "safe"}
    result = whole(
        [
            {"choices": [], **nothing, "prompt_filter_results": filters},
            chunk({"role": "assistant", "content": ""}, content_filter_results={}),
            chunk({"content": "Hi"}, content_filter_results={"hate": safe}),
            chunk({}, finish="stop", content_filter_results={}),
            # The asynchronous filter reports later, without a delta.
            {
                **nothing,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": None,
                        "content_filter_results": {"violence": safe},
                        "content_filter_offsets": {"check_offset": 44},
                    }
                ],
            },
        ]
    )
    assert result["id"] == "chatcmpl-1"
    assert result["object"] == "chat.completion"
    assert result["created"] == 1741570283
    assert result["model"] == "gpt-4o-mini"
    assert result["prompt_filter_results"] == filters
    assert result["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "logprobs": None,
            "finish_reason": "stop",
            "content_filter_results": {"hate": safe, "violence": safe},
            "content_filter_offsets": {"check_offset": 44},
        }
    ]


def test_llama_cpp_tells_its_timings_in_the_last_chunk() -> None:
    last = {"choices": [], "usage": {"total_tokens": 3}, "timings": {"cache_n": 0}}
    result = whole([chunk({"content": "Hi"}), last])
    assert result["timings"] == {"cache_n": 0}
    assert result["usage"] == {"total_tokens": 3}


# Choices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choices", [None, [], {}, "x", 5, [None, "x", 5, []]])
@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
def test_choices_that_are_none(kind: type[Accumulator], choices: Any) -> None:
    accumulator = collect([{"choices": choices}], kind)
    assert accumulator.snapshot()["choices"] == []
    assert not accumulator.complete


def test_choices_are_sorted_by_index() -> None:
    chunks = [chunk({"content": text}, index) for index, text in [(2, "c"), (0, "a"), (1, "b")]]
    again = [chunk({"content": text}, index) for index, text in [(1, "B"), (2, "C"), (0, "A")]]
    choices = whole([*chunks, *again])["choices"]
    assert [item["index"] for item in choices] == [0, 1, 2]
    assert [item["message"]["content"] for item in choices] == ["aA", "bB", "cC"]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": "0"}, {"index": True}])
def test_a_choice_without_index_is_known_by_its_position(index: JSON) -> None:
    one = {"choices": [{"delta": {"content": "a"}, **index}]}
    two = {"choices": [{"delta": {"content": "b"}}, {"delta": {"content": "c"}, **index}]}
    for kind in (ChatAccumulator, Slow):
        choices = whole([one, one, two], kind)["choices"]
        assert [item["index"] for item in choices] == [0, 1]
        assert [item["message"]["content"] for item in choices] == ["aab", "c"]


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([], None),
        ([None], None),
        ([""], None),
        (["null"], None),
        ([5, {}, True], None),
        (["stop"], "stop"),
        (["stop", None, "", "null"], "stop"),
        ([None, "length"], "length"),
        (["stop", "tool_calls"], "tool_calls"),
    ],
)
@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
def test_finish_reason(kind: type[Accumulator], reasons: list[Any], expected: str | None) -> None:
    chunks = [{"choices": [{"index": 0, "finish_reason": reason}]} for reason in reasons]
    accumulator = collect([{"choices": [{"index": 0}]}, *chunks], kind)
    assert accumulator.snapshot()["choices"][0]["finish_reason"] == expected
    assert accumulator.complete == (expected is not None)


@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
def test_complete_takes_a_finish_reason_of_each_choice(kind: type[Accumulator]) -> None:
    accumulator = collect([{"choices": [{"index": 0}, {"index": 1}]}], kind)
    accumulator.add({"choices": [{"index": 1, "finish_reason": "stop"}]})
    assert not accumulator.complete
    accumulator.add({"choices": [{"index": 0, "finish_reason": "length"}]})
    assert accumulator.complete
    accumulator.add({"choices": []})
    assert accumulator.complete
    accumulator.add({"choices": [{"index": 2}]})
    assert not accumulator.complete


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], 2),
        (["a", "b"], "b"),
        ([{"a": 1}, {"b": 2}], {"b": 2}),
        ([[1], None], [1]),
        ([None], None),
    ],
)
@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
def test_unknown_fields_of_a_choice(
    kind: type[Accumulator], values: list[Any], expected: Any
) -> None:
    chunks = [{"choices": [{"index": 0, "stop_reason": value}]} for value in values]
    assert whole(chunks, kind)["choices"][0]["stop_reason"] == expected


@pytest.mark.parametrize("delta", ["missing", None, "x", 5, [], {}, True])
def test_a_choice_without_delta_has_an_empty_message(delta: Any) -> None:
    fields = {} if delta == "missing" else {"delta": delta}
    assert choice({"index": 0, **fields}) == {
        "index": 0,
        "message": {"role": "assistant", "content": None},
        "finish_reason": None,
    }


def test_chat_logprobs_are_concatenated() -> None:
    tokens = [{"token": text, "logprob": -0.5, "top_logprobs": []} for text in "abcd"]
    logprobs = [
        None,
        {"content": tokens[:1], "refusal": None},
        None,
        {"content": tokens[1:3], "refusal": []},
        {"content": None, "refusal": tokens[3:]},
        {"content": [], "x": 1},
    ]
    result = choice(*({"index": 0, "logprobs": item} for item in logprobs))["logprobs"]
    assert result == {"content": tokens[:3], "refusal": tokens[3:], "x": 1}


def test_logprobs_that_are_null_are_null() -> None:
    assert choice({"logprobs": None})["logprobs"] is None
    assert "logprobs" not in choice({})
    assert choice({"logprobs": {"content": None}})["logprobs"] == {"content": None}


@pytest.mark.parametrize("wrong", [5, "x", [1], {"content": 5}, {"content": "x"}])
def test_logprobs_of_the_wrong_type_take_nothing_back(wrong: Any) -> None:
    right = {"content": [{"token": "a"}]}
    assert choice({"logprobs": right}, {"logprobs": wrong})["logprobs"] == right
    assert choice({"logprobs": wrong}, {"logprobs": right})["logprobs"] == right
    assert choice({"logprobs": wrong})["logprobs"] == wrong


def test_legacy_logprobs_are_concatenated() -> None:
    first = {
        "tokens": ["a"],
        "token_logprobs": [None],
        "top_logprobs": [{"a": -0.1}],
        "text_offset": [0],
    }
    second = {
        "tokens": ["b", "c"],
        "token_logprobs": [-1, -2],
        "top_logprobs": [{"b": -1}, {"c": -2}],
        "text_offset": [1, 2],
    }
    chunks = [
        {"choices": [{"index": 0, "text": "x", "logprobs": item}]} for item in (first, second)
    ]
    assert whole(chunks, CompletionAccumulator)["choices"][0]["logprobs"] == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -1, -2],
        "top_logprobs": [{"a": -0.1}, {"b": -1}, {"c": -2}],
        "text_offset": [0, 1, 2],
    }


def test_known_fields_of_a_choice_stand_in_the_usual_order() -> None:
    fields = {"finish_reason": None, "x": 1, "logprobs": None, "index": 0}
    assert list(choice(fields)) == ["index", "message", "logprobs", "finish_reason", "x"]
    text = whole([{"choices": [fields]}], CompletionAccumulator)["choices"][0]
    assert list(text) == ["text", "index", "logprobs", "finish_reason", "x"]


@pytest.mark.parametrize("text", [None, 5, ["x"], {}])
def test_text_that_is_none(text: Any) -> None:
    chunks = [{"choices": [{"text": item}]} for item in ("a", text, "b")]
    assert whole(chunks, CompletionAccumulator)["choices"][0]["text"] == "ab"


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_reasoning_beside_a_text_is_joined(key: str) -> None:
    chunks = [{"choices": [{"text": "x", key: item}]} for item in ("a", None, "b")]
    assert whole(chunks, CompletionAccumulator)["choices"][0][key] == "ab"


def test_content_filter_results_are_merged_and_not_joined() -> None:
    results = [{"a": "x", "b": 1}, {}, None, 5, {"a": "y", "b": None}]
    merged = choice(*({"content_filter_results": item} for item in results))
    assert merged["content_filter_results"] == {"a": "y", "b": 1}


# Messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param([{"content": "a"}, {"content": "b"}], {"content": "ab"}, id="content"),
        pytest.param([{"content": ""}], {"content": ""}, id="an empty answer"),
        pytest.param([{"content": None}], {"content": None}, id="no content"),
        pytest.param([{}], {"content": None}, id="nothing"),
        pytest.param([{"content": "a"}, {"content": None}], {"content": "a"}, id="null content"),
        pytest.param(
            [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
            {"content": "ab"},
            id="role repeated",
        ),
        pytest.param(
            [{"role": "tool"}, {"role": ""}], {"role": "tool", "content": None}, id="role"
        ),
        pytest.param([{"role": None}], {"content": None}, id="null role"),
        pytest.param(
            [{"content": "", "refusal": None}, {"refusal": "I "}, {"refusal": "won't"}],
            {"content": None, "refusal": "I won't"},
            id="refusal",
        ),
        pytest.param(
            [{"content": "a", "refusal": None}], {"content": "a", "refusal": None}, id="no refusal"
        ),
        pytest.param(
            [{"content": None, "reasoning_content": "a"}, {"reasoning_content": "b"}],
            {"content": None, "reasoning_content": "ab"},
            id="reasoning_content",
        ),
        pytest.param(
            [{"reasoning": "a", "content": ""}, {"reasoning": "b"}, {"content": "c"}],
            {"content": "c", "reasoning": "ab"},
            id="reasoning",
        ),
        pytest.param(
            [{"content": "", "reasoning": "a"}], {"content": "", "reasoning": "a"}, id="cut short"
        ),
        pytest.param(
            [{"x": "a"}, {"x": ""}, {"x": "b"}], {"content": None, "x": "ab"}, id="unknown"
        ),
        pytest.param([{"x": "a"}, {"x": None}], {"content": None, "x": "a"}, id="unknown, null"),
        pytest.param([{"x": None}], {"content": None, "x": None}, id="unknown, only null"),
        pytest.param([{"x": ""}], {"content": None, "x": ""}, id="unknown, only empty"),
        pytest.param([{"x": 1}, {"x": 2}], {"content": None, "x": 2}, id="number"),
        pytest.param([{"x": True}, {"x": False}], {"content": None, "x": False}, id="boolean"),
        pytest.param([{"x": [1]}, {"x": [2]}], {"content": None, "x": [1, 2]}, id="list"),
        pytest.param(
            [{"x": {"a": "b"}}, {"x": {"a": "c"}}], {"content": None, "x": {"a": "c"}}, id="object"
        ),
        pytest.param([{"x": 1}, {"x": None}], {"content": None, "x": 1}, id="number, null"),
        pytest.param([{"x": 1}, {"x": "a"}], {"content": None, "x": "a"}, id="changed to a string"),
        pytest.param([{"x": 1}, {"x": ""}], {"content": None, "x": 1}, id="changed to nothing"),
        pytest.param([{"x": "a"}, {"x": 1}], {"content": None, "x": 1}, id="changed to a number"),
        *(
            pytest.param(
                [{key: "a"}, {key: "b"}, {key: ""}, {key: None}],
                {"content": None, key: "b"},
                id=f"{key} is not joined",
            )
            for key in ("id", "type", "name", "format")
        ),
        pytest.param(
            [
                {"content": None, "function_call": {"name": "f", "arguments": ""}},
                {"function_call": {"arguments": '{"a"'}},
                {"function_call": {"name": "", "arguments": ":1}"}},
                {"function_call": None},
            ],
            {"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
            id="function_call",
        ),
        pytest.param(
            [{"content": "", "function_call": {"name": "f"}}],
            {"content": None, "function_call": {"name": "f"}},
            id="function_call in place of content",
        ),
        pytest.param(
            [
                {"content": "", "audio": {"id": "audio_1", "transcript": "Hel"}},
                {"audio": {"id": "audio_2", "transcript": "lo", "data": "AAA"}},
                {"audio": {"data": "BBB"}},
                {"audio": {"expires_at": 1}},
                {"audio": {"expires_at": 2}},
            ],
            {
                "content": None,
                "audio": {
                    "id": "audio_2",
                    "transcript": "Hello",
                    "data": "AAABBB",
                    "expires_at": 2,
                },
            },
            id="audio",
        ),
        pytest.param(
            [{"audio": {"data": "A"}}, {"audio": 5}, {"audio": "x"}, {"audio": None}],
            {"content": None, "audio": {"data": "A"}},
            id="audio of the wrong type",
        ),
        pytest.param(
            [{"audio": 5}, {"audio": {"data": "A"}}],
            {"content": None, "audio": {"data": "A"}},
            id="audio of the wrong type first",
        ),
        pytest.param(
            [{"annotations": None}, {"annotations": [{"a": 1}]}, {"annotations": [{"b": 2}]}],
            {"content": None, "annotations": [{"a": 1}, {"b": 2}]},
            id="annotations",
        ),
        pytest.param(
            [{"annotations": [1]}, {"annotations": "x"}, {"annotations": []}],
            {"content": None, "annotations": [1]},
            id="annotations of the wrong type",
        ),
        pytest.param(
            [{"tool_calls": None}], {"content": None, "tool_calls": None}, id="null tool_calls"
        ),
        pytest.param(
            [{"content": "", "tool_calls": []}],
            {"content": "", "tool_calls": []},
            id="no tool call",
        ),
        pytest.param(
            [{"self": "a", "__class__": "b"}, {"self": "c", "": "d", "copy": "e", "é": "f"}],
            {"content": None, "self": "ac", "__class__": "b", "": "d", "copy": "e", "é": "f"},
            id="hostile names",
        ),
    ],
)
def test_message(deltas: list[JSON], expected: JSON) -> None:
    assert message(*deltas) == {"role": "assistant", **expected}


def test_role_and_content_come_first() -> None:
    assert list(message({"x": "a", "content": "b", "role": "assistant"})) == [
        "role",
        "content",
        "x",
    ]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        pytest.param(
            [[{"type": "text", "text": "He"}], [{"type": "text", "text": "llo"}]],
            "Hello",
            id="text",
        ),
        pytest.param(["He", [{"type": "text", "text": "l"}], "lo"], "Hello", id="mixed"),
        pytest.param([["He", "l"], ["lo"]], "Hello", id="strings"),
        pytest.param([{"type": "text", "text": "Hello"}], "Hello", id="one part, no list"),
        pytest.param(
            [[{"type": "text", "text": "He", "index": 0}], [{"type": "text", "text": "llo"}]],
            "Hello",
            id="numbered",
        ),
        pytest.param([[]], "", id="empty list"),
        pytest.param([[None], "a"], "a", id="null part"),
        pytest.param(
            [
                "",
                [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}],
                [{"type": "image_url", "image_url": {"url": "v"}}, {"type": "text", "text": "b"}],
                "c",
            ],
            [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "u"}},
                {"type": "image_url", "image_url": {"url": "v"}},
                {"type": "text", "text": "bc"},
            ],
            id="others in order",
        ),
        pytest.param(
            [
                [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}],
                [{"type": "thinking", "thinking": [{"type": "text", "text": "b"}]}],
                "c",
                "d",
            ],
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]},
                {"type": "text", "text": "cd"},
            ],
            id="thinking",
        ),
        pytest.param(
            [
                [{"type": "thinking", "thinking": "a"}],
                [{"type": "thinking", "thinking": "b", "signature": "s"}],
            ],
            [{"type": "thinking", "thinking": "ab", "signature": "s"}],
            id="thinking as a string",
        ),
        pytest.param(
            [
                [{"type": "thinking", "thinking": [{"type": "reference", "reference_ids": [1]}]}],
                [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}],
            ],
            [
                {
                    "type": "thinking",
                    "thinking": [
                        {"type": "reference", "reference_ids": [1]},
                        {"type": "text", "text": "a"},
                    ],
                }
            ],
            id="a reference before the thinking",
        ),
        pytest.param([[{"type": "text", "text": 5}]], [{"type": "text", "text": 5}], id="no text"),
        pytest.param([[], [{"type": "text", "text": ""}]], "", id="nothing at all"),
        pytest.param(
            [[{"type": "output_text", "text": "a"}], "b"],
            [{"type": "output_text", "text": "a"}, {"type": "text", "text": "b"}],
            id="texts of two types",
        ),
        pytest.param(
            ["", [{"type": "thinking", "thinking": "a"}]],
            [{"type": "thinking", "thinking": "a"}],
            id="nothing before the thinking",
        ),
        pytest.param(
            [[{"type": "text", "text": "a", "x": 1}], [{"type": "text", "text": "b"}]],
            [{"type": "text", "text": "ab", "x": 1}],
            id="text with more to it",
        ),
        pytest.param(
            [[{"text": "a"}, {"type": 5}, 5]], [{"text": "a"}, {"type": 5}, 5], id="unknown parts"
        ),
    ],
)
def test_content_as_a_list_of_parts(contents: list[Any], expected: Any) -> None:
    assert message(*({"content": content} for content in contents))["content"] == expected


# Tool calls ---------------------------------------------------------------------------------------

F, G = called("a", "f", "{1}"), called("b", "g", "{2}")


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


# A whole message in place of a delta --------------------------------------------------------------

SAID: JSON = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}


def test_a_whole_message_in_the_last_chunk_stands_in_place_of_the_deltas() -> None:
    deltas = [{"delta": {"content": "Hel", "reasoning_content": "h"}}, {"delta": {"content": "lo"}}]
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    last = {"message": {**SAID, "tool_calls": calls}, "finish_reason": "stop"}
    empties: list[JSON] = [{}, {"delta": {}}, {"delta": None}]
    for empty in empties:
        result = choice(*deltas, {**last, **empty})
        assert result["message"] == {**SAID, "tool_calls": calls}
        assert result["finish_reason"] == "stop"


def test_what_a_whole_message_leaves_empty_stays() -> None:
    empty: JSON = {"content": "", "reasoning_content": None, "tool_calls": [], "refusal": None}
    result = choice(
        {"delta": {**SAID, "tool_calls": [part(0, "a", "f", "{1}")]}}, {"message": empty}
    )
    assert result["message"] == {**SAID, "tool_calls": [F], "refusal": None}


def test_a_message_beside_a_delta_tells_nothing_new() -> None:
    chunks = [
        {"delta": {"content": "Hel"}, "message": {"role": "assistant", "content": "Hel"}},
        {"delta": {"content": "lo"}, "message": {"role": "assistant", "content": "Hello"}},
    ]
    assert choice(*chunks)["message"] == {"role": "assistant", "content": "Hello"}


def test_deltas_after_a_whole_message_continue_it() -> None:
    chunks = [
        {"index": 0, "delta": {"content": "x"}},
        {"index": 0, "delta": {"content": "y"}},
        {"index": 0, "message": {"content": "Hel"}},
        {"index": 0, "delta": {"content": "l"}},
        {"index": 0, "delta": {"content": "o"}},
    ]
    assert choice(*chunks)["message"]["content"] == "Hello"


def test_a_whole_completion_as_the_only_chunk_is_that_completion() -> None:
    completion = {
        "id": "a",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": SAID, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"total_tokens": 1},
    }
    assert json.dumps(whole([completion])) == json.dumps(completion)


# The fast way -------------------------------------------------------------------------------------

BASE = chunk({"content": "x"})
CHOICE = BASE["choices"][0]


def without(fields: JSON, *names: str) -> JSON:
    return {key: value for key, value in fields.items() if key not in names}


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


# Responses ----------------------------------------------------------------------------------------

CREATED: JSON = {
    "type": "response.created",
    "sequence_number": 0,
    "response": {
        "id": "resp_1",
        "object": "response",
        "status": "in_progress",
        "output": [],
        "usage": None,
    },
}


def event(kind: str, **fields: Any) -> JSON:
    return {"type": f"response.{kind}", "sequence_number": 1, "obfuscation": "abc", **fields}


def output(*events: JSON) -> Any:
    accumulator = collect([CREATED, *events], ResponseAccumulator)
    assert not accumulator.complete
    result = accumulator.snapshot()
    assert list(result) == list(CREATED["response"])
    assert result["id"] == "resp_1"
    return result["output"]


def said(text: str, **fields: Any) -> JSON:
    return {"type": "output_text", "text": text, "annotations": [], **fields}


ITEM: JSON = {"id": "m", "type": "message", "role": "assistant", "content": []}
WHERE = {"output_index": 0, "item_id": "m", "content_index": 0}
STARTED = [
    event("output_item.added", output_index=0, item={**ITEM, "status": "in_progress"}),
    event("content_part.added", **WHERE, part=said("", logprobs=[])),
    event("output_text.delta", **WHERE, delta="Hel", logprobs=[]),
    event("output_text.delta", **WHERE, delta="lo", logprobs=[]),
]
MESSAGE = {**ITEM, "status": "in_progress", "content": [said("Hello", logprobs=[])]}


def test_a_response_is_built_from_items_and_deltas() -> None:
    assert output(*STARTED) == [MESSAGE]


def test_what_is_done_stands_in_place_of_the_deltas() -> None:
    corrected = [*STARTED, event("output_text.done", **WHERE, text="Hi", logprobs=[])]
    assert output(*corrected)[0]["content"] == [said("Hi", logprobs=[])]
    part_done = event("content_part.done", **WHERE, part=said("Hey", logprobs=[]))
    assert output(*corrected, part_done)[0]["content"] == [said("Hey", logprobs=[])]
    item = {**ITEM, "status": "completed", "content": [said("Howdy")]}
    item_done = event("output_item.done", output_index=0, item=item)
    assert output(*corrected, part_done, item_done) == [item]


def test_what_is_done_and_empty_takes_nothing_back() -> None:
    done = [
        event("output_text.done", **WHERE, text=""),
        event("content_part.done", **WHERE, part=said("")),
        event("output_item.done", output_index=0, item=ITEM),
    ]
    assert output(*STARTED, *done) == [MESSAGE]


@pytest.mark.parametrize(
    ("kind", "start", "field"),
    [
        ("function_call_arguments", {"type": "function_call", "name": "f"}, "arguments"),
        ("mcp_call_arguments", {"type": "mcp_call", "name": "f"}, "arguments"),
        ("custom_tool_call_input", {"type": "custom_tool_call", "name": "f"}, "input"),
        ("code_interpreter_call_code", {"type": "code_interpreter_call"}, "code"),
    ],
)
def test_calls(kind: str, start: JSON, field: str) -> None:
    start = {"id": "c", **start}
    events = [
        event("output_item.added", output_index=0, item={**start, field: ""}),
        event(f"{kind}.delta", output_index=0, item_id="c", delta="ab"),
        event(f"{kind}.delta", output_index=0, item_id="c", delta="cd"),
    ]
    assert output(*events) == [{**start, field: "abcd"}]
    events.append(event(f"{kind}.done", output_index=0, item_id="c", **{field: "xyz"}))
    assert output(*events) == [{**start, field: "xyz"}]
    # Without its announcement, the item is what such deltas are for.
    bare = output(*events[1:3])
    assert bare == [{"type": start["type"], "id": "c", field: "abcd"}]


@pytest.mark.parametrize(
    ("kind", "parts", "index", "filled"),
    [
        ("output_text", "content", "content_index", {"type": "output_text", "text": "ab"}),
        ("refusal", "content", "content_index", {"type": "refusal", "refusal": "ab"}),
        ("reasoning_text", "content", "content_index", {"type": "reasoning_text", "text": "ab"}),
        (
            "reasoning_summary_text",
            "summary",
            "summary_index",
            {"type": "summary_text", "text": "ab"},
        ),
    ],
)
def test_parts(kind: str, parts: str, index: str, filled: JSON) -> None:
    where = {"output_index": 0, "item_id": "m"}
    events = [event(f"{kind}.delta", **where, **{index: 1}, delta=text) for text in "ab"]
    other = event(f"{kind}.delta", **where, **{index: 0}, delta="ab")
    assert output(*events, other)[0][parts] == [filled, filled]
    field = next(key for key in filled if key != "type")
    done = event(f"{kind}.done", **where, **{index: 1}, **{field: "c"})
    assert output(*events, done)[0][parts] == [{**filled, field: "c"}]


def test_summary_parts() -> None:
    item = {"id": "r", "type": "reasoning", "summary": []}
    where = {"output_index": 0, "item_id": "r", "summary_index": 0}
    summary = {"type": "summary_text", "text": ""}
    events = [
        event("output_item.added", output_index=0, item=item),
        event("reasoning_summary_part.added", **where, part=summary),
        event("reasoning_summary_text.delta", **where, delta="ab"),
    ]
    assert output(*events) == [{**item, "summary": [{**summary, "text": "ab"}]}]
    events.append(event("reasoning_summary_part.done", **where, part={**summary, "text": "abc"}))
    assert output(*events) == [{**item, "summary": [{**summary, "text": "abc"}]}]


def test_text_that_was_there_when_the_item_was_announced_is_continued() -> None:
    item = {**ITEM, "content": [said("Hel")]}
    events = [
        event("output_item.added", output_index=0, item=item),
        event("output_text.delta", **WHERE, delta="lo"),
    ]
    assert output(*events)[0]["content"] == [said("Hello")]


def test_logprobs_and_annotations_of_a_text() -> None:
    token = [{"token": text, "logprob": -1} for text in "abc"]
    events = [
        *STARTED,
        event("output_text.delta", **WHERE, delta="a", logprobs=token[:1]),
        event("output_text.delta", **WHERE, delta="bc", logprobs=token[1:]),
        event("output_text.annotation.added", **WHERE, annotation_index=0, annotation={"n": 0}),
        event("output_text.annotation.added", **WHERE, annotation_index=1, annotation={"n": 1}),
        event("output_text.annotation.added", **WHERE, annotation_index=0, annotation={"n": 2}),
        event("output_text.annotation.added", **WHERE, annotation={"n": 3}),
        event("output_text.annotation.added", **WHERE, annotation=None),
    ]
    before = copy.deepcopy(events)
    told = {**said("Helloabc", logprobs=token), "annotations": [{"n": 2}, {"n": 1}, {"n": 3}]}
    assert output(*events)[0]["content"] == [told]
    assert events == before
    done = event("output_text.done", **WHERE, text="a", logprobs=token[:1])
    assert output(*events, done)[0]["content"] == [{**told, "text": "a", "logprobs": token[:1]}]


@pytest.mark.parametrize(
    ("annotations", "expected"), [([{"n": 0}], [{"n": 0}, {"n": 1}]), (5, [{"n": 1}])]
)
def test_annotations_that_were_there_are_kept(annotations: Any, expected: list[JSON]) -> None:
    part = {**said("a"), "annotations": annotations}
    events = [
        event("content_part.added", **WHERE, part=part),
        event("output_text.annotation.added", **WHERE, annotation_index=1, annotation={"n": 1}),
    ]
    assert output(*events)[0]["content"][0]["annotations"] == expected


def test_items_are_sorted_by_index() -> None:
    events = [
        event("output_item.added", output_index=index, item={"id": name, "type": "message"})
        for index, name in [(2, "c"), (0, "a"), (1, "b")]
    ]
    assert [item["id"] for item in output(*events)] == ["a", "b", "c"]
    # An event that tells the id alone takes no index back.
    delta = event("output_text.delta", item_id="c", delta="x")
    assert [item["id"] for item in output(*events, delta)] == ["a", "b", "c"]


def test_events_without_indexes_belong_to_the_item_of_their_id() -> None:
    """As llama.cpp sends them."""
    events = [
        event("output_item.added", item={"id": "r", "type": "reasoning", "content": []}),
        event("output_item.added", item=ITEM),
        event("content_part.added", item_id="m", part={"type": "output_text", "text": ""}),
        event("reasoning_text.delta", item_id="r", delta="h"),
        event("output_text.delta", item_id="m", delta="Hel"),
        event("reasoning_text.delta", item_id="r", delta="m"),
        event("output_text.delta", item_id="m", delta="lo"),
        event("output_item.added", item={"type": "function_call", "call_id": "fc", "name": "f"}),
        event("function_call_arguments.delta", item_id="fc", delta="{}"),
        event("output_item.done", item={"type": "function_call", "call_id": "fc", "id": "x"}),
        event("output_item.done", item={"id": "r", "type": "reasoning", "status": "completed"}),
        event("output_item.done", item={"id": "y", "type": "message"}),
    ]
    assert output(*events) == [
        {
            "id": "r",
            "type": "reasoning",
            "content": [{"type": "reasoning_text", "text": "hm"}],
            "status": "completed",
        },
        {**ITEM, "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "fc", "name": "f", "arguments": "{}", "id": "x"},
        {"id": "y", "type": "message"},
    ]


def test_calls_that_are_told_by_their_call_id_alone() -> None:
    calls = [{"type": "function_call", "call_id": name, "name": name} for name in "fg"]
    events = [
        *(event("output_item.added", item=call) for call in calls),
        *(event("output_item.done", item={**call, "id": f"id_{call['name']}"}) for call in calls),
    ]
    assert output(*events) == [{**call, "id": f"id_{call['name']}"} for call in calls]


def test_a_call_and_its_output_are_two_items_of_one_call_id() -> None:
    items = [
        {"id": "sh_1", "type": "shell_call", "call_id": "c"},
        {"id": "sho_1", "type": "shell_call_output", "call_id": "c"},
    ]
    for kind in ("added", "done"):
        events = [
            event(f"output_item.{kind}", output_index=index, item=item)
            for index, item in enumerate(items)
        ]
        assert output(*events) == items
        assert output(*events, *events) == items


def test_events_without_anything_belong_to_the_last_item() -> None:
    events = [
        event("output_item.added", item={"type": "message", "role": "assistant"}),
        event("content_part.added", part={"type": "output_text", "text": ""}),
        event("output_text.delta", delta="a"),
        event("content_part.added", part={"type": "output_text", "text": ""}),
        event("output_text.delta", delta="b"),
        event("content_part.done", part={"type": "output_text", "text": "c"}),
        event("output_item.added", item={"type": "function_call"}),
        event("function_call_arguments.delta", delta="{}"),
        event("output_item.done", item={"type": "function_call", "status": "completed"}),
    ]
    texts = [{"type": "output_text", "text": text} for text in "ac"]
    assert output(*events) == [
        {"type": "message", "role": "assistant", "content": texts},
        {"type": "function_call", "arguments": "{}", "status": "completed"},
    ]


def test_the_index_tells_where_ids_change_with_each_event() -> None:
    events = [
        event("output_item.added", output_index=0, item={**ITEM, "id": "m1"}),
        event("output_text.delta", output_index=0, content_index=0, item_id="m2", delta="a"),
        event("output_text.delta", output_index=0, content_index=0, item_id="m3", delta="b"),
    ]
    [item] = output(*events)
    assert item["content"] == [{"type": "output_text", "text": "ab"}]
    done = event("output_item.done", output_index=0, item={**ITEM, "id": "m4"})
    assert output(*events, done) == [{**item, "id": "m4"}]


def test_items_that_are_all_announced_at_index_0_are_several() -> None:
    events = []
    for name in "ab":
        item = {"id": name, "type": "function_call"}
        events += [
            event("output_item.added", output_index=0, item=item),
            event("function_call_arguments.delta", output_index=0, item_id=name, delta=name),
            event("output_item.done", output_index=0, item={**item, "status": "completed"}),
        ]
    assert [item["arguments"] for item in output(*events)] == ["a", "b"]


def test_an_item_that_is_announced_twice_is_one() -> None:
    assert output(STARTED[0], STARTED[0]) == [{**ITEM, "status": "in_progress"}]
    nameless = event("output_item.added", output_index=0, item={"type": "message"})
    assert output(nameless, nameless) == [{"type": "message"}]


def test_parts_that_are_announced_out_of_order() -> None:
    events = [
        STARTED[0],
        *(
            event("content_part.added", output_index=0, content_index=index, part=said("", n=index))
            for index in (1, 0)
        ),
        event("output_text.delta", output_index=0, content_index=1, delta="b"),
        event("output_text.delta", output_index=0, content_index=0, delta="a"),
    ]
    assert output(*events)[0]["content"] == [said("a", n=0), said("b", n=1)]


def test_a_text_that_was_none_gives_way_to_one() -> None:
    item = {"id": "c", "type": "function_call", "arguments": 5}
    events = [
        event("output_item.added", output_index=0, item=item),
        event("function_call_arguments.delta", output_index=0, delta="{}"),
    ]
    assert output(*events) == [{**item, "arguments": "{}"}]


def test_parts_without_an_index_are_numbered_as_they_come() -> None:
    started = STARTED[0]
    named = {"output_index": 0, "content_index": 0}
    events = [
        event("content_part.added", output_index=0, part=said("")),
        event("content_part.added", output_index=0, part=said("")),
        event("output_text.delta", output_index=0, content_index=1, delta="b"),
        event("output_text.delta", **named, delta="a"),
    ]
    assert output(started, *events)[0]["content"] == [said("a"), said("b")]
    # A text whose part was not announced is that of the first one.
    events = [event("output_text.delta", output_index=0, delta="a")]
    events += [event("output_text.delta", **named, delta="b")]
    assert output(started, *events)[0]["content"] == [{"type": "output_text", "text": "ab"}]


def test_a_part_announced_without_its_item() -> None:
    added = event("content_part.added", output_index=0, content_index=0, part=said("a"))
    assert output(added) == [{"type": "message", "content": [said("a")]}]
    added = event("content_part.added", output_index=0, content_index=0, part={"text": "a"})
    assert output(added) == [{"type": "message", "content": [{"text": "a"}]}]


def test_an_index_that_comes_later_is_taken() -> None:
    events = [
        event("output_text.delta", item_id="m", delta="b"),
        event("output_text.delta", output_index=1, item_id="m", delta="c"),
        event("output_text.delta", output_index=0, item_id="l", delta="a"),
    ]
    assert [item["content"][0]["text"] for item in output(*events)] == ["a", "bc"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("web_search_call.searching", "searching"),
        ("file_search_call.in_progress", "in_progress"),
        ("code_interpreter_call.interpreting", "interpreting"),
        ("image_generation_call.generating", "generating"),
        ("mcp_call.failed", "failed"),
        ("mcp_list_tools.completed", None),
        ("web_search_call.something", None),
    ],
)
def test_progress_of_a_call(kind: str, status: str | None) -> None:
    item, other = {"id": "c", "type": "call"}, {"id": "d", "type": "call"}
    told = {**item, "status": status} if status else item
    added = [
        event("output_item.added", output_index=index, item=announced)
        for index, announced in enumerate([item, other])
    ]
    for where in ({"output_index": 0}, {"item_id": "c"}):
        assert output(*added, event(kind, **where)) == [told, other]
        assert output(event(kind, **where)) == []


@pytest.mark.parametrize(
    ("kind", "complete"), [("completed", True), ("incomplete", True), ("failed", False)]
)
def test_the_last_event_carries_the_response(kind: str, complete: bool) -> None:
    response = {
        "id": "resp_1",
        "status": kind,
        "output": [{"id": "other", "type": "message", "content": [said("Goodbye")]}],
        "x": [1],
        "usage": {"total_tokens": 1},
    }
    accumulator = collect([CREATED, *STARTED, event(kind, response=response)], ResponseAccumulator)
    assert json.dumps(accumulator.snapshot()) == json.dumps(response)
    assert accumulator.complete is complete


def test_a_last_event_without_a_response_leaves_what_was_told() -> None:
    accumulator = collect([CREATED, *STARTED, event("completed")], ResponseAccumulator)
    assert accumulator.complete
    assert accumulator.snapshot()["output"] == [MESSAGE]


def test_events_that_are_no_part_of_the_response_leave_no_trace() -> None:
    noise: list[JSON] = [
        {},
        {"type": None},
        {"type": 5},
        {"type": "ping"},
        {"type": "error", "message": "oops"},
        event("audio.delta", delta="AAAA"),
        event("image_generation_call.partial_image", partial_image_b64="AAAA", item_id="m"),
        event("output_text.delta", **WHERE, delta=5),
        event("output_item.added", output_index=5, item=None),
        event("content_part.added", output_index=5, part=None),
    ]
    assert output(*STARTED, *noise) == [MESSAGE]


def test_the_newest_response_object_is_the_frame() -> None:
    response = {**CREATED["response"], "status": "queued", "metadata": {"a": 1}}
    result = whole([CREATED, event("queued", response=response)], ResponseAccumulator)
    assert result == response


def test_a_response_that_is_picked_up_in_its_middle() -> None:
    items = [{"type": "reasoning"}, {"type": "message", "content": [said("Hel")]}, 5]
    response = {**CREATED["response"], "output": items}
    events = [
        {**CREATED, "response": response},
        event("in_progress", response=response),
        event("output_text.delta", output_index=1, content_index=0, delta="lo"),
    ]
    told = [{"type": "reasoning"}, {"type": "message", "content": [said("Hello")]}]
    assert whole(events, ResponseAccumulator)["output"] == told


INDEXES_OF_EVENTS = ["output_index", "content_index", "annotation_index"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *itertools.product(INDEXES_OF_EVENTS, [None, "1", True, 1.0, [1], {"1": 1}]),
        *itertools.product(["item_id"], [None, "", 5, True, ["m"], {"m": 1}]),
    ],
)
def test_a_place_of_the_wrong_type_is_none(name: str, wrong: Any) -> None:
    def told(where: JSON) -> Any:
        return output(
            event("output_item.added", **where, item=ITEM),
            event("content_part.added", **where, part=said("")),
            event("output_text.delta", **where, delta="a"),
            event("output_text.annotation.added", **where, annotation={"n": 0}),
            event("output_text.annotation.added", **where, annotation={"n": 1}),
            event("output_text.done", **where, text="b"),
        )

    where = {"output_index": 1, "item_id": "m", "content_index": 1, "annotation_index": 0}
    assert told({**where, name: wrong}) == told(without(where, name))


@pytest.mark.parametrize("where", [{}, {"output_index": 0, "item_id": "a"}])
def test_an_item_that_is_announced_after_its_deltas_is_one(where: JSON) -> None:
    item = {"type": "function_call", "name": "f"} | ({"id": "b"} if where else {})
    events = [
        event("function_call_arguments.delta", **where, delta="{}"),
        event("output_item.added", **without(where, "item_id"), item=item),
    ]
    assert output(*events) == [{**item, "arguments": "{}"}]


def test_an_item_of_no_type_has_none() -> None:
    assert output(event("output_item.added", output_index=0, item={"id": "x"})) == [{"id": "x"}]


def test_what_there_is_already_is_not_announced_anew() -> None:
    """Not even by a proxy that gives one item a new id with each event."""
    events = [
        event(kind, response={**CREATED["response"], "output": [{**ITEM, "id": kind}]})
        for kind in ("created", "in_progress")
    ]
    assert output(*events) == [{**ITEM, "id": "in_progress"}]


def test_deltas_alone_make_a_response() -> None:
    accumulator = collect([event("output_text.delta", delta="a")] * 2, ResponseAccumulator)
    text = {"type": "output_text", "text": "aa"}
    assert accumulator.snapshot() == {
        "object": "response",
        "output": [{"type": "message", "content": [text]}],
    }


# Whatever comes -----------------------------------------------------------------------------------

TOKENS = [{"token": "a", "top_logprobs": [{"token": "b"}]}]
RICH = [
    chunk({"role": "assistant", "content": "", "annotations": [{"a": [1]}], "x": {"y": [1]}}),
    chunk({"content": "a"}, logprobs={"content": TOKENS, "refusal": None}),
    chunk({"content": [{"type": "image", "image": {"a": [1]}}, {"type": "text", "text": "b"}]}),
    chunk({"tool_calls": [part(0, "a", "f", "{", extra={"k": [1]})], "audio": {"z": [1]}}),
    chunk({}, content_filter_results={"hate": {"filtered": [1]}}, more={"m": [1]}),
    {**envelope(choices=[], usage={"details": {"n": 1}}), "timings": {"t": [1]}},
]
RICH_TEXT = [{"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "x": {"y": [1]}}}]}] * 2
RICH_RESPONSE = [
    CREATED,
    *STARTED,
    event("output_text.delta", **WHERE, delta="a", logprobs=TOKENS),
    event("output_text.annotation.added", **WHERE, annotation={"a": [1]}),
    event("output_item.added", output_index=1, item={"id": "w", "action": {"queries": ["q"]}}),
]


def containers(value: Any) -> list[Any]:
    """All the lists and dicts in a value, itself included."""
    if not isinstance(value, (dict, list)):
        return []
    children = value.values() if isinstance(value, dict) else value
    return [value, *itertools.chain.from_iterable(containers(child) for child in children)]


@pytest.mark.parametrize(
    ("kind", "chunks"),
    [
        (ChatAccumulator, RICH),
        (CompletionAccumulator, RICH_TEXT),
        (ResponseAccumulator, RICH_RESPONSE),
        (ResponseAccumulator, [event("completed", response={"output": [{"a": [1]}]})]),
    ],
)
def test_a_snapshot_shares_nothing(kind: type[Accumulator], chunks: list[JSON]) -> None:
    accumulator = kind()
    given_in = copy.deepcopy(chunks)
    for item in given_in:
        accumulator.add(item)
    assert given_in == chunks, "what comes in is not changed"
    first, second = accumulator.snapshot(), accumulator.snapshot()
    assert first == second
    known = {id(value) for item in [*given_in, second] for value in containers(item)}
    assert not known & {id(value) for value in containers(first)}
    for value in containers(first):
        value.clear()
    assert accumulator.snapshot() == second
    assert given_in == chunks


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (ChatAccumulator, lambda: chunk({"content": "x"})),
        (ChatAccumulator, lambda: chunk({"tool_calls": [part(0, "a", "f", "{")]})),
        (ChatAccumulator, lambda: chunk({"reasoning_content": "x"}, index=1)),
        (CompletionAccumulator, lambda: {"choices": [{"index": 0, "text": "x"}]}),
        (ResponseAccumulator, lambda: event("output_text.delta", **WHERE, delta="x")),
    ],
)
def test_chunks_are_not_kept_alive(kind: type[Accumulator], make: Callable[[], JSON]) -> None:
    accumulator = kind()
    items = [json.loads(json.dumps(make())) for _ in range(3)]
    parts = [value for item in items for value in containers(item)]
    before = [sys.getrefcount(value) for value in parts]
    for item in items:
        accumulator.add(item)
    del item
    assert [sys.getrefcount(value) for value in parts] == before


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [{"a": value}]
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_values_nested_deeper_than_python_recurses(kind: type[Accumulator]) -> None:
    deep = nested(5000)
    thinking: Any = []
    for _ in range(5000):
        thinking = [{"type": "thinking", "thinking": thinking}]
    accumulator = kind()
    for _ in range(3):
        accumulator.add(
            {
                "x": deep,
                "model": deep,
                "choices": [
                    {
                        "x": deep,
                        "index": deep,
                        "logprobs": {"content": deep},
                        "delta": {"x": deep, "content": deep, "tool_calls": deep, "audio": deep},
                        "message": {"x": deep},
                    },
                    {"delta": {"content": [{"type": "thinking", "thinking": deep}]}},
                    {"delta": {"content": thinking}},
                ],
            }
        )
        accumulator.add(event("output_item.added", output_index=0, item={"x": deep}))
        accumulator.add(event("in_progress", response={"x": deep}))
    accumulator.snapshot()


NAMES = [
    *["id", "object", "created", "model", "choices", "usage", "obfuscation", "x", "self", "", "é"],
    *["index", "delta", "message", "text", "logprobs", "finish_reason", "content_filter_results"],
    *["role", "content", "refusal", "tool_calls", "function_call", "audio", "annotations"],
    *["type", "function", "custom", "name", "arguments", "thinking", "reasoning", "tokens"],
    *["response", "item", "part", "output_index", "content_index", "item_id", "output", "summary"],
    *["annotation", "annotation_index", "summary_index", "call_id"],
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.just(10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "b", "text", "thinking", "null", "stop", "\ud800", "chunk"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JSON]:
    """Objects with these fields, in which anything may be anything or missing, and others."""
    mixed = {name: st.one_of(field, field, VALUES) for name, field in fields.items()}
    more = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2)
    return st.builds(
        lambda known, unknown: {**unknown, **known}, st.fixed_dictionaries({}, optional=mixed), more
    )


TEXTS = st.sampled_from(["", "a", "b", "c"])
INDEXES = st.integers(0, 2)
FRAGMENTS = some(index=INDEXES, id=TEXTS, function=some(name=TEXTS, arguments=TEXTS))
CONTENT_PARTS = some(
    type=st.sampled_from(["text", "thinking", "image"]), text=TEXTS, thinking=VALUES
)
DELTAS = some(
    role=TEXTS,
    content=st.one_of(TEXTS, st.lists(CONTENT_PARTS, max_size=2)),
    tool_calls=st.lists(FRAGMENTS, max_size=2),
    function_call=VALUES,
    audio=VALUES,
    annotations=VALUES,
)
CHOICES = some(index=INDEXES, delta=DELTAS, message=DELTAS, text=TEXTS, logprobs=VALUES)
CHUNKS = some(choices=st.lists(CHOICES, max_size=2), usage=VALUES, model=TEXTS)
EVENTS = some(
    type=st.sampled_from(
        [
            f"response.{kind}"
            for kind in (
                *("created", "in_progress", "completed", "failed", "web_search_call.searching"),
                *("output_item.added", "output_item.done", "function_call_arguments.delta"),
                *("content_part.added", "content_part.done", "output_text.annotation.added"),
                *("output_text.delta", "output_text.done", "reasoning_summary_text.delta"),
            )
        ]
    ),
    output_index=INDEXES,
    item_id=TEXTS,
    delta=TEXTS,
    text=TEXTS,
    item=some(id=TEXTS, content=st.lists(VALUES, max_size=2)),
    part=VALUES,
    response=some(output=st.lists(VALUES, max_size=2)),
)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        (ChatAccumulator, CHUNKS),
        (CompletionAccumulator, CHUNKS),
        (ResponseAccumulator, EVENTS),
    ],
)
@given(data=st.data())
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_no_json_object_raises_or_is_changed(
    kind: type[Accumulator], strategy: st.SearchStrategy[JSON], data: st.DataObject
) -> None:
    accumulator = kind()
    for item in data.draw(st.lists(strategy, max_size=6)):
        before = json.dumps(item)
        accumulator.add(item)
        assert json.dumps(item) == before
        assert isinstance(accumulator.complete, bool)
        taken = json.dumps(accumulator.snapshot())
        assert json.dumps(accumulator.snapshot()) == taken


PLAIN = st.sampled_from([None, "", "a", 5, 7])
PLAIN_DELTAS = st.one_of(st.fixed_dictionaries({"content": TEXTS}), DELTAS)
PLAIN_CHOICES = st.fixed_dictionaries(
    {"index": st.sampled_from([0, 0, 0, 1, None]), "delta": PLAIN_DELTAS},
    optional={"finish_reason": PLAIN, "logprobs": st.none(), "x": PLAIN, "message": VALUES},
)
PLAIN_CHUNKS = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "a", "b"]), "choices": st.lists(PLAIN_CHOICES, max_size=2)},
    optional={"usage": PLAIN, "obfuscation": TEXTS, "x": PLAIN, "y": PLAIN},
)


@given(chunks=st.lists(st.one_of(PLAIN_CHUNKS, PLAIN_CHUNKS, CHUNKS), max_size=8), data=st.data())
@settings(max_examples=3 * EXAMPLES, deadline=None)
def test_the_fast_way_is_the_general_way(chunks: list[JSON], data: st.DataObject) -> None:
    repeated = [item for item in chunks for _ in range(data.draw(st.integers(1, 3)))]
    assert json.dumps(whole(repeated)) == json.dumps(whole(repeated, Slow))


# Splitting a whole completion ---------------------------------------------------------------------

WORDS = st.text("ab {}é\n", max_size=12)
ARGUMENTS = st.one_of(
    st.just(""),
    st.dictionaries(WORDS, st.one_of(WORDS, st.lists(WORDS, max_size=2)), max_size=2).map(
        json.dumps
    ),
)
WHOLE_CALLS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("function"),
                "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": ARGUMENTS}),
            }
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("custom"),
                "custom": st.fixed_dictionaries({"name": st.just("g"), "input": WORDS}),
            }
        ),
    ),
    min_size=1,
    max_size=3,
)
WHOLE_MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.one_of(st.none(), WORDS.filter(bool))},
    optional={
        "refusal": st.one_of(st.none(), WORDS),
        "reasoning_content": WORDS,
        "unknown": WORDS,
        "number": st.integers(),
        "tool_calls": WHOLE_CALLS,
        "function_call": st.fixed_dictionaries({"name": st.just("f"), "arguments": ARGUMENTS}),
        "audio": st.fixed_dictionaries(
            {"id": st.just("a"), "data": WORDS, "transcript": WORDS, "expires_at": st.integers()}
        ),
        "annotations": st.lists(
            st.fixed_dictionaries({"n": st.integers()}),
            max_size=4,
            unique_by=lambda item: item["n"],
        ),
    },
)
WHOLE_LOGPROBS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "content": st.lists(st.fixed_dictionaries({"token": WORDS}), max_size=5),
            "refusal": st.none(),
        }
    ),
)
WHOLE_CHOICES = st.lists(
    st.fixed_dictionaries(
        {
            "message": WHOLE_MESSAGES,
            "logprobs": WHOLE_LOGPROBS,
            "finish_reason": st.sampled_from(["stop", "length", "tool_calls"]),
        },
        optional={"stop_reason": st.one_of(st.none(), WORDS)},
    ),
    min_size=1,
    max_size=3,
)


def cut(data: st.DataObject, value: Any) -> list[Any]:
    """A string or a list in pieces, some of them empty."""
    ends = sorted(data.draw(st.lists(st.integers(0, len(value)), max_size=4)))
    return [value[start:end] for start, end in itertools.pairwise([0, *ends, len(value)])]


def shuffled(data: st.DataObject, queues: list[list[Any]]) -> list[Any]:
    """All items, those of one queue in their order."""
    order = data.draw(st.permutations([n for n, queue in enumerate(queues) for _ in queue]))
    sources = [iter(queue) for queue in queues]
    return [next(sources[number]) for number in order]


def object_deltas(data: st.DataObject, value: JSON) -> list[JSON]:
    """An object in deltas: strings that are no names in pieces."""
    deltas: list[JSON] = []
    for key, item in value.items():
        if isinstance(item, str) and key not in {"id", "name", "type"}:
            deltas += [{key: piece} for piece in cut(data, item)]
        else:
            deltas.append({key: item})
    return deltas


def call_deltas(data: st.DataObject, index: int, call: JSON) -> list[JSON]:
    kind = call["type"]
    first = {"index": index, "id": call["id"], "type": kind}
    return [first, *({"index": index, kind: piece} for piece in object_deltas(data, call[kind]))]


def message_deltas(data: st.DataObject, value: JSON) -> list[JSON]:
    queues: list[list[JSON]] = []
    for key, item in value.items():
        if key == "tool_calls":
            calls = [call_deltas(data, index, call) for index, call in enumerate(item)]
            # The first fragments in order: it is theirs that a server numbers by.
            firsts = [{key: [call.pop(0) for call in calls]}]
            queues.append(firsts + [{key: [piece]} for piece in shuffled(data, calls)])
        elif key in {"function_call", "audio"}:
            queues.append([{key: piece} for piece in object_deltas(data, item)])
        elif isinstance(item, (str, list)) and key != "role":
            queues.append([{key: piece} for piece in cut(data, item)])
        else:
            queues.append([{key: item}])
    return shuffled(data, queues)


def choice_deltas(data: st.DataObject, index: int, value: JSON) -> list[JSON]:
    deltas = [{"delta": delta} for delta in message_deltas(data, value["message"])]
    logprobs = value["logprobs"]
    tokens: list[JSON] = [{"logprobs": None}]
    if logprobs is not None:
        pieces = cut(data, logprobs["content"])
        tokens = [{"logprobs": {**logprobs, "content": piece}} for piece in pieces]
    ends = [{"finish_reason": value["finish_reason"], **without(value, "message", "logprobs")}]
    plain = {"index": index, "delta": {}, "logprobs": None, "finish_reason": None}
    return [{**plain, **item} for item in shuffled(data, [deltas, tokens, ends])]


@given(data=st.data(), choices=WHOLE_CHOICES)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_a_completion_that_was_split_is_put_together_again(
    data: st.DataObject, choices: list[JSON]
) -> None:
    choices = [{"index": index, **item} for index, item in enumerate(choices)]
    for item, call in ((i, c) for i in choices for c in i["message"].get("tool_calls", ())):
        call["id"] = f"call_{item['index']}_{item['message']['tool_calls'].index(call)}_{id(call)}"
    completion = {
        **envelope(object="chat.completion"),
        "choices": choices,
        "usage": {"total_tokens": 3},
    }
    queues = [choice_deltas(data, index, item) for index, item in enumerate(choices)]
    chunks = [
        envelope(choices=[item], usage=None, obfuscation="x" * data.draw(st.integers(0, 3)))
        for item in shuffled(data, queues)
    ]
    chunks.append(envelope(choices=[], usage=completion["usage"]))
    accumulator = collect(chunks)
    assert accumulator.snapshot() == completion
    assert accumulator.complete


# Threads and time ---------------------------------------------------------------------------------


def racing_chats(count: int) -> Iterable[JSON]:
    """Chunks of which each makes every container grow."""
    for number in range(count):
        name = f"x{number}"
        yield {
            "id": "a",
            name: [number],
            "choices": [
                {
                    "index": index,
                    name: number,
                    "delta": {
                        "content": "ab",
                        name: "c",
                        "audio": {name: "d", "data": "e"},
                        "tool_calls": [part(number, name, "f", "{}")],
                    },
                    "logprobs": {"content": [{"token": number}], name: [1]},
                    "content_filter_results": {name: {}},
                }
                for index in (0, number)
            ],
        }
        yield {"choices": [{"index": 1, "delta": {"content": [{"type": name}, "g"]}}]}


def racing_texts(count: int) -> Iterable[JSON]:
    for number in range(count):
        logprobs = {"tokens": ["ab"], f"x{number}": [1]}
        choices = [{"index": index, "text": "ab", "logprobs": logprobs} for index in (0, number)]
        yield {f"x{number}": 1, "choices": choices}


def racing_events(count: int) -> Iterable[JSON]:
    yield CREATED
    for number in range(count):
        for index in (0, number):
            where = {"output_index": index, "content_index": number}
            yield event("output_text.delta", **where, delta="ab", logprobs=[{"token": number}])
            yield event("output_text.annotation.added", **where, annotation={"n": number})
        command = {"output_index": 1000, "command_index": number}
        yield event("shell_call_command.delta", **command, delta="ls")
        command["output_index"] = 1001
        yield event("shell_call_output_content.delta", **command, delta={"stdout": "a"})
        yield event("shell_call_output_content.done", **command, output=[{f"x{number}": 1}])
        yield event("output_item.done", output_index=number, item={"id": "a", f"x{number}": 1})


def first_text(snapshot: JSON) -> str:
    """All the text of choice or item 0, which is a repetition of "ab"."""
    if "output" in snapshot:
        # What an event brings may be there in part: an item without its first part, say.
        parts = [part for item in snapshot["output"][:1] for part in item.get("content", ())]
        return "".join(part.get("text", "") for part in parts)
    [first] = snapshot["choices"][:1] or [{"text": ""}]
    return first["text"] if "text" in first else first["message"]["content"] or ""


@pytest.mark.parametrize(
    ("kind", "racing"),
    [
        (ChatAccumulator, racing_chats),
        (CompletionAccumulator, racing_texts),
        (ResponseAccumulator, racing_events),
    ],
)
def test_snapshots_while_another_thread_adds(
    kind: type[Accumulator], racing: Callable[[int], Iterable[JSON]]
) -> None:
    deadline = time.monotonic() + 5
    taken = rounds = 0
    accumulator = previous = kind()

    def add() -> None:
        nonlocal accumulator, rounds
        while time.monotonic() < deadline and (taken < 3000 or rounds < 100):
            accumulator = kind()
            for item in racing(60):
                accumulator.add(item)
            rounds += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=add)
    thread.start()
    try:
        length = 0
        while thread.is_alive():
            current = accumulator
            text = first_text(current.snapshot())
            assert text == "ab" * (len(text) // 2)
            assert current is not previous or len(text) >= length
            assert not current.complete
            previous, length = current, len(text)
            taken += 1
    finally:
        deadline = 0
        thread.join()
        sys.setswitchinterval(interval)
    assert taken > 100
    assert rounds > 3
    assert len(first_text(accumulator.snapshot())) >= 2 * 60


def deltas_of(kind: str) -> Callable[[int], JSON]:
    def make(number: int) -> JSON:
        if kind == "response":
            where = {"output_index": 0, "item_id": "c"}
            return event("function_call_arguments.delta", **where, delta=f'"{number}",')
        if kind == "text":
            return {"choices": [{"index": 0, "text": f"{number} "}]}
        if kind == "arguments":
            return chunk({"tool_calls": [part(0, None, None, f'"{number}",')]})
        return chunk({"content": [{"type": "text", "text": f"{number} "}]})

    return make


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (ChatAccumulator, deltas_of("arguments")),
        (ChatAccumulator, deltas_of("parts")),
        (CompletionAccumulator, deltas_of("text")),
        (ResponseAccumulator, deltas_of("response")),
    ],
)
@pytest.mark.limit(120)
def test_100_000_deltas_take_ten_times_as_long_as_10_000(
    kind: type[Accumulator], make: Callable[[int], JSON]
) -> None:
    chunks = [make(number) for number in range(1000)]

    def seconds(count: int) -> float:
        accumulator = kind()
        start = time.process_time()
        for item in itertools.islice(itertools.cycle(chunks), count):
            accumulator.add(item)
        accumulator.snapshot()
        return time.process_time() - start

    few = many = math.inf
    for rounds in range(20):
        few, many = min(few, seconds(10_000)), min(many, seconds(100_000))
        # Linear is 10, quadratic towards 100. What lies between may be a busy machine's doing.
        if rounds >= 2 and not 16 * few < many < 32 * few:
            break
    assert many <= 16 * few, f"10,000 took {few} s and 100,000 took {many} s"
