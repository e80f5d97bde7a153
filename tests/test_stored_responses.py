"""``retrieve_response`` and ``cancel_response``: responses that the server keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import pytest
import requests

import openai_stream
from openai_stream import (
    AzureClient,
    BadRequestError,
    Client,
    InternalServerError,
    NotFoundError,
    Response,
    StreamAPIError,
    StreamDecodeError,
)
from openai_stream.testing import ScriptedServer, error_answer, json_answer

KEY = "sk-secret-0123456789abcdef"
STORED = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
FAILED = {**STORED, "status": "failed", "error": {"code": "server_error", "message": "boom"}}
CALLS: list[tuple[str, str, str]] = [
    ("retrieve_response", "GET", "/v1/responses/resp_1"),
    ("cancel_response", "POST", "/v1/responses/resp_1/cancel"),
]
calls = pytest.mark.parametrize(("name", "method", "path"), CALLS)


@calls
@pytest.mark.parametrize(
    "stored",
    [
        STORED,
        FAILED,
        {**STORED, "status": "queued", "output": None},
        {**STORED, "status": "cancelled"},
        {**STORED, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    ],
    ids=lambda stored: stored["status"],
)
def test_returns_the_response_whatever_its_status(
    server: ScriptedServer, client: Client, name: str, method: str, path: str, stored: Any
) -> None:
    server.play(json_answer(stored), json_answer(stored))
    module = getattr(openai_stream, name)
    for response in (getattr(client, name)("resp_1"), module("resp_1", client=client)):
        assert isinstance(response, Response)
        assert response.to_dict() == stored
        assert response.http is not None
    for request in server.requests:
        assert (request.method, request.path) == (method, path)
        assert request.body == b""
        assert "content-type" not in request.headers


@calls
def test_sends_what_was_added(server: ScriptedServer, name: str, method: str, path: str) -> None:
    server.play(json_answer(STORED))
    with Client(KEY, server.base_url, organization="org") as client:
        getattr(client, name)(
            "resp_1", timeout=5, extra_headers={"X-Mine": "1"}, extra_query={"include": ["a", "b"]}
        )
    (request,) = server.requests
    assert request.target == f"{path}?include=a&include=b"
    assert request.headers["x-mine"] == "1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["openai-organization"] == "org"


@calls
def test_a_forgotten_response(
    server: ScriptedServer, client: Client, name: str, method: str, path: str
) -> None:
    server.play(error_answer(404, "Response with id 'resp_1' not found."))
    with pytest.raises(NotFoundError, match="still keep that response") as caught:
        getattr(client, name)("resp_1")
    assert "model" not in str(caught.value)
    assert not caught.value.retryable


def test_a_server_that_refuses_to_cancel(server: ScriptedServer, client: Client) -> None:
    server.play(error_answer(400, "Cannot cancel a completed response."))
    with pytest.raises(BadRequestError, match="Cannot cancel"):
        client.cancel_response("resp_1")


@calls
def test_is_tried_again(server: ScriptedServer, name: str, method: str, path: str) -> None:
    slow = error_answer(503, "busy", headers={"retry-after-ms": "1"})
    server.play(slow, json_answer(STORED), slow, slow)
    with Client(KEY, server.base_url, max_retries=1) as client:
        assert getattr(client, name)("resp_1").status == "in_progress"
        with pytest.raises(InternalServerError):
            getattr(client, name)("resp_1")
    assert [request.method for request in server.requests] == [method] * 4


@pytest.mark.parametrize(
    ("body", "error"),
    [({"error": {"message": "boom"}}, StreamAPIError), ([1], StreamDecodeError)],
)
def test_what_is_not_a_response(
    server: ScriptedServer, client: Client, body: Any, error: type[Exception]
) -> None:
    server.play(json_answer(body))
    with pytest.raises(error):
        client.retrieve_response("resp_1")


def test_a_failed_response_still_raises_where_it_was_asked_for(
    server: ScriptedServer, client: Client
) -> None:
    server.play(json_answer(FAILED))
    with pytest.raises(StreamAPIError, match="boom"):
        client.create_response(model="any", input="")


@calls
@pytest.mark.parametrize(
    ("ident", "error"),
    [(None, TypeError), (1, TypeError), ("", ValueError), (" ", ValueError), ("..", ValueError)],
)
def test_refuses_what_is_not_an_id(
    server: ScriptedServer,
    client: Client,
    name: str,
    method: str,
    path: str,
    ident: Any,
    error: type[Exception],
) -> None:
    with pytest.raises(error, match="the id of a response"):
        getattr(client, name)(ident)
    assert not server.requests


def test_an_id_cannot_leave_its_place(server: ScriptedServer, client: Client) -> None:
    server.play(json_answer(STORED))
    client.retrieve_response("../a?b#c/cancel")
    assert server.requests[0].target == "/v1/responses/..%2Fa%3Fb%23c%2Fcancel"


@calls
def test_azure_has_none(name: str, method: str, path: str) -> None:
    azure = AzureClient(api_key="k", endpoint="https://e.test")
    with pytest.raises(TypeError, match=f"{name} needs a Client"):
        getattr(openai_stream, name)("resp_1", client=cast("Any", azure))


@calls
def test_a_session_that_sends_by_itself(
    server: ScriptedServer, name: str, method: str, path: str
) -> None:
    class Own(requests.Session):
        def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, url, *args, **kwargs)

    server.play(json_answer(STORED))
    with Own() as session, Client(KEY, server.base_url, session=session) as client:
        getattr(client, name)("resp_1")
    assert [(request.method, request.path) for request in server.requests] == [(method, path)]


@pytest.mark.parametrize("name", ["retrieve_response", "cancel_response"])
def test_says_what_it_takes(name: str) -> None:
    function = cast("Callable[..., Any]", getattr(openai_stream, name))
    expected = ["id", "client", "timeout", "extra_headers", "extra_query"]
    assert list(inspect.signature(function).parameters) == expected
