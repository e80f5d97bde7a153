"""Events of a response into its items."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from accumulating import (
    CREATED,
    ITEM,
    STARTED,
    WHERE,
    collect,
    event,
    output,
    said,
    whole,
    without,
)
from helpers import JSON

from openai_stream.accumulate import ResponseAccumulator

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
