"""The classes as Python objects: not to be changed, made by hand, compared, copied, shown."""

from __future__ import annotations

import copy
import json
import pickle
import weakref
from typing import Any

import attrs
import pytest

from openai_stream import models
from openai_stream.models import (
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Completion,
    CompletionChoice,
    Delta,
    Message,
    Model,
    Response,
    ResponseEvent,
    ServerEvent,
    ToolCallDelta,
    Usage,
)

WIRE = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "delta": {"content": "x", "tool_calls": None}, "odd": [1]}],
    "usage": None,
    "created": 1.5,
}


def wire() -> ChatCompletionChunk:
    return ChatCompletionChunk.from_dict(json.loads(json.dumps(WIRE)))


# -- not to be changed ----------------------------------------------------------------------------


@pytest.mark.parametrize("event", [wire(), ChatCompletionChunk(id="x"), ServerEvent()])
@pytest.mark.parametrize("name", ["id", "usage", "_keys", "_rest", "extra", "new"])
def test_attributes_cannot_be_set(event: Any, name: str) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, name, "x")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        delattr(event, name)


def test_parts_cannot_be_set_either() -> None:
    for _ in range(40):  # in the fast way of reading too
        part = wire().choices[0].delta
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            part.content = "y"  # type: ignore[misc]


def test_the_lists_that_stand_for_missing_ones_cannot_be_changed() -> None:
    for missing in (Delta().tool_calls, wire().choices[0].delta.tool_calls):
        call: Any = ToolCallDelta()
        with pytest.raises(TypeError, match=r"^an event's lists .* list of your own from it$"):
            missing.append(call)
        with pytest.raises(TypeError):
            missing.extend([call])
        with pytest.raises(TypeError):
            missing.insert(0, call)
        with pytest.raises(TypeError):
            missing[:] = [call]
        with pytest.raises(TypeError):
            missing += [call]
        assert Delta().tool_calls == []
        assert [*missing, 1] == [1]
        assert json.dumps(missing) == "[]"
        assert pickle.loads(pickle.dumps(missing)) is missing  # noqa: S301
        assert copy.copy(missing) is missing


@pytest.mark.parametrize("name", models.__all__)
def test_every_class_is_slotted_attrs_and_documented(name: str) -> None:
    cls = getattr(models, name)
    assert cls.__doc__
    if cls is not Model:
        assert attrs.has(cls)
        assert not hasattr(cls.__new__(cls), "__dict__")
        assert weakref.ref(instance := cls.__new__(cls))() is instance
        assert not {"_keys", "_rest", "extra"} & {a.name for a in attrs.fields(cls)}


# -- made by hand ---------------------------------------------------------------------------------


def test_made_by_hand_holds_what_is_given() -> None:
    event = ChatCompletionChunk(
        id="x", choices=[ChunkChoice(index=0, delta=Delta(content="y", refusal=None))]
    )
    assert event.to_dict() == {"id": "x", "choices": [{"index": 0, "delta": {"content": "y"}}]}
    assert event.usage is None
    assert event.choices[0].delta.tool_calls == []
    assert ChatCompletionChunk(choices=[]).to_dict() == {"choices": []}
    assert ChatCompletionChunk().to_dict() == {}
    assert ChatCompletionChunk().choices == []
    assert ChunkChoice(delta=Delta()).to_dict() == {"delta": {}}
    assert ChunkChoice().to_dict() == {}
    assert type(ChunkChoice().delta) is Delta
    assert type(Choice().message) is Message


def test_arguments_go_by_keyword_only() -> None:
    with pytest.raises(TypeError):
        Delta("assistant")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Delta(extra={})  # type: ignore[call-arg]


def test_made_by_hand_of_anything() -> None:
    given: Any = [{"a": [1]}, Delta(content="x"), 1]
    event = ChatCompletionChunk(choices=given, id=given[0], usage=given[0])
    assert event.to_dict() == {"id": {"a": [1]}, "choices": [{"a": [1]}, {"content": "x"}, 1],
                               "usage": {"a": [1]}}  # fmt: skip
    event.to_dict()["id"]["a"].append(2)
    event.to_dict()["usage"]["a"].append(2)
    assert given[0] == {"a": [1]}


def test_evolve_changes_what_to_dict_gives() -> None:
    event = wire()
    changed = attrs.evolve(event, id="y")
    assert type(changed) is ChatCompletionChunk
    assert changed.id == "y"
    assert changed.to_dict() == {
        "id": "y",
        "choices": [{"index": 0, "delta": {"content": "x", "tool_calls": None}, "odd": [1]}],
    }
    assert event.to_dict() == WIRE
    # What was missing, or null, is still no list and no object.
    assert attrs.evolve(event.choices[0].delta, content="z").to_dict() == {"content": "z"}
    for d in ({}, {"delta": None}):
        assert attrs.evolve(ChunkChoice.from_dict(d), index=1).to_dict() == {"index": 1}
    assert attrs.evolve(Delta(content="x")) == Delta(content="x")


