"""``to_param()`` and ``to_input()``: what of an answer the next request takes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reported.next_turns import (
    OSLO,
    RESPONSES,
    SIGNATURE,
    TURNS,
    NextTurn,
    call,
    function_call,
    message,
    reasoning,
    response,
    said,
)
from reported.row import JSON, chunk

from openai_stream import Response, combine
from openai_stream.models import Message, ToolCall


def param(**fields: Any) -> JSON:
    """What goes back, which is JSON, and leaves the message as it was."""
    read = Message.from_dict(copy.deepcopy(fields))
    sent = read.to_param()
    json.dumps(sent).encode()
    assert read.to_dict() == fields
    assert Message.from_dict(sent).to_param() == sent
    return sent


def items(*output: JSON, **fields: Any) -> list[JSON]:
    whole = response(*output, **fields)
    read = Response.from_dict(copy.deepcopy(whole))
    sent = read.to_input()
    assert read.to_dict() == whole
    return sent


@pytest.mark.parametrize("row", TURNS, ids=lambda row: row.name)
def test_goes_back(row: NextTurn) -> None:
    whole: Any
    if row in RESPONSES:
        whole = Response.from_dict(row.answer)
        assert whole.to_input() == row.sent
        event = {"type": "response.completed", "response": row.answer}
        assert combine([event]).to_input() == row.sent
    else:
        assert param(**row.answer) == row.sent
        # The same, streamed: calls have an index there.
        delta = copy.deepcopy(row.answer)
        for index, one in enumerate(delta.get("tool_calls") or ()):
            one["index"] = index
        whole = combine([chunk(delta), chunk({}, "stop")])
        assert whole.choices[0].message.to_param() == row.sent


# Messages --------------------------------------------------------------------------------------


def test_a_text_goes_back() -> None:
    assert param(role="assistant", content="It rains.") == said("It rains.")


def test_several_calls_go_back_in_their_order_without_their_index() -> None:
    calls = [{**call(), "index": 0}, {**call('{"city":"Bergen"}'), "id": "call_2", "index": 1}]
    sent = param(**said("Let me see.", tool_calls=calls))
    assert sent == said(
        "Let me see.",
        tool_calls=[call(), {**call('{"city":"Bergen"}'), "id": "call_2"}],
    )


def test_a_custom_tool_call_goes_back_with_its_input_as_it_is() -> None:
    custom = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "select {"}}
    assert param(**said(None, tool_calls=[custom]))["tool_calls"] == [custom]


def test_a_call_has_a_type_and_text_as_arguments() -> None:
    plain = {"id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    [sent] = param(**said(None, tool_calls=[plain]))["tool_calls"]
    assert sent["type"] == "function"
    assert json.loads(sent["function"]["arguments"]) == {"city": "Oslo"}


@pytest.mark.parametrize("arguments", ["{}", OSLO, ' {"a": [1, {"b": null}]}\n', '{"a": "ö"}'])
def test_arguments_that_are_an_object_are_not_changed(arguments: str) -> None:
    [sent] = param(**said(None, tool_calls=[call(arguments)]))["tool_calls"]
    assert sent["function"]["arguments"] == arguments


@pytest.mark.parametrize(
    "arguments", ["", " ", "{", "null", "1", '"{}"', '{"a": NaN}', "[" * 9000, None, 7]
)
def test_arguments_that_are_not_an_object_are_an_empty_one(arguments: Any) -> None:
    [sent] = param(**said(None, tool_calls=[call(arguments)]))["tool_calls"]
    assert sent["function"]["arguments"] == "{}"


def test_a_deprecated_call_goes_back() -> None:
    called = {"name": "get_weather", "arguments": OSLO}
    assert param(**said("", function_call=called)) == said(None, function_call=called)


def test_content_in_parts_goes_back_in_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "I see."}]}
    parts = [thinking, {"type": "text", "text": "It rains."}]
    assert param(**said(parts)) == said(parts)


def test_signatures_of_the_future_go_back() -> None:
    new = {"vendor": [{"signature": SIGNATURE, "text": "I see."}]}
    assert param(**said("It rains.", **new)) == said("It rains.", **new)
    field: JSON = {"provider_specific_fields": {"thought_signature": SIGNATURE}}
    calls = [call(**field)]
    assert param(**said(None, tool_calls=calls)) == said(None, tool_calls=calls)
    inner = call()
    inner["function"] |= field
    assert param(**said(None, tool_calls=[inner])) == said(None, tool_calls=[inner])
    signed = {"reasoning_content": {"text": "I see.", "signature": SIGNATURE}}
    assert param(**said("It rains.", **signed)) == said("It rains.", **signed)


def test_void_fields_do_not_go_back() -> None:
    void: JSON = {
        "reasoning_details": [],
        "thinking_blocks": None,
        "extra_content": {},
        "signature": "",
        "vendor": {"signature": None},
        "images": [{"index": 0}],
        "reasoning_content": None,
    }
    calls = [call()]
    assert param(**said("It rains.", **void, tool_calls=calls)) == said(
        "It rains.", tool_calls=calls
    )


def test_audio_that_has_no_id_goes_back_as_its_words() -> None:
    assert param(**said(None, audio={"transcript": "It rains."})) == said("It rains.")


def test_halves_of_a_character_go_back_as_replacements() -> None:
    assert param(**said("a\ud83db"))["content"] == "a\ufffdb"
    assert param(**said("a\ud83d\ude00b"))["content"] == "a😀b"


def test_a_message_that_is_missing_goes_back_as_an_empty_text() -> None:
    assert param() == said("")


TEXTS = st.sampled_from(["", "a", "reasoning", "message", "{}", "\ud83d"])
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
NAMES = (
    "role content refusal tool_calls annotations audio function_call reasoning_content "
    "reasoning_details thinking_blocks extra_content signature id type function arguments name"
)
FIELDS = st.dictionaries(st.sampled_from(NAMES.split()), JSONS, max_size=5)


@given(FIELDS, st.lists(FIELDS, max_size=2))
def test_whatever_a_server_sends_something_can_go_back(fields: JSON, calls: list[JSON]) -> None:
    sent = Message.from_dict({**fields, "tool_calls": calls}).to_param()
    json.dumps(sent).encode()
    assert sent["role"]
    assert ("content" in sent) != ("audio" in sent)
    assert sent.get("content", "") is not None or sent.keys() & {"tool_calls", "function_call"}
    for one in sent.get("tool_calls", ()):
        assert isinstance(ToolCall.from_dict(one).type, str)
        if "function" in one:
            assert isinstance(json.loads(one["function"]["arguments"]), dict)


# Responses -------------------------------------------------------------------------------------


def test_text_and_calls_go_back() -> None:
    output = [message(status="completed"), function_call(status="completed")]
    assert items(*output, store=True) == output


def test_items_of_other_tools_go_back_whole() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "Oslo"},
    }
    code = {"type": "code_interpreter_call", "id": "ci_1", "code": None, "outputs": None}
    new = {"type": "of_the_future", "id": "x_1", "field": {"a": None}}
    assert items(search, code, new, store=True) == [search, code, new]
    assert items({**new, "created_by": "a", "status": None}) == [new]


def test_reasoning_that_another_server_wrote_goes_back() -> None:
    told = reasoning(content=[{"type": "reasoning_text", "text": "I see."}])
    assert items(told, message()) == [told, message()]
    summed = reasoning(summary=[{"type": "summary_text", "text": "I see."}])
    assert items(summed, message()) == [summed, message()]
    signed = reasoning(content=told["content"], signature=SIGNATURE, format="anthropic-claude-v1")
    assert items(signed, message()) == [signed, message()]


def test_only_trailing_reasoning_is_left_out() -> None:
    two = [reasoning(id="rs_1"), reasoning(id="rs_2")]
    assert items(*two, function_call(), *two, store=True) == [*two, function_call()]
    assert items(*two, store=True) == []


def test_a_refusal_goes_back() -> None:
    refused = {"type": "message", "role": "assistant", "id": "msg_1"}
    parts = [{"type": "refusal", "refusal": "I will not."}]
    assert items({**refused, "content": parts}) == [{**refused, "content": parts}]
    assert items({**refused, "content": []}) == []


def test_the_log_probabilities_of_a_text_do_not_go_back() -> None:
    told = message()
    told["content"] = [{"type": "output_text", "text": "It rains.", "logprobs": [{"token": "It"}]}]
    assert items(told) == [message()]


@given(st.lists(JSONS | FIELDS, max_size=4), st.sampled_from([None, True, False]))
def test_whatever_the_output_is_the_input_is_a_list(output: list[Any], store: Any) -> None:
    sent = Response.from_dict({"output": output, "store": store}).to_input()
    json.dumps(sent)
    assert all(isinstance(item, dict) for item in sent)
    assert not sent or sent[-1].get("type") != "reasoning"
