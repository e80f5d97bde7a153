"""Answers that are not what was asked for, read while they come: each is told, none looks whole."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import pytest

from openai_stream import Client, StructuredOutputError
from openai_stream.parts import Call, Finish
from openai_stream.testing import ScriptedServer, answer, chat_chunks

JSON = dict[str, Any]


@attrs.define
class Zoo:
    animals: list[str]
    is_open: bool = True


def chunks(*deltas: JSON, finish: str = "stop") -> list[JSON]:
    first, *_, last = chat_chunks("x")
    last = copy.deepcopy(last)
    last["choices"][0]["finish_reason"] = finish
    made = [
        {**first, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    return [first, *made, last]


def said(text: str) -> list[JSON]:
    return chunks(*({"content": text[at : at + 4]} for at in range(0, len(text), 4)))


def ask(server: ScriptedServer, client: Client, script: list[JSON], **arguments: Any) -> Any:
    server.play(answer(script))
    return client.create_chat_completion(model="m", messages=[], stream=True, **arguments)


@pytest.mark.parametrize(
    ("script", "last", "reason"),
    [
        (said('{"animals": ["cat", "do'), {"animals": ["cat", "do"]}, "invalid"),
        (said('{"animals": ["cat"],, "is_open": true}'), {"animals": ["cat"]}, "invalid"),
        (said('{"animals": []} and more'), {"animals": []}, "invalid"),
        (said("Sure! Here it is"), None, "invalid"),
        (chunks({"refusal": "I "}, {"refusal": "will not."}), None, "refusal"),
        (chunks({"content": '{"animals'}, finish="content_filter"), None, "content_filter"),
    ],
    ids=["ends", "breaks", "goes on", "is text", "is a refusal", "is filtered"],
)
def test_partials_give_what_came_then_raise(
    server: ScriptedServer, client: Client, script: list[JSON], last: Any, reason: str
) -> None:
    events = ask(server, client, script, response_format=Zoo)
    seen: list[Any] = []
    with pytest.raises(StructuredOutputError) as caught:
        seen.extend(map(copy.deepcopy, events.partials()))
    assert caught.value.reason == reason
    if last is not None:
        assert seen[-1] == last
    with pytest.raises(StructuredOutputError):
        events.stream.parsed(Zoo)


def test_of_repeated_keys_the_last_wins(server: ScriptedServer, client: Client) -> None:
    events = ask(server, client, said('{"animals": ["cat"], "animals": ["dog"]}'))
    assert list(events.partials())[-1] == {"animals": ["dog"]}
    assert events.stream.parsed(Zoo) == Zoo(["dog"])


@pytest.mark.parametrize("text", ['["cat"]', '{"animals": {}}', '{"animals": [1]}', "{}", "null"])
def test_what_is_not_of_the_class_is_an_error(
    server: ScriptedServer, client: Client, text: str
) -> None:
    events = ask(server, client, said(text), response_format=Zoo)
    list(events.partials())  # it is JSON
    with pytest.raises(StructuredOutputError) as caught:
        events.stream.parsed()
    assert caught.value.reason == "invalid"
    assert caught.value.text == text


def test_a_list_where_an_object_should_be_has_no_items(
    server: ScriptedServer, client: Client
) -> None:
    events = ask(server, client, said('["cat"]'), response_format=Zoo)
    with pytest.raises(StructuredOutputError, match="no list 'animals'"):
        list(events.items("animals"))


def test_two_partials_at_once_are_refused(server: ScriptedServer, client: Client) -> None:
    events = ask(server, client, said('{"animals": []}'))
    first = events.partials()
    for other in (events.partials, events.parts, lambda: events.items("animals")):
        with pytest.raises(RuntimeError, match=r"subscribe\(\)"):
            other()
    assert list(first)[-1] == {"animals": []}


@pytest.mark.parametrize("arguments", ['{"city": Oslo}', '{"city": "Os', "Oslo", "", "[1]"])
def test_a_call_whose_arguments_are_not_an_object_comes_at_the_end(
    server: ScriptedServer, client: Client, arguments: str
) -> None:
    function = {"name": "get_weather", "arguments": arguments}
    call = {"index": 0, "id": "c1", "type": "function", "function": function}
    script = chunks({"tool_calls": [call]}, {"content": "Done."}, finish="tool_calls")
    parts = list(ask(server, client, script).parts())
    assert parts[-2:] == [Call(0, "c1", "get_weather", arguments), Finish("tool_calls")]
