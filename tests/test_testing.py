"""The scripted server, looked at with plain sockets, and the watch that ``conftest`` keeps."""

from __future__ import annotations

import errno
import gzip
import http.client
import json
import math
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from machine import HELD_UP

from openai_stream import combine
from openai_stream.testing import (
    LAST_CHUNK,
    Answer,
    Call,
    Connection,
    Drip,
    Fin,
    Handshake,
    Hang,
    Pause,
    Receive,
    Repeat,
    Reset,
    Script,
    ScriptedServer,
    Send,
    Step,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    chunk,
    completion_chunks,
    endless_chunk_size,
    endless_headers,
    error_answer,
    frame,
    head,
    json_answer,
    refused_url,
    tool_call_chunks,
)
from openai_stream.testing.polling import poller

GET = b"GET /v1/models HTTP/1.1\r\nHost: here\r\n\r\n"
# As a linger option, makes the client's close a RST.
ABORT = struct.pack("ii", 1, 0)
# Generous for a loaded machine; what is measured takes well under a millisecond.
SOON = 0.25


@contextmanager
def connected(server: ScriptedServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        yield client


@contextmanager
def asked(server: ScriptedServer, request: bytes = GET) -> Iterator[socket.socket]:
    with connected(server) as client:
        client.sendall(request)
        yield client


def read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := client.recv(size - len(data))):
        data += block
    return data


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def sent(script: list[Step | bytes]) -> bytes:
    """What a script puts on the wire, where it is only made of bytes."""
    assert all(isinstance(step, bytes) for step in script)
    return b"".join(step for step in script if isinstance(step, bytes))


@contextmanager
def http_client(server: ScriptedServer) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        yield client
    finally:
        client.close()


def get(client: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
    client.request("GET", "/v1/models")
    response = client.getresponse()
    return response, response.read()


# Requests ------------------------------------------------------------------------------------


def test_a_request_is_recorded(server: ScriptedServer) -> None:
    server.play(json_answer({}))
    before = time.monotonic()
    with http_client(server) as client:
        client.request(
            "POST", "/v1/chat/completions?a=1&b=%20&c=", b'{"n": 1}', {"X-Name": "Some Value"}
        )
        client.getresponse().read()
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.target == "/v1/chat/completions?a=1&b=%20&c="
    assert request.query == {"a": "1", "b": " ", "c": ""}
    assert request.headers["x-name"] == "Some Value"
    assert b"\r\nX-Name: Some Value\r\n" in request.head
    assert request.body == b'{"n": 1}'
    assert request.json == {"n": 1}
    assert request.connection is server.connections[0]
    assert before <= request.received_at <= time.monotonic()


def test_a_chunked_request_body_and_repeated_headers_are_put_together(
    server: ScriptedServer,
) -> None:
    server.always(json_answer({}))
    request = b"POST / HTTP/1.1\r\nA: 1\r\na: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    with asked(server, request + b"3;ext=1\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n" + GET):
        first, second = server.wait_for_requests(2)
    assert first.body == b"abc0123456789"
    assert first.headers["a"] == "1, 2"
    assert second.path == "/v1/models"


def test_a_connection_is_kept_alive_and_counted(server: ScriptedServer) -> None:
    server.always(json_answer({"ok": True}))
    with http_client(server) as client:
        for _ in range(3):
            assert get(client)[1] == b'{"ok":true}'
    with http_client(server) as client:
        get(client)
    assert [request.connection.number for request in server.requests] == [1, 1, 1, 2]
    assert [len(connection.requests) for connection in server.connections] == [3, 1]


def test_connection_close_is_obeyed(server: ScriptedServer) -> None:
    server.always(json_answer({}))
    with asked(server, b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n") as client:
        assert read_all(client).endswith(b"{}")


def test_answers_come_in_order_then_the_default(server: ScriptedServer) -> None:
    server.play(json_answer(1), lambda request: json_answer({"path": request.path}))
    server.always(lambda request: json_answer(len(request.connection.requests)))
    with http_client(server) as client:
        bodies = [json.loads(get(client)[1]) for _ in range(4)]
    assert bodies == [1, {"path": "/v1/models"}, 3, 4]


def test_without_a_script_the_answer_says_so(server: ScriptedServer) -> None:
    with http_client(server) as client:
        response, body = get(client)
    assert response.status == 501
    assert "no script" in json.loads(body)["error"]["message"]


def test_an_iterator_is_no_default(server: ScriptedServer) -> None:
    with pytest.raises(TypeError, match="once"):
        server.always(iter([b""]))


def test_waiting_for_what_does_not_come_times_out(server: ScriptedServer) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        server.wait_for_requests(1, timeout=0.01)
    with pytest.raises(TimeoutError, match="0 of 1 connections"):
        server.wait_for_connections(1, timeout=0.01)


def test_forget_drops_what_is_over(server: ScriptedServer) -> None:
    server.always(json_answer({}))
    with http_client(server) as client:
        get(client)
    assert server.connections[0].closed.wait(10)
    with http_client(server) as client:
        get(client)
        server.forget()
        assert server.requests == []
        assert [connection.number for connection in server.connections] == [2]


# Steps ---------------------------------------------------------------------------------------


def test_one_step_or_bytes_are_a_script(server: ScriptedServer) -> None:
    lazy: list[Step | bytes] = [b"three", Send(b"four")]
    server.play(Send(b"one"), b"two", iter(lazy))
    with asked(server, GET * 3) as client:
        assert read(client, 15) == b"onetwothreefour"


def test_repeat_sends_so_many_times(server: ScriptedServer) -> None:
    server.play([Repeat(b"ab", 3), Fin()])
    with asked(server) as client:
        assert read_all(client) == b"ababab"


def test_repeat_is_endless_until_the_client_leaves(server: ScriptedServer) -> None:
    server.play(Repeat(b": keep-alive\n\n", delay=0.001))
    with asked(server) as client:
        assert len(read(client, 1000)) == 1000
    assert server.connections[0].client_closed.wait(10)


def test_drip_sends_in_pieces(server: ScriptedServer) -> None:
    server.play(Drip(b"abcde", size=2, delay=0.02))
    started = time.monotonic()
    with asked(server) as client:
        assert [client.recv(100) for _ in range(3)] == [b"ab", b"cd", b"e"]
    assert time.monotonic() - started >= 0.04


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.0203])
def test_pause_takes_its_time(server: ScriptedServer, seconds: float) -> None:
    times: list[float] = []
    note = Call(lambda: times.append(time.monotonic()))
    server.play([note, Pause(seconds), note, b"x"])
    with asked(server) as client:
        read(client, 1)
    assert seconds <= times[1] - times[0] < seconds + SOON * HELD_UP


