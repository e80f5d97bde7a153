"""The life of a stream: its reader thread, its one state machine, and :class:`Stream`, the handle.

How bytes become events is the reader's business, how requests are made the client's; here is when
things begin and end, on which thread, and who is told.

::

    CONNECTING ──► STREAMING ──► ENDING ──► DONE
        │              │            └─────► FAILED
        └──────────────┴──────────────────► CANCELLED

``CONNECTING`` is seen with ``nowait`` only; where no response comes, it leads to ``ENDING`` too. In
``ENDING`` the outcome is certain, the connection is gone, and the last callback runs. Every step is
taken under the stream's one lock, and each end is told by one function: :meth:`Core._settle` on the
reader thread, :meth:`Core._cancel` on any.

Who refers to whom: handles (``EventQueue`` → ``Stream``) → :class:`Core` ← thread. The core knows
the queue only weakly. So a handle that is dropped is collected although the thread runs, and its
finalizer ends the thread.

Locks, in the order in which they may be taken: ``Core.calling``, then ``Core.lock``. The first is
held by the reader while callbacks run, and nobody waits for it without a limit. The second is held
for moments, never while anything waits or user code runs; finalizers hand their work over to its
holder (see ``locks``).
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import enum
import itertools
import logging
import opcode
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

import attrs

from .accumulate import Asked
from .arguments import check_function
from .endpoints import Endpoint
from .errors import (
    CLOSED,
    OpenAIStreamError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamTimeoutError,
)
from .exit import Exit, live
from .future import ResultFuture
from .items import Restarted
from .locks import HandoverLock
from .observers import Ended, Outcome
from .queues import EventQueue, Subscription
from .reader import Reader, Received
from .redaction import Secrets, purge, shown
from .sinks import (
    CallbackSink,
    ForeignSink,
    QueueSink,
    ReplaySink,
    Sink,
    SinkFailed,
)
from .structured import JSONAnswer
from .transport import Aborted, Expired, NetworkCall, drop_tracebacks

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    import requests

    from .timeouts import Timeout

__all__ = ["Callbacks", "Core", "State", "Stats", "Stream"]

_log = logging.getLogger("openai_stream")

_CALLBACK_GRACE = 0.05  # seconds that close() waits for a callback that is running
_TURNS = 200  # so often it waits for one that is about to start; more than any machine needs

E = TypeVar("E")
W = TypeVar("W")
T = TypeVar("T")

_numbers = itertools.count(1)


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


@attrs.frozen
class Callbacks:
    """The user's functions, all called on the reader thread.

    :param on_next: with each event.
    :param on_done: once, with the accumulated answer.
    :param on_error: once, with the error.
    """

    on_next: Callable[[Any], object] | None = None
    on_done: Callable[[Any], object] | None = None
    on_error: Callable[[BaseException], object] | None = None


@attrs.frozen
class Stats:
    """Figures of a stream, taken when bytes arrive: a slow consumer does not blur them.

    :param connect_seconds: TCP, proxy and TLS; 0 on a kept connection, ``None`` before.
    :param first_event_seconds: from the call to the arrival of the first event.
    :param longest_gap_seconds: the longest wait for the network between two events.
    :param seconds: from the call to the end, or to now.
    :param events: events received.
    :param keep_alives: comments and events without data received.
    :param bytes: received over the wire, headers included.
    """

    connect_seconds: float | None
    first_event_seconds: float | None
    longest_gap_seconds: float
    seconds: float
    events: int
    keep_alives: int
    bytes: int


def _is_passing(error: StreamError) -> bool:
    """Whether the same request may do better: what ``restarts`` are for."""
    if isinstance(error, StreamTimeoutError):
        return error.deadline != "total"
    if isinstance(error, StreamDecodeError):
        return not error.lasting
    return not isinstance(error, StreamAPIError)


class Core(Generic[E, W]):
    """A stream, as the thread and the handles share it.

    :param endpoint: what is streamed.
    :param asked: what is known of the request, for the sum of its answer.
    :param timeout: the limits, from now.
    :param connect: makes the request, with an exchange; raises what the call should raise.
    :param limit: the most bytes of one event.
    :param secrets: what must show nowhere.
    :param callbacks: the user's functions.
    :param live_on: it goes on when no handle is left.
    :param replay: keep the events for subscribers.
    :param restarts: how often an answer that breaks off is asked for again.
    :param ended: is told the outcome, where anybody observes.
    """

    _sink: Sink

    def __init__(
        self,
        endpoint: Endpoint[E, W],
        asked: Asked,
        timeout: Timeout,
        connect: Callable[[NetworkCall], requests.Response],
        limit: int,
        secrets: Secrets,
        callbacks: Callbacks,
        live_on: bool,
        replay: bool,
        restarts: int,
        ended: Ended | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.asked = asked
        self.state = State.CONNECTING
        #: No more events to a callback or a foreign queue: the stream is closed, or drains.
        self.muted = False
        self.error: BaseException | None = None
        self.response: requests.Response | None = None
        self.callbacks = callbacks
        self.live_on = live_on
        self.lock = HandoverLock()
        self.room = threading.Condition(self.lock)  # type: ignore[arg-type]
        self.calling = threading.Lock()
        self.exchange = NetworkCall(timeout, streaming=True, lock=self.lock)
        self._accumulator = endpoint.accumulator(asked)
        self._over = threading.Condition(self.lock)  # type: ignore[arg-type]
        self._connect = connect
        self._limit = limit
        self._restarts = restarts
        self._secrets = secrets
        self._ended = ended
        self._queue: weakref.ref[EventQueue[E, W]] | None = None
        self._history: list[Any] | None = [] if replay else None
        #: The number of the newest restart among all items, counted from 1, and the item itself.
        self._restarted_at = 0
        self._restarted: Restarted | None = None
        self._subscribers: list[weakref.ref[EventQueue[E, W]]] = []
        self._sink_of: Callable[[Core[Any, Any]], CallbackSink | ForeignSink] | None = None
        self._reader: Reader | None = None  # the newest
        self._earlier = Received()  # what those before it received
        self._thread: threading.Thread | None = None
        self.left = threading.Event()  # the reader has nothing more to do
        #: Taken by the reader when it begins, or by whom a Ctrl-C kept from starting it.
        self._begun = threading.Lock()
        self._ended_at: float | None = None
        #: What a stream that failed holds: it may be an answer that did not come in events.
        self._held: W | None = None
        #: What is called when the reader has nothing more to do; ``None`` once that is so.
        self._when_over: list[Callable[[], object]] | None = []
        self._pid = os.getpid()
        if callbacks.on_next is not None:
            self._sink_of = partial(CallbackSink, on_next=callbacks.on_next)

    # -- before the thread --------------------------------------------------------------------

    def make_queue(
        self, handle: Stream[E, W], maxsize: int, stream_close: bool
    ) -> EventQueue[E, W]:
        """The stream's own queue, which gets the events as long as it lives."""
        queue = EventQueue(handle, self.lock, self.room, maxsize, stream_close)
        self._queue = weakref.ref(queue)
        return queue

    def put_on(self, put: Callable[[Any], object], tag: Any) -> None:
        """Have the events put on a queue that is not ours."""
        self._sink_of = partial(ForeignSink, put=put, tag=tag)

    def connect(self) -> None:
        """Make the request on the calling thread.

        :raises OpenAIStreamError: there is no response to stream.
        """
        Exit.prepare()
        try:
            self.response = self._connect(self.exchange)
        except BaseException as error:
            with self.lock:
                self._cancel()
            self._observe(error)
            raise
        self.state = State.STREAMING

    def start(self) -> None:
        """Start the reader thread.

        :raises OpenAIStreamError: the system gives no thread.
        """
        Exit.prepare()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"openai-stream-{next(_numbers)}",
            daemon=Exit.daemon,
        )
        live.add(self)
        try:
            self._thread.start()
        except BaseException as error:
            with self.lock:
                self._cancel()
            # After a Ctrl-C it may be running, or about to, or never come to it.
            if self._begun.acquire(blocking=False):
                live.discard(self)
                self.left.set()
                if self.response is not None:
                    self.response.close()
                self._observe(error)
            if not isinstance(error, RuntimeError):
                raise
            raise OpenAIStreamError(f"cannot start a reader thread: {error}") from error

    # -- the reader thread --------------------------------------------------------------------

    def _run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        error: BaseException | None = None
        raised = False  # by a callback or a foreign queue
        # As long as the thread runs: the sink knows the core, and a circle keeps both until the
        # garbage is collected.
        self._sink = self._make_sink()
        try:
            self._read_answers()
        except Aborted:
            pass
        except SinkFailed as failed:
            error, raised = failed.error, True
        except BaseException as caught:
            error = caught
        try:
            self._settle(error, raised)
        except BaseException as bug:
            # Nothing in there should raise; but whoever waits for the end must get one.
            self._observe(error or bug)
            self._conclude(error or bug)
            raise
        finally:
            del self._sink
            self._observe(None)  # where it was closed
            live.discard(self)
            self._call_when_over()
            self.left.set()

    def _make_sink(self) -> Sink:
        if self._sink_of is None:
            return QueueSink(self)
        sink = self._sink_of(self)
        return sink if self._history is None else ReplaySink(self, sink)

    def _read_answers(self) -> None:
        """Read the answer; where it breaks off, and that is wanted, ask again from the start."""
        if self.response is None:
            self._reconnect()
        again: Restarted | None = None
        while True:
            try:
                self._read(again)
                return
            except StreamError as error:
                restarts = 0 if again is None else again.attempt
                if restarts >= self._restarts or not _is_passing(error):
                    raise
                self._complete(error)
                again = Restarted(restarts + 1, error)
                _log.debug("restart %d of the stream, after %s", restarts + 1, type(error).__name__)
            try:
                self.exchange.back_off(restarts)
            except Expired:
                raise self._timed_out() from None
            self._reconnect()

    def _reconnect(self) -> None:
        """Make a request, on the reader thread."""
        response = self._connect(self.exchange)
        with self.lock:
            self.response = response
            if self.state is State.CONNECTING:
                self.state = State.STREAMING

    def _read(self, again: Restarted | None) -> None:
        """Read one response.

        :param again: what to tell before its first event.
        """
        response = self.response
        assert response is not None
        accumulator = self._accumulator
        if again is not None:
            accumulator = self.endpoint.accumulator(self.asked)

        def on_first() -> None:
            # Only now is what came before void.
            if again is not None:
                self._accumulator = accumulator
                self._sink.restart(again)

        try:
            reader = Reader(
                response, self.exchange, self.endpoint, accumulator, self._limit, self._secrets
            )
        except BaseException:
            response.close()
            raise
        if self._reader is not None:  # a void answer: its figures stay, and nothing else of it
            self._earlier = self._earlier.and_then(self._reader.received)
        self._reader = reader
        try:
            try:
                reader.read(self._sink.deliver, self._sink.flush, on_first)
            except Exception:
                self._sink.flush()  # what was parsed before it went wrong
                raise
        except Expired:
            raise self._timed_out() from None
        finally:
            self._sink.release()
            reader.close()

    def _timed_out(self) -> StreamTimeoutError:
        return StreamTimeoutError(self.exchange.expiry(), deadline=self.exchange.expired)

    def _complete(self, error: StreamError) -> None:
        """Add what the reader does not know: where it was, and what had come."""
        drop_tracebacks(error)
        if error.snapshot is None:
            error.snapshot = self.snapshot()
        if self.response is not None:
            error.url = self._secrets(shown(self.response.url))
        purge(error, self._secrets)

    def _settle(self, error: BaseException | None, raised: bool) -> None:
        """Tell the end: the last callback, then the queues, then everybody who waits.

        :param raised: the error is a callback's or a foreign queue's, so the user's own.
        """
        whole = None
        if error is None:
            if self.callbacks.on_done is not None:
                whole = self.snapshot()  # it may take its time, so not while close() waits
        elif not raised and isinstance(error, OpenAIStreamError):
            drop_tracebacks(error)
            if isinstance(error, StreamError):
                self._complete(error)
                self._held = error.snapshot
            else:
                purge(error, self._secrets)
        with self.calling:  # before the state says so: close() waits for what is about to start
            with self.lock:
                ending = self.state in _ALIVE
                if ending:
                    self.state = State.ENDING
                    self._ended_at = time.monotonic()
            if ending and error is None and self.callbacks.on_done is not None:
                try:
                    self._call(self.callbacks.on_done, whole)
                except BaseException as caught:
                    error, raised = caught, True
            if ending and error is not None:
                self._tell_error(error, raised)
        # A foreign ``put`` may block for ever, so nothing is held here.
        try:
            self._sink.end(error if ending else None)
        except SinkFailed as failed:
            if ending and error is None:
                error = failed.error
                self._tell_error(error, raised=True)
        if ending:  # otherwise it was closed, and everybody else knows
            self._observe(error)
            self._conclude(error)

    def _observe(self, error: BaseException | None) -> None:
        """Tell the outcome to who observes calls; the first time counts. With no lock held."""
        if self._ended is not None:
            first = self.stats().first_event_seconds
            self._ended(Outcome(error, self.snapshot, first))

    def _conclude(self, error: BaseException | None) -> None:
        """Tell the outcome to the queues and to everybody who waits."""
        with self.lock:
            if self.state in _OVER:
                return
            self.error = error
            self.state = State.DONE if error is None else State.FAILED
            for queue in self._queues():
                queue._end(error)
            self._over.notify_all()

    def _tell_error(self, error: BaseException, raised: bool) -> None:
        if self.callbacks.on_error is not None:
            try:
                self._call(self.callbacks.on_error, error)
            except BaseException:
                _log.exception("on_error raised")
        elif raised or self.callbacks.on_next or not isinstance(error, OpenAIStreamError):
            # In queue mode the consumer gets it; otherwise nobody would ever know.
            _log.error("a stream that has no on_error failed", exc_info=error)

    def _call_when_over(self) -> None:
        with self.lock:
            calls, self._when_over = self._when_over or [], None
        for call in calls:
            self.call_when_over(call)

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
        except BaseException:
            _log.exception("a done callback raised")

    def _call(self, function: Callable[[Any], object], value: Any) -> None:
        """Call a function of the user's: the one place but for ``CallbackSink.deliver``."""
        function(value)

    # -- with the lock held -------------------------------------------------------------------

    @property
    def streaming(self) -> bool:
        """Events are wanted, if only for the result."""
        return self.state is State.STREAMING

    def queue(self) -> EventQueue[E, W] | None:
        """The stream's own queue, if there is one that still takes events."""
        return None if self._queue is None else self._queue()

    def forget(self, again: Restarted) -> None:
        """What was recorded is void."""
        if self._history is not None:
            self._restarted_at += len(self._history) + 1
            self._restarted = again
            self._history.clear()
            for queue in self._queues(own=False):
                queue._force([again])

    def record(self, events: list[Any]) -> None:
        """Keep the events for subscribers, and give them to those that are there."""
        if self._history is not None:
            self._history += events
            for queue in self._queues(own=False):
                queue._force(events)

    def _queues(self, own: bool = True) -> list[EventQueue[E, W]]:
        """The queues that still live, the own one last."""
        queues = [queue for ref in self._subscribers if (queue := ref()) is not None]
        if own and (queue := self.queue()) is not None:
            queues.append(queue)
        return queues

    def _cancel(self) -> None:
        """End it without a result. Waits for nothing: finalizers come here too."""
        if self.state not in _ALIVE:
            return
        self.state = State.CANCELLED
        self.muted = True
        self._ended_at = time.monotonic()
        for queue in self._queues():
            queue._end(None, cut=True)
        self.exchange.abort()
        self.room.notify_all()
        self._over.notify_all()

    def _drain(self) -> None:
        """End it for the consumer, but read on for the result, as long as somebody holds it."""
        if self.state not in _ALIVE or self.muted:
            return
        self.muted = True
        self.live_on = False
        queue = self.queue()
        if queue is not None:
            queue._end(None, cut=True)
            self._queue = None
        self.room.notify_all()

    # -- any thread ---------------------------------------------------------------------------

    @property
    def inherited(self) -> bool:
        """This is a forked child: the reader, and the socket, are the parent's."""
        return os.getpid() != self._pid

    def check_not_inherited(self) -> None:
        """Refuse to wait for what cannot come.

        :raises RuntimeError: the stream goes on, but in the process that forked this one.
        """
        if self.inherited and self.state not in _OVER:
            raise RuntimeError("the stream belongs to the process that this one was forked from")

    def close(self, drain: bool = False) -> None:
        """See :meth:`Stream.close`."""
        if self.inherited:
            return
        self.lock.run(self._drain if drain else self._cancel)
        if self._on_reader():
            return
        # From here on no callback is called that was not about to be when the state changed. One
        # that runs is waited for, but not for long: it may itself be waiting for this thread. One
        # that is about to start is waited for until it has: it only waits for its turn to run.
        for _ in range(_TURNS):
            if self.calling.acquire(timeout=_CALLBACK_GRACE):
                self.calling.release()
                return
            if not self._call_is_pending():
                return

    def _call_is_pending(self) -> bool:
        """The reader is about to call one of the user's functions, but not a line of it has run.

        Between our last look at the state and the first line of the function a thread may lose its
        turn, on a busy machine for longer than anybody would guess. No flag can tell that it is
        just there, for the user's function sets none; the thread's own frames do.
        """
        thread = self._thread
        frame = None if thread is None else sys._current_frames().get(thread.ident or 0)
        inner = None
        while frame is not None and frame.f_code not in _CALLERS:
            inner, frame = frame, frame.f_back
        if frame is None:
            # It holds ``calling`` without being at a call: in ENDING one may follow. Otherwise it
            # has yet to look at the state, which will tell it not to call.
            return self.state is State.ENDING
        if inner is None:  # a function in C; or, in ``_call`` itself, not that far
            return frame.f_code is _CALLERS[1] and _is_at_its_start(frame)
        return _is_at_its_start(inner)

    def subscribe(self, handle: Stream[E, W], after: int | None) -> EventQueue[E, W]:
        """See :meth:`Stream.subscribe`."""
        queue = Subscription(handle, self.lock, threading.Condition(self.lock), 0, False)  # type: ignore[arg-type]
        with self.lock:
            if self._history is None:
                raise RuntimeError("subscribe() needs a stream that was made with replay=True")
            queue.begin(after, self._restarted_at, self._restarted)
            queue._force(self._history)
            if self.state in _OVER:
                queue._end(self.error, cut=self.state is State.CANCELLED)
            else:
                self._subscribers = [ref for ref in self._subscribers if ref() is not None]
                self._subscribers.append(weakref.ref(queue))
        return queue

    def unsubscribe(self, queue: EventQueue[E, W]) -> None:
        """End one subscriber; the stream goes on. From anywhere, like :meth:`close`."""
        if not self.inherited:
            self.lock.run(lambda: self._unsubscribe(queue))

    def _unsubscribe(self, queue: EventQueue[E, W]) -> None:
        others = [ref for ref in self._subscribers if ref() is not queue]
        if len(others) < len(self._subscribers) and self.state not in _OVER:
            self._subscribers = others
            queue._end(None, cut=True)

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
            self.lock.hand_over(self._cancel)

    def wait(self, timeout: float | None) -> None:
        """Wait for the end.

        :raises TimeoutError: it did not come in time.
        :raises RuntimeError: this is a callback of the stream, which would wait for itself.
        """
        if self.state in _OVER:
            return
        if self._on_reader():
            raise RuntimeError("a callback cannot wait for the end of its own stream")
        self.check_not_inherited()
        until = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            while self.state not in _OVER:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"the stream has not ended within {timeout} s")
                self._over.wait(left)

    def snapshot(self) -> W:
        """The answer as far as it has come."""
        if self._held is not None:
            return self._held
        return self.endpoint.whole(self._accumulator.snapshot())

    def stats(self) -> Stats:
        """The figures so far."""
        exchange, received, reader = self.exchange, self._earlier, self._reader
        if reader is not None:
            received = received.and_then(reader.received)
        end = time.monotonic() if self._ended_at is None else self._ended_at
        return Stats(
            connect_seconds=exchange.connect_seconds,
            first_event_seconds=received.first_event_seconds,
            longest_gap_seconds=received.longest_gap_seconds,
            seconds=end - exchange.started,
            events=received.events,
            keep_alives=received.keep_alives,
            bytes=exchange.bytes,
        )

    def _on_reader(self) -> bool:
        return threading.current_thread() is self._thread

    # -- the interpreter's exit ---------------------------------------------------------------

    @property
    def is_waited_for(self) -> bool:
        """The interpreter does not end before it: its callbacks are what the script is for."""
        return self.callbacks.on_next is not None and not self.inherited and not self._on_reader()

    def cancel_soon(self) -> None:
        """Close it without ever waiting: a Ctrl-C may have come just when the lock was taken."""
        self.lock.hand_over(self._cancel)

    def join(self, seconds: float) -> None:
        """Wait for the reader thread, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)


#: The code that calls the user's functions on the reader thread; ``_call_is_pending`` knows them.
_CALLERS = (CallbackSink.deliver.__code__, Core._call.__code__)
_RESUME = opcode.opmap.get("RESUME")  # Python 3.11


def _is_at_its_start(frame: FrameType) -> bool:
    """Not a line of a function has run: threads take turns where one begins."""
    last = frame.f_lasti
    return last < 0 or frame.f_code.co_code[last] == _RESUME


class Stream(Generic[E, W]):
    """The handle of a stream, in the manner of :class:`concurrent.futures.Future`.

    All methods may be called from any thread. In queue mode the stream is closed when its handles,
    this and the queue, are no longer referenced.
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: Core[E, W]) -> None:
        self._core = core

    def result(self, timeout: float | None = None) -> W:
        """Wait for the end and return the whole answer: what ``stream=False`` would have returned.

        :param timeout: seconds to wait at most.
        :raises TimeoutError: they are over; the stream goes on.
        :raises concurrent.futures.CancelledError: the stream was closed.
        :raises OpenAIStreamError: the stream failed; or whatever a callback raised.
        :raises RuntimeError: called from a callback of the same stream.
        """
        core = self._core
        try:
            core.wait(timeout)
        except BaseException:
            del self  # see ``EventQueue.get``
            raise
        if core.state is State.CANCELLED:
            raise concurrent.futures.CancelledError(CLOSED)
        if core.error is not None:
            self._raise(core.error)
        return core.snapshot()

    def _raise(self, error: BaseException) -> NoReturn:
        try:
            raise error
        finally:
            del error  # or the traceback, which has this frame, would keep it in a circle

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return its error, ``None`` where it ended well.

        :param timeout: seconds to wait at most.
        :raises TimeoutError: they are over; the stream goes on.
        :raises concurrent.futures.CancelledError: the stream was closed.
        :raises RuntimeError: called from a callback of the same stream.
        """
        core = self._core
        try:
            core.wait(timeout)
        except BaseException:
            del self  # see ``EventQueue.get``
            raise
        if core.state is State.CANCELLED:
            raise concurrent.futures.CancelledError(CLOSED)
        return core.error

    def done(self) -> bool:
        """It has ended: well, with an error, or closed."""
        return self._core.state in _OVER

    def cancelled(self) -> bool:
        """It was closed before it had ended."""
        return self._core.state is State.CANCELLED

    def running(self) -> bool:
        """It has not ended yet."""
        return self._core.state not in _OVER

    def add_done_callback(self, fn: Callable[[Stream[E, W]], object]) -> None:
        """Have a function called when the stream is over, however it ended, closed included.

        It is the last thing that happens on the reader thread: ``result()`` is there, and after a
        ``close()`` it may be a little later. Where that is past, it is called at once, on this
        thread. What it raises is logged.

        :param fn: called with the stream. If it refers to the handle, it keeps the stream alive.
        :raises TypeError: it cannot be called, or is a coroutine function.
        """
        check_function("fn", fn)
        core, ref = self._core, weakref.ref(self)
        core.call_when_over(lambda: fn(ref() or Stream(core)))

    def future(self) -> concurrent.futures.Future[W]:
        """The result as a :class:`concurrent.futures.Future`.

        For :func:`concurrent.futures.wait`, :func:`~concurrent.futures.as_completed` and
        :func:`asyncio.wrap_future`. It holds this handle; the stream knows it only weakly, so one
        that nobody holds is gone. Its ``cancel()`` closes the stream.
        """
        future = ResultFuture(self)
        ref = weakref.ref(future)

        def settle() -> None:
            known = ref()
            if known is not None:
                known.settle()

        self._core.call_when_over(settle)
        return future

    def close(self, drain: bool = False) -> None:
        """Stop the stream, from any thread and at any moment; twice is harmless.

        The consumer is released at once: what is in the queue stays, then comes ``DONE``. The
        reader is woken and closes the connection, so that the server stops generating. After this
        has returned no callback starts; where one is running, it is waited for up to 50
        milliseconds, unless this is it.

        :param drain: release the consumer, but let the reader go on quietly, so that
            :meth:`result` still has the whole answer, and the usage that an interrupted stream
            never sends. Until then :meth:`running` is true and the deadlines hold; ``on_next`` is
            called no more, ``on_done`` and ``on_error`` are; subscribers get their events; a
            foreign queue gets its ``DONE`` when the next event comes. Closing without ``drain``,
            or dropping every handle, ends it.
        """
        self._core.close(drain)

    def subscribe(self, after: int | None = None) -> EventQueue[E, W]:
        """A new queue that gives every event from the first, also after the end, then the end.

        For a page that was reloaded, or a second reader at its own pace; unbounded. On it,
        ``close()`` and ``with`` end only this subscription. From any thread.

        :param after: leave out the first so many items. They are numbered from 1 over the stream's
            whole life, :class:`Restarted` included. A number from before the newest restart gives
            that ``Restarted`` and all of the new answer; one above what there is waits for the next
            item.
        :raises RuntimeError: the stream was not made with ``replay=True``.
        :raises ValueError: ``after`` is negative.
        :raises TypeError: it is not an int.
        """
        if after is not None and (not isinstance(after, int) or isinstance(after, bool)):
            raise TypeError(f"after must be an int, not {after!r}")
        if after is not None and after < 0:
            raise ValueError(f"after must not be negative: {after}")
        return self._core.subscribe(self, after)

    @overload
    def parsed(self, cls: None = None, timeout: float | None = None) -> Any: ...
    @overload
    def parsed(self, cls: type[T], timeout: float | None = None) -> T: ...
    def parsed(self, cls: Any = None, timeout: float | None = None) -> Any:
        """Wait for the end and return the answer as an object of a class.

        :param cls: the class; default: the one that was asked for (``response_format``,
            ``text_format``).
        :param timeout: seconds to wait at most.
        :raises StructuredOutputError: the answer is not JSON of that class; ``reason`` says why.
        :raises TypeError: there is no class.
        :raises: as :meth:`result`.
        """
        if cls is None:
            cls = self._core.asked.cls
        if cls is None:
            raise TypeError("parsed() needs a class, as none was given to the call")
        return JSONAnswer.of(self.result(timeout)).parsed(cls)

    def snapshot(self) -> W:
        """The answer as far as it has come: a copy, at any time, also after a failure."""
        return self._core.snapshot()

    @property
    def status_code(self) -> int | None:
        """The HTTP status; ``None`` before there is a response."""
        response = self._core.response
        return None if response is None else response.status_code

    @property
    def headers(self) -> Mapping[str, str] | None:
        """The response's headers, found in any case; ``None`` before there is a response."""
        response = self._core.response
        return None if response is None else response.headers

    @property
    def request_id(self) -> str | None:
        """The ``x-request-id`` header, which OpenAI's support asks for."""
        headers = self.headers
        return None if headers is None else headers.get("x-request-id")

    @property
    def stats(self) -> Stats:
        """Times and counts so far."""
        return self._core.stats()

    def __enter__(self) -> Stream[E, W]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a stream has a thread, and is not to be copied or pickled")

    def __repr__(self) -> str:
        return f"<Stream of {self._core.endpoint.path}, {self._core.state.name.lower()}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.handle_dropped()
