"""The shapes that a class remembers: how many, in how many threads, and what events hold on to."""

from __future__ import annotations

import gc
import json
import random
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from openai_stream.models import (
    ChatCompletionChunk,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    Model,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    shapes,
)

_wire = Delta._wire


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    forget(Delta)
    yield
    forget(Delta)


def forget(cls: type[Model]) -> None:
    cls._wire.loads.clear()
    cls._wire.seen.clear()
    cls._wire.cell[0] = cls._wire.load


def test_a_shape_that_comes_often_is_written_out_once() -> None:
    d = {"content": "x", "a": 1}
    for _ in range(shapes.WRITE_AFTER - 1):
        Delta.from_dict(d)
    assert not _wire.loads
    Delta.from_dict(d)
    (load,) = _wire.loads.values()
    for _ in range(3):
        assert Delta.from_dict(d).to_dict() == d
        assert _wire.cell[0] is load
    assert list(_wire.loads.values()) == [load]
    assert not _wire.seen


def test_what_is_as_documented_never_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any) -> None:
        pytest.fail("the plain way was taken")

    token = {"token": "x", "logprob": -1, "bytes": [120], "top_logprobs": []}
    chunk = {
        "id": "x",
        "created": 1,
        "choices": [
            {"index": 0, "delta": {"content": "y"}, "logprobs": {"content": [token, token]}},
            {"index": 1, "delta": {"tool_calls": [{"index": 0}, {"index": 1}]}, "logprobs": None},
        ],
        "usage": {"total_tokens": 1},
        "unknown": [1],
    }
    monkeypatch.setattr(shapes, "WRITE_AFTER", 1)
    monkeypatch.setattr(shapes.Wire, "read", read)
    ours: list[type[Model]] = [
        ChatCompletionChunk,
        ChunkChoice,
        ChoiceLogprobs,
        Delta,
        TokenLogprob,
        ToolCallDelta,
        Usage,
    ]
    try:
        for cls in ours:
            forget(cls)
        assert ChatCompletionChunk.from_dict(chunk).to_dict() == chunk
    finally:
        for cls in ours:
            forget(cls)


def test_events_of_one_shape_share_it() -> None:
    events = [Delta.from_dict({"content": "x"}) for _ in range(40)]
    assert events[-1]._keys is events[-2]._keys


def test_the_fast_way_is_taken_again_after_another_shape() -> None:
    one, two = {"content": "x"}, {"role": "x"}
    for _ in range(shapes.WRITE_AFTER):
        for d in (one, two):
            assert Delta.from_dict(d).to_dict() == d
    assert len(_wire.loads) == 2
    Delta.from_dict(one)
    assert _wire.cell[0] is _wire.loads["content",]
    Delta.from_dict(two)
    assert _wire.cell[0] is _wire.loads["role",]


def test_a_server_of_ever_new_shapes_makes_memory_grow_only_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    d: dict[str, Any]
    for i in range(1000):
        d = {f"key {i}": i}
        assert Delta.from_dict(d).to_dict() == d
        assert len(_wire.seen) <= shapes.MAX_SHAPES
    assert not _wire.loads
    monkeypatch.setattr(shapes, "WRITE_AFTER", 1)
    for i in range(1000):
        d = {f"key {i}": i, "content": "x"}
        assert Delta.from_dict(d).to_dict() == d
        assert len(_wire.loads) <= shapes.MAX_SHAPES
    # And it goes on learning.
    Delta.from_dict({"content": "x"})
    assert ("content",) in _wire.loads


@pytest.mark.parametrize(
    "d", [{f"k{i}": i for i in range(65)}, {"x" * 2049: 1}], ids=["many keys", "a long key"]
)
def test_large_shapes_are_not_remembered(d: dict[str, Any]) -> None:
    for _ in range(40):
        assert Delta.from_dict(d).to_dict() == d
    assert not _wire.loads
    assert not _wire.seen


def test_largest_shapes_that_are_remembered() -> None:
    shapes: list[dict[str, Any]] = [{f"k{i}": i for i in range(64)}, {"x" * 2048: 1}]
    for d in shapes:
        for _ in range(40):
            assert Delta.from_dict(d).to_dict() == d
        assert tuple(d) in _wire.loads


def test_no_parsed_dict_is_held() -> None:
    text = json.dumps(
        {
            "id": "x",
            "choices": [{"index": 0, "delta": {"content": "y"}, "logprobs": None}],
            "usage": {"total_tokens": 1},
        }
    )
    for _ in range(40):
        event = ChatCompletionChunk.from_dict(json.loads(text))
        assert not [one for one in reachable(event) if isinstance(one, dict)]


def reachable(one: object) -> list[object]:
    found: dict[int, object] = {}
    todo = [one]
    while todo:
        one = todo.pop()
        if id(one) not in found and not isinstance(one, (type, types.ModuleType)):
            found[id(one)] = one
            todo += gc.get_referents(one)
    return list(found.values())


@pytest.mark.limit(120)
def test_many_threads_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Few shapes are remembered, so that they are forgotten and written out anew all the time.
    monkeypatch.setattr(shapes, "WRITE_AFTER", 2)
    monkeypatch.setattr(shapes, "MAX_SHAPES", 3)
    names = ["index", "delta", "finish_reason", "logprobs", "odd"]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311
        for i in range(1500):
            d: dict[str, Any] = dict.fromkeys(rng.sample(names, rng.randint(0, 5)))
            if "delta" in d:
                d["delta"] = {rng.choice(["content", "role", "x"]): rng.choice(["y", None, i])}
            try:
                if json.dumps(ChunkChoice.from_dict(d).to_dict()) != json.dumps(d):
                    wrong.append(d)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
