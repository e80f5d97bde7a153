"""The wait for the headers on a connection that is not ours: bounded, and stopped, from outside.

``requests`` times each read anew, so a server that trickles its headers is bounded by nothing, and
the socket of a given session is known to nobody but to the frame that waits on it. There it is
looked up, once the time has passed or the stream is closed, and shut.

The lock of the call is what keeps the socket from being another's by then. It is held from the
look to the ``shutdown``, and the working thread passes it with each response before anybody can
read that to its end, upon which the connection would go back to its pool. Only an adapter that
asks again by itself (``Retry``) can give a connection back before; what takes it in the few steps
between the look and the ``shutdown`` would see it break.
"""

from __future__ import annotations

import http.client
import sys
import threading
from contextlib import suppress
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

from .call import NetworkCall
from .deadlines import Expired
from .sockets import shut

__all__ = ["GivenWait"]

_SOONEST, _LATEST = 0.02, 0.2  # seconds between two looks for the begin of the wait
_LONGEST = 5.0  # and between two later ones: a session may ask again by itself

_WAITS = tuple(
    getattr(http.client.HTTPConnection, name).__code__
    for name in ("getresponse", "_tunnel")  # the second is its own: a proxy's answer
    if hasattr(getattr(http.client.HTTPConnection, name, None), "__code__")
)


class GivenWait:
    """A context manager around the sending of a request, on the thread that sends it.

    :raises Expired: the time has passed, and what ``requests`` has returned is not a response.
    """

    def __init__(self, call: NetworkCall) -> None:
        self._call = call
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._is_up = False

    def __enter__(self) -> GivenWait:
        self._call.enter_shut(self._shut)
        with suppress(RuntimeError):  # no more threads, or no such ones in this interpreter
            watch = threading.Thread(target=self._watch, name="given-session-wait", daemon=True)
            watch.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._call.leave()
        if exc_type is None and self._is_up:
            # http.client takes the end of the connection for the headers' end.
            raise Expired("the headers have not arrived in time")

    def passed(self) -> None:
        """There is a response, which nobody has read yet."""
        with self._call.lock:
            pass

    def _watch(self) -> None:
        begin: float | None = None
        pause = _SOONEST
        while not self._over.wait(pause):
            pause = min(2 * pause, _LATEST)
            if begin is None:
                if self._waiting_on() is None:  # it connects, or sends
                    continue
                begin = monotonic()
            left, deadline = self._call.seconds_for_headers(monotonic() - begin)
            # A stop may have come just before it began to wait, and found nothing to shut.
            if left <= 0 or self._call.aborted:
                with self._call.lock:
                    if self._over.is_set():
                        return
                    if self._shut():
                        if not self._call.aborted:
                            self._call.given_waited_enough(deadline)
                            self._is_up = True
                        return
            else:
                pause = min(left, _LONGEST)

    def _shut(self) -> bool:
        """Shut the socket that is waited on; call it with the lock held."""
        sock = self._waiting_on()
        if sock is None:
            return False
        with suppress(OSError, ValueError):
            shut(getattr(sock, "socket", sock))  # TLS inside a proxy's TLS is not one, but has one
        return True

    def _waiting_on(self) -> Any:
        frame: FrameType | None = sys._current_frames().get(self._thread)
        while frame is not None and frame.f_code not in _WAITS:
            frame = frame.f_back
        return None if frame is None else getattr(frame.f_locals.get("self"), "sock", None)
