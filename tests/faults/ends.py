"""Connections that fail: with no response at all, in the middle of an answer, by TLS, by time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import NoneType

import attrs
import requests.exceptions

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    Drip,
    Event,
    Fin,
    Hang,
    Receive,
    Repeat,
    Reset,
    Step,
    answer,
    chunk,
    endless_headers,
    head,
)

from .row import (
    ALL,
    CHUNKED,
    CHUNKS,
    CUT,
    FIN_AND_RST,
    FRAMES,
    FRAMINGS,
    GAP,
    IDLE,
    TAKEN,
    Certificate,
    Framing,
    Row,
    Script,
    part,
)
from .whole import SPELLINGS

LOST = requests.exceptions.ConnectionError
LATE = requests.exceptions.Timeout
KEEP_ALIVES = Repeat(chunk(b": keep-alive\n\n"), delay=0.05)


# No response ---------------------------------------------------------------------------------


def no_response() -> Iterator[Row]:
    def row(name: str, script: Script, greeting: Script = ()) -> Row:
        return Row(name, script, 0, APIConnectionError, "no response", LOST, greeting=greeting)

    for kind, end in FIN_AND_RST.items():
        for place, sent in {
            "before a byte of the response": b"",
            "in the status line": b"HTTP/1.1 20",
            "after the status line": b"HTTP/1.1 200 OK\r\n",
            "in a header's name": b"HTTP/1.1 200 OK\r\nContent-Ty",
            "between headers": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n",
            "in the headers' end": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r",
        }.items():
            yield row(f"{kind} {place}", [sent, end])
        yield row(f"{kind} before the request", [], [end])
    scripts: dict[str, Script] = {
        "not HTTP": [b"SSH-2.0-OpenSSH_9\r\n", Fin()],
        "no status": [b"HTTP/1.1 abc OK\r\n\r\n", Fin()],
        "HTTP/3": [b"HTTP/3.0 200 OK\r\n\r\n", Fin()],
        "an endless status line": [b"HTTP/1.1 200 ", Repeat(b"a" * 30_000)],
        "endless headers": endless_headers(),
        "an endless header": [b"HTTP/1.1 200 OK\r\nX: ", Repeat(b"a" * 30_000)],
    }
    for name, script in scripts.items():
        yield row(name, script)
    two_lengths = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    yield attrs.evolve(
        row("two lengths", [two_lengths, *FRAMES, Hang()]), cause=requests.exceptions.InvalidHeader
    )
    idle = Row("", (), 0, APITimeoutError, "no progress for 0.2 s", LATE, timeout=IDLE)
    gap = Row("", (), 0, APITimeoutError, "no event for 0.2 s", LATE, timeout=GAP)
    stalls: list[tuple[str, Row, Script]] = [
        ("a stall before the headers", idle, [Hang()]),
        ("a stall in the status line", idle, [b"HTTP/1.1", Hang()]),
        ("a stall in the headers", idle, [b"HTTP/1.1 200 OK\r\nX: ", Hang()]),
        ("headers that trickle", gap, [b"HTTP/1.1 200 OK\r\n", Repeat(b"X", delay=0.05)]),
        (
            "interim responses for ever",
            gap,
            [Repeat(b"HTTP/1.1 100 Continue\r\n\r\n", delay=0.05)],
        ),
    ]
    for name, like, script in stalls:
        yield attrs.evolve(like, name=name, script=script)
    yield Row(
        "a redirect",
        [head(307, {"Location": "http://elsewhere/", "Content-Length": "0"})],
        0,
        APIConnectionError,
        "redirects (307) to http://elsewhere/",
        others="may accept it",
    )


# In the middle of an answer ------------------------------------------------------------------


def cut_by(end: Step, framing: Framing, name: str, events: Sequence[Event], count: int) -> Row:
    """The answer ends there; a body that is delimited by its close does so in good order."""
    good_order = framing == "close" and isinstance(end, Fin)
    return Row(
        f"{name}, {framing}",
        [*part(events, framing), TAKEN, end],
        count,
        StreamInterruptedError,
        "before" if good_order else "the connection broke",
        NoneType if good_order else CUT,
    )


def ends() -> Iterator[Row]:
    """FIN and RST wherever there is a difference."""
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
    for framing, (place, events, count), (kind, end) in itertools.product(
        FRAMINGS, places, FIN_AND_RST.items()
    ):
        if framing == "close" and kind == "FIN" and count == ALL:
            # Every choice has its finish_reason, and no more can be known of such a body.
            script = [*part(events, framing), TAKEN, end]
            yield Row(f"{kind} {place}, {framing}", script, count)
        else:
            yield cut_by(end, framing, f"{kind} {place}", events, count)
    # HTTP chunks do not keep to events.
    body = b"".join(FRAMES[:3])
    for (place, sent), (kind, end) in itertools.product(
        {
            "in a chunk's size": chunk(body) + b"1",
            "in the line end of a chunk's size": chunk(body) + b"1f\r",
            "in a chunk": chunk(body) + b"1f\r\ndata",
            "in a chunk's line end": chunk(body)[:-1],
            "before a chunk's line end": chunk(body)[:-2],
            "in the last chunk's line end": chunk(body) + b"0\r",
        }.items(),
        FIN_AND_RST.items(),
    ):
        script = [CHUNKED, sent, TAKEN, end]
        yield Row(f"{kind} {place}", script, 3, StreamInterruptedError, "the connection broke", CUT)
    # The last chunk says that all is there: what is behind it does not matter.
    for kind, said, cause in (
        ("FIN", "ended the answer after 3 events", NoneType),
        ("RST", "the connection broke", CUT),
    ):
        script = [*part([body]), b"0\r\nX-A: 1\r\n", TAKEN, FIN_AND_RST[kind]]
        yield Row(f"{kind} in the trailers", script, 3, StreamInterruptedError, said, cause)
    for name, start in SPELLINGS.items():
        yield Row(
            f"FIN in a body of transfer-encoding {name}",
            [start, chunk(b"".join(FRAMES[:2])), TAKEN, Fin()],
            2,
            StreamInterruptedError,
            "the connection broke",
            CUT,
            others="may refuse it",
        )
    yield Row(
        "RST with a whole burst before it",
        [*part([*FRAMES[:4]], events_per_chunk=4), TAKEN, Reset()],
        4,
        StreamInterruptedError,
        "the connection broke",
        CUT,
    )


def incomplete() -> Iterator[Row]:
    """An orderly end, but not all that was promised."""
    after_four = "ended the answer after 4 events"
    bodies: dict[str, list[Event]] = {
        "before the finish_reason": [*CHUNKS[:4]],
        "in the event of the finish_reason": [*CHUNKS[:4], FRAMES[4][:-10]],
    }
    for framing in FRAMINGS:
        for place, events in bodies.items():
            yield Row(
                f"an orderly end {place}, {framing}",
                answer(events, done=False, framing=framing),
                4,
                StreamInterruptedError,
                after_four,
            )


# TLS -----------------------------------------------------------------------------------------


def tls() -> Iterator[Row]:
    good: Certificate = "good"
    for framing in FRAMINGS:
        yield Row(
            f"TLS, {framing}",
            answer(CHUNKS, framing=framing),
            ALL,
            kept=framing != "close",
            certificate=good,
        )
        cut = Fin(close_notify=False)
        yield Row(
            f"TLS without close_notify after [DONE], {framing}",
            [*part([*CHUNKS, "[DONE]"], framing), TAKEN, cut],
            ALL,
            certificate=good,
        )
        places: list[tuple[str, Sequence[Event], int]] = [
            ("before the first event", [], 0),
            ("between events", CHUNKS[:2], 2),
            ("in an event", [*CHUNKS[:2], FRAMES[2][:50]], 2),
            ("after whole JSON", [*CHUNKS[:2], FRAMES[2][:-2]], 2),
        ]
        for place, events, count in places:
            for kind, end in {
                "TLS without close_notify": cut,
                "TLS with close_notify": Fin(),
                "RST over TLS": Reset(),
            }.items():
                row = cut_by(end, framing, f"{kind} {place}", events, count)
                if framing == "close" and isinstance(end, Reset):
                    # To ``ssl`` before Python 3.13 it is the same as an end without close_notify.
                    row = attrs.evolve(row, said="before", cause=(NoneType, CUT))
                yield attrs.evolve(row, certificate=good)
        after = part(CHUNKS, framing)
        if framing == "close":
            # ``ssl`` does not tell the one from the other; every choice has its finish_reason.
            name = "TLS without close_notify after the finish_reason, close"
            yield Row(name, [*after, TAKEN, cut], ALL, certificate=good)
        else:
            name = "TLS without close_notify after the finish_reason"
            row = cut_by(cut, framing, name, CHUNKS, ALL)
            yield attrs.evolve(row, certificate=good)

    def refused(
        name: str,
        said: str,
        *greeting: Step | bytes,
        script: Script = (),
        certificate: Certificate = good,
        cause: type = requests.exceptions.SSLError,
    ) -> Row:
        error = APIConnectionError
        return Row(name, script, 0, error, said, cause, greeting=greeting, certificate=certificate)

    certificates: list[Certificate] = ["untrusted", "expired", "too early", "of another host"]
    for certificate in certificates:
        name = f"a certificate that is {certificate}"
        yield refused(name, "certificate", certificate=certificate)
    yield refused("no TLS on the other side", "TLS", Receive(1), head(400), Fin())
    yield refused("FIN before the TLS handshake", "TLS", Fin())
    yield refused("FIN in the TLS handshake", "TLS", Receive(1), b"\x16\x03\x03\x40\x00", Fin())
    yield refused("RST in the TLS handshake", "no response", Receive(1), Reset(), cause=LOST)
    for name, sent in {
        "before the headers": b"",
        "in the headers": b"HTTP/1.1 200 OK\r\nX",
    }.items():
        yield refused(
            f"TLS without close_notify {name}",
            "no response",
            script=[sent, Fin(close_notify=False)],
            cause=LOST,
        )
    yield Row(
        "a stall in the TLS handshake",
        (),
        0,
        APITimeoutError,
        "no connection within 0.2 s",
        LATE,
        timeout=Timeout(connect=0.2),
        greeting=[Hang()],
        certificate=good,
    )
    yield Row(
        "a stall between events over TLS",
        [*part(CHUNKS[:2]), Hang()],
        2,
        StreamTimeoutError,
        "no progress for 0.2 s",
        timeout=IDLE,
        certificate=good,
    )


# Time ----------------------------------------------------------------------------------------


def stalls() -> Iterator[Row]:
    def row(name: str, script: Script, count: int) -> Row:
        said = "no progress for 0.2 s"
        return Row(name, script, count, StreamTimeoutError, said, timeout=IDLE)

    places: list[tuple[str, Sequence[Event], int]] = [
        ("before the first event", [], 0),
        ("between events", CHUNKS[:2], 2),
        ("after the last finish_reason", CHUNKS, ALL),
    ]
    for place, events, count in places:
        yield row(f"a stall {place}", [*part(events), Hang()], count)
        yield Row(
            f"a stall {place}, with keep-alives",
            [*part(events), KEEP_ALIVES],
            count,
            StreamTimeoutError,
            "no event for 0.2 s",
            timeout=GAP,
            keep_alives=None,
        )
    two = CHUNKS[:2]
    # There a comment would be a part of the event.
    yield row("a stall in an event", [*part([*two, FRAMES[2][:30]]), Hang()], 2)
    yield row("a stall before an event's blank line", [*part([*two, FRAMES[2][:-1]]), Hang()], 2)
    yield row("a stall in a chunk's size", [*part(two), b"1", Hang()], 2)
    yield row("a stall in gzip", [*part(two, encoding="gzip")[:3], Hang()], 2)
    yield row(
        "a stall of JSON instead of a stream",
        [*part([b"{"], content_type="application/json"), Hang()],
        0,
    )
    yield Row(
        "an event byte by byte, too slowly",
        [*part(two, framing="close"), Drip(FRAMES[2], delay=0.05)],
        2,
        StreamTimeoutError,
        "no event for 0.2 s",
        timeout=GAP,
    )
    yield Row(
        "events for longer than the total time",
        [*part(two), Repeat(chunk(b": x\n\n"), delay=0.02)],
        2,
        StreamTimeoutError,
        "the total time of 0.2 s has passed",
        timeout=Timeout(total=0.2),
        keep_alives=None,
    )
    yield Row(
        "endless trailers",
        [CHUNKED, chunk(b"".join(FRAMES[:2])), b"0\r\n", Repeat(b"X: y\r\n" * 1000, delay=0.01)],
        2,
        StreamTimeoutError,
        "no event for 0.2 s",
        timeout=GAP,
    )
