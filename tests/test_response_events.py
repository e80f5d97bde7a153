"""Every event of ``/responses`` that the API has, and what the response is after it.

The story in ``response_story.py`` has them all. After each of its events the response is compared
with what the other accumulators hold: openai-node's, which knows every event and was recorded, and
``openai``'s own, which knows few.
"""

from __future__ import annotations

import copy
import itertools
import json
import tracemalloc
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from response_story import DONE_ITEMS, EVENTS, JSON, LAST, TRACELESS, event, recorded, response

from openai_stream.accumulate import ResponseAccumulator

pytest.importorskip("openai")

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

CREATED = event("created", response=response("in_progress", []))


def after(*events: JSON) -> JSON:
    """The response after these events."""
    accumulator = ResponseAccumulator()
    for told in events:
        accumulator.add(told)
    return accumulator.snapshot()


def output(*events: JSON) -> list[JSON]:
    return list(after(CREATED, *events)["output"])


def steps(events: list[JSON]) -> Iterator[tuple[JSON, JSON]]:
    """Each event, and the response after it."""
    accumulator = ResponseAccumulator()
    for told in events:
        accumulator.add(told)
        yield told, accumulator.snapshot()


# The story ------------------------------------------------------------------------------------


def test_the_story_has_every_event_of_the_api() -> None:
    """An event that ``openai``'s types gain fails here, so that we learn of it."""
    options = typing.get_args(typing.get_args(ResponseStreamEvent)[0])
    types = {typing.get_args(option.model_fields["type"].annotation)[0] for option in options}
    assert len(types) >= 59
    assert types <= {told["type"] for told in [*EVENTS, *LAST]}


def test_each_event_that_carries_something_changes_the_response() -> None:
    before: JSON = {}
    traces: dict[str, bool] = {}
    for told, now in steps(EVENTS):
        traces[told["type"]] = traces.get(told["type"], False) or now != before
        before = now
    assert {kind for kind, trace in traces.items() if not trace} == set(TRACELESS)


def test_each_step_is_what_openai_node_holds() -> None:
    for (told, ours), node in itertools.zip_longest(steps(EVENTS), recorded()):
        if told["type"].startswith("response.shell_call_output_content."):
            # Before a command has ended, openai-node says that it succeeded; we say nothing.
            printed = [one["output"][12]["output"] for one in (ours, node)]
            for own, other in zip(*printed, strict=True):
                if "outcome" not in own:
                    assert other.pop("outcome") == {"type": "exit", "exit_code": 0}
        assert ours == node, told


