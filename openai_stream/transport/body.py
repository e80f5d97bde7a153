"""A response as a source of bytes: what has arrived, now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import requests
import urllib3
import urllib3.exceptions

from openai_stream.errors import ASK_AGAIN, StreamDecodeError, StreamInterruptedError

from .call import Aborted, NetworkCall
from .causes import LEAKING, reason
from .deadlines import Expired
from .decoding import Decoding, codings_of
from .origin import Interrupted, of_user
from .response import Response
from .sockets import BLOCK
from .sources import FromIterator, FromUrllib3, FromWire, Source
from .turns import Turns

__all__ = ["Body", "can_take_turns", "settle"]

_FAREWELL = 0.02  # seconds given to the end of a body after its last event
_LOOKS = 16  # blocks of 64 KiB at most that are looked at for it


def settle(response: requests.Response, content: bytes) -> None:
    """Make ``content``, which was read by a :class:`Body`, what the response gives as its own."""
    response._content = content
    response._content_consumed = True  # type: ignore[attr-defined]


def can_take_turns(call: NetworkCall) -> bool:
    """Whether nothing speaks against the body of the newest response being read in turns."""
    response = call.response
    return call.response_has_socket and isinstance(response, Response) and response.can_take_turns


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

    For the working thread of the call only. It decides when the connection goes back to the pool:
    ``urllib3`` would give it away inside the last read, before anyone else knows.

    Whoever reads it delivers what came before the next :meth:`read`, which may wait; if an event
    was in it, ``call.restart_gap()`` comes in between too.
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
        call.begin_body()
        self._source = self._source_of(response)
        self._looks: int | None = None  # for its end: so many are left

    def _source_of(self, response: requests.Response) -> Source:
        raw = self._raw
        ours, self._call.response = self._call.response, None  # which leads back to the call
        codings = codings_of(response.headers.get("content-encoding", ""))
        remaining: int | None = getattr(raw, "length_remaining", None)
        if isinstance(raw, urllib3.BaseHTTPResponse):
            is_framed = raw.chunked or remaining is not None
        else:
            names = ("content-length", "transfer-encoding")
            is_framed = any(response.headers.get(name) for name in names)
        content = _read_already(response)
        if content is not None:
            settle(response, content)
            return FromIterator(iter([content] if content else []), is_framed and not codings)
        if not isinstance(raw, urllib3.BaseHTTPResponse):
            return FromIterator(response.iter_content(BLOCK), is_framed and not codings)
        decoding = None
        if codings:
            with contextlib.suppress(ValueError):  # urllib3 knows others
                decoding = Decoding(codings)
        ours_to_decode = self._is_ours and (decoding is not None or not codings)
        if ours_to_decode and isinstance(ours, Response) and not ours.isclosed():
            return FromWire(ours, remaining, decoding)
        return FromUrllib3(raw, is_framed, bool(codings), decoding)

    @property
    def framed(self) -> bool:
        """At its end: the body itself told that it ends here, so it was not cut unnoticed."""
        return self._source.is_whole

    def _read_foreign(self) -> bytes:
        # A session that was given: what a wire does, around the whole read. A body that only the
        # connection's end ends has no socket to be found: then each wait is as long as the one for
        # the headers could be, and the limits are looked at between two.
        call = self._call
        since = call.begin_read()
        call.arm(self._foreign_socket() or _Untimed)
        try:
            block = self._source.read() or b""
        except (TimeoutError, urllib3.exceptions.TimeoutError) as error:
            call.waited += monotonic() - since
            if of_user(error) is None:
                call.timed_out()
            raise
        call.end_read(since)
        call.bytes += len(block)
        return block

    def _foreign_socket(self) -> Any:
        return getattr(getattr(self._raw, "connection", None), "sock", None)

    def take_turns(self) -> Turns | None:
        """From now on nothing here waits: :meth:`take` gives ``None``, and :meth:`finish` is called
        again.

        :returns: the socket to be watched; ``None`` if this cannot be, and nothing has changed.
        """
        if not isinstance(self._source, FromWire):
            return None
        return self._source.take_turns()

    def wait_again(self) -> None:
        """From now on it waits by itself, as in the beginning."""
        if isinstance(self._source, FromWire):
            self._source.wait_again()

    def read(self) -> bytes:
        """See :meth:`take`; always waits."""
        block = self.take()
        assert block is not None, "it takes turns"
        return block

    def take(self) -> bytes | None:
        """What has arrived, at most 64 KiB, decompressed; waits for the first byte.

        :returns: ``b""`` at an orderly end; ``None`` instead of waiting, if it takes turns.
        :raises Aborted: it was stopped.
        :raises Expired: a deadline has passed.
        :raises StreamInterruptedError: the connection broke, or the body ended too early.
        :raises StreamDecodeError: the compression is broken.

        What a signal's handler raises goes through as it is.
        """
        call = self._call
        users: BaseException | None = None
        try:
            block = self._source.read() if self._is_ours else self._read_foreign()
        except urllib3.exceptions.DecodeError as error:
            raise StreamDecodeError(
                f"the server's compressed answer cannot be decompressed: {reason(error)}"
            ) from error
        except LEAKING as error:
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
        :raises: as :meth:`read`; ``StreamDecodeError`` too if it is longer.
        """
        size = 0
        while block := self.read():
            size += len(block)
            if size > limit:
                raise StreamDecodeError(
                    f"the server's answer is longer than {limit} bytes; if such answers are to be "
                    "expected, raise max_event_bytes",
                    lasting=True,
                )
            yield block

    def finish(self) -> bool:
        """Keep the connection for the next call if the body ends here, now; close it otherwise.

        The last bytes of a body follow its last event at once, or the server never sends them: it
        gets 20 milliseconds, and no more than a megabyte is looked at.

        :returns: it is done; if it takes turns, perhaps not yet.
        """
        call = self._call
        if self._looks is None:
            call.restart_gap()
            call.limit(_FAREWELL)
            # Without a socket of ours to time it, a look could take for ever.
            can_be_timed = (
                self._is_ours
                or isinstance(self._source, FromIterator)
                or self._foreign_socket() is not None
                or self._raw.closed
            )
            self._looks = _LOOKS if can_be_timed else 0
        whole = False
        try:
            while self._looks and not whole:
                block = self.take()
                if block is None:
                    return False
                self._looks -= 1
                whole = not block
        except (Aborted, Expired, StreamDecodeError, StreamInterruptedError):
            call.forgive()
        if whole and not self._source.has_excess and call.leave():
            call.end_tap("open")
            self._release()
        else:
            self.close()
        return True

    def close(self) -> None:
        """Close the connection. Twice is harmless."""
        self._call.end_tap()
        self._call.leave()
        try:
            self._response.close()
            self._release()  # a closed connection leaves its place in the pool
        except (OSError, urllib3.exceptions.HTTPError):
            pass  # the other side is gone already


def _nothing() -> None:
    """In the place of ``release_conn``."""
