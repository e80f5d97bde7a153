"""A session that is given."""

from __future__ import annotations

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
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    Hang,
    Repeat,
    Reset,
    ScriptedServer,
    answer,
    chunk,
    error_answer,
)


class Counting(requests.adapters.HTTPAdapter):
    """A user's own adapter."""

    sent = 0

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent += 1
        return super().send(*args, **kwargs)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


def test_a_session_is_used_as_it_is_and_not_closed(
    server: ScriptedServer, session: requests.Session
) -> None:
    adapter = Counting()
    session.mount("http://", adapter)
    session.headers["X-Session"] = "1"
    session.params = {"a": "b"}
    server.play(answer(CHUNKS), GOOD, answer(CHUNKS))
    with client_of(server, session=session) as client:
        events = stream(client)
        assert [event.to_dict() for event in events] == CHUNKS
        assert events.stream.result(SOON).choices[0].message.content == "Hello big world"
        assert ask(client).to_dict() == WHOLE
    assert session.post(server.base_url, data=b"x").status_code == 200  # still open
    assert adapter.sent == 3
    for request in server.requests:
        assert request.headers["x-session"] == "1"
        assert request.query == {"a": "b"}
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_sessions_own_auth(server: ScriptedServer, session: requests.Session) -> None:
    session.auth = ("me", "pw")
    server.always(GOOD)
    with client_of(server, session=session, api_key=None) as client:
        ask(client)
    with client_of(server, session=session) as client:
        ask(client)
    without, with_key = server.requests
    assert without.headers["authorization"].startswith("Basic ")
    assert with_key.headers["authorization"] == f"Bearer {KEY}"


def test_a_header_of_the_session_that_cannot_be(
    server: ScriptedServer, session: requests.Session
) -> None:
    session.headers["X-Session"] = "a\nb"
    with client_of(server, session=session) as client, pytest.raises(ConfigurationError):
        ask(client)
    assert server.connections == []


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_stream_over_a_session_is_stopped_while_it_reads(
    server: ScriptedServer, session: requests.Session, framing: Any
) -> None:
    script = answer([CHUNKS[0], CHUNKS[1]], framing=framing, done=False)
    script = script[:-1] if framing == "chunked" else script
    if framing == "length":
        script[0] = script[0].replace(b"Content-Length: ", b"Content-Length: 9")  # type: ignore[union-attr]
    server.play([*script, Hang()], answer(CHUNKS))
    with client_of(server, session=session) as client:
        events = stream(client)
        events.get(timeout=SOON)
        events.get(timeout=SOON)
        start = time.monotonic()
        events.close()
        assert events.get(timeout=SOON) is DONE
        assert server.connections[0].client_closed.wait(SOON)
        assert time.monotonic() - start < 0.5 + HELD_UP
        assert len(list(stream(client))) == len(CHUNKS)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_deadlines_over_a_session(
    server: ScriptedServer, session: requests.Session, framing: Any
) -> None:
    with client_of(server, session=session) as client:
        for timeout in (Timeout(idle=0.3), Timeout(gap=0.3), Timeout(total=0.3)):
            server.play([*answer(CHUNKS[:1], framing=framing)[:2], Hang()])
            start = time.monotonic()
            events = stream(client, timeout=timeout)
            events.get(timeout=SOON)
            with pytest.raises(StreamTimeoutError):
                events.get(timeout=SOON)
            assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP
            server.play([Hang()])
            start = time.monotonic()
            with pytest.raises(APITimeoutError):
                stream(client, timeout=timeout)
            assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP


def test_keep_alives_over_a_session_are_no_events(
    server: ScriptedServer, session: requests.Session
) -> None:
    keep_alives = Repeat(chunk(b": keep-alive\n\n"), delay=0.05)
    server.play([*answer(CHUNKS[:1])[:2], keep_alives])
    with client_of(server, session=session, timeout=Timeout(idle=SOON, gap=0.3)) as client:
        events = stream(client)
        events.get(timeout=SOON)
        start = time.monotonic()
        with pytest.raises(StreamTimeoutError, match=r"no event for 0\.3 s"):
            events.get(timeout=SOON)
        assert 0.2 < time.monotonic() - start < 0.8 + HELD_UP


def test_faults_over_a_session(server: ScriptedServer, session: requests.Session) -> None:
    with client_of(server, session=session) as client:
        server.play([*answer(CHUNKS[:2])[:3], Reset()])
        with pytest.raises(StreamInterruptedError):
            list(stream(client))
        server.play(answer([CHUNKS[0], "nonsense"]))
        with pytest.raises(StreamDecodeError):
            list(stream(client))
        server.play([Reset()])
        with pytest.raises(APIConnectionError):
            stream(client)
        server.play(error_answer(404, "no"))
        with pytest.raises(NotFoundError):
            stream(client)
