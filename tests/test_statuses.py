"""Statuses that say no, and the errors for them."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from asking import ask, stream
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    Client,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    attempts,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Repeat,
    Reset,
    ScriptedServer,
    error_answer,
    head,
)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIStatusError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (408, APIStatusError),
        (409, ConflictError),
        (418, APIStatusError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, InternalServerError),
        (503, InternalServerError),
        (504, InternalServerError),
        (529, InternalServerError),
        (599, InternalServerError),
    ],
)
def test_a_status_is_an_error(
    server: ScriptedServer,
    client: Client,
    status: int,
    error: type[APIStatusError],
    streams: bool,
) -> None:
    server.play(
        error_answer(
            status,
            "Not like that.",
            code="some_code",
            type="some_type",
            headers={"X-Request-ID": "req_1", "X-Other": "y"},
        )
    )
    with pytest.raises(error) as caught:
        ask(client, stream=streams)
    told = caught.value
    assert type(told) is error
    assert told.status_code == status
    assert told.body == {
        "error": {
            "message": "Not like that.",
            "type": "some_type",
            "param": None,
            "code": "some_code",
        }
    }
    assert told.code == "some_code"
    assert told.type == "some_type"
    assert told.request_id == "req_1"
    assert told.headers["x-other"] == "y"
    for part in (str(status), "Not like that.", "some_code", "req_1", server.base_url):
        assert part in str(told)
    copy = pickle.loads(pickle.dumps(told))  # noqa: S301 - our own
    assert type(copy) is error
    assert str(copy) == str(told)
    assert (copy.status_code, copy.body, copy.code, copy.type) == (
        status,
        told.body,
        "some_code",
        "some_type",
    )
    assert dict(copy.headers) == dict(told.headers)


@pytest.mark.parametrize(
    ("body", "said", "code", "type_", "parsed"),
    [
        (b'{"error": "a text"}', "a text", None, None, {"error": "a text"}),
        (b'{"detail": "a detail"}', "a detail", None, None, {"detail": "a detail"}),
        (
            b'{"object": "error", "message": "of vLLM", "type": "BadRequest", "code": 400}',
            "of vLLM",
            "400",
            "BadRequest",
            {"object": "error", "message": "of vLLM", "type": "BadRequest", "code": 400},
        ),
        (b'{"error": {"message": 5, "code": 7}}', "400", "7", None,
         {"error": {"message": 5, "code": 7}}),
        (b"[1, 2]", "400", None, None, [1, 2]),
        (b"plain text", "plain text", None, None, "plain text"),
        (b"<html>  <h1>Bad\n\nGateway</h1>", "400 Bad Request", None, None, None),
        (b"\xff\xfe", "400", None, None, "\ufffd\ufffd"),
        (b"[" * 100_000, "400", None, None, None),
        (b"", "400 Bad Request", None, None, None),
        (b"x" * 5000, "xxx", None, None, "x" * 5000),
    ],
)  # fmt: skip
def test_the_bodies_of_errors(
    server: ScriptedServer,
    client: Client,
    body: bytes,
    said: str,
    code: str | None,
    type_: str | None,
    parsed: Any,
) -> None:
    server.play([head(400, {"Content-Length": str(len(body))}) + body])
    with pytest.raises(BadRequestError) as caught:
        ask(client)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    assert caught.value.code == code
    assert caught.value.type == type_
    if parsed is not None or not body:
        assert caught.value.body == parsed
    assert caught.value.request_id is None


def test_hints(server: ScriptedServer, client: Client) -> None:
    for status, hint in ((401, "key"), (404, "base URL"), (429, "limits")):
        server.play(error_answer(status, "no"))
        with pytest.raises(APIStatusError, match=hint):
            ask(client)
    server.play(error_answer(400, "Unknown parameter: stream_options"))
    with pytest.raises(BadRequestError, match="leave it out"):
        stream(client, stream_options={"include_usage": True})


@pytest.mark.parametrize(
    "rest",
    [[Fin()], [Reset()], [b"\x1f", Fin()]],
    ids=["FIN", "RST", "cut"],
)
def test_the_status_is_told_though_its_body_does_not_come(
    server: ScriptedServer, client: Client, rest: Any
) -> None:
    server.play([head(403, {"Content-Length": "100"}), *rest])
    with pytest.raises(PermissionDeniedError):
        ask(client)


def test_a_huge_body_of_an_error_is_not_read_to_its_end(
    server: ScriptedServer, client: Client
) -> None:
    server.play([head(403, {"Content-Length": str(10**9)}), *[b"x" * 2**20] * 40, Hang()])
    start = time.monotonic()
    with pytest.raises(PermissionDeniedError):
        ask(client)
    assert time.monotonic() - start < 2 + HELD_UP
    assert server.connections[0].closed.wait(SOON)


def test_a_body_of_an_error_that_trickles_is_not_read_to_its_end(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_ERROR_BODY_SECONDS", 0.2)
    server.play([head(403, {"Content-Length": "1000"}), Repeat(b"no ", delay=0.02)])
    start = time.monotonic()
    with pytest.raises(PermissionDeniedError, match="no no no"):
        ask(client)
    assert 0.2 <= time.monotonic() - start < 0.7 + HELD_UP
    assert server.connections[0].closed.wait(SOON)


def test_errors_under_nowait_are_the_streams(server: ScriptedServer, client: Client) -> None:
    server.play(error_answer(401, "no"))
    events = stream(client, nowait=True)
    with pytest.raises(AuthenticationError):
        events.get(timeout=SOON)
    with pytest.raises(AuthenticationError):
        events.stream.result(SOON)
    told: list[BaseException] = []
    server.play(error_answer(401, "no"))
    handle = stream(client, nowait=True, on_next=print, on_error=told.append)
    assert isinstance(handle.exception(SOON), AuthenticationError)
    assert told == [handle.exception()]
