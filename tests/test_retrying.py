"""``retryable``: the same answer to whether asking again may help, wherever an error comes from;
and the records of what is asked again.
"""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from openai_stream import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Client,
    ConfigurationError,
    OpenAIStreamError,
    RecordingError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    StructuredOutputError,
    Timeout,
    retrying,
)
from openai_stream.errors import class_of_status
from openai_stream.testing import (
    Fin,
    Hang,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    head,
    json_answer,
)

KEY = "sk-secret-0123456789abcdef"
BODY: dict[str, Any] = {"model": "any", "messages": []}
CHUNKS = chat_chunks("one two", seed=3)


def of_status(status: int, **attributes: Any) -> APIStatusError:
    return class_of_status(status)("said", status_code=status, **attributes)


@pytest.mark.parametrize(
    ("error", "used_up"),
    [
        (of_status(402), True),
        (of_status(403), False),
        (of_status(429, code="insufficient_quota"), True),
        (of_status(429, type="Insufficient_Balance_Error"), True),
        (of_status(429, code="rate_limited", type="limits"), False),
        (StreamAPIError("said", code="402"), True),
        (StreamAPIError("said", type="402"), True),
        (StreamAPIError("said", code="403"), False),
        (StreamError("said"), False),
        (ValueError("said"), False),
    ],
)
def test_knows_an_account_that_is_used_up(error: Exception, used_up: bool) -> None:
    assert retrying.has_no_credit(error) is used_up


def _ended(*reasons: Any) -> dict[str, Any]:
    return {"choices": [5, *({"finish_reason": reason} for reason in reasons)]}


NOTHING_SAID: list[Any] = [None, "error", [], {}, {"choices": "error"}]


@pytest.mark.parametrize(
    ("code", "kind", "body", "own"),
    [
        (None, None, _ended("stop", "error"), True),
        ("", None, _ended("ERROR"), True),
        (None, None, _ended("stop"), False),
        (None, "x", _ended("error"), False),
        *((None, None, body, False) for body in NOTHING_SAID),
        ("400", "server_error", None, False),
        ("503", "invalid_request", None, True),
        ("599", "server_error", None, False),
        *((code, "server_error", None, True) for code in ("399", "600", "x")),
        *((code, None, None, False) for code in ("399", "600", "1500", "5O0")),
        ("429", None, None, True),
        ("x", "rate_limit_error", None, True),
    ],
)
def test_knows_a_failure_of_the_server_itself(
    code: str | None, kind: str | None, body: Any, own: bool
) -> None:
    assert bool(retrying.is_servers_own(code, kind, body)) is own


@pytest.mark.parametrize("code", ["5" * 5000, "0" * 6 + "5" * 5000], ids=["5", "0"])
def test_a_number_of_thousands_of_digits_is_no_status(code: str) -> None:
    assert not retrying.is_servers_own(code, None, None)
    assert retrying.is_servers_own(code, "server_error", None)


@pytest.mark.parametrize(
    ("code", "kind", "limit"),
    [
        ("429", None, True),
        ("4290", None, False),
        ("x", "rate_limit_error", True),
        ("RateLimitReached", None, True),
        ("503", "server_error", False),
        (None, None, False),
    ],
)
def test_knows_a_limit_of_rate(code: str | None, kind: str | None, limit: bool) -> None:
    assert retrying.is_limit(code, kind) is limit


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (APIConnectionError("refused"), True),
        (APIConnectionError("redirects", lasting=True), False),
        (APITimeoutError("no headers"), True),
        (StreamInterruptedError("cut"), True),
        *((StreamTimeoutError(deadline=name), True) for name in ("idle", "gap", "total")),
        (StreamDecodeError("not JSON"), True),
        (StreamDecodeError("a page", lasting=True), False),
        *((error(), False) for error in (ConfigurationError, RecordingError, OpenAIStreamError)),
        (StructuredOutputError(reason="refusal"), False),
        (StreamError(), False),
        *((of_status(status), True) for status in (408, 409, 429, 500, 502, 503, 504)),
        *((of_status(status), True) for status in (520, 522, 524, 529, 530)),
        *((of_status(status), False) for status in (400, 401, 402, 403, 404, 413, 422, 501, 505)),
        (of_status(429, code="insufficient_quota"), False),
        (of_status(429, type="insufficient_quota"), False),
        (of_status(503, headers={"x-should-retry": "false"}), False),
        (of_status(400, headers={"x-should-retry": "true"}), True),
    ],
)
def test_every_error_says_whether_asking_again_may_help(
    error: OpenAIStreamError, retryable: bool
) -> None:
    assert error.retryable is retryable
    assert pickle.loads(pickle.dumps(error)).retryable is retryable  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("server_error", None, True),
        (None, "server_error", True),
        (None, "InternalServerError", True),
        (None, "overloaded_error", True),
        ("model_overloaded", "", True),
        ("rate_limit_exceeded", "tokens", True),
        (None, "rate_limit_error", True),
        (None, "RESOURCE_EXHAUSTED", True),
        (None, "ThrottlingException", True),
        ("502", None, True),
        ("429", "rate_limit", True),
        ("503", "UNAVAILABLE", True),
        # Not the server's own: the same request would meet the same.
        ("400", "server_error", False),
        ("context_length_exceeded", "invalid_request_error", False),
        ("content_filter", None, False),
        ("invalid_prompt", None, False),
        ("insufficient_quota", "rate_limit_error", False),
        (None, None, False),
    ],
)
def test_the_servers_own_failure_in_a_stream(
    code: str | None, kind: str | None, retryable: bool
) -> None:
    assert StreamAPIError("said", code=code, type=kind).retryable is retryable