def test_wait_is_for_the_test(server: ScriptedServer) -> None:
    event = threading.Event()
    server.play([b"a", Wait(event), b"b"])
    with asked(server) as client:
        assert read(client, 1) == b"a"
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        event.set()
        client.settimeout(10)
        assert read(client, 1) == b"b"


def test_call_runs_on_the_thread_of_the_connection(server: ScriptedServer) -> None:
    threads: list[str] = []
    server.play([Call(lambda: threads.append(threading.current_thread().name)), b"x"])
    with asked(server) as client:
        read(client, 1)
    assert threads == [f"scripted-server-{server.port}-1"]


def test_fin_is_the_end_after_the_last_byte(server: ScriptedServer) -> None:
    server.play([b"x" * 1_000_000, Fin(), b"never"])
    # A request that goes on is read and dropped: unread bytes would make the kernel send a RST.
    with asked(server, GET + b"y" * 100_000) as client:
        assert read_all(client) == b"x" * 1_000_000
    assert server.connections[0].closed.wait(10)
    assert server.connections[0].error is None


def test_reset_is_seen_as_one(server: ScriptedServer) -> None:
    server.play([b"x", Wait(event := threading.Event()), Reset(), b"never"])
    with asked(server) as client:
        assert read(client, 1) == b"x"
        event.set()
        with pytest.raises(ConnectionResetError) as caught:
            client.recv(1)
    assert caught.value.errno == errno.ECONNRESET


def test_a_step_of_ones_own(server: ScriptedServer) -> None:
    class Count(Step):
        def play(self, connection: Connection) -> None:
            for number in range(3):
                connection.send(b"%d" % number)
                connection.pause(0.001)

    server.play([Count(), Fin()])
    with asked(server) as client:
        assert read_all(client) == b"012"


