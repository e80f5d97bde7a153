"""What goes wrong on the wire, one row a fault: what is delivered, and what is raised.

Each row is played over a real socket, once to a queue and once to a callback.
"""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import queue
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import attrs
import pytest
import urllib3.exceptions

from openai_stream import (
    DONE,
    APIConnectionError,
    APITimeoutError,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    OpenAIStreamError,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    LAST_CHUNK,
    Connection,
    Drip,
    Event,
    Fin,
    Hang,
    Repeat,
    Reset,
    ScriptedServer,
    Step,
    Wait,
    answer,
    chat_chunks,
    chunk,
    endless_chunk_size,
    endless_headers,
    frame,
    head,
    json_answer,
)

KEY = "sk-not-to-be-seen-anywhere"
WAIT = 5.0  # seconds, for what takes milliseconds
PATIENT = Timeout(connect=WAIT, idle=WAIT, gap=WAIT)
LIMIT = 200_000  # bytes of one event

#: Role, "Hello", " big", " wörld", finish reason.
CHUNKS = chat_chunks("Hello big wörld")
ALL = len(CHUNKS)
FRAMES = [frame(one) for one in CHUNKS]
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
}

Framing = Literal["chunked", "length", "close"]
Script = Sequence[Step | bytes]


class Taken(Step):
    """Stands for: wait until the consumer has taken all events that are to come before this."""

    def play(self, connection: Connection) -> None:
        raise AssertionError("it is replaced before it is played")


TAKEN = Taken()


@attrs.frozen
class Fault:
    """A stream that begins and does not end well.

    :param events: how many of ``CHUNKS`` are delivered before the error.
    :param cause: the class of its ``__cause__``, which is a foreign exception.
    :param said: what the message has in it.
    """

    name: str
    script: Script
    events: int
    error: type[StreamError]
    said: str
    cause: type[BaseException] | None = None
    timeout: Timeout = PATIENT
    attributes: dict[str, Any] = attrs.field(factory=dict)


def played(events: Sequence[Event], framing: Framing = "chunked", **arguments: Any) -> Script:
    """The first part of an answer: the rest of its body is still to come, or never comes."""
    script = answer(events, framing=framing, done=False, **arguments)
    if framing == "length":
        assert isinstance(script[0], bytes)
        script[0] = script[0].replace(b"Content-Length: ", b"Content-Length: 9")
        return script
    return script[:-1]


def faults() -> Iterator[Fault]:
    yield from ends()
    yield from lengths()
    yield from chunk_sizes()
    yield from compression()
    yield from errors_in_the_stream()
    yield from other_bodies()
    yield from bad_events()
    yield from too_large()
    yield from incomplete()
    yield from stalls()


CUT: Any = urllib3.exceptions.ProtocolError


def ends() -> Iterator[Fault]:
    """FIN and RST wherever there is a difference."""
    framings: tuple[Framing, ...] = ("chunked", "length", "close")
    third = FRAMES[2]
    places: list[tuple[str, Sequence[Event], int]] = [
        ("before the first event", [], 0),
        ("in the first event", [FRAMES[0][:50]], 0),
        ("between events", [*FRAMES[:2]], 2),
        ("in an event's field name", [*FRAMES[:2], third[:3]], 2),
        ("in an event", [*FRAMES[:2], third[:50]], 2),
        ("in a character", [*FRAMES[:3], FRAMES[3][: FRAMES[3].index("ö".encode()) + 1]], 3),
        ("after whole JSON", [*FRAMES[:2], third[:-2]], 2),
        ("after whole JSON and its line end", [*FRAMES[:2], third[:-1]], 2),
        ("after the last finish_reason without its blank line", [*FRAMES[:4], FRAMES[4][:-1]], 4),
        ("after the last finish_reason", FRAMES, ALL),
        ("in [DONE]", [*FRAMES, b"data: [DO"], ALL),
        ("in [DONE]'s line end", [*FRAMES, b"data: [DONE]\n"], ALL),
    ]
    for framing, (place, events, count), end in itertools.product(
        framings, places, (Fin(), Reset())
    ):
        kind = type(end).__name__.upper()
        orderly = framing == "close" and isinstance(end, Fin)
        if orderly and count == ALL:
            continue  # see test_orderly_ends
        yield Fault(
            f"{kind} {place}, {framing}",
            [*played(events, framing), TAKEN, end],
            count,
            StreamInterruptedError,
            ("before" if orderly else "the connection broke"),
            None if orderly else CUT,
        )
    # HTTP chunks do not keep to events.
    body = b"".join(FRAMES[:3])
    for place, sent in {
        "in a chunk's size": chunk(body) + b"1",
        "in the line end of a chunk's size": chunk(body) + b"1f\r",
        "in a chunk": chunk(body) + b"1f\r\ndata",
        "in a chunk's line end": chunk(body)[:-1],
        "before a chunk's line end": chunk(body)[:-2],
        "in the last chunk's line end": chunk(body) + b"0\r",
    }.items():
        for end in (Fin(), Reset()):
            yield Fault(
                f"{type(end).__name__.upper()} {place}",
                [head(200, {"Transfer-Encoding": "chunked"}), sent, TAKEN, end],
                3,
                StreamInterruptedError,
                "the connection broke",
                CUT,
            )
    # The last chunk says that all is there: what is behind it does not matter.
    for end, said, cause in (
        (Fin(), "ended the answer after 3 events", None),
        (Reset(), "the connection broke", CUT),
    ):
        yield Fault(
            f"{type(end).__name__.upper()} in the trailers",
            [*played([body]), b"0\r\nX-A: 1\r\n", TAKEN, end],
            3,
            StreamInterruptedError,
            said,
            cause,
        )
    yield Fault(
        "RST with a whole burst before it",
        [*played([*FRAMES[:4]], events_per_chunk=4), TAKEN, Reset()],
        4,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )


