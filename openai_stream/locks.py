"""The one lock of a stream, made so that finalizers may use it.

It knows nothing of streams: only how work that must not wait is handed to whoever holds the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["HandoverLock"]

# Seconds; see ``run``. The lock is held for moments, so this is far more than its holder can need
# on any machine that still gets something done.
_PATIENCE = 10.0


class HandoverLock:
    """A lock for threads, which wait for it, and for finalizers, which must not.

    A finalizer runs wherever the interpreter happens to be when the last reference goes: on any
    thread, between any two bytecodes, so perhaps on a thread that is holding this very lock. If it
    waited, it would wait for itself. :meth:`hand_over` therefore runs its work at once when the
    lock is free, and otherwise leaves it to the holder, who does it right after letting go.

    Nothing is forgotten: the work is noted *before* the lock is tried, and each holder looks for
    noted work *after* releasing. Whichever of the two comes later sees the other.

    Inside is a reentrant lock, for one reason: it knows, at no cost of ours, whether *this* thread
    holds it. A thread gains and loses it by its own steps only, so the answer cannot become wrong
    between asking and acting, not even by a signal's handler, which runs on this thread and lets
    go of what it takes. Nothing here enters it twice: what runs on the holding thread is noted.

    It is duck-typed as a :class:`threading.Lock`, so that :class:`threading.Condition` takes it.
    """

    # What is the plain lock's is its own methods, without a call of ours around them: entering is
    # then one step, in which no signal's handler can raise with the lock just taken.
    __slots__ = ("__enter__", "_is_owned", "_lock", "_noted", "acquire")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._noted: deque[Callable[[], object]] = deque()
        self.acquire = self.__enter__ = self._lock.acquire
        #: For :class:`threading.Condition`, and for :meth:`run`: whether this thread holds it.
        self._is_owned: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]

    def release(self) -> None:
        self._lock.release()
        if self._noted:
            self._do_noted()

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            # Not held: a signal's handler raised while a condition, woken, was taking the lock
            # again. What it raised is on its way.
            if exc_type is None:
                raise
        if self._noted:
            self._do_noted()

    def locked(self) -> bool:
        """Somebody holds it."""
        if self._is_owned():
            return True
        if free := self._lock.acquire(False):
            self.release()
        return not free

    def hand_over(self, work: Callable[[], object]) -> None:
        """Have ``work`` done under the lock, now or by its holder, without ever waiting.

        :param work: called with the lock held; it must not wait and must not raise.
        """
        self._noted.append(work)
        self._do_noted()

    def run(self, work: Callable[[], object]) -> None:
        """Do ``work`` under the lock, wherever this is called; it is done when this returns.

        Except on a thread that holds the lock itself, in a signal's handler or a user's finalizer
        that interrupted it there: then the work is done when that returns. Another thread's hold
        is waited for, however long the machine takes to let that thread run; so nothing that
        ``work`` forbids begins after this has returned.

        The patience has an end for one case alone: the holder was interrupted by a handler that
        waits for *this* thread. Waiting on would be a deadlock; the holder does the work later.

        :param work: as of :meth:`hand_over`.
        """
        if not self._is_owned() and self.acquire(timeout=_PATIENCE):
            try:
                work()
            finally:
                self.release()
        else:
            self.hand_over(work)

    def _do_noted(self) -> None:
        while self._noted and not self._is_owned() and self._lock.acquire(False):
            try:
                if self._noted:  # another thread may have been here in between
                    self._noted.popleft()()
            finally:
                self._lock.release()
