"""The network side of one call: a socket that can be stopped and timed from outside.

:class:`Exchange` is the call as the network sees it, over all its attempts: it keeps the deadlines,
and any thread may abort it. :class:`Session` is a ``requests`` session whose connections obey an
exchange. :class:`Body` is a response as a source of bytes: what has arrived, now. What the bytes
mean is left to others.

Why the sockets are ours: a ``requests`` timeout starts anew with each byte, so a server that
trickles evades it, and nothing in ``requests`` wakes a thread that waits for a handshake or for
headers. Here each wait of a connection goes through its exchange, which knows how long it may last,
and the exchange knows the socket, which ``shutdown()`` wakes within a millisecond.
"""

from __future__ import annotations

import _socket
import contextlib
import email.parser
import errno
import http.client
import http.cookiejar
import io
import itertools
import math
import os
import queue
import random
import re
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, NoReturn, Protocol

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.poolmanager
from urllib3.util import parse_url
from urllib3.util.connection import allowed_gai_family

from .causes import reason
from .decoding import Decoding, codings_of
from .errors import StreamDecodeError, StreamInterruptedError
from .locks import HandoverLock
from .origin import Interrupted, by_handler, is_timeout, of_user
from .redaction import shown
from .timeouts import Timeout

__all__ = [
    "ASK_AGAIN",
    "Aborted",
    "Body",
    "Deadline",
    "End",
    "Exchange",
    "Expired",
    "Session",
    "Tap",
    "proxy_of",
    "send",
    "settle",
]

#: Which of the four limits of :class:`~openai_stream.Timeout` was reached.
Deadline = Literal["connect", "idle", "gap", "total"]

#: How an attempt ended on the wire: the server closed the connection, it broke, the answer was
#: whole and the connection stays open, a deadline was over, or we closed it.
End = Literal["eof", "reset", "open", "timeout", "closed"]

#: What to do about an answer that was cut.
ASK_AGAIN = "To ask once more may help; restarts=1 does that by itself in a stream"

_NEVER = 10_000_000.0  # seconds that a wait may last at most; the C library takes no infinity
_BLOCK = 65536  # bytes asked for at once: what the kernel holds mostly fits
_SLACK = 0.2  # seconds by which a socket's timeout may exceed the deadline before it is set anew
_EARLY = 0.05  # seconds by which the system's clock may seem to be early
_FAREWELL = 0.02  # seconds given to the end of a body after its last event
_NEXT_ADDRESS = 0.25  # seconds that an address gets before the next one is tried beside it
_HEAD = 1024 * 1024  # bytes of a response's headers at most
_HEAD_LINES = 100  # of which http.client takes so many lines
_KEEP_ALIVE = 45  # seconds of silence before the kernel asks whether the other side is there
_POOL = 10  # hosts, and idle connections kept to each; more may be open at once

_HEX = b"0123456789abcdefABCDEF"
#: The status line of a response before the one that counts; 101 ends what is HTTP.
_INTERIM = re.compile(rb"HTTP/\S*\s+1(?!01)\d\d(?!\d)")

_now = time.monotonic


class Aborted(BaseException):
    """The exchange was aborted. For the thread that worked in it only; never seen by a user.

    Not an :class:`Exception`: nothing between a socket and the reader takes it for its own.
    """


class Expired(TimeoutError):
    """A deadline of the exchange is over; :attr:`Exchange.expired` says which one."""


class Tap(Protocol):
    """What looks at an attempt's bytes; called on the working thread. It must not raise."""

    def sent(self) -> None:
        """The request has been sent."""

    def received(self, data: bytes) -> None:
        """Bytes of the response, as they came over the wire, after TLS."""

    def ended(self, how: End) -> None:
        """It is over. What is told first is what counts."""


