"""Properties that hold for whatever a server may send, how long it takes, and other threads."""

from __future__ import annotations

import copy
import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from accumulating import (
    CREATED,
    KINDS,
    STARTED,
    VALUES,
    WHERE,
    Accumulator,
    Slow,
    chunk,
    collect,
    cut,
    envelope,
    event,
    part,
    some,
    whole,
    without,
)
from helpers import JSON
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import EXAMPLES

from openai_stream.accumulate import ChatAccumulator, CompletionAccumulator, ResponseAccumulator

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
