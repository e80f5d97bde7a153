"""Through real proxies on this machine: HTTP, HTTPS (TLS to the proxy) and SOCKS.

What a proxy does wrong, ``test_sessions`` and ``test_ways_there`` play.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from machine import HELD_UP
from urllib3.exceptions import InsecureRequestWarning

from openai_stream import DONE, APITimeoutError, Client, Timeout
from openai_stream.testing import Hang, Pause, ScriptedServer, answer, chat_chunks, json_answer

KEY = "sk-proxied"
WAIT = 10.0
LIMIT = 0.25 + HELD_UP / 8
CHUNKS = chat_chunks("Hello big world")
WHOLE = {"object": "chat.completion", "choices": []}
SCHEMES = ("http", "https", "socks5", "socks5h")


class Proxy:
    """Hands each connection on to where its client says: by CONNECT, by SOCKS 5, or by a request in
    absolute form.
    """

    def __init__(self, scheme: str, context: ssl.SSLContext | None = None) -> None:
        self.served = 0
        self._meet: Callable[[Any], tuple[Any, bytes]]
        self._meet = meet_socks if scheme.startswith("socks") else meet_http
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._accept)

    def _run(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, here)

    def _serve(self, here: Any) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if self._context is not None:
                here = self._context.wrap_socket(here, server_side=True)
            self._sockets.append(here)
            address, begun = self._meet(here)
            there = socket.create_connection(address)
            self._sockets.append(there)
            there.sendall(begun)
            self.served += 1
            self._run(pump, there, here)
            pump(here, there)

    def close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        for sock in self._sockets:
            sock.close()


def meet_http(here: Any) -> tuple[Any, bytes]:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := here.recv(65536)):
            raise ValueError
        head += data
    method, target, _ = head.split(b" ", 2)
    if method == b"CONNECT":
        here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = target.decode().rpartition(":")
        return (host, int(port)), b""
    host, _, port = target.split(b"/")[2].decode().rpartition(":")
    return (host, int(port)), head


def meet_socks(here: Any) -> tuple[Any, bytes]:  # RFC 1928
    here.recv(2 + 255)
    here.sendall(b"\x05\x00")
    request = here.recv(65536)
    if request[3] == 1:
        host, port = socket.inet_ntoa(request[4:8]), request[8:10]
    else:
        end = 5 + request[4]
        host, port = request[5:end].decode(), request[end : end + 2]
    here.sendall(b"\x05\x00\x00\x01" + bytes(6))
    return (host, int.from_bytes(port, "big")), b""


def pump(here: Any, there: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := here.recv(65536):
            there.sendall(data)
    with contextlib.suppress(OSError):
        socket.socket.shutdown(there, socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(params=SCHEMES)
def proxy(
    request: pytest.FixtureRequest,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxy]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    made = Proxy(request.param, context_of(authority) if request.param == "https" else None)
    monkeypatch.setenv("ALL_PROXY", made.url)
    yield made
    made.close()


@pytest.fixture(params=["http", "https"])
def target(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[ScriptedServer]:
    context = context_of(authority) if request.param == "https" else None
    with ScriptedServer(ssl_context=context) as server:
        yield server


@pytest.fixture(params=["own", "given", "readers"])
def client(request: pytest.FixtureRequest, target: ScriptedServer) -> Iterator[Client]:
    with (
        requests.Session() as session,
        Client(
            KEY,
            target.base_url,
            max_retries=0,
            session=session if request.param == "given" else None,
            readers=1 if request.param == "readers" else None,
        ) as made,
    ):
        yield made


@pytest.fixture(autouse=True)
def _requests_takes_any_certificate(
    proxy: Proxy, target: ScriptedServer, client: Client
) -> Iterator[None]:
    """``requests`` verifies no HTTPS proxy on the way to a plain server; our session does."""
    known = (
        client.session is not None
        and proxy.url.startswith("https:")
        and target.base_url.startswith("http:")
    )
    with pytest.warns(InsecureRequestWarning) if known else contextlib.nullcontext():
        yield


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="m", messages=[], **arguments)


def test_answers_come_through(proxy: Proxy, target: ScriptedServer, client: Client) -> None:
    slow = [Pause(2 * LIMIT), *answer(CHUNKS)]
    target.play(slow, json_answer(WHOLE))
    timeout = Timeout(connect=LIMIT)
    got = ask(client, stream=True, timeout=timeout)  # which takes longer than connect
    assert [event.to_dict() for event in got] == CHUNKS
    assert ask(client, timeout=timeout).to_dict() == WHOLE
    assert proxy.served == 1
    assert {request.headers["authorization"] for request in target.requests} == {f"Bearer {KEY}"}


def test_a_stop_and_a_deadline_reach_through(
    proxy: Proxy, target: ScriptedServer, client: Client
) -> None:
    target.play([*answer(CHUNKS[:2])[:3], Hang()], [Hang()])
    events = ask(client, stream=True)
    events.get(timeout=WAIT)
    start = time.monotonic()
    events.close()
    while events.get(timeout=WAIT) is not DONE:
        pass
    # TLS inside a proxy's TLS has no shutdown: there the reader goes when the next byte comes.
    if not (proxy.url.startswith("https") and target.base_url.startswith("https")):
        assert target.connections[0].client_closed.wait(WAIT)
    assert time.monotonic() - start < 1 + HELD_UP
    start = time.monotonic()
    with pytest.raises(APITimeoutError):
        ask(client, stream=True, timeout=Timeout(idle=LIMIT))
    assert LIMIT * 0.8 < time.monotonic() - start < LIMIT + 1 + HELD_UP
