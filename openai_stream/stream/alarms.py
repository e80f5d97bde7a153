"""When each of many has waited long enough: one heap, for one thread."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from time import monotonic
from typing import Generic, TypeVar

__all__ = ["Alarm", "Alarms"]

T = TypeVar("T")

_FEW = 64  # alarms that are off are not worth being taken out


class Alarm(Generic[T]):
    """A moment for somebody; ``None`` if it is off."""

    __slots__ = ("when", "who")

    def __init__(self, when: float, who: T) -> None:
        self.when = when
        self.who: T | None = who


class Alarms(Generic[T]):
    """Alarms, in the order of their moments.

    A deadline moves away with each event, and is not worth a place in the heap each time: whoever
    has one leaves its alarm where it is, and sets it again if it comes too early.
    """

    def __init__(self) -> None:
        # The number keeps two of the same moment from being compared further.
        self._heap: list[tuple[float, int, Alarm[T]]] = []
        self._numbers = itertools.count()
        self._off = 0

    def set(self, when: float, who: T) -> Alarm[T]:
        """Set one."""
        alarm = Alarm(when, who)
        heapq.heappush(self._heap, (when, next(self._numbers), alarm))
        return alarm

    def put_off(self, alarm: Alarm[T]) -> None:
        """It is not to come. What is off is taken out when it is more than the rest, so that nobody
        is held by an alarm that is far away.
        """
        alarm.who = None
        self._off += 1
        if self._off > _FEW and self._off * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].who is not None]
            heapq.heapify(self._heap)
            self._off = 0

    def seconds(self, most: float) -> float:
        """Until the first one; at most so many."""
        if not self._heap:
            return most
        return max(0.0, min(self._heap[0][0] - monotonic(), most))

    def due(self) -> Iterator[T]:
        """Those whose moment has come; each is off then."""
        now = monotonic()
        while self._heap and self._heap[0][0] <= now:
            who = heapq.heappop(self._heap)[2].who
            if who is None:
                self._off -= 1
            else:
                yield who