def lengths() -> Iterator[Fault]:
    body = b"".join(FRAMES)

    def with_length(length: object, *rest: Step | bytes, status: int = 200) -> Script:
        return [head(status, {"Content-Length": str(length)}), *rest]

    after_two = len(b"".join(FRAMES[:2]))
    interrupted = StreamInterruptedError
    yield Fault(
        "content-length ends between events",
        with_length(after_two, body),
        2,
        interrupted,
        "ended the answer after 2 events",
    )
    yield Fault(
        "content-length ends in an event",
        with_length(after_two + 30, body),
        2,
        interrupted,
        "ended the answer after 2 events",
    )
    yield Fault(
        "content-length ends before an event's blank line",
        with_length(after_two - 1, body),
        1,
        interrupted,
        "ended the answer after 1 event",
    )
    yield Fault(
        "content-length of one",
        with_length(1, body),
        0,
        interrupted,
        "before its first event",
    )
    yield Fault(
        "content-length larger than the body",
        with_length(len(body) + 1, body, TAKEN, Fin()),
        ALL,
        interrupted,
        "the connection broke",
        CUT,
    )
    for length in (-5, "x", ""):
        yield Fault(
            f"content-length of {length!r}",
            with_length(length, *FRAMES[:2], TAKEN, Fin()),
            2,
            interrupted,
            "ended the answer after 2 events",
        )


def chunk_sizes() -> Iterator[Fault]:
    start = head(200, {"Transfer-Encoding": "chunked"})
    good = chunk(b"".join(FRAMES[:2]))
    for size in [
        b"-5", b"zz", b"0x5", b"", b"+5", b"1_0", b"5 5", b" ", b";a=b", b"5\x00", b"\xff", b"-0",
        b"1g", b"data: x",
    ]:  # fmt: skip
        for place, before, count in (("first", b"", 0), ("later", good, 2)):
            yield Fault(
                f"chunk size of {size!r}, {place}",
                [start, before + size + b"\r\n" + FRAMES[2] + b"\r\n" + LAST_CHUNK, Hang()],
                count,
                StreamInterruptedError,
                "the connection broke",
                CUT,
            )
    yield Fault(
        "a chunk longer than its size",
        [start, good, b"5\r\n" + FRAMES[2] + b"\r\n", LAST_CHUNK, Hang()],
        2,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "a chunk with something between its end and its line end",
        [start, good, chunk(FRAMES[2])[:-2] + b"xyz\r\n", *map(chunk, FRAMES[3:]), LAST_CHUNK],
        3,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "a chunk size larger than any body",
        [start, good, b"f" * 40 + b"\r\n" + FRAMES[2], TAKEN, Fin()],
        3,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "no chunks at all",
        [start, *FRAMES[:2], TAKEN, Hang()],
        0,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "an endless chunk size",
        endless_chunk_size(),
        0,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "endless chunk extensions",
        [start, good, b"5;", Repeat(b"a" * 65536)],
        2,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )
    yield Fault(
        "endless trailers",
        [start, good, b"0\r\n", Repeat(b"X: y\r\n" * 1000, delay=0.01)],
        2,
        StreamTimeoutError,
        "no event for 0.3 s",
        timeout=Timeout(gap=0.3),
    )
    yield Fault(
        "a last chunk too early",
        [start, good, LAST_CHUNK, chunk(FRAMES[2])],
        2,
        StreamInterruptedError,
        "ended the answer after 2 events",
    )


