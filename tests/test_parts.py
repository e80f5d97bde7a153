"""``events.parts()``: typed pieces of an answer, of all three endpoints."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest
from reported.row import JSON, chunk

from openai_stream import (
    Client,
    StreamInterruptedError,
    StructuredOutputError,
)
from openai_stream.parts import Call, CallDelta, Finish, Part, Reasoning, Refusal, Text
from openai_stream.testing import Fin, Hang, Script, ScriptedServer, answer, frame

WAIT = 5.0
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}


def called(*fragments: JSON, finish: str | None = None) -> JSON:
    return chunk({"tool_calls": list(fragments)}, finish)


def fragment(arguments: Any, index: int = 0, **fields: Any) -> JSON:
    name = fields.pop("name", None)
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": index, "function": function, **fields}


def chat(client: Client, server: ScriptedServer, *script: Script, **body: Any) -> Any:
    server.play(*script)
    return client.create_chat_completion(model="m", messages=[], stream=True, **body)


def broken(chunks: list[JSON], how: Any) -> Script:
    """The events, and an end that is none."""
    return answer([*chunks, how], done=False)


def said(client: Client, server: ScriptedServer, *chunks: JSON) -> list[Part]:
    return list(chat(client, server, answer(list(chunks))).parts())


STOP = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")


# Chat --------------------------------------------------------------------------------------------


def test_gives_reasoning_text_and_the_finish(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client,
        server,
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm", "content": None}),
        chunk({"content": "a"}),
        chunk({"content": "b"}),
        STOP,
    )
    assert parts == [Reasoning("Hm"), Text("a"), Text("b"), Finish("stop")]


def test_gives_a_call_while_the_model_goes_on(client: Client, server: ScriptedServer) -> None:
    script = [
        called(fragment("", id="c1", name="weather")),
        called(fragment('{"city":')),
        called(fragment('"Oslo"}')),
    ]
    events = chat(client, server, broken(script, Hang()))
    found = events.parts()
    assert [next(found) for _ in range(3)] == [
        CallDelta(0, "c1", "weather", '{"city":'),
        CallDelta(0, "c1", None, '"Oslo"}'),
        Call(0, "c1", "weather", '{"city":"Oslo"}'),
    ]
    events.close()
    assert list(found) == []


def test_joins_a_name_before_it_gives_it(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client,
        server,
        called(fragment("", id="c1", name="wea")),
        called(fragment("", name="ther")),
        called(fragment("{}")),
        called(fragment('{"a": 1}')),
        CALLED,
    )
    assert parts == [
        CallDelta(0, "c1", "weather", '{"a": 1}'),
        Call(0, "c1", "weather", '{"a": 1}'),
        Finish("tool_calls"),
    ]


def test_gives_an_empty_object_at_the_finish_reason(client: Client, server: ScriptedServer) -> None:
    parts = said(client, server, called(fragment("{}", id="c1", name="now")), CALLED)
    assert parts == [
        CallDelta(0, "c1", "now", "{}"),
        Call(0, "c1", "now", "{}"),
        Finish("tool_calls"),
    ]


def test_gives_arguments_that_are_no_json_at_the_end(
    client: Client, server: ScriptedServer
) -> None:
    parts = said(client, server, called(fragment("city=Os", id="c1", name="now")), CALLED)
    assert parts[-2:] == [Call(0, "c1", "now", "city=Os"), Finish("tool_calls")]


def test_a_call_that_was_cut_is_not_given(client: Client, server: ScriptedServer) -> None:
    chunks = [
        called(fragment('{"a": 1}', id="c1", name="one"), fragment('{"b', 1, id="c2", name="two"))
    ]
    found = chat(client, server, broken(chunks, Fin())).parts()
    got = [next(found) for _ in range(3)]
    with pytest.raises(StreamInterruptedError):
        next(found)
    calls = [part for part in got if isinstance(part, Call)]
    assert calls == [Call(0, "c1", "one", '{"a": 1}')]


@pytest.mark.parametrize("how", ["close", "drain"])
def test_a_call_is_not_given_for_a_close(client: Client, server: ScriptedServer, how: str) -> None:
    chunks = [called(fragment('{"b', id="c2", name="two"))]
    events = chat(client, server, broken(chunks, Hang()))
    found = events.parts()
    assert next(found) == CallDelta(0, "c2", "two", '{"b')
    events.close(drain=how == "drain")
    assert list(found) == []
    events.close()


def test_arguments_that_are_an_object_become_text(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client, server, called(fragment({"city": "Tromsø"}, id="c1", name="weather")), CALLED
    )
    text = '{"city": "Tromsø"}'
    assert parts == [
        CallDelta(0, "c1", "weather", text),
        Call(0, "c1", "weather", text),
        Finish("tool_calls"),
    ]


def test_a_custom_tool_is_complete_at_the_end(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client,
        server,
        called({"index": 0, "id": "c1", "type": "custom", "custom": {"name": "run", "input": "a"}}),
        called({"index": 0, "custom": {"input": "{}"}}),
        CALLED,
    )
    assert parts == [
        CallDelta(0, "c1", "run", "a"),
        CallDelta(0, "c1", None, "{}"),
        Call(0, "c1", "run", "a{}"),
        Finish("tool_calls"),
    ]


def test_gives_the_function_call_of_old(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client,
        server,
        chunk({"function_call": {"name": "now", "arguments": '{"a"'}}),
        chunk({"function_call": {"arguments": ":1}"}}),
        chunk({}, "function_call"),
    )
    assert parts[1:] == [
        CallDelta(0, None, None, ":1}"),
        Call(0, None, "now", '{"a":1}'),
        Finish("function_call"),
    ]


def test_a_call_without_an_id_waits_for_it(client: Client, server: ScriptedServer) -> None:
    parts = said(
        client,
        server,
        called(fragment('{"a": 1}', name="now")),
        called(fragment("", id="late")),
        CALLED,
    )
    assert parts[-2:] == [Call(0, "late", "now", '{"a": 1}'), Finish("tool_calls")]


DETAIL = {"type": "reasoning.text", "format": "x", "index": 0}
BLOCK = {"type": "thinking"}


@pytest.mark.parametrize(
    "deltas",
    [
        [{"reasoning_content": "H"}, {"reasoning_content": "m"}],
        [{"reasoning": "H"}, {"reasoning": "m"}],
        [{"thinking": "H"}, {"thinking": "m"}],
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
            for piece in "Hm"
        ],
        [{"thinking_blocks": [{**BLOCK, "thinking": piece}]} for piece in "Hm"],
        [{"reasoning_details": [{**DETAIL, "text": piece}]} for piece in "Hm"],
        [{"reasoning": p, "reasoning_details": [{**DETAIL, "text": p}]} for p in "Hm"],
        [{"reasoning_content": p, "thinking_blocks": [{**BLOCK, "thinking": p}]} for p in "Hm"],
        [
            *({"thinking_blocks": [{**BLOCK, "thinking": piece}]} for piece in "Hm"),
            {"thinking_blocks": [{**BLOCK, "thinking": "Hm", "signature": "s"}]},
        ],
        [
            {"thinking_blocks": [{**BLOCK, "thinking": "H"}]},
            {"thinking_blocks": [{**BLOCK, "thinking": "H"}, {**BLOCK, "thinking": "m"}]},
        ],
    ],
)
def test_reads_every_spelling_of_reasoning_once(
    client: Client, server: ScriptedServer, deltas: list[JSON]
) -> None:
    parts = said(client, server, *map(chunk, deltas), chunk({"content": "a"}), STOP)
    assert parts == [Reasoning("H"), Reasoning("m"), Text("a"), Finish("stop")]


@pytest.mark.parametrize("blocks", [{"type": {}}, [[]], [{"type": []}, 1], {"text": {"text": 1}}])
def test_reasoning_without_a_text_is_none(
    client: Client, server: ScriptedServer, blocks: Any
) -> None:
    deltas = [{"reasoning_details": blocks}, {"thinking_blocks": blocks}, {"content": [blocks]}]
    assert said(client, server, *map(chunk, deltas), STOP) == [Finish("stop")]


def test_gives_arguments_nested_as_deep_as_json_may_be(
    client: Client, server: ScriptedServer
) -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"text": [deep]}
    *_, call, finish = said(
        client, server, chunk({"reasoning": deep}), called(fragment(deep, id="c", name="n")), CALLED
    )
    assert isinstance(call, Call)
    assert json.loads(call.arguments) == deep
    assert finish == Finish("tool_calls")


def test_joins_halves_of_characters(client: Client, server: ScriptedServer) -> None:
    pieces = ["a", "\ud83d", "\ude00é", "b\ud83d"]
    chunks = [json.dumps(chunk({"content": piece})) for piece in pieces]
    parts = list(chat(client, server, answer([*map(frame, chunks), STOP])).parts())
    assert parts == [Text("a"), Text("😀é"), Text("b"), Finish("stop"), Text("\ufffd")]


def test_gives_a_refusal(client: Client, server: ScriptedServer) -> None:
    parts = said(client, server, chunk({"refusal": "No"}), chunk({"refusal": "."}), STOP)
    assert parts == [Refusal("No"), Refusal("."), Finish("stop")]


def test_gives_what_a_whole_message_has(client: Client, server: ScriptedServer) -> None:
    message = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "Hm",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "now", "arguments": '{"a":1}'}}
        ],
    }
    whole = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    parts = said(client, server, {**chunk(), "choices": [whole]})
    assert parts == [
        Reasoning("Hm"),
        Text("a"),
        CallDelta(0, "c1", "now", '{"a":1}'),
        Call(0, "c1", "now", '{"a":1}'),
        Finish("tool_calls"),
    ]


def test_gives_the_choice_that_was_asked_for(client: Client, server: ScriptedServer) -> None:
    chunks = [
        chunk({"content": "a"}),
        chunk({"content": "b"}, index=1),
        chunk({}, "stop"),
        chunk({}, "length", index=1),
    ]
    events = chat(client, server, answer(chunks), n=2)
    assert list(events.parts(1)) == [Text("b"), Finish("length")]


# The other endpoints -----------------------------------------------------------------------------


def test_gives_the_parts_of_a_text_completion(client: Client, server: ScriptedServer) -> None:
    def piece(text: str, finish: str | None = None, **more: Any) -> JSON:
        choice = {"index": 0, "text": text, "finish_reason": finish, **more}
        return {"id": "c", "object": "text_completion", "choices": [choice]}

    server.play(answer([piece("", reasoning="Hm"), piece("a"), piece("b", "length")]))
    events = client.create_completion(model="m", prompt="", stream=True)
    assert list(events.parts()) == [Reasoning("Hm"), Text("a"), Text("b"), Finish("length")]


def respond(client: Client, server: ScriptedServer, *events: JSON) -> list[Part]:
    server.play(answer(list(events), done=False))
    return list(client.create_response(model="m", input="", stream=True).parts())


def event(kind: str, **fields: Any) -> JSON:
    return {"type": f"response.{kind}", **fields}


def end(status: str = "completed", **fields: Any) -> JSON:
    return event(status, response={"id": "r", "status": status, "output": [], **fields})


CALL_ITEM = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "now", "arguments": ""}


def test_gives_the_parts_of_a_response(client: Client, server: ScriptedServer) -> None:
    at = {"output_index": 0, "item_id": "rs", "summary_index": 0}
    here = {"output_index": 1, "item_id": "m", "content_index": 0}
    arguments = {"output_index": 2, "item_id": "f1"}
    parts = respond(
        client,
        server,
        event("reasoning_summary_text.delta", delta="H", **at),
        event("reasoning_summary_text.delta", delta="m", **at),
        event("reasoning_summary_text.done", text="Hm", **at),
        *(event("output_text.delta", delta=piece, **here) for piece in "abc"),
        event("output_text.done", text="abc", **here),
        event("refusal.delta", delta="No", **{**here, "content_index": 1}),
        event("output_item.added", output_index=2, item=CALL_ITEM),
        event("function_call_arguments.delta", delta='{"a"', **arguments),
        event("function_call_arguments.delta", delta=":1}", **arguments),
        event("function_call_arguments.done", arguments='{"a":1}', **arguments),
        event("output_item.done", output_index=2, item={**CALL_ITEM, "arguments": '{"a":1}'}),
        end(),
    )
    assert parts == [
        Reasoning("H"),
        Reasoning("m"),
        *(Text(piece) for piece in "abc"),
        Refusal("No"),
        CallDelta(0, "c1", "now", '{"a"'),
        CallDelta(0, "c1", None, ":1}"),
        Call(0, "c1", "now", '{"a":1}'),
        Finish("completed"),
    ]


def test_gives_items_that_come_whole(client: Client, server: ScriptedServer) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    custom = {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
    items = [thought, message, CALL_ITEM | {"arguments": "{}"}, custom]
    right = [
        Reasoning("Hm"),
        Text("a"),
        CallDelta(0, "c1", "now", "{}"),
        Call(0, "c1", "now", "{}"),
        CallDelta(1, "c2", "run", "ls"),
        Call(1, "c2", "run", "ls"),
        Finish("max_output_tokens"),
    ]
    cut = {"incomplete_details": {"reason": "max_output_tokens"}}
    done = [event("output_item.done", output_index=i, item=item) for i, item in enumerate(items)]
    for events in ([*done, end("incomplete", **cut)], [end("incomplete", output=items, **cut)]):
        assert respond(client, server, *events) == right


def test_a_tool_that_ran_at_the_server_is_no_call(client: Client, server: ScriptedServer) -> None:
    item = {"type": "mcp_call", "id": "x", "name": "search", "arguments": '{"a":1}'}
    assert respond(
        client,
        server,
        event("output_item.added", output_index=0, item={**item, "arguments": ""}),
        event("mcp_call_arguments.delta", output_index=0, item_id="x", delta='{"a":1}'),
        event("output_item.done", output_index=0, item=item),
        end(output=[item]),
    ) == [Finish("completed")]


@pytest.mark.parametrize("kind", [[], {}, 1, None])
def test_an_item_of_no_type_is_no_call(client: Client, server: ScriptedServer, kind: Any) -> None:
    item = {"type": kind, "id": "x", "arguments": '{"a":1}'}
    assert respond(
        client,
        server,
        event("output_item.added", output_index=0, item=item),
        event("function_call_arguments.delta", output_index=0, item_id="x", delta='{"a":1}'),
        event("output_item.done", output_index=0, item=item),
        end(output=[item]),
    ) == [Finish("completed")]


# The queue ---------------------------------------------------------------------------------------


def test_a_restart_before_the_first_part_begins_anew(
    client: Client, server: ScriptedServer
) -> None:
    cut = broken([called(fragment('{"', id="c0"))], Fin())
    whole = answer([chunk({"content": "a"}), STOP])
    events = chat(client, server, cut, whole, restarts=1)
    assert list(events.parts()) == [Text("a"), Finish("stop")]


def test_a_restart_after_a_part_raises(client: Client, server: ScriptedServer) -> None:
    cut = broken([chunk({"content": "a"})], Fin())
    parts = chat(client, server, cut, answer([STOP]), restarts=1).parts()
    assert next(parts) == Text("a")
    with pytest.raises(StreamInterruptedError):
        next(parts)


def test_a_second_consumer_is_refused_at_the_call(client: Client, server: ScriptedServer) -> None:
    events = chat(client, server, answer([STOP]))
    events.parts()
    for second in (events.parts, events.partials, lambda: events.items("a")):
        with pytest.raises(RuntimeError, match=r"subscribe\(\)"):
            second()


@pytest.mark.parametrize(
    ("choice", "error"), [("0", TypeError), (True, TypeError), (-1, ValueError)]
)
def test_a_wrong_choice_is_refused_at_the_call(
    client: Client, server: ScriptedServer, choice: Any, error: type[Exception]
) -> None:
    events = chat(client, server, answer([STOP]))
    with pytest.raises(error, match="choice"):
        events.parts(choice)
    with pytest.raises(error, match="call"):
        events.partials(call=choice)
    assert list(events.parts()) == [Finish("stop")]


def test_an_endpoint_without_parts_is_refused(client: Client, server: ScriptedServer) -> None:
    server.play(answer([{"a": 1}]))
    with pytest.raises(TypeError, match="loop over them"):
        client.stream("/any", {}).parts()


@pytest.mark.parametrize(
    "part",
    [
        Text("a"),
        Reasoning("a"),
        Refusal("a"),
        CallDelta(0, "c", None, "{"),
        Call(0, "c", "now", "{}"),
        Finish("stop"),
    ],
)
def test_a_part_is_immutable_and_can_be_pickled(part: Any) -> None:
    assert pickle.loads(pickle.dumps(part)) == part  # noqa: S301 - our own
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        part.text = "b"
    assert type(part).__module__ == "openai_stream.parts"
    assert not hasattr(part, "__dict__")


# partials(call=) ---------------------------------------------------------------------------------


def test_partials_gives_the_arguments_of_a_call(client: Client, server: ScriptedServer) -> None:
    value = {"city": "Oslo", "days": [1, 2]}
    text = json.dumps(value)
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    events = chat(
        client,
        server,
        answer(
            [
                called(fragment('{"x": 1}', id="c0", name="other")),
                called(fragment("", 1, id="c1", name="weather")),
                *(called(fragment(piece, 1)) for piece in pieces),
                CALLED,
            ]
        ),
    )
    *_, last = events.partials(call=1)
    assert last == value


def test_partials_of_a_call_that_never_came_raises(client: Client, server: ScriptedServer) -> None:
    events = chat(client, server, answer([chunk({"content": "a"}), STOP]))
    with pytest.raises(StructuredOutputError) as caught:
        list(events.partials(call=0))
    assert caught.value.reason == "invalid"


def test_partials_of_a_call_that_was_cut_raises(client: Client, server: ScriptedServer) -> None:
    events = chat(
        client,
        server,
        answer([called(fragment('{"a": [1, 2', id="c0", name="x")), chunk({}, "length")]),
    )
    values = events.partials(call=0)
    assert next(values)["a"][0] == 1
    with pytest.raises(StructuredOutputError) as caught:
        next(values)
    assert caught.value.reason == "length"
    assert caught.value.text == '{"a": [1, 2'


def test_a_call_that_was_cut_is_not_given_to_who_subscribes_later(
    client: Client, server: ScriptedServer
) -> None:
    pieces = [called(fragment('{"a": [1, 2', id="c0", name="x"))]
    events = chat(client, server, broken(pieces, Hang()), replay=True)
    stream = events.stream
    events.get()
    early = stream.subscribe()
    stream.close()
    for queue in (early, stream.subscribe()):
        assert list(queue.parts()) == [CallDelta(0, "c0", "x", '{"a": [1, 2')]
