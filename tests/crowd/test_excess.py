"""Bytes behind the end of a body: the next answer on the connection is not to begin with them."""

from __future__ import annotations

import threading

import pytest
from helpers import SOON
from streaming import BODY, WHOLE, HeldQueue, content, wait_until

from openai_stream import ChatCompletionChunk, Client, EventQueue
from openai_stream.testing import (
    LAST_CHUNK,
    ScriptedServer,
    Send,
    Wait,
    answer,
    chat_chunks,
    chunk,
    frame,
    head,
)

STREAMED = b"".join(frame(one) for one in chat_chunks("first")) + frame("[DONE]")
EVENTS = {"Content-Type": "text/event-stream"}
BODIES = {
    "chunked": head(200, {**EVENTS, "Transfer-Encoding": "chunked"}) + chunk(STREAMED) + LAST_CHUNK,
    "length": head(200, {**EVENTS, "Content-Length": str(len(STREAMED))}) + STREAMED,
}
_RECORD = 16384  # the most bytes that are in one of TLS


def ask(client: Client) -> EventQueue[ChatCompletionChunk]:
    made: EventQueue[ChatCompletionChunk] = client.create_chat_completion(**BODY, stream=True)
    return made


@pytest.mark.parametrize("readers", [None, 1])
@pytest.mark.parametrize("framing", BODIES)
@pytest.mark.parametrize("excess", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Ty"])
def test_a_connection_with_bytes_behind_the_body_is_not_kept(
    server: ScriptedServer, readers: int | None, framing: str, excess: bytes
) -> None:
    server.play([BODIES[framing] + excess], answer(chat_chunks("second")))
    with Client(api_key="test", base_url=server.base_url, readers=readers) as client:
        assert content(ask(client).stream.result(SOON)) == "first"
        assert content(ask(client).stream.result(SOON)) == "second"
    assert len(server.connections) == (2 if excess else 1)


def test_what_tls_has_decrypted_is_seen(tls_server: ScriptedServer) -> None:
    """Two records have come when they are read, and the end of the body is in the second: what is
    behind it stays inside of TLS, where no look at the socket shows it.
    """
    first = chunk(b": " + b"x" * 2000 + b"\n\n")
    end = chunk(frame("[DONE]")) + LAST_CHUNK
    room = _RECORD - len(first) - len(end)  # a read takes as much as a record can have
    comment = next(
        made
        for size in range(room - 20, room)
        if len(made := chunk(b": " + b"y" * size + b"\n\n")) == room
    )
    stray = b"".join(one for one in answer(chat_chunks("stray")) if isinstance(one, bytes))
    second = comment + end + stray
    second += b" " * (_RECORD - len(second))
    holding, more = HeldQueue(), threading.Event()
    begun = answer(chat_chunks("first"), done=False)[:-1]
    tls_server.play([*begun, Wait(more), Send(first), Send(second)])
    with Client(api_key="test", base_url=tls_server.base_url, readers=1) as client:
        events = ask(client)
        events.get(timeout=SOON)
        tls_server.play(answer(WHOLE), answer(chat_chunks("second")))
        other = client.create_chat_completion(**BODY, stream=True, queue=holding)
        assert holding.held.wait(SOON)  # the reader does not come to read
        sent = tls_server.connections[0].sent
        more.set()
        wait_until(lambda: tls_server.connections[0].sent >= sent + len(first) + len(second))
        holding.go.set()
        assert content(events.stream.result(SOON)) == "first"
        other.result(SOON)
        assert content(ask(client).stream.result(SOON)) == "second"