def compression() -> Iterator[Fault]:
    headers = {"Content-Encoding": "gzip"}
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS + 16)
    good = [packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH) for one in FRAMES[:2]]
    third = packer.compress(FRAMES[2]) + packer.flush()
    wrong_sum = third[:-8] + b"\0" * 8
    decode = urllib3.exceptions.DecodeError
    # What was decompressed in one go with the fault is lost: ``zlib`` does not give it away.
    rows: list[tuple[str, Sequence[Event], int]] = [
        ("gzip that is corrupt", [*good, TAKEN, b"\xff" * 100], 2),
        ("gzip whose checksum is wrong", [*good, TAKEN, wrong_sum], 2),
        ("gzip that is none", FRAMES, 0),
        ("gzip with a corrupt header", [b"\x1f\x8b\xff" + good[0][3:]], 0),
    ]
    for name, parts, count in rows:
        yield Fault(
            name,
            [*played(parts, headers=headers), Hang()],
            count,
            StreamDecodeError,
            "cannot be decompressed",
            decode,
        )
    yield Fault(
        "deflate that is none",
        [*played([b"\xff" * 100], headers={"Content-Encoding": "deflate"}), Hang()],
        0,
        StreamDecodeError,
        "cannot be decompressed",
        decode,
    )
    yield Fault(
        "gzip that ends too early",
        answer([*good, third[:8]], done=False, headers=headers),
        2,
        StreamInterruptedError,
        "ended the answer after 2 events",
    )
    yield Fault(
        "gzip cut by FIN",
        [*played([*good, third[:8]], headers=headers), TAKEN, Fin()],
        2,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )


def errors_in_the_stream() -> Iterator[Fault]:
    overloaded = {"message": "overloaded", "type": "server_error", "param": None, "code": "busy"}
    full: dict[str, Any] = {"code": "busy", "type": "server_error"}
    none: dict[str, Any] = {"code": None, "type": None}
    bodies: list[tuple[str, Event, str, dict[str, Any]]] = [
        ("an error object", {"error": overloaded}, "overloaded", full),
        ("an error object with choices", {"error": overloaded, "choices": []}, "overloaded", full),
        ("an error of a string", {"error": "overloaded"}, "overloaded", none),
        ("an empty error", {"error": {}}, "without a message", none),
        ("an error of another type", {"error": [1]}, "without a message", none),
        ("an error with a number", {"error": {"message": "overloaded", "code": 503}},
         "overloaded", {"code": "503", "type": None}),
        ("an error as vLLM sends it",
         {"object": "error", "message": "overloaded", "type": "server_error", "code": "busy"},
         "overloaded", full),
        ("an error event", frame({"error": overloaded}, event="error"), "overloaded", full),
        ("an error event without an error object",
         frame({"message": "overloaded", "type": "server_error", "code": "busy"}, event="error"),
         "overloaded", full),
        ("an error event of text", frame("overloaded", event="error"), "overloaded", none),
        ("an error event of a string", frame('"overloaded"', event="error"), "overloaded", none),
        ("an error event that looks like a chunk", frame(CHUNKS[2], event="error"),
         "without a message", none),
        ("an error event without data", b"event: error\ndata\n\n", "without a message", none),
    ]  # fmt: skip
    for name, event, said, attributes in bodies:
        for place, before in (("first", 0), ("later", 2)):
            yield Fault(
                f"{name}, {place}",
                answer([*CHUNKS[:before], event, *CHUNKS[before:]]),
                before,
                StreamAPIError,
                said,
                attributes=attributes,
            )
    yield Fault(
        "an error after the last finish_reason",
        answer([*CHUNKS, {"error": overloaded}]),
        ALL,
        StreamAPIError,
        "overloaded",
        attributes={"body": {"error": overloaded}, **full},
    )


def other_bodies() -> Iterator[Fault]:
    page = b"<!DOCTYPE html><html><body>It works!</body></html>"
    for kind in ("text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml", "text/xml"):
        yield Fault(
            f"a page of {kind}",
            answer([page], done=False, content_type=kind),
            0,
            StreamDecodeError,
            "base URL",
        )
    yield Fault(
        "a page of text/html that never ends",
        [*played([page], content_type="text/html"), Repeat(chunk(page))],
        0,
        StreamDecodeError,
        "base URL",
    )
    for said in ("text/event-stream", "text/plain", None):
        yield Fault(
            f"a page said to be {said}",
            answer([b"\r\n " + page], done=False, content_type=said, framing="length"),
            0,
            StreamDecodeError,
            "begins with '<'",
        )
        yield Fault(
            f"JSON said to be {said}",
            answer([json.dumps(WHOLE).encode()], done=False, content_type=said, framing="close"),
            0,
            StreamDecodeError,
            "begins with '{'",
        )
    yield Fault(
        "JSON that is another thing",
        json_answer({"object": "list", "data": []}),
        0,
        StreamDecodeError,
        "JSON",
    )
    yield Fault("JSON that is a list", json_answer([]), 0, StreamDecodeError, "JSON")
    yield Fault(
        "an error object as JSON",
        json_answer({"error": {"message": "overloaded", "type": "server_error"}}),
        0,
        StreamDecodeError,
        "overloaded",
    )
    yield Fault(
        "a page said to be JSON",
        answer([page], done=False, content_type="application/json"),
        0,
        StreamDecodeError,
        "JSON",
    )
    yield Fault(
        "JSON that is cut",
        [*played([b'{"choices": ['], content_type="application/json"), Fin()],
        0,
        StreamDecodeError,
        "JSON",
    )
    yield Fault(
        "JSON that is too large",
        [
            *played([b'{"choices": ['], content_type="application/json"),
            Repeat(chunk(b" " * 60_000)),
        ],
        0,
        StreamDecodeError,
        "JSON",
    )
    framings: tuple[Framing, ...] = ("chunked", "length", "close")
    for framing in framings:
        yield Fault(
            f"nothing, {framing}",
            answer([], done=False, framing=framing),
            0,
            StreamInterruptedError,
            "before its first event",
        )
    yield Fault(
        "nothing, with status 204",
        [head(204)],
        0,
        StreamInterruptedError,
        "before its first event",
    )
    yield Fault(
        "comments and nothing else",
        answer([b": a\n\n: b\n\n"], done=False),
        0,
        StreamInterruptedError,
        "before its first event",
    )


