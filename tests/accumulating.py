"""What the tests of the accumulators share: chunks, and how they add up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from helpers import JSON
from hypothesis import strategies as st

from openai_stream.accumulate import ChatAccumulator, CompletionAccumulator, ResponseAccumulator

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


F, G = called("a", "f", "{1}"), called("b", "g", "{2}")


def without(fields: JSON, *names: str) -> JSON:
    return {key: value for key, value in fields.items() if key not in names}


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


def cut(data: st.DataObject, value: Any) -> list[Any]:
    """A string or a list in pieces, some of them empty."""
    ends = sorted(data.draw(st.lists(st.integers(0, len(value)), max_size=4)))
    return [value[start:end] for start, end in itertools.pairwise([0, *ends, len(value)])]
