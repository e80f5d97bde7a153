"""A session of the user's own: whatever ``requests`` can do with one, a call can be made with it.

What the rest of the suite checks with the library's own session, ``conftest`` runs with a plain
``requests.Session`` too. Here is what is a session's business alone.
"""

from __future__ import annotations

import concurrent.futures
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from helpers import SOON
from machine import HELD_UP
from requests.adapters import HTTPAdapter
from test_addresses import Swallowing
from urllib3.util import Retry

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    AzureClient,
    BadRequestError,
    Client,
    ConfigurationError,
    InternalServerError,
    PermissionDeniedError,
    RateLimitError,
    StreamInterruptedError,
    Timeout,
    retrying,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Pause,
    Repeat,
    Reset,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    head,
    json_answer,
)

KEY = "sk-session-secret"
LIMIT = 0.25 + HELD_UP / 8
CHUNKS = chat_chunks("Hello big world")
WHOLE = {"object": "chat.completion", "choices": []}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


def client_of(server: ScriptedServer, session: requests.Session | None, **arguments: Any) -> Client:
    return Client(
        **{
            "api_key": KEY,
            "base_url": server.base_url,
            "max_retries": 0,
            "session": session,
            **arguments,
        }
    )


def ask(client: Client | AzureClient, **arguments: Any) -> Any:
    return client.create_chat_completion(model="m", messages=[], **arguments)


def stream(client: Client, **arguments: Any) -> Any:
    return ask(client, stream=True, **arguments)


# How long it may take ------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("where", ["before the headers", "in the body"])
def test_an_answer_may_take_longer_than_connect(
    server: ScriptedServer, session: requests.Session, streams: bool, where: str
) -> None:
    script = answer(CHUNKS) if streams else json_answer(WHOLE)
    script.insert(0 if where == "before the headers" else 1, Pause(3 * LIMIT))
    server.play(script)
    with client_of(server, session, timeout=Timeout(connect=LIMIT)) as client:
        got = ask(client, stream=streams)
        assert len(list(got)) == len(CHUNKS) if streams else got.to_dict() == WHOLE


@pytest.mark.parametrize(
    ("limits", "streams", "said"),
    [
        ({"gap": LIMIT}, False, "gap"),
        ({"idle": LIMIT}, True, "idle"),
        ({"gap": LIMIT}, True, "gap"),
        ({"total": LIMIT}, False, "total time"),
    ],
)
def test_the_wait_for_the_headers_is_bounded(
    server: ScriptedServer,
    session: requests.Session,
    limits: dict[str, float],
    streams: bool,
    said: str,
) -> None:
    server.always([Hang()])
    with client_of(server, session, timeout=Timeout(connect=60, **limits)) as client:
        start = time.monotonic()
        with pytest.raises(APITimeoutError, match=said):
            ask(client, stream=streams)
        assert LIMIT * 0.8 < time.monotonic() - start < LIMIT + 0.5 + HELD_UP


def test_connecting_is_bounded_by_connect(session: requests.Session) -> None:
    swallowing = Swallowing("127.0.0.9")
    try:
        with Client(
            KEY,
            f"http://127.0.0.9:{swallowing.port}",
            session=session,
            max_retries=0,
            timeout=Timeout(connect=LIMIT),
        ) as client:
            start = time.monotonic()
            with pytest.raises(APITimeoutError, match=f"no connection within {LIMIT} s"):
                stream(client)
            assert LIMIT * 0.8 < time.monotonic() - start < LIMIT + 0.5 + HELD_UP
    finally:
        swallowing.close()


