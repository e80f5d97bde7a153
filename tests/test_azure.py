"""``AzureClient``: where it sends, as whom, and what Azure puts into its streams."""

from __future__ import annotations

import json
import logging
import pickle
import queue
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import SOON

from openai_stream import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    AzureClient,
    ChatCompletion,
    Completion,
    ConfigurationError,
    Restarted,
    StreamAPIError,
    Timeout,
    create_chat_completion,
    create_completion,
)
from openai_stream.testing import (
    Reset,
    ScriptedServer,
    answer,
    chat_chunks,
    completion_chunks,
    error_answer,
    head,
    json_answer,
)

KEY = "azure-key-not-to-be-seen"
TOKEN = "ey.azure-token-not-to-be-seen"  # noqa: S105 - of nobody
CHUNKS = chat_chunks("Hello big world", usage=True)
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "stop",
            "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
        }
    ],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
}
BODY: dict[str, Any] = {"model": "my-deployment", "messages": [{"role": "user", "content": "Hi"}]}
#: A status that is tried again, at once.
AGAIN = error_answer(503, "Busy.", headers={"retry-after-ms": "1"})


def origin(server: ScriptedServer) -> str:
    return server.base_url.removesuffix("/v1")


@pytest.fixture
def azure(server: ScriptedServer) -> Iterator[AzureClient]:
    with AzureClient(api_key=KEY, endpoint=origin(server), timeout=SOON) as client:
        yield client


# Where ---------------------------------------------------------------------------------------


def test_the_address(server: ScriptedServer, azure: AzureClient) -> None:
    server.play(json_answer(WHOLE), answer(CHUNKS), answer(completion_chunks("Hi")))
    azure.create_chat_completion(**BODY)
    azure.create_chat_completion(**BODY, stream=True).stream.result(SOON)
    azure.create_completion(model="old one", prompt="Hi", stream=True).stream.result(SOON)
    chat, streamed, text = server.requests
    path = "/openai/deployments/my-deployment/chat/completions"
    assert chat.target == streamed.target == f"{path}?api-version=2024-10-21"
    assert text.path == "/openai/deployments/old%20one/completions"
    assert chat.json == BODY
    assert streamed.json == {**BODY, "stream": True}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("/", "/openai/deployments/m/chat/completions"),
        ("/gateway", "/gateway/openai/deployments/m/chat/completions"),
        ("/gateway/", "/gateway/openai/deployments/m/chat/completions"),
    ],
)
def test_an_endpoint_with_a_path(server: ScriptedServer, endpoint: str, path: str) -> None:
    server.play(json_answer(WHOLE))
    with AzureClient(api_key=KEY, endpoint=origin(server) + endpoint) as azure:
        azure.create_chat_completion(model="m", messages=[])
    assert server.requests[0].path == path


