"""Chunked bodies as bytes: fed in every splitting, asked, and compared."""

from __future__ import annotations

import http.client
import random
import re
from collections.abc import Iterator

import pytest

from openai_stream.transport.chunks import Chunks, whole_chunks


def splittings(data: bytes) -> Iterator[list[bytes]]:
    """In one, byte by byte, in two and in three pieces at each place."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
        if at + 3 < len(data):
            yield [data[:at], data[at : at + 3], data[at + 3 :]]


def outcome(pieces: list[bytes]) -> tuple[bytes, str]:
    """The data, and how it ended: whole, cut, or what is wrong with it."""
    chunks = Chunks()
    found = b""
    try:
        for piece in pieces:
            chunks.feed(piece)
            while block := chunks.read():
                found += block
            if chunks.ended:
                return found, "whole"
        chunks.feed_eof()
    except http.client.HTTPException as error:
        return found, str(error)
    assert chunks.ended
    return found, "whole"


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"1\r\na\r\n1\r\nb\r\n2\r\ncd\r\n0\r\n\r\n", b"abcd"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"0005\r\nhello\r\n0000\r\n\r\n", b"hello"),
        (b"6\r\n\r\n5\r\n\r\r\n0\r\n\r\n", b"\r\n5\r\n\r"),
        (b"7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n", b"0\r\n\r\n0\r"),
        (b'5;a;b="1;2"\r\nhello\r\n5 ; c\r\nworld\r\n0;d\r\n\r\n', b"helloworld"),
        (b"5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hello"),
        (b"1\r\na\r\n5\r\n1\r\nbc\r\n0\r\n\r\n", b"a1\r\nbc"),
        (b"7\r\nhello\r\n\r\n0\r\n\r\n", b"hello\r\n"),
        (b"2\r\nab\r\n0\r\n1\r\nc\r\n\r\n", b"ab"),  # trailers, whatever they look like
        (b"5\nhello\r\n0\n\n", b"hello"),  # RFC 9112, section 2.2, permits a bare line feed
    ],
)
def test_gives_the_data_however_it_is_split(body: bytes, data: bytes) -> None:
    for pieces in splittings(body):
        assert outcome(pieces) == (data, "whole"), pieces
    chunks = Chunks()
    assert chunks.ended is False
    chunks.feed(body)
    assert chunks.read() == data
    assert chunks.ended is True


@pytest.mark.parametrize(
    ("body", "data", "said"),
    [
        (b"\r\n", b"", "a chunk without a size"),
        (b"\r\nab\r\n", b"", "a chunk without a size"),
        (b"  \r\nab\r\n", b"", "a chunk without a size"),
        (b"5\r\nhello\r\n\r\n5", b"hello", "a chunk without a size"),
        (b";x\r\nhello\r\n", b"", "a chunk without a size"),
        (b"-5\r\nhello\r\n", b"", "a chunk without a size"),
        (b"+5\r\nhello\r\n", b"", "a chunk without a size"),
        (b"0x5\r\nhello\r\n", b"", "a chunk without a size"),
        (b"1_0\r\n0123456789abcdef\r\n", b"", "a chunk without a size"),
        (b"2\r\nab\r\nzz\r\n", b"ab", "a chunk without a size"),
        (b"2\r\nabc\r\n", b"ab", "a chunk is longer than its size"),
        (b"2\r\nab\n0\r\n\r\n", b"ab", "a chunk is longer than its size"),
        (b"5\r\n0123456789abcdef\r\n", b"01234", "a chunk is longer than its size"),
        (b"11\r\n0123456789abcdefgh\r\n", b"0123456789abcdefg", "a chunk is longer than its size"),
        (b"1\r\na\r\n11\r\n0123456789abcdefgh\r\n", b"a0123456789abcdefg",
         "a chunk is longer than its size"),
        (b"2\r\nab\r\n2\r\ncde\r\n0\r\n\r\n", b"abcd", "a chunk is longer than its size"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_after_the_data_before_it(body: bytes, data: bytes, said: str) -> None:
    for pieces in splittings(body):
        assert outcome(pieces) == (data, said), pieces


def test_raises_again_when_it_is_asked_again() -> None:
    chunks = Chunks()
    chunks.feed(b"2\r\nab\r\nno size\r\n2\r\ncd\r\n")
    assert chunks.read() == b"ab"
    for _ in range(2):
        with pytest.raises(http.client.HTTPException, match="without a size"):
            chunks.read()
    assert not chunks.ended


@pytest.mark.parametrize(
    ("body", "data", "said"),
    [
        (b"", b"", "the connection ended before the last chunk"),
        (b"5\r\nhel", b"hel", "the connection ended before the last chunk"),
        (b"5\r\nhello", b"hello", "the connection ended before the last chunk"),
        (b"5\r\nhello\r", b"hello", "the connection ended between two chunks"),
        (b"5\r\nhello\r\n", b"hello", "the connection ended before the last chunk"),
        (b"5\r\nhello\r\n0", b"hello", "the connection ended between two chunks"),
        (b"5\r\nhello\r\n0\r", b"hello", "the connection ended between two chunks"),
        # All data has come: some servers leave the last line end out.
        (b"5\r\nhello\r\n0\r\n", b"hello", "whole"),
        (b"5\r\nhello\r\n0\r\n\r", b"hello", "whole"),
        (b"5\r\nhello\r\n0\r\nTrailer: x", b"hello", "whole"),
    ],
)
def test_tells_a_cut_body_from_a_whole_one(body: bytes, data: bytes, said: str) -> None:
    for pieces in splittings(body):
        assert outcome(pieces) == (data, said), pieces


def test_the_end_of_the_connection_after_the_end_of_the_body_is_no_news() -> None:
    chunks = Chunks()
    chunks.feed(b"0\r\n\r\n")
    assert chunks.read() == b""
    assert chunks.ended
    chunks.feed_eof()
    assert chunks.ended


def test_leaves_what_follows_the_body_alone() -> None:
    chunks = Chunks()
    chunks.feed(b"2\r\nab\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert chunks.read() == b"ab"
    assert chunks.ended
    assert chunks.read() == b""


def test_takes_a_trailer_that_looks_like_a_chunk_for_one() -> None:
    assert outcome([b"0\r\n", b"1\r\nc\r\n", b"\r\n"]) == (b"", "whole")


def test_gives_nothing_before_it_was_fed() -> None:
    chunks = Chunks()
    assert chunks.read() == b""
    chunks.feed(b"5\r\nhe")
    assert chunks.read() == b"he"
    assert chunks.read() == b""
    chunks.feed(b"l")
    chunks.feed(b"lo")
    assert chunks.read() == b"llo"


def test_gives_at_once_all_that_has_arrived() -> None:
    chunks = Chunks()
    chunks.feed(b"3\r\nab")
    assert chunks.read() == b"ab"
    chunks.feed(b"c\r\n2\r\nde\r\n")
    chunks.feed(b"1;x\r\nf\r\n1\r\ng\r\n")
    assert chunks.read() == b"cdefg"


@pytest.mark.parametrize(
    ("arrived", "data", "rest"),
    [
        (b"5\r\nhello\r\n", [b"hello"], b""),
        (b"10\r\n0123456789abcdef\r\n", [b"0123456789abcdef"], b""),
        (b"1\r\na\r\n2\r\nbc\r\n", [b"a", b"bc"], b""),
        (b"1\r\na\r\n2\r\nbc\r\n11\r\n0123456789abcdefg\r\n",
         [b"a", b"bc", b"0123456789abcdefg"], b""),
        (b"1\r\na\r\n2\r\nbc\r\n3\r\nd", [b"a", b"bc"], b"3\r\nd"),
        (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", [b"a", b"bc"], b"0\r\n\r\n"),
        (b"1;x\r\na\r\n", [], b"1;x\r\na\r\n"),
        (b"0\r\n\r\n", [], b"0\r\n\r\n"),
    ],
)  # fmt: skip
def test_takes_plain_chunks_apart_without_a_look_at_each(
    arrived: bytes, data: list[bytes], rest: bytes
) -> None:
    for before in (b"", b"before"):
        parts: list[bytes] = []
        position = whole_chunks(before + arrived, len(before), parts)
        assert (parts, (before + arrived)[position:]) == (data, rest)


@pytest.mark.parametrize("beginning", [b"", b"1\r\na\r\n", b"1\r\na"])
@pytest.mark.parametrize("size", [100_000, 65_536, 1000])
def test_refuses_a_line_without_end(beginning: bytes, size: int) -> None:
    line = b"1;" + b"a" * 65_534
    for pieces in (
        [beginning + line],
        [beginning, *(line[at : at + size] for at in range(0, len(line), size))],
    ):
        _, said = outcome([piece for piece in pieces if piece])
        assert said == "a line without end between two chunks"


@pytest.mark.parametrize("size", [100_000, 65_536, 65_535, 1000])
def test_takes_a_line_of_65536_bytes_and_no_more(size: int) -> None:
    for more, expected in (
        (0, (b"a", "whole")),
        (1, (b"", "a line without end between two chunks")),
    ):
        body = b"1;" + b"a" * (65_532 + more) + b"\r\na\r\n0\r\n\r\n"
        assert outcome([body[at : at + size] for at in range(0, len(body), size)]) == expected


def test_waits_for_the_end_of_a_trailer_behind_many() -> None:
    chunks = Chunks()
    chunks.feed(b"0\r\n" + b"Name: value\r\n" * 5000 + b"Name: va")
    assert chunks.read() == b""
    assert chunks.ended is False
    chunks.feed(b"lue\r\n\r\n")
    assert chunks.read() == b""
    assert chunks.ended is True


def test_refuses_trailers_without_end() -> None:
    flood = [b"Name: value\r\n" * 1000] * 100
    _, said = outcome([b"0\r\n", *flood])
    assert said == "the trailers are longer than 1048576 bytes"
    assert outcome([b"0\r\n", *flood[:50], b"\r\n"]) == (b"", "whole")
    most = [*flood[:80], b"N: " + b"v" * (1024 * 1024 - 80 * 13_000 - 5) + b"\r\n"]
    assert sum(map(len, most)) == 1024 * 1024
    for line in (b"N: v\r\n", b"\r\n"):
        assert outcome([b"0\r\n", *most, line])[1].startswith("the trailers are longer")
    *before, last = most
    assert outcome([b"0\r\n", *before, last[2:], b"\r\n"]) == (b"", "whole")


def test_any_data_in_any_chunks_in_any_pieces() -> None:
    drawn = random.Random(13)  # noqa: S311
    for _ in range(300):
        data = bytes(drawn.choices(b"\r\n0a5;x", k=drawn.randrange(200)))
        body, at = b"", 0
        while at < len(data):
            part = data[at : at + drawn.randrange(1, 20)]
            body += b"%X\r\n%s\r\n" % (len(part), part)
            at += len(part)
        body += b"0\r\n\r\n"
        pieces, at = [], 0
        while at < len(body):
            pieces.append(body[at : at + drawn.randrange(1, 40)])
            at += len(pieces[-1])
        assert outcome(pieces) == (data, "whole")
        cut = body[: drawn.randrange(len(body) - 4)]
        found, said = outcome([cut] if cut else [])
        assert data.startswith(found)
        assert re.match("the connection ended", said)


def test_takes_no_step_for_each_chunk_of_many_that_are_plain() -> None:
    """A burst may have one for each event."""
    lines: list[bytes] = []

    class Watched(Chunks):
        def _take_line(self, line: bytes) -> None:
            lines.append(line)
            super()._take_line(line)

    chunks = Watched()
    chunks.feed(b"3\r\nabc\r\n" * 1000 + b"0\r\n\r\n")
    assert chunks.read() == b"abc" * 1000
    assert lines == [b"0\r\n", b"\r\n"]
