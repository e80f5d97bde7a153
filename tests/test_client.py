"""Clients: what is sent where, what is refused before that, retries, and what stays secret."""

from __future__ import annotations

import email.utils
import itertools
import json
import logging
import pickle
import queue
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
import trustme
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    AzureClient,
    BadRequestError,
    ChatCompletion,
    Client,
    ConfigurationError,
    ConflictError,
    EventQueue,
    InternalServerError,
    NotFoundError,
    OpenAIStreamError,
    PermissionDeniedError,
    RateLimitError,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    UnprocessableEntityError,
    attempts,
)
from openai_stream.testing import (
    Answer,
    Fin,
    Handshake,
    Hang,
    Repeat,
    Reset,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    chunk,
    error_answer,
    head,
    json_answer,
    refused_url,
)

KEY = 'sk-proj-9f"8e7d6c5b/4a+3'
CHUNKS = chat_chunks("Hello big world")
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "custom": [1]},
            "finish_reason": "stop",
        }
    ],
}
GOOD = json_answer(WHOLE)
NO_WAIT = {"retry-after-ms": "1"}


def client_of(server: ScriptedServer, **arguments: Any) -> Client:
    given = {"api_key": KEY, "base_url": server.base_url, "max_retries": 0, **arguments}
    return Client(**given)


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with client_of(server) as made:
        yield made


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(**{"model": "m", "messages": [], **arguments})


def stream(client: Client, **arguments: Any) -> Any:
    return ask(client, stream=True, **arguments)


# Constructor and environment -----------------------------------------------------------------


def test_what_a_client_is_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    client = Client()
    assert client.api_key == KEY
    assert client.base_url == "https://api.openai.com/v1"
    assert client.organization is None
    assert client.project is None
    assert client.timeout == Timeout(connect=10, idle=120, gap=600, total=None)
    assert client.max_retries == 2
    assert client.max_event_bytes == 32 * 1024 * 1024
    assert client.headers is None
    assert client.session is None
    assert client.trace is None


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("api_key", ["OPENAI_API_KEY"]),
        ("base_url", ["OPENAI_BASE_URL", "OPENAI_API_ENDPOINT"]),
        ("organization", ["OPENAI_ORG_ID", "OPENAI_ORGANIZATION"]),
        ("project", ["OPENAI_PROJECT_ID"]),
    ],
)
def test_environment(monkeypatch: pytest.MonkeyPatch, attribute: str, names: list[str]) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "fallback")
    scheme = "http://" if attribute == "base_url" else ""
    for number, name in reversed(list(enumerate(names))):
        monkeypatch.setenv(name, f"{scheme}value-{number}")
        assert getattr(Client(), attribute) == f"{scheme}value-{number}"
    given: Any = {attribute: f"{scheme}given"}
    assert getattr(Client(**given), attribute) == f"{scheme}given"
    if len(names) > 1:  # one that is empty is not set
        monkeypatch.setenv(names[0], "")
        assert getattr(Client(), attribute) == f"{scheme}value-1"


def test_the_arguments_in_their_order(server: ScriptedServer) -> None:
    def trace(request: Any, response: Any) -> None:
        pass

    with requests.Session() as session:
        client = Client(
            "k", "http://h", "o", "p", Timeout(idle=1), 3, 4, {"A": "b"}, session, trace
        )
        assert (client.api_key, client.base_url) == ("k", "http://h")
        assert (client.organization, client.project) == ("o", "p")
        assert client.timeout == Timeout(idle=1)
        assert (client.max_retries, client.max_event_bytes) == (3, 4)
        assert client.headers == {"A": "b"}
        assert client.session is session
        assert client.trace is trace


def test_a_number_as_timeout_is_idle() -> None:
    assert Client("k", timeout=5).timeout == Timeout(idle=5)
    assert Client("k", timeout=None).timeout == Timeout(connect=None, idle=None, gap=None)
    with pytest.raises(ConfigurationError, match="timeout"):
        Client("k", timeout=-1)


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_for_openai(key: str | None) -> None:
    for base_url in (None, "https://api.openai.com/v1", "https://API.openai.com/"):
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
            Client(api_key=key, base_url=base_url)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.usefixtures("netrc")
def test_no_key_for_another_server(server: ScriptedServer, key: str | None) -> None:
    server.play(GOOD)
    with client_of(server, api_key=key) as client:
        ask(client)
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080/v1",
        "127.0.0.1:8080",
        "//localhost/v1",
        "/v1",
        "ftp://localhost/v1",
        "file:///etc/passwd",
        "http:///v1",
        "http://",
        "http://[::1/v1",
        "http://local host/v1",
        "http://localhost/v 1",
        "http://localhost/v1\n",
        "http://localhost\r\nX: y/v1",
        "http://localhost:0/v1",
        "http://localhost:99999/v1",
        "http://localhost:port/v1",
        "http://*/v1",
        "http://.localhost/v1",
        "http://%zz/v1",
        "http://\u2028/v1",
        b"http://localhost/v1",
        5,
    ],
)
def test_a_bad_url(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        Client(api_key=KEY, base_url=url)


def test_a_url_with_a_password_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in ("http://user:hidden-1@localhost/v1", "http://hidden-1@localhost/v1"):
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            Client(api_key=KEY, base_url=url)
        assert "hidden-1" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http:/user:hidden-1@localhost")
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        Client(api_key=KEY)
    assert "hidden-1" not in str(caught.value)


BAD_VALUES = [
    "se-cret\n",
    "se-cret\r\nX-Other: y",
    "\nse-cret",
    "se-cret\x00",
    "se-cret\x7f",
    " se-cret",
    "se-cret ",
    "se-cret\u20ac",
    "se-cret\udc80",
    b"se-cret",
    5,
]


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("name", ["api_key", "organization", "project"])
def test_values_that_no_header_can_carry(name: str, value: Any) -> None:
    arguments: Any = {"api_key": "k", name: value}
    with pytest.raises(ConfigurationError, match=name) as caught:
        Client(**arguments)
    assert "se-cret" not in "".join(traceback.format_exception(caught.value))


def test_a_bad_value_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "se-cret\n")
    with pytest.raises(ConfigurationError, match="api_key has a line break"):
        Client()


