"""The verdict on a client: of clients that do each thing wrong, and of some that do it right."""

from __future__ import annotations

import datetime
import email.utils
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from openai_stream import Client, OpenAIStreamError, Timeout
from openai_stream.testing import (
    Answer,
    Fault,
    Fin,
    Script,
    ScriptedServer,
    Wait,
    answer,
    error_answer,
    json_answer,
    keep_alives,
    no_response,
    rate_limited,
    server_error,
    stall,
    unanswered,
)

BODY = json.dumps({"model": "m", "messages": [], "stream": True}).encode()


@contextmanager
def asked(server: ScriptedServer, body: bytes = BODY) -> Iterator[http.client.HTTPResponse]:
    """A client that sends a request, and knows nothing of good manners."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", body)
        yield connection.getresponse()
    finally:
        connection.close()


def ask(server: ScriptedServer, wait: float = 0.0, times: int = 1, body: bytes = BODY) -> None:
    """Ask so many times, so many seconds apart, whatever is answered."""
    for number in range(times):
        if number:
            time.sleep(wait)
        try:
            with asked(server, body) as response:
                response.read()
        except (OSError, http.client.HTTPException):
            pass


def names(server: ScriptedServer, **arguments: object) -> list[str]:
    verdict = server.verdict(**arguments)  # type: ignore[arg-type]
    return list(verdict.names)


def dated(seconds: float) -> str:
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(when, usegmt=True)


# Clients that do it wrong ----------------------------------------------------------------------


def test_finds_a_retry_storm(server: ScriptedServer) -> None:
    server.always(answer(fault=server_error(503)))
    ask(server, times=7, wait=0.01)
    verdict = server.verdict(min_wait=0.0)
    assert verdict.names == ["retry_storm"]
    assert "one request was sent 7 times" in str(verdict)
    assert verdict.findings[0].requests == tuple(server.requests)
    assert names(server, min_wait=0.0, max_attempts=7) == []


@pytest.mark.parametrize("fault", [rate_limited(), server_error(500), no_response(), "cut"])
def test_finds_that_there_is_no_backoff(server: ScriptedServer, fault: Fault | str) -> None:
    server.play(answer("Hello you", fault=fault), answer("Hello you"))
    ask(server, times=2)
    assert names(server) == ["no_backoff"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "2"},
        {"retry-after-ms": "900"},
        {"Retry-After": "9", "retry-after-ms": "900"},
        {"Retry-After": dated(36_000)},
    ],
)
def test_finds_that_retry_after_is_ignored(server: ScriptedServer, headers: dict[str, str]) -> None:
    server.play(error_answer(429, "slow down", headers=headers), answer("Hello"))
    ask(server, times=2, wait=0.3)
    verdict = server.verdict()
    assert verdict.names == ["retry_after_ignored"]
    assert "after status 429, which asked to wait for" in str(verdict)


@pytest.mark.parametrize(
    "script",
    [
        error_answer(400, "no such parameter"),
        error_answer(401, "no such key"),
        error_answer(404, "no such model"),
        error_answer(429, "used up", code="insufficient_quota"),
        error_answer(500, "never", headers={"x-should-retry": "false"}),
    ],
)
def test_finds_that_a_refusal_is_retried(server: ScriptedServer, script: Script) -> None:
    server.always(script)
    ask(server, times=2, wait=0.2)
    assert names(server) == ["refusal_retried"]


@pytest.mark.parametrize("fault", ["cut", "reset", "truncated", "short_length", "error_event"])
@pytest.mark.parametrize("form", ["chunked", "close", "gzip", "bytes"])
def test_finds_that_a_cut_answer_is_accepted(server: ScriptedServer, fault: str, form: str) -> None:
    server.play(
        answer(
            "Hello you there",
            fault=fault,
            framing="close" if form == "close" else "chunked",
            encoding="gzip" if form == "gzip" else None,
            bytes_per_chunk=1 if form == "bytes" and fault != "error_event" else None,
        )
    )
    ask(server)
    assert names(server) == []
    assert names(server, accepted=False) == []
    assert names(server, accepted=True) == ["cut_answer_accepted"]


@pytest.mark.parametrize("fault", [unanswered(), stall(), keep_alives(every=0.02)])
def test_finds_that_there_is_no_timeout(server: ScriptedServer, fault: Fault | str) -> None:
    server.play(answer("Hello you", fault=fault))
    thread = threading.Thread(target=ask, args=[server])
    thread.start()
    server.wait_for_requests(1)
    assert names(server, patience=0.3) == []
    time.sleep(0.35)
    verdict = server.verdict(patience=0.3)
    assert verdict.names == ["no_timeout"]
    assert "was still waiting" in str(verdict)
    server.close()
    thread.join()
    assert names(server, patience=0.3) == ["no_timeout"]


def test_finds_that_a_connection_is_left_open_after_a_stop(server: ScriptedServer) -> None:
    server.play(answer("Hello you", fault=stall()))
    with asked(server) as response:
        response.read1(1)
        assert names(server, stopped=True, grace=0.05) == ["left_open"]
        assert names(server, grace=0.05) == []
    assert names(server, stopped=True) == []


# Clients that do it right ----------------------------------------------------------------------


WHOLE: list[Callable[[], Answer]] = [
    lambda: answer("Hello"),
    lambda: answer("Hello", done=False),
    lambda: answer("Hello", framing="close"),
    lambda: answer("Hello", framing="length", done=False),
    lambda: answer("Hello", encoding="gzip", bytes_per_chunk=1),
    lambda: answer("Hello", encoding="deflate", done=False),
    lambda: answer([{"type": "response.completed"}], done=False),
    lambda: answer("Hello " * 20000),
    lambda: answer([*[{"choices": [], "pad": "x" * 50000}] * 8, "[DONE]", Fin()]),
    lambda: json_answer({"choices": []}),
]


@pytest.mark.parametrize("make", WHOLE)
def test_lets_a_whole_answer_be_accepted(
    server: ScriptedServer, make: Callable[[], Answer]
) -> None:
    server.play(make())
    ask(server)
    assert names(server, accepted=True, stopped=True) == []


def test_lets_the_same_be_asked_again(server: ScriptedServer) -> None:
    """After an answer, and at the same time: these are calls, not attempts."""
    go = threading.Event()
    server.always([Wait(go), *answer(fault=rate_limited())])
    threads = [threading.Thread(target=ask, args=[server]) for _ in range(6)]
    for thread in threads:
        thread.start()
    server.wait_for_requests(6)
    go.set()
    for thread in threads:
        thread.join()
    assert names(server) == []
    server.forget()
    server.always(answer("Hello"))
    ask(server, times=7)
    assert names(server) == []


def test_lets_another_request_follow_a_refusal(server: ScriptedServer) -> None:
    server.always(error_answer(400, "too long"))
    ask(server, body=b"{}")
    ask(server, body=b"[]")
    assert names(server) == []


def test_lets_a_response_100_come_before_the_answer(server: ScriptedServer) -> None:
    server.always([b"HTTP/1.1 100 Continue\r\n\r\n", *answer("Hello")])
    ask(server, times=2)
    assert names(server, accepted=True) == []
    server.always([b"HTTP/1.1 100 Continue\r\n\r\n", *answer("Hello", fault="truncated")])
    ask(server)
    assert names(server, accepted=True) == ["cut_answer_accepted"]


def test_lets_a_stopped_answer_be_asked_for_again(server: ScriptedServer) -> None:
    server.always(answer("Hello you", fault=stall()))
    for _ in range(7):
        with asked(server) as response:
            response.read1(1)
        assert names(server, stopped=True) == []


def test_lets_a_kept_connection_that_ended_be_replaced_at_once(server: ScriptedServer) -> None:
    server.play(answer("Hello"), Fin(), answer("Hello"))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for body in (b"{}", BODY):
        connection.request("POST", "/v1/chat/completions", body)
        if body == b"{}":
            connection.getresponse().read()
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()
    ask(server)
    assert len(server.requests) == 3
    assert names(server) == []


def test_lets_a_retry_come_at_once_if_the_server_says_so(server: ScriptedServer) -> None:
    server.play(answer(fault=rate_limited(retry_after=0)), answer("Hello"))
    ask(server, times=2)
    assert names(server) == []


def test_does_not_take_a_slow_reader_for_a_patient_one() -> None:
    with ScriptedServer(send_buffer=4096) as server:
        server.play(answer("Hello", fault="endless_event"))
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            assert server.wait_for_connections(1)[0].wait_until_blocked(0.3)
            assert names(server, patience=0.2) == []


@pytest.mark.parametrize(
    ("scripts", "whole"),
    [
        ([answer(fault=rate_limited()), answer("Hello")], True),
        ([answer(fault=rate_limited(retry_after=0.6)), answer("Hello")], True),
        ([answer(fault=server_error()), answer(fault=no_response()), answer("Hello")], True),
        ([error_answer(400, "no")], False),
        ([error_answer(429, "used up", code="insufficient_quota")], False),
        ([answer("Hello you", fault="cut")], False),
        ([answer("Hello you", fault="truncated")], False),
        ([answer("Hello you", fault=stall())], False),
    ],
)
def test_finds_nothing_in_this_library(
    server: ScriptedServer, scripts: list[Script], whole: bool
) -> None:
    server.play(*scripts)
    with Client(
        api_key="test", base_url=server.base_url, timeout=Timeout(idle=0.4, gap=0.4)
    ) as client:
        try:
            list(client.create_chat_completion(model="m", messages=[], stream=True))
            accepted = True
        except OpenAIStreamError:
            accepted = False
        assert accepted == whole
        verdict = server.verdict(accepted=accepted, patience=2.0)
        verdict.check()
        assert str(verdict) == f"nothing wrong in {len(scripts)} requests"
    server.assert_played()


def test_check_raises_all_in_words(server: ScriptedServer) -> None:
    server.always(error_answer(400, "no"))
    ask(server, times=7)
    with pytest.raises(AssertionError, match=r"(?s)sent 7 times.*refusal_retried: asked again 0"):
        server.verdict().check()


# Every script was played -----------------------------------------------------------------------


def test_says_what_was_not_played(server: ScriptedServer) -> None:
    server.assert_played()
    server.play(answer("Hello"), answer("you"))
    server.on_connect(b"", b"")
    ask(server)
    with pytest.raises(AssertionError, match=r"^1 scripts were not played; 1 scripts of on_conn"):
        server.assert_played()
    ask(server, times=2)
    with pytest.raises(AssertionError, match=r"^1 requests found no script left to play; 3 req"):
        server.assert_played()


def test_a_default_is_a_script_for_every_request(server: ScriptedServer) -> None:
    server.always(answer("Hello"))
    ask(server, times=2)
    server.assert_played()