# Before a request ----------------------------------------------------------------------------


def test_closed_or_reset_at_once(server: ScriptedServer) -> None:
    server.on_connect(Fin(), Reset())
    with connected(server) as client:
        assert client.recv(1) == b""
    with pytest.raises(ConnectionResetError), connected(server) as client:
        client.recv(1)
    assert server.requests == []


def test_reset_after_a_part_of_the_request(server: ScriptedServer) -> None:
    server.on_connect([Receive(10), Reset()], [Receive(until=b"\r\n\r\n"), b"early", Fin()])
    with connected(server) as client:
        client.sendall(GET[:9])
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        client.sendall(GET[9:10])
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with asked(server) as client:
        assert read_all(client) == b"early"
    assert server.requests == []


def test_a_slow_start_leads_to_the_request(server: ScriptedServer) -> None:
    server.on_connect([Pause(0.02), Receive(5)])
    server.play(json_answer({}))
    with http_client(server) as client:
        assert get(client)[1] == b"{}"


def test_a_request_that_is_not_read_holds_the_client_back() -> None:
    with ScriptedServer(receive_buffer=4096) as server:
        server.on_connect([Receive(1), Hang()])
        with connected(server) as client:
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.sendall(b"x" * 50_000_000)
            assert server.connections[0].received < 1_000_000


# The client's close --------------------------------------------------------------------------

SCRIPTS: dict[str, Callable[[], Step]] = {
    "hang": Hang,
    "pause": lambda: Pause(60),
    "wait": lambda: Wait(threading.Event()),
    "drip": lambda: Drip(b"x" * 100, delay=60),
    "repeat": lambda: Repeat(b"x", delay=0.001),
    "flood": lambda: Repeat(b"x" * 65536),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("abrupt", [False, True], ids=["fin", "rst"])
def test_the_clients_close_is_seen_at_once(server: ScriptedServer, name: str, abrupt: bool) -> None:
    server.play([b"x", SCRIPTS[name]()])
    with asked(server) as client:
        read(client, 1)
        (connection,) = server.connections
        if name == "flood":
            assert connection.wait_until_blocked()
        assert not connection.client_closed.is_set()
        if abrupt:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        closed_at = time.monotonic()
    assert connection.client_closed.wait(10)
    assert connection.client_closed_at is not None
    assert 0 <= connection.client_closed_at - closed_at < SOON * HELD_UP
    assert connection.closed.wait(10)


def test_the_clients_close_is_seen_behind_what_is_not_read(server: ScriptedServer) -> None:
    server.on_connect([Receive(1), Hang()])
    with asked(server, GET * 100):
        server.wait_for_connections(1)
    assert server.connections[0].client_closed.wait(10)


def test_the_clients_close_is_seen_between_requests(server: ScriptedServer) -> None:
    server.play(json_answer({}))
    with http_client(server) as client:
        get(client)
        assert not server.connections[0].client_closed.wait(0.02)
    assert server.connections[0].client_closed.wait(10)


def test_shutting_down_the_reading_side_is_no_close(server: ScriptedServer) -> None:
    server.play([b"x", Hang()])
    with asked(server) as client:
        read(client, 1)
        client.shutdown(socket.SHUT_RD)
        assert not server.connections[0].client_closed.wait(0.02)


# Backpressure --------------------------------------------------------------------------------


def test_a_send_waits_for_the_client_to_read() -> None:
    total = 50_000_000
    with ScriptedServer(send_buffer=65536) as server:
        server.play([b"x" * total, Fin()])
        with asked(server) as client:
            connection = server.wait_for_connections(1)[0]
            assert connection.wait_until_blocked(0.1)
            held = connection.sent
            assert 0 < held < total
            assert not connection.client_closed.wait(0.05)
            assert connection.sent == held
            assert len(read_all(client)) == total
            assert connection.sent == total
            assert not connection.wait_until_blocked(0.01, timeout=0.05)


# The end of the server -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SCRIPTS, "idle", "greeting", "reading"])
def test_close_ends_what_is_open(name: str) -> None:
    before = set(threading.enumerate())
    server = ScriptedServer()
    if name == "greeting":
        server.on_connect(Hang())
    elif name in SCRIPTS:
        server.play(SCRIPTS[name]())
    with ExitStack() as clients:
        for _ in range(3):
            client = clients.enter_context(connected(server))
            client.sendall(b"" if name == "idle" else GET[:9] if name == "reading" else GET)
        server.wait_for_connections(3)
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < SOON * HELD_UP
        assert set(threading.enumerate()) == before
        assert all(connection.closed.is_set() for connection in server.connections)
        assert not any(connection.client_closed.is_set() for connection in server.connections)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=10)
        server.close()