BAD_HEADERS: list[Any] = [
    *({"X-A": value} for value in BAD_VALUES),
    {"X A": "v"},
    {"X-A:": "v"},
    {"X-A\r\nX-B": "v"},
    {"": "v"},
    {"Xä": "v"},
    {5: "v"},
]


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_bad_headers(server: ScriptedServer, client: Client, headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="headers") as caught:
        client_of(server, headers=headers)
    assert "se-cret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="extra_headers") as caught:
        ask(client, extra_headers=headers)
    assert "se-cret" not in str(caught.value)
    assert server.connections == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("headers", ["X: y", [("X", "y")], 5]),
        ("max_retries", [-1, 1.5, True, "2", None]),
        ("max_event_bytes", [0, -1, 1.5, True, "2", None]),
        ("timeout", [0, -1, "5", True, float("nan"), object()]),
    ],
)
def test_other_bad_arguments(name: str, values: list[Any]) -> None:
    for value in values:
        arguments: Any = {"api_key": "k", name: value}
        with pytest.raises(ConfigurationError, match=name):
            Client(**arguments)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            Client,
            "no API key: set the environment variable OPENAI_API_KEY, or pass api_key=…",
        ),
        (
            lambda: AzureClient(api_key="k"),
            "no endpoint: set the environment variable AZURE_OPENAI_ENDPOINT, or pass "
            "endpoint='https://….openai.azure.com'",
        ),
        (
            lambda: AzureClient(endpoint="http://localhost"),
            "no API key: set the environment variable AZURE_OPENAI_API_KEY, or pass api_key=… or "
            "azure_ad_token=…",
        ),
        (
            lambda: AzureClient(endpoint="http://localhost", azure_ad_token=5),  # type: ignore[arg-type]
            "azure_ad_token must be a string or a function that returns one",
        ),
        (
            lambda: Client(api_key="k", max_retries=-1),
            "max_retries must be an int of at least 0: -1",
        ),
        (
            lambda: Client(api_key="k", max_event_bytes=0),
            "max_event_bytes must be an int of at least 1: 0",
        ),
    ],
)
def test_what_a_client_that_cannot_be_is_told(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == said


def test_the_least_that_may_be() -> None:
    least = Client(api_key="k", max_retries=0, max_event_bytes=1)
    assert (least.max_retries, least.max_event_bytes) == (0, 1)


# Bad calls -----------------------------------------------------------------------------------


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
            "a client has a key and open connections, and is not to be pickled",
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
        (b"[1]", "the server's answer is JSON, but no object"),
        (b'{"a": "' + b"x" * 993, "the server's answer is longer than 999 bytes"),
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


# What is sent --------------------------------------------------------------------------------


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


# Statuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIStatusError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (408, APIStatusError),
        (409, ConflictError),
        (418, APIStatusError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, InternalServerError),
        (503, InternalServerError),
        (504, InternalServerError),
        (529, InternalServerError),
        (599, InternalServerError),
    ],
)
def test_a_status_is_an_error(
    server: ScriptedServer,
    client: Client,
    status: int,
    error: type[APIStatusError],
    streams: bool,
) -> None:
    server.play(
        error_answer(
            status,
            "Not like that.",
            code="some_code",
            type="some_type",
            headers={"X-Request-ID": "req_1", "X-Other": "y"},
        )
    )
    with pytest.raises(error) as caught:
        ask(client, stream=streams)
    told = caught.value
    assert type(told) is error
    assert told.status_code == status
    assert told.body == {
        "error": {
            "message": "Not like that.",
            "type": "some_type",
            "param": None,
            "code": "some_code",
        }
    }
    assert told.code == "some_code"
    assert told.type == "some_type"
    assert told.request_id == "req_1"
    assert told.headers["x-other"] == "y"
    for part in (str(status), "Not like that.", "some_code", "req_1", server.base_url):
        assert part in str(told)
    copy = pickle.loads(pickle.dumps(told))  # noqa: S301 - our own
    assert type(copy) is error
    assert str(copy) == str(told)
    assert (copy.status_code, copy.body, copy.code, copy.type) == (
        status,
        told.body,
        "some_code",
        "some_type",
    )
    assert dict(copy.headers) == dict(told.headers)


@pytest.mark.parametrize(
    ("body", "said", "code", "type_", "parsed"),
    [
        (b'{"error": "a text"}', "a text", None, None, {"error": "a text"}),
        (b'{"detail": "a detail"}', "a detail", None, None, {"detail": "a detail"}),
        (
            b'{"object": "error", "message": "of vLLM", "type": "BadRequest", "code": 400}',
            "of vLLM",
            "400",
            "BadRequest",
            {"object": "error", "message": "of vLLM", "type": "BadRequest", "code": 400},
        ),
        (b'{"error": {"message": 5, "code": 7}}', "400", "7", None,
         {"error": {"message": 5, "code": 7}}),
        (b"[1, 2]", "400", None, None, [1, 2]),
        (b"plain text", "plain text", None, None, "plain text"),
        (b"<html>  <h1>Bad\n\nGateway</h1>", "400 Bad Request", None, None, None),
        (b"\xff\xfe", "400", None, None, "\ufffd\ufffd"),
        (b"[" * 100_000, "400", None, None, None),
        (b"", "400 Bad Request", None, None, None),
        (b"x" * 5000, "xxx", None, None, "x" * 5000),
    ],
)  # fmt: skip
def test_the_bodies_of_errors(
    server: ScriptedServer,
    client: Client,
    body: bytes,
    said: str,
    code: str | None,
    type_: str | None,
    parsed: Any,
) -> None:
    server.play([head(400, {"Content-Length": str(len(body))}) + body])
    with pytest.raises(BadRequestError) as caught:
        ask(client)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    assert caught.value.code == code
    assert caught.value.type == type_
    if parsed is not None or not body:
        assert caught.value.body == parsed
    assert caught.value.request_id is None


