"""The bytes of a connection into those of an answer: framing undone, then compression.

Without I/O: the thread of a stream drives it, an event loop can, and the fuzzer does. How it is fed
is written in :mod:`.framing`.
"""

from __future__ import annotations

from .decoding import Decoding
from .framing import Framing

__all__ = ["Content"]


class Content:
    """The content of a body (RFC 9110, section 6.4), fed with what arrives behind the headers.

    :param framing: where the body ends.
    :param decoding: what it is compressed by.
    """

    __slots__ = ("_decoding", "_framing")

    def __init__(self, framing: Framing, decoding: Decoding | None = None) -> None:
        self._framing = framing
        self._decoding = decoding

    def feed(self, arrived: bytes) -> None:
        """See :meth:`.framing.Framing.feed`."""
        self._framing.feed(arrived)

    def feed_eof(self) -> None:
        """See :meth:`.framing.Framing.feed_eof`."""
        self._framing.feed_eof()

    def read(self) -> bytes:
        """See :meth:`.framing.Framing.read`; what was compressed comes in at most 64 KiB at once.

        :raises urllib3.exceptions.DecodeError: it is not compressed so.
        """
        decoding = self._decoding
        if decoding is None:
            return self._framing.read()
        while not (block := decoding.read()):
            if not (compressed := self._framing.read()):
                return b""
            decoding.feed(compressed)
        return block

    @property
    def ended(self) -> bool:
        """No more will come: once :meth:`read` gives nothing, the body has ended."""
        return self._framing.ended

    @property
    def has_excess(self) -> bool:
        """See :attr:`.framing.Framing.has_excess`."""
        return self._framing.has_excess

    @property
    def is_whole(self) -> bool:
        """At its end: the body itself said that it ends there, so it was not cut unnoticed."""
        decoding = self._decoding
        return self._framing.tells_end and (decoding is None or decoding.ended)
