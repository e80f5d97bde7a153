"""A crowd: many streams that are read on few threads.

A thread a stream costs a wake-up, a cold cache and a fight for the interpreter's lock with each
event. In a crowd one thread watches the sockets of many streams, and gives each that has something
to read a turn (:mod:`.loop`). A thread begins with its first stream and ends when it has none.

Who holds which lock: the crowd's is for who joins, and for a thread that looks whether it may end;
no turn is taken under it. ``Seat.call`` comes with a stream's lock held, from finalizers too: it
takes no lock. It can come only as long as the seat is taken, since the stream's lock guards who is
called; so it never finds a thread that has ended.
"""

from __future__ import annotations

import threading

from .loop import Loop, Member, Seat

__all__ = ["Crowd", "Member", "Seat"]


class Crowd:
    """Streams that are read by so many threads together.

    :param threads: how many, at most.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # Not a plain one: a signal's handler, or a finalizer, may begin a stream anywhere.
        self._lock = threading.RLock()
        self._loops: list[Loop] = []

    def add(self, member: Member) -> bool:
        """Give it a place on the thread that has the fewest. From any thread.

        :returns: whether there is one; otherwise the system has no more threads, or descriptors.
        """
        with self._lock:
            loop = min(self._loops, key=Loop.load, default=None)
            if loop is None or (loop.seats and len(self._loops) < self._threads):
                try:
                    loop = Loop(self._lock, self._loops)
                except OSError:
                    if loop is None:
                        return False
            seat = Seat(member, loop)
            member.sit(seat)
            loop.seats.add(seat)
            loop.call(seat)
            if loop.start():
                return True
            loop.seats.discard(seat)
            seat.loop = None
            member.rise()
            return False

    def is_here(self) -> bool:
        """Whether this is one of its threads. Without the lock: that cannot change meanwhile."""
        return any(loop.is_here() for loop in [*self._loops])
