"""Who raised an exception that came out of network code: the network, or code of the user's.

Between a call and its answer run functions that are not ours: handlers of signals, at any wait and
between any two steps; hooks of a session. And into a green thread of gevent's or eventlet's, other
ones throw what they like while it waits. All of that is for the caller, as it is and at once,
though it may be a ``TimeoutError`` or ``OSError`` like the network's own.
"""

from __future__ import annotations

import errno
import functools
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any

import requests
import requests.hooks

__all__ = ["Interrupted", "by_green_thread", "by_handler", "is_thrown", "is_timeout", "of_user"]

#: What may raise a ``ValueError`` on the network's behalf, by the first part of a module's name.
_NETWORK = sys.stdlib_module_names | {
    *("openai_stream", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "chardet"),
    *("socks", "brotli", "brotlicffi", "zstandard", "backports", "gevent", "eventlet"),
}


class Interrupted(BaseException):
    """The user's :attr:`error` was raised while a socket was waited for.

    Not an :class:`Exception`: nothing on the way to the call takes it for the network's own.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


def is_timeout(error: BaseException) -> bool:
    """It says that a socket's timeout has passed; the system's own time-outs have a number."""
    return isinstance(error, TimeoutError) and error.errno is None


def of_user(error: BaseException) -> BaseException | None:
    """The exception of the user's code that network code wrapped into ``error``, or passed on.

    :returns: ``None`` if the network raised it.
    """
    found = None
    for link in _links(error):  # to the innermost: urllib3 gives its traceback to the outer ones
        if by_handler(link) or by_green_thread(link) or _by_hook(link) or _by_foreign_code(link):
            found = link
    return found


def by_handler(error: BaseException) -> bool:
    """Whether a signal's handler raised it, on this thread.

    A handler is called by nobody: it gets the frame that it interrupts, which is then the frame
    before its own.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    registered = None
    for outer, inner in _steps(error.__traceback__):
        if any(value is outer for value in _arguments(inner)):
            return True
        if registered is None:
            registered = set(_registered())
        if inner.f_code in registered:  # it has let go of the frame
            return True
    return False


def is_thrown(error: BaseException) -> bool:
    """Whether it was thrown into a green thread that waited, and so raised by nothing in it.

    Its innermost frame is the one in which the thread gave way to others.
    """
    steps = list(_steps(error.__traceback__))
    if not steps:
        return False
    innermost = steps[-1][1]
    module = str(innermost.f_globals.get("__name__")).partition(".")[0]
    return module in ("gevent", "eventlet") and "switch" in innermost.f_code.co_name


def by_green_thread(error: BaseException) -> bool:
    """Whether a timer of the user's threw it, or a ``kill``: ``gevent.Timeout(1, ValueError)``.

    The sockets of green threads throw two things themselves: that their timeout has passed, and
    that somebody has closed them; a resolver throws that it has not found the name.
    """
    if not is_thrown(error):
        return False
    if not isinstance(error, OSError):
        return True
    if isinstance(error, (socket.gaierror, socket.herror)):
        return False
    return error.errno not in (errno.EBADF, errno.ENOTCONN) and "timed out" not in str(error)


def _by_hook(error: BaseException) -> bool:
    hooks = requests.hooks.dispatch_hook.__code__
    return not isinstance(error, requests.RequestException) and any(
        outer.f_code is hooks for outer, _ in _steps(error.__traceback__)
    )


def _by_foreign_code(error: BaseException) -> bool:
    if not isinstance(error, ValueError) or isinstance(error, (requests.RequestException, OSError)):
        return False
    steps = list(_steps(error.__traceback__))
    if not steps:
        return False
    innermost = steps[-1][1]
    return str(innermost.f_globals.get("__name__")).partition(".")[0] not in _NETWORK


def _links(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it wraps; network code knows four ways to do that."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop(0)
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            inner = (link.__cause__, link.__context__, getattr(link, "reason", None), *link.args)
            waiting += [one for one in inner if isinstance(one, BaseException)]


def _steps(traceback: TracebackType | None) -> Iterator[tuple[FrameType, FrameType]]:
    """Each frame with the one that it called, or that interrupted it."""
    while traceback is not None and traceback.tb_next is not None:
        yield traceback.tb_frame, traceback.tb_next.tb_frame
        traceback = traceback.tb_next


def _arguments(frame: FrameType) -> Iterator[Any]:
    for value in list(frame.f_locals.values()):
        yield value
        if type(value) is tuple:  # ``lambda *_: …``
            yield from value


def _registered() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if not isinstance(handler, (FunctionType, MethodType)) and callable(handler):
            handler = type(handler).__call__
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            yield code
