"""Proxies and TLS."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters
import trustme
from asking import CHUNKS, GOOD, KEY, WHOLE, ask, client_of, stream
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Client,
    ConfigurationError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    Fin,
    Handshake,
    Hang,
    Reset,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
)
from openai_stream.transport.connection import TLSConnection


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
    if refusal in ("RST", "FIN"):
        assert f"the proxy http://127.0.0.1:{proxy.port}" in str(caught.value)
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


def assert_refused(secure: ScriptedServer) -> str:
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
    return str(caught.value)


def test_an_untrusted_certificate_is_not_retried(secure: ScriptedServer) -> None:
    assert "REQUESTS_CA_BUNDLE" in assert_refused(secure)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(authority: trustme.CA) -> None:
    with ScriptedServer(ssl_context=context_for(authority, "example.org")) as secure:
        assert "REQUESTS_CA_BUNDLE" not in assert_refused(secure)


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


class _Late(ssl.SSLContext):
    """Begins TLS when the other end is gone."""

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        poll = select.poll()
        poll.register(sock, 0)  # a hang-up is told unasked, and not taken away by looking
        assert poll.poll(SOON * 1000)
        return super().wrap_socket(sock, *args, **kwargs)


def test_a_server_that_is_gone_before_the_handshake_leaves_no_socket(
    server: ScriptedServer,
) -> None:
    """Some Pythons lose the socket that takes the descriptor over."""
    made = []

    class Kept(ssl.SSLSocket):
        def __new__(cls, *args: Any, **kwargs: Any) -> Kept:
            made.append(super().__new__(cls, *args, **kwargs))
            return made[-1]

    context = _Late(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = Kept
    server.on_connect(Reset())
    connection = TLSConnection("127.0.0.1", server.port, ssl_context=context)
    with pytest.raises(OSError, match="reset"):
        connection.connect()
    assert [one.fileno() for one in made] == [-1]


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
