"""Where the bytes of a body come from: a socket of ours, ``urllib3``, or anything that iterates."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from typing import Protocol

import urllib3
import urllib3.exceptions

from .content import Content
from .decoding import Decoding
from .framing import Counted, Framing, Unbounded
from .response import Response
from .sockets import BLOCK
from .turns import Turns

__all__ = ["FromIterator", "FromUrllib3", "FromWire", "Source"]


class Source(Protocol):
    """What a :class:`~.body.Body` reads."""

    @property
    def is_whole(self) -> bool:
        """At its end: the body itself said that it ends there."""

    @property
    def has_excess(self) -> bool:
        """At its end: bytes came behind it, which the next answer is not to begin with."""

    def read(self) -> bytes | None:
        """What has arrived; waits for the first byte.

        :returns: ``b""`` at an orderly end; ``None`` instead of waiting, if it takes turns.
        :raises urllib3.exceptions.DecodeError: the compression is broken.
        :raises: whatever the network raises.
        """


class FromWire:
    """A response of ours: nothing of what ``http.client`` and ``urllib3`` do around a read.

    That is 40 µs, if a read brings one event and it is some time since the last one.
    """

    def __init__(
        self, response: Response, remaining: int | None, decoding: Decoding | None
    ) -> None:
        """
        :param remaining: bytes of the body, as far as its headers say.
        """
        framing: Framing | None = response.chunks
        if framing is None:
            framing = Unbounded() if remaining is None else Counted(remaining)
        self._response = response
        self._content = Content(framing, decoding)
        # What is not compressed goes past it: each call costs, with one event in a read.
        self._fed: Content | Framing = framing if decoding is None else self._content
        self._arrived: Callable[[], bytes | None] = response.arrived
        self._turns: Turns | None = None

    @property
    def is_whole(self) -> bool:
        return self._content.is_whole

    @property
    def has_excess(self) -> bool:
        turns = self._turns
        return self._content.has_excess or (turns is not None and turns.has_excess)

    def take_turns(self) -> Turns | None:
        """See :meth:`.body.Body.take_turns`."""
        if not self._response.can_take_turns:
            return None
        turns, arrived = self._response.take_turns()
        if arrived:
            self._content.feed(arrived)
        self._arrived = turns.take
        self._turns = turns
        return turns

    def wait_again(self) -> None:
        """See :meth:`.body.Body.wait_again`."""
        if self._turns is not None and self._turns.has_arrived:
            self._content.feed(self._turns.take() or b"")
        self._turns = None
        self._response.wait_again()
        self._arrived = self._response.arrived

    def read(self) -> bytes | None:
        content = self._fed
        try:
            while not (block := content.read()):
                if content.ended:
                    self._response.close()  # which leaves the connection to the next request
                    return b""
                if arrived := self._arrived():
                    content.feed(arrived)
                elif arrived is None:
                    return None
                else:
                    content.feed_eof()
        except ssl.SSLError as error:  # as urllib3 says it
            raise urllib3.exceptions.SSLError(error) from error
        except (http.client.HTTPException, OSError) as error:
            raise urllib3.exceptions.ProtocolError("Connection broken", error) from error
        return block


class FromUrllib3:
    """A response of a session that was given, or compressed in a way that only ``urllib3`` knows.

    :param is_framed: the headers say where the body ends.
    :param decoding: undoes the compression, of which ``urllib3`` does not tell whether it broke
        off.
    :param is_coded: it is compressed.
    """

    has_excess = False  # urllib3 looks at its connections by itself

    def __init__(
        self,
        raw: urllib3.BaseHTTPResponse,
        is_framed: bool,
        is_coded: bool,
        decoding: Decoding | None,
    ) -> None:
        self._raw = raw
        self._is_framed = is_framed
        self._is_coded = is_coded
        self._decoding = decoding

    @property
    def is_whole(self) -> bool:
        decoding = self._decoding
        return self._is_framed and (not self._is_coded if decoding is None else decoding.ended)

    def read(self) -> bytes:
        decoding = self._decoding
        if decoding is None:
            return self._raw.read1(BLOCK, decode_content=True) or b""
        while not (block := decoding.read()):
            compressed = self._raw.read1(BLOCK, decode_content=False)
            if not compressed:
                return b""
            decoding.feed(compressed)
        return block


class FromIterator:
    """A response that a hook has read already, or one that a recorder such as VCR made: it has
    nothing of urllib3's but its bytes.
    """

    has_excess = False

    def __init__(self, blocks: Iterator[bytes], is_framed: bool) -> None:
        self._blocks = blocks
        self.is_whole = is_framed

    def read(self) -> bytes:
        return next(self._blocks, b"")
