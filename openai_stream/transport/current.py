"""Which call is being sent on this thread: ``requests`` has no other way to hand it down."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar

from .call import NetworkCall

__all__ = ["current_call", "sending"]


# The call whose request is being sent here, and the thread: ``requests`` has no other way to
# hand it down to the connection that its pool picks. Not a ``threading.local``, which would be that
# of all greenlets together if it was made before gevent patched the module.
_current: ContextVar[tuple[int, NetworkCall] | None] = ContextVar("call", default=None)


def current_call() -> NetworkCall | None:
    current = _current.get()
    # A thread may begin with its maker's context, but takes no part in what that sends.
    if current is None or current[0] != threading.get_ident():
        return None
    return current[1]


@contextlib.contextmanager
def sending(call: NetworkCall) -> Iterator[None]:
    """While a request of ``call`` is sent on this thread."""
    outer = _current.set((threading.get_ident(), call))
    try:
        yield
    finally:
        _current.reset(outer)
