"""The one lock of a stream, made so that finalizers may use it.

It knows nothing of streams: only how work that must not wait is handed to whoever holds the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["HandoverLock"]

_PATIENCE = 0.02  # seconds


class HandoverLock:
    """A lock for threads, which wait for it, and for finalizers, which must not.

    A finalizer runs wherever the interpreter happens to be when the last reference goes: on any
    thread, between any two bytecodes, so perhaps on a thread that is holding this very lock. If it
    waited, it would wait for itself. :meth:`hand_over` therefore runs its work at once when the
    lock is free, and otherwise leaves it to the holder, who does it right after letting go.

    Nothing is forgotten: the work is noted *before* the lock is tried, and each holder looks for
    noted work *after* releasing. Whichever of the two comes later sees the other.

    It is duck-typed as a :class:`threading.Lock`, so that :class:`threading.Condition` takes it.
    """

    # What is the plain lock's is its own methods, without a call of ours around them.
    __slots__ = ("__enter__", "_is_owned", "_lock", "_noted", "acquire", "locked")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[Callable[[], object]] = deque()
        self.acquire = self.__enter__ = self._lock.acquire
        #: For :class:`threading.Condition`, which would otherwise try to acquire it.
        self.locked = self._is_owned = self._lock.locked

    def release(self) -> None:
        self._lock.release()
        if self._noted:
            self._do_noted()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        if self._noted:
            self._do_noted()

    def hand_over(self, work: Callable[[], object]) -> None:
        """Have ``work`` done under the lock, now or by its holder, without ever waiting.

        :param work: called with the lock held; it must not wait and must not raise.
        """
        self._noted.append(work)
        self._do_noted()

    def run(self, work: Callable[[], object]) -> None:
        """Do ``work`` under the lock, wherever this is called.

        The lock is held for moments only. Where it does not come free within 20 milliseconds, a
        signal's handler, or a finalizer of a user's, has interrupted this very thread while it
        held the lock: then the work is done when that returns.

        :param work: as of :meth:`hand_over`.
        """
        if self.acquire(timeout=_PATIENCE):
            try:
                work()
            finally:
                self.release()
        else:
            self.hand_over(work)

    def _do_noted(self) -> None:
        while self._noted and self._lock.acquire(False):
            try:
                if self._noted:  # another thread may have been here in between
                    self._noted.popleft()()
            finally:
                self._lock.release()
