"""Chunked bodies (RFC 9112, section 7.1): where the size of a chunk is read.

Bytes in, data out: nothing here reads, waits or knows a socket.

``http.client`` reads one chunk a call, which with a chunk an event, as servers send them, is 3 µs
an event. Here all chunks that have arrived are taken apart in one go (0.5 µs). It is also stricter:
``int(size, 16)`` would take "-5" and "1_0", the standard does not.
"""

from __future__ import annotations

import http.client
import itertools

__all__ = ["Chunks", "whole_chunks"]

_HEX = b"0123456789abcdefABCDEF"
_LINE = 65536  # bytes of a line between two chunks at most
_TRAILERS = 1024 * 1024  # and of all lines behind the last chunk


class Chunks:
    """A chunked body, taken apart. See :class:`~.framing.Framing` for how it is fed."""

    __slots__ = ("_arrived", "_at_end_of_chunk", "_to_come", "_trailers", "_trailing", "ended")

    #: The body itself says where it ends.
    tells_end = True

    def __init__(self) -> None:
        self._arrived = b""  # and not taken apart yet
        self._to_come = 0  # bytes of the open chunk that have not arrived
        self._at_end_of_chunk = False  # the line end behind a chunk is still to come
        self._trailing = False  # the last chunk has come; its trailers are still to come
        self._trailers = 0  # bytes of them
        #: The body is whole.
        self.ended = False

    @property
    def has_excess(self) -> bool:
        """See :attr:`.framing.Framing.has_excess`."""
        return self.ended and bool(self._arrived)

    def feed(self, arrived: bytes) -> None:
        """See :meth:`.framing.Framing.feed`."""
        self._arrived += arrived

    def feed_eof(self) -> None:
        """See :meth:`.framing.Framing.feed_eof`."""
        if self._trailing:  # all data has come: some servers leave the last line end out
            self.ended = True
        elif not self.ended:
            raise http.client.HTTPException(
                "the connection ended between two chunks"
                if self._arrived
                else "the connection ended before the last chunk"
            )

    def read(self) -> bytes:
        """See :meth:`.framing.Framing.read`."""
        arrived = self._arrived
        if not arrived:
            return b""
        if not (self._to_come or self._at_end_of_chunk or self._trailing):
            # One alone, as it comes from a server that takes its time. The processor has forgotten
            # the steps below by then: 20 µs.
            digits, _, data = arrived.partition(b"\r\n")
            if (
                data.endswith(b"\r\n")
                and digits
                and not digits.strip(_HEX)
                and int(digits, 16) == len(data) - 2 != 0
            ):
                self._arrived = b""
                return data[:-2]
        parts: list[bytes] = []
        position, size = 0, len(arrived)
        quickly = True
        try:
            while position < size and not self.ended:
                if self._to_come:
                    part = arrived[position : position + self._to_come]
                    parts.append(part)
                    position += len(part)
                    self._to_come -= len(part)
                    self._at_end_of_chunk = not self._to_come
                    continue
                if quickly and not (self._at_end_of_chunk or self._trailing):
                    position = whole_chunks(arrived, position, parts)
                    quickly = False  # it goes as far as it can; to look again would take too long
                    continue
                end = arrived.find(b"\n", position, position + _LINE) + 1
                if not end and size - position < _LINE:
                    break
                try:
                    self._take_line(arrived[position:end])
                except http.client.HTTPException:
                    if parts:  # what came before it is not lost: the next call will be here again
                        break
                    raise
                position = end
        finally:
            self._arrived = arrived[position:]
        return b"".join(parts)

    def _take_line(self, line: bytes) -> None:
        """Take in a line between chunks: a chunk's end, the next one's size, or a trailer.

        :raises http.client.HTTPException: it is not one of them.
        """
        if not line:
            raise http.client.HTTPException("a line without end between two chunks")
        if self._at_end_of_chunk:
            if line != b"\r\n":
                raise http.client.HTTPException("a chunk is longer than its size")
            self._at_end_of_chunk = False
        elif self._trailing:
            self.ended = line in (b"\r\n", b"\n")
            self._trailers += len(line)
            if self._trailers > _TRAILERS:
                raise http.client.HTTPException(f"the trailers are longer than {_TRAILERS} bytes")
        else:
            digits = line.partition(b";")[0].strip()
            if not digits or digits.strip(_HEX):
                raise http.client.HTTPException("a chunk without a size")
            self._to_come = int(digits, 16)
            self._trailing = not self._to_come


def whole_chunks(arrived: bytes, position: int, parts: list[bytes]) -> int:
    """Take apart the plain chunks that follow in ``arrived``, those that are there to their end.

    Between line ends, sizes and data take turns. Nothing here runs once a chunk, which is once an
    event where a server sends one in each. Where something is not plain (an extension, data with
    such line ends in it) or not valid, and from the last chunk on, each line is taken for itself.

    :param position: where the first one's size would be.
    :param parts: gets their data.
    :returns: the position behind the last of them.
    """
    lines = arrived[position:].split(b"\r\n")
    whole = (len(lines) - 1) // 2 * 2  # what follows has not come to its end
    digits, data = lines[:whole:2], lines[1:whole:2]
    lengths = list(map(len, data))
    if 0 in lengths:  # the last chunk, perhaps
        del lengths[lengths.index(0) :]
        digits, data = digits[: len(lengths)], data[: len(lengths)]
    joined = b"".join(digits)
    if not joined or joined.strip(_HEX):  # int() would take "-5", "1_0" and "0x5" too
        return position
    try:
        if list(map(int, digits, itertools.repeat(16))) != lengths:
            return position
    except ValueError:
        return position
    parts += data
    return position + len(joined) + sum(lengths) + 4 * len(lengths)
