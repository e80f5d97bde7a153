"""What is sent, and what is refused before that."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable
from typing import Any

import pytest
from asking import CHUNKS, GOOD, KEY, WHOLE, ask, client_of

from openai_stream import (
    AzureClient,
    Client,
    ConfigurationError,
    StreamDecodeError,
)
from openai_stream.testing import (
    ScriptedServer,
    answer,
    head,
)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda client: client.stream("/x", {}, temperature=1, model="m"),
            TypeError,
            "stream() takes no argument 'model': put it into the body",
        ),
        (lambda client: client.stream(5, {}), TypeError, "path must be a string, not 5"),
        (
            lambda client: client.stream("/x", [1], extra_body={"a": 1}),
            TypeError,
            "extra_body cannot be added to a list",
        ),
        (
            lambda client: AzureClient("k", client.base_url).create_completion(prompt="p"),
            ConfigurationError,
            "model must be the name of the Azure deployment, not None",
        ),
        (
            pickle.dumps,
            TypeError,
            "a client has a key and open connections, and cannot be pickled",
        ),
    ],
)
def test_what_a_call_that_cannot_be_is_told(
    server: ScriptedServer,
    client: Client,
    call: Callable[[Client], Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error) as caught:
        call(client)
    assert str(caught.value) == said
    assert server.connections == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff{}", "the server's answer is not UTF-8: invalid start byte"),
        (
            b"<html>\n" + b"x" * 50,
            "the server's answer is not JSON; it begins with '<html> "
            + "x" * 32
            + "…': is the base URL right?",
        ),
        (b"[1]", "the server's answer is JSON, but not an object"),
        (
            b'{"a": "' + b"x" * 993,
            "the server's answer is longer than 999 bytes; if such answers are to be expected, "
            "raise max_event_bytes",
        ),
    ],
    ids=["no UTF-8", "no JSON", "no object", "too long"],
)
def test_what_an_answer_that_cannot_be_is_called(
    server: ScriptedServer, body: bytes, said: str
) -> None:
    server.play([head(headers={"Content-Length": str(len(body))}), body])
    with client_of(server, max_event_bytes=999) as client, pytest.raises(StreamDecodeError) as told:
        ask(client)
    assert str(told.value) == f"{server.base_url}/chat/completions: {said}"


STREAMING: dict[str, Any] = {
    "on_next": print,
    "on_done": print,
    "on_error": print,
    "stream_close": True,
    "maxsize": 1,
    "queue": queue.Queue(),
    "tag": "t",
    "restarts": 1,
    "nowait": True,
    "replay": True,
}


@pytest.mark.parametrize("name", STREAMING)
def test_streaming_arguments_without_stream(
    server: ScriptedServer, client: Client, name: str
) -> None:
    methods: list[Any] = [client.create_chat_completion, client.create_completion]
    for method in methods:
        for given in ({}, {"stream": False}):
            with pytest.raises(TypeError, match=name):
                method(model="m", **given, **{name: STREAMING[name]})
    assert server.connections == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"on_next": print, "queue": queue.Queue()}, "on_next.*queue"),
        ({"on_next": print, "maxsize": 1}, "maxsize"),
        ({"on_next": print, "stream_close": True}, "stream_close"),
        ({"queue": queue.Queue(), "maxsize": 1}, "maxsize"),
        ({"queue": queue.Queue(), "stream_close": True}, "stream_close"),
        ({"tag": "t"}, "tag"),
        ({"tag": "t", "on_next": print}, "tag"),
        ({"replay": True, "maxsize": 1}, "replay.*maxsize|maxsize.*replay"),
        ({"on_next": 5}, "on_next"),
        ({"on_done": "print"}, "on_done"),
        ({"on_error": []}, "on_error"),
        ({"maxsize": "1"}, "maxsize"),
        ({"queue": []}, "queue"),
        ({"restarts": -1}, "restarts"),
        ({"extra_headers": "X: y"}, "extra_headers"),
        ({"extra_query": "a=b"}, "extra_query"),
        ({"extra_body": "{}"}, "extra_body"),
        ({"extra_body": [("a", 1)]}, "extra_body"),
        ({"stream": 1}, "stream"),
        ({"stream": "yes"}, "stream"),
        ({"stream": None}, "stream"),
    ],
)
def test_arguments_that_do_not_go_together(
    server: ScriptedServer, client: Client, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        ask(client, **{"stream": True, **arguments})
    assert server.connections == []


def test_defaults_may_be_given_without_stream(server: ScriptedServer, client: Client) -> None:
    server.play(GOOD)
    ask(
        client,
        on_next=None,
        on_done=None,
        on_error=None,
        stream_close=False,
        maxsize=0,
        queue=None,
        tag=None,
        restarts=0,
        nowait=False,
        replay=False,
        timeout=None,
        extra_headers=None,
        extra_query=None,
        extra_body=None,
    )
    assert server.requests[0].json == {"model": "m", "messages": []}


@pytest.mark.parametrize("value", [0, -1, "5", True, float("nan"), object(), [1]])
def test_a_bad_timeout(server: ScriptedServer, client: Client, value: Any) -> None:
    for stream in (True, False):
        with pytest.raises((ConfigurationError, TypeError), match="timeout"):
            ask(client, stream=stream, timeout=value)
    assert server.connections == []


def circle() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        object(),
        float("nan"),
        float("-inf"),
        [{"a": float("inf")}],
        {"a": {"b": {3}}},
        {(1, 2): 3},
        circle(),
        deep(),
        print,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_that_json_cannot_carry(
    server: ScriptedServer, client: Client, value: Any, stream: bool
) -> None:
    with pytest.raises(ConfigurationError, match="metadata"):
        ask(client, stream=stream, temperature=1, metadata=value, n=2)
    with pytest.raises(ConfigurationError, match="metadata"):
        ask(client, stream=stream, extra_body={"metadata": value})
    assert server.connections == []


def test_the_request_of_a_stream(server: ScriptedServer) -> None:
    server.play(answer(CHUNKS))
    with client_of(
        server,
        organization="org-1",
        project="proj-1",
        headers={"X-Client": "1", "X-Both": "client"},
    ) as client:
        messages = [{"role": "user", "content": "Grüße 🌍\u2028\x00"}]
        list(
            client.create_chat_completion(  # type: ignore[call-overload]
                model="gpt-4o-mini",
                messages=messages,
                stream=True,
                temperature=0.5,
                user=None,  # which the API does not know, but is sent all the same
                tools=[],
                extra_headers={"X-Call": "2", "x-both": "call", "User-Agent": "mine"},
            )
        )
    (request,) = server.requests
    assert request.method == "POST"
    assert request.target == "/v1/chat/completions"
    assert request.json == {
        "model": "gpt-4o-mini",
        "messages": messages,
        "temperature": 0.5,
        "user": None,
        "tools": [],
        "stream": True,
    }
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": f"Bearer {KEY}",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
        "user-agent": "mine",
        "x-client": "1",
        "x-call": "2",
        "x-both": "call",
    }


def test_the_request_without_stream(server: ScriptedServer, client: Client) -> None:
    server.play(GOOD)
    client.create_completion(model="m", prompt=["a", "b"])
    (request,) = server.requests
    assert request.target == "/v1/completions"
    assert request.json == {"model": "m", "prompt": ["a", "b"]}
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("openai-stream")
    assert not {"openai-organization", "openai-project"} & request.headers.keys()


def test_headers_can_be_taken_away(server: ScriptedServer) -> None:
    server.play(GOOD, GOOD)
    with client_of(server, headers={"X-A": "1", "User-Agent": None}) as client:
        ask(client)
        ask(client, extra_headers={"x-a": None, "ACCEPT": None})
    first, second = server.requests
    assert first.headers["x-a"] == "1"
    assert "x-a" not in second.headers
    assert "openai-stream" not in first.headers.get("user-agent", "")
    assert second.headers.get("accept") != "application/json"


def test_an_authorization_of_the_users_own(server: ScriptedServer, client: Client) -> None:
    server.play(GOOD)
    ask(client, extra_headers={"authorization": "Custom 1"})
    assert server.requests[0].headers["authorization"] == "Custom 1"


@pytest.mark.parametrize(
    ("base", "query", "target"),
    [
        ("/v1", None, "/v1/chat/completions"),
        ("/v1/", None, "/v1/chat/completions"),
        ("/v1//", None, "/v1/chat/completions"),
        ("", None, "/chat/completions"),
        ("/", None, "/chat/completions"),
        ("/a%20b/v1", None, "/a%20b/v1/chat/completions"),
        ("/v1?key=a+b", None, "/v1/chat/completions?key=a+b"),
        ("/v1?a=1&b=", {"c": 2}, "/v1/chat/completions?a=1&b=&c=2"),
        (
            "/v1",
            {"a": "ä &=?#/", "b": [1, 2]},
            "/v1/chat/completions?a=%C3%A4+%26%3D%3F%23%2F&b=1&b=2",
        ),
        ("/v1", {"a": None, "b": ""}, "/v1/chat/completions?b="),
        ("/v1", {}, "/v1/chat/completions"),
    ],
)
def test_urls(server: ScriptedServer, base: str, query: Any, target: str) -> None:
    server.play(GOOD)
    root = server.base_url.removesuffix("/v1")
    with client_of(server, base_url=root + base) as client:
        ask(client, extra_query=query)
    assert server.requests[0].target == target


def test_extra_body(server: ScriptedServer, client: Client) -> None:
    server.play(GOOD, GOOD)
    ask(client, seed=1, extra_body={"timeout": 5, "queue": "q", "seed": 2, "on_next": None})
    assert server.requests[0].json == {
        "model": "m",
        "messages": [],
        "timeout": 5,
        "queue": "q",
        "seed": 2,
        "on_next": None,
    }


def test_what_was_returned_can_be_sent_again(server: ScriptedServer, client: Client) -> None:
    server.always(GOOD)
    whole = ask(client)
    ask(client, messages=[{"role": "user", "content": "x"}, whole.choices[0].message])
    (_, request) = server.requests
    assert request.json["messages"][1] == WHOLE["choices"][0]["message"]  # type: ignore[index]
