"""Tool calls in pieces: which fragment belongs to which call, and what the calls are in the end.

A row is a stream: its chunks, each a list of fragments ``(index, id, name, arguments)`` of which
what is ``None`` is not sent; and the calls ``(id, name, arguments)`` that are right. Many rows have
a mirror image: the good stream that a rule which is too eager would break.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from helpers import JSON
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import EXAMPLES

from openai_stream.accumulate import Asked, ChatAccumulator
from openai_stream.accumulate.json_object import ObjectScanner

Piece = tuple[Any, Any, Any, Any]
Call = tuple[Any, Any, Any]

OSLO, CET = '{"city":"Oslo"}', '{"zone":"CET"}'
WEATHER, TIME = "get_weather", "get_time"
BOTH = frozenset({WEATHER, TIME})


@attrs.frozen
class Stream:
    """One message's tool calls, as they come and as they are."""

    name: str
    chunks: Sequence[Sequence[Piece]]
    calls: Sequence[Call]
    #: What was asked for.
    tools: frozenset[str] = frozenset()


def sent(piece: Piece, kind: str = "function") -> JSON:
    """A fragment, without what is ``None``."""
    index, ident, name, arguments = piece
    tool = {"name": name, "arguments" if kind == "function" else "input": arguments}
    tool = {key: value for key, value in tool.items() if value is not None}
    fragment = {"index": index, "id": ident, kind: tool or None}
    return {key: value for key, value in fragment.items() if value is not None}


def chunk(fragments: Any) -> JSON:
    return {"choices": [{"index": 0, "delta": {"tool_calls": fragments}, "finish_reason": None}]}


def added(chunks: Sequence[JSON], tools: frozenset[str] = frozenset()) -> list[JSON]:
    """The calls of the whole message."""
    accumulator = ChatAccumulator(Asked(tools=tools))
    for one in chunks:
        accumulator.add(json.loads(json.dumps(one)))
    calls: list[JSON] = accumulator.snapshot()["choices"][0]["message"]["tool_calls"]
    return calls


def told(call: JSON, kind: str = "function") -> Call:
    tool = call.get(kind, {})
    return (
        call.get("id"),
        tool.get("name"),
        tool.get("arguments" if kind == "function" else "input"),
    )


