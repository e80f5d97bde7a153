"""Retries, redirects, and the trace of each attempt."""

from __future__ import annotations

import email.utils
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import requests.adapters
from asking import CHUNKS, GOOD, KEY, WHOLE, ask, client_of, stream
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Client,
    InternalServerError,
    RateLimitError,
    StreamInterruptedError,
    Timeout,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Reset,
    ScriptedServer,
    answer,
    error_answer,
    head,
    refused_url,
)

NO_WAIT = {"retry-after-ms": "1"}


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


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made
