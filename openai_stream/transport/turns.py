"""A socket that is never waited for: whoever watches many says when something has arrived.

The receiving side of a response, as :class:`~.wire.Wire` is one for a thread of its own, by the
same clock: what a wait may last says the call.
"""

from __future__ import annotations

import _socket
import contextlib
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from .call import Aborted, NetworkCall
from .tap import Tap

__all__ = ["Turns"]

#: Bytes that are read in one turn. Who sends more than that at once has others wait the less.
SHARE = 16384
_RECORDS = 128  # of TLS that are read in one turn


def _nothing() -> None:
    """Nobody watches it."""


class Turns:
    """The receiving side of a socket that is read in turns with others.

    Whoever watches it calls :meth:`fetch` when something has arrived, for all that are ready before
    any of them has its turn: to read lets other threads go on, and a consumer that has just been
    called would take its turn with each event. :meth:`take` gives what was fetched. If it gives
    nothing, :attr:`until` and :attr:`wants_write` say for how long, and for what, it is watched.

    TLS is no different, but for three things: a read gives one record at most, however small it is;
    bytes may be there already that were decrypted with others, which no look at the socket shows;
    and to read it may have to write.

    :param sock: not blocking from now on.
    :param call: times it, and aborts it.
    :param tap: looks at what comes.
    """

    __slots__ = (
        "_arrived",
        "_call",
        "_error",
        "_has_more",
        "_is_tls",
        "_recv",
        "_since",
        "_sock",
        "_tap",
        "until",
        "unwatch",
        "wants_write",
    )

    def __init__(self, sock: Any, call: NetworkCall, tap: Tap | None) -> None:
        self._sock = sock
        self._recv = sock.recv
        pending: Callable[[], int] | None = getattr(sock, "pending", None)
        self._is_tls = pending is not None
        self._call = call
        self._tap = tap
        self._since = 0.0  # when the wait began, if there is one
        self._arrived: bytes | None = None  # but not taken yet
        self._error: Exception | None = None  # in the place of that
        self._has_more = pending is not None and pending() > 0
        #: When the wait will have lasted long enough.
        self.until = 0.0
        #: It cannot be read before it can be written.
        self.wants_write = False
        #: Called before the socket is somebody else's, or closed.
        self.unwatch: Callable[[], object] = _nothing
        sock.setblocking(False)
        call.disarm()

    @staticmethod
    def can_be_taken(sock: Any) -> bool:
        """Whether there is nothing between the socket and the network that waits by itself, as TLS
        inside a proxy's TLS does; green threads wait by themselves too.
        """
        return isinstance(sock, _socket.socket)

    def fileno(self) -> int:
        """The descriptor to be watched."""
        number: int = self._sock.fileno()
        return number

    def fetch(self) -> None:
        """Read what has arrived, if anything has, for the next turn."""
        if self._arrived is not None or self._error is not None:
            return
        self._has_more = self.wants_write = False
        try:
            arrived = self._arrived = self._recv(SHARE)
            if self._is_tls and arrived:
                self._fetch_records(arrived)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self.wants_write = True
            return
        except Exception as error:
            self._error = error
            return
        call = self._call
        call.end_read(self._since or call.begin_read())
        self._since = 0.0

    def _fetch_records(self, arrived: bytes) -> None:
        """Read the records that have come behind the first, as a plain socket would in one read: a
        server that sends each event in one, or in several, is not to wait a round for each.
        """
        parts = [arrived]
        size = len(arrived)
        # What it does not come to is there without the socket showing it, perhaps.
        self._has_more = True
        try:
            while size < SHARE and len(parts) < _RECORDS:
                part = self._recv(SHARE - size)
                if not part:
                    break
                parts.append(part)
                size += len(part)
        except ssl.SSLWantReadError:
            self._has_more = False
        except ssl.SSLWantWriteError:
            self._has_more = False
            self.wants_write = True
        except Exception as error:
            self._has_more = False
            self._error = error  # for after what came before it
        if len(parts) > 1:
            self._arrived = b"".join(parts)

    @property
    def has_arrived(self) -> bool:
        """Something was fetched that was not taken."""
        return self._arrived is not None

    @property
    def has_excess(self) -> bool:
        """More has come than was taken, or than a look at the socket would show."""
        return self.has_arrived or (self._is_tls and self._sock.pending() > 0)

    def take(self) -> bytes | None:
        """What has arrived.

        :returns: ``None``: nothing; ``b""`` at the end of the connection.
        :raises Aborted: it was aborted.
        :raises Expired: it was waited for long enough.
        :raises: what the network raises.
        """
        call = self._call
        if call.aborted:
            raise Aborted
        if self._has_more or (self._since and monotonic() >= self.until):
            # Whoever watches may have been held up for longer than the limit: what came meanwhile
            # is there, and nobody has looked.
            self.fetch()
        arrived, self._arrived = self._arrived, None
        if arrived is None:
            self._wait()
            return None
        call.bytes += len(arrived)
        if self._tap is not None:
            if arrived:
                self._tap.received(arrived)
            else:
                self._tap.ended("eof")
        return arrived

    def _wait(self) -> None:
        """Nothing has arrived: whether it is worth being waited for any longer."""
        call, since = self._call, self._since
        if self._error is not None:
            error, self._error = self._error, None
            self._since = 0.0
            if self._tap is not None and isinstance(error, OSError):
                self._tap.ended("reset")
            try:
                call.failed(error, since or monotonic())
            finally:
                del error  # its traceback leads here
        if not since:
            since = self._since = call.begin_read()
            seconds = call.seconds_to_wait()
            if seconds <= 0:
                call.timed_out()
            self.until = since + seconds
        elif (now := monotonic()) >= self.until:
            self._since = 0.0
            call.waited += now - since
            call.timed_out()

    def end(self) -> None:
        """Nobody watches it any more; it is as it was before. Twice is harmless."""
        if self._call.inherited:
            return  # finalizers come here; the parent's socket and its selector stay as they are
        unwatch, self.unwatch = self.unwatch, _nothing
        unwatch()
        with contextlib.suppress(OSError):
            self._sock.settimeout(None)
        self._call.disarm()