class Exchange:
    """One call on the network, over all its attempts: its deadlines and its stop.

    One thread works in it: the caller's while it connects, then perhaps the reader's. Any thread
    may :meth:`abort` it, with :attr:`lock` held.

    The lock guards ``aborted`` and ``_shut``, the way to shut the socket. It is entered under the
    lock before anyone waits on the socket, and taken out under it before the socket is closed or
    goes back to the pool: so ``abort`` never shuts one that already serves someone else.

    :param timeout: the limits.
    :param streaming: whether events will come; without them ``gap`` bounds the wait for the
        headers, and ``idle`` counts only before and after it.
    :param lock: the lock to use, where the owner has one.
    """

    __slots__ = (
        "_armed",
        "_connect_until",
        "_connecting",
        "_pid",
        "_shut",
        "_streaming",
        "_total_until",
        "_until",
        "_wake",
        "_why",
        "_wired",
        "aborted",
        "attempts",
        "before_wait",
        "bytes",
        "connect_seconds",
        "expired",
        "in_body",
        "in_handshake",
        "last_byte",
        "lock",
        "response",
        "started",
        "tap",
        "timeout",
        "waited",
    )

    def __init__(
        self, timeout: Timeout, *, streaming: bool, lock: HandoverLock | None = None
    ) -> None:
        self.lock = lock or HandoverLock()
        self._wake = threading.Condition(self.lock)  # type: ignore[arg-type]
        self.timeout = timeout
        self._streaming = streaming
        self._pid = os.getpid()
        self._shut: Callable[[], object] | None = None
        self._wired = False  # a response reads from the socket, and will be the one to close it
        self._armed = -1.0  # the timeout that the socket has now
        self._why: Deadline | None = None  # the limit that the wait has, of those that it could
        self._connecting = False  # a connection of ours is being made
        self._connect_until = math.inf
        self._until = math.inf
        #: Set by :meth:`abort`.
        self.aborted = False
        #: The deadline that ended this exchange.
        self.expired: Deadline | None = None
        #: Called on the working thread before each wait for bytes of a body.
        self.before_wait: Callable[[], None] | None = None
        #: A body is being read, so ``idle`` counts without ``streaming`` too.
        self.in_body = False
        #: A server of ours has taken the connection, and its answer to TLS is waited for.
        self.in_handshake = False
        #: Seconds waited for the network since the last event, or the connection.
        self.waited = 0.0
        #: Looks at the bytes of the attempt, if anybody does.
        self.tap: Tap | None = None
        #: Attempts begun.
        self.attempts = 0
        #: The newest response that reads from a socket of ours.
        self.response: _Response | None = None
        #: Bytes received, as they came over the wire, headers included; the time of the last ones.
        self.bytes = 0
        self.last_byte = 0.0
        #: Seconds that the first attempt took for TCP, proxy and TLS; 0 on a kept connection.
        self.connect_seconds: float | None = None
        self.started = _now()
        self._total_until = self.started + (timeout.total or math.inf)

    # -- any thread ---------------------------------------------------------------------------

    def abort(self) -> None:
        """Wake whoever works in the exchange, for good. Call it with the lock held; never waits.

        Both directions of the socket are shut: the peer learns of it now, not when the thread
        that was waiting gets around to closing.
        """
        self.aborted = True
        self._wake.notify_all()
        # In a forked child this is the parent's socket as well: shutting it would end the parent's.
        if self._shut is not None and self._pid == os.getpid():
            # Not connected yet or no longer, or a response that knows no shutdown.
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._shut()

    # -- the working thread: between attempts -------------------------------------------------

    def begin(self) -> None:
        """Start an attempt.

        :raises Aborted: the exchange is over.
        :raises Expired: ``total`` is up.
        """
        self.check()
        self.attempts += 1
        self.waited = 0.0
        self.in_body = self._wired = False
        self._connecting = False
        self._until = self._connect_until = math.inf

    def check(self) -> None:
        """Raise where nothing more is to be done.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` is up.
        """
        if self.aborted:
            raise Aborted
        if self.total_left() <= 0:
            self._expire("total")

    def sleep(self, seconds: float) -> None:
        """Wait between attempts; :meth:`abort` wakes it.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` was up, or is up before the time has passed.
        """
        until = _now() + min(seconds, self.total_left())
        with self.lock:
            while not self.aborted and (left := until - _now()) > 0:
                self._wake.wait(left)
        self.check()

    def back_off(self, retries: int) -> None:
        """Wait before the next attempt: exponentially longer, up to 8 s, with jitter, so that many
        clients do not come back together.

        :param retries: how often there was a wait already.
        :raises: as :meth:`sleep`.
        """
        self.sleep(min(8.0, 0.5 * 2**retries) * random.uniform(0.75, 1))  # noqa: S311

    def end_tap(self, how: End | None = None) -> None:
        """The attempt is over for who looks at its bytes.

        :param how: otherwise we closed the connection, because time was up or for another reason.
        """
        if self.tap is not None:
            self.tap.ended(how or ("timeout" if self.expired else "closed"))
            self.tap = None

    def limit(self, seconds: float) -> None:
        """Allow what is left of this attempt no more than ``seconds``."""
        self._until = _now() + seconds

    def total_left(self) -> float:
        """Seconds until ``total`` is up."""
        return min(self._total_until - _now(), _NEVER)

    def total_is_up(self) -> bool:
        """Between two events: whether ``total`` is up. Then :attr:`expired` says so from now on,
        and nothing more is waited for.
        """
        if self.total_left() > 0:
            return False
        self.expired = "total"
        return True

    # -- the working thread: sockets ----------------------------------------------------------

    def enter(self, sock: socket.socket | None) -> None:
        """Make ``sock`` the one that :meth:`abort` shuts, in both directions.

        :raises Aborted: too late: the exchange is over.
        """
        self.enter_shut(None if sock is None else partial(_shut, sock))

    def enter_shut(self, shut: Callable[[], object] | None) -> None:
        """The same, for what is no socket of ours: ``shut`` is what :meth:`abort` calls."""
        with self.lock:
            if self.aborted:
                raise Aborted
            self._shut = shut
        self._armed = -1.0

    def leave(self) -> bool:
        """Take the socket out, before it is closed or kept for others.

        :returns: whether it is whole, that is, was not shut by :meth:`abort`.
        """
        with self.lock:
            self._shut = None
            return not self.aborted

    def wire(self) -> bool:
        """A response begins to read from the socket.

        :returns: whether the socket is the response's to close; a proxy's answer, which is read
            while connecting, leaves it to the connection.
        """
        self._armed = -1.0  # urllib3 has set a timeout of its own
        if not self._connecting:
            self._wired = True
        return self._wired

    @property
    def wired(self) -> bool:
        """A response reads from a socket of ours, so every wait passes here."""
        return self._wired

    def connecting(self) -> None:
        """A connection of ours is about to be made: ``connect`` counts until :meth:`connected`.

        Connections that are not ours (of a session that was given, through SOCKS) never come here:
        they are made within the time that :meth:`given_limits` states, and only they know when
        they stand.
        """
        self._connecting = True
        self.in_handshake = False
        self._connect_until = _now() + (self.timeout.connect or math.inf)

    def connect_left(self) -> float:
        """Seconds that connecting may still take.

        :raises Aborted: it was aborted.
        :raises Expired: they are over.
        """
        self.check()
        left = self._connect_until - _now()
        if left <= 0:
            self._expire("connect")
        return min(left, self.total_left())

    def connecting_timed_out(self) -> NoReturn:
        """A wait of :meth:`connect_left` seconds timed out: raise accordingly."""
        self.check()
        self._expire("connect")

    def connected(self, seconds: float) -> None:
        """The connection stands, after ``seconds``; from here ``idle`` and ``gap`` count."""
        if self.connect_seconds is None:
            self.connect_seconds = seconds
        self._connecting = False
        self._connect_until = math.inf

    def arm(self, sock: Any, *, sending: bool = False) -> None:
        """Set the timeout for the wait that is about to begin on ``sock``.

        :raises Aborted: it was aborted.
        :raises Expired: there is no time left.
        """
        if self.aborted:
            raise Aborted
        left, self._why = self._left(sending)
        if left <= 0:
            self.timed_out()
        # Setting it costs a system call: most waits have the same limit, ``idle``, as the last one.
        if not left <= self._armed <= left + _SLACK:
            sock.settimeout(left)
            self._armed = left

    def _left(self, sending: bool = False) -> tuple[float, Deadline]:
        """How long the next wait may be, and by which of the limits."""
        limits = self.timeout
        now = _now()
        left: float = _NEVER
        why: Deadline = "idle"
        if (
            limits.idle is not None
            and limits.idle < left
            and (self._streaming or self.in_body or sending)
        ):
            left = limits.idle
        if limits.gap is not None and (self._streaming or not (self.in_body or sending)):
            gap = limits.gap - self.waited
            if gap < left:
                left, why = gap, "gap"
        until = self._until - now
        if until < left:
            left, why = until, "idle"
        connect = self._connect_until - now  # a proxy's answer is read before we are connected
        if connect < left:
            left, why = connect, "connect"
        total = self._total_until - now
        if total < left:
            left, why = total, "total"
        return left, why

    def given_limits(self) -> tuple[float, float]:
        """Seconds to connect and to wait for the headers, for connections that are not ours.

        ``requests`` takes these two numbers and no others. The first counts for each address of
        the name, each step of a proxy and each piece of the body that is sent; the second anew
        with each byte of the headers. Once these are there, each wait is :meth:`arm`'s again.
        """
        limits = self.timeout
        total = self.total_left()
        connect = min(limits.connect or _NEVER, total)
        waits = (limits.idle if self._streaming else None, limits.gap, total)
        wait = min(seconds for seconds in waits if seconds is not None)
        return max(connect, 0.001), max(wait, 0.001)

    def given_timed_out(self, connecting: bool) -> None:
        """Such a connection took longer than :meth:`given_limits`: note which deadline is why."""
        if self.total_left() <= 0:
            self.expired = "total"
        elif connecting:
            self.expired = "connect"
        else:
            self.expired = self._left()[1]

    def timed_out(self) -> NoReturn:
        """A wait on the network timed out: raise for the deadline that was nearest as it began."""
        if self.aborted:
            raise Aborted
        self._expire(self._why or self._left()[1])

    def failed(self, error: OSError, since: float) -> NoReturn:
        """A wait on a socket raised: tell our own deadline from the network, and from the user.

        :param since: when it began.
        :raises Interrupted: a signal's handler raised it.
        :raises OSError: ``error`` itself, if it is not our time that has passed.
        """
        if by_handler(error):
            raise Interrupted(error)
        if is_timeout(error) and _now() - since > self._armed - _EARLY:
            self.timed_out()
        # The system's have a number. ``gevent.Timeout(1, TimeoutError)`` and its like raise what
        # the user likes, wherever a greenlet waits.
        if error.errno is None and not (
            isinstance(error, ssl.SSLError) or "timed out" in str(error)
        ):
            raise Interrupted(error)
        raise error

    def _expire(self, deadline: Deadline) -> NoReturn:
        self.expired = deadline
        raise Expired(f"the {deadline} time is up")

    def send(self, sock: socket.socket, data: bytes) -> None:
        """``sendall``, but ``idle`` starts anew whenever something could be sent.

        :raises Aborted: it was aborted.
        :raises Expired: a deadline is over.
        """
        view = memoryview(data)
        while view:
            self.arm(sock, sending=True)
            start = _now()
            try:
                sent = sock.send(view[:_BLOCK])
            except OSError as error:
                self.failed(error, start)
            if self._streaming:  # without events ``gap`` is for the wait for the headers alone
                self.waited += _now() - start
            view = view[sent:]


