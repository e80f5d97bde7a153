"""Where the body of a response ends (RFC 9112, section 6.3), without I/O.

What is fed here, and in :mod:`.chunks`, :mod:`.decoding` and :mod:`.content`, is fed in the same
way, by whoever has the socket::

    while not (block := framing.read()):
        if framing.ended:
            return b""
        if arrived := sock.recv(65536):   # or an epoll loop comes back here when there is something
            framing.feed(arrived)
        else:
            framing.feed_eof()
"""

from __future__ import annotations

import http.client
from typing import Protocol

__all__ = ["Counted", "Framing", "Unbounded"]


class Framing(Protocol):
    """How a body is framed: bytes of the connection in, bytes of the body out.

    For one thread at a time; nothing in it waits. However the bytes are split, the same comes out.
    """

    #: The body itself says where it ends, so one that was cut does not go unnoticed.
    tells_end: bool
    #: The body is whole; what :meth:`read` has not given by then is not part of it.
    ended: bool

    @property
    def has_excess(self) -> bool:
        """Bytes have come behind the end of the body: whose they are, nobody can tell."""

    def feed(self, arrived: bytes) -> None:
        """Take in what has arrived, not empty."""

    def feed_eof(self) -> None:
        """The connection has ended, and :meth:`read` has given all there was.

        :raises http.client.HTTPException: before the end of the body.
        """

    def read(self) -> bytes:
        """What has become whole; nothing if more must be fed first, or the body has ended.

        :raises http.client.HTTPException: this is no such framing. What came before that has been
            given: then each further call raises.
        """


class Counted:
    """A body of so many bytes (``Content-Length``).

    :param size: how many.
    """

    __slots__ = ("_arrived", "_size", "_to_come", "ended")

    tells_end = True

    def __init__(self, size: int) -> None:
        self._arrived = b""
        self._size = size
        self._to_come = size
        self.ended = not size

    @property
    def has_excess(self) -> bool:
        """See :attr:`Framing.has_excess`."""
        return self.ended and bool(self._arrived)

    def feed(self, arrived: bytes) -> None:
        """See :meth:`Framing.feed`."""
        self._arrived += arrived

    def feed_eof(self) -> None:
        """See :meth:`Framing.feed_eof`."""
        if not self.ended:
            raise http.client.HTTPException(
                f"the connection ended after {self._size - self._to_come} of {self._size} bytes"
            )

    def read(self) -> bytes:
        """See :meth:`Framing.read`."""
        block = self._arrived[: self._to_come]
        self._arrived = self._arrived[len(block) :]
        self._to_come -= len(block)
        self.ended = not self._to_come
        return block


class Unbounded:
    """A body that the end of the connection ends, on purpose or not: nothing tells which."""

    __slots__ = ("_arrived", "ended")

    tells_end = False
    has_excess = False  # there is nothing behind such an end

    def __init__(self) -> None:
        self._arrived = b""
        self.ended = False

    def feed(self, arrived: bytes) -> None:
        """See :meth:`Framing.feed`."""
        self._arrived += arrived

    def feed_eof(self) -> None:
        """See :meth:`Framing.feed_eof`."""
        self.ended = True

    def read(self) -> bytes:
        """See :meth:`Framing.read`."""
        block, self._arrived = self._arrived, b""
        return block
