"""JSON that grows, at every splitting."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from growing_json import begins
from hypothesis import given
from hypothesis import strategies as st
from machine import calmly

from openai_stream.structured import NOTHING, GrowingJSON

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def pieces(text: str, dice: random.Random) -> Iterator[str]:
    while text:
        size = dice.randint(1, 4)
        yield text[:size]
        text = text[size:]


@calmly
@given(VALUES, st.booleans(), st.sampled_from([None, 1]), st.randoms(use_true_random=False))
def test_grows_to_the_whole(value: Any, ascii: bool, indent: int | None, dice: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    growing = GrowingJSON()
    before: Any = NOTHING
    for piece in pieces(text, dice):
        growing.feed(piece)
        now = copy.deepcopy(growing.value) if growing.value is not NOTHING else NOTHING
        assert begins(now, before) or now is before is NOTHING
        before = now
    whole = growing.finish()
    assert begins(whole, before)
    assert json.dumps(whole) == json.dumps(json.loads(text))


@given(
    st.text(alphabet='{}[]",:\\u0dD8eE+-.123tfnrulase \n', max_size=30),
    st.randoms(use_true_random=False),
)
def test_takes_what_json_takes(text: str, dice: Any) -> None:
    try:
        expected = repr(json.loads(text))
    except ValueError:
        expected = "none"
    growing = GrowingJSON()
    try:
        for piece in pieces(text, dice):
            growing.feed(piece)
        got = repr(growing.finish())
    except ValueError:
        got = "none"
    assert got == expected


def whole(text: str) -> Any:
    growing = GrowingJSON()
    for character in text:
        growing.feed(character)
    return growing.finish()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a\\ud83d\\ude00b"', "a😀b"),
        ('"\\ud83d"', "\ud83d"),
        ('"\\ud83dx"', "\ud83dx"),
        ('"\\ud83d\\ud83d\\ude00"', "\ud83d😀"),
        ('"\\ud83d\\n"', "\ud83d\n"),
        ('{"a": 1, "a": {"b": 2}}', {"a": {"b": 2}}),
        ('{"a": {"b": 2}, "a": 1}', {"a": 1}),
        (" [1 , 2 ] ", [1, 2]),
        ("1e2", 100.0),
        ('{"\\u0061\\"": ""}', {'a"': ""}),
    ],
)
def test_reads_character_by_character(text: str, value: Any) -> None:
    assert whole(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nul",
        "nulll",
        "NaN",
        "-Infinity",
        "01",
        "1.",
        "--1",
        "[1,]",
        "[,1]",
        "{,}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{1:2}",
        '["a" "b"]',
        '"\\x"',
        '"\\u12g4"',
        '"a',
        '"\n"',
        "[1}",
        "[1] 2",
        "]",
        "}",
        "{",
        "[",
        '{"a": [1, {"b": 2}',
        "[" * 10_000,
        "9" * 5000,
    ],
)
def test_refuses_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"should be|after a value|in a string|whole|digits"):
        whole(text)


def test_keeps_what_came_before_an_error() -> None:
    growing = GrowingJSON()
    with pytest.raises(ValueError, match="'!' after a value"):
        growing.feed('{"a": [1, 2] !')
    assert growing.value == {"a": [1, 2]}


def test_tells_which_items_are_whole() -> None:
    growing = GrowingJSON()
    closed: list[Any] = []
    for character in '{"s": [1, "ab", {"c": "d"}, [[]], 25]}':
        growing.feed(character)
        if "s" in (growing.value if growing.value is not NOTHING else {}):
            count = growing.closed(growing.value["s"])
            closed += growing.value["s"][len(closed) : count]
            assert len(closed) == count
    assert closed == [1, "ab", {"c": "d"}, [[]], 25]


def test_the_objects_stay_the_same() -> None:
    growing = GrowingJSON()
    growing.feed('{"a": ["x')
    first = growing.value
    growing.feed('y", {"b"')
    growing.feed(": 1}]}")
    assert growing.finish() is first
    assert first == {"a": ["xy", {"b": 1}]}


@pytest.mark.parametrize(
    "value", [["x" * 40] * 5000, "x" * 200_000, {str(i): i for i in range(20_000)}]
)
def test_the_work_is_linear(value: Any) -> None:
    """The characters that are copied or looked at, counted: a string knows how often it is cut."""

    class Counted(str):
        seen = 0

        def __getitem__(self, index: Any) -> str:
            part = super().__getitem__(index)
            Counted.seen += len(part)
            return part

    text = json.dumps(value)
    growing = GrowingJSON()
    for start in range(0, len(text), 4):
        growing.feed(Counted(text[start : start + 4]))
    assert growing.finish() == value
    assert Counted.seen <= 3 * len(text)