# Redirects, cookies --------------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("streams", [True, False])
def test_the_body_of_a_redirect_is_not_read(
    server: ScriptedServer, session: requests.Session, given: bool, streams: bool
) -> None:
    endless = head(302, {"Location": "http://127.0.0.1:1/elsewhere"})
    server.always([endless, Repeat(b"x" * 65536)])
    seen: list[Any] = []
    with client_of(
        server,
        session if given else None,
        timeout=Timeout(total=SOON),
        trace=lambda _, response: seen.append(response.headers["location"]),
    ) as client:
        start = time.monotonic()
        with pytest.raises(APIConnectionError, match=r"redirects \(302\) to http://127.0.0.1:1/e"):
            ask(client, stream=streams)
        assert time.monotonic() - start < 1 + HELD_UP
    assert seen == ["http://127.0.0.1:1/elsewhere"]
    assert server.connections[0].client_closed.wait(SOON)


def test_a_session_of_our_own_takes_no_cookies(server: ScriptedServer) -> None:
    for name in ("a", "b"):
        server.play([head(200, {"Set-Cookie": f"{name}=1; Path=/", "Content-Length": "2"}), b"{}"])
    with client_of(server, None) as client:
        for _ in range(2):
            ask(client)
        (own,) = client._own_sessions.values()
        assert len(own.cookies) == 0
    assert "cookie" not in server.requests[1].headers


def test_a_session_that_is_given_keeps_its_cookies(
    server: ScriptedServer, session: requests.Session
) -> None:
    server.always([head(200, {"Set-Cookie": "a=1; Path=/", "Content-Length": "2"}), b"{}"])
    with client_of(server, session) as client:
        for _ in range(2):
            ask(client)
    assert server.requests[1].headers["cookie"] == "a=1"


# Headers -------------------------------------------------------------------------------------


def many(count: int, status: int = 200, **more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} OK", *(f"X-Policy-{n}: {n}" for n in range(count))]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("count", [99, 100, 101, 1000])
def test_more_headers_than_a_hundred(server: ScriptedServer, count: int) -> None:
    server.play([many(count, Transfer_Encoding="chunked"), *answer(CHUNKS)[1:]])
    server.play([many(count, Content_Length="2", Connection="keep-alive"), b"{}"])
    server.play([many(count, 400, Content_Length="24"), b'{"error":{"message":"m"}}'[:24]])
    with client_of(server, None, max_retries=2) as client:
        events = stream(client)
        assert [event.to_dict() for event in events] == CHUNKS
        headers = events.stream.headers
        assert [headers[f"X-Policy-{n}"] for n in range(count)] == [str(n) for n in range(count)]
        assert ask(client).to_dict() == {}
        with pytest.raises(Exception, match="400") as caught:
            ask(client)
        assert type(caught.value).__name__ == "BadRequestError"
    assert len(server.requests) == 3
    assert len(server.connections) == 1


def test_a_header_in_several_lines_and_twice_is_not_torn_apart(server: ScriptedServer) -> None:
    folded = many(150)[:-2] + b"X-Folded: a\r\n b\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
    server.play([folded + b"Content-Length: 2\r\n\r\n", b"{}"])
    seen: list[Any] = []
    with client_of(server, None, trace=lambda _, response: seen.append(response.headers)) as client:
        ask(client)
    assert seen[0]["X-Folded"].split() == ["a", "b"]
    assert seen[0]["X-Twice"] == "1, 2"


def test_headers_after_interim_responses(server: ScriptedServer) -> None:
    interim = b"".join(many(150, 103).replace(b"OK", b"Early Hints") for _ in range(3))
    server.play([interim + many(150, Content_Length="2"), b"{}"])
    with client_of(server, None) as client:
        assert ask(client).to_dict() == {}


def test_headers_without_end(server: ScriptedServer) -> None:
    server.play([b"HTTP/1.1 200 OK\r\n", Repeat(b"X-A: " + b"b" * 1000 + b"\r\n")])
    with (
        client_of(server, None, max_retries=2) as client,
        pytest.raises(APIConnectionError, match="the headers are longer than"),
    ):
        ask(client)
    assert len(server.requests) == 1


