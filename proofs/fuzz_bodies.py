"""Bodies, fuzzed: fed in other pieces they come out the same, and as the standard says."""

from __future__ import annotations

import gzip
import http.client
import random
import re
import zlib
from collections.abc import Callable, Iterable, Iterator

import urllib3.exceptions

from openai_stream.transport.chunks import Chunks
from openai_stream.transport.content import Content
from openai_stream.transport.decoding import Decoding
from openai_stream.transport.framing import Counted, Framing, Unbounded

from .pieces import HEADER, check, ways

__all__ = ["SEEDS", "chunks", "content", "unchunked"]


def chunks(data: bytes) -> None:
    """A chunked body: however it is cut, the same data, the same end, and those of RFC 9112."""
    header, stream = data[:HEADER].ljust(2, b"\0"), data[HEADER:]
    outcomes = [_drive(Content(Chunks()), blocks) for blocks in ways(header, stream)]
    for other in outcomes[1:]:
        check(other == outcomes[0], other, outcomes[0])
    strict = unchunked(stream)
    if strict is not None:
        check(outcomes[0] == (strict, True, ""), outcomes[0], strict)


_CODINGS = (["gzip"], ["deflate"], ["gzip", "deflate"], ["deflate", "gzip"], ["gzip", "gzip"])


def content(data: bytes) -> None:
    """A compressed body in each framing: however it is cut, the same content, and zlib's."""
    header, stream = data[:HEADER].ljust(2, b"\0"), data[HEADER:]
    codings = _CODINGS[header[0] % len(_CODINGS)]
    outcomes = []
    for blocks in ways(header, stream):
        framings: tuple[Framing, ...] = (Chunks(), Counted(len(stream)), Unbounded())
        framed = Content(framings[header[1] % len(framings)], Decoding(codings))
        outcomes.append(_drive(framed, blocks))
    broken = [error for _, _, error in outcomes if error.startswith("not valid")]
    if broken:
        # What zlib had decompressed of a block before it met nonsense, it does not tell; and what
        # calls itself deflate is in one of two formats, which shows when the first one fails.
        check(len(broken) == len(outcomes) or "deflate" in codings, outcomes)
        return
    for other in outcomes[1:]:
        check(other == outcomes[0], other, outcomes[0])


def _drive(body: Content, blocks: Iterable[bytes]) -> tuple[bytes, bool, str]:
    """As a thread or an event loop does it.

    :returns: the data, whether the body said that it ends there, and what was wrong.
    """
    found = []
    try:
        for block in blocks:
            body.feed(block)
            while piece := body.read():
                found.append(piece)
            if body.ended:
                break
        else:
            body.feed_eof()
            check(not body.read(), "data after the end")
        check(body.ended, "an end that is none")
    except (http.client.HTTPException, urllib3.exceptions.DecodeError) as error:
        check(str(error) != "", "an error that says nothing")
        return b"".join(found), False, str(error)
    return b"".join(found), body.is_whole, ""


_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r\n)*\r\n")


def unchunked(rest: bytes) -> bytes | None:
    """A chunked body by RFC 9112, section 7.1; ``None`` where it is none."""
    parts: list[bytes] = []
    position = 0
    while size_line := _CHUNK.match(rest, position):
        size = int(size_line[1], 16)
        position = size_line.end() + size
        if not size:
            return b"".join(parts) if _TRAILERS.match(rest, position) else None
        if rest[position : position + 2] != b"\r\n":
            return None
        parts.append(rest[size_line.end() : position])
        position += 2
    return None


def _chunked(data: bytes, source: random.Random) -> bytes:
    parts, at = [], 0
    while at < len(data):
        part = data[at : at + source.randrange(1, 60)]
        parts.append(b"%x\r\n%s\r\n" % (len(part), part))
        at += len(part)
    return b"".join([*parts, b"0\r\n\r\n"])


def _chunk_seeds(source: random.Random) -> Iterator[bytes]:
    for text in (b"", b"Hello", b"data: 1\r\n\r\n" * 9, bytes(range(256))):
        yield source.randbytes(HEADER) + _chunked(text, source)
    for odd in (
        b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello6\r\n",
        b"-5\r\nhello\r\n",
        b"5\r\nhel",
        b"5\nhello\r\n0\n\n",
        b"6\r\n\r\n5\r\n\r\r\n0\r\n\r\n",
        b"zz\r\nhello\r\n",
    ):
        yield source.randbytes(HEADER) + odd


def _content_seeds(source: random.Random) -> Iterator[bytes]:
    packing: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: gzip.compress(data, mtime=0),
        "deflate": zlib.compress,
    }
    for number, codings in enumerate(_CODINGS):
        for framing in range(3):
            packed = b"data: {}\n\n" * 30
            for coding in codings:
                packed = packing[coding](packed)
            header = bytes([number, framing]) + source.randbytes(HEADER - 2)
            yield header + (packed if framing else _chunked(packed, source))
            yield header + (packed if framing else _chunked(packed[:-9], source))
            yield header + (packed * 2 if framing else _chunked(packed * 2, source))


#: What the fuzzer begins with, for each of the targets.
SEEDS = {"chunks": _chunk_seeds, "content": _content_seeds}
