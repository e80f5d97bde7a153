"""Chunks of a chat into the whole: top-level fields and choices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accumulating import (
    KINDS,
    Accumulator,
    Slow,
    choice,
    chunk,
    collect,
    envelope,
    whole,
)
from helpers import JSON

from openai_stream.accumulate import ChatAccumulator, CompletionAccumulator, ResponseAccumulator


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