STREAMS = [
    # OpenAI and those who do as it does
    Stream(
        "OpenAI",
        [[(0, "a", WEATHER, "")], [(0, None, None, '{"city"')], [(0, None, None, ':"Oslo"}')]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "OpenAI, in parallel",
        [
            [(0, "a", WEATHER, "")],
            [(0, None, None, OSLO)],
            [(1, "b", TIME, "")],
            [(1, None, None, CET)],
        ],
        [("a", WEATHER, OSLO), ("b", TIME, CET)],
    ),
    Stream(
        "interleaved by index",
        [
            [(0, "a", WEATHER, ""), (1, "b", TIME, "")],
            [(1, None, None, CET[:5])],
            [(0, None, None, OSLO[:7])],
            [(1, None, None, CET[5:]), (0, None, None, OSLO[7:])],
        ],
        [("a", WEATHER, OSLO), ("b", TIME, CET)],
    ),
    Stream(
        "the same tool twice, by index",
        [[(0, "a", WEATHER, OSLO)], [(1, "b", WEATHER, OSLO)]],
        [("a", WEATHER, OSLO), ("b", WEATHER, OSLO)],
    ),
    Stream("a tool without parameters", [[(0, "a", "now", "{}")]], [("a", "now", "{}")]),
    Stream(
        "two of them",
        [[(0, "a", "now", "{}")], [(1, "b", "now", "{}")]],
        [("a", "now", "{}"), ("b", "now", "{}")],
    ),
    # Calls that all are number 0 and have no id
    Stream(
        "all 0, no id, another name",
        [[(0, "", WEATHER, OSLO)], [(0, "", TIME, CET)]],
        [("", WEATHER, OSLO), ("", TIME, CET)],
    ),
    Stream(
        "all 0, no id, arguments in pieces",
        [
            [(0, None, WEATHER, '{"city":')],
            [(0, None, None, '"Oslo"}')],
            [(0, None, TIME, "")],
            [(0, None, None, CET)],
        ],
        [(None, WEATHER, OSLO), (None, TIME, CET)],
    ),
    Stream(
        "all 0, no id, the same name, whole arguments",
        [[(0, None, WEATHER, OSLO)], [(0, None, WEATHER, '{"city":"Rom"}')]],
        [(None, WEATHER, OSLO), (None, WEATHER, '{"city":"Rom"}')],
    ),
    Stream(
        "mirror: the name in each fragment",
        [
            [(0, None, WEATHER, '{"city":')],
            [(0, None, WEATHER, '"Oslo"')],
            [(0, None, WEATHER, "}")],
        ],
        [(None, WEATHER, OSLO)],
    ),
    Stream(
        "mirror: the name in each fragment, and after the end",
        [[(0, "a", WEATHER, OSLO)], [(0, None, WEATHER, "")], [(0, None, WEATHER, "\n")]],
        [("a", WEATHER, OSLO + "\n")],
    ),
    Stream(
        "mirror: a bracket in a string is no end",
        [[(0, None, "f", '{"a":"}')], [(0, None, "f", '{","b":1}')]],
        [(None, "f", '{"a":"}{","b":1}')],
    ),
    Stream(
        "all 0, no id, in one chunk",
        [[(0, None, WEATHER, OSLO), (0, None, WEATHER, OSLO)]],
        [(None, WEATHER, OSLO), (None, WEATHER, OSLO)],
    ),
    Stream(
        "no index either, in one chunk, twice",
        [
            [(None, None, WEATHER, OSLO), (None, None, TIME, CET)],
            [(None, None, WEATHER, OSLO), (None, None, TIME, CET)],
        ],
        [(None, WEATHER, OSLO), (None, TIME, CET), (None, WEATHER, OSLO), (None, TIME, CET)],
    ),
    Stream(
        "all 0, without parameters, the tools are known",
        [[(0, None, WEATHER, "")], [(0, None, TIME, "")]],
        [(None, WEATHER, ""), (None, TIME, "")],
        tools=BOTH,
    ),
    Stream(
        "all 0, without parameters, in one chunk",
        [[(0, None, WEATHER, ""), (0, None, TIME, "")]],
        [(None, WEATHER, ""), (None, TIME, "")],
    ),
    Stream(
        "all 0, {} for each",
        [[(0, None, "now", "{}")], [(0, None, "today", "{}")]],
        [(None, "now", "{}"), (None, "today", "{}")],
    ),
    Stream(
        "all 0, ids of their own",
        [[(0, "a", WEATHER, OSLO)], [(0, "b", TIME, "")], [(0, None, None, CET)]],
        [("a", WEATHER, OSLO), ("b", TIME, CET)],
    ),
    Stream(
        "all 0, ids of their own, interleaved by id",
        [
            [(0, "a", WEATHER, OSLO[:4]), (0, "b", TIME, CET[:4])],
            [(0, "a", None, OSLO[4:])],
            [(0, "b", None, CET[4:])],
        ],
        [("a", WEATHER, OSLO), ("b", TIME, CET)],
    ),
    # A new id on each fragment
    *(
        Stream(
            f"a new id on each fragment, index {index}, name {name!r}",
            [
                [(index, "t1", WEATHER, "")],
                [(index, "t2", name, '{"city":')],
                [(index, "t3", name, '"Oslo"}')],
            ],
            [("t1", WEATHER, OSLO)],
        )
        for index in (0, None)
        for name in (None, "")
    ),
    Stream(
        "a new id on each fragment of two calls",
        [
            [(0, "t1", WEATHER, "")],
            [(1, "t2", TIME, "")],
            [(0, "t3", None, OSLO[:4])],
            [(1, "t4", None, CET)],
            [(0, "t5", None, OSLO[4:])],
        ],
        [("t1", WEATHER, OSLO), ("t2", TIME, CET)],
    ),
    Stream(
        "mirror: two calls whose ids both change",
        [
            [(0, "t1", WEATHER, "")],
            [(0, "t2", None, OSLO)],
            [(0, "t3", TIME, "")],
            [(0, "t4", None, CET)],
        ],
        [("t1", WEATHER, OSLO), ("t3", TIME, CET)],
    ),
    Stream(
        "decided: a new id with the same name is a new call each time",
        [[(0, "t1", WEATHER, OSLO)], [(0, "t2", WEATHER, OSLO)]],
        [("t1", WEATHER, OSLO), ("t2", WEATHER, OSLO)],
    ),
    Stream(
        "an id of before comes again later",
        [[(0, "t1", WEATHER, OSLO[:3])], [(0, "t2", None, OSLO[3:5])], [(0, "t2", "", OSLO[5:])]],
        [("t1", WEATHER, OSLO)],
    ),
    Stream(
        "the id before the name",
        [
            [(0, "a", None, None)],
            [(0, None, WEATHER, OSLO)],
            [(0, "b", None, None)],
            [(0, None, TIME, CET)],
        ],
        [("a", WEATHER, OSLO), ("b", TIME, CET)],
    ),
    Stream(
        "the id after the name",
        [[(0, "", WEATHER, "")], [(0, "a", None, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "the id after the name, with the name",
        [[(0, "", WEATHER, "")], [(0, "a", WEATHER, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    # Names
    Stream(
        "a name in pieces",
        [[(0, "a", "get_", "")], [(0, None, "weather", "{")], [(0, None, None, "}")]],
        [("a", WEATHER, "{}")],
    ),
    Stream(
        "a name in pieces, the tools are known",
        [[(0, "a", "get_", "")], [(0, None, "weather", OSLO)]],
        [("a", WEATHER, OSLO)],
        tools=BOTH,
    ),
    Stream(
        "a name in many pieces, the id with each",
        [[(0, "a", piece, None)] for piece in ("g", "e", "t", "_", "ti", "me")],
        [("a", TIME, None)],
    ),
    Stream(
        "names in pieces, side by side",
        [
            [(0, "a", "get_", ""), (1, "b", "get_", "")],
            [(0, None, "weather", ""), (1, None, "time", "")],
        ],
        [("a", WEATHER, ""), ("b", TIME, "")],
    ),
    Stream(
        "mirror: a name repeated whole",
        [[(0, "a", WEATHER, "")], [(0, None, WEATHER, "")], [(0, "a", WEATHER, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "a name that grows",
        [[(0, "a", "get", "")], [(0, None, "get_wea", "")], [(0, None, WEATHER, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "mirror: a tool whose name begins with another's",
        [[(0, None, "get", "")], [(0, None, "get_time", "")]],
        [(None, "get", ""), (None, "get_time", "")],
        tools=frozenset({"get", "get_time"}),
    ),
    # Arguments
    Stream(
        "{} before the arguments",
        [[(0, "a", WEATHER, "{}")], [(0, None, None, '{"city"')], [(0, None, None, ':"Oslo"}')]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "{} before the arguments, in pieces and with blanks",
        [[(0, "a", WEATHER, "{")], [(0, None, None, " }")], [(0, None, None, " " + OSLO)]],
        [("a", WEATHER, " " + OSLO)],
    ),
    Stream(
        "{} before the arguments, the name with both",
        [[(0, None, WEATHER, "{}")], [(0, None, WEATHER, OSLO)]],
        [(None, WEATHER, OSLO)],
    ),
    Stream(
        "mirror: {} inside of the arguments",
        [[(0, "a", "f", '{"a":')], [(0, None, None, "{}")], [(0, None, None, "}")]],
        [("a", "f", '{"a":{}}')],
    ),
    Stream(
        "mirror: {} and then nothing",
        [[(0, "a", "now", "{}")], [(0, None, None, "")], [(0, None, None, None)]],
        [("a", "now", "{}")],
    ),
    Stream(
        "{} twice",
        [[(0, "a", "now", "{}")], [(0, None, None, "{}")]],
        [("a", "now", "{}")],
    ),
    Stream(
        "all of it once more at the end",
        [[(0, "a", WEATHER, OSLO[:6])], [(0, None, None, OSLO[6:])], [(0, "a", WEATHER, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "all of it once more at the end, with other blanks",
        [[(0, "a", WEATHER, OSLO)], [(0, "a", WEATHER, '{"city": "Oslo"}')]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "mirror: a piece that is the piece before",
        [[(0, "a", "f", '{"a":')], [(0, "a", None, '{"a":')], [(0, "a", None, "1}}")]],
        [("a", "f", '{"a":{"a":1}}')],
    ),
    Stream(
        "all of it once more, without id and name",
        [[(0, "a", WEATHER, "")], [(0, None, None, OSLO)], [(0, None, None, OSLO)]],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "all that came so far in each fragment",
        [
            [(0, "a", WEATHER, "{")],
            [(0, None, None, OSLO[:11])],
            [(0, None, None, OSLO[:11])],
            [(0, None, None, OSLO[:13])],
            [(0, None, None, OSLO)],
            [(0, None, None, OSLO)],
        ],
        [("a", WEATHER, OSLO)],
    ),
    Stream(
        "mirror: an object that begins as the one around it",
        [[(0, "a", "f", '{"a":')], [(0, None, None, '{"a":1}')], [(0, None, None, "}")]],
        [("a", "f", '{"a":{"a":1}}')],
    ),
    Stream(
        "mirror: the same in a list",
        [[(0, "a", "f", '{"a":[')], [(0, None, None, '{"a":[]}')], [(0, None, None, "]}")]],
        [("a", "f", '{"a":[{"a":[]}]}')],
    ),
    Stream(
        "mirror: a name in the object that is a bracket",
        [[(0, "a", "f", '{"')], [(0, None, None, '{":1}')]],
        [("a", "f", '{"{":1}')],
    ),
    Stream(
        "all that came so far, after a comma",
        [
            [(0, "a", "f", '{"a":1,')],
            [(0, None, None, '{"a":1,"b":[1,')],
            [(0, None, None, '{"a":1,"b":[1,2]}')],
        ],
        [("a", "f", '{"a":1,"b":[1,2]}')],
    ),
    # No index
    Stream(
        "side by side, no index",
        [
            [(None, "a", "f", ""), (None, "b", "g", "")],
            [(None, None, None, '{"x":'), (None, None, None, '{"y":')],
            [(None, None, None, "1}"), (None, None, None, "2}")],
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    Stream(
        "side by side, no index, the names repeated",
        [
            [(None, None, "f", ""), (None, None, "f", "")],
            [(None, None, "f", '{"x":'), (None, None, "f", '{"x":')],
            [(None, None, "f", "1}"), (None, None, "f", "2}")],
        ],
        [(None, "f", '{"x":1}'), (None, "f", '{"x":2}')],
    ),
    Stream(
        "names side by side are no pieces",
        [
            [(None, None, "f", ""), (None, None, "g", "")],
            [(None, None, "h", ""), (None, None, "i", "")],
        ],
        [(None, name, "") for name in "fghi"],
    ),
    Stream(
        "side by side, all 0",
        [
            [(0, "a", "f", ""), (0, "b", "g", "")],
            [(0, None, None, '{"x":1}'), (0, None, None, '{"y":2}')],
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    Stream(
        "side by side, but they began one after the other",
        [
            [(None, "a", "f", "")],
            [(None, "b", "g", "")],
            [(None, None, None, '{"x":1}'), (None, None, None, '{"y":2}')],
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
    ),
    Stream(
        "side by side, new ids",
        [
            [(None, "t1", "f", ""), (None, "t2", "g", "")],
            [(None, "t3", None, '{"x":1}'), (None, "t4", None, '{"y":2}')],
        ],
        [("t1", "f", '{"x":1}'), ("t2", "g", '{"y":2}')],
    ),
    Stream(
        "a lone fragment goes to the open call",
        [
            [(None, "a", "f", ""), (None, "b", "g", "")],
            [(None, None, None, "{")],
            [(None, None, None, "}")],
        ],
        [("a", "f", ""), ("b", "g", "{}")],
    ),
    Stream(
        "the index comes late",
        [[(None, "a", WEATHER, OSLO[:4])], [(0, None, None, OSLO[4:])]],
        [("a", WEATHER, OSLO)],
    ),
    # One id for all
    Stream(
        "the same id for two calls",
        [[(0, "x", WEATHER, OSLO)], [(1, "x", TIME, CET)]],
        [("x", WEATHER, OSLO), ("x", TIME, CET)],
    ),
    Stream(
        "the same id and index for two calls",
        [[(0, "x", WEATHER, OSLO)], [(0, "x", TIME, CET)]],
        [("x", WEATHER, OSLO), ("x", TIME, CET)],
    ),
    Stream(
        "the same call under two indexes",
        [[(0, "x", WEATHER, "")], [(1, "x", WEATHER, OSLO)], [(2, "x", WEATHER, OSLO)]],
        [("x", WEATHER, OSLO)],
    ),
    Stream(
        "the id under one index, the arguments under another",
        [[(2, "x", WEATHER, "")], [(1, None, None, OSLO[:5])], [(1, None, None, OSLO[5:])]],
        [("x", WEATHER, OSLO)],
    ),
    Stream(
        "mirror: a new index after arguments begins a call",
        [[(0, "a", "f", "{1}")], [(1, None, None, "{2}")], [(1, "b", "g", "")]],
        [("a", "f", "{1}"), ("b", "g", "{2}")],
    ),
    Stream(
        "the same id for two tools without arguments so far",
        [[(0, "x", "f", "")], [(1, "x", "g", "")], [(0, None, None, "{}")]],
        [("x", "f", "{}"), ("x", "g", "")],
    ),
    Stream(
        "one call whose index rises",
        [[(0, "x", WEATHER, '{"city":')], [(1, "x", None, '"Os')], [(2, "x", WEATHER, 'lo"}')]],
        [("x", WEATHER, OSLO)],
    ),
    Stream(
        "a known id under the index of another call",
        [
            [(0, "a", "f", "")],
            [(1, "b", "g", "")],
            [(0, "b", None, "{2}")],
            [(0, None, None, "{1}")],
        ],
        [("a", "f", "{1}"), ("b", "g", "{2}")],
    ),
]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_stream_gives_its_calls(stream: Stream) -> None:
    chunks = [chunk([sent(piece) for piece in pieces]) for pieces in stream.chunks]
    assert [told(call) for call in added(chunks, stream.tools)] == list(stream.calls)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_null_is_as_good_as_missing(stream: Stream) -> None:
    chunks = [
        chunk(
            [
                {
                    "index": index,
                    "id": ident,
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
                for index, ident, name, arguments in pieces
            ]
        )
        for pieces in stream.chunks
    ]
    assert [told(call) for call in added(chunks, stream.tools)] == list(stream.calls)


# Custom tools, and the call of before there were tools --------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "calls"),
    [
        pytest.param(
            [[(0, "a", "shell", "")], [(0, None, None, "ls")], [(0, None, None, " -l")]],
            [("a", "shell", "ls -l")],
            id="OpenAI",
        ),
        pytest.param(
            [[(0, "a", "shell", "{}")], [(0, None, None, "{ls; }")]],
            [("a", "shell", "{}{ls; }")],
            id="{} is input like any other",
        ),
        pytest.param(
            [[(0, "a", "shell", "{}")], [(0, "a", "shell", "{}")]],
            [("a", "shell", "{}{}")],
            id="and may come twice",
        ),
        pytest.param(
            [[(0, "a", "sh", "")], [(0, None, "ell", "ls")]], [("a", "shell", "ls")], id="name"
        ),
        pytest.param(
            [[(0, None, "shell", "ls")], [(0, None, "sed", "p")]],
            [(None, "shell", "ls"), (None, "sed", "p")],
            id="another name",
        ),
        pytest.param(
            [[(0, "t1", "shell", "")], [(0, "t2", None, "l")], [(0, "t3", None, "s")]],
            [("t1", "shell", "ls")],
            id="a new id on each fragment",
        ),
    ],
)
def test_a_custom_tool(chunks: list[list[Piece]], calls: list[Call]) -> None:
    whole = added([chunk([sent(piece, "custom") for piece in pieces]) for pieces in chunks])
    assert [told(call, "custom") for call in whole] == calls


@pytest.mark.parametrize(
    ("pieces", "name", "arguments"),
    [
        pytest.param(
            [(WEATHER, ""), (None, OSLO[:4]), (None, OSLO[4:])], WEATHER, OSLO, id="OpenAI"
        ),
        pytest.param([("get_", ""), ("weather", OSLO)], WEATHER, OSLO, id="name in pieces"),
        pytest.param([(WEATHER, OSLO[:4]), (WEATHER, OSLO[4:])], WEATHER, OSLO, id="repeated name"),
        pytest.param([("get", None), (WEATHER, OSLO)], WEATHER, OSLO, id="a name that grows"),
        pytest.param([(WEATHER, "{}"), (None, OSLO)], WEATHER, OSLO, id="{} first"),
        pytest.param([("now", "{}")], "now", "{}", id="no parameters"),
        pytest.param([(WEATHER, OSLO), (WEATHER, OSLO)], WEATHER, OSLO, id="all of it once more"),
        pytest.param(
            [(WEATHER, ""), (None, '{"'), (None, '{": 1}')],
            WEATHER,
            '{"{": 1}',
            id="nothing, then a key that begins as the object does",
        ),
        pytest.param(
            [(WEATHER, ""), (None, "{"), (None, OSLO[:4]), (None, OSLO)],
            WEATHER,
            OSLO,
            id="nothing, then all so far each time",
        ),
    ],
)
def test_a_function_call(pieces: list[tuple[Any, Any]], name: str, arguments: str) -> None:
    accumulator = ChatAccumulator()
    for piece in pieces:
        call = dict(zip(("name", "arguments"), piece, strict=True))
        accumulator.add({"choices": [{"index": 0, "delta": {"function_call": call}}]})
    message = accumulator.snapshot()["choices"][0]["message"]
    assert message["function_call"] == {"name": name, "arguments": arguments}


# What was asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "tools"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"f"}),
        ({"tools": ({"type": "custom", "custom": {"name": "f"}}, {"name": "g"})}, {"f", "g"}),
        ({"functions": [{"name": "f"}]}, {"f"}),
        ({"tools": [None, 5, {"function": 5}, {"function": {"name": 5}}]}, set()),
        ({"tools": "f"}, set()),
        ({}, set()),
        ([], set()),
    ],
)
def test_tools_that_were_asked_for(body: Any, tools: set[str]) -> None:
    assert Asked.of(body).tools == tools


@pytest.mark.parametrize(
    ("body", "one"),
    [
        ({}, True),
        ({"n": 1}, True),
        ({"n": None}, True),
        ({"n": 2}, False),
        ({"n": "1"}, False),
        ({"n": True}, False),
        ({"prompt": "a"}, True),
        ({"prompt": ["a"]}, True),
        ({"prompt": ["a", "b"]}, False),
        ({"prompt": [1, 2, 3]}, True),
        ({"prompt": [[1, 2], [3]]}, False),
        ({"prompt": [[1, 2, 3]]}, True),
        ({"prompt": ["a"], "n": 2}, False),
        (None, False),
    ],
)
def test_one_choice_was_asked_for(body: Any, one: bool) -> None:
    assert Asked.of(body).one_choice is one


# When an object is whole --------------------------------------------------------------------------

SCANNED = [
    ("", False, True),
    (" \n", False, True),
    ("{", False, True),
    ("{}", True, True),
    (" { } ", True, True),
    ("{}x", False, False),
    ("{}{}", False, False),
    ('{"a"', False, False),
    ('{"a":1}', True, False),
    ('{"a":{"b":[{},[]]}}', True, False),
    ('{"a":{"b":[{},[]]}', False, False),
    ('{"a":"}', False, False),
    ('{"a":"\\"}', False, False),
    ('{"a":"\\\\"}', True, False),
    ('{"a":"\\u007d{["}', True, False),
    ('{"a":1} \n', True, False),
    ('{"a":1}{"a":1}', False, False),
    ('"{}"', False, False),
    ("[{}]", False, False),
    ("null", False, False),
    ("{1}", True, False),
]


@pytest.mark.parametrize(("text", "whole", "empty"), SCANNED)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_end_of_an_object_is_seen(text: str, whole: bool, empty: bool, size: int) -> None:
    scanner = ObjectScanner()
    for start in range(0, len(text), size):
        scanner.feed(text[start : start + size])
    assert scanner.is_whole is whole
    assert scanner.is_empty is empty


OBJECTS = st.dictionaries(
    st.text('{}[]"\\ é', max_size=3),
    st.recursive(
        st.one_of(st.text('{}[]"\\ é', max_size=4), st.integers(), st.none()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(st.text('"}', max_size=2), inner, max_size=2),
        ),
        max_leaves=4,
    ),
    max_size=2,
)


@given(value=OBJECTS, data=st.data(), ascii_only=st.booleans())
@settings(max_examples=EXAMPLES, deadline=None)
def test_an_object_is_whole_at_its_end_and_not_before(
    value: JSON, data: st.DataObject, ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    scanner = ObjectScanner()
    rest = text
    while rest:
        assert not scanner.is_whole
        size = data.draw(st.integers(1, len(rest)))
        scanner.feed(rest[:size])
        rest = rest[size:]
    assert scanner.is_whole
    assert scanner.is_empty is (value == {})


def assert_linear(seconds: Callable[[int], float]) -> None:
    """What is linear takes 8 times as long for 8 times as much; what is quadratic, 64 times."""
    few = many = math.inf
    for _ in range(20):
        few, many = min(few, seconds(2_000)), min(many, seconds(16_000))
        if many < 24 * few:
            return
    assert many < 24 * few, f"2,000 took {few} s and 16,000 took {many} s"


# Whatever comes -----------------------------------------------------------------------------------

ODD = [None, True, 0, -1, 1.0, 0.5, 1e308, 10**400, "", "0", "x", "\ud83d", [], {}, [1], {"a": 1}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(
    "field", ["index", "id", "name", "arguments", "type", "function", "custom"]
)
def test_a_field_of_any_type_does_no_harm(field: str, odd: Any) -> None:
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
    wrong: JSON = json.loads(json.dumps(fragment))
    (wrong["function"] if field in {"name", "arguments"} else wrong)[field] = odd
    for fragments in ([wrong, fragment], [fragment, wrong], [wrong], [wrong, wrong, fragment]):
        json.dumps(added([chunk([one]) for one in fragments]))
        json.dumps(added([chunk(fragments), chunk(fragments)]))


@pytest.mark.parametrize(
    ("indexes", "count"),
    [
        ([0, 0], 1),
        ([0.0, 0], 1),
        (["0", 0], 1),
        ([-1, -1], 1),
        ([-1, 0], 2),
        ([10**30, 10**30], 1),
        ([10**30, 1], 2),
        ([True, None], 1),
        ([0.5, "x"], 1),
    ],
)
def test_what_is_an_index(indexes: list[Any], count: int) -> None:
    chunks = [
        chunk([{"index": indexes[0], "function": {"name": "f", "arguments": "{"}}]),
        chunk([{"index": indexes[1], "function": {"arguments": "}"}}]),
    ]
    assert len(added(chunks)) == count


def test_calls_that_are_numbered_by_strings_and_floats_interleave() -> None:
    for kind in (str, float):
        first = [sent((kind(n), None, f"f{n}", "")) for n in range(2)]
        rest = [sent((kind(n), None, None, f"{n}")) for n in (1, 0)]
        calls = added([chunk(first), *(chunk([one]) for one in rest)])
        assert [told(call) for call in calls] == [(None, "f0", "0"), (None, "f1", "1")]


FRAGMENTS = st.tuples(
    st.sampled_from([None, 0, 0, 1, 2, "1", -1]),
    st.sampled_from([None, "", "a", "b", "c", 5]),
    st.sampled_from([None, "", "f", "g", "fg", 5]),
    st.sampled_from([None, "", " ", "{}", "{", "}", '{"a":1}', "x", 5, {"a": 1}]),
)


@given(
    chunks=st.lists(st.lists(FRAGMENTS, max_size=3), max_size=6),
    tools=st.frozensets(st.sampled_from(["f", "g", "fg"])),
)
@settings(max_examples=3 * EXAMPLES, deadline=None)
def test_no_call_without_a_fragment(chunks: list[list[Piece]], tools: frozenset[str]) -> None:
    none = chunk([])
    calls = added([none, *(chunk([sent(p) for p in pieces]) for pieces in chunks)], tools)
    assert len(calls) <= sum(map(len, chunks))
    json.dumps(calls)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: [(n, f"c{n}", "f", "{}")], id="calls by index"),
        pytest.param(lambda n: [(0, None, f"f{n}", '{"a":1}')], id="calls by name"),
        pytest.param(lambda n: [(0, None, "f", '{"a":1}')], id="calls by whole arguments"),
        pytest.param(lambda n: [(0, f"c{n}", None, "1")], id="ids"),
        pytest.param(lambda n: [(0, "a", "x", None)], id="pieces of a name"),
        pytest.param(lambda n: [(0, None, "f", " ")], id="blank arguments"),
        pytest.param(lambda n: [(0, "a", None, "{")], id="brackets"),
        pytest.param(lambda n: [(0, "a", "f", "{}")], id="empty objects"),
        pytest.param(lambda n: [(0, "a", "f", '{"a":1}')], id="whole arguments again"),
        pytest.param(lambda n: [(None, None, "f" if n == 0 else None, "x")] * 2, id="side by side"),
    ],
)
def test_twice_as_many_fragments_take_twice_as_long(make: Any) -> None:
    chunks = [chunk([sent(piece) for piece in make(n)]) for n in range(16_000)]

    def seconds(count: int) -> float:
        accumulator = ChatAccumulator(Asked(tools=frozenset({"f", "x" * 900})))
        start = time.process_time()
        for one in chunks[:count]:
            accumulator.add(one)
        accumulator.snapshot()
        return time.process_time() - start

    assert_linear(seconds)


def test_ten_thousand_calls_in_one_chunk() -> None:
    for index in (None, 0):
        fragments = [sent((index, None, "f", '{"a":1}'))] * 10_000
        start = time.process_time()
        assert len(added([chunk(fragments)])) == 10_000
        assert len(added([chunk(fragments), chunk(fragments)])) == 20_000
        assert time.process_time() - start < 5
