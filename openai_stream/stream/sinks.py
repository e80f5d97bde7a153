"""Where the events of a stream go: its queue, its subscribers, a callback, or a queue of others.

One class for each. It knows whether the interpreter waits at its exit for what is done with its
events (``is_waited_for``), and whether whoever takes them is told of errors too (``tells_errors``):
if not, and there is no ``on_error``, errors are logged. Its methods are all called on the reader
thread: ``deliver`` with each event, ``restart`` when what came before is void, ``flush`` before
each wait for the network, ``release`` when an answer has no more events, ``end`` once with the
outcome. In a crowd nothing may wait (``waits`` is set to ``False``); there ``is_full`` says after a
``flush`` that there is no room, and the next ``flush`` is due when there is. A new sink is a new
class here; :mod:`.door` chooses. When a stream ends, and who may end it, is decided in
:mod:`.state`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from openai_stream.transport import Aborted, Expired

from .calling import calls_the_user
from .items import DONE, Restarted, Tagged
from .state import Core

__all__ = ["CallbackSink", "ForeignSink", "QueueSink", "ReplaySink", "Sink", "SinkFailed"]

_BURST = 64  # events that go to a queue together, after the first of a burst, which goes at once


class SinkFailed(BaseException):
    """A callback or a foreign ``put`` raised.

    It carries the user's exception past everything that might take it for its own.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


class QueueSink:
    """Puts events on the stream's own queue and its subscribers', bursts together.

    It is what waits for room: the one place where a slow consumer holds the server back.
    """

    is_waited_for = False
    tells_errors = True

    def __init__(self, core: Core[Any, Any]) -> None:
        self._core = core
        self._burst: list[Any] = []
        self._most = 1
        self._held: list[Any] = []  # recorded, but there was no room for it
        #: It may wait for room; otherwise :attr:`is_full` says that there is none.
        self.waits = True

    @property
    def is_full(self) -> bool:
        """There is no room for what has come, and it may not wait."""
        return bool(self._held)

    def restart(self, again: Restarted) -> None:
        self.flush()
        with self._core.lock:
            self._core.forget(again)
        self._put([again], record=False)

    def deliver(self, event: Any) -> None:
        burst = self._burst
        burst.append(event)
        if len(burst) >= self._most:
            self._most = _BURST
            self._burst = []
            self._put(burst)

    def flush(self) -> None:
        self._most = 1  # the first event after a wait goes at once
        if self._held:
            held, self._held = self._held, []
            self._put(held, record=False)
        if burst := self._burst:
            self._burst = []
            self._put(burst)
        if self._core.call.expired is not None:
            raise Expired

    def _put(self, burst: list[Any], record: bool = True) -> None:
        core = self._core
        with core.lock:
            if not core.streaming:
                raise Aborted
            if record:
                core.record(burst)
            if self._held:
                self._held += burst
                return
            while burst:
                queue = core.queue()
                if queue is None:  # dropped or drained, but the stream is held for its result
                    return
                burst = burst[queue.offer(burst) :]
                if burst:
                    if core.call.total_is_up():
                        # What has arrived is not lost, what is not parsed yet included: the next
                        # flush tells that time is up.
                        queue.force(burst)
                        return
                    if not self.waits:
                        self._held = burst
                        return
                    left = core.call.seconds_of_total()
                    del queue  # waiting must not keep it alive
                    core.room.wait(left)
                    if not core.streaming:
                        raise Aborted

    def end(self, error: BaseException | None) -> None:
        """Nothing: the core ends its queues itself, under its lock."""

    def release(self) -> None:
        """Nothing is held."""


class CallbackSink:
    """Calls ``on_next``, and sees to it that no call starts once ``close()`` has returned."""

    is_waited_for = True
    tells_errors = False
    is_full = False
    waits = True

    def __init__(self, core: Core[Any, Any], on_next: Callable[[Any], object]) -> None:
        self._core = core
        self._on_next = on_next
        self._calling = core.calling
        self._held = False
        self._timed = core.has_limit

    def restart(self, again: Restarted) -> None:
        self.deliver(again)

    @calls_the_user
    def deliver(self, event: Any) -> None:
        # Held from the first event after a wait to the next wait, not from event to event.
        if not self._held:
            self._calling.acquire()
            self._held = True
        if self._timed and self._core.call.total_is_up():
            return  # what has arrived is in the snapshot; the next flush tells that time is up
        # Last, without a call in between: one could lose its turn, and close() not know of it.
        if self._core.muted:
            if not self._core.streaming:
                raise Aborted
            return
        try:
            self._on_next(event)
        except BaseException as error:
            raise SinkFailed(error) from None

    def flush(self) -> None:
        self.release()
        if self._core.call.expired is not None:
            raise Expired
        if not self._core.streaming:
            raise Aborted  # closed by its own callback: nobody was there to be woken

    def end(self, error: BaseException | None) -> None:
        """Nothing: ``on_done`` and ``on_error`` are called by :mod:`.ending`, in every mode."""

    def release(self) -> None:
        """Let those who close the stream go on."""
        if self._held:
            self._held = False
            self._calling.release()


class ForeignSink:
    """Puts events, then the end, on a queue that is not ours: anything with ``put(item)``."""

    is_waited_for = False
    tells_errors = True
    is_full = False
    waits = True

    def __init__(self, core: Core[Any, Any], put: Callable[[Any], object], tag: Any) -> None:
        self._core = core
        self._put_item = put
        self._tag = tag
        self._over = False
        self._timed = core.has_limit

    def restart(self, again: Restarted) -> None:
        self.deliver(again)

    def deliver(self, event: Any) -> None:
        if self._core.muted:
            if not self._core.streaming:
                raise Aborted
            with contextlib.suppress(SinkFailed):  # drained: nobody is there to be told
                self.end(None)
        elif not (self._timed and self._core.call.total_is_up()):
            self._put(event)

    def flush(self) -> None:
        """Nothing is held back."""
        if self._core.call.expired is not None:
            raise Expired

    def end(self, error: BaseException | None) -> None:
        """Put the error, if it is one that the consumer waits for, then ``DONE``; once."""
        if not self._over:
            if error is not None and not self._core.muted:
                self._put(error)
            self._put(DONE)
            self._over = True

    def release(self) -> None:
        """Nothing is held."""

    def _put(self, item: Any) -> None:
        try:
            self._put_item(item if self._tag is None else Tagged(self._tag, item))
        except BaseException as error:
            self._over = True  # whoever refuses an event is not asked to take the end
            raise SinkFailed(error) from None


class ReplaySink:
    """Keeps each event for subscribers, and gives it to them, before another sink has it.

    Not in bursts: the user's function may take its time with an event, raise, or close the stream.
    """

    is_full = False
    waits = True

    def __init__(self, core: Core[Any, Any], sink: CallbackSink | ForeignSink) -> None:
        self._core = core
        self._sink = sink
        self.is_waited_for = sink.is_waited_for
        self.tells_errors = sink.tells_errors
        self.flush = sink.flush
        self.release = sink.release
        self.end = sink.end

    def restart(self, again: Restarted) -> None:
        with self._core.lock:
            self._core.forget(again)
        self._sink.restart(again)

    def deliver(self, event: Any) -> None:
        core = self._core
        with core.lock:
            if not core.streaming:
                raise Aborted
            core.record([event])
        self._sink.deliver(event)


Sink = QueueSink | CallbackSink | ForeignSink | ReplaySink
