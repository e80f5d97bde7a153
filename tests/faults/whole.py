"""Answers that are whole, in every form in which a server may put them on the wire."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from openai_stream.testing import (
    LAST_CHUNK,
    Event,
    Fin,
    Hang,
    Pause,
    Repeat,
    Send,
    Step,
    answer,
    chat_chunks,
    chunk,
    frame,
)

from .row import (
    CHUNKED,
    CHUNKS,
    FIN_AND_RST,
    FRAMES,
    FRAMINGS,
    JSON,
    TAKEN,
    Framing,
    Row,
    Script,
    opened,
    part,
)

Encoding = Literal["gzip", "deflate"]
ENCODINGS: tuple[Encoding, ...] = ("gzip", "deflate")

#: Two, three and four bytes a character, and one that ends a line for ``str.splitlines``.
TEXT = "Grüße an die Welt: 世界 🌍\u2028 Ende."
LONG = chat_chunks(TEXT, usage=True)
BODY = b"".join(map(frame, LONG)) + frame("[DONE]")

#: Heads of chunked bodies.
SPELLINGS = {
    name: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + b"\r\n"
    for name, coding in {
        "Chunked, with spaces behind it": b"Transfer-Encoding: Chunked \t\r\n",
        "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n",
        "identity and chunked in two headers": b"Transfer-Encoding: identity\r\n"
        b"Transfer-Encoding: chunked\r\n",
        "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    }.items()
}


def whole(name: str, script: Script, events: Sequence[JSON] = LONG, **more: Any) -> Row:
    return Row(name, script, events, **{"kept": True, **more})


def framings() -> Iterator[Row]:
    cuts: dict[str, dict[str, Any]] = {
        "an event a piece": {},
        "byte by byte": {"bytes_per_chunk": 1},
        "by seven bytes": {"bytes_per_chunk": 7},
        "by three events": {"events_per_chunk": 3},
        "all at once": {"events_per_chunk": 1000},
    }
    for framing in FRAMINGS:
        codings = [(None, True), *itertools.product(ENCODINGS, (True, False))]
        for (encoding, flush), (cut, arguments) in itertools.product(codings, cuts.items()):
            coding = f", {encoding}{'' if flush else ' not flushed'}" if encoding else ""
            yield whole(
                f"{framing}{coding}, {cut}",
                answer(LONG, framing=framing, encoding=encoding, flush=flush, **arguments),
                kept=framing != "close",
            )
    large = chat_chunks(["ä" * 90_000, "b" * 70_000, "c", "d" * 65536])
    for framing, coded in itertools.product(FRAMINGS, (None, "gzip")):
        yield whole(
            f"large events, {framing}{', gzip' if coded else ''}",
            answer(large, framing=framing, encoding="gzip" if coded else None),
            large,
            kept=framing != "close",
        )
    many = chat_chunks(["x"] * 1000)
    yield whole("1,000 events, a hundred a chunk", answer(many, events_per_chunk=100), many)


def splits() -> Iterator[Row]:
    mark = b"\xef\xbb\xbf"
    body = b"".join(frame(one, line_end="\r\n") for one in LONG)
    places = {
        "in a field's name": 2,
        "in an event's \\r\\n": body.index(b"\r\n") + 1,
        "between an event's line end and its blank line": body.index(b"\r\n\r\n") + 2,
        "in the \\r\\n of a blank line": body.index(b"\r\n\r\n") + 3,
        "between two events": body.index(b"\r\n\r\n") + 4,
        "in a character of two bytes": body.index("ß".encode()) + 1,
        "in a character of three bytes": body.index("世".encode()) + 2,
        "in a character of four bytes": body.index("🌍".encode()) + 3,
        "before the last byte": len(body) - 1,
    }
    marks = {
        "after a byte of the byte-order mark": 1,
        "before the last byte of the byte-order mark": 2,
        "behind the byte-order mark": 3,
    }
    cuts = [(mark + body, *one) for one in marks.items()]
    cuts += [(body, *one) for one in places.items()]
    # The pause lets the reader see the first piece alone.
    for framing, (sent, place, at) in itertools.product(FRAMINGS, cuts):
        yield whole(
            f"split {place}, {framing}",
            answer([sent[:at], Pause(0.005), sent[at:]], framing=framing),
            kept=framing != "close",
        )
    for encoding in ENCODINGS:
        script = answer(LONG, encoding=encoding, events_per_chunk=1000)
        sent = b"".join(piece for piece in script if isinstance(piece, bytes))
        at = sent.index(b"\r\n", sent.index(b"\r\n\r\n") + 4) + 3
        yield whole(f"split in the header of {encoding}", [sent[:at], Pause(0.005), sent[at:]])
    end = b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    script = answer(LONG)[:-1]
    yield whole("trailers", [*script, end])
    for at in (1, 3, 5, 6, 20, 22, 23):
        # Whether the end comes within the time that a connection is given to be kept, is not sure.
        pieces = [*script, end[:at], Pause(0.005), end[at:]]
        yield whole(f"trailers, split after {at} bytes", pieces, kept=None)


def http() -> Iterator[Row]:
    for name, form in {
        "in capitals": b"%X\r\n",
        "with leading zeros": b"000%x\r\n",
        "with an extension": b"%x;name=value\r\n",
        "with an extension in quotes": b'%x; name="a b"\r\n',
        "and a space": b"%x \r\n",
        "ended by \\n alone": b"%x\n",
    }.items():
        pieces = [form % len(data) + data + b"\r\n" for data in (BODY[:171], BODY[171:])]
        may = "may refuse it" if name == "ended by \\n alone" else "do the same"
        yield whole(f"chunk sizes {name}", [CHUNKED, *pieces, LAST_CHUNK], others=may)
    pieces = [chunk(BODY[at : at + 7]) for at in range(0, len(BODY), 7)]
    for name, first in SPELLINGS.items():
        yield whole(
            f"transfer-encoding {name}",
            [first, *pieces, LAST_CHUNK],
            kept=name == "chunked twice",
            others="may refuse it",
        )
    rest = answer(LONG)[1:]
    header = b"HTTP/1.1 200 OK\r\ncONTENT-tYPE: text/event-stream\r\ntRANSFER-eNCODING: Chunked\r\n"
    yield whole("header names in any case", [header + b"\r\n", *rest])
    yield whole(
        "HTTP/1.0",
        [b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", BODY, Fin()],
        kept=False,
    )
    for statuses in [[100], [102], [103], [103, 100, 103]]:
        interim = b"".join(b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % one for one in statuses)
        names = ", ".join(map(str, statuses))
        yield whole(f"interim responses before it: {names}", [interim, *answer(LONG)])
    # A gateway may say every few seconds that it waits. Python 3.14's http.client ends at 100.
    many = b"HTTP/1.1 100 Continue\r\n\r\n" * 150
    yield whole("150 interim responses before it", [many, *answer(LONG)], others="may refuse it")
    for kind in (None, "text/plain", "text/plain; charset=utf-8", "application/octet-stream"):
        yield whole(f"content type {kind}", answer(LONG, content_type=kind), others="may refuse it")
    yield whole("content type TEXT/Event-Stream", answer(LONG, content_type="TEXT/Event-Stream"))
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = packer.compress(BODY) + packer.flush()
    yield whole(
        "deflate without the zlib wrapper",
        answer([raw], done=False, headers={"Content-Encoding": "deflate"}),
    )
    members = [gzip.compress(one) for one in [*map(frame, LONG), frame("[DONE]")]]
    yield whole(
        "gzip in several members",
        answer(members, done=False, headers={"Content-Encoding": "gzip"}),
    )


def grammar() -> Iterator[Row]:
    """WHATWG HTML, sections 9.2.5 and 9.2.6, without what is for reconnection."""
    for name, line_end in {"\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n"}.items():
        for size in (None, 1):
            yield whole(
                f"line ends {name}{', byte by byte' if size else ''}",
                answer(LONG, line_end=line_end, bytes_per_chunk=size),
            )
    ends = itertools.cycle(["\r\n", "\n", "\r"])
    frames = [frame(one, line_end=next(ends)) for one in LONG]
    mixed = [one[:-1] + b"\r\n" if one.endswith(b"\n\n") else one for one in frames]
    yield whole("line ends mixed from event to event", answer(mixed))
    for name, blank in {"\\n\\r": b"\n\r", "\\r\\n\\r": b"\r\n\r", "\\n\\r\\n": b"\n\r\n"}.items():
        yield whole(
            f"an event's end of {name}", answer([one[:-2] + blank for one in map(frame, LONG)])
        )

    chunks = chat_chunks("The quick brown fox")
    forms: dict[str, Callable[[bytes], bytes]] = {
        "no space after the colon": lambda text: b"data:" + text + b"\n\n",
        "two spaces, and one at the end": lambda text: b"data:  " + text + b" \n\n",
        "a tab": lambda text: b"data:\t" + text + b"\n\n",
        "all fields": lambda text: b"id: 1\nevent: message\nretry: 10\ndata: " + text + b"\n\n",
        "fields after the data": lambda text: b"data: " + text + b"\nid: 1\nretry: 10\n\n",
        "an event name": lambda text: b"event: chunk\ndata: " + text + b"\n\n",
        "an event field without a value": lambda text: b"event\ndata: " + text + b"\n\n",
        "an event name given twice": lambda text: (
            b"event: error\nevent: message\ndata: " + text + b"\n\n"
        ),
        "an id without a value": lambda text: b"id\ndata: " + text + b"\n\n",
        "an id with NUL": lambda text: b"id: a\0b\ndata: " + text + b"\n\n",
        "a retry that is no number": lambda text: b"retry: soon\ndata: " + text + b"\n\n",
        "an unknown field": lambda text: b"foo: bar\ndata: " + text + b"\n\n",
        "an unknown field without a colon": lambda text: b"foo\ndata: " + text + b"\n\n",
        "fields whose case is another": lambda text: (
            b"Data: x\nEVENT: error\ndata: " + text + b"\n\n"
        ),
        "a field after a space": lambda text: b" data: x\ndata: " + text + b"\n\n",
        "an empty field name": lambda text: b": x\n:\ndata: " + text + b"\n\n",
        "a comment after the data": lambda text: b"data: " + text + b"\n: comment\n\n",
        "data in many lines": lambda text: b"data: " + text.replace(b',"', b',\ndata: "') + b"\n\n",
        "data with empty lines": lambda text: b"data\ndata: " + text + b"\ndata:\n\n",
        "a comment between lines of data": lambda text: (
            b"data: " + text.replace(b',"', b',\n: x\ndata: "', 1) + b"\n\n"
        ),
        "blank lines around": lambda text: b"\n\n\n\ndata: " + text + b"\n\n\n\n",
        "an event without data before": lambda text: (
            b"event: error\nid: 1\n\ndata: " + text + b"\n\n"
        ),
        "a byte-order mark that is not the first": lambda text: (
            b"\xef\xbb\xbfdata: x\ndata: " + text + b"\n\n"
        ),
    }
    for name, form in forms.items():
        texts = [json.dumps(one, separators=(",", ":")).encode() for one in chunks]
        sent = [form(text) for text in texts]
        if name.startswith("a byte-order mark"):
            sent[0] = frame(chunks[0])  # there it would be the first
        comments = [line for one in sent for line in one.split(b"\n") if line.startswith(b":")]
        yield whole(
            f"the form of an event: {name}",
            answer(sent),
            chunks,
            keep_alives=len(comments),
        )
    yield whole("a byte-order mark", answer([b"\xef\xbb\xbf" + BODY], done=False))
    yield whole(
        "a byte-order mark, and then a comment",
        answer([b"\xef\xbb\xbf: x\n\n" + BODY], done=False),
        keep_alives=1,
    )
    yield whole(
        "half an event at the end", answer([*CHUNKS, b"data: half an event"], done=False), CHUNKS
    )
    for kept_alive in [
        b": keep-alive\n\n",
        b":\n\n",
        b": OPENROUTER PROCESSING\r\n\r\n",
        b"event: ping\ndata: {}\n\n",
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b"data: [PING]\n\n",
        b"data:\n\n",
        b"data: null\n\n",
    ]:
        between: list[Event] = [kept_alive]
        for one in LONG:
            between += [one, kept_alive]
        shown = repr(kept_alive.decode())[1:-1]
        yield whole(
            f"keep-alives {shown}",
            answer(between),
            keep_alives=len(LONG) + 1,
        )


def unclosed() -> Iterator[Row]:
    """The last frame lacks its blank line, but the body says that it ends there."""
    for framing, (place, behind) in itertools.product(
        FRAMINGS[:2], {"blank line": b"\n", "line end": b""}.items()
    ):
        last = FRAMES[-1].rstrip() + behind
        yield whole(
            f"a last event without its {place}, {framing}",
            answer([*CHUNKS[:-1], last], done=False, framing=framing),
            CHUNKS,
        )
        yield whole(
            f"[DONE] without its {place}, {framing}",
            answer([*CHUNKS[:-1], b"data: [DONE]" + behind], done=False, framing=framing),
            CHUNKS[:-1],
        )


def labels() -> Iterator[Row]:
    """An event stream is one, whatever it is called."""
    for kind in ("application/json", "text/html", "application/stream+json", "text/xml"):
        yield whole(f"an event stream said to be {kind}", answer(LONG, content_type=kind))
        yield whole(
            f"an event stream said to be {kind}, a comment first, byte by byte",
            answer([b": hi\n\n", *LONG], content_type=kind, bytes_per_chunk=1),
            keep_alives=1,
        )
    for coding in ("utf-8", "none", "binary", "identity", "UTF8", ""):
        yield whole(
            f"plain bytes said to be compressed by {coding or 'nothing'}",
            answer(LONG, headers={"Content-Encoding": coding}),
        )


def no_errors() -> Iterator[Row]:
    """An error that is none, and codes by which all is well."""
    fields: list[JSON] = [
        {"error": ""},
        {"error": {}},
        {"error": []},
        {"error": False},
        {"error": {"message": "", "code": None}},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"code": 0, "message": "ok"},
        {"code": "200", "message": "fine"},
        {"code": 7, "message": "beside choices it means nothing"},
    ]
    for field in fields:
        sent = [{**one, **field} for one in CHUNKS]
        yield whole(f"{json.dumps(field)} in each event", answer(sent), sent)
    for field in fields[:-1]:
        sent = [CHUNKS[0], field, *CHUNKS[1:]]
        yield whole(f"{json.dumps(field)} as an event", answer(sent), sent)


def choice(index: int, finish_reason: str | None) -> JSON:
    return {"choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}


def orderly() -> Iterator[Row]:
    """What is complete: by ``[DONE]``, or by a ``finish_reason`` for every choice and an end."""
    for framing in FRAMINGS:
        kept = framing != "close"
        yield whole(
            f"no [DONE], but the finish_reason, {framing}",
            answer(CHUNKS, framing=framing, done=False),
            CHUNKS,
            kept=kept,
        )
        yield whole(
            f"[DONE] without a finish_reason, {framing}",
            answer(CHUNKS[:2], framing=framing),
            CHUNKS[:2],
            kept=kept,
        )
    yield whole("[DONE] and nothing else", answer([]), [])
    spaced = answer([*CHUNKS, b"data:  [DONE] \n\n"], done=False)
    yield whole("[DONE] with spaces around", spaced, CHUNKS, others="may refuse it")
    yield whole(
        "[DONE] without its line end", answer([*CHUNKS, b"data: [DONE]"], done=False), CHUNKS
    )
    choices = [choice(0, None), choice(1, None), choice(0, "stop"), choice(1, "length")]
    yield whole("two choices, both finished", answer(choices, done=False), choices)
    usage = [*CHUNKS, {"choices": [], "usage": {"total_tokens": 1}}]
    yield whole("usage after the finish_reason", answer(usage, done=False), usage)
    null = [{**one, "error": None} for one in CHUNKS]
    yield whole("an error of null", answer(null), null)
    size = len(b"".join(FRAMES))
    for name, length in {
        "that ends before [DONE]": size,
        "larger than the body, and [DONE]": 99999,
    }.items():
        headers = {"Content-Length": str(length), "Connection": "close"}
        sent: Script = [opened(headers), *FRAMES, frame("[DONE]"), Fin()]
        yield whole(f"content-length {name}", sent, CHUNKS, kept=False)
    for no_length in ("-5", "x"):
        yield whole(
            f"content-length {no_length} and FIN after the finish_reason",
            [opened({"Content-Length": no_length}), *FRAMES, Fin()],
            CHUNKS,
            kept=False,
            others="may refuse it",
        )


def after_done() -> Iterator[Row]:
    """What comes after ``[DONE]`` does not matter."""

    def row(name: str, sent: Sequence[Event], framing: Framing, *rest: Step | bytes) -> Row:
        script = part([*sent, frame("[DONE]")], framing)
        return whole(
            f"after [DONE]: {name}, {framing}",
            [*script, *rest],
            CHUNKS,
            keep_alives=None,
            kept=False,
        )

    for framing, (kind, end) in itertools.product(FRAMINGS, FIN_AND_RST.items()):
        yield row(kind, CHUNKS, framing, TAKEN, end)
    open_ends: dict[str, Step] = {
        "silence": Hang(),
        "a trickle": Repeat(b"data: more\n\n", delay=0.002),
        "a flood": Repeat(b": x\n\n" * 10_000),
        "a chunk that never comes": Send(b"10\r\n"),
    }
    for framing in ("chunked", "length"):
        for name, rest in open_ends.items():
            yield row(name, CHUNKS, framing, rest, Hang())
    for name, rubbish in {
        "chunk size zz": b"zz\r\n",
        "chunk size -5": b"-5\r\n",
        "a chunk that stops": b"5\r\ndata",
        "NUL": b"\x00",
        "an event that is no JSON": chunk(b"data: nonsense\n\n"),
        "bytes that are no UTF-8": chunk(b"\xff\n\n"),
    }.items():
        yield row(name, CHUNKS, "chunked", rubbish, Hang())
    yield whole(
        "after [DONE]: more events, chunked",
        answer([*CHUNKS, "[DONE]", *CHUNKS, "nonsense"]),
        CHUNKS,
    )