def test_each_step_is_what_openai_holds() -> None:
    """It adds up the texts of messages and the arguments of functions, until they are done."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    compared = 0
    for told, ours in steps(EVENTS):
        parsed: Any = construct_type(type_=ResponseStreamEvent, value=copy.deepcopy(told))
        state.handle_event(parsed)
        theirs = state._ResponseStreamState__current_snapshot
        if told["type"] == "response.output_text.delta":
            [own] = [one["content"] for one in ours["output"] if one["type"] == "message"]
            [other] = [one.content for one in theirs.output if one.type == "message"]
            assert [part["text"] for part in own] == [part.text for part in other]
            compared += 1
        elif told["type"] == "response.function_call_arguments.delta":
            [own] = [one["arguments"] for one in ours["output"] if one["type"] == "function_call"]
            [other] = [one.arguments for one in theirs.output if one.type == "function_call"]
            assert own == other
            compared += 1
    assert compared == 4


def test_the_items_are_those_that_were_done() -> None:
    assert after(*EVENTS)["output"] == DONE_ITEMS


@pytest.mark.parametrize("last", LAST, ids=lambda last: last["response"]["status"])
def test_the_last_event_is_the_response(last: JSON) -> None:
    expected = last["response"]
    if not expected["output"]:
        expected = {**expected, "background": True, "output": DONE_ITEMS}
    assert after(*EVENTS, last) == expected


# A last event that leaves out the output --------------------------------------------------------

TEXT = {"output_index": 0, "item_id": "m", "content_index": 0}
MESSAGE: JSON = {"id": "m", "type": "message", "role": "assistant", "content": []}
CALL: JSON = {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
TOLD = [
    event("output_item.added", output_index=0, item=MESSAGE),
    event("output_text.delta", **TEXT, delta="Hel"),
    event("output_text.delta", **TEXT, delta="lo"),
    event("output_item.added", output_index=1, item=CALL),
    event("function_call_arguments.delta", output_index=1, item_id="f", delta='{"a": 1}'),
]
BUILT = [
    {**MESSAGE, "content": [{"type": "output_text", "text": "Hello"}]},
    {**CALL, "arguments": '{"a": 1}'},
]
KINDS = ["completed", "incomplete", "failed", "done"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "void", [{}, {"output": None}, {"output": []}, {"output": {}}, {"output": 5}, {"output": [{}]}]
)
def test_an_output_that_is_left_out_is_built_from_the_events(kind: str, void: JSON) -> None:
    told = {**response(kind, []), "usage": {"total_tokens": 9}}
    del told["output"]
    assert after(CREATED, *TOLD, event(kind, response={**told, **void})) == {
        **told,
        "output": BUILT,
    }


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("told", [{"id": "resp_1", "usage": {"total_tokens": 9}}, {}, None, "done"])
def test_a_last_event_of_next_to_nothing(kind: str, told: Any) -> None:
    whole = after(CREATED, *TOLD, event(kind, response=told))
    usage = {"total_tokens": 9} if told and isinstance(told, dict) else None
    assert whole == {**response(kind, BUILT), "usage": usage}


@pytest.mark.parametrize(
    ("status", "complete"),
    [("completed", True), ("incomplete", True), (None, True), ("failed", False), ("x", False)],
)
def test_an_end_that_is_only_called_done(status: str | None, complete: bool) -> None:
    accumulator = ResponseAccumulator()
    for told in (CREATED, *TOLD, event("done", response={"status": status})):
        accumulator.add(told)
    assert accumulator.complete is complete
    assert accumulator.snapshot() == {**response(status or "completed", BUILT)}


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_is_there_wins(kind: str) -> None:
    part = {"type": "output_text", "text": "Goodbye", "annotations": []}
    told = {"id": "r", "output": [{"type": "message", "content": [part]}, None], "tools": []}
    assert after(CREATED, *TOLD, event(kind, response=told)) == told


@pytest.mark.parametrize(
    "left",
    [
        {"content": []},
        {"content": None},
        {"content": [{"type": "output_text", "text": ""}]},
        {"content": [{"type": "output_text"}]},
        {},
    ],
)
def test_an_item_of_the_last_event_that_is_left_empty(left: JSON) -> None:
    message = {"id": "m", "type": "message", "status": "completed", **left}
    call = {"id": "x", "type": "function_call", "call_id": "c", "arguments": "", "name": "f"}
    whole = after(CREATED, *TOLD, event("completed", response={"output": [message, call]}))
    assert whole == {
        "output": [
            {**message, "content": [{"type": "output_text", "text": "Hello"}]},
            {**call, "arguments": '{"a": 1}'},
        ]
    }


def test_items_of_the_last_event_are_found_by_call_id_and_by_place() -> None:
    call = {"id": "x", "type": "function_call", "call_id": "c", "arguments": "", "name": "f"}
    part = {"type": "output_text", "text": "Bye"}
    told = {"output": [call, {**MESSAGE, "content": [part]}]}
    whole = after(CREATED, *TOLD, event("completed", response=told))
    assert whole["output"] == [{**call, "arguments": '{"a": 1}'}, told["output"][1]]
    told = {"output": [{**MESSAGE, "id": "x"}, {**call, "arguments": "{}"}]}
    whole = after(CREATED, *TOLD, event("completed", response=told))
    assert whole["output"] == [{**BUILT[0], "id": "x"}, told["output"][1]]


def test_what_was_empty_all_along_is_not_added_to_the_last_event() -> None:
    part = event("content_part.added", **TEXT, part={"type": "output_text", "annotations": []})
    told = {"output": [{"id": "m", "content": [{"type": "output_text", "text": "Hello"}]}]}
    assert after(CREATED, TOLD[0], part, *TOLD[1:], event("completed", response=told)) == told


def test_what_came_with_another_text_stays_out_of_the_last_event() -> None:
    annotated = event("output_text.annotation.added", **TEXT, annotation={"n": 1})
    for text, expected in (("Hello", [{"n": 1}]), ("Goodbye", [])):
        part = {"type": "output_text", "text": text, "annotations": []}
        told = {"output": [{**MESSAGE, "content": [part]}]}
        whole = after(CREATED, *TOLD, annotated, event("completed", response=told))
        assert whole["output"] == [{**MESSAGE, "content": [{**part, "annotations": expected}]}]
        assert told == {"output": [{**MESSAGE, "content": [part]}]}


@pytest.mark.parametrize("content", [[], None, [{"type": "text", "text": ""}]])
def test_a_message_that_says_nothing_does_not_stand_for_a_call(content: Any) -> None:
    """As a router sends it after a function call."""
    told = [{"id": "new", "type": "message", "role": "assistant", "content": content}]
    whole = after(CREATED, *TOLD[3:], event("completed", response={"id": "r", "output": told}))
    assert whole == {"id": "r", "output": BUILT[1:]}
    # If nothing else was said, it is the answer.
    assert after(CREATED, TOLD[0], event("completed", response={"output": told})) == {
        "output": told
    }
    spoken = [{**told[0], "content": [{"type": "image", "url": "x"}]}]
    whole = after(CREATED, *TOLD[3:], event("completed", response={"output": spoken}))
    assert whole == {"output": spoken}


def test_an_item_of_another_type_is_another_item() -> None:
    told = {"output": [{"type": "reasoning", "id": "m", "content": []}]}
    assert after(CREATED, *TOLD, event("completed", response=told)) == told


def test_an_item_that_is_done_and_whose_parts_are_empty_takes_nothing_back() -> None:
    part = {"type": "output_text", "text": "", "annotations": []}
    done = {**MESSAGE, "status": "completed", "content": [part, part]}
    told = output(*TOLD[:3], event("output_item.done", output_index=0, item=done))
    assert told == [{**done, "content": [{**part, "text": "Hello"}, part]}]


def test_a_lifecycle_event_takes_nothing_back() -> None:
    first: JSON = {"id": "r", "model": "m", "tools": [1]}
    second: JSON = {"id": "r", "model": None, "tools": []}
    whole = after(event("created", response=first), event("in_progress", response=second))
    assert whole == {"id": "r", "model": "m", "tools": [], "object": "response", "output": []}


# Names that others give -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [
        ("mcp_call.arguments.", "mcp_call", "arguments"),
        ("mcp_call.arguments_", "mcp_call", "arguments"),
        ("code_interpreter_call.code.", "code_interpreter_call", "code"),
    ],
)
def test_older_names_of_calls(name: str, kind: str, field: str) -> None:
    begun = {"id": "c", "type": kind, "status": "in_progress"}
    events = [
        event("output_item.added", output_index=0, item=begun),
        event(f"{name}delta", output_index=0, item_id="c", delta="a"),
        event(f"{name}delta", output_index=0, item_id="c", delta="b"),
    ]
    assert output(*events) == [{**begun, field: "ab"}]
    done = event(f"{name}done", output_index=0, item_id="c", **{field: "abc"})
    assert output(*events, done) == [{**begun, field: "abc"}]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "reasoning_text"])
def test_other_names_of_reasoning(name: str) -> None:
    where = {"output_index": 0, "item_id": "r", "content_index": 0}
    part = {"type": "reasoning_text", "text": ""}
    events = [
        event("output_item.added", output_index=0, item={"id": "r", "type": "reasoning"}),
        event("reasoning_part.added", **where, part=part),
        event(f"{name}.delta", **where, delta="h"),
        event(f"{name}.delta", **where, delta="m"),
    ]
    told = {"id": "r", "type": "reasoning", "content": [{**part, "text": "hm"}]}
    assert output(*events) == [told]
    assert output(*events[2:]) == [told]


def test_an_older_name_of_annotations() -> None:
    events = [event("output_text_annotation.added", **TEXT, annotation={"n": i}) for i in (0, 1)]
    [message] = output(*TOLD[:3], *events)
    assert message["content"][0]["annotations"] == [{"n": 0}, {"n": 1}]


def test_the_diff_of_a_patch() -> None:
    operation = {"type": "update_file", "path": "a.py", "diff": ""}
    begun = {"id": "p", "type": "apply_patch_call", "call_id": "c", "operation": operation}
    where = {"output_index": 0, "item_id": "p"}
    events = [
        event("output_item.added", output_index=0, item=begun),
        event("apply_patch_call_operation_diff.delta", **where, delta="+a"),
        event("apply_patch_call_operation_diff.delta", **where, delta="b"),
    ]
    assert output(*events) == [{**begun, "operation": {**operation, "diff": "+ab"}}]
    assert operation["diff"] == ""
    done = event("apply_patch_call_operation_diff.done", **where, diff="+abc")
    assert output(*events, done) == [{**begun, "operation": {**operation, "diff": "+abc"}}]
    # Its end may not repeat it.
    bare = event("apply_patch_call_operation_diff.done", **where)
    assert output(*events[1:], bare) == [
        {"type": "apply_patch_call", "id": "p", "operation": {"diff": "+ab"}}
    ]


# Contradictions ---------------------------------------------------------------------------------


def texts(items: list[JSON]) -> list[str]:
    return ["".join(part["text"] for part in one.get("content", [])) for one in items]


def test_a_delta_whose_index_is_that_of_an_item_of_another_type() -> None:
    reasoning = {"id": "r", "type": "reasoning"}
    added = [
        event("output_item.added", output_index=i, item=one)
        for i, one in enumerate([reasoning, MESSAGE])
    ]
    for where in ({"item_id": "m"}, {}):
        told = output(*added, event("output_text.delta", output_index=0, **where, delta="Hi"))
        assert texts(told) == ["", "Hi"]
        assert [one["id"] for one in told] == ["r", "m"]


def test_text_that_comes_under_the_index_of_reasoning_begins_a_message() -> None:
    events = [
        event("output_item.added", output_index=0, item={"id": "r", "type": "reasoning"}),
        event("reasoning_text.delta", output_index=0, item_id="r", delta="hm"),
        event("output_text.delta", output_index=0, item_id="new", delta="H"),
        event("output_text.delta", output_index=0, item_id="new", delta="i"),
        event("reasoning_text.delta", output_index=0, item_id="r", delta="m"),
    ]
    told = output(*events)
    assert [(one["type"], one["id"]) for one in told] == [("reasoning", "r"), ("message", "new")]
    assert texts(told) == ["hmm", "Hi"]


def test_the_id_decides_between_items_of_the_right_type() -> None:
    added = [
        event("output_item.added", output_index=i, item=one)
        for i, one in enumerate(
            [{"id": "r", "type": "reasoning"}, MESSAGE, {**MESSAGE, "id": "other"}]
        )
    ]
    delta = event("output_text.delta", output_index=0, item_id="m", delta="Hi")
    assert texts(output(*added, delta)) == ["", "Hi", ""]


def test_a_message_that_is_done_is_not_continued_by_mistake() -> None:
    events = [
        event("output_item.done", output_index=0, item=MESSAGE),
        event("output_item.added", output_index=1, item={"id": "r", "type": "reasoning"}),
        event("output_text.delta", output_index=1, delta="Hi"),
    ]
    told = output(*events)
    assert [one["type"] for one in told] == ["message", "reasoning", "message"]
    assert texts(told) == ["", "", "Hi"]


def test_a_part_of_reasoning_that_comes_first_begins_reasoning() -> None:
    part = {"type": "reasoning_text", "text": "hm"}
    told = output(event("content_part.added", output_index=0, content_index=0, part=part))
    assert told == [{"type": "reasoning", "content": [part]}]


def test_the_input_of_any_tool_may_come_as_the_arguments_of_a_function() -> None:
    for kind in ("custom_tool_call", "mcp_call", "vendor_call"):
        begun = {"id": "c", "type": kind}
        events = [
            event("output_item.added", output_index=0, item=CALL),
            event("output_item.added", output_index=1, item=begun),
            event("function_call_arguments.delta", output_index=1, delta="{}"),
        ]
        assert output(*events) == [CALL, {**begun, "arguments": "{}"}]


def test_an_index_that_is_nobodys_gives_way_to_the_id() -> None:
    delta = event("output_text.delta", output_index=7, item_id="m", delta="Hello")
    done = event("output_item.done", output_index=9, item={**MESSAGE, "status": "completed"})
    [message] = output(TOLD[0], delta, done)
    assert message == {**BUILT[0], "status": "completed"}


def test_an_index_that_is_nobodys_moves_nothing() -> None:
    delta = event("output_text.delta", output_index=7, item_id="m", delta="!")
    assert [one["id"] for one in output(*TOLD, delta)] == ["m", "f"]


def test_an_item_that_is_given_again_without_its_id_is_the_same() -> None:
    bare = {"type": "message", "status": "x"}
    for kind in ("added", "done"):
        first = event(f"output_item.{kind}", output_index=0, item=MESSAGE)
        again = event(f"output_item.{kind}", output_index=0, item=bare)
        assert output(first, again) == [{**MESSAGE, "status": "x"}]


def test_a_lifecycle_event_lists_the_items_that_are_known() -> None:
    done = event("output_item.done", output_index=0, item=MESSAGE)
    listed = event("in_progress", response=response("in_progress", [{**MESSAGE, "id": "new"}]))
    assert output(done, listed) == [{**MESSAGE, "id": "new"}]
    # Of a server that gives all of its items one id, it lists two.
    two = event("in_progress", response=response("in_progress", [MESSAGE, MESSAGE]))
    assert output(two) == [MESSAGE, MESSAGE]


def test_items_of_one_id_and_index_are_told_apart_by_their_types() -> None:
    for kind in ("added", "done"):
        items = [{"id": "x", "type": name} for name in ("reasoning", "message", "function_call")]
        events = [event(f"output_item.{kind}", output_index=0, item=item) for item in items]
        assert output(*events) == items


def test_items_that_all_have_one_id() -> None:
    for kind in ("added", "done"):
        events = [
            event(f"output_item.{kind}", output_index=i, item={"id": "x", "type": name})
            for i, name in enumerate(["message", "message", "reasoning"])
        ]
        assert [one["type"] for one in output(*events)] == ["message", "message", "reasoning"]


def test_events_of_items_that_were_announced_with_one_index_go_by_the_id() -> None:
    events: list[JSON] = []
    for name in "ab":
        item = {"id": name, "type": "message"}
        events.append(event("output_item.added", output_index=0, item=item))
    for text in ("1", "2"):
        for name in "ab":
            delta = event("output_text.delta", output_index=0, item_id=name, delta=name + text)
            events.append(delta)
    assert texts(output(*events)) == ["a1a2", "b1b2"]


def test_items_that_are_all_done_at_index_0_are_several() -> None:
    calls = [{"id": name, "type": "function_call", "call_id": f"c{name}"} for name in "ab"]
    events = [event("output_item.done", output_index=0, item=call) for call in calls]
    assert output(*events) == calls
    # A proxy that gives one item a new id with each event.
    events.insert(0, event("output_item.added", output_index=0, item={**calls[0], "id": "x"}))
    assert output(*events) == calls


def test_items_of_two_types_under_one_index_are_two() -> None:
    reasoning = {"id": "r", "type": "reasoning", "summary": []}
    for told in ("added", "done"):
        events = [
            event("reasoning_summary_text.delta", output_index=0, delta="hm"),
            event(f"output_item.{told}", output_index=0, item=MESSAGE),
            event("output_text.delta", output_index=0, delta="Hi"),
        ]
        assert [one["type"] for one in output(*events)] == ["reasoning", "message"]
        events = [
            event("output_item.added", output_index=0, item=MESSAGE),
            event("output_text.delta", output_index=0, delta="Hi"),
            event(f"output_item.{told}", output_index=0, item=reasoning),
            event("output_item.done", output_index=0, item={**MESSAGE, "status": "completed"}),
        ]
        message, other = output(*events)
        assert other == reasoning
        assert message["status"] == "completed"
        assert texts([message]) == ["Hi"]


@pytest.mark.parametrize("where", [{}, {"output_index": 1}])
def test_the_output_of_a_call_is_not_the_call(where: JSON) -> None:
    for kind in ("shell_call", "function_call", "vendor_call"):
        call = {"id": "a", "type": kind, "call_id": "c"}
        printed = {"id": "b", "type": f"{kind}_output", "call_id": "c"}
        events = [
            event("output_item.added", output_index=0, item=call),
            event("output_item.done", **where, item=printed),
        ]
        assert output(*events) == [call, printed]


def test_progress_that_is_reported_of_a_message_is_nothing() -> None:
    for where in ({"output_index": 0}, {"item_id": "m"}, {}):
        assert output(TOLD[0], event("web_search_call.searching", **where)) == [MESSAGE]


def test_a_text_that_has_begun_does_not_give_way_to_what_is_none() -> None:
    done = event("function_call_arguments.done", output_index=1, item_id="f", arguments={"a": 2})
    assert output(*TOLD, done) == BUILT
    # If nothing has begun, it is kept as it came.
    [call] = output(
        event("output_item.added", output_index=1, item={**CALL, "arguments": None}), done
    )
    assert call["arguments"] == {"a": 2}


WRONG: list[Any] = [None, "1", 1.0, True, [1], {"1": 1}, -1, 2**64, 10**400]
SHELL: list[JSON] = [
    {"kind": "shell_call_command.added", "command": "a"},
    {"kind": "shell_call_command.delta", "delta": "b"},
    {"kind": "shell_call_command.done", "command": "ab"},
    {"kind": "shell_call_output_content.delta", "delta": {"stdout": "a"}},
    {"kind": "shell_call_output_content.done", "output": [{"stdout": "ab"}]},
    {"kind": "apply_patch_call_operation_diff.delta", "delta": "a"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:20])
def test_places_that_are_none_are_survived(wrong: Any) -> None:
    for name in ("output_index", "command_index", "item_id", "delta", "command", "output", "diff"):
        for told in SHELL:
            fields = {"output_index": 0, "command_index": 0, **told, name: wrong}
            kind = fields.pop("kind")
            events = [event(kind, **fields)] * 2
            json.dumps(output(*events))
            json.dumps(output(*TOLD, *events))
            json.dumps(output(*TOLD, *events, event("completed", response={})))


def test_commands_without_an_index_are_numbered_as_they_come() -> None:
    events = [
        event("output_item.added", item={"id": "s", "type": "shell_call", "action": None}),
        event("shell_call_command.added", command="l"),
        event("shell_call_command.delta", delta="s"),
        event("shell_call_command.added", command=""),
        event("shell_call_command.delta", delta="pw"),
        event("shell_call_command.done", command="pwd"),
    ]
    [call] = output(*events)
    assert call["action"] == {"commands": ["ls", "pwd"]}


def test_what_a_command_printed_in_several_pieces() -> None:
    pieces = [{"stdout": "a", "stderr": ""}, {"stdout": "b", "outcome": {"type": "timeout"}}, None]
    told = event("shell_call_output_content.done", output_index=0, command_index=0, output=pieces)
    [printed] = output(told)
    whole = {"stdout": "ab", "stderr": "", "outcome": {"type": "timeout"}}
    assert printed == {"type": "shell_call_output", "output": [whole]}


def test_an_end_of_a_command_that_says_nothing_takes_nothing_back() -> None:
    where = {"output_index": 0, "command_index": 0}
    delta = event("shell_call_output_content.delta", **where, delta={"stdout": "a"})
    ends: list[Any] = [[], None, [{}], [{"stdout": ""}]]
    for told in ends:
        done = event("shell_call_output_content.done", **where, output=told)
        [printed] = output(delta, done)
        assert printed["output"] == [{"stdout": "a", "stderr": ""}]


def test_high_indexes_take_no_room() -> None:
    tracemalloc.start()
    try:
        whole = output(
            *(
                event(kind, output_index=10**9, **dict.fromkeys(places, 10**9), **told)
                for kind, places, told in (
                    ("output_text.delta", ["content_index"], {"delta": "a"}),
                    ("output_text.annotation.added", ["annotation_index"], {"annotation": {}}),
                    ("reasoning_summary_text.delta", ["summary_index"], {"delta": "a"}),
                    ("shell_call_command.delta", ["command_index"], {"delta": "a"}),
                    ("shell_call_output_content.delta", ["command_index"], {"delta": {}}),
                )
            )
        )
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert len(json.dumps(whole)) < 2000


def test_deep_values_under_the_names_of_pieces() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [{"content": deep}]
    item = {"id": "m", "type": "message", "content": deep}
    events = [event("output_item.added", output_index=0, item=item)]
    events += [event("output_item.done", output_index=0, item=item)]
    events += [event("completed", response={"output": [{**item, "content": None}]})]
    after(CREATED, *events)


STRANGE = st.sampled_from([*WRONG, "", "msg_1", "rs_1", [], {}, "text", 3])
PLACES = ["output_index", "item_id", "content_index", "summary_index", "command_index", "delta"]


@st.composite
def disturbed(draw: st.DrawFn) -> list[JSON]:
    """Some of the story, in any order, with repetitions and with strange values."""
    told = draw(st.lists(st.sampled_from([*EVENTS, *LAST[:1]]), max_size=12))
    return [
        {**one, **draw(st.dictionaries(st.sampled_from([*PLACES, *one]), STRANGE, max_size=2))}
        if draw(st.booleans())
        else one
        for one in told
    ]


@given(disturbed())
@settings(deadline=None)
def test_no_disorder_raises_or_changes_what_came(events: list[JSON]) -> None:
    came = copy.deepcopy(events)
    accumulator = ResponseAccumulator()
    for told in events:
        accumulator.add(told)
        json.dumps(accumulator.snapshot())
    assert accumulator.snapshot() == after(*came)
    assert events == came


@given(disturbed())
@settings(deadline=None)
def test_an_empty_end_is_the_answer_so_far(events: list[JSON]) -> None:
    events = [told for told in events if told["type"] != "response.completed"]
    built = after(*events)["output"]
    whole = after(*events, event("completed", response={"id": "resp_1", "output": []}))
    assert whole["output"] == built