def test_hints(server: ScriptedServer, client: Client) -> None:
    for status, hint in ((401, "key"), (404, "base URL"), (429, "limits")):
        server.play(error_answer(status, "no"))
        with pytest.raises(APIStatusError, match=hint):
            ask(client)
    server.play(error_answer(400, "Unknown parameter: stream_options"))
    with pytest.raises(BadRequestError, match="leave it out"):
        stream(client, stream_options={"include_usage": True})


@pytest.mark.parametrize(
    "rest",
    [[Fin()], [Reset()], [b"\x1f", Fin()]],
    ids=["FIN", "RST", "cut"],
)
def test_the_status_is_told_though_its_body_does_not_come(
    server: ScriptedServer, client: Client, rest: Any
) -> None:
    server.play([head(403, {"Content-Length": "100"}), *rest])
    with pytest.raises(PermissionDeniedError):
        ask(client)


def test_a_huge_body_of_an_error_is_not_read_to_its_end(
    server: ScriptedServer, client: Client
) -> None:
    server.play([head(403, {"Content-Length": str(10**9)}), *[b"x" * 2**20] * 40, Hang()])
    start = time.monotonic()
    with pytest.raises(PermissionDeniedError):
        ask(client)
    assert time.monotonic() - start < 2 + HELD_UP
    assert server.connections[0].closed.wait(SOON)


def test_a_body_of_an_error_that_trickles_is_not_read_to_its_end(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_ERROR_BODY_SECONDS", 0.2)
    server.play([head(403, {"Content-Length": "1000"}), Repeat(b"no ", delay=0.02)])
    start = time.monotonic()
    with pytest.raises(PermissionDeniedError, match="no no no"):
        ask(client)
    assert 0.2 <= time.monotonic() - start < 0.7 + HELD_UP
    assert server.connections[0].closed.wait(SOON)


def test_errors_under_nowait_are_the_streams(server: ScriptedServer, client: Client) -> None:
    server.play(error_answer(401, "no"))
    events = stream(client, nowait=True)
    with pytest.raises(AuthenticationError):
        events.get(timeout=SOON)
    with pytest.raises(AuthenticationError):
        events.stream.result(SOON)
    told: list[BaseException] = []
    server.play(error_answer(401, "no"))
    handle = stream(client, nowait=True, on_next=print, on_error=told.append)
    assert isinstance(handle.exception(SOON), AuthenticationError)
    assert told == [handle.exception()]


# Retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_statuses_that_are_retried(server: ScriptedServer, status: int, streams: bool) -> None:
    server.play(
        error_answer(status, "later", headers=NO_WAIT),
        error_answer(status, "later", headers=NO_WAIT),
        answer(CHUNKS) if streams else GOOD,
    )
    with client_of(server, max_retries=2) as client:
        got = ask(client, stream=streams, metadata={"a": "b"})
        assert len(list(got)) == len(CHUNKS) if streams else got.to_dict() == WHOLE
    first, second, third = server.requests
    assert first.body == second.body == third.body
    assert first.headers == second.headers == third.headers
    assert len(server.connections) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 501, 505])
def test_statuses_that_are_not(server: ScriptedServer, status: int) -> None:
    server.play(error_answer(status, "never", headers=NO_WAIT))
    with client_of(server, max_retries=2) as client, pytest.raises(APIStatusError):
        ask(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_max_retries(server: ScriptedServer, retries: int) -> None:
    server.always(error_answer(503, "later", headers=NO_WAIT))
    with client_of(server, max_retries=retries) as client, pytest.raises(InternalServerError):
        stream(client)
    assert len(server.requests) == retries + 1


@pytest.mark.parametrize(("wish", "status", "tries"), [("true", 400, 3), ("false", 500, 1)])
def test_x_should_retry(server: ScriptedServer, wish: str, status: int, tries: int) -> None:
    server.always(error_answer(status, "no", headers={**NO_WAIT, "X-Should-Retry": wish}))
    with client_of(server, max_retries=2) as client, pytest.raises(APIStatusError):
        ask(client)
    assert len(server.requests) == tries


def waited(server: ScriptedServer) -> list[float]:
    times = [request.received_at for request in server.requests]
    return [b - a for a, b in itertools.pairwise(times)]


def test_backoff(server: ScriptedServer) -> None:
    server.play(error_answer(500, "later"), error_answer(500, "later"), GOOD)
    with client_of(server, max_retries=2) as client:
        ask(client)
    first, second = waited(server)
    assert 0.37 < first < 0.8 * HELD_UP
    assert 0.74 < second < 1.4 * HELD_UP


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "0"}, 0, 0.2),
        ({"Retry-After": "1"}, 1, 1.4),
        ({"Retry-After": "30", "retry-after-ms": "100"}, 0.1, 0.3),
        ({"Retry-After": "0", "retry-after-ms": "soon"}, 0, 0.2),
        ({"Retry-After": "0", "retry-after-ms": "-5"}, 0, 0.2),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.37, 0.8),
        ({"Retry-After": "nan"}, 0.37, 0.8),
        ({"Retry-After": "-10"}, 0.37, 0.8),
        ({"Retry-After": "inf"}, 0.37, 0.8),
        ({"retry-after-ms": "nan", "Retry-After": "inf"}, 0.37, 0.8),
        ({"retry-after-ms": "-10"}, 0.37, 0.8),
        ({"Retry-After": "soon"}, 0.37, 0.8),
        ({"Retry-After": ""}, 0.37, 0.8),
    ],
)
def test_retry_after(
    server: ScriptedServer, headers: dict[str, str], least: float, most: float
) -> None:
    server.play(error_answer(429, "later", headers=headers), GOOD)
    with client_of(server, max_retries=1) as client:
        ask(client)
    (between,) = waited(server)
    assert least <= between < most


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("61", 61, 61),
        ("100000", 100_000, 100_000),
        ("a date", 500, 600),
    ],
)
def test_a_long_retry_after_is_not_waited_for(
    server: ScriptedServer, value: str, least: float, most: float
) -> None:
    if value == "a date":
        value = email.utils.formatdate(time.time() + 600, usegmt=True)
    server.play(error_answer(429, "later", headers={"Retry-After": value}))
    start = time.monotonic()
    with client_of(server, max_retries=2) as client, pytest.raises(RateLimitError) as caught:
        ask(client)
    assert time.monotonic() - start < 0.5 + HELD_UP
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most
    assert len(server.requests) == 1