@pytest.mark.parametrize(
    ("model", "quoted"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("..%2e", "..%252e"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
def test_a_deployment_stays_in_its_place(
    server: ScriptedServer, azure: AzureClient, model: str, quoted: str
) -> None:
    server.play(json_answer(WHOLE))
    azure.create_chat_completion(model=model, messages=[])
    assert server.requests[0].path == f"/openai/deployments/{quoted}/chat/completions"
    assert server.requests[0].json["model"] == model


def test_the_version_and_more_of_a_query(server: ScriptedServer) -> None:
    server.always(json_answer(WHOLE))
    with AzureClient(
        api_key=KEY, endpoint=origin(server), api_version="2025-04-01-preview"
    ) as azure:
        azure.create_chat_completion(**BODY, extra_query={"tenant": "a&b"})
    assert server.requests[0].query == {"api-version": "2025-04-01-preview", "tenant": "a&b"}


def test_the_module_functions(server: ScriptedServer, azure: AzureClient) -> None:
    server.play(answer(CHUNKS), answer(completion_chunks("Hi there")))
    chat = create_chat_completion(client=azure, **BODY, stream=True)
    assert "".join(chat.text()) == "Hello big world"
    text = create_completion(client=azure, model="m", prompt="", stream=True)
    assert "".join(text.text()) == "Hi there"


# As whom -------------------------------------------------------------------------------------


def test_a_key(server: ScriptedServer, azure: AzureClient) -> None:
    server.play(json_answer(WHOLE))
    azure.create_chat_completion(**BODY)
    headers = server.requests[0].headers
    assert headers["api-key"] == KEY
    assert "authorization" not in headers


@pytest.mark.parametrize("key", [None, KEY])
def test_a_token_goes_before_a_key(server: ScriptedServer, key: str | None) -> None:
    server.play(json_answer(WHOLE))
    with AzureClient(api_key=key, azure_ad_token=TOKEN, endpoint=origin(server)) as azure:
        azure.create_chat_completion(**BODY)
    headers = server.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "api-key" not in headers


def test_the_key_of_the_environment_does_not_go_before_a_token(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    test_a_token_goes_before_a_key(server, None)


class Tokens:
    """Gives another token each time."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self) -> str:
        self.given.append(f"{TOKEN}-{len(self.given) + 1}")
        return self.given[-1]


def bearers(server: ScriptedServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


@pytest.mark.parametrize("nowait", [None, False, True])
def test_a_function_is_asked_for_a_token_before_each_attempt(
    server: ScriptedServer, nowait: bool | None
) -> None:
    tokens = Tokens()
    ok = json_answer(WHOLE) if nowait is None else answer(CHUNKS)
    server.play(AGAIN, AGAIN, ok, ok)
    streaming: dict[str, Any] = {} if nowait is None else {"stream": True, "nowait": nowait}
    with AzureClient(azure_ad_token=tokens, endpoint=origin(server)) as azure:
        assert tokens.given == []
        for count in (3, 4):
            got = azure.create_chat_completion(**BODY, **streaming)
            if nowait is not None:
                got.stream.result(SOON)
            assert len(tokens.given) == count
    assert bearers(server) == tokens.given
    assert len(set(tokens.given)) == 4


def test_a_restart_asks_for_a_token_too(server: ScriptedServer) -> None:
    tokens = Tokens()
    server.play(answer([*CHUNKS[:2], Reset()]), answer(CHUNKS))
    with AzureClient(azure_ad_token=tokens, endpoint=origin(server)) as azure:
        events = list(azure.create_chat_completion(**BODY, stream=True, restarts=1))
    assert [type(event) for event in events].count(Restarted) == 1
    assert bearers(server) == tokens.given == [f"{TOKEN}-1", f"{TOKEN}-2"]


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nX-Evil: 1", f" {TOKEN}", None, b"bytes", "\u4e16"])
def test_a_function_that_gives_no_token(server: ScriptedServer, token: Any) -> None:
    with AzureClient(azure_ad_token=lambda: token, endpoint=origin(server)) as azure:
        with pytest.raises(ConfigurationError, match="azure_ad_token") as caught:
            azure.create_chat_completion(**BODY, stream=True)
        error = azure.create_chat_completion(**BODY, stream=True, nowait=True).stream.exception(
            SOON
        )
    for told in (caught.value, error):
        assert type(told) is ConfigurationError
        assert TOKEN not in "".join(traceback.format_exception(told))
    assert server.requests == []


def test_a_function_that_raises(server: ScriptedServer) -> None:
    class SignInError(Exception):
        pass

    mine = SignInError("no network")

    def sign_in() -> str:
        raise mine

    calls: list[dict[str, Any]] = [{}, {"stream": True}]
    with AzureClient(azure_ad_token=sign_in, endpoint=origin(server)) as azure:
        for streaming in calls:
            with pytest.raises(SignInError) as caught:
                azure.create_chat_completion(**BODY, **streaming)
            assert caught.value is mine
    assert server.requests == []


def test_headers_of_ones_own(server: ScriptedServer) -> None:
    server.always(json_answer(WHOLE))
    headers = {"X-Team": "a", "X-Trace": "b"}
    with AzureClient(api_key=KEY, endpoint=origin(server), headers=headers) as azure:
        azure.create_chat_completion(**BODY, extra_headers={"x-trace": "c", "Api-Key": "other"})
    sent = server.requests[0].headers
    assert (sent["x-team"], sent["x-trace"], sent["api-key"]) == ("a", "c", "other")
    assert not [name for name in sent if name.startswith("openai-")]


# The environment -----------------------------------------------------------------------------


def test_everything_from_the_environment(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always(json_answer(WHOLE))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", origin(server))
    monkeypatch.setenv("AZURE_OPENAI_API_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    with AzureClient() as azure:
        azure.create_chat_completion(**BODY)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    monkeypatch.setenv("AZURE_OPENAI_API_ENDPOINT", f"{origin(server)}/second")
    monkeypatch.setenv("OPENAI_API_VERSION", "")
    with AzureClient() as azure:
        azure.create_chat_completion(**BODY)
    first, second = server.requests
    assert first.headers["api-key"] == KEY
    assert "sk-of-openai" not in str(first.headers)
    assert "openai-organization" not in first.headers
    assert first.query == {"api-version": "2025-01-01"}
    assert second.target == (
        "/second/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    )


def test_arguments_go_before_the_environment(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(json_answer(WHOLE))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "another")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    with AzureClient(api_key=KEY, endpoint=origin(server), api_version="v") as azure:
        azure.create_chat_completion(**BODY)
    assert server.requests[0].headers["api-key"] == KEY
    assert server.requests[0].query == {"api-version": "v"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "AZURE_OPENAI_ENDPOINT"),
        ({"api_key": KEY}, "AZURE_OPENAI_ENDPOINT"),
        ({"endpoint": "https://a.example"}, "AZURE_OPENAI_API_KEY"),
        ({"endpoint": "a.example", "api_key": KEY}, "endpoint must be a URL"),
        ({"endpoint": "https://u:p@a.example", "api_key": KEY}, "user name or a password"),
        ({"endpoint": 5, "api_key": KEY}, "endpoint must be a string"),
        ({"endpoint": "https://a.example", "api_key": f"{KEY}\n"}, "api_key has a line break"),
        ({"endpoint": "https://a.example", "azure_ad_token": f"{TOKEN}\n"}, "azure_ad_token has"),
        ({"endpoint": "https://a.example", "azure_ad_token": 5}, "azure_ad_token must be"),
        ({"endpoint": "https://a.example", "api_key": KEY, "max_retries": -1}, "max_retries"),
        ({"endpoint": "https://a.example", "api_key": KEY, "headers": {"a b": ""}}, "headers"),
        ({"endpoint": "https://a.example", "api_key": KEY, "timeout": -1}, "timeout"),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        AzureClient(**arguments)
    assert isinstance(caught.value, ValueError)
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told
    assert TOKEN not in told


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}, {"model": 5}])
def test_without_a_deployment(
    server: ScriptedServer, azure: AzureClient, model: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="model must be the name of the Azure deployment"):
        azure.create_chat_completion(**model, messages=[], stream=True, nowait=True)
    assert server.requests == []


# What Azure puts into its streams ------------------------------------------------------------

SAFE = {"hate": {"filtered": False, "severity": "safe"}}
PROMPT_FILTER = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
}


def filtered(offset: int, **more: Any) -> dict[str, Any]:
    """What the asynchronous filter tells some time after the text."""
    offsets = {"check_offset": offset, "start_offset": offset, "end_offset": offset + 5}
    choice = {
        "content_filter_offsets": offsets,
        "content_filter_results": {**SAFE, **more},
        "finish_reason": None,
        "index": 0,
    }
    return {**PROMPT_FILTER, "choices": [choice], "prompt_filter_results": None}


def test_prompt_filter_and_asynchronous_filter(server: ScriptedServer, azure: AzureClient) -> None:
    violence = {"violence": {"filtered": False, "severity": "low"}}
    sent = [
        PROMPT_FILTER,
        *CHUNKS[:2],
        filtered(0),
        *CHUNKS[2:],
        filtered(5, **violence),
        {"id": "", "object": "", "choices": [{"index": 0, "finish_reason": "stop"}]},
    ]
    server.play(answer(sent))
    events = azure.create_chat_completion(**BODY, stream=True)
    got = list(events)
    assert [json.dumps(event.to_dict()) for event in got] == [json.dumps(one) for one in sent]
    first, filter_only = got[0], got[3]
    assert first.choices == []
    assert first.extra == {"prompt_filter_results": PROMPT_FILTER["prompt_filter_results"]}
    assert filter_only.choices[0].delta.content is None
    assert filter_only.choices[0].extra["content_filter_offsets"]["end_offset"] == 5
    whole = events.stream.result(SOON)
    assert isinstance(whole, ChatCompletion)
    # What the filter leaves empty takes nothing back.
    assert (whole.id, whole.object, whole.model) == (
        CHUNKS[0]["id"],
        "chat.completion",
        CHUNKS[0]["model"],
    )
    assert whole.created == CHUNKS[0]["created"]
    assert whole.usage is not None
    assert whole.choices[0].message.content == "Hello big world"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.extra["prompt_filter_results"] == PROMPT_FILTER["prompt_filter_results"]
    assert whole.choices[0].extra["content_filter_results"] == {**SAFE, **violence}


def test_text_skips_what_has_none(server: ScriptedServer, azure: AzureClient) -> None:
    server.play(answer([PROMPT_FILTER, *CHUNKS[:2], filtered(0), *CHUNKS[2:], filtered(5)]))
    events = azure.create_chat_completion(**BODY, stream=True)
    assert list(events.text()) == ["Hello", " big", " world"]


def test_text_completions_with_a_filter(server: ScriptedServer, azure: AzureClient) -> None:
    chunks = completion_chunks("Hello big world")
    server.play(answer([PROMPT_FILTER, *chunks, filtered(0)]))
    events = azure.create_completion(model="m", prompt="Hi", stream=True)
    assert [event.to_dict() for event in events] == [PROMPT_FILTER, *chunks, filtered(0)]
    whole = events.stream.result(SOON)
    assert isinstance(whole, Completion)
    assert whole.choices[0].text == "Hello big world"
    assert whole.choices[0].finish_reason == "stop"


def test_an_answer_that_the_filter_stops(server: ScriptedServer, azure: AzureClient) -> None:
    stopped = {"index": 0, "finish_reason": "content_filter", "delta": {}}
    server.play(answer([PROMPT_FILTER, *CHUNKS[:2], {"choices": [stopped]}], done=False))
    whole = azure.create_chat_completion(**BODY, stream=True).stream.result(SOON)
    assert whole.choices[0].finish_reason == "content_filter"
    assert whole.choices[0].message.content == "Hello"


def test_a_prompt_that_the_filter_refuses(server: ScriptedServer, azure: AzureClient) -> None:
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": SAFE}
    error = {"message": "The prompt was filtered.", "code": "content_filter", "innererror": inner}
    server.play(json_answer({"error": error}, 400))
    with pytest.raises(APIStatusError, match="The prompt was filtered") as caught:
        azure.create_chat_completion(**BODY, stream=True)
    assert caught.value.code == "content_filter"
    assert caught.value.body == {"error": error}


# What shows nowhere --------------------------------------------------------------------------


def assert_hidden(*shown: object) -> None:
    for one in shown:
        if isinstance(one, BaseException):
            one = "".join(traceback.format_exception(one)) + repr(one) + repr(vars(one))
        assert KEY not in str(one)
        assert TOKEN not in str(one)


@pytest.mark.parametrize("how", ["key", "token", "function"])
def test_key_and_token_show_nowhere(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The server quotes what it was sent, wherever it can."""
    caplog.set_level(logging.DEBUG)
    secret = KEY if how == "key" else TOKEN
    ways: dict[str, dict[str, Any]] = {
        "key": {"api_key": KEY},
        "token": {"azure_ad_token": TOKEN},
        "function": {"azure_ad_token": lambda: TOKEN},
    }
    arguments = ways[how]
    said = f"Access denied for {secret}."
    server.play(
        error_answer(401, said, code=secret),
        head(401, {"Content-Length": str(len(said)), "Content-Type": "text/plain"}) + said.encode(),
        head(307, {"Location": f"http://127.0.0.1:1/{secret}", "Content-Length": "0"}),
        answer([*CHUNKS[:2], {"error": {"message": said, "code": secret, "details": [secret]}}]),
        answer(CHUNKS),
    )
    with AzureClient(**arguments, endpoint=origin(server), max_retries=0) as azure:
        assert_hidden(repr(azure), str(azure))
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(azure)
        for error_class in (AuthenticationError, AuthenticationError, APIConnectionError):
            with pytest.raises(error_class) as caught:
                azure.create_chat_completion(**BODY, stream=True)
            assert_hidden(caught.value, pickle.dumps(caught.value))
        events = azure.create_chat_completion(**BODY, stream=True)
        error = events.stream.exception(SOON)
        assert type(error) is StreamAPIError
        assert "Access denied for ***." in str(error)
        assert_hidden(error, pickle.dumps(error), repr(events), repr(events.stream))
        azure.create_chat_completion(**BODY, stream=True).stream.result(SOON)
    assert_hidden(caplog.text)
    assert len(server.requests) == 5
    assert all(secret in str(request.headers) for request in server.requests)


@pytest.mark.parametrize("arguments", [{"api_key": KEY}, {"azure_ad_token": TOKEN}])
def test_a_redirect_gets_neither_key_nor_token(
    server: ScriptedServer, arguments: dict[str, Any]
) -> None:
    with ScriptedServer() as other:
        server.play(head(307, {"Location": other.base_url, "Content-Length": "0"}))
        with (
            AzureClient(**arguments, endpoint=origin(server)) as azure,
            pytest.raises(APIConnectionError, match="redirects"),
        ):
            azure.create_chat_completion(**BODY)
        assert other.connections == []


def test_no_connection(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.on_connect(Reset())
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with AzureClient(
        azure_ad_token=lambda: TOKEN,
        endpoint=origin(server),
        max_retries=0,
        timeout=Timeout(connect=SOON, idle=SOON, gap=SOON),
    ) as azure:
        azure.create_chat_completion(**BODY, stream=True, nowait=True, queue=mine)
        error = mine.get(timeout=SOON)
    assert isinstance(error, APIConnectionError)
    assert_hidden(error, caplog.text)