def test_a_session_that_is_given_takes_no_more_than_a_hundred_headers(
    server: ScriptedServer, session: requests.Session
) -> None:
    server.always([many(150, Content_Length="2"), b"{}"])
    with (
        client_of(server, session, max_retries=2) as client,
        pytest.raises(APIConnectionError, match="more than 100 headers"),
    ):
        ask(client)
    assert len(server.requests) == 1  # it is answered, and paid for, in the same way each time


def test_a_status_line_is_judged_before_more_comes(server: ScriptedServer) -> None:
    server.play([b"220 mail.test ESMTP\r\n", Hang()])
    with (
        client_of(server, None, timeout=Timeout(idle=60)) as client,
        pytest.raises(APIConnectionError, match="220 mail"),
    ):
        ask(client)


# What a session's hooks do -------------------------------------------------------------------


def raise_for_status(response: requests.Response, **_: Any) -> None:
    response.raise_for_status()


@pytest.mark.parametrize("streams", [True, False])
def test_a_hook_that_raises_for_the_status_changes_nothing(
    server: ScriptedServer, session: requests.Session, streams: bool
) -> None:
    errors = []
    for hooks in ([], [raise_for_status]):
        session.hooks["response"] = hooks
        server.play(error_answer(429, "slow down", code="rate_limited"))
        with client_of(server, session) as client, pytest.raises(RateLimitError) as caught:
            ask(client, stream=streams)
        errors.append((str(caught.value), caught.value.code, caught.value.body))
    assert errors[0] == errors[1]
    assert "slow down" in errors[0][0]
    assert len(server.connections) == 1  # which was kept, so its body was read


def test_a_hook_that_raises_for_the_status_is_retried_as_the_status_is(
    server: ScriptedServer, session: requests.Session
) -> None:
    session.hooks["response"] = [raise_for_status]
    server.play(
        error_answer(503, "busy", headers={"retry-after-ms": "1"}),
        error_answer(400, "no"),
    )
    with client_of(server, session, max_retries=2) as client, pytest.raises(BadRequestError):
        ask(client)
    assert len(server.requests) == 2


def test_a_hook_that_raises_leaves_no_response_open(
    server: ScriptedServer, session: requests.Session
) -> None:
    class PolicyError(Exception):
        pass

    def refuse(response: requests.Response, **_: Any) -> None:
        raise PolicyError("not here")

    session.hooks["response"] = [refuse]
    server.play([head(200, {"Transfer-Encoding": "chunked"}), Hang()])
    with client_of(server, session) as client:
        with pytest.raises(PolicyError):
            stream(client)
        assert server.connections[0].client_closed.wait(SOON)


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_hook_may_read_the_answer(
    server: ScriptedServer, session: requests.Session, framing: Any, encoding: Any
) -> None:
    """What it has read is not gone: a program logs the body of each response, say."""
    read: list[str] = []
    session.hooks["response"] = [lambda response, **_: read.append(response.text)]
    server.play(answer(CHUNKS, framing=framing, encoding=encoding), json_answer(WHOLE))
    with client_of(server, session) as client:
        assert [event.to_dict() for event in stream(client)] == CHUNKS
        assert ask(client).to_dict() == WHOLE
    assert all(read)


def test_a_cut_answer_that_a_hook_has_read_is_not_whole(
    server: ScriptedServer, session: requests.Session
) -> None:
    session.hooks["response"] = [lambda response, **_: response.text and None]
    server.play(answer(CHUNKS[:-1], framing="close", done=False))
    with client_of(server, session) as client, pytest.raises(StreamInterruptedError) as caught:
        list(stream(client))
    assert caught.value.snapshot.choices[0].message.content == "Hello big world"


def test_a_hook_may_put_another_response_in_its_place(
    server: ScriptedServer, session: requests.Session
) -> None:
    def replaced(response: requests.Response, **_: Any) -> requests.Response:
        made = requests.Response()
        made.status_code, made.url = 403, response.url
        made._content = b'{"error": {"message": "not on this network"}}'
        return made

    session.hooks["response"] = [replaced]
    server.play(answer([CHUNKS[0], Hang()]))
    with client_of(server, session) as client:
        with pytest.raises(PermissionDeniedError, match="not on this network"):
            stream(client)
        assert server.connections[0].client_closed.wait(SOON)  # nobody else has it


