"""Whole answers, in every form in which a server may put them on the wire."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest

from openai_stream import DONE, ChatCompletion, ChatCompletionChunk, Client, EventQueue, Timeout
from openai_stream.errors import BadRequestError, StreamDecodeError, StreamInterruptedError
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
WAIT = 5.0  # seconds, for what takes milliseconds


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    timeout = Timeout(connect=WAIT, idle=WAIT, gap=WAIT)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=0, timeout=timeout
    ) as made:
        yield made


def ask(client: Client) -> EventQueue[ChatCompletionChunk]:
    return client.create_chat_completion(model="m", messages=[], stream=True)


def as_dicts(events: Sequence[ChatCompletionChunk]) -> list[dict[str, Any]]:
    return [event.to_dict() for event in events]


def assert_whole(events: EventQueue[ChatCompletionChunk], chunks: Any = CHUNKS) -> None:
    """All of the events come, then ``DONE``, and the result is their sum."""
    assert as_dicts(list(events)) == chunks
    assert events.stream.exception(WAIT) is None
    text = "".join(
        choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]
    )
    assert events.stream.result(WAIT).choices[0].message.content == text


# Every framing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut",
    [
        {},
        {"bytes_per_chunk": 1},
        {"bytes_per_chunk": 7},
        {"events_per_chunk": 3},
        {"events_per_chunk": 1000},
    ],
    ids=["an event a chunk", "byte by byte", "by seven", "by three events", "all at once"],
)
@pytest.mark.parametrize(
    ("encoding", "flush"),
    [(None, True), *((encoding, flush) for encoding in ENCODINGS for flush in (True, False))],
)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing(
    server: ScriptedServer,
    client: Client,
    framing: Framing,
    encoding: Encoding | None,
    flush: bool,
    cut: dict[str, Any],
) -> None:
    script = answer(CHUNKS, framing=framing, encoding=encoding, flush=flush, **cut)
    server.play(script, script)
    assert_whole(ask(client))
    assert_whole(ask(client))  # nothing of the first is left on the connection
    assert len(server.connections) == (2 if framing == "close" else 1)


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", [None, 1])
def test_every_line_end(
    server: ScriptedServer, client: Client, line_end: str, size: int | None
) -> None:
    server.play(answer(CHUNKS, line_end=line_end, bytes_per_chunk=size))
    assert_whole(ask(client))


def test_line_ends_mixed(server: ScriptedServer, client: Client) -> None:
    ends = ["\r\n", "\n", "\r"]
    frames = [frame(one, line_end=ends[at % 3]) for at, one in enumerate(CHUNKS)]
    frames = [one[:-1] + b"\r\n" if one.endswith(b"\n\n") else one for one in frames]
    server.play(answer(frames))
    assert_whole(ask(client))


BODY = b"\xef\xbb\xbf" + b"".join(frame(one, line_end="\r\n") for one in CHUNKS)
PLACES = {
    "in the byte-order mark": 1,
    "at its last byte": 2,
    "behind it": 3,
    "in a field's name": 5,
    "in an event's line end": BODY.index(b"\r\n") + 1,
    "between an event's line end and its blank line": BODY.index(b"\r\n\r\n") + 2,
    "in the blank line": BODY.index(b"\r\n\r\n") + 3,
    "between two events": BODY.index(b"\r\n\r\n") + 4,
    "in a character of two bytes": BODY.index("ß".encode()) + 1,
    "in a character of three bytes": BODY.index("世".encode()) + 2,
    "in a character of four bytes": BODY.index("🌍".encode()) + 3,
    "before the last byte": len(BODY) - 1,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_cut_at_any_place(
    server: ScriptedServer, client: Client, framing: Framing, place: str
) -> None:
    at = PLACES[place]
    server.play(answer([BODY[:at], Pause(0.02), BODY[at:]], framing=framing))
    assert_whole(ask(client))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_compressed_data_cut_in_its_header(
    server: ScriptedServer, client: Client, encoding: Encoding
) -> None:
    script = answer(CHUNKS, encoding=encoding, events_per_chunk=1000)
    sent = b"".join(part for part in script if isinstance(part, bytes))
    at = sent.index(b"\r\n\r\n") + 4
    at = sent.index(b"\r\n", at) + 3
    server.play([sent[:at], Pause(0.02), sent[at:]])
    assert_whole(ask(client))


def test_deflate_without_the_zlib_wrapper(server: ScriptedServer, client: Client) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = raw.compress(b"".join(map(frame, CHUNKS)) + frame("[DONE]")) + raw.flush()
    server.play(answer([body], done=False, headers={"Content-Encoding": "deflate"}))
    assert_whole(ask(client))


def test_several_gzip_members(server: ScriptedServer, client: Client) -> None:
    members = [gzip.compress(frame(one)) for one in CHUNKS] + [gzip.compress(frame("[DONE]"))]
    server.play(answer(members, done=False, headers={"Content-Encoding": "gzip"}))
    assert_whole(ask(client))


@pytest.mark.parametrize(
    "start",
    [b"%X\r\n", b"000%x\r\n", b"%x;name=value\r\n", b'%x; name="a b"\r\n', b"%x \r\n", b"%x\n"],
)
def test_chunk_sizes_in_all_their_forms(
    server: ScriptedServer, client: Client, start: bytes
) -> None:
    body = b"".join(map(frame, CHUNKS)) + frame("[DONE]")
    parts = [start % len(part) + part + b"\r\n" for part in (body[:171], body[171:])]
    whole = head(200, {"Transfer-Encoding": "chunked"}) + b"".join(parts) + LAST_CHUNK
    server.play([whole], [whole])
    assert_whole(ask(client))
    assert_whole(ask(client))
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "cut", [None, 1, 3, 5, 6, 20, 22, 23], ids=lambda cut: "whole" if cut is None else f"at {cut}"
)
def test_the_end_of_a_chunked_body_with_trailers(
    server: ScriptedServer, client: Client, cut: int | None
) -> None:
    end = b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    script = answer(CHUNKS)[:-1]
    if cut is None:
        server.play([*script, end])
    else:
        server.play([*script, end[:cut], Pause(0.005), end[cut:]])
    server.play(answer(CHUNKS))
    assert_whole(ask(client))
    assert_whole(ask(client))
    assert len(server.connections) == 1


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


def test_http_1_0(server: ScriptedServer, client: Client) -> None:
    start = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server.play([start, *map(frame, CHUNKS), Fin()], answer(CHUNKS))
    assert_whole(ask(client))
    assert_whole(ask(client))


def test_an_interim_response_comes_before(server: ScriptedServer, client: Client) -> None:
    server.play([b"HTTP/1.1 100 Continue\r\n\r\n", *answer(CHUNKS)])
    assert_whole(ask(client))


def test_header_names_in_any_case(server: ScriptedServer, client: Client) -> None:
    script = answer(CHUNKS)
    assert isinstance(script[0], bytes)
    server.play([b"HTTP/1.1 200 OK\r\ntRANSFER-eNCODING: Chunked\r\n\r\n", *script[1:]])
    assert_whole(ask(client))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_large_events(
    server: ScriptedServer, client: Client, framing: Framing, encoding: Encoding | None
) -> None:
    chunks = chat_chunks(["ä" * 300_000, "b" * 70_000, "c", "d" * 65536])
    server.play(answer(chunks, framing=framing, encoding=encoding))
    assert_whole(ask(client), chunks)


def test_very_many_events_at_once(server: ScriptedServer, client: Client) -> None:
    chunks = chat_chunks(["x"] * 3000)
    server.play(answer(chunks, events_per_chunk=100))
    assert_whole(ask(client), chunks)


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
        got = events.get(timeout=WAIT)  # queue.Empty: it was held back
        assert got is not DONE
        assert got.to_dict() == one
        event.set()
    assert events.get(timeout=WAIT) is DONE


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


def test_prompt_delivery_to_a_callback(server: ScriptedServer, client: Client) -> None:
    script, taken = stepwise([frame(one) for one in CHUNKS])
    server.play(answer(script))
    left = iter(taken)
    stream = client.create_chat_completion(
        model="m", messages=[], stream=True, on_next=lambda event: next(left).set()
    )
    assert stream.result(WAIT).choices[0].message.content == TEXT


# What servers do besides ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept_alive",
    [
        b": keep-alive\n\n",
        b":\n\n",
        b": OPENROUTER PROCESSING\r\n\r\n",
        b"event: ping\ndata: {}\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"data: [PING]\n\n",
        b"data:\n\n",
        b"data: null\n\n",
    ],
)
def test_keep_alives_are_no_events(
    server: ScriptedServer, client: Client, kept_alive: bytes
) -> None:
    between: list[Any] = [kept_alive]
    for one in CHUNKS:
        between += [one, kept_alive]
    server.play(answer(between))
    events = ask(client)
    assert_whole(events)
    assert events.stream.stats.events == len(CHUNKS)
    assert events.stream.stats.keep_alives == len(CHUNKS) + 1


def test_a_comment_within_an_event(server: ScriptedServer, client: Client) -> None:
    frames = [b": a\n" + frame(one)[:-1] + b": b\n\n" for one in CHUNKS]
    server.play(answer(frames))
    assert_whole(ask(client))


@pytest.mark.parametrize(
    "form",
    [
        lambda text: b"data:" + text + b"\n\n",
        lambda text: b"data:  " + text + b" \n\n",
        lambda text: b"id: 1\nevent: message\nretry: 10\ndata: " + text + b"\n\n",
        lambda text: b"event: chunk\ndata: " + text + b"\n\n",
        lambda text: b"event\ndata: " + text + b"\n\n",
        lambda text: b"\n\n\n\ndata: " + text + b"\n\n\n\n",
        lambda text: b"data: " + text.replace(b',"', b',\ndata: "') + b"\n\n",
    ],
    ids=["no space", "spaces", "all fields", "named", "no name", "blank lines", "many lines"],
)
def test_frames_in_all_their_forms(server: ScriptedServer, client: Client, form: Any) -> None:
    chunks = chat_chunks("The quick brown fox")
    frames = [form(json.dumps(one, separators=(",", ":")).encode()) for one in chunks]
    server.play(answer([*frames, form(b"[DONE]")], done=False))
    assert_whole(ask(client), chunks)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_no_done_but_every_choice_finished(
    server: ScriptedServer, client: Client, framing: Framing
) -> None:
    server.play(answer(CHUNKS, framing=framing, done=False))
    assert_whole(ask(client))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_done_before_every_choice_finished_is_complete(
    server: ScriptedServer, client: Client, framing: Framing
) -> None:
    server.play(answer(CHUNKS[:2], framing=framing))
    assert_whole(ask(client), CHUNKS[:2])


def test_done_and_nothing_else(server: ScriptedServer, client: Client) -> None:
    server.play(answer([]))
    events = ask(client)
    assert events.get(timeout=WAIT) is DONE
    assert isinstance(events.stream.result(WAIT), ChatCompletion)


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
    assert time.monotonic() - start < 0.5
    assert_whole(ask(client))
    first, _second = server.connections
    assert first.client_closed.wait(WAIT)


def test_nothing_after_done_is_delivered(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*CHUNKS, "[DONE]", *CHUNKS, "nonsense"]))
    assert_whole(ask(client))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "text/plain; charset=utf-8",
        "TEXT/Event-Stream",
        "application/octet-stream",
    ],
)
def test_content_types_that_streams_have(
    server: ScriptedServer, client: Client, content_type: str | None
) -> None:
    server.play(answer(CHUNKS, content_type=content_type))
    assert_whole(ask(client))


def test_what_the_handle_tells(server: ScriptedServer, client: Client) -> None:
    script = answer(CHUNKS, headers={"X-Request-ID": "req_1"})
    server.play(script, script)
    for number in range(2):
        stream = ask(client).stream
        stream.result(WAIT)
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
        assert 0 < stats.first_event_seconds <= stats.seconds < WAIT
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
        while events.get(timeout=WAIT) is not DONE:
            pass
        ask(client).stream.result(WAIT)
        client.create_chat_completion(
            model="m", messages=[], stream=True, on_next=lambda event: None
        ).result(WAIT)
        done = threading.Event()
        stream = client.create_chat_completion(
            model="m",
            messages=[],
            stream=True,
            on_next=lambda event: None,
            on_done=lambda whole: done.set(),  # noqa: B023 - it is over before the next round
            nowait=True,
        )
        assert done.wait(WAIT)
        stream.result(WAIT)
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
    first.result(WAIT)
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
    assert first.client_closed.wait(WAIT)


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


def test_closing_the_client_closes_what_is_kept_although_handles_are_held(
    server: ScriptedServer, client: Client
) -> None:
    server.always(answer(CHUNKS))
    held = [ask(client) for _ in range(3)]
    for events in held:
        assert_whole(events)
    client.close()
    for connection in server.connections:
        assert connection.client_closed.wait(WAIT)


# Without stream ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 1, 30])
@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
@pytest.mark.parametrize("framing", FRAMINGS)
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


def test_a_chunked_answer_in_many_chunks(server: ScriptedServer, client: Client) -> None:
    body = json.dumps(WHOLE).encode()
    parts = [chunk(body[at : at + 9]) for at in range(0, len(body), 9)]
    server.play([head(200, {"Transfer-Encoding": "chunked"}), *parts, LAST_CHUNK])
    assert client.create_chat_completion(model="m", messages=[]).to_dict() == WHOLE


CODINGS = [
    b"Transfer-Encoding: Chunked \t\r\n",
    b"Transfer-Encoding: identity, chunked\r\n",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
]


@pytest.mark.parametrize("coding", CODINGS)
def test_chunked_in_all_its_spellings(
    server: ScriptedServer, client: Client, coding: bytes
) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + b"\r\n"
    body = b"".join([*map(frame, CHUNKS), frame("[DONE]")])
    pieces = [chunk(body[i : i + 7]) for i in range(0, len(body), 7)]
    server.play([start, *pieces, LAST_CHUNK], [start, *pieces[:-8], Fin()])
    assert_whole(ask(client))
    with pytest.raises(StreamInterruptedError):
        list(ask(client))


@pytest.mark.parametrize("statuses", [[100], [102], [103], [103, 100, 103]])
def test_any_number_of_interim_responses(
    server: ScriptedServer, client: Client, statuses: list[int]
) -> None:
    interim = b"".join(b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % s for s in statuses)
    server.play([interim, *answer(CHUNKS)], answer(CHUNKS))
    assert_whole(ask(client))
    assert_whole(ask(client))
    assert len(server.connections) == 1
