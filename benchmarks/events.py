"""An answer of the Chat API as OpenAI sends it, as the bytes of an HTTP/1.1 response.

No two events are equal but for their text: each has its own random ``obfuscation``, and fields in
varying number, as the service sends them. Equal events would reward caches that users never see.
The same :class:`Answer` is the same bytes in every run.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"\r\n"
)
END = b"0\r\n\r\n"

_RECORD = 16 * 1024
# The place of a stamp in a paced event: its number, when its request came, when it was sent.
_PLACE = f"{0:010d} {0:020d} {0:020d}"


@dataclass(frozen=True)
class Answer:
    """What is asked of the server; it travels as the ``model`` of the request.

    :param events: how many.
    :param per_chunk: events an HTTP chunk.
    :param size: characters of text in each event; 0 for a token.
    :param pace: seconds between two events, which then carry a stamp; 0: all at once.
    :param delay: seconds from the request to the first event, of an answer with a pace; of one
        with a gate, from when all are there.
    :param name: the server tells when the connection of a named answer is closed.
    :param gate: no event of an answer with this gate is sent before all of them are there; then
        they take turns within the pace.
    :param together: how many have the gate.
    :param endless: the events come again and again, as fast as they are read.
    """

    events: int = 5000
    per_chunk: int = 1
    size: int = 0
    pace: float = 0.0
    delay: float = 0.0
    name: str = ""
    gate: str = ""
    together: int = 0
    endless: int = 0

    @property
    def model(self) -> str:
        return urlencode({key: value for key, value in asdict(self).items() if value})

    @classmethod
    def of(cls, model: str) -> Answer:
        # litellm wants the name of a provider in front of a model's.
        fields = dict(parse_qsl(model.rpartition("/")[2]))
        return cls(**{key: _KINDS.get(key, str)(value) for key, value in fields.items()})


_KINDS: dict[str, Callable[[str], Any]] = {
    "events": int,
    "per_chunk": int,
    "size": int,
    "pace": float,
    "delay": float,
    "together": int,
    "endless": int,
}


def frames(answer: Answer) -> Iterator[bytes]:
    """The frames of an answer, ``[DONE]`` included."""
    source = random.Random(1)  # noqa: S311 - seeded on purpose
    last = answer.events - 1
    for n in range(answer.events):
        if answer.pace:
            text = _PLACE
        elif answer.size:
            text = base64.b64encode(source.randbytes(answer.size * 3 // 4)).decode()
        else:
            text = " " + "".join(source.choices(string.ascii_lowercase, k=source.randint(1, 9)))
        delta: dict[str, object] = {"content": text}
        if n == 0:
            delta = {"role": "assistant", **delta, "refusal": None}
        event: dict[str, object] = {
            "id": "chatcmpl-CkT2hYq6m1d4fZ0sVbWqJx8uN3eRa",
            "object": "chat.completion.chunk",
            "created": 1764000000,
            "model": "gpt-4o-mini-2024-07-18",
        }
        if source.random() < 0.5:
            event["service_tier"] = "default"
        if source.random() < 0.9:
            event["system_fingerprint"] = "fp_44709d6fcb"
        choice: dict[str, object] = {"index": 0, "delta": delta}
        if source.random() < 0.8:
            choice["logprobs"] = None
        choice["finish_reason"] = "stop" if n == last else None
        event["choices"] = [choice]
        event["usage"] = None
        padding = source.choices(string.ascii_letters + string.digits, k=source.randint(1, 16))
        event["obfuscation"] = "".join(padding)
        yield b"data: %b\n\n" % json.dumps(event, separators=(",", ":")).encode()
    yield b"data: [DONE]\n\n"


def chunk(body: bytes) -> bytes:
    """An HTTP chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


@cache
def burst(answer: Answer) -> bytes:
    """The body of an answer without a pace, chunked. As one piece: the server is never waited for,
    and what is measured is the reader alone.
    """
    whole = list(frames(answer))
    step = answer.per_chunk
    bodies = (b"".join(whole[i : i + step]) for i in range(0, len(whole), step))
    return b"".join(chunk(piece) for body in bodies for piece in _cut(body)) + END


@cache
def flood(answer: Answer) -> bytes:
    """What an endless answer says again and again."""
    *whole, _ = frames(answer)
    return b"".join(map(chunk, whole))


def _cut(body: bytes) -> Iterator[bytes]:
    """A long event in pieces of the size of a TLS record, as proxies cut it."""
    for i in range(0, len(body), _RECORD):
        yield body[i : i + _RECORD]


@cache
def stamped(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The chunks of an answer with a pace, each as what stands before and after its stamp."""
    if answer.name or answer.gate:
        return stamped(replace(answer, name="", gate=""))
    place = _PLACE.encode()
    return [
        (before, after)
        for frame in frames(answer)
        for before, found, after in [chunk(frame).partition(place)]
        if found
    ]


def stamp(number: int, received: int, sent: int) -> bytes:
    """The text of a paced event.

    :param received: when the server had the request, by ``time.monotonic_ns()``, which is one
        clock for all processes of a machine; ``sent`` likewise.
    """
    return b"%010d %020d %020d" % (number, received, sent)


def read_stamp(text: str) -> tuple[int, int, int]:
    """The number of an event, when its request was received, and when it was sent."""
    number, received, sent = map(int, text.split())
    return number, received, sent
