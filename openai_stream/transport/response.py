"""A response of ``http.client``'s that reads through the wire of its call."""

from __future__ import annotations

import http.client
import io
import re
from typing import Any

from .chunks import HEX, whole_chunks
from .current import current_call
from .head import Head
from .sockets import BLOCK
from .wire import TappedWire, Wire

__all__ = ["Response"]


class Response(http.client.HTTPResponse):
    """A response that reads through a :class:`Wire`, and chunked bodies by the buffer.

    ``http.client`` reads one chunk a call, which with a chunk an event, as servers send them, is
    3 µs an event. Here all chunks that have arrived are taken apart in one go (0.5 µs). It is also
    stricter: ``int(size, 16)`` would take "-5" and "1_0" (RFC 9112, section 7.1, does not).
    """

    _reads_wire = False
    _to_come = 0  # bytes of the open chunk that are still to come
    _closing = False  # the line end behind a chunk is still to come
    _trailing = False  # the last chunk has come; its trailers are still to come
    _ended = False  # they have

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        call = current_call()
        if call is not None:
            kind = Wire if call.tap is None else TappedWire
            wire = kind(self.fp.detach(), sock, call)
            self.fp = io.BufferedReader(wire, BLOCK)
            self._reads_wire = True
            call.response = self

    def begin(self) -> None:
        if not self._reads_wire:
            super().begin()
        else:
            fp: Any = self.fp
            lines: Any = Head(fp)
            self.fp = lines
            try:
                super().begin()
            finally:
                if self.fp is lines:  # it may have closed it
                    self.fp = fp
            for name, value in lines.others():
                self.headers[name] = value  # adds it
            # Of header lines that it cannot read urllib3 logs a warning, in the server's words: and
            # a server that is confused enough may quote the key in them.
            self.headers.defects.clear()
            self.headers.set_payload("", None)
        # It also knows "chunked" only when nothing else is said, where urllib3 looks for the word.
        codings = ",".join(self.headers.get_all("transfer-encoding", ()))
        if not self.chunked and "chunked" in re.split(r"[\s,]+", codings.lower()):
            self.chunked = True
            self.length = None

    def read1(self, n: int = -1) -> bytes:
        if not (self._reads_wire and self.chunked) or self.fp is None:
            return super().read1(n)
        while not self._ended:
            arrived = self.fp.peek(1)  # all that is buffered; waits where nothing is
            if not arrived:
                if self._trailing:  # some servers leave the last line end out
                    break
                raise http.client.HTTPException("the connection ended before the last chunk")
            data, used = self._unchunk(arrived)
            if used:
                self.fp.read(used)
            else:  # a line that is cut: wait for its end
                self._next_line(self.fp.readline(BLOCK))
            if data:
                return data
        return b""

    def _unchunk(self, arrived: bytes) -> tuple[bytes, int]:
        """The data of the chunks in ``arrived``, and how many bytes of it are used up."""
        parts: list[bytes] = []
        position, size = 0, len(arrived)
        quickly = True
        while position < size and not self._ended:
            if self._to_come:
                part = arrived[position : position + self._to_come]
                parts.append(part)
                position += len(part)
                self._to_come -= len(part)
                self._closing = not self._to_come
                continue
            if quickly and not (self._closing or self._trailing):
                position = whole_chunks(arrived, position, parts)
                quickly = False  # it goes as far as it can; to look again would take too long
            end = arrived.find(b"\n", position) + 1
            if not end:
                break
            try:
                self._next_line(arrived[position:end])
            except http.client.HTTPException:
                if parts:  # what came before it is not lost: the next call will be here again
                    break
                raise
            position = end
        return b"".join(parts), position

    def _next_line(self, line: bytes) -> None:
        """Take in a line between chunks: a chunk's end, the next one's size, or a trailer.

        :raises http.client.HTTPException: it is none of them, or the end of the connection.
        """
        if not line.endswith(b"\n"):
            raise http.client.HTTPException(
                "the connection ended between two chunks"
                if len(line) < BLOCK
                else "a line without end between two chunks"
            )
        if self._closing:
            if line != b"\r\n":
                raise http.client.HTTPException("a chunk is longer than its size")
            self._closing = False
        elif self._trailing:
            self._ended = line in (b"\r\n", b"\n")
        else:
            digits = line.split(b";", 1)[0].strip()
            if not digits or digits.strip(HEX):
                raise http.client.HTTPException("a chunk without a size")
            self._to_come = int(digits, 16)
            self._trailing = not self._to_come
