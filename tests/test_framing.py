"""Whole answers: that each event comes with its bytes, and what becomes of the connection.

The forms in which a server may put them on the wire are rows of ``faults``.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from helpers import SOON
from machine import HELD_UP

from openai_stream import DONE, ChatCompletionChunk, Client, EventQueue
from openai_stream.errors import BadRequestError, StreamDecodeError
from openai_stream.testing import (
    LAST_CHUNK,
    Fin,
    Hang,
    Pause,
    Repeat,
    ScriptedServer,
    Send,
    Step,
    Wait,
    answer,
    chat_chunks,
    chunk,
    completion_chunks,
    error_answer,
    frame,
    head,
    json_answer,
)

Framing = Literal["chunked", "length", "close"]
Encoding = Literal["gzip", "deflate"]
Script = list[Step | bytes]

FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")
ENCODINGS: tuple[Encoding, ...] = ("gzip", "deflate")
#: Two, three and four bytes a character, and one that ends a line for ``str.splitlines``.
TEXT = "Grüße an die Welt: 世界 🌍\u2028 Ende."
CHUNKS = chat_chunks(TEXT, usage=True)


def ask(client: Client) -> EventQueue[ChatCompletionChunk]:
    return client.create_chat_completion(model="m", messages=[], stream=True)


def as_dicts(events: Sequence[ChatCompletionChunk]) -> list[dict[str, Any]]:
    return [event.to_dict() for event in events]


def assert_whole(events: EventQueue[ChatCompletionChunk], chunks: Any = CHUNKS) -> None:
    """All of the events come, then ``DONE``, and the result is their sum."""
    assert as_dicts(list(events)) == chunks
    assert events.stream.exception(SOON) is None
    text = "".join(
        choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]
    )
    assert events.stream.result(SOON).choices[0].message.content == text


# As the bytes come --------------------------------------------------------------------------


def test_chunks_cut_anywhere(server: ScriptedServer, client: Client) -> None:
    wire = b"".join(part for part in answer(CHUNKS[:3]) if isinstance(part, bytes))
    start = wire.index(b"\r\n\r\n") + 4
    # A pause makes the reader see what came before it alone: between any two bytes of the first
    # two chunks' borders, then everywhere.
    border = wire.index(b"\n\n\r\n", start) - 2
    for at in range(border, border + 12):
        server.play([wire[:at], Pause(0.005), wire[at:]])
        assert as_dicts(list(ask(client))) == CHUNKS[:3]
    server.play([wire[:start], *(wire[at : at + 1] for at in range(start, len(wire)))])
    assert as_dicts(list(ask(client))) == CHUNKS[:3]


def test_text_completions_too(server: ScriptedServer, client: Client) -> None:
    chunks = completion_chunks(TEXT)
    server.play(answer(chunks))
    events = client.create_completion(model="m", prompt="p", stream=True)
    assert [event.to_dict() for event in events] == chunks
    assert events.stream.result().choices[0].text == TEXT


# Delivery when the bytes have come -----------------------------------------------------------


def stepwise(pieces: Sequence[bytes]) -> tuple[list[Step | bytes], list[threading.Event]]:
    """The pieces, each sent when the event of the one before it was taken."""
    taken = [threading.Event() for _ in pieces]
    script: list[Step | bytes] = []
    for piece, event in zip(pieces, taken, strict=True):
        script += [piece, Wait(event)]
    return script, taken


def assert_prompt(
    events: EventQueue[ChatCompletionChunk], taken: Sequence[threading.Event], chunks: Any = CHUNKS
) -> None:
    for one, event in zip(chunks, taken, strict=True):
        got = events.get(timeout=SOON)  # queue.Empty: it was held back
        assert got is not DONE
        assert got.to_dict() == one
        event.set()
    assert events.get(timeout=SOON) is DONE


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_event_is_delivered_before_the_next_byte_is_sent(
    server: ScriptedServer, client: Client, framing: Framing, encoding: Encoding | None
) -> None:
    script, taken = stepwise([frame(one) for one in CHUNKS])
    server.play(answer(script, framing=framing, encoding=encoding))
    assert_prompt(ask(client), taken)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_event_is_delivered_when_half_of_the_next_one_came_with_it(
    server: ScriptedServer, client: Client, framing: Framing
) -> None:
    body = b"".join(map(frame, CHUNKS))
    edges = [0]
    for one in CHUNKS:
        edges.append(body.index(frame(one)) + len(frame(one)) + 20)
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
    script, taken = stepwise(pieces)
    server.play(answer(script, framing=framing))
    assert_prompt(ask(client), taken)


def test_the_events_of_one_http_chunk_that_trickles(server: ScriptedServer, client: Client) -> None:
    frames = [frame(one) for one in CHUNKS] + [frame("[DONE]")]
    script, taken = stepwise(frames[:-1])
    size = b"%x\r\n" % sum(map(len, frames))
    start = head(200, {"Transfer-Encoding": "chunked"})
    server.play([start, size, *script, frames[-1], b"\r\n", LAST_CHUNK], answer(CHUNKS))
    assert_prompt(ask(client), taken)
    assert_whole(ask(client))
    assert len(server.connections) == 1


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_prompt_delivery_to_a_callback(server: ScriptedServer, client: Client) -> None:
    script, taken = stepwise([frame(one) for one in CHUNKS])
    server.play(answer(script))
    left = iter(taken)
    stream = client.create_chat_completion(
        model="m", messages=[], stream=True, on_next=lambda event: next(left).set()
    )
    assert stream.result(SOON).choices[0].message.content == TEXT


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize(
    "rest",
    [Hang(), Repeat(b"data: more\n\n", delay=0.002), Repeat(b": x\n\n" * 10_000), Send(b"10\r\n")],
    ids=["silence", "trickle", "flood", "a chunk that never comes"],
)
def test_done_comes_at_once_although_the_body_does_not_end(
    server: ScriptedServer, client: Client, framing: Framing, rest: Step
) -> None:
    script = answer(CHUNKS, framing=framing)
    script = script[:-1] if framing == "chunked" else script
    if framing == "length":
        whole = b"".join(part for part in script if isinstance(part, bytes))
        script = [whole.replace(b"Content-Length: ", b"Content-Length: 9")]
    server.play([*script, rest, Hang()], answer(CHUNKS))
    start = time.monotonic()
    assert_whole(ask(client))
    assert time.monotonic() - start < 0.5 + HELD_UP
    assert_whole(ask(client))
    first, _second = server.connections
    assert first.client_closed.wait(SOON)


@pytest.mark.own_session("its bytes are counted without the framing")
def test_what_the_handle_tells(server: ScriptedServer, client: Client) -> None:
    script = answer(CHUNKS, headers={"X-Request-ID": "req_1"})
    server.play(script, script)
    for number in range(2):
        stream = ask(client).stream
        stream.result(SOON)
        assert stream.status_code == 200
        assert stream.headers is not None
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.request_id == "req_1"
        stats = stream.stats
        assert stats.events == len(CHUNKS)
        assert stats.bytes == sum(len(part) for part in script if isinstance(part, bytes))
        assert stats.connect_seconds is not None
        assert (stats.connect_seconds == 0) == (number == 1)
        assert stats.first_event_seconds is not None
        assert 0 < stats.first_event_seconds <= stats.seconds < SOON
        assert stats.longest_gap_seconds <= stats.seconds


# One connection ------------------------------------------------------------------------------


def test_streams_one_after_another_use_one_connection(
    server: ScriptedServer, client: Client
) -> None:
    # Immediately after its end was told, from queue, callback and future.
    server.always(answer(CHUNKS))
    for _ in range(20):
        for _ in ask(client):
            pass
        events = ask(client)
        while events.get(timeout=SOON) is not DONE:
            pass
        ask(client).stream.result(SOON)
        client.create_chat_completion(
            model="m", messages=[], stream=True, on_next=lambda event: None
        ).result(SOON)
        done = threading.Event()
        stream = client.create_chat_completion(
            model="m",
            messages=[],
            stream=True,
            on_next=lambda event: None,
            on_done=lambda whole: done.set(),  # noqa: B023 - it is over before the next round
            nowait=True,
        )
        assert done.wait(SOON)
        stream.result(SOON)
    assert len(server.connections) == 1
    assert len(server.requests) == 100


def test_a_call_from_on_done_reuses_the_connection(server: ScriptedServer, client: Client) -> None:
    server.always(answer(CHUNKS))
    later: list[EventQueue[ChatCompletionChunk]] = []
    first = client.create_chat_completion(
        model="m",
        messages=[],
        stream=True,
        on_next=lambda event: None,
        on_done=lambda whole: later.append(ask(client)),
    )
    first.result(SOON)
    assert_whole(later[0])
    assert len(server.connections) == 1


WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    ],
}


def test_calls_without_stream_use_one_connection(server: ScriptedServer, client: Client) -> None:
    for _ in range(5):
        server.play(json_answer(WHOLE), answer(CHUNKS))
        assert client.create_chat_completion(model="m", messages=[]).to_dict() == WHOLE
        assert_whole(ask(client))
    assert len(server.connections) == 1


def test_an_error_status_keeps_the_connection(server: ScriptedServer, client: Client) -> None:
    server.play(error_answer(400, "no"), answer(CHUNKS), error_answer(400, "no"), answer(CHUNKS))
    for _ in range(2):
        with pytest.raises(BadRequestError):
            ask(client)
        assert_whole(ask(client))
    assert len(server.connections) == 1


def test_a_connection_is_not_used_again_after_a_fault(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer([CHUNKS[0], "nonsense", *CHUNKS[1:]]), answer(CHUNKS))
    with pytest.raises(StreamDecodeError):
        list(ask(client))
    assert_whole(ask(client))
    first, _second = server.connections
    assert first.client_closed.wait(SOON)


def test_a_connection_that_the_server_closed_meanwhile(
    server: ScriptedServer, client: Client
) -> None:
    closing = threading.Event()
    server.play([*answer(CHUNKS), Wait(closing), Fin()], answer(CHUNKS))
    assert_whole(ask(client))
    closing.set()
    # Nothing of ours sees the FIN come, so look where the server does: it is sent, or it waits.
    time.sleep(0.05)
    assert_whole(ask(client))
    assert len(server.connections) == 2


def test_closing_the_client_ends_no_stream(server: ScriptedServer, client: Client) -> None:
    script, taken = stepwise([frame(one) for one in CHUNKS])
    server.play(answer(script), answer(CHUNKS))
    events = ask(client)
    client.close()
    assert_prompt(events, taken)
    assert_whole(ask(client))  # and the client can be used again


@pytest.mark.own_session("it is not closed with the client")
def test_closing_the_client_closes_what_is_kept_although_handles_are_held(
    server: ScriptedServer, client: Client
) -> None:
    server.always(answer(CHUNKS))
    held = [ask(client) for _ in range(3)]
    for events in held:
        assert_whole(events)
    client.close()
    for connection in server.connections:
        assert connection.client_closed.wait(SOON)


# Without stream ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 1, 30])
@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.own_thread("it has no stream")
def test_every_framing_of_a_whole_answer(
    server: ScriptedServer,
    client: Client,
    framing: Framing,
    encoding: Encoding | None,
    size: int | None,
) -> None:
    body = json.dumps(WHOLE, ensure_ascii=False).encode()
    script = answer(
        [body],
        done=False,
        framing=framing,
        encoding=encoding,
        bytes_per_chunk=size,
        content_type="application/json",
    )
    server.play(script, script)
    for _ in range(2):
        whole = client.create_chat_completion(model="m", messages=[])
        assert whole.to_dict() == WHOLE
        assert whole.choices[0].message.content == TEXT
    assert len(server.connections) == (2 if framing == "close" else 1)


@pytest.mark.own_thread("it has no stream")
def test_a_chunked_answer_in_many_chunks(server: ScriptedServer, client: Client) -> None:
    body = json.dumps(WHOLE).encode()
    parts = [chunk(body[at : at + 9]) for at in range(0, len(body), 9)]
    server.play([head(200, {"Transfer-Encoding": "chunked"}), *parts, LAST_CHUNK])
    assert client.create_chat_completion(model="m", messages=[]).to_dict() == WHOLE
