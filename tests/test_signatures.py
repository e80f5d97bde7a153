"""One list of arguments: what a call takes, what ``help()`` shows, and what type checkers see."""

from __future__ import annotations

import inspect
import pydoc
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest

import openai_stream
from openai_stream import AzureClient, Client, signatures
from openai_stream.arguments import STREAM_ARGUMENTS
from openai_stream.testing import ScriptedServer, json_answer

CALLS = {
    signatures.CreateChatCompletion: (
        openai_stream.create_chat_completion,
        Client.create_chat_completion,
        AzureClient.create_chat_completion,
    ),
    signatures.CreateCompletion: (
        openai_stream.create_completion,
        Client.create_completion,
        AzureClient.create_completion,
    ),
    signatures.CreateResponse: (openai_stream.create_response, Client.create_response),
}
FUNCTIONS = [functions[0] for functions in CALLS.values()]
METHODS = [method for _, *methods in CALLS.values() for method in methods]


def names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_each_argument_by_keyword(function: Callable[..., Any]) -> None:
    *keywords, body = inspect.signature(function).parameters.values()
    assert {parameter.kind for parameter in keywords} == {inspect.Parameter.KEYWORD_ONLY}
    assert body.kind is inspect.Parameter.VAR_KEYWORD
    assert {parameter.name for parameter in keywords} == {*STREAM_ARGUMENTS, "stream", "client"}
    # Python 3.14 shows an argument a line.
    assert "on_next=None, on_done=None" in " ".join(pydoc.render_doc(function).split())


@pytest.mark.parametrize("method", METHODS)
def test_methods_take_no_client(method: Callable[..., Any]) -> None:
    assert [name for name in names(openai_stream.create_response) if name != "client"] == [
        name for name in names(method) if name != "self"
    ]


def test_a_bound_method_has_no_self() -> None:
    client = Client(api_key="k")
    assert names(client.create_response)[0] == "stream"
    assert names(client.stream)[:2] == ["path", "body"]
    assert set(names(client.stream)[2:]) == STREAM_ARGUMENTS


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing does not keep overloads")
@pytest.mark.parametrize("kind", [*CALLS, signatures.StreamAny])
def test_type_checkers_see_the_same_arguments(kind: Any) -> None:
    seen: set[str] = set()
    get_overloads: Any = vars(typing)["get_overloads"]  # from Python 3.11 on
    # It looks them up by these two; a class keeps a stand-in for its last overload.
    call = types.SimpleNamespace(
        __module__=kind.__module__, __qualname__=f"{kind.__qualname__}.__call__"
    )
    for overload in get_overloads(call):
        *own, rest = inspect.signature(overload).parameters.values()
        unpacked = getattr(signatures, rest.annotation.removeprefix("Unpack[").removesuffix("]"))
        seen |= {parameter.name for parameter in own} | unpacked.__optional_keys__
    assert seen >= STREAM_ARGUMENTS
    body = {"messages", "prompt", "input", "model"} & seen
    assert body or kind is signatures.StreamAny


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("maxsise", "maxsize"),
        ("max_size", "maxsize"),
        ("on_nxt", "on_next"),
        ("on_err", "on_error"),
        ("time_out", "timeout"),
        ("steam", "stream"),
        ("restart", "restarts"),
        ("extra_header", "extra_headers"),
    ],
)
def test_says_what_was_meant(server: ScriptedServer, client: Client, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no argument '{name}': did you mean '{meant}'"):
        client.create_chat_completion(model="m", **{name: 1})  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=f"no argument '{name}': did you mean '{meant}'"):
        client.stream("/x", {}, **{name: 1})  # type: ignore[call-overload]
    assert server.requests == []


def test_sends_fields_that_only_look_alike(server: ScriptedServer, client: Client) -> None:
    fields = {"stream_options": {}, "store": True, "tags": ["a"], "top_k": 5, "input_query": "x"}
    server.play(json_answer({"choices": []}))
    client.create_chat_completion(
        model="m",
        **fields,
        extra_body={"on_nxt": 2},  # type: ignore[call-overload]
    )
    (request,) = server.requests
    assert request.json == {"model": "m", **fields, "on_nxt": 2}
