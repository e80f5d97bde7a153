"""Mistakes of the first day: each message names the mistake, and shows what is right."""

from __future__ import annotations

import concurrent.futures
import pickle
import subprocess
import sys
import traceback
from typing import Any

import pytest
import requests
import requests.adapters
from helpers import TAKE_ALL

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    AzureClient,
    Client,
    ConfigurationError,
    StreamDecodeError,
    Timeout,
)
from openai_stream.structured import take_class
from openai_stream.testing import (
    Hang,
    ScriptedServer,
    Send,
    answer,
    chat_chunks,
    head,
    json_answer,
)

KEY = "sk-a-real-key-that-shows-nowhere"


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(**{"model": "m", "messages": [], **arguments})


# A client's arguments -------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["http://127.0.0.1:8000/v1", "HTTPS://user:secret@host/v1"])
def test_refuses_an_address_in_the_place_of_the_key(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^api_key looks like a URL: .* base_url=") as one:
        Client(key)
    assert "secret" not in str(one.value)
    with pytest.raises(ConfigurationError, match=r"^api_key looks like a URL: .* endpoint="):
        AzureClient(key, endpoint="https://name.openai.azure.com")


def test_refuses_a_key_with_its_scheme() -> None:
    for name in ("api_key", "azure_ad_token"):
        given: dict[str, Any] = {name: f"Bearer {KEY}"}
        with pytest.raises(ConfigurationError, match=f"^{name} begins with 'Bearer '") as caught:
            AzureClient(**given, endpoint="https://name.openai.azure.com")
        assert KEY not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^api_key begins with 'Bearer '"):
        Client(f"bearer {KEY}")


def test_refuses_a_key_with_its_scheme_of_a_function(server: ScriptedServer) -> None:
    with Client(lambda: f"Bearer {KEY}", server.base_url) as client:
        with pytest.raises(ConfigurationError, match=r"^api_key begins with 'Bearer '"):
            ask(client)
        client.api_key = f"Bearer {KEY}"  # set since
        with pytest.raises(ConfigurationError, match=r"^api_key begins with 'Bearer '"):
            ask(client)
    assert server.requests == []


@pytest.mark.parametrize("key", ["bearer-of-news", "httpsomething", "Bearers", "none"])
def test_takes_keys_that_only_begin_alike(key: str) -> None:
    assert Client(key).api_key == key


@pytest.mark.parametrize(
    ("session", "said"),
    [(requests, "a module"), (requests.Session, "the class Session"), ("s", "a str"), (1, "a int")],
)
def test_refuses_what_is_not_a_session(session: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"requests\.Session\(\) makes one, not {said}$"):
        Client(KEY, session=session)


@pytest.mark.parametrize("value", [{"connect": 3}, (3, 5), "3"])
def test_refuses_a_timeout_as_others_take_it(value: Any) -> None:
    said = rf"a number of seconds or Timeout\(connect=…, idle=…\), not a {type(value).__name__}$"
    with pytest.raises(ConfigurationError, match=said):
        Client(KEY, timeout=value)
    with pytest.raises(ConfigurationError, match=said):
        ask(Client(KEY), timeout=value)


# Where the server is --------------------------------------------------------------------------


def https(server: ScriptedServer) -> str:
    return server.base_url.replace("http:", "https:")


def test_https_to_a_server_that_waits_for_http(server: ScriptedServer) -> None:
    with (
        Client(KEY, https(server), max_retries=0, timeout=Timeout(connect=0.3)) as client,
        pytest.raises(APITimeoutError, match=r"does the server speak https\?") as caught,
    ):
        ask(client)
    assert "proxy" not in str(caught.value)


def test_https_to_a_server_that_answers_http(server: ScriptedServer) -> None:
    server.on_connect([Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Hang()])
    with (
        Client(KEY, https(server), max_retries=0) as client,
        pytest.raises(APIConnectionError, match=r"TLS failed: .* Perhaps its URL begins with"),
    ):
        ask(client)


def test_a_proxy_that_says_nothing_is_not_taken_for_a_server(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.base_url)
    server.on_connect(Hang())
    url = "https://example.invalid/v1"
    with (
        Client(KEY, url, max_retries=0, timeout=Timeout(connect=0.3)) as client,
        pytest.raises(APITimeoutError, match="is there a proxy in between") as caught,
    ):
        ask(client)
    assert "speak https" not in str(caught.value)


def test_a_proxy_without_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "localhost:9")
    with (
        Client(KEY, "http://example.invalid/v1") as client,
        pytest.raises(ConfigurationError, match=r"no scheme: write http://localhost:9$"),
    ):
        ask(client)


def test_a_proxy_without_a_host_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "user:hunter22@")
    with (
        Client(KEY, "http://example.invalid/v1") as client,
        pytest.raises(ConfigurationError, match="the request cannot be made") as caught,
    ):
        ask(client)
    assert "hunter22" not in str(caught.value)