def bad_events() -> Iterator[Fault]:
    no_json = json.JSONDecodeError
    for name, data, cause in [
        ("text", b"nonsense", no_json),
        ("cut JSON", FRAMES[2][6:-10], no_json),
        ("two JSON objects", b"{} {}", no_json),
        ("JSON in quotes", b"{'a': 1}", no_json),
        ("NaN", b'{"a": NaN}', ValueError),
        ("Infinity", b'{"a": [-Infinity]}', ValueError),
        ("an integer of 100,000 digits", b'{"a": %b}' % (b"1" * 100_000), ValueError),
        ("brackets within brackets", b"[" * 150_000, RecursionError),
        ("objects within objects", b'{"a":' * 30_000, RecursionError),
        ("[DONE] in lower case", b"[done]", no_json),
        ("a page", b"<html>", no_json),
    ]:
        yield Fault(
            f"an event of {name}",
            answer([*CHUNKS[:2], b"data: " + data + b"\n\n", *CHUNKS[2:]]),
            2,
            StreamDecodeError,
            "not JSON",
            cause,
        )
    for data, kind in [
        (b"5", "int"), (b"[]", "list"), (b'"text"', "str"), (b"true", "bool"),
        (b"1.5", "float"), (b" [1] ", "list"),
    ]:  # fmt: skip
        yield Fault(
            f"an event of {data.decode()}",
            answer([*CHUNKS[:2], b"data: " + data + b"\n\n", *CHUNKS[2:]]),
            2,
            StreamDecodeError,
            f"not a JSON object: its data is a {kind}",
        )
    for name, event in [
        ("UTF-8 that is none", b'data: {"a": "\xff"}\n\n'),
        ("UTF-8 that is cut", b'data: {"a": "\xe4\xb8"}\n\n'),
        ("a surrogate in UTF-8", b'data: {"a": "\xed\xa0\x80"}\n\n'),
        ("UTF-8 of too many bytes", b'data: {"a": "\xc0\xaf"}\n\n'),
        ("Latin-1", 'data: {"a": "ö"}\n\n'.encode("latin-1")),
        ("a comment that is no UTF-8", b": \xff\n\n"),
        ("a field name that is no UTF-8", b"\xff: x\n\n"),
    ]:
        yield Fault(
            name,
            answer([*CHUNKS[:2], event, *CHUNKS[2:]]),
            2,
            StreamDecodeError,
            "not UTF-8",
            UnicodeDecodeError,
        )
    yield Fault(
        "UTF-16",  # its line ends are none
        answer([b"".join(FRAMES).decode().encode("utf-16")], done=False),
        0,
        StreamInterruptedError,
        "before its first event",
    )


def too_large() -> Iterator[Fault]:
    large = frame({"choices": [], "x": "y" * LIMIT})
    said = f"more than {LIMIT} bytes"
    two = CHUNKS[:2]
    decode = StreamDecodeError
    yield Fault("an event too large", answer([*two, large, *CHUNKS[2:]]), 2, decode, said)
    yield Fault(
        "an event too large in one block after gzip",
        answer([*two, large, *CHUNKS[2:]], encoding="gzip", events_per_chunk=100),
        2,
        decode,
        said,
    )
    yield Fault("an endless line", [*played([*two]), Repeat(chunk(b"x" * 30_000))], 2, decode, said)
    yield Fault(
        "an endless line first", [*played([]), Repeat(chunk(b"x" * 30_000))], 0, decode, said
    )
    yield Fault(
        "an endless event of many lines",
        [*played([*two]), Repeat(chunk(b"data: x\n" * 4000))],
        2,
        decode,
        said,
    )
    yield Fault(
        "an endless comment, close",
        [*played([*two], framing="close"), b":", Repeat(b"x" * 30_000)],
        2,
        decode,
        said,
    )


def incomplete() -> Iterator[Fault]:
    """An orderly end, but not all that was promised."""
    framings: tuple[Framing, ...] = ("chunked", "length", "close")
    for framing in framings:
        yield Fault(
            f"an orderly end before the finish_reason, {framing}",
            answer(CHUNKS[:4], done=False, framing=framing),
            4,
            StreamInterruptedError,
            "ended the answer after 4 events",
        )
        yield Fault(
            f"an orderly end in the event of the finish_reason, {framing}",
            answer([*CHUNKS[:4], FRAMES[4][:-1]], done=False, framing=framing),
            4,
            StreamInterruptedError,
            "ended the answer after 4 events",
        )


