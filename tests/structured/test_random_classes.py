"""Answers of random classes, at random splittings: what is promised of each, whatever it is."""

from __future__ import annotations

import copy
import json
import threading
from typing import Any, Literal

import attr  # its ib() has a type in every version
import attrs
import pytest
from growing_json import begins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import EXAMPLES

from openai_stream import Client
from openai_stream.structured import NOTHING, GrowingJSON, convert
from openai_stream.testing import ScriptedServer, Wait, answer, chat_chunks

JSON = dict[str, Any]
NAMES = ("a", "b", "c", "d")

# A type, and what makes a value of it. ------------------------------------------------------------

Kind = tuple[Any, st.SearchStrategy[Any]]
PLAIN: list[Kind] = [
    (int, st.integers(-(2**53), 2**53)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, st.text(max_size=8)),
    (str | None, st.none() | st.text(max_size=3)),
    (Literal["x", "yes"], st.sampled_from(["x", "yes"])),
]


def lists(kind: Kind) -> Kind:
    return list[kind[0]], st.lists(kind[1], max_size=4)  # type: ignore[valid-type]


@st.composite
def classes(draw: st.DrawFn, kinds: st.SearchStrategy[Kind]) -> Kind:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    fields = {name: draw(kinds) for name in names}
    return made("Inner", fields)


def made(name: str, fields: dict[str, Kind]) -> Kind:
    typed = {key: attr.ib(type=kind) for key, (kind, _) in fields.items()}
    values = {key: values for key, (_, values) in fields.items()}
    cls = attrs.make_class(name, typed)
    cls.__annotations__ = {key: kind for key, (kind, _) in fields.items()}  # which attrs adds now
    return cls, st.fixed_dictionaries(values)


KINDS = st.recursive(
    st.sampled_from(PLAIN),
    lambda kinds: kinds.map(lists) | classes(kinds),
    max_leaves=4,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[type, JSON, list[str]]:
    """A class, a value of it, and its JSON in pieces."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    fields = {name: draw(KINDS) for name in names}
    place = draw(st.integers(0, len(fields)))
    before = list(fields.items())[:place]
    after = list(fields.items())[place:]
    cls, values = made("Root", dict([*before, ("items", lists(draw(KINDS))), *after]))
    value = draw(values)
    text = json.dumps(
        value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    dice = draw(st.randoms(use_true_random=False))
    most = draw(st.integers(1, 6))
    pieces = []
    while text:
        size = dice.randint(1, most)
        pieces.append(text[:size])
        text = text[size:]
    return cls, value, pieces


def chunks(pieces: list[str]) -> list[Any]:
    first, *_, last = chat_chunks("x")
    made = [
        {**first, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    return [first, *made, last]


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers())
@pytest.mark.limit(300)
def test_grows_piece_by_piece(drawn: tuple[type, JSON, list[str]]) -> None:
    cls, value, pieces = drawn
    growing = GrowingJSON()
    before: Any = NOTHING
    closed: list[Any] = []
    for piece in pieces:
        growing.feed(piece)
        now = growing.value
        assert begins(now, before)
        before = copy.deepcopy(now) if now is not NOTHING else NOTHING
        items = now.get("items") if isinstance(now, dict) else None
        if isinstance(items, list):
            assert items[: len(closed)] == closed  # what is given once does not change
            assert growing.closed(items) >= len(closed)
            closed = copy.deepcopy(items[: growing.closed(items)])
    whole = growing.finish()
    assert begins(whole, before)
    assert json.dumps(whole) == json.dumps(json.loads("".join(pieces)))
    assert closed == whole["items"]  # all of them before the end
    assert attrs.asdict(convert(whole, cls)) == value
    text = "".join(pieces)
    for place in range(1, len(text)):
        assert_grows_alike(text[:place], text[place:], whole)


def assert_grows_alike(first: str, rest: str, whole: Any) -> None:
    """However it is cut in two, it begins as the whole does, and ends as the whole."""
    growing = GrowingJSON()
    growing.feed(first)
    begun = growing.value
    assert begins(whole, begun)
    items = begun.get("items") if isinstance(begun, dict) else None
    if isinstance(items, list):
        closed = growing.closed(items)
        assert items[:closed] == whole["items"][:closed]
    growing.feed(rest)
    assert growing.finish() == whole


@pytest.mark.limit(300)
def test_a_stream_gives_the_whole_and_each_item_once(
    server: ScriptedServer, client: Client
) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(answers())
    def check(drawn: tuple[type, JSON, list[str]]) -> None:
        cls, value, pieces = drawn
        rest = threading.Event()
        *begun, last = chunks(pieces)
        server.always(answer([*begun, last]))
        # Little room, so that the consumer sees more than the whole.
        events = client.create_chat_completion(
            model="m", stream=True, response_format=cls, maxsize=1
        )
        before: Any = NOTHING
        for now in events.partials():
            assert begins(now, before)
            before = copy.deepcopy(now)
        assert before == value
        assert attrs.asdict(events.stream.parsed(cls)) == value

        server.always(answer([*begun, Wait(rest), last]))
        events = client.create_chat_completion(model="m", stream=True, response_format=cls)
        items = events.items("items")
        first = [next(items) for _ in value["items"]]  # the end is still to come
        rest.set()
        assert list(items) == []
        assert first == events.stream.parsed(cls).items

    check()