UNQUOTED = [
    "http://user:hunter22Secret#x@localhost:9",
    "http://user:hunter22Secret/x@localhost:9",
    "http://user:hunter22Secret?x@localhost:9",
    "http://user:hunter22Secret\\x@localhost:9",
    "http://user:[hunter22Secret@localhost:9",
    "socks5://user:hunter22Secret#x@localhost:9",
    "http://hunter22Secret#x@localhost:9",
    "http://hunter22Secret/x@localhost:9",
    "http://DOMAIN\\me:hunter22Secret@localhost:9",
    "http://me:12#hunter22Secret@localhost:9",
    "http://user:hunter22Secret://x@localhost:9",
    "http://user:hunter22Secret@localhost:port",
]


@pytest.mark.parametrize("url", UNQUOTED)
@pytest.mark.parametrize("given", [True, False])
def test_a_proxys_password_that_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, given: bool
) -> None:
    """The parser's own words quote it as a host; where they do not, it would be looked up."""
    caplog.set_level("DEBUG")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, url)
    with (
        requests.Session() as session,
        Client(KEY, "http://example.invalid/v1", session=session if given else None) as client,
        pytest.raises(ConfigurationError, match=r"the proxy's URL .* is to be quoted") as caught,
    ):
        ask(client)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "hunter22" not in told
    assert "hunter22" not in repr(pickle.dumps(caught.value))


@pytest.mark.parametrize("tail", ["/", "/pac/me@corp.example", "/?me@corp.example", "#me@corp"])
def test_a_proxys_url_may_have_more_than_a_host(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, tail: str
) -> None:
    """It means nothing, and does no harm."""
    server.play(json_answer({"object": "chat.completion", "choices": []}))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}{tail}")
    with Client(KEY, "http://example.invalid/v1") as client:
        ask(client)
    assert server.requests[0].target.startswith("http://example.invalid/")


def test_too_many_open_files() -> None:
    script = f"""{TAKE_ALL}
from openai_stream import APIConnectionError, Client
client = Client("key", "http://127.0.0.1:9/v1", max_retries=0)
for spare in (3, 0):  # the first has imported what it needs
    taken = take_all(64)
    for number in taken[:spare]:
        os.close(number)
    try:
        client.create_chat_completion(model="m", messages=[])
    except APIConnectionError as error:
        print(error)
    for number in taken[spare:]:
        os.close(number)
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    last = run.stdout.splitlines()[-1]
    assert "ulimit -n" in last, run
    assert "Is the server running" not in last


def test_socks_without_its_package() -> None:
    script = """
import os, sys
sys.modules["socks"] = None
os.environ["HTTP_PROXY"] = "socks5://localhost:9"
from openai_stream import Client, ConfigurationError
try:
    Client("key", "http://example.invalid/v1").create_chat_completion(model="m", messages=[])
except ConfigurationError as error:
    assert "pip install PySocks" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


# Calls and answers ----------------------------------------------------------------------------


def test_an_event_stream_that_was_not_asked_for(server: ScriptedServer) -> None:
    server.play(answer("Hello"))
    with (
        Client(KEY, server.base_url) as client,
        pytest.raises(StreamDecodeError, match="streamed though it was not asked to"),
    ):
        ask(client)


def test_a_page_is_not_taken_for_a_stream(server: ScriptedServer) -> None:
    server.play([head(200, {"Content-Length": "6"}), b"<html>"])
    with (
        Client(KEY, server.base_url) as client,
        pytest.raises(StreamDecodeError, match="is the base URL right"),
    ):
        ask(client)


def test_a_closed_stream_says_where_its_text_is(server: ScriptedServer) -> None:
    server.play(answer([*chat_chunks("Hello")[:2], Hang()]))
    with Client(KEY, server.base_url) as client:
        stream = ask(client, stream=True).stream
        stream.close()
        for wait in (stream.result, stream.exception):
            with pytest.raises(concurrent.futures.CancelledError, match=r"snapshot\(\) has"):
                wait()


class Pydantic:
    """What is used of one of its models."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("response_format", Pydantic, "response_format: pydantic is not supported; pass the model"),
        ("text_format", Pydantic, "text_format: pydantic is not supported; pass the model"),
        ("response_format", "json_object", 'not a string: write {"type": "json_object"}'),
        ("text_format", "text", 'not a string: write text={"format": {"type": "text"}}'),
    ],
)
def test_refuses_formats_of_other_libraries(name: str, value: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        take_class({name: value}, name)
    assert said in str(caught.value)


def test_the_scripted_server_refuses_a_text(server: ScriptedServer) -> None:
    for give in (server.play, server.always):
        with pytest.raises(TypeError, match=r"answer\('Hello'\)"):
            give("Hello")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"json_answer"):
            give({"id": "x"})  # type: ignore[dict-item]
    server.play(json_answer({"id": "x", "object": "chat.completion", "choices": []}))
    with Client(KEY, server.base_url) as client:
        assert ask(client).id == "x"
