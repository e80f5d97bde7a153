"""A socket's receiving side, where each wait passes the deadlines of its call."""

from __future__ import annotations

import http.client
import io
from typing import Any

from .call import Aborted, NetworkCall
from .deadlines import Expired
from .tap import Tap
from .turns import Turns

__all__ = ["TappedWire", "Wire"]


class Wire(io.RawIOBase):
    """The socket's receiving side under ``http.client``'s buffer: every wait passes here.

    It replaces the ``socket.SocketIO`` that ``makefile`` makes, and closes it in its turn.
    """

    def __init__(self, raw: Any, sock: Any, call: NetworkCall) -> None:
        self._raw = raw
        self._sock = sock
        self._recv_into = sock.recv_into
        self._call = call
        self._owner = call.begin_response()
        self._tap: Tap | None = None
        self._turns: Turns | None = None

    def readable(self) -> bool:
        return True

    @property
    def can_take_turns(self) -> bool:
        """It can be watched, instead of being waited for."""
        return self._owner and Turns.can_be_taken(self._sock)

    def take_turns(self) -> Turns:
        """From now on it is not waited for, but watched; if that can be."""
        self._turns = Turns(self._sock, self._call, self._tap)
        return self._turns

    def wait_again(self) -> None:
        """From now on it is waited for, as in the beginning."""
        if self._turns is not None:
            self._turns.end()
            self._turns = None

    def readinto(self, buffer: Any) -> int | None:
        if self._turns is not None:  # it is asked for what there is
            return None
        call = self._call
        since = call.begin_read()
        call.arm(self._sock)
        try:
            count: int = self._recv_into(buffer)
        except Exception as error:
            call.failed(error, since)
        call.end_read(since)
        if call.aborted:
            raise Aborted
        if not count and not call.in_body:  # http.client would take it for the headers' end
            raise http.client.RemoteDisconnected("the server closed the connection in the headers")
        call.bytes += count
        return count

    def read1(self, size: int) -> bytes:
        """As a buffer's; there is none once turns were taken."""
        return self.read(size) or b""

    def close(self) -> None:
        if not self.closed:
            self.wait_again()
            # Of what a forked child inherits, finalizers come here: its lock may be held for ever.
            if self._owner and not self._call.inherited:
                self._call.leave()
            self._raw.close()
        super().close()


class TappedWire(Wire):
    """The same, and shows what comes to the call's tap."""

    def __init__(self, raw: Any, sock: Any, call: NetworkCall) -> None:
        super().__init__(raw, sock, call)
        self._tap = call.tap if self._owner else None  # a proxy's answer is not the server's
        if self._tap is not None:
            self._tap.sent()

    def readinto(self, buffer: Any) -> int | None:
        tap = self._tap
        if tap is None or self._turns is not None:
            return super().readinto(buffer)
        try:
            count = super().readinto(buffer)
        except http.client.RemoteDisconnected:
            tap.ended("eof")
            raise
        except Expired:  # whoever gives up tells why
            raise
        except OSError:
            if not self._call.aborted:  # a socket that was shut may also say so
                tap.ended("reset")
            raise
        if count:
            tap.received(bytes(buffer[:count]))
        else:
            tap.ended("eof")
        return count
