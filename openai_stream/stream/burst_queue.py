"""The mechanism of a stream's queue: bursts go in under one lock, takers wait, the end comes last.

It knows nothing of streams. The state of a stream holds it, weakly, and puts into it; the handle
that a user has (:class:`~openai_stream.EventQueue`) holds it, and takes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from openai_stream.locks import HandoverLock

from .items import DONE, Done, ShutDown

__all__ = ["ENDS", "BurstQueue", "Failure", "Room"]


class Failure:
    """The end of a stream that failed, as the deque carries it: whoever takes it raises it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


#: The classes of what may be the end.
ENDS = (Done, Failure)


class Room(threading.Condition):
    """What a reader waits for while a queue is full: on a thread of its own by :meth:`wait`.

    A crowd's thread must not wait: it has :attr:`call` called instead, with the lock held, by
    finalizers too, so it waits for nothing and does not raise.
    """

    call: Callable[[], object] | None = None

    def notify_all(self) -> None:
        super().notify_all()
        if self.call is not None:
            self.call()


class BurstQueue:
    """Items in order, then the end.

    One lock guards the queue and the life of its stream. Who takes it: consumers that must wait,
    the reader once a burst, whoever closes. Taking an item that is there needs none:
    ``items.popleft()`` is atomic. Two flags, both set before looking and read after changing, make
    sure that nobody sleeps through it: ``_takers`` (consumers that wait, noted under the lock, so
    the reader sees them when it puts) and :attr:`crowded` (the reader found the queue full: set
    *before* it counts the items again, so a consumer that takes one later sees the flag).

    Consumers wait as ``not_empty.wait()`` would have them, each on a lock of its own that whoever
    puts releases; but what that method and ``notify()`` do besides, for conditions of any kind, is
    as much again, for each event that comes alone.

    :param lock: the stream's.
    :param room: a condition of that lock: what waits for room waits here.
    :param maxsize: items that there is room for; 0 is any number.
    :param shut_at_end: it is shut down behind its end.
    :param check: called before a wait, with whether that has no end; raises if nothing can
        come.
    """

    __slots__ = (
        "__weakref__",
        "_check",
        "_shut_at_end",
        "_takers",
        "_the_end",
        "all_done",
        "crowded",
        "is_cut",
        "is_shutdown",
        "items",
        "lock",
        "maxsize",
        "not_empty",
        "room",
        "taken_by",
        "unfinished",
    )

    def __init__(
        self,
        lock: HandoverLock,
        room: Room,
        maxsize: int,
        shut_at_end: bool,
        check: Callable[[bool], object],
    ) -> None:
        self.lock = lock
        self.room = room
        self.maxsize = maxsize
        self.items: deque[Any] = deque()
        self.not_empty = threading.Condition(cast(threading.Lock, lock))
        self._takers: deque[threading.Lock] = self.not_empty._waiters  # type: ignore[attr-defined]
        self.all_done = threading.Condition(cast(threading.Lock, lock))
        self.unfinished = 0
        self.is_shutdown = False
        #: The reader found it full: whoever takes an item calls :meth:`make_known_room`.
        self.crowded = False
        #: The end that was put is not that of the answer.
        self.is_cut = False
        #: What needs every event, and so is the only one that may take.
        self.taken_by: str | None = None
        self._shut_at_end = shut_at_end
        self._check = check
        self._the_end: Done | Failure | None = None  # once it has been put

    # -- the consumer's side: any thread, without the lock -------------------------------------

    def wait(self, block: bool, timeout: float | None, to_the_end: bool = False) -> Any:
        """Wait for an item, and take it.

        :param block: otherwise do not wait.
        :param timeout: seconds to wait at most.
        :param to_the_end: as a loop does, also for the end that others have taken.
        :raises queue.Empty: nothing came in time.
        :raises ShutDown: nothing more will come.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        until = None if timeout is None else monotonic() + timeout
        self._check(block and until is None)
        call = None
        left = -1.0  # for ever
        try:
            while True:
                with self.lock:
                    if self.items:
                        try:  # others take without the lock
                            return self.items.popleft()
                        except IndexError:
                            pass
                    if to_the_end and self._the_end is not None:  # put, but gone: others took it
                        return self._the_end
                    if self.is_shutdown:
                        raise ShutDown
                    if until is not None:
                        left = until - monotonic()
                    if not block or (until is not None and left <= 0):
                        raise queue.Empty
                    call = threading.Lock()
                    call.acquire()
                    self._takers.append(call)
                if not call.acquire(True, left):
                    self._leave(call)
                try:
                    return self.items.popleft()
                except IndexError:
                    pass
        except BaseException:
            if call is not None:
                self._leave(call)
            raise

    def _leave(self, call: threading.Lock) -> None:
        """A consumer waits no longer. If it was called just now, the next one is called instead."""
        with self.lock:
            try:
                self._takers.remove(call)
            except ValueError:
                if self.items:
                    self._call(1)

    def make_known_room(self) -> None:
        """An item was taken of a queue that was :attr:`crowded`: wake those who wait for room."""
        with self.lock:
            self.crowded = False
            self.room.notify_all()

    def put(self, item: Any, block: bool, timeout: float | None) -> None:
        """Put something of the user's own between the events.

        :param block: wait for room.
        :param timeout: seconds to wait at most.
        :raises queue.Full: no room in time.
        :raises ShutDown: the queue was shut down.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        until = None if timeout is None else monotonic() + timeout
        with self.lock:
            while not self.is_shutdown and 0 < self.maxsize <= len(self.items):
                self.crowded = True
                if len(self.items) < self.maxsize:
                    break
                left = None if until is None else until - monotonic()
                if not block or (left is not None and left <= 0):
                    raise queue.Full
                self.room.wait(left)
            if self.is_shutdown:
                raise ShutDown
            self.items.append(item)
            self.unfinished += 1
            self._call(1)

    # -- with the lock held --------------------------------------------------------------------

    def shut_down(self, immediate: bool) -> None:
        """Let nothing more in.

        :param immediate: drop what is there.
        """
        self.is_shutdown = True
        if immediate:
            self.unfinished = max(0, self.unfinished - len(self.items))
            self.items.clear()
            if not self.unfinished:
                self.all_done.notify_all()
        self._call(len(self._takers))
        self.room.notify_all()

    def _call(self, most: int) -> None:
        """Wake so many consumers, if as many wait: those that have waited longest."""
        takers = self._takers
        while most > 0 and takers:
            try:
                takers[0].release()
            finally:  # though a signal's handler raises in between: it waits no longer
                takers.popleft()
            most -= 1

    def offer(self, events: list[Any]) -> int:
        """Take in as many of the events as there is room for.

        :returns: how many; fewer than there are means: full, wait for :attr:`room`.
        """
        if self.maxsize > 0:
            room = self.maxsize - len(self.items)
            if room < len(events):
                self.crowded = True
                room = max(self.maxsize - len(self.items), 0)
                events = events[:room]
        return self.force(events)

    def force(self, events: list[Any]) -> int:
        """Take in all events, room or none."""
        self.items.extend(events)
        self.unfinished += len(events)
        if self._takers:
            self._call(len(events))
        return len(events)

    def end(self, error: BaseException | None, cut: bool = False) -> None:
        """Put the end; it has room in a full queue too.

        :param cut: it is not the end of the answer: the consumer was let go before that.
        """
        self.is_cut = cut
        self._the_end = DONE if error is None else Failure(error)
        self.items.append(self._the_end)
        if error is None:
            self.unfinished += 1
        if self._shut_at_end:
            self.is_shutdown = True
        self._call(len(self._takers))
        self.room.notify_all()