def stalls() -> Iterator[Fault]:
    idle = Timeout(idle=0.2)
    gap = Timeout(gap=0.3)
    timeout = StreamTimeoutError
    keep_alives = Repeat(chunk(b": keep-alive\n\n"), delay=0.05)
    places: list[tuple[str, Sequence[Event]]] = [
        ("before the first event", []),
        ("between events", CHUNKS[:2]),
        ("in an event", [*CHUNKS[:2], FRAMES[2][:30]]),
        ("before an event's blank line", [*CHUNKS[:2], FRAMES[2][:-1]]),
        ("after the last finish_reason", CHUNKS),
    ]
    for place, events in places:
        count = min(len(events), 2) if len(events) < ALL else ALL
        yield Fault(
            f"a stall {place}",
            [*played(events), Hang()],
            count,
            timeout,
            "no progress",
            timeout=idle,
        )
        if place.startswith(("in", "before an event's")):
            continue  # there a comment is a part of the event
        yield Fault(
            f"a stall {place}, with keep-alives",
            [*played(events), keep_alives],
            count,
            timeout,
            "no event for 0.3 s",
            timeout=gap,
        )
    yield Fault(
        "a stall in a chunk's size",
        [*played(CHUNKS[:2]), b"1", Hang()],
        2,
        timeout,
        "no progress for 0.2 s",
        timeout=idle,
    )
    yield Fault(
        "a stall in gzip",
        [*played(CHUNKS[:2], encoding="gzip")[:3], Hang()],
        2,
        timeout,
        "no progress for 0.2 s",
        timeout=idle,
    )
    yield Fault(
        "a stall of JSON instead of a stream",
        [*played([b"{"], content_type="application/json"), Hang()],
        0,
        timeout,
        "no progress for 0.2 s",
        timeout=idle,
    )
    yield Fault(
        "an event byte by byte, too slowly",
        [*played([*CHUNKS[:2]], framing="close"), Drip(FRAMES[2], delay=0.05)],
        2,
        timeout,
        "no event for 0.3 s",
        timeout=gap,
    )
    yield Fault(
        "events for longer than the total time",
        [*played(CHUNKS[:2]), Repeat(chunk(b": x\n\n"), delay=0.02)],
        2,
        timeout,
        "the total time of 0.3 s is up",
        timeout=Timeout(total=0.3),
    )


FAULTS = list(faults())


# Each of them --------------------------------------------------------------------------------


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(
        api_key=KEY,
        base_url=server.base_url,
        max_retries=0,
        max_event_bytes=LIMIT,
        timeout=PATIENT,
    ) as made:
        yield made


def test_the_rows_have_different_names() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


def prepared(fault: Fault, taken: threading.Event) -> list[Step | bytes]:
    if not fault.events:
        taken.set()
    return [Wait(taken) if step is TAKEN else step for step in fault.script]


def assert_told(error: BaseException, fault: Fault, stream: Stream[Any, ChatCompletion]) -> None:
    """What is true of each error of a stream."""
    assert type(error) is fault.error
    assert fault.said in str(error)
    assert_readable(error)
    cause = error.__cause__
    assert (cause is None) if fault.cause is None else isinstance(cause, fault.cause)
    for name, value in fault.attributes.items():
        assert getattr(error, name) == value
    assert_snapshot(error.snapshot, fault.events)
    assert stream.snapshot() == error.snapshot
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            stream.result(WAIT)
        assert caught.value is error
    assert stream.exception(WAIT) is error
    assert stream.done()
    assert not stream.cancelled()
    assert not stream.running()
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is fault.error
    assert str(copy) == str(error)
    assert copy.snapshot == error.snapshot
    assert vars(copy) == vars(error)


def assert_readable(error: BaseException) -> None:
    assert isinstance(error, OpenAIStreamError)
    message = str(error)
    assert "object at 0x" not in message
    assert "\n" not in message
    assert 20 < len(message) < 700
    assert KEY not in "".join(traceback.format_exception(error))


def assert_snapshot(snapshot: Any, events: int) -> None:
    assert isinstance(snapshot, ChatCompletion)
    if not events:
        assert snapshot.choices == []
        return
    assert snapshot.id == CHUNKS[0]["id"]
    assert snapshot.object == "chat.completion"
    (choice,) = snapshot.choices
    deltas = [one["choices"][0]["delta"] for one in CHUNKS[:events]]
    assert choice.message.content == "".join(delta.get("content", "") for delta in deltas)
    assert choice.message.role == "assistant"
    assert choice.finish_reason == ("stop" if events == ALL else None)