def test_a_retry_after_of_a_minute_is_waited_for(server: ScriptedServer) -> None:
    server.play(error_answer(429, "later", headers={"Retry-After": "60"}))
    with client_of(server, max_retries=2) as client, pytest.raises(APITimeoutError, match="total"):
        ask(client, timeout=Timeout(total=0.3))


def test_retry_after_is_told(server: ScriptedServer, client: Client) -> None:
    for headers, expected in (({"Retry-After": "7"}, 7), (NO_WAIT, 0.001), ({}, None)):
        server.play(error_answer(429, "later", headers=headers))
        with pytest.raises(RateLimitError) as caught:
            ask(client)
        assert caught.value.retry_after == expected


def test_a_close_wakes_the_wait_between_retries(server: ScriptedServer) -> None:
    server.play(error_answer(500, "later", headers={"Retry-After": "50"}))
    with client_of(server, max_retries=2) as client:
        events = stream(client, nowait=True)
        server.wait_for_requests(1)
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert events.stream.cancelled()
    # That no thread is left is looked at after each test.


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("when", ["before the request", "after it", "in the headers"])
def test_connections_that_break_before_the_response_are_retried(
    server: ScriptedServer, end: Any, when: str
) -> None:
    if when == "before the request":
        server.on_connect([end])
        server.play(answer(CHUNKS))
    else:
        server.play([b"HTTP/1.1 200 OK\r\nX: " if when == "in the headers" else b"", end])
        server.play(answer(CHUNKS))
    with client_of(server, max_retries=1) as client:
        assert len(list(stream(client))) == len(CHUNKS)
    assert len(server.connections) == 2


def test_a_stall_before_the_response_is_retried(server: ScriptedServer) -> None:
    server.play([Hang()], answer(CHUNKS))
    with client_of(server, max_retries=1) as client:
        assert len(list(stream(client, timeout=0.2))) == len(CHUNKS)


def test_a_refused_connection_is_retried() -> None:
    attempts: list[Any] = []
    with refused_url() as url:
        client = Client(
            KEY, url, max_retries=1, trace=lambda request, response: attempts.append(response)
        )
        start = time.monotonic()
        with pytest.raises(APIConnectionError, match="refused") as caught:
            stream(client)
    assert attempts == [None, None]
    assert 0.37 < time.monotonic() - start < 1.5 + HELD_UP
    assert isinstance(caught.value.__cause__, requests.RequestException)
    assert not isinstance(caught.value, TimeoutError)


def test_nothing_is_retried_after_the_response_began(server: ScriptedServer) -> None:
    server.play([*answer(CHUNKS)[:1], Reset()], answer(CHUNKS))
    with client_of(server, max_retries=2) as client, pytest.raises(StreamInterruptedError):
        list(stream(client))
    assert len(server.requests) == 1


def test_all_addresses_of_a_name_are_tried(server: ScriptedServer) -> None:
    # Where "localhost" is ::1 too, nobody listens there.
    server.play(GOOD)
    with client_of(server, base_url=f"http://localhost:{server.port}/v1") as client:
        assert ask(client).to_dict() == WHOLE
    with refused_url() as url, pytest.raises(APIConnectionError, match="refused"):
        ask(Client(KEY, url.replace("127.0.0.1", "localhost"), max_retries=0))


def test_a_name_that_does_not_exist() -> None:
    client = Client(KEY, "http://does-not-exist.invalid/v1", max_retries=0)
    with pytest.raises(APIConnectionError, match=r"does-not-exist\.invalid"):
        ask(client)


# Redirects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own_session", [True, False])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: ScriptedServer, status: int, own_session: bool) -> None:
    with ScriptedServer() as other, requests.Session() as session:
        other.always(answer(CHUNKS))
        target = f"{other.base_url}/elsewhere?token=abc"
        server.always([head(status, {"Location": target, "Content-Length": "0"})])
        given = None if own_session else session
        with client_of(server, max_retries=2, session=given) as client:
            for streams in (True, False):
                with pytest.raises(APIConnectionError, match="redirect") as caught:
                    ask(client, stream=streams)
                assert f"127.0.0.1:{other.port}/v1/elsewhere" in str(caught.value)
                assert "abc" not in str(caught.value)
        assert other.connections == []
    assert len(server.requests) == 2


def test_the_body_of_a_redirect_is_not_waited_for(server: ScriptedServer, client: Client) -> None:
    server.play([head(302, {"Location": "http://elsewhere/", "Content-Length": "9"}), Hang()])
    start = time.monotonic()
    with pytest.raises(APIConnectionError, match="redirect"):
        stream(client)
    assert time.monotonic() - start < 0.5 + HELD_UP
    assert server.connections[0].client_closed.wait(SOON)


