"""Answers that depend on what was asked before: limits of an account, faults by chance."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from openai_stream import Client, RateLimitError
from openai_stream.testing import (
    Fin,
    ScriptedServer,
    Send,
    answer,
    cut,
    json_answer,
    limits,
    random_faults,
)


def post(server: ScriptedServer, **body: Any) -> requests.Response:
    return requests.post(f"{server.base_url}/chat/completions", json=body, timeout=10)


# Limits ----------------------------------------------------------------------------------------


def test_answers_until_the_requests_are_used_up(server: ScriptedServer) -> None:
    server.always(limits(answer("Hello"), rpm=2))
    first, second, third = post(server), post(server), post(server)
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert b"Hello" in first.content
    assert first.headers["content-type"].startswith("text/event-stream")
    left = [one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)]
    assert left == ["1", "0", "0"]
    assert third.headers["x-ratelimit-limit-requests"] == "2"
    assert third.headers["x-ratelimit-reset-requests"].startswith("59.")
    assert third.headers["retry-after"] == "30"
    assert 29_000 < int(third.headers["retry-after-ms"]) <= 30_000
    error = third.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    assert "Please try again in 29." in error["message"]
    assert "retry-after" not in first.headers
    assert "x-ratelimit-limit-tokens" not in first.headers


def test_counts_tokens_as_the_request_allows_them(server: ScriptedServer) -> None:
    server.always(limits(json_answer({}), tpm=1000))
    body = {"max_completion_tokens": 300, "n": 2}
    size = len(json.dumps(body)) // 4
    first = post(server, **body)
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 1000 - 600 - size
    assert post(server, **body).json()["error"]["type"] == "tokens"
    assert post(server, max_tokens=300).ok
    assert post(server).ok


def test_counts_tokens_as_it_is_told(server: ScriptedServer) -> None:
    server.always(limits(json_answer({}), tpm=10, tokens=lambda request: 10))
    assert post(server).ok
    assert post(server).status_code == 429


def test_takes_nothing_for_what_another_limit_refuses(server: ScriptedServer) -> None:
    server.always(limits(json_answer({}), rpm=1, tpm=1000))
    post(server, max_tokens=100)
    left = post(server, max_tokens=100).headers["x-ratelimit-remaining-tokens"]
    assert int(left) >= 800


def test_says_no_time_for_what_is_always_too_much(server: ScriptedServer) -> None:
    server.always(limits(json_answer({}), tpm=100))
    refused = post(server, max_tokens=101)
    assert refused.status_code == 429
    assert "retry-after" not in refused.headers
    assert "Request too large: Limit 100" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["list", "handler", "iterator", "bytes"])
def test_adds_its_headers_to_any_answer(server: ScriptedServer, name: str) -> None:
    script = [Send(b""), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Fin()]
    given: dict[str, Any] = {
        "list": script,
        "handler": lambda request: script,
        "iterator": lambda request: iter(script),
        "bytes": script[1],
    }
    server.always(limits(given[name], rpm=5))
    assert post(server).headers["x-ratelimit-remaining-requests"] == "4"
    assert post(server).headers["x-ratelimit-remaining-requests"] == "3"


def test_refills_and_a_client_that_waits_gets_through(server: ScriptedServer) -> None:
    server.always(limits(answer("Hello"), rpm=2, period=0.8))
    with Client(api_key="test", base_url=server.base_url) as client:
        for number in range(4):
            stream = client.create_chat_completion(
                model="m", messages=[{"role": "user", "content": str(number)}], stream=True
            )
            assert "".join(stream.text()) == "Hello"
    assert 429 in [request.sent.status for request in server.requests]
    server.verdict().check()
    server.assert_played()


def test_is_read_by_the_client(server: ScriptedServer) -> None:
    server.always(limits(answer("Hello"), rpm=1))
    with Client(api_key="test", base_url=server.base_url, max_retries=0) as client:
        list(client.create_chat_completion(model="m", messages=[], stream=True))
        with pytest.raises(RateLimitError) as caught:
            client.create_chat_completion(model="m", messages=[], stream=True)
    assert caught.value.retry_after == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "no limit: give rpm="),
        ({"rpm": 0}, "a limit of 0 requests lets nothing pass"),
        ({"tpm": -1}, "a limit of -1 tokens"),
        ({"rpm": 1, "period": 0}, "period must be positive"),
    ],
)
def test_refuses_limits_that_are_none(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        limits(answer("Hello"), **arguments)


@pytest.mark.parametrize(
    ("period", "reset"), [(0.05, "50ms"), (8.64, "8.64s"), (60, "1m0s"), (4210, "1h10m10s")]
)
def test_writes_times_as_the_api_does(server: ScriptedServer, period: float, reset: str) -> None:
    server.always(limits(json_answer({}), rpm=1, period=period))
    assert post(server).headers["x-ratelimit-reset-requests"] == reset


# Faults by chance ------------------------------------------------------------------------------


def kinds(server: ScriptedServer, seed: int, count: int = 60) -> list[str]:
    server.always(random_faults({"rate_limited": 0.3, "truncated": 0.2}, "Hello you", seed=seed))
    return [
        "429" if got.status_code == 429 else "whole" if b"[DONE]" in got.content else "cut"
        for got in (post(server) for _ in range(count))
    ]


def test_goes_wrong_by_seed(server: ScriptedServer) -> None:
    first = kinds(server, 1)
    assert kinds(server, 1) == first
    assert kinds(server, 2) != first
    counted = {kind: first.count(kind) for kind in ("429", "cut", "whole")}
    assert 8 <= counted["429"] <= 28
    assert 4 <= counted["cut"] <= 22
    assert 18 <= counted["whole"] <= 42


@pytest.mark.parametrize(("rate", "whole"), [(0.0, True), (1.0, False)])
def test_takes_rates_of_none_and_of_all(server: ScriptedServer, rate: float, whole: bool) -> None:
    server.always(random_faults([("server_error", rate)], seed=1))
    assert {post(server).ok for _ in range(10)} == {whole}


def test_takes_faults_with_arguments_and_options_of_answers(server: ScriptedServer) -> None:
    server.always(random_faults([(cut(after=1), 0.5)], iter(["{}", "{}"]), seed=1, framing="close"))
    sizes = {len(post(server).content) for _ in range(20)}
    assert sizes == {len("data: {}\n\n"), len("data: {}\n\n") * 2 + len("data: [DONE]\n\n")}


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"cutt": 0.1}, "did you mean 'cut'"),
        ({"cut": -0.1}, "from 0 to 1"),
        ({"cut": 0.6, "reset": 0.6}, "together not more than 1"),
        ([(cut(after=9), 0.1)], "cut is to come after 9 events"),
    ],
)
def test_refuses_rates_that_are_none(rates: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        random_faults(rates, "Hello", seed=1)


def test_refuses_options_that_answers_do_not_have() -> None:
    with pytest.raises(TypeError, match="shape"):
        random_faults({"cut": 0.1}, seed=1, shape="close")
