"""Some hundred streams of minutes that one thread begins, takes, stops and checks, all at once.

They are what many streams on one reader look like in life: most of them wait. Their events come
through a queue that all of them share, or each through a small one of its own that is full most of
the time; they are whole, break off, begin anew, are closed. What comes of each is checked as in
:mod:`proofs.plays`.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import random
import time
from collections.abc import Callable
from typing import Any

import attrs

from openai_stream import DONE, Client, EventQueue, Tagged
from proofs.plays import Control, Item, Play, check
from proofs.scenarios import draw

__all__ = ["Herd"]

_BOUNDED = 0.3  # of the streams have a queue of their own, with room for few events
_LOOK = 0.05  # seconds between two looks at those
_TAKEN = 15  # of them that are taken from at one look, as many as there are for one's turn
_MOST_BEGUN = 20  # at one look


@attrs.define(eq=False)
class _Head:
    """One stream of the herd."""

    play: Play
    handle: Any
    events: EventQueue[Any] | None
    items: list[Item] = attrs.field(factory=list)


class Herd:
    """So many streams of one client, until it is told to end.

    :param size: how many at once.
    :param first: the number of its first scenario; each has another one.
    :param ended: is given each scenario's number, its :class:`Play`, and what was wrong.
    """

    def __init__(
        self,
        client: Client,
        control: Control,
        seed: int,
        size: int,
        first: int,
        ended: Callable[[int, Play, BaseException | None], object],
    ) -> None:
        self._client = client
        self._control = control
        self._seed = seed
        self._size = size
        self._numbers = itertools.count(first)
        self._ended = ended
        self._heads: dict[int, _Head] = {}
        self._shared: queue.SimpleQueue[Tagged] = queue.SimpleQueue()
        self._stops: list[tuple[float, int]] = []
        self._source = random.Random(f"{seed}/herd/{first}")  # noqa: S311 - to be the same again

    def run(self, over: Callable[[], bool]) -> None:
        """Keep it at its size until it is over; then stop all that run."""
        next_look = 0.0
        while not over():
            self._take(_LOOK)
            self._stop(time.monotonic())
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _LOOK
                self._look(_TAKEN)
                for _ in range(min(_MOST_BEGUN, self._size - len(self._heads))):
                    self._begin()
        for number in list(self._heads):
            self._close(number)
        while self._heads:
            self._take(_LOOK)
            self._look(len(self._heads))

    @property
    def running(self) -> list[int]:
        """The numbers of the scenarios that run."""
        return list(self._heads.copy())

    def _begin(self) -> None:
        number = next(self._numbers)
        scenario, source = draw(self._seed, number)
        play = Play(self._client, self._control, scenario, source)
        play.way = "herd"
        if source.random() < _BOUNDED:
            events = play.begin(maxsize=source.choice((1, 3)))
            head = _Head(play, events.stream, events)
        else:
            head = _Head(play, play.begin(queue=self._shared, tag=number), None)
        self._heads[number] = head
        if scenario.answers[-1].endless:
            heapq.heappush(self._stops, (time.monotonic() + 20 * source.random(), number))

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, seconds: float) -> None:
        """What the shared queue has, if something comes in time; not forever, if it is a flood."""
        try:
            tagged = self._shared.get(timeout=seconds)
            for _ in range(1000):
                self._took(tagged.tag, tagged.item)
                tagged = self._shared.get_nowait()
            self._took(tagged.tag, tagged.item)
        except queue.Empty:
            return

    def _took(self, number: int, item: Item) -> None:
        head = self._heads[number]
        if item is not DONE:
            head.items.append(item)
            return
        error = None
        if head.items and isinstance(head.items[-1], BaseException):
            error = head.items.pop()
        self._end(number, error)

    def _look(self, count: int) -> None:
        """Take what some of the small queues have; the others wait for room meanwhile."""
        bounded = [number for number, head in self._heads.items() if head.events is not None]
        for number in self._source.sample(bounded, min(count, len(bounded))):
            head = self._heads[number]
            assert head.events is not None
            try:
                while (item := head.events.get_nowait()) is not DONE:
                    head.items.append(item)
                self._end(number, None)
            except queue.Empty:
                continue
            except Exception as error:
                self._end(number, error.with_traceback(None))

    # -- the ends ---------------------------------------------------------------------------------

    def _stop(self, now: float) -> None:
        while self._stops and self._stops[0][0] <= now:
            number = heapq.heappop(self._stops)[1]
            if number in self._heads:
                self._close(number)

    def _close(self, number: int) -> None:
        self._heads[number].play.stop(self._heads[number].handle.close)

    def _end(self, number: int, error: BaseException | None) -> None:
        """One has ended: check it."""
        head = self._heads.pop(number)
        wrong: BaseException | None = None
        try:
            if head.play.is_stopped and head.handle.cancelled():
                check(error is None, "after close()", error)
                head.play.check_stopped(head.handle, head.items)
            else:  # it may have ended just before it was stopped
                head.play.check_end(head.handle, head.items, error)
        except Exception as caught:
            wrong = caught
        self._ended(number, head.play, wrong)