def test_a_script_that_only_sends_is_ended_too() -> None:
    server = ScriptedServer()
    server.play(Repeat(b"x"))
    with asked(server) as client:
        reader = threading.Thread(target=lambda: [None for _ in iter(lambda: drained(client), b"")])
        reader.start()
        server.wait_for_requests(1)
        server.close()
        reader.join()


def drained(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_script_may_close_the_server(server: ScriptedServer) -> None:
    server.play([b"x", Call(server.close), Hang()])
    with asked(server) as client:
        assert drained(client) == b"x"
        assert drained(client) == b""
    assert server.connections[0].closed.wait(10)


def ask_once(script: Answer, then: Callable[[], object] = lambda: None) -> None:
    with ScriptedServer() as server:
        server.play(script)
        with asked(server) as client:
            assert client.recv(1) == b""
        then()


def test_what_a_script_raises_is_raised_at_the_end() -> None:
    def fail(_: object) -> Script:
        raise LookupError("no such answer")

    with pytest.raises(LookupError, match="no such answer"):
        ask_once(fail)
    with pytest.raises(ZeroDivisionError):
        ask_once(Call(lambda: 1 // 0))


def test_the_tests_own_exception_comes_first() -> None:
    with pytest.raises(KeyError):
        ask_once(Call(lambda: 1 // 0), then=lambda: dict[str, str]()["it"])


def test_what_is_no_request_is_a_failure() -> None:
    with (
        pytest.raises(ValueError, match="unpack"),
        ScriptedServer() as server,
        asked(server, b"nonsense\r\n\r\n") as client,
    ):
        assert client.recv(1) == b""


def test_a_step_that_does_not_end_is_named() -> None:
    event = threading.Event()
    server = ScriptedServer()
    server.play(Call(event.wait))
    with asked(server):
        server.wait_for_requests(1)
        with pytest.raises(RuntimeError, match=rf"scripted-server-{server.port}-1"):
            server.close(timeout=0.05)
        event.set()
        server.close()


def test_a_thousand_connections_at_once(server: ScriptedServer) -> None:
    count = 1000
    event = threading.Event()
    server.always([b"a", Wait(event), b"b", Fin()])
    with ExitStack() as stack:
        clients = [stack.enter_context(asked(server)) for _ in range(count)]
        assert all(read(client, 1) == b"a" for client in clients)
        assert len(server.wait_for_requests(count)) == count
        event.set()
        assert all(read_all(client) == b"b" for client in clients)
    assert len(server.connections) == count


# Addresses -----------------------------------------------------------------------------------


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_a_refused_url_refuses() -> None:
    with refused_url() as url, pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(url), timeout=10)


def test_a_blackhole_answers_nothing() -> None:
    with blackhole_url() as url, pytest.raises(TimeoutError):
        socket.create_connection(address(url), timeout=0.3)


# TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server, and for a client that trusts it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@contextmanager
def secured(
    server: ScriptedServer, context: ssl.SSLContext, **options: Any
) -> Iterator[ssl.SSLSocket]:
    with (
        connected(server) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", **options) as client,
    ):
        yield client


def test_https_is_served(contexts: Contexts) -> None:
    body = b"x" * 3_000_000
    with ScriptedServer(ssl_context=contexts[0]) as server:
        assert server.base_url == f"https://127.0.0.1:{server.port}/v1"
        server.play([head(headers={"Content-Length": str(len(body))}), body], json_answer({}))
        client = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=10, context=contexts[1]
        )
        assert get(client)[1] == body
        assert get(client)[1] == b"{}"
        assert len(server.connections) == 1
        client.close()
        assert server.connections[0].client_closed.wait(10)


@pytest.mark.parametrize("close_notify", [True, False])
def test_tls_ends_with_or_without_close_notify(contexts: Contexts, close_notify: bool) -> None:
    with (
        ScriptedServer(ssl_context=contexts[0]) as server,
        secured(server, contexts[1], suppress_ragged_eofs=False) as client,
    ):
        server.play([b"x", Fin(close_notify)])
        client.sendall(GET)
        assert client.recv(1) == b"x"
        if close_notify:
            assert client.recv(1) == b""
        else:
            with pytest.raises(ssl.SSLEOFError):
                client.recv(1)


def test_the_clients_close_is_seen_over_tls(contexts: Contexts) -> None:
    with ScriptedServer(ssl_context=contexts[0]) as server:
        server.play([b"x", Hang()])
        with secured(server, contexts[1]) as client:
            client.sendall(GET)
            client.recv(1)
            closed_at = time.monotonic()
        (connection,) = server.connections
        assert connection.client_closed.wait(10)
        assert connection.client_closed_at is not None
        assert connection.client_closed_at - closed_at < SOON * HELD_UP


def test_a_tls_send_waits_for_the_client_to_read(contexts: Contexts) -> None:
    total = 20_000_000
    with (
        ScriptedServer(ssl_context=contexts[0], send_buffer=65536) as server,
        secured(server, contexts[1]) as client,
    ):
        server.play([b"x" * total, Fin()])
        client.sendall(GET)
        connection = server.wait_for_connections(1)[0]
        assert connection.wait_until_blocked(0.1)
        assert connection.sent < total
        assert len(read_all(client)) == total


def test_a_handshake_that_stalls_or_is_refused(contexts: Contexts) -> None:
    with ScriptedServer(ssl_context=contexts[0]) as server:
        server.on_connect(Hang(), Reset(), [Receive(1), head(400), Fin()])
        with connected(server) as plain:
            plain.settimeout(0.1)
            with pytest.raises(TimeoutError):
                contexts[1].wrap_socket(plain, server_hostname="127.0.0.1")
        with pytest.raises(ConnectionResetError), connected(server) as plain:
            plain.recv(1)
        with pytest.raises(ssl.SSLError), secured(server, contexts[1]):
            pass


def test_a_client_that_leaves_before_the_handshake_is_no_failure(contexts: Contexts) -> None:
    with ScriptedServer(ssl_context=contexts[0]) as server:
        for _ in range(20):
            server.on_connect(Wait(event := threading.Event()))
            with connected(server) as client:
                connection = server.wait_for_connections(1)[0]
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                event.set()
            assert connection.closed.wait(10)
            server.forget()


def test_a_client_that_does_not_trust_the_server_is_no_failure(contexts: Contexts) -> None:
    with ScriptedServer(ssl_context=contexts[0]) as server:
        with (
            pytest.raises(ssl.SSLCertVerificationError),
            secured(server, ssl.create_default_context()),
        ):
            pass
        connection = server.connections[0]
        assert connection.closed.wait(10)
        assert connection.client_closed.is_set()
        assert connection.error is not None


def test_a_proxy_and_the_origin_behind_it(contexts: Contexts) -> None:
    with ScriptedServer() as server:
        server.play([head(), Handshake(contexts[0])], json_answer({"from": "origin"}))
        client = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=10, context=contexts[1]
        )
        client.set_tunnel("127.0.0.1", 443)
        assert get(client)[1] == b'{"from":"origin"}'
        client.close()
        assert [request.method for request in server.requests] == ["CONNECT", "GET"]
        assert server.requests[0].target == "127.0.0.1:443"


def test_a_handshake_needs_a_context() -> None:
    with pytest.raises(ValueError, match="context"):
        ask_once(Handshake())


# Answers -------------------------------------------------------------------------------------

FRAMES = b'data: {"a":"\xc3\xa9"}\n\ndata: two\ndata: lines\n\n: raw\n\ndata: [DONE]\n\n'
EVENTS: list[dict[str, str] | str | bytes | Step] = [{"a": "é"}, "two\nlines", b": raw\n\n"]


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("bytes_per_chunk", [None, 1, 7])
def test_an_answer_has_every_framing(
    server: ScriptedServer,
    framing: Any,
    encoding: Any,
    flush: bool,
    bytes_per_chunk: int | None,
) -> None:
    server.play(
        answer(
            EVENTS,
            framing=framing,
            encoding=encoding,
            flush=flush,
            bytes_per_chunk=bytes_per_chunk,
        )
    )
    with http_client(server) as client:
        response, body = get(client)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Content-Encoding"] == encoding
    assert ("Content-Length" in response.headers) == (framing == "length")
    if encoding == "gzip":
        body = gzip.decompress(body)
    elif encoding == "deflate":
        body = zlib.decompress(body)
    assert body == FRAMES


def chunks(script: list[Step | bytes]) -> list[bytes | Step]:
    """The body of a chunked answer, without the framing."""
    assert script[-1] == LAST_CHUNK
    return [
        step if isinstance(step, Step) else step.partition(b"\r\n")[2][:-2] for step in script[1:-1]
    ]


def test_what_goes_into_one_chunk() -> None:
    events = ["a", "b", "c"]
    a, b, c = (frame(event) for event in events)
    assert chunks(answer(events, done=False)) == [a, b, c]
    assert chunks(answer(events, done=False, events_per_chunk=2)) == [a + b, c]
    assert chunks(answer(["a", Hang(), "b", "c"], done=False, events_per_chunk=2)) == [
        a,
        Hang(),
        b + c,
    ]
    assert chunks(answer(events, done=False, bytes_per_chunk=20)) == [(a + b + c)[:20], c[-7:]]
    assert chunks(answer(events, done=False, delay=0.5)) == [
        a,
        Pause(0.5),
        b,
        Pause(0.5),
        c,
        Pause(0.5),
    ]
    assert answer(["a"], done=False)[1] == chunk(a) == b"9\r\ndata: a\n\n\r\n"


def test_flushed_events_can_be_read_one_by_one() -> None:
    decompressor = zlib.decompressobj(wbits=31)
    parts = chunks(answer(["a", "b"], encoding="gzip"))
    assert [decompressor.decompress(part) for part in parts if isinstance(part, bytes)] == [
        frame("a"),
        frame("b"),
        frame("[DONE]"),
        b"",
    ]
    assert decompressor.eof
    assert len(chunks(answer(["a", "b"] * 10, encoding="gzip", flush=False))) <= 2


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends(line_end: str) -> None:
    expected = f"event: e{line_end}id: 7{line_end}data: x{line_end}{line_end}".encode()
    assert frame("x", event="e", id="7", line_end=line_end) == expected
    assert chunks(answer(["x"], line_end=line_end)) == [
        frame("x", line_end=line_end),
        frame("[DONE]", line_end=line_end),
    ]


def test_headers_of_an_answer_can_be_replaced_and_left_out() -> None:
    script = answer(
        framing="length",
        headers={"content-length": "-5", "X-Request-Id": "req_1"},
        content_type=None,
        done=False,
        status=206,
    )
    assert sent(script) == (
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: -5\r\nX-Request-Id: req_1\r\n\r\n"
    )
    assert head(299, {"A": None}) == b"HTTP/1.1 299 \r\n\r\n"


def test_an_answer_that_is_cut(server: ScriptedServer) -> None:
    server.play(answer(["a", Fin(), "b"]), answer(["a", Fin()], framing="length"))
    for cut in range(2):
        with http_client(server) as client:
            client.request("GET", "/")
            with pytest.raises(http.client.IncompleteRead) as caught:
                client.getresponse().read()
        assert caught.value.partial == frame("a"), cut


def test_json_and_error_answers(server: ScriptedServer) -> None:
    server.play(
        json_answer({"a": "é"}, headers={"x-request-id": "req_1"}),
        error_answer(429, "slow down", code="rate_limit", headers={"Retry-After": "1"}),
    )
    with http_client(server) as client:
        response, body = get(client)
        assert (response.status, body) == (200, '{"a":"é"}'.encode())
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["x-request-id"] == "req_1"
        response, body = get(client)
    assert (response.status, response.reason) == (429, "Too Many Requests")
    assert response.headers["Retry-After"] == "1"
    assert json.loads(body)["error"] == {
        "message": "slow down",
        "type": "invalid_request_error",
        "param": None,
        "code": "rate_limit",
    }


@pytest.mark.parametrize("script", [endless_headers(), endless_chunk_size()])
def test_endless_answers_never_end(server: ScriptedServer, script: list[Step | bytes]) -> None:
    server.play(script)
    with asked(server) as client:
        data = read(client, 5_000_000)
    assert len(data) == 5_000_000
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.connections[0].client_closed.wait(10)


# What the API sends --------------------------------------------------------------------------


def test_chat_chunks() -> None:
    chunks = chat_chunks("Hello big  world", usage=True)
    first, *middle, last, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    pieces = [one["choices"][0]["delta"]["content"] for one in middle]
    assert pieces == ["Hello", " big", "  world"]
    assert [one["choices"][0]["finish_reason"] for one in chunks[:-1]] == [None] * 4 + ["stop"]
    assert last["choices"][0]["delta"] == {}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == sum(usage["usage"].values()) / 2
    assert {one["usage"] is None for one in chunks[:-1]} == {True}
    assert {one["object"] for one in chunks} == {"chat.completion.chunk"}
    assert len({one["id"] for one in chunks}) == 1
    assert len({one["obfuscation"] for one in chunks}) == len(chunks)
    assert chunks == chat_chunks(["Hello", " big", "  world"], usage=True)
    assert chunks[0]["id"] != chat_chunks("Hello", seed=1)[0]["id"]


def test_tool_call_chunks() -> None:
    chunks = tool_call_chunks(("weather", '{"city": "Rome"}'), ("time", "{}"))
    first, *deltas, last = (one["choices"][0]["delta"] for one in chunks)
    assert first == {"role": "assistant", "content": None}
    assert last == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    calls: dict[int, dict[str, str]] = {}
    for delta in deltas:
        (call,) = delta["tool_calls"]
        joined = calls.setdefault(call["index"], {"arguments": ""})
        joined["arguments"] += call["function"]["arguments"]
        if "id" in call:
            assert re.fullmatch("call_[0-9A-Za-z]{24}", call["id"])
            joined["name"] = call["function"]["name"]
    assert calls == {
        0: {"name": "weather", "arguments": '{"city": "Rome"}'},
        1: {"name": "time", "arguments": "{}"},
    }


def test_tool_call_chunks_of_an_object() -> None:
    given = {"city": "Århus", "days": [1, None], "exact": True}
    chunks = tool_call_chunks(("weather", given), ("time", {}))
    assert chunks == tool_call_chunks(
        ("weather", '{"city": "Århus", "days": [1, null], "exact": true}'), ("time", "{}")
    )
    calls = combine(chunks).choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [given, {}]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"x": math.nan}, ValueError),
        ({"x": -math.inf}, ValueError),
        ({"x": {1, 2}}, TypeError),
        ({(1, 2): "x"}, TypeError),
        (["x"], TypeError),
        (None, TypeError),
        (b"{}", TypeError),
        (5, TypeError),
    ],
)
def test_tool_call_chunks_refuse_what_is_not_json(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        tool_call_chunks(("weather", arguments))


def test_completion_chunks() -> None:
    chunks = completion_chunks("Hello world", finish_reason="length", usage=True)
    choices = [one["choices"][0] for one in chunks[:-1]]
    assert "".join(choice["text"] for choice in choices) == "Hello world"
    assert [choice["finish_reason"] for choice in choices] == [None, None, "length"]
    assert {one["object"] for one in chunks} == {"text_completion"}
    assert chunks[-1]["choices"] == []


def test_what_stands_in_for_poll_forgets_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "poll", lambda: None)  # as green threads leave it
    looking = poller()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        looking.register(ours, select.POLLIN)
        assert looking.poll(0) == []
        theirs.send(b"x")
        assert looking.poll(0) == [(ours.fileno(), select.POLLIN)]
        looking.unregister(ours)
        assert looking.poll(0) == []


