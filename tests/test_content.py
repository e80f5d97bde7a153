"""The bytes behind the headers, into those of the answer: framing, then compression; no socket."""

from __future__ import annotations

import gzip
import http.client
import zlib

import pytest
import urllib3.exceptions

from openai_stream.transport.chunks import Chunks
from openai_stream.transport.content import Content
from openai_stream.transport.decoding import Decoding
from openai_stream.transport.framing import Counted, Framing, Unbounded

TEXT = b"".join(b"data: %d and so on\n\n" % number for number in range(300))


def drive(content: Content, arrived: bytes, size: int) -> bytes:
    """As a thread does, or an event loop, up to the end of the connection."""
    found = b""
    for start in range(0, len(arrived), size):
        content.feed(arrived[start : start + size])
        while block := content.read():
            assert len(block) <= max(65536, size)
            found += block
        if content.ended:
            return found
    content.feed_eof()
    assert content.read() == b""
    return found


def chunked(data: bytes, size: int = 1000) -> bytes:
    parts = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000, 65536])
@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_undoes_each_framing_and_coding(size: int, coding: str) -> None:
    packed = {"": TEXT, "gzip": gzip.compress(TEXT), "deflate": zlib.compress(TEXT)}[coding]
    framings: list[tuple[Framing, bytes, bool]] = [
        (Chunks(), chunked(packed), True),
        (Counted(len(packed)), packed, True),
        (Unbounded(), packed, False),
    ]
    for framing, arrived, tells_end in framings:
        content = Content(framing, Decoding([coding]) if coding else None)
        assert drive(content, arrived, size) == TEXT
        assert content.ended
        assert content.is_whole == tells_end


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_framed_body_whose_compression_breaks_off_is_not_whole(size: int) -> None:
    packed = zlib.compressobj(wbits=31)
    flushed = packed.compress(TEXT) + packed.flush(zlib.Z_SYNC_FLUSH)
    for framing, arrived in ((Chunks(), chunked(flushed)), (Counted(len(flushed)), flushed)):
        content = Content(framing, Decoding(["gzip"]))
        assert drive(content, arrived, size) == TEXT
        assert content.ended
        assert not content.is_whole


def test_a_counted_body_that_is_cut() -> None:
    counted = Counted(5)
    counted.feed(b"hel")
    assert counted.read() == b"hel"
    with pytest.raises(http.client.HTTPException, match=r"^the connection ended after 3 of 5"):
        counted.feed_eof()
    assert not counted.ended


def test_what_follows_a_counted_body_is_not_part_of_it() -> None:
    counted = Counted(5)
    counted.feed(b"he")
    counted.feed(b"llo and more")
    assert not counted.ended
    assert counted.read() == b"hello"
    assert counted.ended
    assert counted.read() == b""
    counted.feed_eof()


def test_an_empty_body_has_ended_before_it_is_fed() -> None:
    assert Counted(0).ended
    assert Content(Counted(0)).ended
    assert Content(Counted(0)).read() == b""


def test_nonsense_in_the_place_of_compressed_data() -> None:
    content = Content(Counted(100), Decoding(["gzip"]))
    content.feed(b"\xff" * 100)
    with pytest.raises(urllib3.exceptions.DecodeError):
        content.read()


def test_a_small_body_that_becomes_a_large_one_comes_in_pieces() -> None:
    packed = gzip.compress(bytes(10_000_000))
    content = Content(Counted(len(packed)), Decoding(["gzip"]))
    content.feed(packed)
    sizes = []
    while block := content.read():
        sizes.append(len(block))
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 65536
    assert content.is_whole


def test_a_body_without_an_end_is_what_has_come() -> None:
    unbounded = Unbounded()
    assert unbounded.ended is False
    unbounded.feed(b"he")
    unbounded.feed(b"llo")
    assert unbounded.read() == b"hello"
    assert unbounded.read() == b""
    assert unbounded.ended is False
    unbounded.feed_eof()
    assert unbounded.ended is True
