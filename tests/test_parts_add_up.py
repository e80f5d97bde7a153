"""The parts of an answer, joined, are the answer: of each public report and each quirk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import SOON
from quirks import QUIRKS, Quirk
from reported.row import JSON, Report
from reports import REPORTS

from openai_stream import Client, EventQueue, OpenAIStreamError, StreamError, Timeout
from openai_stream.parts import Call, CallDelta, Finish, Reasoning, Refusal, Text
from openai_stream.testing import ScriptedServer

#: Their last event takes back what was streamed, and so was given.
TAKE_BACK = (
    "The last event has another text than the deltas",
    "The last event has fewer items than were streamed",
)
STREAMED = [
    row
    for row in REPORTS
    if row.stream and row.endpoint != "any" and row.ours == "right" and row.name not in TAKE_BACK
]
SPELLINGS = ("reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details")


# What the whole says -----------------------------------------------------------------------------


def text_in(value: Any, *types: str) -> str:
    """The text of content parts or blocks."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_in(one, *types) for one in value)
    if isinstance(value, dict) and (not types or value.get("type", "text") in types):
        for key in ("text", "thinking", "reasoning", "summary", "refusal", "content"):
            if value.get(key):
                return text_in(value[key])
    return ""


def objects(value: Any) -> list[JSON]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def texts_of_choice(choice: JSON) -> tuple[str, set[str], str]:
    """The text, what may be the reasoning, and the refusal."""
    if "message" not in choice:
        reasoning = {text_in(choice.get(name)) for name in SPELLINGS}
        return choice.get("text") or "", reasoning - {""} or {""}, ""
    message = choice["message"]
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    text = content if isinstance(content, str) else text_in(parts, "text", "output_text")
    reasoning = {text_in(message.get(name)) for name in SPELLINGS}
    reasoning.add(text_in(parts, "thinking", "reasoning"))
    refusal = message.get("refusal")
    refusals = (refusal if isinstance(refusal, str) else "") + text_in(parts, "refusal")
    return text, reasoning - {""} or {""}, refusals


def texts_of_output(output: list[JSON]) -> tuple[str, set[str], str]:
    messages = [
        part
        for item in output
        if item.get("type") == "message"
        for part in objects(item.get("content"))
    ]
    thoughts = [item for item in output if item.get("type") == "reasoning"]
    reasoning = {
        "".join(text_in(item.get(name)) for item in thoughts) for name in ("content", "summary")
    }
    return text_in(messages, "output_text"), reasoning - {""} or {""}, text_in(messages, "refusal")


def calls_of(whole: JSON) -> list[tuple[Any, Any, Any]]:
    """Id, name and arguments of each call."""
    if "output" in whole:
        fields = {"function_call": "arguments", "custom_tool_call": "input"}
        return [
            (
                item.get("call_id") or None,
                item.get("name") or "",
                plain(item.get(fields[item["type"]]) or item.get("arguments")),
            )
            for item in objects(whole["output"])
            if item.get("type") in fields
        ]
    message = first_choice(whole).get("message") or {}
    found = [
        (
            call.get("id") if isinstance(call.get("id"), str) else None,
            tool.get("name") or "",
            plain(tool.get("arguments", tool.get("input"))),
        )
        for call in objects(message.get("tool_calls"))
        for tool in [call.get("function") or call.get("custom")]
        if isinstance(tool, dict)
    ]
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        found.append((None, legacy.get("name") or "", plain(legacy.get("arguments"))))
    return found


def plain(arguments: Any) -> Any:
    """Arguments, as what they mean if that is to be seen."""
    if isinstance(arguments, str):
        try:
            return ("json", json.dumps(json.loads(arguments), sort_keys=True))
        except ValueError:
            return arguments
    return "" if arguments is None else ("json", json.dumps(arguments, sort_keys=True))


def is_whole(arguments: Any) -> bool:
    return isinstance(arguments, tuple) and arguments[1].startswith("{") and arguments[1] != "{}"


def first_choice(whole: JSON) -> JSON:
    choices = objects(whole.get("choices"))
    if len(choices) == 1:
        return choices[0]
    return next((one for one in choices if one.get("index", 0) == 0), {})


# What the parts say ------------------------------------------------------------------------------


def assert_adds_up(events: EventQueue[Any, Any]) -> None:
    parts: list[Any] = []
    error: BaseException | None = None
    try:
        for part in events.parts():
            parts.append(part)
    except OpenAIStreamError as raised:
        error = raised
    if error is None:
        whole = events.stream.result(SOON).to_dict()
    else:
        whole = error.snapshot if isinstance(error, StreamError) else events.stream.snapshot()
        whole = whole.to_dict()
    text, reasonings, refusal = (
        texts_of_output(objects(whole["output"]))
        if "output" in whole
        else texts_of_choice(first_choice(whole))
    )
    joined = {
        kind: "".join(part.text for part in parts if type(part) is kind)
        for kind in (Text, Reasoning, Refusal)
    }
    assert joined[Text] == encodable(text)
    assert joined[Reasoning] in {encodable(one) for one in reasonings}
    assert joined[Refusal] == encodable(refusal)
    assert_calls(parts, calls_of(whole), is_whole_answer=error is None)
    finishes = [part.reason for part in parts if type(part) is Finish]
    if "output" in whole:
        assert len(finishes) == (error is None)
    else:
        reason = first_choice(whole).get("finish_reason")
        # One that only says that the server failed is the error.
        assert len(finishes) == (reason is not None) or (error is not None and not finishes)


def encodable(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= x <= "\udfff" else x for x in text)


def assert_calls(parts: list[Any], right: list[Any], is_whole_answer: bool) -> None:
    calls = [part for part in parts if type(part) is Call]
    places = [call.index for call in calls]
    assert len(set(places)) == len(places)
    got = sorted(((x.id, x.name, plain(x.arguments)) for x in calls), key=repr)
    if is_whole_answer or len(got) == len(right):
        assert got == sorted(right, key=repr)
    else:
        assert [one for one in got if one not in right] == []
        missing = [one for one in right if one not in got]
        assert [one for one in missing if one[0] and one[1] and is_whole(one[2])] == []
    for call in calls:
        deltas = [part for part in parts if type(part) is CallDelta and part.index == call.index]
        if deltas:
            assert [delta.name for delta in deltas] == [call.name] + [None] * (len(deltas) - 1)
            assert {delta.id for delta in deltas} <= {call.id, None}
            assert plain("".join(delta.arguments for delta in deltas)) == plain(call.arguments)
        else:
            assert call.arguments == ""
        last = max((parts.index(x) for x in deltas), default=-1)
        assert last < parts.index(call)


@pytest.mark.parametrize("report", STREAMED, ids=lambda report: report.name)
def test_the_parts_of_a_report_add_up(server: ScriptedServer, report: Report) -> None:
    server.play(report.sent, *report.again)
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=len(report.again), timeout=timeout
    ) as client:
        calls: dict[str, tuple[str, Any]] = {
            "chat": ("messages", client.create_chat_completion),
            "completions": ("prompt", client.create_completion),
            "responses": ("input", client.create_response),
        }
        name, call = calls[report.endpoint]
        arguments: JSON = {"model": "m", name: [], **report.body}
        assert_adds_up(call(**arguments, stream=True, nowait=True))


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
def test_the_parts_of_a_quirk_add_up(server: ScriptedServer, quirk: Quirk) -> None:
    server.play(quirk.script)
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=0, timeout=timeout
    ) as client:
        body: JSON = {"model": "m", "messages": []}
        assert_adds_up(client.create_chat_completion(**body, stream=True, nowait=True))