# The watch that conftest keeps ---------------------------------------------------------------


def beside_the_tests() -> dict[str, str]:
    """An environment that finds what this folder's conftest imports, after the own folder."""
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def run_pytest(folder: Path, tests: str) -> str:
    """What pytest says of tests in a folder of its own, under this folder's conftest."""
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    # The limits are what is tested: the machine's load does not widen them.
    (folder / "machine.py").write_text("HELD_UP = 1.0\nEXAMPLES = 1\n", encoding="utf-8")
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", str(folder)],
        cwd=Path(__file__).parents[1],
        env={**beside_the_tests(), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout + done.stderr


LEAVING = """
import os, socket, threading, time, pytest

kept = []

def keep_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_thread():
    threading.Thread(target=time.sleep, args=(4,), name="forgotten", daemon=True).start()

def test_socket():
    keep_socket()

@pytest.mark.leaves("to see that it may")
def test_marked():
    keep_socket()

@pytest.mark.leaves
def test_reason():
    pass

def test_failed():
    keep_socket()
    assert False

def test_ends():
    threading.Thread(target=time.sleep, args=(0.1,)).start()

def test_environment():
    assert not {"OPENAI_API_KEY", "https_proxy", "NETRC"} & set(os.environ)

def test_server(server):
    def fail(request):
        raise LookupError("no such answer")

    server.play(fail)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        client.recv(1)
"""


def test_what_a_test_leaves_behind_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "https_proxy", "NETRC"):
        monkeypatch.setenv(name, "set")
    said = run_pytest(tmp_path, LEAVING)
    told = dict(re.findall(r"(?m)^(?:ERROR|FAILED) \S+::test_(\w+) - (.*)$", said))
    assert told.keys() == {"thread", "socket", "reason", "failed", "server"}, said
    assert told["thread"] == "Failed: left behind: thread 'forgotten'"
    assert "left behind: socket socket:[" in told["socket"]
    assert re.search(r"left behind: socket socket:\[\d+\] at \('127.0.0.1', \d+\)", said)
    assert "needs a reason" in told["reason"]
    assert told["failed"] == "assert False"
    assert told["server"] == "LookupError: no such answer"
    passed = set(re.findall(r"(?m)^PASSED \S+::test_(\w+)", said))
    assert passed >= {"marked", "ends", "environment"}, said


