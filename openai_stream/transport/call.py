"""One call on the network, over all its attempts: its deadlines, its socket, and its stop."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NoReturn

from openai_stream.locks import HandoverLock
from openai_stream.timeouts import Timeout

from .deadlines import EARLY, Deadlines
from .origin import Interrupted, by_green_thread, by_handler, is_thrown, is_timeout
from .sockets import BLOCK, shut
from .tap import End, Tap

__all__ = ["Aborted", "NetworkCall"]

_SLACK = 0.2  # seconds by which a socket's timeout may exceed the deadline before it is set anew


class Aborted(BaseException):
    """The call was aborted. For the thread that worked in it only; never seen by a user.

    Not an :class:`Exception`: nothing between a socket and the reader takes it for its own.
    """


class NetworkCall(Deadlines):
    """One call on the network, over all its attempts: its deadlines and its stop.

    One thread works in it: the caller's while it connects, then perhaps the reader's. Any thread
    may :meth:`abort` it, with :attr:`lock` held.

    The lock guards ``aborted`` and ``_shut``, the way to shut the socket. It is entered under the
    lock before anyone waits on the socket, and taken out under it before the socket is closed or
    goes back to the pool: so ``abort`` never shuts one that already serves someone else.

    :param timeout: the limits, from now.
    :param streaming: as of :class:`~.deadlines.Deadlines`.
    :param lock: the lock to use, if the owner has one.
    """

    __slots__ = (
        "_armed",
        "_pid",
        "_shut",
        "_wake",
        "aborted",
        "attempts",
        "bytes",
        "lock",
        "response",
        "response_has_socket",
        "tap",
    )

    def __init__(
        self, timeout: Timeout, *, streaming: bool, lock: HandoverLock | None = None
    ) -> None:
        super().__init__(timeout, streaming=streaming)
        self.lock = lock or HandoverLock()
        self._wake = threading.Condition(self.lock)  # type: ignore[arg-type]
        self._pid = os.getpid()
        self._shut: Callable[[], object] | None = None
        self._armed = -1.0  # the timeout that the socket has now
        #: A response reads from a socket of ours, so every wait passes here; and it will be the
        #: one to close that socket.
        self.response_has_socket = False
        #: Set by :meth:`abort`.
        self.aborted = False
        #: Looks at the bytes of the attempt, if anybody does.
        self.tap: Tap | None = None
        #: Attempts begun.
        self.attempts = 0
        #: The newest response that reads from a socket of ours.
        self.response: http.client.HTTPResponse | None = None
        #: Bytes received, as they came over the network, headers included.
        self.bytes = 0

    # -- any thread ---------------------------------------------------------------------------

    @property
    def inherited(self) -> bool:
        """This is a forked child: the socket is the parent's."""
        return self._pid != os.getpid()

    def abort(self) -> None:
        """Wake whoever works in the call, for good. Call it with the lock held; never waits.

        Both directions of the socket are shut: the peer learns of it now, not when the thread
        that was waiting gets around to closing.
        """
        self.aborted = True
        self._wake.notify_all()
        # In a forked child this is the parent's socket as well: shutting it would end the parent's.
        if self._shut is not None and not self.inherited:
            # Not connected yet or no longer, or a response that knows no shutdown.
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._shut()

    # -- the working thread: between attempts -------------------------------------------------

    def begin(self) -> None:
        """Start an attempt.

        :raises Aborted: the call was aborted.
        :raises Expired: ``total`` has passed.
        """
        super().begin()
        self.attempts += 1
        self.response_has_socket = False

    def check(self) -> None:
        """Raise if nothing more is to be done.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` has passed.
        """
        if self.aborted:
            raise Aborted
        super().check()

    def sleep(self, seconds: float) -> None:
        """Wait between attempts; :meth:`abort` wakes it.

        :raises Aborted: it was aborted.
        :raises Expired: ``total`` had passed, or passes before the time has.
        """
        with self.lock:
            if not self.aborted:  # once: a program that is tested may have stopped the clock
                self._wake.wait(min(seconds, self.seconds_of_total()))
        self.check()

    def end_tap(self, how: End | None = None) -> None:
        """The attempt has ended for who looks at its bytes.

        :param how: otherwise we closed the connection, because a deadline had passed or for another
            reason.
        """
        if self.tap is not None:
            self.tap.ended(how or ("timeout" if self.expired else "closed"))
            self.tap = None

    # -- the working thread: sockets ----------------------------------------------------------

    def enter(self, sock: socket.socket | None) -> None:
        """Make ``sock`` the one that :meth:`abort` shuts, in both directions.

        :raises Aborted: too late: the call was aborted.
        """
        self.enter_shut(None if sock is None else partial(shut, sock))

    def enter_shut(self, shut_it: Callable[[], object] | None) -> None:
        """The same for what is not a socket of ours: ``shut_it`` is what :meth:`abort` calls."""
        with self.lock:
            if self.aborted:
                raise Aborted
            self._shut = shut_it
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
        if not self.connecting:
            self.response_has_socket = True
        return self.response_has_socket

    def arm(self, sock: Any, *, sending: bool = False) -> None:
        """Set the timeout for the wait that is about to begin on ``sock``.

        :raises Aborted: it was aborted.
        :raises Expired: there is no time left.
        """
        if self.aborted:
            raise Aborted
        seconds = self.seconds_to_wait(sending)
        if seconds <= 0:
            self.timed_out()
        # Setting it costs a system call: most waits have the same limit, ``idle``, as the last one.
        if not seconds <= self._armed <= seconds + _SLACK:
            sock.settimeout(seconds)
            self._armed = seconds

    def disarm(self) -> None:
        """Someone else has set the socket's timeout: it is set anew before the next wait."""
        self._armed = -1.0

    def timed_out(self) -> NoReturn:
        """A wait on the network timed out: raise for the deadline that was nearest as it began."""
        if self.aborted:
            raise Aborted
        super().timed_out()

    def failed(self, error: Exception, since: float) -> NoReturn:
        """A wait on a socket raised: tell our own deadline from the network, and from the user.

        :param since: when it began.
        :raises Interrupted: a signal's handler raised it, or another green thread threw it.
        :raises Exception: ``error`` itself, if it is not our time that has passed.
        """
        took = monotonic() - since
        self.waited += took
        if by_handler(error):
            raise Interrupted(error)
        timeout = is_timeout(error)
        if timeout and took > self._armed - EARLY:
            self.timed_out()
        if by_green_thread(error) or (timeout and is_thrown(error)):
            raise Interrupted(error)
        # The system's have a number, and a socket says that its time has passed; what has neither
        # is a handler's that has hidden itself.
        if (
            isinstance(error, OSError)
            and error.errno is None
            and not (isinstance(error, ssl.SSLError) or "timed out" in str(error))
        ):
            raise Interrupted(error)
        raise error

    def send(self, sock: socket.socket, data: bytes) -> None:
        """``sendall``, but ``idle`` starts anew whenever something could be sent.

        :raises Aborted: it was aborted.
        :raises Expired: a deadline has passed.
        """
        view = memoryview(data)
        # pyOpenSSL's in urllib3 can do nothing but send all.
        send = getattr(sock, "send", None) or partial(_send_all, sock)
        while view:
            self.arm(sock, sending=True)
            start = monotonic()
            try:
                sent = send(view[:BLOCK])
            except Exception as error:
                self.failed(error, start)
            if self.streaming:  # without events ``gap`` is for the wait for the headers alone
                self.waited += monotonic() - start
            view = view[sent:]


def _send_all(sock: Any, view: memoryview) -> int:
    sock.sendall(view)
    return len(view)