class OwnResponse(requests.Response):
    """Around what ``requests`` has returned: both read from one ``raw``."""

    @classmethod
    def around(cls, response: requests.Response, **_: Any) -> OwnResponse:
        made = cls()
        vars(made).update(vars(response))
        return made


class WrapsInSend(requests.Session):
    def send(self, *args: Any, **kwargs: Any) -> OwnResponse:
        return OwnResponse.around(super().send(*args, **kwargs))


class WrapsInRequest(requests.Session):
    def request(self, *args: Any, **kwargs: Any) -> OwnResponse:
        return OwnResponse.around(super().request(*args, **kwargs))


class WrapsInAHook(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.hooks["response"] = [OwnResponse.around]


class Promising(requests.Session):
    """As ``FuturesSession`` of ``requests-futures``: what it gives is no response yet."""

    def request(self, *args: Any, **kwargs: Any) -> Any:
        return concurrent.futures.Future()


@pytest.mark.parametrize("streams", [True, False])
def test_a_session_that_gives_no_response(server: ScriptedServer, streams: bool) -> None:
    said = "the session gives a Future and no response: it needs to be one that blocks"
    with (
        Promising() as session,
        client_of(server, session) as client,
        pytest.raises(ConfigurationError, match=said),
    ):
        ask(client, stream=streams)


class Counting:
    """A file around another, which counts what is read: with a name for each thing but ``read``."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = self._raw.read(*args, **kwargs)
        self.count += len(data)
        return data


class Counts(requests.Session):
    def send(self, *args: Any, **kwargs: Any) -> OwnResponse:
        made = OwnResponse.around(super().send(*args, **kwargs))
        made.raw = Counting(made.raw)
        return made


@pytest.mark.parametrize("kind", [WrapsInSend, WrapsInRequest, WrapsInAHook, Counts])
def test_a_session_may_have_a_response_class_of_its_own(
    server: ScriptedServer, kind: type[requests.Session]
) -> None:
    server.play(answer(CHUNKS), json_answer(WHOLE), error_answer(400, "no"))
    with kind() as session, client_of(server, session) as client:
        assert [event.to_dict() for event in stream(client)] == CHUNKS
        assert ask(client).to_dict() == WHOLE
        with pytest.raises(BadRequestError):
            ask(client)
    assert len(server.connections) == 1  # each was read to its end


@pytest.mark.parametrize(
    "error", [requests.HTTPError("no model in it"), requests.RequestException("no model in it")]
)
def test_a_hook_that_refuses_a_good_answer_is_asked_once(
    server: ScriptedServer, session: requests.Session, error: Exception
) -> None:
    def refuses(response: requests.Response, **_: Any) -> None:
        raise error

    session.hooks["response"] = [refuses]
    server.always(answer(CHUNKS))
    with (
        client_of(server, session, max_retries=2) as client,
        pytest.raises(APIConnectionError, match="session refuses the answer: no model in it"),
    ):
        stream(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (500, InternalServerError)])
def test_retries_of_the_session_that_are_used_up_leave_the_status(
    server: ScriptedServer, session: requests.Session, status: int, kind: type[Exception]
) -> None:
    """``urllib3`` drops the last answer, and tells its status only."""
    again = Retry(1, backoff_factor=0, status_forcelist=[status], allowed_methods=None)
    session.mount("http://", HTTPAdapter(max_retries=again))
    server.always(error_answer(status, "busy"))
    traced: list[int] = []

    def trace(request: Any, response: requests.Response | None) -> None:
        assert response is not None
        traced.append(response.status_code)

    with client_of(server, session, trace=trace) as client, pytest.raises(kind):
        stream(client)
    assert (len(server.requests), traced) == (2, [status])


def test_an_auth_without_its_server_is_no_wrong_configuration(
    server: ScriptedServer, session: requests.Session
) -> None:
    def no_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
        raise requests.ConnectionError("the token server is down")

    session.auth = no_token
    with (
        client_of(server, session, api_key=None) as client,
        pytest.raises(APIConnectionError, match="the session's auth failed: the token server is"),
    ):
        stream(client)


def test_a_header_of_an_auths_that_cannot_be_is_not_tried_again(
    server: ScriptedServer, session: requests.Session
) -> None:
    """A token read from a file, with the line's end."""
    asked: list[str] = []

    def with_line_end(request: requests.PreparedRequest) -> requests.PreparedRequest:
        asked.append("once")
        request.headers["Authorization"] = f"Bearer {KEY}\n"
        return request

    session.auth = with_line_end
    with (
        client_of(server, session, api_key=None, max_retries=2) as client,
        pytest.raises(ConfigurationError, match="Invalid header value") as caught,
    ):
        stream(client)
    assert asked == ["once"]
    assert KEY not in str(caught.value)


def test_a_hook_sees_the_location_of_a_redirect(
    server: ScriptedServer, session: requests.Session
) -> None:
    seen = []
    session.hooks["response"] = [lambda response, **_: seen.append(response.headers["location"])]
    server.play([head(307, {"Location": "http://h/x", "Content-Length": "0"})])
    with (
        client_of(server, session) as client,
        pytest.raises(APIConnectionError, match="http://h/x"),
    ):
        ask(client)
    assert seen == ["http://h/x"]


# A session that puts something of its own into each request ------------------------------------


class Signing(requests.Session):
    """As google-auth's and OAuth 2's: the token is put in by ``request``."""

    asked = 0

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        self.asked += 1
        headers = more.pop("headers")
        headers["Authorization"] = f"Bearer {KEY}-{self.asked}"
        return super().request(method, url, headers=headers, **more)


@pytest.mark.parametrize("streams", [True, False])
def test_what_the_sessions_request_puts_in_is_sent(server: ScriptedServer, streams: bool) -> None:
    good = answer(CHUNKS) if streams else json_answer(WHOLE)
    server.play(error_answer(503, "busy", headers={"retry-after-ms": "1"}), good)
    traced: list[Any] = []
    with (
        Signing() as session,
        client_of(
            server,
            session,
            api_key=None,
            max_retries=1,
            trace=lambda request, _: traced.append(request.headers["Authorization"]),
        ) as client,
    ):
        session.params = {"a": "b"}
        got = ask(client, stream=streams)
        assert len(list(got)) == len(CHUNKS) if streams else got.to_dict() == WHOLE
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == traced == [f"Bearer {KEY}-1", f"Bearer {KEY}-2"]
    assert [request.query for request in server.requests] == [{"a": "b"}] * 2


def test_a_sessions_token_shows_nowhere(server: ScriptedServer) -> None:
    server.always(error_answer(401, f"wrong: Bearer {KEY}-1"))
    with (
        Signing() as session,
        client_of(server, session, api_key=None) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        ask(client)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert "No API key was sent" not in str(caught.value)


def test_a_redirect_is_not_read_by_way_of_request_either(server: ScriptedServer) -> None:
    server.play([head(302, {"Location": "http://h/x"}), Repeat(b"x" * 65536)])
    with (
        Signing() as session,
        client_of(server, session, timeout=Timeout(total=SOON)) as client,
        pytest.raises(APIConnectionError, match="http://h/x"),
    ):
        stream(client)
    assert server.connections[0].client_closed.wait(SOON)


def test_what_a_sessions_request_raises_goes_through(server: ScriptedServer) -> None:
    class SignInError(Exception):
        pass

    class Failing(requests.Session):
        def request(self, *_: Any, **__: Any) -> Any:
            raise SignInError("no network")

    with Failing() as session, client_of(server, session) as client, pytest.raises(SignInError):
        stream(client)
    assert server.requests == []


# A key that changes --------------------------------------------------------------------------


class Keys:
    def __init__(self, *keys: str | None) -> None:
        self.keys = list(keys)

    def __call__(self) -> str | None:
        return self.keys.pop(0)


@pytest.mark.parametrize("given", [True, False])
def test_a_key_is_asked_for_before_each_attempt(
    server: ScriptedServer, session: requests.Session, given: bool
) -> None:
    server.play(error_answer(503, "busy", headers={"retry-after-ms": "1"}))
    server.play(answer([*CHUNKS[:1], Reset()]), answer(CHUNKS))
    keys = Keys("key-number-1", "key-number-2", "key-number-3")
    with client_of(server, session if given else None, api_key=keys, max_retries=1) as client:
        list(stream(client, restarts=1))
    assert [request.headers["authorization"] for request in server.requests] == [
        f"Bearer key-number-{n}" for n in (1, 2, 3)
    ]
    assert "key-number" not in repr(client)


@pytest.mark.parametrize("none", [None, "", "  "])
def test_a_function_without_a_key(server: ScriptedServer, none: str | None) -> None:
    server.always(json_answer(WHOLE))
    with client_of(server, None, api_key=lambda: none) as client:
        assert ask(client).to_dict() == WHOLE
    assert "authorization" not in server.requests[0].headers
    with (
        Client(lambda: none) as openai,
        pytest.raises(ConfigurationError, match="no API key: the function given as api_key"),
    ):
        ask(openai)


def test_what_a_keys_function_raises_goes_through(server: ScriptedServer) -> None:
    for error in (OSError("no vault"), ValueError("no vault"), requests.ConnectionError("vault")):

        def fail(error: Exception = error) -> str:
            raise error

        with client_of(server, None, api_key=fail, max_retries=2) as client:
            with pytest.raises(type(error)) as caught:
                stream(client)
            assert caught.value is error
            assert stream(client, nowait=True).stream.exception(SOON) is error
    assert server.requests == []


@pytest.mark.parametrize("key", ["a\nb", " a", b"bytes", 7])
def test_a_function_that_gives_no_key(server: ScriptedServer, key: Any) -> None:
    with (
        client_of(server, None, api_key=lambda: key) as client,
        pytest.raises(ConfigurationError, match="api_key"),
    ):
        stream(client)
    assert server.requests == []


def test_each_key_that_was_given_shows_nowhere(server: ScriptedServer) -> None:
    server.play(error_answer(503, "busy", headers={"retry-after-ms": "1"}))
    server.play(error_answer(401, "wrong: key-number-1 and key-number-2"))
    keys = Keys("key-number-1", "key-number-2")
    with (
        client_of(server, None, api_key=keys, max_retries=1) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        ask(client)
    assert "key-number" not in "".join(traceback.format_exception(caught.value))


def test_azures_key_may_be_a_function_too(server: ScriptedServer) -> None:
    server.always(json_answer(WHOLE))
    keys = Keys("key-number-1", "key-number-2", None)
    with AzureClient(keys, server.base_url) as client:
        for _ in range(2):
            ask(client)
        with pytest.raises(ConfigurationError, match="api_key"):
            ask(client)
    assert [request.headers["api-key"] for request in server.requests] == [
        "key-number-1",
        "key-number-2",
    ]


# The trace -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False])
def test_the_trace_may_read_what_is_not_a_stream(
    server: ScriptedServer, session: requests.Session, given: bool
) -> None:
    server.play(
        error_answer(503, "busy", headers={"retry-after-ms": "1"}),
        json_answer(WHOLE),
        error_answer(400, "no"),
        error_answer(400, "no"),
        [head(302, {"Location": "http://h/x"}), Repeat(b"x" * 1000)],
    )
    read: list[str] = []
    with client_of(
        server,
        session if given else None,
        max_retries=1,
        trace=lambda _, response: read.append(response.text),
    ) as client:
        assert ask(client).to_dict() == WHOLE
        for streams in (True, False):
            with pytest.raises(BadRequestError, match="400 Bad Request: no") as caught:
                ask(client, stream=streams)
            assert caught.value.body == json.loads(read[-1])
        with pytest.raises(APIConnectionError, match="redirect"):
            ask(client)
    assert "busy" in read[0]
    assert json.loads(read[1]) == WHOLE
    assert read[-1] == ""


def test_the_trace_sees_an_answer_that_broke(server: ScriptedServer) -> None:
    read: list[str] = []
    server.play([head(200, {"Content-Length": "9"}), b'{"a":', Fin()])
    with (
        client_of(server, None, trace=lambda _, response: read.append(response.text)) as client,
        pytest.raises(StreamInterruptedError),
    ):
        ask(client)
    assert read == ['{"a":']


# What no other attempt mends -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["not there", "no certificate"])
@pytest.mark.parametrize("given", [True, False])
def test_a_ca_bundle_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    session: requests.Session,
    server: ScriptedServer,
    tmp_path: Path,
    name: str,
    kind: str,
    given: bool,
) -> None:
    bundle = tmp_path / "corporate.pem"
    if kind == "no certificate":
        bundle.write_text("nothing\n")
    monkeypatch.setenv(name, str(bundle))
    traced: list[Any] = []
    with (
        client_of(
            server,
            session if given else None,
            base_url=f"https://127.0.0.1:{server.port}",
            max_retries=2,
            trace=lambda *_: traced.append(1),
        ) as client,
        pytest.raises(APIConnectionError, match=f"{name}.*corporate.pem"),
    ):
        stream(client)
    assert len(traced) == 1


@pytest.mark.parametrize("what", ["verify", "cert"])
def test_a_file_of_the_sessions_that_is_not_there(
    session: requests.Session, server: ScriptedServer, what: str
) -> None:
    setattr(session, what, "/nowhere/file.pem")
    with (
        client_of(
            server, session, base_url=f"https://127.0.0.1:{server.port}", max_retries=2
        ) as client,
        pytest.raises(APIConnectionError, match=r"the session's .*/nowhere/file\.pem"),
    ):
        stream(client)
    assert len(server.connections) == 0


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
@pytest.mark.parametrize("target", ["http", "https"])
@pytest.mark.parametrize("given", [True, False])
def test_a_proxy_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
    session: requests.Session,
    scheme: str,
    target: str,
    given: bool,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:pw-secret@127.0.0.1:{port}")
        traced: list[Any] = []
        with (
            Client(
                KEY,
                f"{target}://127.0.0.2:9",
                session=session if given else None,
                max_retries=2,
                trace=lambda *_: traced.append(1),
            ) as client,
            pytest.raises(APIConnectionError, match=rf"the proxy {scheme}://127.*:{port} "),
        ):
            stream(client)
    assert len(traced) == 1


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (407, 1), (502, 3), (503, 3)])
def test_what_a_proxy_answers(monkeypatch: pytest.MonkeyPatch, status: int, tries: int) -> None:
    monkeypatch.setattr(retrying, "backoff", lambda retries: 0.0)
    with ScriptedServer() as proxy:
        proxy.always([head(status, {"Content-Length": "0"})])
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with (
            Client(KEY, "https://host.test", max_retries=2) as client,
            pytest.raises(APIConnectionError, match=f"the proxy http.*{status}"),
        ):
            stream(client)
        assert len(proxy.requests) == tries