@pytest.mark.parametrize(
    ("reason", "retryable"),
    [("error", True), ("network_error", True), ("insufficient_system_resource", True)],
)
def test_a_choice_that_the_server_gave_up(
    server: ScriptedServer, client: Client, reason: str, retryable: bool
) -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    server.play(answer([*CHUNKS[:2], last]))
    events = client.create_chat_completion(**BODY, stream=True)
    with pytest.raises(StreamAPIError, match=reason) as caught:
        list(events)
    assert caught.value.retryable is retryable


def test_what_the_network_said(server: ScriptedServer) -> None:
    redirect = [head(307, {"Location": "http://127.0.0.1/", "Content-Length": "0"})]
    server.play(redirect, [Hang()], error_answer(400, "no", headers={"x-should-retry": "true"}))
    with Client(KEY, server.base_url, max_retries=0, timeout=Timeout(gap=0.2)) as client:
        with pytest.raises(APIConnectionError, match="redirects") as redirected:
            client.create_chat_completion(**BODY)
        with pytest.raises(APITimeoutError) as late:
            client.create_chat_completion(**BODY)
        with pytest.raises(APIStatusError) as wished:
            client.create_chat_completion(**BODY)
    with (
        Client(KEY, "http://127.0.0.1:1/v1", max_retries=0) as nowhere,
        pytest.raises(APIConnectionError) as refused,
    ):
        nowhere.create_chat_completion(**BODY)
    assert [one.value.retryable for one in (redirected, late, wished, refused)] == [
        False,
        True,
        True,
        True,
    ]


def test_a_missing_bundle_is_not_asked_for_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    https = server.base_url.replace("http:", "https:")
    with Client(KEY, https) as client, pytest.raises(APIConnectionError) as caught:
        client.create_chat_completion(**BODY)
    assert not caught.value.retryable


# How long to wait, and who is told ---------------------------------------------------------------


def test_waits_grow_to_8_seconds_and_differ() -> None:
    for retries, most in enumerate([0.5, 1, 2, 4, 8, 8, 8]):
        waits = [retrying.backoff(retries) for _ in range(200)]
        assert all(0.75 * most <= seconds <= most for seconds in waits)
        assert max(waits) - min(waits) > 0.1 * most


def records(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = [one for one in caplog.records if one.name == "openai_stream"]
    assert all(one.levelno == logging.WARNING for one in ours)
    return [one.getMessage() for one in ours]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "backoff", lambda retries: 0.01)


@pytest.mark.usefixtures("at_once")
def test_retries_are_logged(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    server.play(
        error_answer(503, f"busy with {KEY}"),
        error_answer(429, "slow down", headers={"retry-after-ms": "20"}),
        json_answer({"choices": []}),
    )
    with Client(KEY, server.base_url, max_retries=2) as client:
        client.create_chat_completion(**BODY)
    first, second = records(caplog)
    assert "503" in first
    assert "busy with" in first
    assert "Asking again in 0.0 s (retry 1 of 2)" in first
    assert "429" in second
    assert "(retry 2 of 2)" in second
    assert KEY not in caplog.text


@pytest.mark.usefixtures("at_once")
def test_restarts_are_logged(
    server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(answer([*CHUNKS[:2], Fin()]), answer(CHUNKS))
    client.create_chat_completion(**BODY, stream=True, restarts=3).stream.result()
    (record,) = records(caplog)
    assert f"{server.base_url}/chat/completions: the connection broke" in record
    assert "Asking for the answer again in 0.0 s (restart 1 of 3)" in record


def test_nothing_is_logged_where_nothing_is_asked_again(
    server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(answer(CHUNKS), error_answer(400, "no"))
    client.create_chat_completion(**BODY, stream=True).stream.result()
    with pytest.raises(APIStatusError):
        client.create_chat_completion(**BODY)
    server.play(answer([{"error": {"message": "m", "type": "server_error"}}]))
    with pytest.raises(StreamAPIError):
        client.create_chat_completion(**BODY, stream=True, restarts=1).stream.result()
    assert records(caplog) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no", "no."),
        ("Is the server running?", "Is the server running?"),
        ("too late.", "too late."),
    ],
)
def test_an_error_is_followed_by_what_is_done_about_it(said: str, expected: str) -> None:
    assert retrying.sentence(OpenAIStreamError(said)) == expected
