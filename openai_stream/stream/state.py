"""The life of a stream: its one state machine, its one lock, and who waits for what.

How bytes become events is the protocol's business, how requests are made the client's, what runs on
which thread the reader's; here is when things begin and end, and who is woken.

::

    CONNECTING ──► STREAMING ──► ENDING ──► DONE
        │              │            └─────► FAILED
        └──────────────┴──────────────────► CANCELLED

``CONNECTING`` is seen with ``nowait`` only; where no response comes, it leads to ``ENDING`` too. In
``ENDING`` the outcome is certain, the connection is gone, and the last callback runs. Every step is
taken here, under the stream's one lock.

Who refers to whom: handles (``EventQueue`` → ``Stream``) → :class:`Core` ← reader ← thread. The
core knows the queues only weakly. So a handle that is dropped is collected although the thread
runs, and its finalizer ends the thread.

Locks, in the order in which they may be taken: ``Core.calling``, then ``Core.lock``. The first is
held by the reader while callbacks run, and nobody waits for it without a limit. The second is held
for moments, never while anything waits or user code runs; finalizers hand their work over to its
holder (see ``locks``).
"""

from __future__ import annotations

import enum
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from openai_stream.accumulate import Asked
from openai_stream.endpoints import Accumulator, Endpoint
from openai_stream.locks import HandoverLock
from openai_stream.logged import log_raised
from openai_stream.models import brought_by
from openai_stream.transport import NetworkCall

from .burst_queue import BurstQueue, Room
from .calling import wait_for_calls
from .items import Restarted
from .replay import History, SubscriberQueue
from .stats import Figures, Stats

if TYPE_CHECKING:
    import requests

    from openai_stream.timeouts import Timeout

__all__ = ["Core", "State"]

E = TypeVar("E")
W = TypeVar("W")


class State(enum.Enum):
    """Where a stream is in its life."""

    CONNECTING = enum.auto()
    STREAMING = enum.auto()
    ENDING = enum.auto()
    DONE = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()


_ALIVE = (State.CONNECTING, State.STREAMING)
_OVER = (State.DONE, State.FAILED, State.CANCELLED)