def test_a_blank_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, " \t")
    monkeypatch.setenv("OPENAI_API_ENDPOINT", "http://second.test/v1")
    with Client() as client:
        assert (client.base_url, client.api_key) == ("http://second.test/v1", None)
        assert (client.organization, client.project) == (None, None)


# Hosts, certificates, protocols -----------------------------------------------------------------


def test_a_host_with_letters_that_are_not_ascii(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    asked = []

    def found(host: Any, *more: Any, **named: Any) -> Any:
        asked.append(host)
        return look_up("127.0.0.1", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    server.play(answer(CHUNKS))
    with client_of(server, None, base_url=f"http://b\u00fccher.test:{server.port}/v1") as client:
        assert len(list(stream(client))) == len(CHUNKS)
    assert asked == ["xn--bcher-kva.test"]
    assert server.requests[0].headers["host"] == f"xn--bcher-kva.test:{server.port}"


@pytest.mark.parametrize("form", ["127.0.0.0/8", "127.0.0.1", "*", "other.test, 127.0.0.1"])
@pytest.mark.parametrize("given", [True, False])
def test_no_proxy_in_the_forms_that_people_write(
    server: ScriptedServer,
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    given: bool,
) -> None:
    server.play(answer(CHUNKS))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", form)
        with client_of(server, session if given else None) as client:
            assert len(list(stream(client))) == len(CHUNKS)


@pytest.mark.parametrize("has", [True, False])
def test_a_server_that_wants_a_certificate(
    session: requests.Session, tmp_path: Path, has: bool
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("me@test").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "me.pem"
    )
    session.verify = str(tmp_path / "ca.pem")
    if has:
        session.cert = str(tmp_path / "me.pem")
    with ScriptedServer(ssl_context=context) as server, client_of(server, session) as client:
        server.play(answer(CHUNKS))
        if has:
            assert len(list(stream(client))) == len(CHUNKS)
        else:
            with pytest.raises(APIConnectionError, match=r"TLS failed|no response"):
                stream(client)


@pytest.mark.parametrize("given", [True, False])
def test_a_server_that_speaks_http_2_only(
    server: ScriptedServer, session: requests.Session, given: bool
) -> None:
    settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
    server.play([settings, Fin()])
    with (
        client_of(server, session if given else None) as client,
        pytest.raises(APIConnectionError, match="no response"),
    ):
        stream(client)


# The wait for headers ------------------------------------------------------------------------


def trickled(headers: bytes, pause: float) -> list[Any]:
    return [step for one in headers for step in (bytes([one]), Pause(pause))]


@pytest.mark.parametrize("stream", [True, False])
def test_headers_that_trickle_in_time_are_waited_for(
    server: ScriptedServer, session: requests.Session, stream: bool
) -> None:
    status, *rest = answer(CHUNKS) if stream else json_answer(WHOLE)
    assert isinstance(status, bytes)
    server.play([*trickled(status[:20], 0.02), status[20:], *rest])
    with client_of(server, session) as client:
        limits = Timeout(gap=SOON, idle=SOON, total=2 * SOON)
        made = ask(client, stream=stream, timeout=limits)
        whole = made.stream.result(SOON) if stream else made
        assert bool(whole.choices) is stream


@pytest.mark.parametrize(
    "limits",
    [Timeout(total=0.3), Timeout(gap=0.3), Timeout(first=0.3)],
    ids=["total", "gap", "first"],
)
def test_a_session_whose_headers_trickle_is_used_on(
    server: ScriptedServer, session: requests.Session, limits: Timeout
) -> None:
    """Only that connection is shut, and only once its time has passed."""
    server.play(answer(CHUNKS), trickled(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 9999, 0.02))
    server.always(answer(CHUNKS))
    with client_of(server, session) as client:
        stream(client).stream.result(SOON)
        begin = time.monotonic()
        with pytest.raises(APITimeoutError):
            stream(client, timeout=limits)
        assert time.monotonic() - begin < 1 + HELD_UP
        stream(client).stream.result(SOON)
        assert server.connections[0].client_closed.wait(SOON)


@pytest.mark.parametrize("method", ["start", "__init__"])
def test_a_session_without_threads_for_the_wait(
    server: ScriptedServer, session: requests.Session, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """There are no more, or the interpreter has none of their kind."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    server.always(json_answer(WHOLE))
    with client_of(server, session) as client:
        ask(client)  # the server has its thread for the connection
        monkeypatch.setattr(threading.Thread, method, refuse)
        try:
            assert ask(client).to_dict() == WHOLE
        finally:
            monkeypatch.undo()
