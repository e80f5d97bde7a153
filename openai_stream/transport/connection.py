"""Connections of ``urllib3`` that the current call times and stops, and their pools."""

from __future__ import annotations

import queue
import socket
from time import monotonic
from typing import Any

import urllib3
import urllib3.connection
import urllib3.exceptions

from .addresses import connect
from .current import current_call
from .deadlines import Expired
from .origin import Interrupted, by_handler, is_timeout
from .response import Response
from .sockets import close_half_made

__all__ = ["POOLS", "Connection"]


class Connection(urllib3.connection.HTTPConnection):
    """A connection that lets the current call time and stop it."""

    response_class = Response

    def _new_conn(self) -> socket.socket:
        call = current_call()
        if call is None:
            return super()._new_conn()
        try:
            return connect(
                call, self._dns_host, self.port, self.socket_options, self.source_address
            )
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except Expired as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error

    def connect(self) -> None:
        call = current_call()
        start = monotonic()
        if call is not None:
            call.begin_connecting()
        super().connect()
        if call is not None:
            call.enter(self._stoppable())
            call.connected(monotonic() - start)

    def _stoppable(self) -> Any:
        # TLS inside a proxy's TLS is not a socket, but has one.
        return getattr(self.sock, "socket", self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = current_call()
        if call is not None and self.sock is not None:  # connected, perhaps long ago
            call.enter(self._stoppable())
            call.connected(0.0)
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError as error:  # urllib3 looks for an answer all the same
            if by_handler(error):
                raise Interrupted(error) from None
            raise

    def send(self, data: Any) -> None:
        call = current_call()
        if call is None or not isinstance(data, bytes):
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        call.send(self.sock, data)

    def close(self) -> None:
        call = current_call()
        # A response goes on reading from a socket whose connection is closed ("Connection:
        # close"): then it is the response that takes it out.
        if call is not None and not call.response_has_socket:
            call.leave()
        super().close()


class TLSConnection(Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        call = current_call()
        if call is not None:
            # The handshake moves the descriptor into a new object, which nobody gets to see before
            # it is done; until then ``abort`` has a descriptor of its own.
            try:
                self._handle = sock.dup()
                call.enter(self._handle)
                # A proxy has something to say before, or other reasons to be silent.
                call.in_handshake = self.proxy is None
                sock.settimeout(call.seconds_to_connect())  # the handshake keeps to it as a whole
            except BaseException:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        call = current_call()
        try:
            super().connect()
        except BaseException as error:
            close_half_made(error)
            if call is not None:
                call.leave()
                if is_timeout(error) and not isinstance(error, Expired):
                    if call.connecting_may_be_up():
                        call.connecting_timed_out()
                    raise Interrupted(error) from None  # nobody but the socket raises it, in time
                if by_handler(error):
                    raise Interrupted(error) from None
            raise
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


class Pool(urllib3.HTTPConnectionPool):
    """A pool of such connections, which closes what it cannot keep without a word."""

    ConnectionCls = Connection

    def _put_conn(self, conn: Any) -> None:
        # urllib3 logs a warning for each; more streams at once than kept connections are normal.
        if conn is None or self.pool is None:
            super()._put_conn(conn)
            return
        try:
            self.pool.put(conn, block=False)
        except queue.Full:
            conn.close()


class TLSPool(Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = TLSConnection


POOLS = {"http": Pool, "https": TLSPool}
