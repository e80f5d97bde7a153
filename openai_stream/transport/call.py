"""One call on the network, over all its attempts."""

from __future__ import annotations

import contextlib
import math
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NoReturn, Protocol

from openai_stream.locks import HandoverLock
from openai_stream.timeouts import Timeout

from .deadlines import NEVER, Aborted, Deadline, Expired
from .origin import Interrupted, by_handler, is_timeout
from .sockets import BLOCK, shut
from .tap import End, Tap

__all__ = ["NetworkCall", "Readable"]

_SLACK = 0.2  # seconds by which a socket's timeout may exceed the deadline before it is set anew
_EARLY = 0.05  # seconds by which the system's clock may seem to be early


class Readable(Protocol):
    """A response that reads from a socket of ours, as far as a body needs it."""

    chunked: bool

    def read1(self, n: int = -1) -> bytes:
        """What has arrived; waits for the first byte."""


class NetworkCall:
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
        "_response_has_socket",
        "_shut",
        "_streaming",
        "_total_until",
        "_until",
        "_wake",
        "_why",
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
        self._response_has_socket = (
            False  # a response reads from the socket, and will be the one to close it
        )
        self._armed = -1.0  # the timeout that the socket has now
        self._why: Deadline | None = None  # the limit that the wait has, of those that it could
        self._connecting = False  # a connection of ours is being made
        self._connect_until = math.inf
        self._until = math.inf
        #: Set by :meth:`abort`.
        self.aborted = False
        #: The deadline that ended this call.
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
        self.response: Readable | None = None
        #: Bytes received, as they came over the wire, headers included; the time of the last ones.
        self.bytes = 0
        self.last_byte = 0.0
        #: Seconds that the first attempt took for TCP, proxy and TLS; 0 on a kept connection.
        self.connect_seconds: float | None = None
        self.started = monotonic()
        self._total_until = self.started + (timeout.total or math.inf)

    # -- any thread ---------------------------------------------------------------------------

    def abort(self) -> None:
        """Wake whoever works in the call, for good. Call it with the lock held; never waits.

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

        :raises Aborted: the call is over.
        :raises Expired: ``total`` is up.
        """
        self.check()
        self.attempts += 1
        self.waited = 0.0
        self.in_body = self._response_has_socket = False
        self._connecting = False
        self._until = self._connect_until = math.inf

    def check(self) -> None:
        """Raise where nothing more is to be done.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` is up.
        """
        if self.aborted:
            raise Aborted
        if self.seconds_of_total() <= 0:
            self._expire("total")

    def sleep(self, seconds: float) -> None:
        """Wait between attempts; :meth:`abort` wakes it.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` was up, or is up before the time has passed.
        """
        until = monotonic() + min(seconds, self.seconds_of_total())
        with self.lock:
            while not self.aborted and (left := until - monotonic()) > 0:
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
        self._until = monotonic() + seconds

    def seconds_of_total(self) -> float:
        """Seconds until ``total`` is up."""
        return min(self._total_until - monotonic(), NEVER)

    def total_is_up(self) -> bool:
        """Between two events: whether ``total`` is up. Then :attr:`expired` says so from now on,
        and nothing more is waited for.
        """
        if self.seconds_of_total() > 0:
            return False
        self.expired = "total"
        return True

    # -- the working thread: sockets ----------------------------------------------------------

    def enter(self, sock: socket.socket | None) -> None:
        """Make ``sock`` the one that :meth:`abort` shuts, in both directions.

        :raises Aborted: too late: the call is over.
        """
        self.enter_shut(None if sock is None else partial(shut, sock))

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

    def begin_response(self) -> bool:
        """A response begins to read from the socket.

        :returns: whether the socket is the response's to close; a proxy's answer, which is read
            while connecting, leaves it to the connection.
        """
        self._armed = -1.0  # urllib3 has set a timeout of its own
        if not self._connecting:
            self._response_has_socket = True
        return self._response_has_socket

    @property
    def response_has_socket(self) -> bool:
        """A response reads from a socket of ours, so every wait passes here."""
        return self._response_has_socket

    def connecting(self) -> None:
        """A connection of ours is about to be made: ``connect`` counts until :meth:`connected`.

        Connections that are not ours (of a session that was given, through SOCKS) never come here:
        they are made within the time that :meth:`given_limits` states, and only they know when
        they stand.
        """
        self._connecting = True
        self.in_handshake = False
        self._connect_until = monotonic() + (self.timeout.connect or math.inf)

    def seconds_to_connect(self) -> float:
        """Seconds that connecting may still take.

        :raises Aborted: it was aborted.
        :raises Expired: they are over.
        """
        self.check()
        left = self._connect_until - monotonic()
        if left <= 0:
            self._expire("connect")
        return min(left, self.seconds_of_total())

    def connecting_timed_out(self) -> NoReturn:
        """A wait of :meth:`seconds_to_connect` seconds timed out: raise accordingly."""
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
        left, self._why = self._seconds_to_wait(sending)
        if left <= 0:
            self.timed_out()
        # Setting it costs a system call: most waits have the same limit, ``idle``, as the last one.
        if not left <= self._armed <= left + _SLACK:
            sock.settimeout(left)
            self._armed = left

    def _seconds_to_wait(self, sending: bool = False) -> tuple[float, Deadline]:
        """How long the next wait may be, and by which of the limits."""
        limits = self.timeout
        now = monotonic()
        left: float = NEVER
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
        total = self.seconds_of_total()
        connect = min(limits.connect or NEVER, total)
        waits = (limits.idle if self._streaming else None, limits.gap, total)
        wait = min(seconds for seconds in waits if seconds is not None)
        return max(connect, 0.001), max(wait, 0.001)

    def given_timed_out(self, connecting: bool) -> None:
        """Such a connection took longer than :meth:`given_limits`: note which deadline is why."""
        if self.seconds_of_total() <= 0:
            self.expired = "total"
        elif connecting:
            self.expired = "connect"
        else:
            self.expired = self._seconds_to_wait()[1]

    def timed_out(self) -> NoReturn:
        """A wait on the network timed out: raise for the deadline that was nearest as it began."""
        if self.aborted:
            raise Aborted
        self._expire(self._why or self._seconds_to_wait()[1])

    def failed(self, error: OSError, since: float) -> NoReturn:
        """A wait on a socket raised: tell our own deadline from the network, and from the user.

        :param since: when it began.
        :raises Interrupted: a signal's handler raised it.
        :raises OSError: ``error`` itself, if it is not our time that has passed.
        """
        if by_handler(error):
            raise Interrupted(error)
        if is_timeout(error) and monotonic() - since > self._armed - _EARLY:
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
            start = monotonic()
            try:
                sent = sock.send(view[:BLOCK])
            except OSError as error:
                self.failed(error, start)
            if self._streaming:  # without events ``gap`` is for the wait for the headers alone
                self.waited += monotonic() - start
            view = view[sent:]
