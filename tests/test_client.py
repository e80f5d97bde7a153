"""Clients: what they are made of, and what many threads may do with one."""

from __future__ import annotations

import logging
import pickle
import queue
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
from asking import CHUNKS, GOOD, KEY, ask, client_of, stream
from helpers import SOON

from openai_stream import (
    AzureClient,
    ChatCompletion,
    Client,
    ConfigurationError,
    EventQueue,
    OpenAIStreamError,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    Timeout,
)
from openai_stream.testing import (
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    json_answer,
)


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
    assert client.readers is None


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
            "k", "http://h", "o", "p", Timeout(idle=1), 3, 4, {"A": "b"}, session, trace, 5
        )
        assert (client.api_key, client.base_url) == ("k", "http://h")
        assert (client.organization, client.project) == ("o", "p")
        assert client.timeout == Timeout(idle=1)
        assert (client.max_retries, client.max_event_bytes) == (3, 4)
        assert client.headers == {"A": "b"}
        assert client.session is session
        assert client.trace is trace
        assert client.readers == 5
        assert "readers=5" in repr(client)


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
        ("readers", [0, -1, 1.5, True, "2"]),
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
        (
            lambda: Client(api_key="k", readers=True),
            "readers must be an int of at least 1: True",
        ),
        (
            lambda: AzureClient(api_key="k", endpoint="http://localhost", readers=0),
            "readers must be an int of at least 1: 0",
        ),
    ],
)
def test_what_a_client_that_cannot_be_is_told(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == said


def test_the_least_that_may_be() -> None:
    least = Client(api_key="k", max_retries=0, max_event_bytes=1, readers=1)
    assert (least.max_retries, least.max_event_bytes, least.readers) == (0, 1, 1)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for each host, in both of the places where ``requests`` looks."""
    for name in (".netrc", "netrc"):
        file = tmp_path / name
        file.write_text("machine 127.0.0.1 login me password pw\ndefault login me password pw\n")
        file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


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