# The exchange whose request is being sent here, and the thread: ``requests`` has no other way to
# hand it down to the connection that its pool picks. Not a ``threading.local``, which would be that
# of all greenlets together if it was made before gevent patched the module.
_current: ContextVar[tuple[int, Exchange] | None] = ContextVar("exchange", default=None)


def _current_exchange() -> Exchange | None:
    current = _current.get()
    # A thread may begin with its maker's context, but takes no part in what that sends.
    if current is None or current[0] != threading.get_ident():
        return None
    return current[1]


def _shut(sock: Any) -> None:
    """``shutdown`` of the descriptor, whatever the socket is.

    A TLS socket's own drops the TLS object on the way, and the reader, once awake, would take
    ciphertext for text. gevent's and eventlet's sockets are of classes of their own, which may have
    come after this module.
    """
    if isinstance(sock, _socket.socket):
        _socket.socket.shutdown(sock, socket.SHUT_RDWR)
        return
    plain = _socket.socket(fileno=sock.fileno())
    try:
        plain.shutdown(socket.SHUT_RDWR)
    finally:
        plain.detach()


class _Wire(io.RawIOBase):
    """The socket's receiving side under ``http.client``'s buffer: every wait passes here.

    It replaces the ``socket.SocketIO`` that ``makefile`` makes, and closes it in its turn.
    """

    def __init__(self, raw: Any, sock: Any, exchange: Exchange) -> None:
        self._raw = raw
        self._sock = sock
        self._recv_into = sock.recv_into
        self._exchange = exchange
        self._owner = exchange.wire()
        self._last = 0.0  # when the last bytes came

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        exchange = self._exchange
        if exchange.before_wait is not None:
            exchange.before_wait()
        elif self._last:
            # What came was no event either: a flood of it shall not outrun the gap.
            exchange.waited += _now() - self._last
        exchange.arm(self._sock)
        start = _now()
        try:
            count: int = self._recv_into(buffer)
        except OSError as error:
            exchange.waited += _now() - start
            exchange.failed(error, start)
        end = exchange.last_byte = self._last = _now()
        exchange.waited += end - start
        if exchange.aborted:
            raise Aborted
        if not count and not exchange.in_body:  # http.client would take it for the headers' end
            raise http.client.RemoteDisconnected("the server closed the connection in the headers")
        exchange.bytes += count
        return count

    def close(self) -> None:
        if not self.closed:
            if self._owner:
                self._exchange.leave()
            self._raw.close()
        super().close()


