"""A response of ``http.client``'s that reads through the wire of its call."""

from __future__ import annotations

import http.client
import io
import re
from typing import Any

from .chunks import Chunks
from .current import current_call
from .head import Head
from .sockets import BLOCK
from .turns import Turns
from .wire import TappedWire, Wire

__all__ = ["Response"]


class Response(http.client.HTTPResponse):
    """A response that reads through a :class:`~.wire.Wire`."""

    #: Takes its body apart, if that comes in chunks.
    chunks: Chunks | None = None
    _reads_wire = False

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
        if self.chunked:
            self.chunks = Chunks()

    def read1(self, n: int = -1) -> bytes:
        chunks = self.chunks
        if chunks is None or not self._reads_wire or self.fp is None:
            return super().read1(n)
        while not (block := chunks.read()) and not chunks.ended:
            if arrived := self.arrived():
                chunks.feed(arrived)
            else:
                chunks.feed_eof()
        return block

    @property
    def can_take_turns(self) -> bool:
        """Its socket can be watched, instead of being waited for."""
        fp: Any = self.fp
        return fp is not None and self._reads_wire and fp.raw.can_take_turns

    def take_turns(self) -> tuple[Turns, bytes]:
        """From now on its socket is not waited for, but watched; if that can be.

        :returns: what gives the bytes that come, and those that had come behind the headers.
        """
        fp: Any = self.fp
        wire: Wire = fp.raw
        turns = wire.take_turns()
        arrived: bytes = fp.read1(BLOCK)
        # The buffer takes more memory than all else of a stream.
        self.fp = fp.detach()
        return turns, arrived

    def wait_again(self) -> None:
        """From now on its socket is waited for, as in the beginning."""
        wire: Any = self.fp
        if wire is not None:
            wire.wait_again()

    def arrived(self) -> bytes:
        """What has arrived behind the headers, as it came; waits for the first byte.

        :returns: ``b""`` at the end of the connection.
        """
        fp: Any = self.fp
        return b"" if fp is None else fp.read1(BLOCK)
