"""A queue, as those want it who consume it for somebody: :mod:`.consuming`, and web pages."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openai_stream import structured

from .burst_queue import BurstQueue, Failure
from .replay import SubscriberQueue
from .state import Core, State

if TYPE_CHECKING:
    from openai_stream.parts.pieces import PartsReader

__all__ = ["Source"]

_NOTHING = object()


class Source:
    """Takes the items of a queue, and knows whose they are.

    :param core: the stream.
    :param bursts: its queue, or a subscriber's.
    :param handle: what must live as long as items are taken.
    """

    def __init__(self, core: Core[Any, Any], bursts: BurstQueue, handle: object) -> None:
        self._core = core
        self._bursts = bursts
        self._handle = handle

    def take(self, timeout: float | None = None) -> Any:
        """The next item as a loop takes it: ``DONE`` at the end, each time.

        :param timeout: seconds to wait at most.
        :raises queue.Empty: none came in that time.
        :raises OpenAIStreamError: the stream failed.
        """
        bursts = self._bursts
        item: Any
        try:
            item = bursts.items.popleft()
        except IndexError:
            item = _NOTHING
        if item is _NOTHING:
            try:
                item = bursts.wait(True, timeout, to_the_end=True)
            except queue.Empty:
                raise
            except BaseException:
                del self._handle  # see ``TakingQueue.get``; who takes is at an end
                raise
        if bursts.crowded:
            bursts.make_known_room()
        if item.__class__ is Failure:
            raise item.error
        return item

    def claim(self, name: str) -> None:
        """Only one of those that need every event may take them.

        :param name: of the method or function that wants to.
        :raises RuntimeError: one does already.
        """
        bursts = self._bursts
        with bursts.lock:
            if bursts.taken_by is not None:
                raise RuntimeError(
                    f"{bursts.taken_by}() takes the events of this queue already; for {name}() "
                    "beside it, make the stream with replay=True and ask stream.subscribe() for a "
                    "queue of its own"
                )
            bursts.taken_by = name

    def has_more(self) -> bool:
        """An item is there already."""
        return bool(self._bursts.items)

    def texts(self, choice: int) -> Callable[[Any], str | None]:
        """What tells the text that each event of one answer adds to a choice."""
        return self._core.endpoint.texts(self._core.asked, choice)

    def parts(self, choice: int) -> PartsReader:
        """What tells the parts that each event of one answer adds to a choice.

        :raises TypeError: of this endpoint nothing is known.
        """
        if self._core.endpoint.parts is None:
            raise TypeError(
                "the events of this endpoint are not known, and so have no parts; loop over them"
            )
        return self._core.endpoint.parts(self._core.asked, choice)

    def is_cut(self) -> bool:
        """The end that was taken is not that of the answer: it was closed, or drains."""
        return self._bursts.is_cut

    def is_let_go(self) -> bool:
        """The end that was taken is a subscription's own: the stream goes on without it."""
        return isinstance(self._bursts, SubscriberQueue) and self.is_cut() and not self.is_closed()

    def abandon(self) -> None:
        """What a finalizer does in the place of closing the stream: it waits for nothing."""
        self._core.handle_dropped()

    def answer(self) -> structured.JSONAnswer:
        """What the answer says, as far as it has come."""
        return structured.JSONAnswer.of(self._core.snapshot())

    def is_closed(self) -> bool:
        """The stream was closed before it had ended."""
        return self._core.state is State.CANCELLED
