"""The events of a stream that are kept, and the queues of those that subscribed to them.

Everything here is called with the stream's lock held.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, cast

from openai_stream.locks import HandoverLock

from .burst_queue import ENDS, BurstQueue, Room
from .items import Restarted

__all__ = ["History", "SubscriberQueue"]


class SubscriberQueue(BurstQueue):
    """The queue of a subscriber: unbounded, and it may leave out the first items."""

    __slots__ = ("_arrived", "_before", "_left_out", "_was_asked")

    def __init__(self, lock: HandoverLock, check: Callable[[bool], object]) -> None:
        room = Room(cast(threading.Lock, lock))
        super().__init__(lock, room, 0, False, check)
        self._before = 0  # the number of the item before the first that it gives
        self._left_out = 0  # items that are still to be left out
        self._arrived = 0  # items that came
        self._was_asked = False  # for a place to begin at

    def begin(self, after: int | None, restarted_at: int, restarted: Restarted | None) -> None:
        """Choose where it begins; before any item.

        :param after: items to leave out; ``None`` for those before the newest answer.
        :param restarted_at: the number of the newest restart, 0 if there was none.
        :param restarted: that restart.
        """
        self._was_asked = after is not None
        if after is None:
            after = restarted_at
        if after < restarted_at:
            self._before = restarted_at - 1
            self.force([restarted])
        else:
            self._before = after
            self._left_out = after - restarted_at

    def force(self, events: list[Any]) -> int:
        if self._left_out:
            left_out = min(self._left_out, len(events))
            self._left_out -= left_out
            events = events[left_out:]
        self._arrived += len(events)
        return super().force(events)

    def position(self) -> int:
        """The number of the item before the next that it gives."""
        ahead = len(self.items)
        if ahead and self.items[-1].__class__ in ENDS:
            ahead -= 1
        return self._before + self._arrived - ahead

    def is_from_the_start(self) -> bool:
        """It was made without ``after``, and nothing was taken yet."""
        return not self._was_asked and self.position() == self._before


class History:
    """All events of the newest answer, and who is to have them.

    The subscribers' queues are known only weakly: one that its user dropped is gone.
    """

    def __init__(self) -> None:
        self._items: list[Any] = []
        #: The number of the newest restart among all items, counted from 1, and the item itself.
        self._restarted_at = 0
        self._restarted: Restarted | None = None
        self._subscribers: list[weakref.ref[SubscriberQueue]] = []

    def record(self, events: list[Any]) -> None:
        """Keep the events, and give them to all subscribers."""
        self._items += events
        for queue in self.queues():
            queue.force(events)

    def forget(self, again: Restarted) -> None:
        """What was recorded is void: the answer begins anew."""
        self._restarted_at += len(self._items) + 1
        self._restarted = again
        self._items.clear()
        for queue in self.queues():
            queue.force([again])

    def replay(self, queue: SubscriberQueue, after: int | None) -> None:
        """Give a new queue what there is.

        :param after: items to leave out; ``None`` for those before the newest answer.
        """
        queue.begin(after, self._restarted_at, self._restarted)
        queue.force(self._items)

    def add(self, queue: SubscriberQueue) -> None:
        """Give it what comes, too."""
        self._subscribers = [ref for ref in self._subscribers if ref() is not None]
        self._subscribers.append(weakref.ref(queue))

    def remove(self, queue: SubscriberQueue) -> bool:
        """Give it nothing more.

        :returns: whether it was one of them.
        """
        others = [ref for ref in self._subscribers if ref() is not queue]
        was_there = len(others) < len(self._subscribers)
        self._subscribers = others
        return was_there

    def queues(self) -> list[SubscriberQueue]:
        """Those that still live."""
        return [queue for ref in self._subscribers if (queue := ref()) is not None]
