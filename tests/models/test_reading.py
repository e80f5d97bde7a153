"""The rules of reading, one by one, on objects as servers send them."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import pytest

from openai_stream.models import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    Delta,
    FunctionCall,
    Message,
    Moderation,
    Response,
    ResponseEvent,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
    Usage,
)

CHUNK: dict[str, Any] = {
    "id": "chatcmpl-6srv5jx3p4I9deNDzU7ucNXKoGS0L",
    "object": "chat.completion.chunk",
    "created": 1678534999,
    "model": "gpt-3.5-turbo-0301",
    "choices": [{"delta": {"content": "The"}, "index": 0, "finish_reason": None}],
}


def test_a_chunk_as_the_wire_carries_it() -> None:
    event = ChatCompletionChunk.from_dict(json.loads(json.dumps(CHUNK)))
    assert event.id == "chatcmpl-6srv5jx3p4I9deNDzU7ucNXKoGS0L"
    assert event.object == "chat.completion.chunk"
    assert event.created == 1678534999
    assert event.model == "gpt-3.5-turbo-0301"
    assert event.usage is None
    (choice,) = event.choices
    assert type(choice) is ChunkChoice
    assert choice.index == 0
    assert choice.finish_reason is None
    assert choice.logprobs is None
    assert type(choice.delta) is Delta
    assert choice.delta.content == "The"
    assert choice.delta.role is None
    assert choice.delta.tool_calls == []
    assert json.dumps(event.to_dict()) == json.dumps(CHUNK)


def test_tool_calls_of_a_chunk_and_of_a_message() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    custom = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "text"}}
    delta = Delta.from_dict({"tool_calls": [{"index": 0, **call}, {"index": 1, **custom}]})
    first, second = delta.tool_calls
    assert type(first) is ToolCallDelta
    assert (first.index, first.id, first.type) == (0, "call_1", "function")
    assert first.function == FunctionCall(name="f", arguments="{}")
    assert first.custom is None
    assert second.index == 1
    assert second.custom is not None
    assert (second.custom.name, second.custom.input) == ("g", "text")

    message = Message.from_dict({"role": "assistant", "tool_calls": [call, custom]})
    assert all(type(one) is ToolCall for one in message.tool_calls)
    assert [one.id for one in message.tool_calls] == ["call_1", "call_2"]


def test_the_rest_of_a_message() -> None:
    message = Message.from_dict(
        {
            "content": "See there.",
            "refusal": "No.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {"start_index": 0, "end_index": 3, "url": "u", "title": "t"},
                }
            ],
            "audio": {"id": "audio_1", "expires_at": 5, "data": "AA==", "transcript": "See"},
            "function_call": {"name": "f", "arguments": ""},
        }
    )
    assert message.refusal == "No."
    assert message.annotations[0].url_citation is not None
    assert message.annotations[0].url_citation.end_index == 3
    assert message.audio is not None
    assert (message.audio.expires_at, message.audio.transcript) == (5, "See")
    assert message.function_call is not None
    assert message.function_call.arguments == ""


def test_log_probabilities() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b"}]}
    whole = {**token, "logprob": 0, "bytes": None}
    logprobs = ChoiceLogprobs.from_dict({"content": [token, whole], "refusal": None})
    first, second = logprobs.content
    assert type(first) is TokenLogprob
    assert (first.token, first.logprob, first.bytes) == ("a", -0.5, [97])
    assert first.top_logprobs == [TopLogprob.from_dict({"token": "b"})]
    assert second.logprob == 0
    assert second.bytes == []
    assert logprobs.refusal == []
    assert logprobs.to_dict() == {"content": [token, whole], "refusal": None}


def test_log_probabilities_of_a_text_completion_stay_aligned() -> None:
    logprobs = CompletionLogprobs.from_dict(
        {
            "tokens": ["a", "b"],
            "token_logprobs": [None, -1],
            "top_logprobs": [None, {"b": -1.0}],
            "text_offset": [0, 1],
        }
    )
    assert logprobs.tokens == ["a", "b"]
    assert logprobs.token_logprobs == [None, -1]
    assert logprobs.top_logprobs == [None, {"b": -1.0}]
    assert logprobs.text_offset == [0, 1]


def test_a_text_completion() -> None:
    d = {
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [{"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    event = Completion.from_dict(d)
    assert type(event.choices[0]) is CompletionChoice
    assert (event.choices[0].text, event.choices[0].finish_reason) == ("x", "stop")
    assert type(event.usage) is Usage
    assert event.usage.total_tokens == 3


def test_a_whole_chat_completion() -> None:
    event = ChatCompletion.from_dict(
        {
            "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "length"}],
            "metadata": {"a": "b"},
            "usage": {"completion_tokens_details": {"reasoning_tokens": 7}},
        }
    )
    assert type(event.choices[0]) is Choice
    assert event.choices[0].message.content == "x"
    assert event.metadata == {"a": "b"}
    assert event.usage is not None
    assert event.usage.completion_tokens_details is not None
    assert event.usage.completion_tokens_details.reasoning_tokens == 7


def test_moderation() -> None:
    moderation = Moderation.from_dict(
        {
            "input": {
                "type": "moderation_results",
                "results": [{"flagged": True, "category_scores": {"violence": 0.9}}],
            },
            "output": {"type": "error", "code": "c", "message": "m"},
        }
    )
    assert moderation.input is not None
    assert moderation.input.results[0].flagged is True
    assert moderation.input.results[0].category_scores == {"violence": 0.9}
    assert moderation.output is not None
    assert (moderation.output.code, moderation.output.results) == ("c", [])


def test_a_response_and_its_events() -> None:
    item = {
        "type": "message",
        "content": [
            {"type": "output_text", "text": "Good "},
            {"type": "refusal", "refusal": "no"},
            {"type": "output_text", "text": "day"},
        ],
    }
    event = ResponseEvent.from_dict(
        {
            "type": "response.completed",
            "sequence_number": 9,
            "response": {
                "id": "resp_1",
                "status": "completed",
                "output": [{"type": "reasoning", "content": [{"type": "output_text"}]}, item],
                "usage": {"input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}},
                "error": None,
                "incomplete_details": {"reason": "max_output_tokens"},
                "temperature": 1,
                "tool_choice": "auto",
            },
        }
    )
    assert (event.type, event.sequence_number, event.delta) == ("response.completed", 9, None)
    response = event.response
    assert type(response) is Response
    assert response.output[1] == item
    assert response.output_text == "Good day"
    assert response.usage is not None
    assert response.usage.input_tokens == 3
    assert response.usage.output_tokens_details is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 1
    assert response.error is None
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.temperature == 1
    assert response.tool_choice == "auto"


@pytest.mark.parametrize(
    "output",
    [
        None,
        [],
        [1],
        [{"type": "message"}],
        [{"type": "message", "content": {"type": "output_text", "text": "x"}}],
        [{"type": "message", "content": ["x", {"type": "output_text", "text": 1}]}],
        [{"type": "message", "content": [{"type": "output_text"}]}],
        [{"content": [{"type": "output_text", "text": "x"}]}],
    ],
)
def test_output_text_of_a_response_without_text(output: Any) -> None:
    assert Response.from_dict({"output": output}).output_text == ""


def test_deltas_of_both_kinds() -> None:
    assert ResponseEvent.from_dict({"delta": "text"}).delta == "text"
    assert ResponseEvent.from_dict({"delta": {"stdout": "x"}}).delta == {"stdout": "x"}
    assert ResponseEvent.from_dict({"delta": ["x"]}).delta is None


@pytest.mark.parametrize("value", [None, "x", 1, True, {}, {"index": 0}])
def test_a_list_of_the_wrong_type_is_empty(value: Any) -> None:
    event = ChatCompletionChunk.from_dict({"choices": value})
    assert event.choices == []
    assert json.dumps(event.to_dict()) == json.dumps({"choices": value})


@pytest.mark.parametrize("value", [None, "x", 1, True, []])
def test_delta_and_message_are_always_objects(value: Any) -> None:
    for d in ({}, {"delta": value, "message": value}):
        choice = ChunkChoice.from_dict(dict(d))
        assert type(choice.delta) is Delta
        assert choice.delta.content is None
        assert choice.delta.tool_calls == []
        assert json.dumps(choice.to_dict()) == json.dumps(d)
        whole = Choice.from_dict(dict(d))
        assert type(whole.message) is Message
        assert whole.message.annotations == []
        assert json.dumps(whole.to_dict()) == json.dumps(d)


@pytest.mark.parametrize("value", ["x", 1, True, []])
def test_other_objects_of_the_wrong_type_are_none(value: Any) -> None:
    event = ChatCompletionChunk.from_dict({"usage": value})
    assert event.usage is None
    assert event.extra == {}
    assert json.dumps(event.to_dict()) == json.dumps({"usage": value})


def test_items_of_the_wrong_type_are_skipped_and_kept() -> None:
    d = {"choices": [1, {"index": 0}, None, {"index": 1, "odd": True}, []]}
    event = ChatCompletionChunk.from_dict(d)
    assert [choice.index for choice in event.choices] == [0, 1]
    assert event.choices[1].extra == {"odd": True}
    assert event.to_dict() == d
    assert TokenLogprob.from_dict({"bytes": [1, True, "2", 3.0, 4]}).bytes == [1, 4]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created", True),
        ("created", 1.0),
        ("created", "1"),
        ("id", 1),
        ("id", True),
        ("id", {}),
        ("model", ["m"]),
    ],
)
def test_a_scalar_of_the_wrong_type_is_none(field: str, value: Any) -> None:
    event = ChatCompletionChunk.from_dict({field: value})
    assert getattr(event, field) is None
    assert event.extra == {}
    assert json.dumps(event.to_dict()) == json.dumps({field: value})


def test_a_boolean_is_no_number_and_a_number_no_boolean() -> None:
    response = Response.from_dict({"temperature": True, "top_p": 1, "background": 1})
    assert response.temperature is None
    assert response.top_p == 1
    assert response.background is None
    assert Response.from_dict({"background": False}).background is False


def test_values_of_subclasses_count_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

    class Object(dict[str, Any]):
        pass

    for _ in range(40):  # in the fast way of reading too
        event = ChatCompletionChunk.from_dict(
            Object(id=Text("x"), choices=[Object(delta=Object(content=Text("y")))])
        )
        assert event.id == "x"
        assert event.choices[0].delta.content == "y"


def test_unknown_fields_at_every_level_are_in_extra() -> None:
    d = {
        "provider": "x",
        "choices": [{"stop_reason": None, "delta": {"reasoning_content": "hm", "content": None}}],
        "usage": {"cost": 0.1},
    }
    event = ChatCompletionChunk.from_dict(json.loads(json.dumps(d)))
    assert event.extra == {"provider": "x"}
    assert event.choices[0].extra == {"stop_reason": None}
    assert event.choices[0].delta.extra == {"reasoning_content": "hm"}
    assert event.usage is not None
    assert event.usage.extra == {"cost": 0.1}
    assert Delta.from_dict({"content": "x"}).extra == {}
    assert Delta(content="x").extra == {}


def test_null_missing_and_empty_are_told_apart() -> None:
    d: dict[str, Any]
    e: dict[str, Any]
    for d in ({}, {"tool_calls": None}, {"tool_calls": []}, {"tool_calls": [None]}):
        delta = Delta.from_dict(json.loads(json.dumps(d)))
        assert delta.tool_calls == []
        assert delta.to_dict() == d
    for e in ({}, {"delta": None}, {"delta": {}}):
        choice = ChunkChoice.from_dict(json.loads(json.dumps(e)))
        assert choice.delta == Delta()
        assert choice.to_dict() == e


def nested(depth: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


def test_nesting_deeper_than_python_s_stack() -> None:
    deep = nested(100_000)
    for _ in range(40):  # in the fast way of reading too
        event = ChatCompletionChunk.from_dict({"x": deep, "id": "x"})
    assert repr(event) == "ChatCompletionChunk(id='x', extra={'x': [[…]]})"
    assert list(event.extra) == ["x"]
    assert list(event.to_dict()) == ["x", "id"]
    assert event == ChatCompletionChunk.from_dict({"id": "x", "x": deep})


def test_nesting_in_fields_of_another_type() -> None:
    deep = nested(5_000)
    d = {"x": deep, "id": {"x": deep}, "choices": [{"delta": {"tool_calls": deep, "y": deep}}]}
    for _ in range(40):
        event = ChatCompletionChunk.from_dict(d)
    assert len(repr(event)) < 500
    assert list(event.to_dict()) == list(d)
    assert event == ChatCompletionChunk.from_dict(d)
    for other in (
        {**d, "x": [deep]},
        {**d, "x": {"x": deep}},
        {**d, "x": [deep, deep]},
        {**d, "id": {"y": deep}},
        {**d, "id": {"x": deep, "y": deep}},
    ):
        assert event != ChatCompletionChunk.from_dict(other)
        assert ChatCompletionChunk.from_dict(other) != event
    # A difference beside what is nested, and one at its bottom.
    ends: list[Any] = [1, True, 1.5, "x", None, [], {}]
    for end, other_end in itertools.combinations(ends, 2):
        one, another = (Delta.from_dict({"x": [deep, e]}) for e in (end, other_end))
        assert (one == another) is (end == other_end)


def test_a_number_too_long_to_print_can_be_shown() -> None:
    number = 10 ** (sys.get_int_max_str_digits() + 10)
    assert repr(Delta.from_dict({"x": number})) == "Delta(extra={'x': …})"
