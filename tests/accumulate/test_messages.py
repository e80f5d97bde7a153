"""Deltas into a message, whatever servers put into them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accumulating import F, choice, message, part, whole
from helpers import JSON


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