def assert_not_kept(server: ScriptedServer) -> None:
    """The connection is closed, although the client and the stream are still there."""
    for connection in server.connections:
        assert connection.closed.wait(WAIT)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_in_a_queue(server: ScriptedServer, client: Client, fault: Fault) -> None:
    taken = threading.Event()
    server.play(prepared(fault, taken))
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, timeout=fault.timeout
    )
    for number, expected in enumerate(CHUNKS[: fault.events], 1):
        event = events.get(timeout=WAIT)
        assert event is not DONE
        assert event.to_dict() == expected
        if number == fault.events:
            taken.set()
    with pytest.raises(fault.error) as caught:
        events.get(timeout=WAIT)
    assert_told(caught.value, fault, events.stream)
    # Once, in the place of DONE: from here on it is an empty queue.
    with pytest.raises(queue.Empty):
        events.get_nowait()
    for _ in range(2):
        with pytest.raises(fault.error) as again:
            list(events)
        assert again.value is caught.value
    assert_not_kept(server)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_in_callbacks(server: ScriptedServer, client: Client, fault: Fault) -> None:
    taken = threading.Event()
    server.play(prepared(fault, taken))
    calls: list[tuple[str, Any]] = []

    def on_next(event: ChatCompletionChunk) -> None:
        calls.append(("next", event.to_dict()))
        if len(calls) == fault.events:
            taken.set()

    stream = client.create_chat_completion(
        model="m",
        messages=[],
        stream=True,
        on_next=on_next,
        on_done=lambda whole: calls.append(("done", whole)),
        on_error=lambda error: calls.append(("error", error)),
        timeout=fault.timeout,
    )
    with pytest.raises(fault.error) as caught:
        stream.result(WAIT)
    assert calls == [
        *(("next", one) for one in CHUNKS[: fault.events]),
        ("error", caught.value),
    ]
    assert_told(caught.value, fault, stream)
    assert_not_kept(server)


# Before the response -------------------------------------------------------------------------


@attrs.frozen
class Refusal:
    """A call that gets no response to stream.

    :param greeting: what the server plays before any request.
    """

    name: str
    script: Script
    error: type[OpenAIStreamError]
    said: str
    greeting: Script = ()
    timeout: Timeout = PATIENT


def refusals() -> Iterator[Refusal]:
    for end in (Fin(), Reset()):
        kind = type(end).__name__.upper()
        for place, sent in {
            "before a byte of the response": b"",
            "in the status line": b"HTTP/1.1 20",
            "after the status line": b"HTTP/1.1 200 OK\r\n",
            "in a header's name": b"HTTP/1.1 200 OK\r\nContent-Ty",
            "between headers": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
            "in the headers' end": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r",
        }.items():
            yield Refusal(f"{kind} {place}", [sent, end], APIConnectionError, "no response")
        yield Refusal(f"{kind} before the request", [], APIConnectionError, "no response", [end])
    connection = APIConnectionError
    yield Refusal("not HTTP", [b"SSH-2.0-OpenSSH_9\r\n", Fin()], connection, "no response")
    yield Refusal("no status", [b"HTTP/1.1 abc OK\r\n\r\n", Fin()], connection, "no response")
    yield Refusal("HTTP/3", [b"HTTP/3.0 200 OK\r\n\r\n", Fin()], connection, "no response")
    yield Refusal(
        "an endless status line",
        [b"HTTP/1.1 200 ", Repeat(b"a" * 30_000)],
        connection,
        "no response",
    )
    yield Refusal("endless headers", endless_headers(), connection, "no response")
    yield Refusal(
        "an endless header",
        [b"HTTP/1.1 200 OK\r\nX: ", Repeat(b"a" * 30_000)],
        connection,
        "no response",
    )
    yield Refusal(
        "two lengths",
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", *FRAMES, Hang()],
        connection,
        "no response",
    )
    idle, gap = Timeout(idle=0.2), Timeout(gap=0.3)
    yield Refusal("a stall", [Hang()], APITimeoutError, "no progress for 0.2 s", timeout=idle)
    yield Refusal(
        "a stall in the status line",
        [b"HTTP/1.1", Hang()],
        APITimeoutError,
        "no progress for 0.2 s",
        timeout=idle,
    )
    yield Refusal(
        "a stall in the headers",
        [b"HTTP/1.1 200 OK\r\nX: ", Hang()],
        APITimeoutError,
        "no progress for 0.2 s",
        timeout=idle,
    )
    yield Refusal(
        "headers that trickle",
        [b"HTTP/1.1 200 OK\r\n", Repeat(b"X", delay=0.05)],
        APITimeoutError,
        "no event for 0.3 s",
        timeout=gap,
    )
    yield Refusal(
        "interim responses for ever",
        [Repeat(b"HTTP/1.1 100 Continue\r\n\r\n", delay=0.05)],
        APITimeoutError,
        "no event for 0.3 s",
        timeout=gap,
    )
    yield Refusal(
        "a redirect",
        [head(307, {"Location": "http://elsewhere/", "Content-Length": "0"})],
        connection,
        "redirects (307) to http://elsewhere/",
    )