class Core(Generic[E, W]):
    """A stream, as its reader and its handles share it.

    :param endpoint: what is streamed.
    :param asked: what is known of the request, for the sum of its answer.
    :param timeout: the limits, from now.
    :param replay: keep the events for subscribers.
    """

    def __init__(
        self,
        endpoint: Endpoint[E, W],
        asked: Asked,
        timeout: Timeout,
        replay: bool,
    ) -> None:
        self.endpoint = endpoint
        self.asked = asked
        self.state = State.CONNECTING
        #: The whole call has a limit; with fallbacks, it may come to have one.
        self.has_limit = timeout.total is not None
        #: It goes on when no handle is left.
        self.live_on = False
        #: No more events to a callback or a foreign queue: the stream is closed, or drains.
        self.muted = False
        self.error: BaseException | None = None
        self.response: requests.Response | None = None
        self.lock = HandoverLock()
        #: The reader waits here for room in a full queue.
        self.room = Room(cast(threading.Lock, self.lock))
        #: Held by the reader while it calls the user's functions.
        self.calling = threading.Lock()
        self.call = NetworkCall(timeout, streaming=True, lock=self.lock)
        #: What there is for subscribers; ``None`` where nobody can subscribe.
        self.history = History() if replay else None
        #: The reader's thread, once it has one.
        self.thread: threading.Thread | None = None
        #: Whether this is a thread of the crowd that reads it, or is to read it.
        self.in_crowd: Callable[[], bool] = bool
        self.figures = Figures()
        #: It was closed, and the server is to stop too: by who reads it, at its end.
        self.is_to_stop = False
        self._accumulator: Accumulator = endpoint.accumulator(asked)
        self._over = self._condition()
        self._queue: weakref.ref[BurstQueue] | None = None
        #: What a stream that failed holds: it may be an answer that did not come in events.
        self._held: W | None = None
        #: What is called when the reader has nothing more to do; ``None`` once that is so.
        self._when_over: list[Callable[[], object]] | None = []
        self._pid = os.getpid()

    def _condition(self) -> threading.Condition:
        return threading.Condition(cast(threading.Lock, self.lock))

    def make_queue(self, maxsize: int, shut_at_end: bool) -> BurstQueue:
        """The stream's own queue, which gets the events as long as somebody holds it.

        :param maxsize: events that there is room for; 0 is any number.
        :param shut_at_end: it is shut down behind its end.
        """
        queue = BurstQueue(self.lock, self.room, maxsize, shut_at_end, self.check_wait)
        self._queue = weakref.ref(queue)
        return queue

    # -- the reader's side --------------------------------------------------------------------

    def begin(self, response: requests.Response) -> None:
        """There is a response to stream."""
        with self.lock:
            self.response = response
            if self.state is State.CONNECTING:
                self.state = State.STREAMING

    def ask(self, asked: Asked) -> None:
        """Another is asked, before there was an event."""
        self.count(self.endpoint.accumulator(asked), asked)

    def begin_sum(self, asked: Asked, goes_on: bool) -> Accumulator:
        """The sum of an answer.

        :param asked: what is known of its request.
        :param goes_on: otherwise the answer is another one, and does not count yet; see
            :meth:`count`.
        """
        return self._accumulator if goes_on else self.endpoint.accumulator(asked)

    def count(self, accumulator: Accumulator, asked: Asked) -> None:
        """From now on this is the sum that counts."""
        self.asked = asked
        self._accumulator = accumulator

    def hold(self, snapshot: W | None) -> None:
        """The stream fails, with this as what had come."""
        self._held = snapshot

    def begin_end(self) -> bool:
        """Nothing more will come, and the last callback is about to run.

        :returns: whether that is news; otherwise it was closed.
        """
        with self.lock:
            if self.state not in _ALIVE:
                return False
            self.state = State.ENDING
            self.figures.ended()
            return True

    def conclude(self, error: BaseException | None) -> None:
        """Tell the outcome to the queues and to everybody who waits; the first one counts."""
        with self.lock:
            if self.state not in _OVER:
                self.error = error
                self._end(State.DONE if error is None else State.FAILED)

    def call_those_when_over(self) -> None:
        """The reader has nothing more to do: call what :meth:`call_when_over` was given."""
        with self.lock:
            calls, self._when_over = self._when_over or [], None
        for call in calls:
            self.call_when_over(call)
            if self.inherited:  # it has forked: the others are the parent's to call
                return

    # -- with the lock held -------------------------------------------------------------------

    @property
    def streaming(self) -> bool:
        """Events are wanted, if only for the result."""
        return self.state is State.STREAMING

    @property
    def is_over(self) -> bool:
        """It has ended: well, with an error, or closed. Without the lock too."""
        return self.state in _OVER

    def queue(self) -> BurstQueue | None:
        """The stream's own queue, if there is one that still takes events."""
        return None if self._queue is None else self._queue()

    def forget(self, again: Restarted) -> None:
        """What was recorded is void."""
        if self.history is not None:
            self.history.forget(again)

    def record(self, events: list[Any]) -> None:
        """Keep the events for subscribers, and give them to those that are there."""
        if self.history is not None:
            self.history.record(events)

    def cancel(self) -> None:
        """End it without a result. Waits for nothing: finalizers come here too."""
        if self.state in _ALIVE:
            self.muted = True
            self.figures.ended()
            self._end(State.CANCELLED)
            self.call.abort()
            self.room.notify_all()

    def end_copy(self) -> None:
        """In a forked child, on the thread that read it: nothing more is read, nobody called."""
        # Without the lock, which a thread may hold that this process does not have.
        self.muted = True
        self.state = State.CANCELLED
        self.call.aborted = True

    def _stop(self) -> None:
        """The same, and have the server stop."""
        self.is_to_stop = self.is_to_stop or self.state in _ALIVE
        self.cancel()

    def _end(self, state: State) -> None:
        """End it: the one place. The queues get the end, whoever waits for it is woken."""
        self.state = state
        if self.history is not None:
            for subscriber in self.history.queues():
                subscriber.end(self.error, cut=state is State.CANCELLED)
        if (queue := self.queue()) is not None:
            queue.end(self.error, cut=state is State.CANCELLED)
        self._over.notify_all()

    def _drain(self) -> None:
        """End it for the consumer, but read on for the result, as long as somebody holds it."""
        if self.state not in _ALIVE or self.muted:
            return
        self.muted = True
        self.live_on = False
        queue = self.queue()
        if queue is not None:
            queue.end(None, cut=True)
            self._queue = None
        self.room.notify_all()

    # -- any thread ---------------------------------------------------------------------------

    @property
    def inherited(self) -> bool:
        """This is a forked child: the reader, and the socket, are the parent's."""
        return os.getpid() != self._pid

    @property
    def on_reader(self) -> bool:
        """This is the reader's thread."""
        return threading.current_thread() is self.thread

    def check_not_inherited(self) -> None:
        """Refuse to wait for what cannot come.

        :raises RuntimeError: the stream goes on, but in the process that forked this one.
        """
        if self.inherited and self.state not in _OVER:
            raise RuntimeError("the stream belongs to the process that this one was forked from")

    def check_wait(self, for_ever: bool = True) -> None:
        """Refuse to wait for what cannot come.

        :param for_ever: otherwise the wait has an end in any case.
        :raises RuntimeError: as of :meth:`check_not_inherited`; or this thread, and no other, is to
            read the stream.
        """
        self.check_not_inherited()
        if for_ever and self.in_crowd() and self.state not in _OVER:
            raise RuntimeError(
                "a thread that reads the streams of a client with readers cannot wait for one of "
                "them: do that on a thread of your own"
            )

    def close(self, drain: bool = False, cancel: bool = True) -> None:
        """See :meth:`Stream.close`."""
        if self.inherited:
            return
        self.lock.run(self._drain if drain else self._stop if cancel else self.cancel)
        # From here on no callback is called that was not about to be when the state changed.
        if not self.on_reader:
            wait_for_calls(self.calling, self.thread, lambda: self.state is State.ENDING)

    def subscribe(self, after: int | None) -> SubscriberQueue:
        """See :meth:`Stream.subscribe`."""
        queue = SubscriberQueue(self.lock, self.check_wait)
        with self.lock:
            if self.history is None:
                raise RuntimeError("subscribe() needs a stream that was made with replay=True")
            self.history.replay(queue, after)
            if self.state in _OVER:
                queue.end(self.error, cut=self.state is State.CANCELLED)
            else:
                self.history.add(queue)
        return queue

    def unsubscribe(self, queue: SubscriberQueue) -> None:
        """End one subscriber; the stream goes on. From anywhere, like :meth:`close`."""
        if not self.inherited:
            self.lock.run(lambda: self._unsubscribe(queue))

    def _unsubscribe(self, queue: SubscriberQueue) -> None:
        if self.history is not None and self.history.remove(queue) and self.state not in _OVER:
            queue.end(None, cut=True)

    def queue_dropped(self) -> None:
        """Finalizer: nobody can take from the queue any more, so nobody may wait for room."""
        if self.state not in _OVER and not self.inherited:
            self.lock.hand_over(self._detach)

    def _detach(self) -> None:
        # Until the finalizer has returned, the weak reference still gives the queue to the reader.
        self._queue = None
        self.room.notify_all()

    def handle_dropped(self) -> None:
        """Finalizer: nobody can see the stream any more."""
        if self.state not in _OVER and not self.live_on and not self.inherited:
            self.lock.hand_over(self.cancel)

    def wait(self, timeout: float | None) -> None:
        """Wait for the end.

        :raises TimeoutError: it did not come in time.
        :raises RuntimeError: this is a callback of the stream, which would wait for itself; or of
            another one that the same threads read.
        """
        if self.state in _OVER:
            return
        self.check_wait()
        if self.on_reader:
            raise RuntimeError("a callback cannot wait for the end of its own stream")
        until = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            while self.state not in _OVER:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"the stream has not ended within {timeout} s")
                self._over.wait(left)

    def call_when_over(self, call: Callable[[], object]) -> None:
        """Call a function as the last thing on the reader thread; now, if that has come to its end.

        What the function raises is logged.

        :raises RuntimeError: the stream goes on, but in the process that forked this one.
        """
        self.check_not_inherited()
        with self.lock:
            if self._when_over is not None:
                self._when_over.append(call)
                return
        try:
            call()
        except BaseException as error:
            if not (isinstance(error, SystemExit) and self.inherited):
                log_raised("a done callback raised", error)

    def snapshot(self) -> W:
        """The answer as far as it has come."""
        if self._held is not None:
            return self._held
        return self.endpoint.whole(self._accumulator.snapshot())

    def answer(self) -> W:
        """The whole answer, of a stream that has ended well."""
        assert self.response is not None
        return brought_by(self.snapshot(), self.response)

    def stats(self) -> Stats:
        """The figures so far."""
        return self.figures.stats(self.call)