# Secrets -------------------------------------------------------------------------------------


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for each host, in both of the places where ``requests`` looks."""
    for name in (".netrc", "netrc"):
        file = tmp_path / name
        file.write_text("machine 127.0.0.1 login me password pw\ndefault login me password pw\n")
        file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("own_session", [True, False])
def test_netrc_is_ignored(server: ScriptedServer, own_session: bool) -> None:
    server.always(GOOD)
    with requests.Session() as session:
        session.get(server.base_url)  # the file is one that requests reads
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        given = None if own_session else session
        with client_of(server, session=given) as client:
            ask(client)
        with client_of(server, session=given, api_key=None) as client:
            ask(client)
    _, with_key, without = server.requests
    assert with_key.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in without.headers


ECHOES: dict[str, Answer] = {
    "an error status": error_answer(401, f"Incorrect API key provided: {KEY}.", code=KEY),
    "an error of text": [head(500, {"Content-Length": "99"}), f"no: Bearer {KEY}".encode(), Fin()],
    "a redirect": [head(302, {"Location": f"http://h/{KEY}", "Content-Length": "0"})],
    "an error in the stream": answer([{"error": {"message": f"bad key {KEY}", "code": KEY}}]),
    "an error event": answer([f"event: error\ndata: bad key {KEY}\n\n".encode()]),
    "rubbish": answer([f"data: {KEY}\n\n".encode()]),
    "a page": answer([f"<html>{KEY}".encode()], done=False),
    "JSON": json_answer({"error": {"message": f"bad key {KEY}"}}),
    "a cut stream": [*answer([f": {KEY}\n\n".encode()])[:2], Reset()],
    "no HTTP": [f"{KEY}\r\n\r\n".encode(), Fin()],
    "a bad chunk": [head(200, {"Transfer-Encoding": "chunked"}), f"{KEY}\r\n".encode()],
    "a bad length": [f"HTTP/1.1 200 OK\r\nContent-Length: 1, {KEY}\r\n\r\n".encode(), Fin()],
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("streams", [True, False])
def test_the_key_shows_nowhere(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, echo: str, streams: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(ECHOES[echo])
    with client_of(server) as client:
        with pytest.raises(OpenAIStreamError) as caught:
            ask(client, stream=streams).stream.result(SOON)
        assert KEY not in repr(client)
    error = caught.value
    escaped = json.dumps(KEY)[1:-1]
    for text in (
        str(error),
        repr(error),
        "".join(traceback.format_exception(error)),
        repr({name: value for name, value in vars(error).items() if name != "headers"}),
        caplog.text,
        repr([record.__dict__ for record in caplog.records]),
    ):
        assert KEY not in text
        assert escaped not in text
    pickled = pickle.dumps(error.with_traceback(None))
    assert KEY.encode() not in pickled


def test_the_key_shows_not_in_what_goes_well(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(answer(CHUNKS), GOOD)
    with client_of(server, headers={"X-Api-Key": "se-cret"}) as client:
        events = stream(client)
        items = list(events)
        whole = ask(client)
        shown = [client, events, events.stream, events.stream.stats, items, whole]
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    for text in (*map(repr, shown), *map(str, shown), caplog.text):
        assert KEY not in text
        assert "se-cret" not in text
    assert KEY.encode() not in pickle.dumps([items, whole])


@pytest.mark.parametrize("key", ["x", "none", "e", "code", "error"])
def test_a_key_that_is_none_does_not_spoil_messages(server: ScriptedServer, key: str) -> None:
    server.play(error_answer(400, "There is an exceptional encoder.", code="exact"))
    with client_of(server, api_key=key) as client, pytest.raises(BadRequestError) as caught:
        ask(client)
    assert "There is an exceptional encoder." in str(caught.value)
    assert caught.value.code == "exact"


def test_a_client_is_not_pickled(client: Client) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="key"):
            pickle.dumps(client, protocol)


# Trace ---------------------------------------------------------------------------------------


def test_trace_is_called_once_an_attempt(server: ScriptedServer) -> None:
    calls: list[tuple[requests.PreparedRequest, requests.Response | None]] = []
    server.play(error_answer(503, "later", headers=NO_WAIT), [Reset()], answer(CHUNKS), GOOD)
    with client_of(
        server,
        max_retries=2,
        trace=lambda request, response: calls.append((request, response)),
    ) as client:
        events = stream(client)
        assert len(calls) == 3
        list(events)
        ask(client)
    assert len(calls) == 4
    assert [getattr(response, "status_code", None) for _, response in calls] == [
        503,
        None,
        200,
        200,
    ]
    for request, _ in calls:
        assert isinstance(request, requests.PreparedRequest)
        assert request.url == f"{server.base_url}/chat/completions"


def test_an_exception_of_trace_is_the_calls(server: ScriptedServer) -> None:
    class Mine(Exception):
        pass

    def trace(request: Any, response: Any) -> None:
        raise Mine

    server.always(answer(CHUNKS))
    with client_of(server, trace=trace) as client:
        with pytest.raises(Mine):
            stream(client)
        events = stream(client, nowait=True)
        with pytest.raises(Mine):
            events.get(timeout=SOON)
        for connection in server.connections:
            assert connection.closed.wait(SOON)


# A session that is given ---------------------------------------------------------------------


class Counting(requests.adapters.HTTPAdapter):
    """A user's own adapter."""

    sent = 0

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent += 1
        return super().send(*args, **kwargs)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


def test_a_session_is_used_as_it_is_and_not_closed(
    server: ScriptedServer, session: requests.Session
) -> None:
    adapter = Counting()
    session.mount("http://", adapter)
    session.headers["X-Session"] = "1"
    session.params = {"a": "b"}
    server.play(answer(CHUNKS), GOOD, answer(CHUNKS))
    with client_of(server, session=session) as client:
        events = stream(client)
        assert [event.to_dict() for event in events] == CHUNKS
        assert events.stream.result(SOON).choices[0].message.content == "Hello big world"
        assert ask(client).to_dict() == WHOLE
    assert session.post(server.base_url, data=b"x").status_code == 200  # still open
    assert adapter.sent == 3
    for request in server.requests:
        assert request.headers["x-session"] == "1"
        assert request.query == {"a": "b"}
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_sessions_own_auth(server: ScriptedServer, session: requests.Session) -> None:
    session.auth = ("me", "pw")
    server.always(GOOD)
    with client_of(server, session=session, api_key=None) as client:
        ask(client)
    with client_of(server, session=session) as client:
        ask(client)
    without, with_key = server.requests
    assert without.headers["authorization"].startswith("Basic ")
    assert with_key.headers["authorization"] == f"Bearer {KEY}"