class _TappedWire(_Wire):
    """The same, and shows what comes to the exchange's tap."""

    def __init__(self, raw: Any, sock: Any, exchange: Exchange) -> None:
        super().__init__(raw, sock, exchange)
        self._tap = exchange.tap if self._owner else None  # a proxy's answer is not the server's
        if self._tap is not None:
            self._tap.sent()

    def readinto(self, buffer: Any) -> int:
        tap = self._tap
        if tap is None:
            return super().readinto(buffer)
        try:
            count = super().readinto(buffer)
        except http.client.RemoteDisconnected:
            tap.ended("eof")
            raise
        except Expired:  # whoever gives up tells why
            raise
        except OSError:
            if not self._exchange.aborted:  # a socket that was shut may also say so
                tap.ended("reset")
            raise
        if count:
            tap.received(bytes(buffer[:count]))
        else:
            tap.ended("eof")
        return count


class _Response(http.client.HTTPResponse):
    """A response that reads through a :class:`_Wire`, and chunked bodies by the buffer.

    ``http.client`` reads one chunk a call, which with a chunk an event, as servers send them, is
    3 µs an event. Here all chunks that have arrived are taken apart in one go (0.5 µs). It is also
    stricter: ``int(size, 16)`` would take "-5" and "1_0" (RFC 9112, section 7.1, does not).
    """

    _wired = False
    _left = 0  # bytes of the open chunk that are still to come
    _closing = False  # the line end behind a chunk is still to come
    _trailing = False  # the last chunk has come; its trailers are still to come
    _ended = False  # they have

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        exchange = _current_exchange()
        if exchange is not None:
            kind = _Wire if exchange.tap is None else _TappedWire
            wire = kind(self.fp.detach(), sock, exchange)
            self.fp = io.BufferedReader(wire, _BLOCK)
            self._wired = True
            exchange.response = self

    def begin(self) -> None:
        if not self._wired:
            super().begin()
        else:
            fp: Any = self.fp
            lines: Any = _Head(fp)
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
        if not (self._wired and self.chunked) or self.fp is None:
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
                self._next_line(self.fp.readline(_BLOCK))
            if data:
                return data
        return b""

    def _unchunk(self, arrived: bytes) -> tuple[bytes, int]:
        """The data of the chunks in ``arrived``, and how many bytes of it are used up."""
        parts: list[bytes] = []
        position, size = 0, len(arrived)
        quickly = True
        while position < size and not self._ended:
            if self._left:
                part = arrived[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                self._closing = not self._left
                continue
            if quickly and not (self._closing or self._trailing):
                position = _whole_chunks(arrived, position, parts)
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
                if len(line) < _BLOCK
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
            if not digits or digits.strip(_HEX):
                raise http.client.HTTPException("a chunk without a size")
            self._left = int(digits, 16)
            self._trailing = not self._left


class _Head:
    """The lines of a response's head, of which ``http.client`` takes no more than a hundred.

    Gateways send more, and the answer is paid for all the same. What ``http.client`` itself goes by
    comes first, and what exceeds its number is kept for later. The limit here is in bytes.

    RFC 9110, section 15.2: a client must read past any 1xx. ``http.client`` knows 100 alone, and
    from Python 3.14 on no more than a hundred of them; here the deadlines bound their number.
    """

    _FRAMING = (b"transfer-encoding", b"content-length", b"connection", b"keep-alive")

    def __init__(self, fp: io.BufferedReader) -> None:
        self._fp = fp
        self._lines: list[bytes] = []  # read and not yet asked for, the next one last
        self._others: list[bytes] = []
        self._in_head = False
        self.close = fp.close

    def readline(self, limit: int = -1) -> bytes:
        if self._lines:
            return self._lines.pop()
        self._in_head = not self._in_head
        if self._in_head:  # the status line is judged before any other is waited for
            line = self._fp.readline(limit)
            while _INTERIM.match(line):
                self._rest(limit)
                line = self._fp.readline(limit)
            return line
        lines = self._rest(limit)
        if len(lines) > _HEAD_LINES:
            lines = self._shortened(lines)
        self._lines = lines[::-1]
        return self._lines.pop()

    def _rest(self, limit: int) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        while not lines or lines[-1] not in (b"\r\n", b"\n", b""):
            line = self._fp.readline(limit)
            size += len(line)
            if size > _HEAD:
                raise http.client.HTTPException(f"the headers are longer than {_HEAD} bytes")
            lines.append(line)
        return lines

    def _shortened(self, lines: list[bytes]) -> list[bytes]:
        *lines, end = lines
        fields: list[list[bytes]] = []
        for line in lines:
            if fields and line[:1] in (b" ", b"\t"):  # it goes on
                fields[-1].append(line)
            else:
                fields.append([line])
        first: list[bytes] = []
        others: list[bytes] = []
        for field in fields:
            name = field[0].partition(b":")[0].strip().lower()
            (first if name in self._FRAMING else others).extend(field)
        self._others = others
        return [*first, end]

    def others(self) -> list[tuple[str, str]]:
        """The header fields of the last head that were kept back."""
        text = b"".join(self._others).decode("iso-8859-1")
        return email.parser.HeaderParser().parsestr(text).items()


def _whole_chunks(arrived: bytes, position: int, parts: list[bytes]) -> int:
    """Take apart the plain chunks that follow in ``arrived``, those that are there to their end.

    Between line ends, sizes and data take turns. Nothing here runs once a chunk, which is once an
    event where a server sends one in each. Where something is not plain (an extension, data with
    such line ends in it) or not valid, and from the last chunk on, each line is taken for itself.

    :param position: where the first one's size would be.
    :param parts: gets their data.
    :returns: the position behind the last of them.
    """
    lines = arrived[position:].split(b"\r\n")
    if len(lines) == 3 and lines[0] and lines[1] and not lines[2] and not lines[0].strip(_HEX):
        # One alone, as it comes from a server that takes its time. The processor has forgotten the
        # steps below by then: 20 µs.
        if int(lines[0], 16) != len(lines[1]):
            return position
        parts.append(lines[1])
        return len(arrived)
    whole = (len(lines) - 1) // 2 * 2  # what follows has not come to its end
    digits, data = lines[:whole:2], lines[1:whole:2]
    lengths = list(map(len, data))
    if 0 in lengths:  # the last chunk, perhaps
        del lengths[lengths.index(0) :]
        digits, data = digits[: len(lengths)], data[: len(lengths)]
    joined = b"".join(digits)
    if not joined or joined.strip(_HEX):  # int() would take "-5", "1_0" and "0x5" too
        return position
    try:
        if list(map(int, digits, itertools.repeat(16))) != lengths:
            return position
    except ValueError:
        return position
    parts += data
    return position + len(joined) + sum(lengths) + 4 * len(lengths)


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that lets the current exchange time and stop it."""

    response_class = _Response

    def _new_conn(self) -> socket.socket:
        exchange = _current_exchange()
        if exchange is None:
            return super()._new_conn()
        try:
            return _connect(
                exchange, self._dns_host, self.port, self.socket_options, self.source_address
            )
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except Expired as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error

    def connect(self) -> None:
        exchange = _current_exchange()
        start = _now()
        if exchange is not None:
            exchange.connecting()
        super().connect()
        if exchange is not None:
            exchange.enter(self._stoppable())
            exchange.connected(_now() - start)

    def _stoppable(self) -> Any:
        # TLS inside a proxy's TLS is not a socket, but has one.
        return getattr(self.sock, "socket", self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = _current_exchange()
        if exchange is not None and self.sock is not None:  # connected, perhaps long ago
            exchange.enter(self._stoppable())
            exchange.connected(0.0)
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError as error:  # urllib3 looks for an answer all the same
            if by_handler(error):
                raise Interrupted(error) from None
            raise

    def send(self, data: Any) -> None:
        exchange = _current_exchange()
        if exchange is None or not isinstance(data, bytes):
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        exchange.send(self.sock, data)

    def close(self) -> None:
        exchange = _current_exchange()
        # A response goes on reading from a socket whose connection is closed ("Connection:
        # close"): then it is the response that takes it out.
        if exchange is not None and not exchange.wired:
            exchange.leave()
        super().close()


class _TLSConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        exchange = _current_exchange()
        if exchange is not None:
            # The handshake moves the descriptor into a new object, which nobody gets to see before
            # it is done; until then ``abort`` has a descriptor of its own.
            try:
                self._handle = sock.dup()
                exchange.enter(self._handle)
                # A proxy has something to say before, or other reasons to be silent.
                exchange.in_handshake = self.proxy is None
                sock.settimeout(exchange.connect_left())  # the handshake keeps to it as a whole
            except BaseException:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        exchange = _current_exchange()
        try:
            super().connect()
        except BaseException as error:
            if exchange is not None:
                exchange.leave()
                if by_handler(error):
                    raise Interrupted(error) from None
                if is_timeout(error):
                    exchange.connecting_timed_out()
            raise
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


def _connect(
    exchange: Exchange,
    host: str,
    port: int,
    options: Any,
    source_address: tuple[str, int] | None,
) -> socket.socket:
    """``socket.create_connection``, with one limit for all addresses, and stoppable.

    While an address does not answer, the next one is tried beside it; the first that answers is
    taken (RFC 8305, section 5). So neither a route that swallows everything nor one that is slow
    costs more than a moment.

    :raises OSError: no address took the connection; of several errors, the last.
    """
    waiting = _by_turns(
        socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
    )
    failure = OSError("the name has no address")
    # Sockets are only added: ``abort`` may be looking at them. They are closed after it cannot.
    racing: list[socket.socket] = []
    pending = 0
    chosen: socket.socket | None = None
    exchange.enter_shut(partial(_shut_all, racing))
    try:
        # Looked up here: gevent and eventlet put theirs in the place of it.
        with selectors.DefaultSelector() as selector:
            while chosen is None and (waiting or pending):
                if waiting:
                    try:
                        started = _start(waiting.pop(0), racing, options, source_address)
                    except OSError as error:
                        if by_handler(error):
                            raise Interrupted(error) from None
                        failure = error
                        continue
                    selector.register(started, selectors.EVENT_WRITE)
                    pending += 1
                # A stop that came before the socket had begun to connect has not woken it.
                left = exchange.connect_left()
                turn = min(_NEXT_ADDRESS, left / (1 + len(waiting)))
                for key, _ in selector.select(turn):
                    sock: Any = key.fileobj
                    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        chosen = sock
                        break
                    failure = OSError(number, os.strerror(number))
                    selector.unregister(sock)
                    pending -= 1
        if chosen is None:
            exchange.check()
            raise failure
        exchange.enter(chosen)
        racing.remove(chosen)
        chosen.settimeout(exchange.connect_left())
        return chosen
    except BaseException:
        exchange.leave()
        if chosen is not None:
            chosen.close()
        raise
    finally:
        for sock in racing:
            sock.close()


def _by_turns(found: list[Any]) -> list[Any]:
    """The addresses, those of the two families by turns (RFC 8305, section 4)."""
    first = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    turns = itertools.zip_longest(first, others)
    return [address for turn in turns for address in turn if address is not None]


def _start(
    address: Any, racing: list[socket.socket], options: Any, source: tuple[str, int] | None
) -> socket.socket:
    """Begin to connect a socket, which is added to ``racing``.

    :raises OSError: the address cannot be reached.
    """
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    racing.append(sock)
    for option in options or ():
        sock.setsockopt(*option)
    if source:
        sock.bind(source)
    sock.setblocking(False)
    number = sock.connect_ex(target)
    if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
        raise OSError(number, os.strerror(number))
    return sock


def _shut_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        with contextlib.suppress(OSError, ValueError):  # one that has failed already
            _shut(sock)


class _Pool(urllib3.HTTPConnectionPool):
    """A pool of such connections, which closes what it cannot keep without a word."""

    ConnectionCls = _Connection

    def _put_conn(self, conn: Any) -> None:
        # urllib3 logs a warning for each; more streams at once than kept connections are normal.
        if conn is None or self.pool is None:
            super()._put_conn(conn)
            return
        try:
            self.pool.put(conn, block=False)
        except queue.Full:
            conn.close()


class _TLSPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _Pool, "https": _TLSPool}


def _socket_options() -> list[tuple[int, int, int]]:
    """What is set on each socket of ours.

    A model may think for minutes without a byte on the wire, and address translators and firewalls
    forget a connection that is silent: AWS after 350 s, Azure after 240 s, many routers after 60 s.
    """
    options = [*urllib3.connection.HTTPConnection.default_socket_options]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in (
        ("TCP_KEEPIDLE", _KEEP_ALIVE),
        ("TCP_KEEPALIVE", _KEEP_ALIVE),  # the same on macOS
        ("TCP_KEEPINTVL", _KEEP_ALIVE),
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter whose connections are ours, through a proxy too (but not through SOCKS)."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=_socket_options(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, socket_options=_socket_options(), **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # It goes by the URL: an HTTPS proxy before a plain server may have any certificate then.
        tls = conn.scheme == "https"
        super().cert_verify(conn, "https:" if tls else url, verify, cert)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        # ``clear`` leaves connections open for as long as a response holds on to their pool.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it does not iterate by itself
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


class Session(requests.Session):
    """A ``requests`` session whose connections obey the exchange that they are used in.

    It takes no cookies: one client serves many users, and what a server gave for one of them must
    not go along with the next one's call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(max_retries=0, pool_maxsize=_POOL)
        self.mount("https://", adapter)
        self.mount("http://", adapter)


def proxy_of(session: requests.Session, url: str) -> str | None:
    """The URL of the proxy that the session uses for ``url``; a password may be in it."""
    settings = session.merge_environment_settings(url, {}, True, None, None)
    proxy: str | None = requests.utils.select_proxy(url, settings["proxies"])
    return proxy


def send(
    session: requests.Session,
    made: requests.Request,
    prepared: requests.PreparedRequest,
    exchange: Exchange,
) -> requests.Response:
    """Send an attempt's request and return when the headers are there.

    :param session: a :class:`Session`; another one is timed and stopped as far as it allows.
    :param made: the request.
    :param prepared: the same, prepared by the session.
    :raises Aborted: it was stopped.
    :raises requests.RequestException: whatever ``requests`` raises; where a deadline is why,
        :attr:`Exchange.expired` says so. Others leak through ``requests`` too: ``urllib3``'s,
        ``http.client``'s, ``OSError`` and ``ValueError``; and whatever a given session raises.
    """
    proxy = proxy_of(session, made.url)
    if proxy and not parse_url(proxy).host:  # requests would trip over it with a TypeError
        if "://" in proxy:
            why = f"the proxy's URL {shown(proxy)!r} has no host"
        else:
            why = f"the proxy's URL has no scheme: write {shown(f'http://{proxy}')}"
        raise requests.exceptions.InvalidProxyURL(why)
    connect, wait = exchange.given_limits()
    seen = _Seen()
    outer = _current.set((threading.get_ident(), exchange))
    start = _now()
    try:
        # What is not ours goes by these two numbers; each wait of ours is set by the exchange.
        response = _send(session, made, prepared, seen, timeout=(connect, wait))
    except requests.Timeout as error:
        seen.close()
        took = _now() - start
        # A handshake that takes too long is a "read timeout" to requests.
        connecting = isinstance(error, requests.ConnectTimeout) or took < wait
        # One that comes before its time is another's: a mock's, say.
        if exchange.expired is None and took >= (connect if connecting else wait):
            exchange.given_timed_out(connecting)
        raise
    except requests.HTTPError:
        # A hook of the session's raises for each bad status: what the server said is not lost.
        if seen.response is None or seen.response.status_code < 400:
            seen.close()
            raise
        response = seen.response
    except requests.exceptions.RetryError as error:
        seen.close()
        if (status := _TOO_MANY.search(str(error))) is None:
            raise
        response = _bare_response(int(status[1]), prepared)
    except BaseException:
        seen.close()
        raise
    finally:
        _current.reset(outer)
    if response is not seen.response:  # a hook has put another in its place
        seen.close()
    seen.show_target(response)
    return response


#: A ``Retry`` of urllib3's that a session's adapter has was used up: it drops the answers.
_TOO_MANY = re.compile(r"too many (\d{3}) error responses")


def _bare_response(status: int, prepared: requests.PreparedRequest) -> requests.Response:
    """A response of which nothing but its status is left."""
    response = requests.Response()
    response.status_code = status
    response.reason = http.client.responses.get(status, "")
    response.request = prepared
    response.url = prepared.url or ""
    settle(response, b"")
    return response


def _send(
    session: requests.Session,
    made: requests.Request,
    prepared: requests.PreparedRequest,
    seen: _Seen,
    timeout: tuple[float, float],
) -> requests.Response:
    how: dict[str, Any] = {"allow_redirects": False, "timeout": timeout}
    if getattr(session.request, "__func__", None) is requests.Session.request:
        prepared.hooks["response"] = seen.around(prepared.hooks["response"])
        settings = session.merge_environment_settings(made.url, {}, True, None, None)
        return session.send(prepared, **how, **settings)
    # It puts something of its own into each request there: a token (google-auth, OAuth 2), a time.
    return session.request(
        "POST",
        made.url,
        headers=made.headers.copy(),  # which it may add to
        data=made.data,
        auth=made.auth,
        hooks={"response": seen.around(session.hooks.get("response", []))},
        stream=True,
        **how,
    )


class _Seen:
    """What the hooks around those of a session's user see: a response before them and behind them.

    Before: a hook that raises would leave a response open that nobody else has. Behind: a redirect
    is kept from ``requests``, which would read its body to the end, although it is not to follow
    it; and so for ever, if that has none.
    """

    response: requests.Response | None = None
    _target: str | None = None

    def around(self, hooks: Any) -> list[Any]:
        return [self._keep, *([hooks] if callable(hooks) else hooks), self._hide_target]

    def _keep(self, response: requests.Response, **_: Any) -> None:
        self.close()  # a session may ask again with a new token, and forget the first answer
        self.response = response

    def _hide_target(self, response: requests.Response, **_: Any) -> None:
        if 300 <= response.status_code < 400:
            self._target = response.headers.pop("location", None)

    def show_target(self, response: requests.Response) -> None:
        if self._target is not None:
            response.headers["location"] = self._target

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None


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

    For the working thread of the exchange only. It decides when the connection goes back to the
    pool: ``urllib3`` would give it away inside the last read, before anyone else knows.
    """

    def __init__(self, response: requests.Response, exchange: Exchange) -> None:
        raw = response.raw
        self._response = response
        self._raw = raw
        self._exchange = exchange
        self._release: Callable[[], object] = getattr(raw, "release_conn", _nothing)
        if raw is not None:
            raw.release_conn = _nothing  # type: ignore[method-assign]
        self._wired = exchange.wired
        if not self._wired:
            exchange.enter_shut(getattr(raw, "shutdown", None))
        exchange.in_body = True
        # What a recorder such as VCR gives has nothing of urllib3's response but its bytes.
        self._others: Iterator[bytes] | None = None
        if (content := _read_already(response)) is not None:
            settle(response, content)
            self._others = iter([content] if content else [])
        if isinstance(raw, urllib3.BaseHTTPResponse):
            self._framed = raw.chunked or getattr(raw, "length_remaining", None) is not None
        else:
            if self._others is None:
                self._others = response.iter_content(_BLOCK)
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
        straight, exchange.response = exchange.response, None  # which leads back to the exchange
        plain = self._wired and straight is not None and straight.chunked
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
                compressed = self._raw.read1(_BLOCK, decode_content=False)
                if not compressed:
                    return b""
                decoding.feed(compressed)
            return block
        # The end too is urllib3's: it closes the response.
        return self._raw.read1(_BLOCK, decode_content=True) or b""

    def _read_foreign(self) -> bytes:
        # A session that was given: what a wire does, around the whole read.
        exchange = self._exchange
        if exchange.before_wait is not None:
            exchange.before_wait()
        # A body that only the connection's end ends has no socket to be found: then each wait is as
        # long as the one for the headers could be, and the limits are looked at between two.
        exchange.arm(self._foreign_socket() or _Untimed)
        start = _now()
        try:
            block = self._read_wire()
        except (TimeoutError, urllib3.exceptions.TimeoutError) as error:
            exchange.waited += _now() - start
            if of_user(error) is None:
                exchange.timed_out()
            raise
        end = exchange.last_byte = _now()
        exchange.waited += end - start
        exchange.bytes += len(block)
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
        exchange = self._exchange
        users: BaseException | None = None
        try:
            block = self._read_wire() if self._wired else self._read_foreign()
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
            if exchange.aborted:
                raise Aborted from None
            users = of_user(error)
            if users is None:
                if exchange.expired:
                    raise Expired from None
                raise StreamInterruptedError(
                    "the connection broke before the answer was complete: "
                    f"{reason(error)}. {ASK_AGAIN}"
                ) from error
        except Interrupted as interrupted:
            users = interrupted.error
        if users is not None:
            raise users
        if exchange.aborted:  # a shut socket looks like an orderly end
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
        exchange = self._exchange
        exchange.before_wait = None
        exchange.limit(_FAREWELL)
        whole = False
        try:
            # Without a socket of ours to time it, a look could take for ever.
            if (
                self._wired
                or self._others is not None
                or self._foreign_socket() is not None
                or self._raw.closed
            ):
                whole = any(not self.read() for _ in range(16))
        except (Aborted, Expired, StreamDecodeError, StreamInterruptedError):
            exchange.expired = None
        if whole and exchange.leave():
            exchange.end_tap("open")
            self._release()
        else:
            self.close()

    def close(self) -> None:
        """Close the connection. Twice is harmless."""
        self._exchange.before_wait = None
        self._exchange.end_tap()
        self._exchange.leave()
        try:
            self._response.close()
            self._release()  # a closed connection leaves its place in the pool
        except (OSError, urllib3.exceptions.HTTPError):
            pass  # the other side is gone already


def _nothing() -> None:
    """In the place of ``release_conn``."""
