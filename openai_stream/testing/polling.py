"""What waits on sockets here: ``select.poll``, or what stands in for it under green threads."""

from __future__ import annotations

import _socket
import contextlib
import math
import select
import socket
import time
from types import BuiltinFunctionType
from typing import Any

__all__ = ["HANG_UP", "poller"]

#: Shows the client's FIN without reading what came before it; a name that only Linux has.
HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)

_LOOK = 0.005  # seconds between two looks
#: States of a TCP socket in which the other side has sent its FIN (Linux, ``tcp_states.h``).
_FIN_CAME = (7, 8, 9, 11)


def poller() -> Any:
    """``select.poll()``, or what stands in for it under green threads.

    Looked up at each use: they may have patched after this module was imported.
    """
    ours = isinstance(getattr(select, "poll", None), BuiltinFunctionType)
    return select.poll() if ours else _Looking()


class _Looking:
    """Looks now and then, and whether there is room to send it takes for granted.

    eventlet has no ``poll``, and cannot wait in two green threads for one descriptor, as for the
    one that wakes all of them; gevent's does not see a FIN.
    """

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}

    def register(self, watched: Any, events: int) -> None:
        self._watched[watched if isinstance(watched, int) else watched.fileno()] = events

    modify = register

    def unregister(self, watched: Any) -> None:
        del self._watched[watched if isinstance(watched, int) else watched.fileno()]

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        until = time.monotonic() + (math.inf if milliseconds is None else milliseconds / 1000)
        while True:
            ready = [(fileno, _ready(fileno, events)) for fileno, events in self._watched.items()]
            ready = [(fileno, events) for fileno, events in ready if events]
            left = until - time.monotonic()
            if left > 0:  # others have their turn even if there is something
                time.sleep(min(_LOOK, left))
            if ready or left <= 0:
                return ready


def _ready(fileno: int, events: int) -> int:
    ready = events & select.POLLOUT
    sock = _socket.socket(fileno=fileno)  # the plain one, which never gives way to others
    try:
        if events & select.POLLIN:
            try:
                sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                ready |= select.POLLIN
            except BlockingIOError:
                pass
            except OSError:  # one that listens has to be tried
                ready |= select.POLLIN
        if events & HANG_UP and hasattr(socket, "TCP_INFO"):
            with contextlib.suppress(OSError):  # no TCP
                if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _FIN_CAME:
                    ready |= HANG_UP
    finally:
        sock.detach()
    return ready