def test_a_header_of_the_session_that_cannot_be(
    server: ScriptedServer, session: requests.Session
) -> None:
    session.headers["X-Session"] = "a\nb"
    with client_of(server, session=session) as client, pytest.raises(ConfigurationError):
        ask(client)
    assert server.connections == []


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_stream_over_a_session_is_stopped_while_it_reads(
    server: ScriptedServer, session: requests.Session, framing: Any
) -> None:
    script = answer([CHUNKS[0], CHUNKS[1]], framing=framing, done=False)
    script = script[:-1] if framing == "chunked" else script
    if framing == "length":
        script[0] = script[0].replace(b"Content-Length: ", b"Content-Length: 9")  # type: ignore[union-attr]
    server.play([*script, Hang()], answer(CHUNKS))
    with client_of(server, session=session) as client:
        events = stream(client)
        events.get(timeout=SOON)
        events.get(timeout=SOON)
        start = time.monotonic()
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert server.connections[0].client_closed.wait(SOON)
        assert time.monotonic() - start < 0.5 + HELD_UP
        assert len(list(stream(client))) == len(CHUNKS)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_deadlines_over_a_session(
    server: ScriptedServer, session: requests.Session, framing: Any
) -> None:
    with client_of(server, session=session) as client:
        for timeout in (Timeout(idle=0.3), Timeout(gap=0.3), Timeout(total=0.3)):
            server.play([*answer(CHUNKS[:1], framing=framing)[:2], Hang()])
            start = time.monotonic()
            events = stream(client, timeout=timeout)
            events.get(timeout=SOON)
            with pytest.raises(StreamTimeoutError):
                events.get(timeout=SOON)
            assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP
            server.play([Hang()])
            start = time.monotonic()
            with pytest.raises(APITimeoutError):
                stream(client, timeout=timeout)
            assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP


def test_keep_alives_over_a_session_are_no_events(
    server: ScriptedServer, session: requests.Session
) -> None:
    keep_alives = Repeat(chunk(b": keep-alive\n\n"), delay=0.05)
    server.play([*answer(CHUNKS[:1])[:2], keep_alives])
    with client_of(server, session=session, timeout=Timeout(idle=SOON, gap=0.3)) as client:
        events = stream(client)
        events.get(timeout=SOON)
        start = time.monotonic()
        with pytest.raises(StreamTimeoutError, match=r"no event for 0\.3 s"):
            events.get(timeout=SOON)
        assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP


def test_faults_over_a_session(server: ScriptedServer, session: requests.Session) -> None:
    with client_of(server, session=session) as client:
        server.play([*answer(CHUNKS[:2])[:3], Reset()])
        with pytest.raises(StreamInterruptedError):
            list(stream(client))
        server.play(answer([CHUNKS[0], "nonsense"]))
        with pytest.raises(StreamDecodeError):
            list(stream(client))
        server.play([Reset()])
        with pytest.raises(APIConnectionError):
            stream(client)
        server.play(error_answer(404, "no"))
        with pytest.raises(NotFoundError):
            stream(client)


# Proxies -------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        yield made


def proxied(monkeypatch: pytest.MonkeyPatch, proxy: ScriptedServer) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://me:pass%20word%2F1@127.0.0.1:{proxy.port}")
        monkeypatch.delenv(name.lower(), raising=False)


PASSWORDS = ("pass%20word%2F1", "pass word/1")


