"""Compressed bodies: undone in any pieces, bounded, and with an end that can be told."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import urllib3.exceptions

from openai_stream import Client, ServerEvent, StreamDecodeError, StreamInterruptedError
from openai_stream.testing import ScriptedServer, answer, frame
from openai_stream.transport.decoding import Decoding, check_codings, codings_of

#: It becomes small enough to be fed byte by byte, and is more than is given at once.
TEXT = b"".join(b"%d and so on\n" % number for number in range(200)) + b"and so on\n" * 20_000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[list[str], Callable[[bytes], bytes]]] = {
    "gzip": (["gzip"], gzip.compress),
    "x-gzip": (["x-gzip"], gzip.compress),
    "deflate": (["deflate"], zlib.compress),
    "deflate without its header": (["deflate"], raw_deflate),
    "deflate, gzip": (["deflate", "gzip"], lambda data: gzip.compress(zlib.compress(data))),
    "gzip, deflate": (["gzip", "deflate"], lambda data: zlib.compress(gzip.compress(data))),
    "gzip, gzip": (["gzip", "gzip"], lambda data: gzip.compress(gzip.compress(data))),
    "members": (
        ["gzip"],
        lambda data: b"".join(map(gzip.compress, (data[:9], data[9:99], data[99:]))),
    ),
}


def undone(decoding: Decoding, packed: bytes, size: int) -> bytes:
    found = b""
    for start in range(0, len(packed), size):
        decoding.feed(packed[start : start + size])
        while piece := decoding.read():
            assert len(piece) <= 65536
            found += piece
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**6])
@pytest.mark.parametrize("name", PACKED)
def test_undoes_what_comes_in_pieces(name: str, size: int) -> None:
    codings, pack = PACKED[name]
    packed = pack(TEXT)
    decoding = Decoding(codings)
    assert undone(decoding, packed, size) == TEXT
    assert decoding.ended
    cut = Decoding(codings)
    assert TEXT.startswith(undone(cut, packed[:-1], size))
    assert not cut.ended


@pytest.mark.parametrize("size", [1, 2, 3, 7, 23, 100])
@pytest.mark.parametrize(
    "rubbish",
    [b"rubbish", b"\x1f", b"\x1fx", b"\0\0" + gzip.compress(b"no")],
    ids=["word", "half a member's mark", "mark that is not one", "member behind zeros"],
)
def test_does_not_look_at_what_is_behind_the_end(rubbish: bytes, size: int) -> None:
    decoding = Decoding(["gzip"])
    assert undone(decoding, gzip.compress(b"x") + rubbish, size) == b"x"
    assert decoding.ended


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_takes_a_member_behind_one_that_is_as_long_as_a_piece(size: int) -> None:
    decoding = Decoding(["gzip"])
    packed = gzip.compress(bytes(65536)) + gzip.compress(b"more")
    assert undone(decoding, packed, size) == bytes(65536) + b"more"
    assert decoding.ended


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, zlib.MAX_WBITS + 16, -zlib.MAX_WBITS])
def test_gives_all_that_a_part_of_the_data_has_in_it(wbits: int) -> None:
    """Also where zlib has taken all of it and holds back what was more than a piece."""
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(bytes(2 * 65536)) + packer.flush()
    for size in range(1, len(packed) + 1):
        decoding = Decoding(["gzip" if wbits > zlib.MAX_WBITS else "deflate"])
        found = undone(decoding, packed[:size], size)
        assert found == zlib.decompressobj(wbits).decompress(packed[:size])


def test_is_fed_twice_before_it_is_read() -> None:
    packed = gzip.compress(b"once and again")
    decoding = Decoding(["gzip"])
    decoding.feed(packed[:15])
    decoding.feed(packed[15:])
    assert decoding.read() == b"once and again"


@pytest.mark.parametrize("codings", [["gzip"], ["deflate"], ["gzip", "gzip"]])
def test_refuses_what_is_not_compressed(codings: list[str]) -> None:
    decoding = Decoding(codings)
    decoding.feed(b"\xff" * 100)
    with pytest.raises(urllib3.exceptions.DecodeError, match=r"^not valid: Error -3 while decomp"):
        decoding.read()


@pytest.mark.parametrize("packed", [zlib.compress(b"no"), raw_deflate(b"no")])
def test_does_not_take_anything_else_for_gzip(packed: bytes) -> None:
    decoding = Decoding(["gzip"])
    decoding.feed(packed)
    with pytest.raises(urllib3.exceptions.DecodeError):
        decoding.read()


@pytest.mark.parametrize(
    ("codings", "said"),
    [
        ([], "0 codings"),
        (["br"], "br"),
        (["gzip", "zstd"], "zstd"),
        (["gzip"] * 6, "6 codings"),
    ],
)
def test_leaves_others_to_others(codings: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        Decoding(codings)


def test_undoes_five_codings_upon_each_other() -> None:
    packed = b"five times"
    for _ in range(5):
        packed = gzip.compress(packed)
    assert undone(Decoding(["gzip"] * 5), packed, 7) == b"five times"


def test_refuses_a_coding_that_nothing_can_undo() -> None:
    check_codings("", str)
    check_codings("gzip, utf-8, deflate", str)
    with pytest.raises(StreamDecodeError) as caught:
        check_codings("gzip, key-1-of-the-server", lambda text: text.replace("key-1", "***"))
    assert caught.value.lasting is True
    assert str(caught.value) == (
        "the server compressed its answer by '***-of-the-server', unasked: it cannot be read here"
    )
    with pytest.raises(StreamDecodeError, match=f" by '{'x' * 39}…', unasked"):
        check_codings("x" * 41, str)
    with pytest.raises(StreamDecodeError, match=f" by '{'x' * 40}', unasked"):
        check_codings("x" * 40, str)


def test_codings_that_are_none() -> None:
    assert codings_of("") == codings_of("identity, utf-8") == codings_of("None,binary, ") == []
    assert codings_of("Deflate , utf-8, GZIP") == ["deflate", "gzip"]
    assert codings_of("rot13") == ["rot13"]


class Packer:
    """Several codings, flushed together."""

    def __init__(self, *bits: int) -> None:
        self._stages: list[Any] = [zlib.compressobj(wbits=one) for one in bits]

    def piece(self, data: bytes, how: int = zlib.Z_SYNC_FLUSH) -> bytes:
        for stage in self._stages:
            data = stage.compress(data) + stage.flush(how)
        return data


ZLIB, GZIP = zlib.MAX_WBITS, zlib.MAX_WBITS + 16


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize(
    ("coding", "bits"),
    [
        ("gzip", (GZIP,)),
        ("deflate", (ZLIB,)),
        ("deflate, gzip", (ZLIB, GZIP)),
        ("gzip, gzip", (GZIP, GZIP)),
        ("utf-8, gzip", (GZIP,)),
    ],
)
def test_a_compressed_body_that_is_cut_at_a_flush(
    server: ScriptedServer, framing: Any, coding: str, bits: tuple[int, ...]
) -> None:
    headers = {"Content-Encoding": coding}
    for cut in (True, False):
        packer = Packer(*bits)
        pieces = [packer.piece(frame({"n": 1})), packer.piece(frame({"n": 2}))]
        if not cut:
            pieces.append(packer.piece(b"", zlib.Z_FINISH))
        server.play(answer(pieces, done=False, framing=framing, headers=headers))
    with Client(api_key="sk-test", base_url=server.base_url, max_retries=0) as client:
        events = client.stream("/any", {})
        items = [events.get(timeout=5) for _ in range(2)]
        assert [one.data for one in items if isinstance(one, ServerEvent)] == [{"n": 1}, {"n": 2}]
        assert isinstance(events.stream.exception(5), StreamInterruptedError)
        assert client.stream("/any", {}).stream.result(5) == {"n": 2}