def test_asdict_sees_the_documented_fields_only() -> None:
    d = attrs.asdict(wire())
    assert set(d) == {a.name for a in attrs.fields(ChatCompletionChunk)}
    (choice,) = d["choices"]
    assert choice["index"] == 0
    assert "odd" not in choice
    assert choice["delta"]["content"] == "x"
    assert d["created"] is None
    assert choice["delta"]["tool_calls"] == []
    choice["delta"]["tool_calls"].append(1)  # it is the caller's own
    assert Delta().tool_calls == []


# -- compared, copied -----------------------------------------------------------------------------


def test_equality() -> None:
    assert wire() == wire()
    assert Delta(content="x") == Delta.from_dict({"content": "x"})
    assert Delta(content="x") != Delta.from_dict({"content": "x", "role": None})
    assert Delta.from_dict({"content": "x", "a": 1}) != Delta.from_dict({"content": "x"})
    assert Delta.from_dict({"a": 1, "b": 2}) == Delta.from_dict({"b": 2, "a": 1})
    assert ChatCompletion() != ChatCompletionChunk()
    assert Delta(content="x") != {"content": "x"}
    assert (Delta() == 1) is False
    with pytest.raises(TypeError):
        hash(Delta())


@pytest.mark.parametrize(
    "event",
    [
        wire(),
        ChatCompletionChunk(id="x", choices=[ChunkChoice(delta=Delta(content="y"))]),
        Completion.from_dict({"choices": [{"text": "x", "odd": None}]}),
        Response.from_dict({"output": [{"type": "message"}], "model": 5}),
        ResponseEvent.from_dict({"delta": {"stdout": "x"}}),
        ServerEvent("delta", {"a": [1]}, "7"),
    ],
)
def test_pickle_and_copy_lose_nothing(event: Any) -> None:
    def text(one: Any) -> str:
        return json.dumps(one.data if isinstance(one, ServerEvent) else one.to_dict())

    again = [pickle.loads(pickle.dumps(event, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]  # noqa: S301
    for other in [*again, copy.copy(event), copy.deepcopy(event)]:
        assert type(other) is type(event)
        assert other == event
        assert text(other) == text(event)
        assert repr(other) == repr(event)


# -- shown ----------------------------------------------------------------------------------------


def test_repr_in_a_loop() -> None:
    event = ChatCompletionChunk.from_dict(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1678534999,
            "model": "gpt-4o-mini",
            "service_tier": "default",
            "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "delta": {"content": "The"}, "finish_reason": None}],
            "usage": None,
            "obfuscation": "x",
        }
    )
    assert repr(event) == (
        "ChatCompletionChunk(id='chatcmpl-1', "
        "choices=[ChunkChoice(index=0, delta=Delta(content='The'))])"
    )
    assert repr(ChunkChoice.from_dict({"delta": {}, "finish_reason": "stop"})) == (
        "ChunkChoice(finish_reason='stop')"
    )
    assert repr(Delta.from_dict({"content": "", "reasoning": "hm", "role": 3})) == (
        "Delta(content='', extra={'reasoning': 'hm'})"
    )
    assert (
        repr(ChunkChoice.from_dict({"delta": {"a": 1}}))
        == "ChunkChoice(delta=Delta(extra={'a': 1}))"
    )
    assert repr(Usage(total_tokens=0)) == "Usage(total_tokens=0)"
    assert repr(Delta()) == "Delta()"
    assert repr(Delta.from_dict({"role": 3})) == "Delta()"


def test_repr_of_much_is_short() -> None:
    long = "x" * 1000
    assert repr(Delta(content=long)) == f"Delta(content='{'x' * 59}…')"
    assert repr(Delta(content="x" * 60)) == f"Delta(content='{'x' * 60}')"
    many = Completion(choices=[CompletionChoice(index=i) for i in range(1000)])
    assert repr(many).endswith("CompletionChoice(index=3), …])")
    few = Completion(choices=[CompletionChoice(index=i) for i in range(4)])
    assert repr(few).endswith("CompletionChoice(index=3)])")
    much: dict[str, Any] = {long: [{"a": {}, "b": [], "c": [{}]}] * 9} | {
        str(i): i for i in range(1000)
    }
    assert len(repr(Response(output=[much, much], instructions=long, tools=[much]))) < 1000
    assert len(repr(Delta.from_dict(much))) < 1000
    assert repr(ServerEvent("e", much)).endswith(", …})")


def test_server_event() -> None:
    event = ServerEvent("delta", {"a": 1}, "7")
    assert (event.event, event.data, event.id) == ("delta", {"a": 1}, "7")
    assert repr(event) == "ServerEvent(event='delta', data={'a': 1}, id='7')"
    assert event == ServerEvent(event="delta", data={"a": 1}, id="7")
    assert event != ServerEvent("delta", {"a": 1})
    assert repr(ServerEvent()) == "ServerEvent(event='message', data=None)"
    assert repr(ServerEvent(data=[[1], [[1]]])) == "ServerEvent(event='message', data=[[1], [[…]]])"
    assert event.id == "7"