REFUSALS = list(refusals())


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
@pytest.mark.parametrize("stream", [True, False])
def test_no_response(server: ScriptedServer, client: Client, refusal: Refusal, stream: Any) -> None:
    server.on_connect(refusal.greeting)
    server.play(refusal.script)
    with pytest.raises(refusal.error) as caught:
        client.create_chat_completion(
            model="m", messages=[], stream=stream, timeout=attrs.evolve(refusal.timeout, total=0.8)
        )
    assert type(caught.value) is refusal.error
    assert_readable(caught.value)
    if stream or "0.2" not in refusal.said:  # idle does not run while a whole answer is made
        assert refusal.said in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert_not_kept(server)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_no_response_under_nowait(server: ScriptedServer, client: Client, refusal: Refusal) -> None:
    server.on_connect(refusal.greeting)
    server.play(refusal.script)
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, nowait=True, timeout=refusal.timeout
    )
    with pytest.raises(refusal.error) as caught:
        events.get(timeout=WAIT)
    assert type(caught.value) is refusal.error
    assert refusal.said in str(caught.value)
    with pytest.raises(queue.Empty):
        events.get_nowait()
    for read in (list, lambda _: events.stream.result(WAIT)):
        with pytest.raises(refusal.error) as again:
            read(events)
        assert again.value is caught.value
    assert events.stream.status_code is None
    assert_not_kept(server)


# What is whole all the same ------------------------------------------------------------------


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_after_done_no_end_is_a_fault(
    server: ScriptedServer, client: Client, framing: Framing, end: Step
) -> None:
    taken = threading.Event()
    server.play([*played([*CHUNKS, "[DONE]"], framing), Wait(taken), end], answer(CHUNKS))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    assert [event.to_dict() for event in events] == CHUNKS
    taken.set()
    assert events.stream.exception(WAIT) is None
    again = client.create_chat_completion(model="m", messages=[], stream=True)
    assert len(list(again)) == ALL


@pytest.mark.parametrize(
    "rest",
    [b"zz\r\n", b"-5\r\n", b"5\r\ndata", b"\x00", chunk(b"data: nonsense\n\n"), chunk(b"\xff\n\n")],
)
def test_after_done_no_rubbish_is_a_fault(
    server: ScriptedServer, client: Client, rest: bytes
) -> None:
    server.play([*played([*CHUNKS, "[DONE]"]), rest, Hang()], answer(CHUNKS))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    assert [event.to_dict() for event in events] == CHUNKS
    assert events.stream.exception(WAIT) is None
    assert len(list(client.create_chat_completion(model="m", messages=[], stream=True))) == ALL


@pytest.mark.parametrize(
    "script",
    [
        answer(CHUNKS, done=False, framing="close"),
        [head(200, {"Content-Length": "-5"}), *FRAMES, Fin()],
        [head(200, {"Content-Length": str(len(b"".join(FRAMES)))}), *FRAMES, b"data: [DONE]\n\n"],
        [head(200, {"Content-Length": "99999"}), *FRAMES, frame("[DONE]"), Fin()],
        answer([*CHUNKS, b"data: half an event"], done=False),
        answer([*CHUNKS, b"data: [DONE]"], done=False),
        answer([{**one, "error": None} for one in CHUNKS]),
        answer([*CHUNKS, {"choices": [], "usage": {"total_tokens": 1}}], done=False),
    ],
    ids=[
        "FIN after the last finish_reason, close",
        "negative content-length and FIN",
        "content-length without [DONE]",
        "content-length too large, and [DONE]",
        "half an event after the last finish_reason",
        "[DONE] without its line end",
        "error: null",
        "usage at the end",
    ],
)
def test_orderly_ends(server: ScriptedServer, client: Client, script: Script) -> None:
    server.play(script)
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    assert len(list(events)) >= ALL
    message = events.stream.result(WAIT).choices[0].message
    assert message.content == "Hello big wörld"


def test_every_choice_has_to_be_finished(server: ScriptedServer, client: Client) -> None:
    def part(index: int, finish_reason: str | None) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}

    def asked(*parts: dict[str, Any]) -> BaseException | None:
        server.play(answer(parts, done=False))
        events = client.create_chat_completion(model="m", messages=[], n=2, stream=True)
        return events.stream.exception(WAIT)

    assert asked(part(0, None), part(1, None), part(0, "stop"), part(1, "length")) is None
    wanting: list[list[dict[str, Any]]] = [
        [part(0, None), part(1, None), part(0, "stop")],
        [part(0, None), part(1, "stop")],
        [part(0, "")],
        [part(0, "stop"), part(1, "")],
        [{"choices": [], "usage": {"total_tokens": 1}}],
        [{}],
    ]
    for parts in wanting:
        assert type(asked(*parts)) is StreamInterruptedError


def test_a_whole_answer_instead_of_a_stream_is_the_snapshot(
    server: ScriptedServer, client: Client
) -> None:
    server.play(json_answer(WHOLE))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    with pytest.raises(StreamDecodeError, match="ignores stream=True") as caught:
        events.get(timeout=WAIT)
    assert caught.value.snapshot.to_dict() == WHOLE
    assert_not_kept(server)


