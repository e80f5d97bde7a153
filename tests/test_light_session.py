"""What our own session leaves out of what ``requests`` does: the outcome is the same.

The environment is asked anew for each attempt, so nothing that it says goes stale.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from asking import CHUNKS, KEY, ask, client_of, stream

from openai_stream import APIConnectionError, Client
from openai_stream.testing import ScriptedServer, answer, head
from openai_stream.transport import Session

PROXY = "http://127.0.0.1:9"
URLS = (
    "http://127.0.0.1:8080/v1",
    "https://api.openai.com/v1",
    "http://inner.example.org/v1",
    "http://localhost/",
)
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"NO_PROXY": "*"},
    {"NO_PROXY": "127.0.0.1,.example.org"},
    {"HTTP_PROXY": PROXY},
    {"http_proxy": PROXY, "no_proxy": "127.0.0.0/8, localhost"},
    {"HTTP_PROXY": PROXY, "http_proxy": ""},
    {"HTTPS_PROXY": PROXY, "NO_PROXY": "openai.com"},
    {"all_proxy": "socks5h://127.0.0.1:9"},
    {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"},
    {"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"},
    {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "/b"},
    {"HTTPS_PROXY": PROXY, "CURL_CA_BUNDLE": "/b"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
@pytest.mark.parametrize("verify", [True, None, False, "/bundle"])
def test_takes_from_the_environment_what_requests_takes(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], verify: Any
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = Session(), requests.Session()
    for url in URLS:
        proxies: list[dict[str, str]] = [{}, {"http": PROXY}, {"no_proxy": "127.0.0.1"}]
        for given in proxies:
            settings = [
                session.merge_environment_settings(url, dict(given), True, verify, None)
                for session in (ours, theirs)
            ]
            assert settings[0] == settings[1]


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


def test_obeys_an_environment_that_changes_between_two_calls(
    server: ScriptedServer, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always(answer(CHUNKS))
    proxy.always(answer(CHUNKS))
    seen = []
    changes: list[dict[str, str]] = [
        {},
        {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"},
        {"NO_PROXY": "127.0.0.1"},
        {"NO_PROXY": ""},
        {"HTTP_PROXY": ""},
    ]
    with client_of(server) as client:
        for change in changes:
            for name, value in change.items():
                monkeypatch.setenv(name, value)
            list(stream(client))
            seen.append((len(server.requests), len(proxy.requests)))
    assert seen == [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2)]


def test_obeys_a_bundle_that_is_named_between_two_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Client(KEY, "https://127.0.0.1:9/v1", max_retries=0) as client:
        with pytest.raises(APIConnectionError, match="refused"):
            ask(client)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/not/there.pem")
        with pytest.raises(APIConnectionError, match=re.escape("/not/there.pem")):
            ask(client)


HEADERS: list[dict[str, Any]] = [
    {},
    {"Accept": "text/event-stream", "User-Agent": "x", "Content-Type": "application/json"},
    {"accept": None, "USER-AGENT": None, "Connection": "close"},
    {"X-One": "1", "Cookie": "a=b", "Accept-Encoding": None},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
@pytest.mark.parametrize(("method", "data"), [("POST", b'{"a":1}'), ("POST", None), ("GET", None)])
def test_prepares_what_requests_prepares(
    headers: dict[str, Any], method: str, data: bytes | None
) -> None:
    urls = ["http://127.0.0.1:8080/v1/x", "https://ex\u00e4mple.org/a b?q=\u20ac&q#f"]
    for url, with_data in itertools.product(urls, [True, False]):
        made = requests.Request(
            method, url, headers=headers, data=data if with_data else None, auth=lambda sent: sent
        )
        ours, theirs = (
            session.prepare_request(made) for session in (Session(), requests.Session())
        )
        assert list(ours.headers.items()) == list(theirs.headers.items())
        for name in ("method", "url", "body", "hooks"):
            assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    "url", ["http://", "no-scheme", "http://*.example.org/", "http://[::1/", "http://a b:c/"]
)
def test_refuses_what_requests_refuses(url: str) -> None:
    raised = []
    for session in (Session(), requests.Session()):
        with pytest.raises(requests.RequestException) as caught:
            session.prepare_request(requests.Request("POST", url, auth=lambda sent: sent))
        raised.append((type(caught.value), str(caught.value)))
    assert raised[0] == raised[1]


def test_goes_through_what_another_package_has_put_around_preparing(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = requests.Session.prepare_request

    def traced(self: requests.Session, request: requests.Request) -> requests.PreparedRequest:
        prepared = prepare(self, request)
        prepared.headers["X-Trace"] = "1"
        return prepared

    server.always(answer(CHUNKS))
    with client_of(server) as client:
        list(stream(client))
        monkeypatch.setattr(requests.Session, "prepare_request", traced)
        list(stream(client))
    assert [request.headers.get("x-trace") for request in server.requests] == [None, "1"]


@pytest.mark.parametrize(
    "base",
    [
        "http://127.0.0.1:8080/v1",
        "https://api.openai.com/v1/",
        "https://host",
        "https://host//",
        "HTTPS://Host/V1",
        "https://host/a%20b/\u00e9/?a=b&c=%2F",
        "https://host/v1?",
        "https://host/v1;p=1/",
        "https://host?x=/y/",
    ],
)
def test_puts_a_path_behind_that_of_any_base_url(base: str) -> None:
    parts = urlsplit(base)
    expected = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/chat/completions"))
    with Client(KEY, base) as client:
        assert client._url("/chat/completions", {}) == expected


def test_shows_a_trace_what_cookies_the_server_set(server: ScriptedServer) -> None:
    cookie = {"Set-Cookie": "a=1; Path=/", "Content-Length": "2"}
    server.always([head(200, cookie), b"{}"])
    seen: list[dict[str, Any]] = []

    def trace(request: Any, response: Any) -> None:
        seen.append({"sent": request.headers.get("cookie"), **response.cookies})

    with client_of(server, trace=trace) as client:
        for _ in range(2):
            ask(client)
    assert seen == [{"sent": None, "a": "1"}] * 2
