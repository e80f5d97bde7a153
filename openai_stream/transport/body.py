"""A response as a source of bytes: what has arrived, now."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import requests
import urllib3
import urllib3.exceptions

from openai_stream.errors import StreamDecodeError, StreamInterruptedError

from .call import NetworkCall
from .causes import reason
from .deadlines import Aborted, Expired
from .decoding import Decoding, codings_of
from .origin import Interrupted, of_user
from .sockets import BLOCK

__all__ = ["ASK_AGAIN", "Body", "settle"]

#: What to do about an answer that was cut.
ASK_AGAIN = "To ask once more may help; restarts=1 does that by itself in a stream"

_FAREWELL = 0.02  # seconds given to the end of a body after its last event


def settle(response: requests.Response, content: bytes) -> None:
    """Make ``content``, which was read by a :class:`Body`, what the response gives as its own."""
    response._content = content
    response._content_consumed = True  # type: ignore[attr-defined]


def _read_already(response: requests.Response) -> bytes | None:
    """The body, decoded, of a response that a hook has read, or that an adapter made of bytes.

    :returns: ``None`` if it is still to be read.
    """
    content: Any = response._content
    if content is False:
        return b"" if response.raw is None else None
    return content or b""


class _Untimed:
    """In the place of a socket that cannot be reached."""

    @staticmethod
    def settimeout(seconds: float) -> None:
        """It has what ``requests`` was given."""


class Body:
    """A response as a source of bytes: what has arrived, as soon as it has.

    For the working thread of the call only. It decides when the connection goes back to the
    pool: ``urllib3`` would give it away inside the last read, before anyone else knows.
    """

    def __init__(self, response: requests.Response, call: NetworkCall) -> None:
        raw = response.raw
        self._response = response
        self._raw = raw
        self._call = call
        self._release: Callable[[], object] = getattr(raw, "release_conn", _nothing)
        if raw is not None:
            raw.release_conn = _nothing  # type: ignore[method-assign]
        self._is_ours = call.response_has_socket
        if not self._is_ours:
            call.enter_shut(getattr(raw, "shutdown", None))
        call.in_body = True
        # What a recorder such as VCR gives has nothing of urllib3's response but its bytes.
        self._others: Iterator[bytes] | None = None
        if (content := _read_already(response)) is not None:
            settle(response, content)
            self._others = iter([content] if content else [])
        if isinstance(raw, urllib3.BaseHTTPResponse):
            self._framed = raw.chunked or getattr(raw, "length_remaining", None) is not None
        else:
            if self._others is None:
                self._others = response.iter_content(BLOCK)
            self._framed = bool(
                response.headers.get("content-length") or response.headers.get("transfer-encoding")
            )
        self._decoding: Decoding | None = None
        self._end_is_told = True
        if codings := codings_of(response.headers.get("content-encoding", "")):
            self._end_is_told = False
            if self._others is None:
                with contextlib.suppress(ValueError):  # urllib3 knows others
                    self._decoding = Decoding(codings)
        # Chunks of ours that are not compressed need nothing of what urllib3 does around a read:
        # 40 µs, where a read brings one event and it is some time since the last one.
        straight, call.response = call.response, None  # which leads back to the call
        plain = self._is_ours and straight is not None and straight.chunked
        if not plain or codings or self._others is not None:
            straight = None
        self._straight = None if straight is None else straight.read1

    def _read_wire(self) -> bytes:
        if self._straight is not None:
            try:
                block = self._straight()
            except ssl.SSLError as error:
                raise urllib3.exceptions.SSLError(error) from error
            except (http.client.HTTPException, OSError) as error:
                raise urllib3.exceptions.ProtocolError("Connection broken", error) from error
            if block:
                return block
        if self._others is not None:
            return next(self._others, b"")
        decoding = self._decoding
        if decoding is not None:
            while not (block := decoding.read()):
                compressed = self._raw.read1(BLOCK, decode_content=False)
                if not compressed:
                    return b""
                decoding.feed(compressed)
            return block
        # The end too is urllib3's: it closes the response.
        return self._raw.read1(BLOCK, decode_content=True) or b""

    def _read_foreign(self) -> bytes:
        # A session that was given: what a wire does, around the whole read.
        call = self._call
        if call.before_wait is not None:
            call.before_wait()
        # A body that only the connection's end ends has no socket to be found: then each wait is as
        # long as the one for the headers could be, and the limits are looked at between two.
        call.arm(self._foreign_socket() or _Untimed)
        start = monotonic()
        try:
            block = self._read_wire()
        except (TimeoutError, urllib3.exceptions.TimeoutError) as error:
            call.waited += monotonic() - start
            if of_user(error) is None:
                call.timed_out()
            raise
        end = call.last_byte = monotonic()
        call.waited += end - start
        call.bytes += len(block)
        return block

    @property
    def framed(self) -> bool:
        """At its end: the body itself told that it ends here, so it was not cut unnoticed."""
        # Of compressed data that urllib3 undoes, whether it broke off cannot be told.
        ended = self._end_is_told if self._decoding is None else self._decoding.ended
        return bool(self._framed and ended)

    def _foreign_socket(self) -> Any:
        return getattr(getattr(self._raw, "connection", None), "sock", None)

    def read(self) -> bytes:
        """What has arrived, at most 64 KiB, decompressed; waits for the first byte.

        :returns: ``b""`` at an orderly end.
        :raises Aborted: it was stopped.
        :raises Expired: a deadline is over.
        :raises StreamInterruptedError: the connection broke, or the body ended too early.
        :raises StreamDecodeError: the compression is broken.

        What a signal's handler raises goes through as it is.
        """
        call = self._call
        users: BaseException | None = None
        try:
            block = self._read_wire() if self._is_ours else self._read_foreign()
        except urllib3.exceptions.DecodeError as error:
            raise StreamDecodeError(
                f"the server's compressed answer cannot be decompressed: {reason(error)}"
            ) from error
        except (
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            if call.aborted:
                raise Aborted from None
            users = of_user(error)
            if users is None:
                if call.expired:
                    raise Expired from None
                raise StreamInterruptedError(
                    "the connection broke before the answer was complete: "
                    f"{reason(error)}. {ASK_AGAIN}"
                ) from error
        except Interrupted as interrupted:
            users = interrupted.error
        if users is not None:
            raise users
        if call.aborted:  # a shut socket looks like an orderly end
            raise Aborted
        return block

    def blocks(self, limit: int) -> Iterator[bytes]:
        """The rest of the body.

        :param limit: bytes; a longer body is an error.
        :raises: as :meth:`read`; ``StreamDecodeError`` too where it is longer.
        """
        size = 0
        while block := self.read():
            size += len(block)
            if size > limit:
                raise StreamDecodeError(f"the server's answer is longer than {limit} bytes")
            yield block

    def read_all(self, limit: int) -> bytes:
        """All :meth:`blocks` in one."""
        return b"".join(self.blocks(limit))

    def finish(self) -> None:
        """Keep the connection for the next call if the body ends here, now; close it otherwise.

        The last bytes of a body follow its last event at once, or the server never sends them: it
        gets 20 milliseconds, and no more than a megabyte is looked at.
        """
        call = self._call
        call.before_wait = None
        call.limit(_FAREWELL)
        whole = False
        try:
            # Without a socket of ours to time it, a look could take for ever.
            if (
                self._is_ours
                or self._others is not None
                or self._foreign_socket() is not None
                or self._raw.closed
            ):
                whole = any(not self.read() for _ in range(16))
        except (Aborted, Expired, StreamDecodeError, StreamInterruptedError):
            call.expired = None
        if whole and call.leave():
            call.end_tap("open")
            self._release()
        else:
            self.close()

    def close(self) -> None:
        """Close the connection. Twice is harmless."""
        self._call.before_wait = None
        self._call.end_tap()
        self._call.leave()
        try:
            self._response.close()
            self._release()  # a closed connection leaves its place in the pool
        except (OSError, urllib3.exceptions.HTTPError):
            pass  # the other side is gone already


def _nothing() -> None:
    """In the place of ``release_conn``."""
