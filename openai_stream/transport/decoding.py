"""What a body was compressed by, undone: gzip and deflate, one upon the other too.

It is fed with bytes and gives bytes, a bounded piece at a time: a small body may become a very
large one. Unlike the decoders of ``urllib3`` it says whether the compressed data came to its end,
by which a body that was cut at a flush is told from a whole one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import urllib3.exceptions
from urllib3.response import HTTPResponse

from openai_stream.errors import StreamDecodeError
from openai_stream.server_errors import clip

__all__ = ["Decoding", "check_codings", "codings_of"]

_MOST = 65536  # bytes that are given at once
_DEEPEST = 5  # codings upon each other; urllib3 takes no more either
_GZIP = ("gzip", "x-gzip")
_GZIP_BITS = zlib.MAX_WBITS + 16  # how zlib is told that it is gzip
_MAGIC = b"\x1f\x8b"
# What some call the coding of a body that has none: its charset, or what e-mails have.
_NO_CODING = (
    r"(identity|none|null|binary|[78]bit|text|plain|chunked"
    r"|utf[-_]?8|(us-)?ascii|iso-8859-\d+|latin-?1|windows-125\d)?"
)


def codings_of(header: str) -> list[str]:
    """The codings of a ``Content-Encoding``, in the order in which they were applied (RFC 9110,
    section 8.4), without those that are none.
    """
    names = (name.strip() for name in header.lower().split(","))
    return [name for name in names if not re.fullmatch(_NO_CODING, name)]


def check_codings(header: str, clean: Callable[[str], str]) -> None:
    """Refuse a body that nothing here can decompress.

    :param header: the ``Content-Encoding``.
    :param clean: takes secrets out of what the server says, for the message.
    :raises StreamDecodeError: saying so.
    """
    for coding in codings_of(header):
        if coding not in HTTPResponse.CONTENT_DECODERS:
            what = clip(clean(coding), 40)
            raise StreamDecodeError(
                f"the server compressed its answer by {what!r}, unasked: it cannot be read here",
                lasting=True,
            )


class Decoding:
    """Undoes codings.

    :param codings: as :func:`codings_of` gives them.
    :raises ValueError: there is one whose end cannot be told, or too many.
    """

    def __init__(self, codings: list[str]) -> None:
        if not 0 < len(codings) <= _DEEPEST:
            raise ValueError(f"{len(codings)} codings")
        self._stages = [_Stage(coding) for coding in reversed(codings)]
        self._fed = b""

    def feed(self, data: bytes) -> None:
        """Take in more."""
        self._fed += data

    def read(self) -> bytes:
        """Some of what has become readable; nothing if more must be fed first.

        :raises urllib3.exceptions.DecodeError: it is not compressed so.
        """
        source: Callable[[], bytes] = self._take
        for stage in self._stages:
            source = stage.reading(source)
        try:
            return source()
        except zlib.error as error:
            raise urllib3.exceptions.DecodeError(f"not valid: {error}") from error

    def _take(self) -> bytes:
        data, self._fed = self._fed, b""
        return data

    @property
    def ended(self) -> bool:
        """Whether all of the compressed data has come to its end."""
        return all(stage.ended for stage in self._stages)


class _Stage:
    """One coding."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding in _GZIP
        if not self._is_gzip and coding != "deflate":
            raise ValueError(coding)
        self._object = zlib.decompressobj(_GZIP_BITS if self._is_gzip else zlib.MAX_WBITS)
        self._first: bytes | None = None if self._is_gzip else b""
        self._rest = b""  # what was fed and not taken yet
        self._behind = b""  # the first byte of what may be another member
        self._is_over = False  # what follows is not compressed data
        self._has_more = False  # it has more to give without being fed

    @property
    def ended(self) -> bool:
        return self._object.eof and not self._rest

    def reading(self, source: Callable[[], bytes]) -> Callable[[], bytes]:
        """What gives the next piece of it, out of ``source``."""

        def read() -> bytes:
            while True:
                data, self._rest = self._rest, b""
                if not (data or self._has_more or (data := source())):
                    return b""
                if piece := self._decompress(data):
                    return piece

        return read

    def _decompress(self, data: bytes) -> bytes:
        if self._object.eof:
            # gzip may have several members; whatever else is behind the end is not looked at, nor
            # what follows that.
            data, self._behind = self._behind + data, b""
            if not self._is_gzip or self._is_over:
                return b""
            if data == _MAGIC[:1]:
                self._behind = data
                return b""
            if not data.startswith(_MAGIC):
                self._is_over = True
                return b""
            self._object = zlib.decompressobj(_GZIP_BITS)
        try:
            piece = self._object.decompress(data, _MOST)
        except zlib.error:
            if self._first is None:
                raise
            # RFC 9110, section 8.4.1.2: "deflate" is in zlib's format, and often is not.
            self._object = zlib.decompressobj(-zlib.MAX_WBITS)
            data, self._first = self._first + data, None
            piece = self._object.decompress(data, _MOST)
        if self._first is not None:
            self._first = None if piece else self._first + data
        self._rest = self._object.unused_data or self._object.unconsumed_tail
        self._has_more = len(piece) >= _MOST and not self._object.eof
        return piece