def assert_no_password(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    text = "".join(traceback.format_exception(error)) + repr(vars(error)) + caplog.text
    for password in (*PASSWORDS, KEY):
        assert password not in text


def test_a_forward_proxy(proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied(monkeypatch, proxy)
    proxy.play(answer(CHUNKS), answer(CHUNKS), [*answer(CHUNKS[:1])[:2], Hang()])
    with Client(KEY, "http://far.invalid/v1", max_retries=0) as client:
        for _ in range(2):
            assert [event.to_dict() for event in stream(client)] == CHUNKS
        assert len(proxy.connections) == 1
        assert proxy.requests[0].target == "http://far.invalid/v1/chat/completions"
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        events = stream(client)
        events.get(timeout=SOON)
        events.close()  # a stop goes through a proxy too
        assert proxy.connections[0].client_closed.wait(SOON)


def test_deadlines_go_through_a_proxy(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    proxy.always([*answer([])[:1], Hang()])
    start = time.monotonic()
    with (
        Client(KEY, "http://far.invalid/v1", max_retries=0) as client,
        pytest.raises(StreamTimeoutError),
    ):
        list(stream(client, timeout=0.3))
    assert 0.3 <= time.monotonic() - start < 0.8 + HELD_UP


def test_no_proxy(
    server: ScriptedServer, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.play(GOOD)
    with client_of(server) as client:
        ask(client)
    assert proxy.connections == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("refusal", [403, 407, 502, "RST", "FIN", "rubbish"])
def test_a_proxy_that_refuses(
    proxy: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    refusal: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxied(monkeypatch, proxy)
    scripts: dict[Any, Script] = {"RST": [Reset()], "FIN": [Fin()], "rubbish": [b"no\r\n", Fin()]}
    proxy.always(scripts.get(refusal) or error_answer(refusal, "the proxy says pass%20word%2F1"))
    with (
        Client(KEY, f"{scheme}://far.invalid/v1", max_retries=0) as client,
        pytest.raises((APIConnectionError, APIStatusError)) as caught,
    ):
        stream(client)
    assert isinstance(caught.value, APIConnectionError) or scheme == "http"
    assert "far.invalid" in str(caught.value)
    assert_no_password(caught.value, caplog)


def test_no_proxy_there(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            port = bound.getsockname()[1]
            monkeypatch.setenv(name, f"http://me:pass%20word%2F1@127.0.0.1:{port}")
        for scheme in ("http", "https"):
            client = Client(KEY, f"{scheme}://far.invalid/v1", max_retries=0)
            with pytest.raises(APIConnectionError, match="proxy") as caught:
                stream(client)
            assert_no_password(caught.value, caplog)


@pytest.mark.parametrize("value", ["http://me:pass%20word%2F1@/", "nonsense://me:pass word/1@h:1"])
def test_a_bad_proxy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTP_PROXY", value)
    client = Client(KEY, "http://far.invalid/v1", max_retries=0)
    with pytest.raises((ConfigurationError, APIConnectionError)) as caught:
        stream(client)
    assert_no_password(caught.value, caplog)


def test_a_stalling_proxy_counts_as_connecting(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    proxy.always([Hang()])
    start = time.monotonic()
    with (
        Client(KEY, "https://far.invalid/v1", max_retries=0) as client,
        pytest.raises(APITimeoutError, match="no connection within"),
    ):
        stream(client, timeout=Timeout(connect=0.3))
    assert 0.3 <= time.monotonic() - start < 0.8 + HELD_UP


def test_a_close_wakes_a_reader_that_waits_for_a_proxy(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    proxy.always([Hang()])
    with Client(KEY, "https://far.invalid/v1", max_retries=0) as client:
        events = stream(client, nowait=True)
        (request,) = proxy.wait_for_requests(1)
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert request.connection.client_closed.wait(SOON)


# TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[ScriptedServer]:
    with ScriptedServer(ssl_context=context_for(authority, "127.0.0.1")) as made:
        yield made


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_tls(secure: ScriptedServer, framing: Any) -> None:
    secure.always(answer(CHUNKS, framing=framing))
    with client_of(secure) as client:
        assert secure.base_url.startswith("https://")
        for _ in range(3):
            events = stream(client)
            assert [event.to_dict() for event in events] == CHUNKS
            assert events.stream.stats.connect_seconds is not None
    assert len(secure.connections) == (3 if framing == "close" else 1)


@pytest.mark.usefixtures("trusted")
def test_large_answers_over_tls(secure: ScriptedServer) -> None:
    chunks = chat_chunks(["x" * 100_000] * 20)
    secure.play(answer(chunks, events_per_chunk=7))
    with client_of(secure) as client:
        assert [event.to_dict() for event in stream(client)] == chunks


@pytest.mark.usefixtures("trusted")
def test_large_requests_over_tls(secure: ScriptedServer) -> None:
    secure.play(GOOD)
    with client_of(secure) as client:
        ask(client, messages=["x" * 3_000_000])
    assert len(secure.requests[0].body) > 3_000_000


def assert_refused(secure: ScriptedServer) -> None:
    attempts: list[Any] = []
    start = time.monotonic()
    with (
        client_of(
            secure, max_retries=2, trace=lambda request, response: attempts.append(response)
        ) as client,
        pytest.raises(APIConnectionError, match=r"(?i)certificate") as caught,
    ):
        stream(client)
    assert attempts == [None]
    assert time.monotonic() - start < 1 + HELD_UP
    assert isinstance(caught.value.__cause__, requests.exceptions.SSLError)
    assert secure.requests == []


def test_an_untrusted_certificate_is_not_retried(secure: ScriptedServer) -> None:
    assert_refused(secure)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(authority: trustme.CA) -> None:
    with ScriptedServer(ssl_context=context_for(authority, "example.org")) as secure:
        assert_refused(secure)


@pytest.mark.usefixtures("trusted")
def test_no_tls_on_the_other_side(server: ScriptedServer) -> None:
    server.on_connect([b"HTTP/1.1 400 Bad Request\r\n\r\n", Fin()])
    url = server.base_url.replace("http:", "https:")
    with (
        client_of(server, base_url=url) as client,
        pytest.raises(APIConnectionError, match="TLS") as caught,
    ):
        stream(client)
    assert isinstance(caught.value.__cause__, requests.exceptions.SSLError)


@pytest.mark.usefixtures("trusted")
def test_a_stop_in_the_handshake(server: ScriptedServer) -> None:
    server.on_connect([Hang()])
    url = server.base_url.replace("http:", "https:")
    with client_of(server, base_url=url) as client:
        events = stream(client, nowait=True)
        (connection,) = server.wait_for_connections(1)
        assert not connection.client_closed.wait(0.05)
        start = time.monotonic()
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert connection.client_closed.wait(SOON)
        assert time.monotonic() - start < 0.3 + HELD_UP


@pytest.mark.usefixtures("trusted")
def test_a_close_wakes_a_read_of_tls(secure: ScriptedServer) -> None:
    secure.play([*answer(CHUNKS[:1])[:2], Hang()], answer(CHUNKS))
    with client_of(secure) as client:
        events = stream(client)
        events.get(timeout=SOON)
        assert not secure.connections[0].client_closed.wait(0.02)
        start = time.monotonic()
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert secure.connections[0].client_closed.wait(SOON)
        assert time.monotonic() - start < 0.3 + HELD_UP
        assert [event.to_dict() for event in stream(client)] == CHUNKS


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("end", [Fin(), Fin(close_notify=False), Reset()])
def test_tls_that_ends_too_early(secure: ScriptedServer, end: Any) -> None:
    secure.play([*answer(CHUNKS[:2])[:3], end])
    with client_of(secure) as client:
        events = stream(client)
        with pytest.raises(StreamInterruptedError):
            list(events)


@pytest.mark.usefixtures("trusted")
def test_deadlines_over_tls(secure: ScriptedServer) -> None:
    with client_of(secure) as client:
        secure.play([*answer(CHUNKS[:1])[:2], Hang()])
        events = stream(client, timeout=0.3)
        events.get(timeout=SOON)
        start = time.monotonic()
        with pytest.raises(StreamTimeoutError, match="no progress"):
            events.get(timeout=SOON)
        assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP


@pytest.mark.usefixtures("trusted")
def test_tls_through_a_proxy(
    proxy: ScriptedServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    context = context_for(authority, "far.invalid")
    proxy.play([b"HTTP/1.1 200 Connection established\r\n\r\n", Handshake(context)])
    proxy.play(answer(CHUNKS), GOOD, [*answer(CHUNKS[:1])[:2], Hang()])
    with Client(KEY, "https://far.invalid/v1", max_retries=0) as client:
        assert [event.to_dict() for event in stream(client)] == CHUNKS
        assert ask(client).to_dict() == WHOLE
        events = stream(client)
        events.get(timeout=SOON)
        start = time.monotonic()
        events.close()
        assert proxy.connections[0].client_closed.wait(SOON)
        assert time.monotonic() - start < 0.3 + HELD_UP
    connect, first, *_ = proxy.requests
    assert connect.method == "CONNECT"
    assert connect.target == "far.invalid:443"
    assert connect.headers["proxy-authorization"].startswith("Basic ")
    assert "authorization" not in connect.headers
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert "proxy-authorization" not in first.headers
    assert len(proxy.connections) == 1


@pytest.mark.usefixtures("trusted")
def test_an_untrusted_certificate_behind_a_proxy(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied(monkeypatch, proxy)
    context = context_for(trustme.CA(), "far.invalid")
    proxy.play([b"HTTP/1.1 200 Connection established\r\n\r\n", Handshake(context)])
    with (
        Client(KEY, "https://far.invalid/v1") as client,
        pytest.raises(APIConnectionError, match=r"(?i)certificate"),
    ):
        stream(client)
    assert len(proxy.requests) == 1


# Many threads --------------------------------------------------------------------------------


def test_one_client_for_many_threads(
    server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def script(request: Any) -> Script:
        return answer(chat_chunks(f"Hello {request.json['n']}"))

    caplog.set_level(logging.INFO)
    server.always(script)

    def run(number: int) -> bool:
        results = [stream(client, n=number * 10 + at).stream.result(SOON) for at in range(5)]
        return [one.choices[0].message.content for one in results] == [
            f"Hello {number * 10 + at}" for at in range(5)
        ]

    with ThreadPoolExecutor(25) as pool:
        assert all(pool.map(run, range(25)))
    assert len(server.connections) <= 125
    assert caplog.records == []


def test_types_of_what_is_returned(server: ScriptedServer, client: Client) -> None:
    server.play(GOOD, answer(CHUNKS), answer(CHUNKS))
    assert isinstance(ask(client), ChatCompletion)
    events = stream(client)
    assert isinstance(events, EventQueue)
    assert isinstance(events, queue.Queue)
    assert isinstance(events.stream, Stream)
    list(events)
    handle = stream(client, on_next=lambda event: None)
    assert isinstance(handle, Stream)
    handle.result(SOON)


def test_errors_of_the_server_in_a_good_response(server: ScriptedServer, client: Client) -> None:
    server.play(json_answer({"error": {"message": "overloaded", "code": 503}}))
    with pytest.raises(StreamAPIError, match="overloaded") as caught:
        ask(client)
    assert caught.value.code == "503"
    assert caught.value.body == {"error": {"message": "overloaded", "code": 503}}


def test_a_header_of_none_takes_the_key_away(server: ScriptedServer) -> None:
    with Client(api_key="sk-secret", base_url=server.base_url) as client:
        server.play(json_answer({"choices": []}), json_answer({"choices": []}))
        client.create_chat_completion(model="m", extra_headers={"authorization": None})
        client.create_chat_completion(model="m", extra_headers={"Authorization": "Basic x"})
    assert [request.headers.get("authorization") for request in server.requests] == [
        None,
        "Basic x",
    ]


def test_a_given_session_keeps_its_connection_from_stream_to_stream(
    server: ScriptedServer,
) -> None:
    with requests.Session() as session:
        client = Client(api_key="sk-secret", base_url=server.base_url, session=session)
        for _ in range(3):
            server.play(answer(chat_chunks("one two")))
            list(client.create_chat_completion(model="m", stream=True))
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 401 bad key sk-echoed-0123\r\nContent-Length: 0\r\n\r\n",
        error_answer(
            401, "no", headers={"x-request-id": "sk-echoed-0123", "x-key": "sk-echoed-0123"}
        ),
        error_answer(401, "sk-echoed-0123"),
        answer(["x"], content_type="application/x-sk-echoed-0123+json"),
        answer(["x"], headers={"Content-Encoding": "sk-echoed-0123"}),
        answer([{"error": {"message": "sk-echoed-0123"}}]),
    ],
)
@pytest.mark.parametrize("how", ["api_key", "extra_headers"])
def test_a_key_that_the_server_says_again_does_not_show(
    server: ScriptedServer, script: Any, how: str
) -> None:
    server.play(script)
    key = "sk-echoed-0123" if how == "api_key" else "other"
    own = None if how == "api_key" else {"Authorization": "Bearer sk-echoed-0123"}
    with (
        Client(api_key=key, base_url=server.base_url) as client,
        pytest.raises(OpenAIStreamError) as caught,
    ):
        list(client.create_chat_completion(model="m", stream=True, extra_headers=own))
    told = caught.value
    shown = [str(told), repr(told), pickle.dumps(told).decode("latin-1"), repr(vars(told))]
    shown += traceback.format_exception(told)
    assert not any("sk-echoed" in text for text in shown)


def test_a_compression_that_is_not_known(server: ScriptedServer) -> None:
    server.play(answer(chat_chunks("one"), headers={"Content-Encoding": "rot13"}))
    with (
        Client(api_key="sk-secret", base_url=server.base_url) as client,
        pytest.raises(StreamDecodeError, match="rot13"),
    ):
        list(client.create_chat_completion(model="m", stream=True))


@pytest.mark.parametrize("name", ["stream_close", "nowait", "replay"])
@pytest.mark.parametrize("value", [1, None, "yes"])
def test_what_is_true_or_false_is_nothing_else(
    server: ScriptedServer, name: str, value: Any
) -> None:
    with (
        Client(api_key="sk-secret", base_url=server.base_url) as client,
        pytest.raises(TypeError, match=name),
    ):
        client.create_chat_completion(model="m", stream=True, **{name: value})
    assert not server.requests


def test_a_bad_key_that_was_set_later(server: ScriptedServer) -> None:
    with Client(api_key="sk-secret", base_url=server.base_url) as client:
        client.api_key = "sk-secret\nEvil: 1"
        with pytest.raises(ConfigurationError, match="api_key") as caught:
            client.create_chat_completion(model="m")
    assert "sk-secret" not in str(caught.value)
    assert not server.requests


def test_a_query_that_no_url_carries(server: ScriptedServer) -> None:
    with (
        Client(api_key="sk-secret", base_url=server.base_url) as client,
        pytest.raises(ConfigurationError, match="extra_query"),
    ):
        client.create_chat_completion(model="m", extra_query={"a": "\ud800"})
    assert not server.requests