def test_json_nested_as_deep_as_can_just_be_read(server: ScriptedServer, client: Client) -> None:
    # Somewhere between what is read and what is not, code that walks over it might give up.
    for depth in range(900, 1000, 2):
        nested = b"[" * depth + b"]" * depth
        server.play(answer([b'data: {"error": %b}\n\n' % nested], done=False))
        server.play(answer([b'data: {"x": %b}\n\n' % nested, *CHUNKS]))
        error = client.create_chat_completion(model="m", messages=[], stream=True)
        assert type(error.stream.exception(WAIT)) in (StreamAPIError, StreamDecodeError)
        extra = client.create_chat_completion(model="m", messages=[], stream=True)
        if extra.stream.exception(WAIT) is None:
            assert len([event.to_dict() for event in extra]) == ALL + 1
            assert extra.stream.result(WAIT).choices[0].message.content == "Hello big wörld"
        else:
            assert type(extra.stream.exception(WAIT)) is StreamDecodeError


# Memory --------------------------------------------------------------------------------------


def test_a_decompression_bomb_is_bounded(server: ScriptedServer, client: Client) -> None:
    bomb = gzip.compress(b"x" * 100_000_000)
    assert len(bomb) < 200_000
    server.play(answer([bomb], done=False, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        events = client.create_chat_completion(model="m", messages=[], stream=True)
        with pytest.raises(StreamDecodeError, match=f"more than {LIMIT} bytes"):
            events.get(timeout=WAIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_a_bomb_instead_of_a_whole_answer_is_bounded(
    server: ScriptedServer, client: Client
) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    server.play(answer([bomb], done=False, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(StreamDecodeError, match=f"longer than {LIMIT} bytes"):
            client.create_chat_completion(model="m", messages=[])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_events_within_the_limit_are_not_bounded_together(
    server: ScriptedServer, client: Client
) -> None:
    chunks = [{**one, "padding": "x" * (LIMIT - 1000)} for one in CHUNKS]
    server.play(answer(chunks, encoding="gzip", events_per_chunk=ALL))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    assert [event.to_dict() for event in events] == chunks


# Without stream ------------------------------------------------------------------------------

BODY = json.dumps(WHOLE).encode()
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("script", "error", "said", "cause"),
    [
        ([*played([BODY]), Fin()], StreamInterruptedError, "the connection broke", CUT),
        ([*played([BODY]), Reset()], StreamInterruptedError, "the connection broke", CUT),
        ([*played([BODY[:50]]), Fin()], StreamInterruptedError, "the connection broke", CUT),
        (
            [head(200, {**JSON, "Content-Length": "9999"}), BODY, Fin()],
            StreamInterruptedError,
            "the connection broke",
            CUT,
        ),
        (
            [head(200, {"Transfer-Encoding": "chunked"}), b"zz\r\n"],
            StreamInterruptedError,
            "the connection broke",
            CUT,
        ),
        (answer([BODY[:-1]], done=False), StreamDecodeError, "not JSON", ValueError),
        (answer([], done=False), StreamDecodeError, "not JSON", ValueError),
        ([head(204)], StreamDecodeError, "not JSON", ValueError),
        (answer([b"<html>"], done=False), StreamDecodeError, "base URL", ValueError),
        (answer([b'{"a": NaN}'], done=False), StreamDecodeError, "not JSON", ValueError),
        (answer([b"[" * 100_000], done=False), StreamDecodeError, "not JSON", RecursionError),
        (answer([b'"\xff"'], done=False), StreamDecodeError, "not UTF-8", UnicodeDecodeError),
        (json_answer([WHOLE]), StreamDecodeError, "no object", None),
        (json_answer("x" * 1000), StreamDecodeError, "no object", None),
        (json_answer({"x": "y" * LIMIT}), StreamDecodeError, "longer than 200000 bytes", None),
        (
            answer([BODY], done=False, headers={"Content-Encoding": "gzip"}),
            StreamDecodeError,
            "cannot be decompressed",
            urllib3.exceptions.DecodeError,
        ),
        (json_answer({"error": {"message": "overloaded"}}), StreamAPIError, "overloaded", None),
        (json_answer({"error": "overloaded"}), StreamAPIError, "overloaded", None),
    ],
)
def test_fault_without_stream(
    server: ScriptedServer,
    client: Client,
    script: Script,
    error: type[StreamError],
    said: str,
    cause: type[BaseException] | None,
) -> None:
    server.play(script)
    with pytest.raises(error) as caught:
        client.create_chat_completion(model="m", messages=[])
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert_readable(caught.value)
    if cause is None:
        assert caught.value.__cause__ is None
    else:
        assert isinstance(caught.value.__cause__, cause)
    assert caught.value.snapshot is None


def test_a_stall_without_stream(server: ScriptedServer, client: Client) -> None:
    server.play([*played([BODY[:20]]), Hang()])
    start = time.monotonic()
    with pytest.raises(StreamTimeoutError, match=r"no progress for 0\.2 s"):
        client.create_chat_completion(model="m", messages=[], timeout=0.2)
    assert time.monotonic() - start < 0.7


def test_an_error_beside_choices_is_no_error_without_stream(
    server: ScriptedServer, client: Client
) -> None:
    whole = {**WHOLE, "error": {"message": "moderated"}}
    server.play(json_answer(whole))
    assert client.create_chat_completion(model="m", messages=[]).to_dict() == whole