HANGING = """
import time, pytest

@pytest.mark.limit(0.2)
def test_hanging():
    time.sleep(30)
"""


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_who_asks_whether_to_go_on_is_told_so(server: ScriptedServer, framing: str) -> None:
    """As curl does before a long body; it waits for that with the body, or a second."""
    body = b'{"stream": true}'
    length = f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked"
    server.play(b"HTTP/1.1 204 No Content\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{length}\r\n\r\n"
        sock.sendall(head.encode())
        with sock.makefile("rb") as answers:
            assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert answers.readline() == b"\r\n"
            chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            sock.sendall(body if framing == "length" else chunked)
            assert answers.readline() == b"HTTP/1.1 204 No Content\r\n"
    [request] = server.wait_for_requests(1)
    assert request.body == body
    assert request.sent.status == 204


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: not-100-continue\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["HTTP/1.0", "another word", "no body"],
)
def test_who_does_not_ask_whether_to_go_on_gets_the_answer_alone(
    server: ScriptedServer, head: bytes
) -> None:
    server.play(b"HTTP/1.1 204 No Content\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), SOON) as sock:
        sock.sendall(head)
        sock.sendall(b"{}")
        assert sock.recv(100).startswith(b"HTTP/1.1 204")


def test_a_test_that_hangs_ends_the_run_and_is_named(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, HANGING)
    assert "Timeout (0:00:00.2" in said
    assert re.search(r"test_it\.py.* in test_hanging", said), said


def test_interrupts_work_in_a_background_job(tmp_path: Path) -> None:
    """A shell without job control has it ignore SIGINT, and all children inherit that."""
    said = subprocess.run(
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", sys.executable, "-c", RUN_PYTEST],
        cwd=tmp_path,
        env={**beside_the_tests(), "TESTS": str(Path(__file__).parent), "FOLDER": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    ).stdout
    assert "1 passed" in said, said


RUN_PYTEST = '''
import os, pathlib, shutil, sys
import pytest
folder = pathlib.Path(os.environ["FOLDER"])
for name in ("conftest.py", "machine.py"):
    shutil.copy(pathlib.Path(os.environ["TESTS"]) / name, folder)
(folder / "test_it.py").write_text("""
import signal, subprocess, sys

def test_it():
    # By itself: one that comes between two steps would not wake it from the second.
    interrupted = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    assert subprocess.run([sys.executable, "-c", interrupted]).returncode == -signal.SIGINT
""")
sys.exit(pytest.main(["-p", "no:cacheprovider", "-q", str(folder)]))
'''
