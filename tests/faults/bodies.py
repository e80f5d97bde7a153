"""Bodies that are no whole answer: their lengths, chunks, compression and content."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any

import urllib3.exceptions

from openai_stream import StreamAPIError, StreamDecodeError, StreamInterruptedError
from openai_stream.testing import (
    LAST_CHUNK,
    Event,
    Fin,
    Hang,
    Repeat,
    Step,
    answer,
    chunk,
    endless_chunk_size,
    frame,
    head,
    json_answer,
)

from .row import (
    ALL,
    CHUNKED,
    CHUNKS,
    CUT,
    FRAMES,
    FRAMINGS,
    JSON,
    LIMIT,
    TAKEN,
    Classes,
    Row,
    Script,
    opened,
    part,
)
from .whole import choice

#: A completion as it comes without ``stream=True``.
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
}
#: Two million bytes in two thousand.
BOMB = gzip.compress(b"x" * 10 * LIMIT)


def interrupted(name: str, script: Script, events: int, **more: Any) -> Row:
    said = f"ended the answer after {events} event{'' if events == 1 else 's'}"
    if not events:
        said = "before its first event"
    return Row(name, script, events, StreamInterruptedError, said, **more)


def broken(name: str, script: Script, events: int, **more: Any) -> Row:
    said = "the connection broke"
    return Row(name, script, events, StreamInterruptedError, said, CUT, **more)


# How it is sent ------------------------------------------------------------------------------


def lengths() -> Iterator[Row]:
    body = b"".join(FRAMES)
    after_two = len(b"".join(FRAMES[:2]))

    def of(length: object, *rest: Step | bytes) -> Script:
        return [opened({"Content-Length": str(length)}), *rest]

    yield interrupted("content-length ends between events", of(after_two, body), 2)
    yield interrupted("content-length ends in an event", of(after_two + 30, body), 2)
    yield interrupted(
        "content-length ends before an event's blank line", of(after_two - 1, body), 2
    )
    yield interrupted("content-length of one", of(1, body), 0)
    yield broken("content-length larger than the body", of(len(body) + 1, body, TAKEN, Fin()), ALL)
    for length in ("-5", "x", ""):
        yield interrupted(
            f"content-length of {length or 'nothing'}",
            of(length, *FRAMES[:2], TAKEN, Fin()),
            2,
            others="may refuse it",
        )


def chunks() -> Iterator[Row]:
    good = chunk(b"".join(FRAMES[:2]))
    for size in [
        b"-5", b"zz", b"0x5", b"", b"+5", b"1_0", b"5 5", b" ", b";a=b", b"5\x00", b"\xff", b"-0",
        b"1g", b"data: x",
    ]:  # fmt: skip
        for place, before, count in (("first", b"", 0), ("later", good, 2)):
            yield broken(
                f"chunk size of {size!r}, {place}",
                [
                    CHUNKED,
                    before,
                    TAKEN,
                    size + b"\r\n" + FRAMES[2] + b"\r\n" + LAST_CHUNK,
                    Hang(),
                ],
                count,
            )
    longer: list[tuple[str, int, Script]] = [
        ("a chunk longer than its size", 2, [b"5\r\n" + FRAMES[2] + b"\r\n", LAST_CHUNK, Hang()]),
        (
            "a chunk with something between its end and its line end",
            3,
            [chunk(FRAMES[2])[:-2] + b"xyz\r\n", *map(chunk, FRAMES[3:]), LAST_CHUNK],
        ),
        (
            "a chunk size larger than any body",
            3,
            [b"f" * 40 + b"\r\n" + FRAMES[2], TAKEN, Fin()],
        ),
        ("endless chunk extensions", 2, [b"5;", Repeat(b"a" * 65536)]),
    ]
    for name, count, rest in longer:
        may: Any = "may refuse it" if "any body" in name else "do the same"
        yield broken(name, [CHUNKED, good, *rest], count, others=may)
    yield broken("no chunks at all", [CHUNKED, *FRAMES[:2], TAKEN, Hang()], 0)
    yield broken("an endless chunk size", endless_chunk_size(), 0)
    yield interrupted("a last chunk too early", [CHUNKED, good, LAST_CHUNK, chunk(FRAMES[2])], 2)


def compression() -> Iterator[Row]:
    coded = {"Content-Encoding": "gzip"}
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS + 16)
    good = [packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH) for one in FRAMES[:2]]
    third = packer.compress(FRAMES[2]) + packer.flush()
    wrong_sum = third[:-8] + b"\0" * 8
    bad = {"Content-Encoding": "deflate"}
    # What was decompressed in one go with the fault is lost: ``zlib`` does not give it away.
    rows: list[tuple[str, Sequence[Event], int, dict[str, str]]] = [
        ("gzip that is corrupt", [*good, TAKEN, b"\xff" * 100], 2, coded),
        ("gzip whose checksum is wrong", [*good, TAKEN, wrong_sum], 2, coded),
        ("gzip that is none", FRAMES, 0, coded),
        ("gzip with a corrupt header", [b"\x1f\x8b\xff" + good[0][3:]], 0, coded),
        ("deflate that is none", [b"\xff" * 100], 0, bad),
    ]
    for name, pieces, count, headers in rows:
        yield Row(
            name,
            [*part(pieces, headers=headers), Hang()],
            count,
            StreamDecodeError,
            "cannot be decompressed",
            urllib3.exceptions.DecodeError,
        )
    yield interrupted(
        "gzip that ends too early", answer([*good, third[:8]], done=False, headers=coded), 2
    )
    yield broken("gzip cut by FIN", [*part([*good, third[:8]], headers=coded), TAKEN, Fin()], 2)
    yield Row(
        "a decompression bomb",
        answer([BOMB], done=False, headers=coded),
        0,
        StreamDecodeError,
        f"more than {LIMIT} bytes",
    )


def too_large() -> Iterator[Row]:
    large = frame({"choices": [], "x": "y" * LIMIT})

    def row(name: str, script: Script, events: int = 2, **more: Any) -> Row:
        return Row(name, script, events, StreamDecodeError, f"more than {LIMIT} bytes", **more)

    two, rest = CHUNKS[:2], CHUNKS[2:]
    x = Repeat(chunk(b"x" * 30_000))
    yield row("an event too large", answer([*two, large, *rest]), others="may accept it")
    yield row(
        "an event too large in one block after gzip",
        answer([*two, large, *rest], encoding="gzip", events_per_chunk=100),
        others="may accept it",
    )
    yield row("an endless line", [*part(two), x])
    yield row("an endless line first", [*part([]), x], 0)
    lines = Repeat(chunk(b"data: x\n" * 4000))
    yield row("an endless event of many lines", [*part(two), lines])
    yield row(
        "an endless comment, close", [*part(two, framing="close"), b":", Repeat(b"x" * 30_000)]
    )


# What is in it -------------------------------------------------------------------------------


def errors() -> Iterator[Row]:
    overloaded = {"message": "overloaded", "type": "server_error", "param": None, "code": "busy"}
    full: dict[str, Any] = {"code": "busy", "type": "server_error"}
    none: dict[str, Any] = {"code": None, "type": None}
    bodies: list[tuple[str, Event, str, dict[str, Any]]] = [
        ("an error object", {"error": overloaded}, "overloaded", full),
        ("an error object with choices", {"error": overloaded, "choices": []}, "overloaded", full),
        ("an error of a string", {"error": "overloaded"}, "overloaded", none),
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
    boom = b'{"message": "overloaded", "type": "server_error", "code": "busy"}'
    last = choice(0, "error")["choices"][0]
    bodies += [
        ("an error as a field", b"error: " + boom + b"\n\n", "overloaded", full),
        ("an error as a field of text", b"error: overloaded\n\n", "overloaded", none),
        ("an error as a bare line", b'{"error": ' + boom + b"}\n\n", "overloaded", full),
        ("an error event with its data in the next frame",
         b"event: error\n\ndata: " + boom + b"\n\n", "overloaded", full),
        ("an error event in capitals", b"event: ERROR\ndata: " + boom + b"\n\n",
         "overloaded", full),
        ("an error in a list", frame(json.dumps([{"error": overloaded}])), "overloaded", full),
        ("an error in a choice", {"choices": [{**last, "error": overloaded}]}, "overloaded", full),
        *((f"a finish_reason of {reason}", choice(0, reason), reason, none) for reason in (
            "error", "network_error", "insufficient_system_resource", "abort")),
        ("an error_message", {"choices": None, "error_message": "overloaded"}, "overloaded", none),
        ("a code and a message", {"code": "busy", "message": "overloaded"}, "overloaded",
         {"code": "busy", "type": None}),
        ("a base_resp", {"base_resp": {"status_code": 1004, "status_msg": "overloaded"}},
         "overloaded", {"code": "1004", "type": None}),
        ("success: false", {"success": False, "errors": [{"message": "overloaded"}]}, "overloaded",
         none),
        ("a detail", {"detail": [{"msg": "overloaded"}]}, "overloaded", none),
    ]  # fmt: skip
    for name, event, said, attributes in bodies:
        for place, before in (("first", 0), ("later", 2)):
            script = answer([*CHUNKS[:before], event, *CHUNKS[before:]])
            more: dict[str, Any] = {"attributes": attributes}
            if isinstance(event, dict) and event.get("choices"):  # it is in the snapshot
                reason = event["choices"][0]["finish_reason"]
                more["held"] = {0: ("Hello" if before else "", reason)}
            yield Row(f"{name}, {place}", script, before, StreamAPIError, said, **more)
    yield Row(
        "an error after the last finish_reason",
        answer([*CHUNKS, {"error": overloaded}]),
        ALL,
        StreamAPIError,
        "overloaded",
        attributes={"body": {"error": overloaded}, **full},
    )


def other_bodies() -> Iterator[Row]:
    """Status 200, and no event stream."""

    def row(name: str, script: Script, said: str, **more: Any) -> Row:
        return Row(name, script, 0, StreamDecodeError, said, **more)

    page = b"<!DOCTYPE html><html><body>It works!</body></html>"
    for html in ("text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml", "text/xml"):
        yield row(f"a page of {html}", answer([page], done=False, content_type=html), "base URL")
    yield row(
        "a page of text/html that never ends",
        [*part([page], content_type="text/html"), Repeat(chunk(page))],
        "base URL",
    )
    whole = json.dumps(WHOLE).encode()
    kind: str | None
    for kind in ("text/event-stream", "text/plain", None):
        yield row(
            f"a page said to be {kind}",
            answer([b"\r\n " + page], done=False, content_type=kind, framing="length"),
            "begins with '<'",
        )
        yield row(
            f"a whole completion said to be {kind}",
            answer([whole], done=False, content_type=kind, framing="close"),
            "ignores stream=True",
            held={0: ("Hi", "stop")},
        )
        yield row(
            f"JSON said to be {kind}",
            answer([b'{"status": "ok"}'], done=False, content_type=kind, framing="close"),
            "begins with '{'",
        )
    yield row(
        "a whole completion instead of a stream",
        json_answer(WHOLE),
        "ignores stream=True",
        held={0: ("Hi", "stop")},
    )
    error = {"error": {"message": "overloaded", "type": "server_error"}}
    for kind in ("application/json", "text/event-stream", "text/plain", None):
        yield Row(
            f"an error object as JSON said to be {kind}",
            answer([json.dumps(error).encode()], done=False, content_type=kind),
            0,
            StreamAPIError,
            "overloaded",
            attributes={"body": error, "type": "server_error"},
        )
    typed: dict[str, Any] = {"content_type": "application/json"}
    start = part([b'{"choices": ['], **typed)
    for name, script in {
        "JSON that is another thing": json_answer({"object": "list", "data": []}),
        "JSON that is a list": json_answer([]),
        "a page said to be JSON": answer([page], done=False, **typed),
        "JSON that is cut": [*start, Fin()],
        "JSON that is too large": [*start, Repeat(chunk(b" " * 60_000))],
    }.items():
        yield row(name, script, "JSON")
    for framing in FRAMINGS:
        yield interrupted(f"nothing, {framing}", answer([], done=False, framing=framing), 0)
    yield interrupted("nothing, with status 204", [head(204)], 0)
    comments = answer([b": a\n\n: b\n\n"], done=False)
    yield interrupted("comments and nothing else", comments, 0, keep_alives=2)


def bad_events() -> Iterator[Row]:
    def row(name: str, event: bytes, said: str, cause: Classes = NoneType) -> Row:
        script = answer([*CHUNKS[:2], event, *CHUNKS[2:]])
        comments = event.startswith(b":")
        return Row(name, script, 2, StreamDecodeError, said, cause, keep_alives=int(comments))

    no_json = json.JSONDecodeError
    events: list[tuple[str, bytes, Classes]] = [
        ("text", b"nonsense", no_json),
        ("cut JSON", FRAMES[2][6:-10], no_json),
        ("two JSON objects", b"{} {}", no_json),
        ("JSON in quotes", b"{'a': 1}", no_json),
        ("NaN", b'{"a": NaN}', ValueError),
        ("Infinity", b'{"a": [-Infinity]}', ValueError),
        ("an integer of 100,000 digits", b'{"a": %b}' % (b"1" * 100_000), ValueError),
        ("brackets within brackets", b"[" * 150_000, RecursionError),
        # Python 3.14 reads that many, and misses their end.
        ("objects within objects", b'{"a":' * 30_000, (RecursionError, no_json)),
        ("[DONE] in lower case", b"[done]", no_json),
        ("a page", b"<html>", no_json),
    ]
    for name, data, cause in events:
        yield row(f"an event of {name}", b"data: " + data + b"\n\n", "not JSON", cause)
    for data, kind in [
        (b"5", "a number"), (b"[]", "an array"), (b'"text"', "a string"), (b"true", "a boolean"),
        (b"1.5", "a number"), (b" [1] ", "an array"),
    ]:  # fmt: skip
        said = f"not a JSON object: its data is {kind}"
        yield row(f"an event of {data.decode()}", b"data: " + data + b"\n\n", said)
    for name, event in [
        ("UTF-8 that is none", b'data: {"a": "\xff"}\n\n'),
        ("UTF-8 that is cut", b'data: {"a": "\xe4\xb8"}\n\n'),
        ("a surrogate in UTF-8", b'data: {"a": "\xed\xa0\x80"}\n\n'),
        ("UTF-8 of too many bytes", b'data: {"a": "\xc0\xaf"}\n\n'),
        ("Latin-1", 'data: {"a": "ö"}\n\n'.encode("latin-1")),
        ("a comment that is no UTF-8", b": \xff\n\n"),
        ("a field name that is no UTF-8", b"\xff: x\n\n"),
    ]:
        yield row(name, event, "not UTF-8", UnicodeDecodeError)
    # Its line ends are none.
    utf_16 = b"".join(FRAMES).decode().encode("utf-16")
    yield interrupted("UTF-16", answer([utf_16], done=False), 0)


def unfinished() -> Iterator[Row]:
    """Without ``[DONE]``, every choice needs its ``finish_reason``."""
    usage = {"choices": [], "usage": {"total_tokens": 1}}
    bodies: dict[str, list[JSON]] = {
        "one choice of two finished": [choice(0, None), choice(1, None), choice(0, "stop")],
        "the later choice finished": [choice(0, None), choice(1, "stop")],
        "a finish_reason of nothing": [choice(0, "")],
        "one of two finish_reasons of nothing": [choice(0, "stop"), choice(1, "")],
        "usage and nothing else": [usage],
        "an empty event": [{}],
    }
    for name, events in bodies.items():
        script = answer(events, done=False)
        count = f"{len(events)} event{'' if len(events) == 1 else 's'}"
        said = f"ended the answer after {count}"
        yield Row(name, script, events, StreamInterruptedError, said)
