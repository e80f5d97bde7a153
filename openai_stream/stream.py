"""The life of a stream: its reader thread, its one state machine, and :class:`Stream`, the handle.

How bytes become events is the reader's business, how requests are made the client's; here is when
things begin and end, on which thread, and who is told.

::

    CONNECTING ──► STREAMING ──► ENDING ──► DONE
        │              │            └─────► FAILED
        └──────────────┴──────────────────► CANCELLED

``CONNECTING`` is seen with ``nowait`` only. In ``ENDING`` the outcome is certain, the connection
is gone, and the last callback runs. Every step is taken under the stream's one lock, and each end
is told by one function: :meth:`Core._settle` on the reader thread, :meth:`Core._cancel` on any.

Who refers to whom: handles (``EventQueue`` → ``Stream``) → :class:`Core` ← thread. The core knows
the queue only weakly. So a handle that is dropped is collected although the thread runs, and its
finalizer ends the thread.

Locks, in the order in which they may be taken: ``Core._calling``, then ``Core.lock``. The first is
held by the reader while callbacks run, and nobody waits for it without a limit. The second is held
for moments, never while anything waits or user code runs; finalizers hand their work over to its
holder (see ``locks``).
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextvars
import enum
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import attrs

from .endpoints import Endpoint
from .errors import OpenAIStreamError, StreamError, StreamTimeoutError
from .locks import HandoverLock
from .queues import EventQueue
from .reader import Reader, expiry
from .transport import Aborted, Exchange, Expired

if TYPE_CHECKING:
    from types import TracebackType

    import requests

    from .timeouts import Timeout

__all__ = ["Callbacks", "Core", "State", "Stats", "Stream"]

_log = logging.getLogger("openai_stream")

_BURST = 64  # events that go to the queue together, after the first of a burst, which goes at once
_CALLBACK_GRACE = 0.05  # seconds that close() waits for a callback that is running
_EXIT_GRACE = 0.5  # seconds that the interpreter's exit waits for readers that were stopped

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


class _CallbackFailed(BaseException):
    """A callback raised: carries its exception past everything that might take it for its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Core(Generic[E, W]):
    """A stream, as the thread and the handles share it.

    :param endpoint: what is streamed.
    :param timeout: the limits, from now.
    :param connect: makes the request, with an exchange; raises what the call should raise.
    :param limit: the most bytes of one event.
    :param callbacks: the user's functions.
    :param live_on: it goes on when no handle is left.
    """

    def __init__(
        self,
        endpoint: Endpoint[E, W],
        timeout: Timeout,
        connect: Callable[[Exchange], requests.Response],
        limit: int,
        callbacks: Callbacks,
        live_on: bool,
    ) -> None:
        self.endpoint = endpoint
        self.state = State.CONNECTING
        self.error: BaseException | None = None
        self.response: requests.Response | None = None
        self.accumulator = endpoint.accumulator()
        self.callbacks = callbacks
        self.live_on = live_on
        self.lock = HandoverLock()
        self.room = threading.Condition(self.lock)  # type: ignore[arg-type]
        self.exchange = Exchange(timeout, streaming=True, lock=self.lock)
        self._over = threading.Condition(self.lock)  # type: ignore[arg-type]
        self._calling = threading.Lock()
        self._connect = connect
        self._limit = limit
        self._queue: weakref.ref[EventQueue[E]] | None = None
        self._reader: Reader | None = None
        self._thread: threading.Thread | None = None
        self._ended_at: float | None = None
        self._pid = os.getpid()

    # -- before the thread --------------------------------------------------------------------

    def attach(self, queue: EventQueue[E]) -> None:
        """Have the events put on ``queue``, as long as it lives."""
        self._queue = weakref.ref(queue)

    def queue(self) -> EventQueue[E] | None:
        """The queue, if there is one and it is still referenced."""
        return None if self._queue is None else self._queue()

    def connect(self) -> None:
        """Make the request on the calling thread.

        :raises OpenAIStreamError: there is no response to stream.
        """
        try:
            self.response = self._connect(self.exchange)
        except BaseException:
            with self.lock:
                self._cancel()
            raise
        self.state = State.STREAMING

    def start(self) -> None:
        """Start the reader thread.

        :raises OpenAIStreamError: the system gives no thread.
        """
        _Exit.register()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"openai-stream-{next(_numbers)}",
            daemon=True,  # see _Exit
        )
        _live.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            _live.discard(self)
            with self.lock:
                self._cancel()
            if self.response is not None:
                self.response.close()
            raise OpenAIStreamError(f"cannot start a reader thread: {error}") from error

    # -- the reader thread --------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        raised = False  # by a callback
        try:
            if self.response is None:
                response = self._connect(self.exchange)
                with self.lock:
                    self.response = response
                    if self.state is State.CONNECTING:
                        self.state = State.STREAMING
            self._read()
        except Aborted:
            pass
        except _CallbackFailed as failed:
            error, raised = failed.error, True
        except BaseException as caught:
            error = caught
        finally:
            if self.response is not None and self._reader is None:
                self.response.close()
        try:
            self._settle(error, raised)
        finally:
            _live.discard(self)

    def _read(self) -> None:
        assert self.response is not None
        self._reader = Reader(
            self.response, self.exchange, self.endpoint, self.accumulator, self._limit
        )
        sink = _QueueSink(self) if self.callbacks.on_next is None else _CallbackSink(self)
        try:
            try:
                self._reader.read(sink.deliver, sink.flush)
            except Exception:
                sink.flush()  # what was parsed before it went wrong
                raise
        except Expired:
            raise StreamTimeoutError(expiry(self.exchange)) from None
        finally:
            sink.close()
            self._reader.close()

    def _settle(self, error: BaseException | None, raised: bool) -> None:
        """Tell the end: the last callback, then the queue, then everybody who waits.

        :param raised: a callback raised the error, which then is the user's own, whatever it is.
        """
        whole = None
        if error is None:
            if self.callbacks.on_done is not None:
                whole = self.snapshot()  # it may take its time, so not while close() waits
        elif not raised and isinstance(error, OpenAIStreamError):
            error.__traceback__ = None  # nothing in it is the user's, and it leads back to here
            if isinstance(error, StreamError) and error.snapshot is None:
                error.snapshot = self.snapshot()
        with self._calling:  # before the state says so: close() waits for what is about to start
            with self.lock:
                if self.state not in _ALIVE:
                    return
                self.state = State.ENDING
                self._ended_at = time.monotonic()
            if error is None and self.callbacks.on_done is not None:
                try:
                    self.callbacks.on_done(whole)
                except BaseException as caught:
                    error, raised = caught, True
            if error is not None:
                self._tell_error(error, raised)
        with self.lock:
            self.error = error
            self.state = State.DONE if error is None else State.FAILED
            queue = self.queue()
            if queue is not None:
                queue._end(error)
            self._over.notify_all()

    def _tell_error(self, error: BaseException, raised: bool) -> None:
        if self.callbacks.on_error is not None:
            try:
                self.callbacks.on_error(error)
            except BaseException:
                _log.exception("on_error raised")
        elif raised or not isinstance(error, OpenAIStreamError):
            _log.error("this ended a stream that has no on_error", exc_info=error)

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

    def close(self) -> None:
        """See :meth:`Stream.close`."""
        if self.inherited:
            return
        # A signal's handler may have interrupted this very thread while it held the lock: then it
        # is done when the handler returns, and waiting for that has an end.
        self.lock.hand_over(self._cancel)
        if self.lock.acquire(timeout=_CALLBACK_GRACE):
            self.lock.release()
        # A callback that was about to start when the state changed counts as running: wait for it,
        # but not for long: it may itself be waiting for this thread.
        if not self._on_reader() and self._calling.acquire(timeout=_CALLBACK_GRACE):
            self._calling.release()

    def _cancel(self) -> None:
        """End it without a result. With the lock held; waits for nothing."""
        if self.state not in _ALIVE:
            return
        self.state = State.CANCELLED
        self._ended_at = time.monotonic()
        queue = self.queue()
        if queue is not None:
            queue._end(None)
        self.exchange.abort()
        self.room.notify_all()
        self._over.notify_all()

    def queue_dropped(self) -> None:
        """Finalizer: nobody can take from the queue any more, so nobody may wait for room."""
        if not self.inherited:
            self.lock.hand_over(self._detach)

    def _detach(self) -> None:
        # Until the finalizer has returned, the weak reference still gives the queue to the reader.
        self._queue = None
        self.room.notify_all()

    def handle_dropped(self) -> None:
        """Finalizer: nobody can see the stream any more."""
        if not self.live_on and not self.inherited:
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
        return self.endpoint.whole(self.accumulator.snapshot())

    def stats(self) -> Stats:
        """The figures so far."""
        exchange, reader = self.exchange, self._reader
        end = time.monotonic() if self._ended_at is None else self._ended_at
        return Stats(
            connect_seconds=exchange.connect_seconds,
            first_event_seconds=reader.first_event_seconds if reader else None,
            longest_gap_seconds=reader.longest_gap_seconds if reader else 0.0,
            seconds=end - exchange.started,
            events=reader.events if reader else 0,
            keep_alives=reader.keep_alives if reader else 0,
            bytes=exchange.bytes,
        )

    def _on_reader(self) -> bool:
        return threading.current_thread() is self._thread


class _QueueSink:
    """Puts events on the stream's queue, bursts together, and waits for room."""

    def __init__(self, core: Core[Any, Any]) -> None:
        self._core = core
        self._burst: list[Any] = []
        self._most = 1

    def deliver(self, event: Any) -> None:
        self._burst.append(event)
        if len(self._burst) >= self._most:
            self._put()
            self._most = _BURST

    def flush(self) -> None:
        self._most = 1  # the first event after a wait goes at once
        if self._burst:
            self._put()

    def _put(self) -> None:
        burst, self._burst = self._burst, []
        core = self._core
        with core.lock:
            while burst:
                if core.state is not State.STREAMING:
                    raise Aborted
                queue = core.queue()
                if queue is None:  # dropped, but the stream is held for its result
                    return
                burst = burst[queue._offer(burst) :]
                if burst:
                    left = core.exchange.total_left()
                    if left <= 0:
                        queue._force(burst)  # what has arrived is not lost
                        core.exchange.expired = "total"
                        raise Expired
                    del queue  # waiting must not keep it alive
                    core.room.wait(left)

    def close(self) -> None:
        pass


class _CallbackSink:
    """Calls ``on_next``, and sees to it that none starts once :meth:`Core.close` has returned."""

    def __init__(self, core: Core[Any, Any]) -> None:
        assert core.callbacks.on_next is not None
        self._core = core
        self._on_next = core.callbacks.on_next
        self._calling = core._calling
        self._held = False

    def deliver(self, event: Any) -> None:
        # Held from the first event after a wait to the next wait, not from event to event.
        if not self._held:
            self._calling.acquire()
            self._held = True
        if self._core.state is not State.STREAMING:
            raise Aborted
        try:
            self._on_next(event)
        except BaseException as error:
            raise _CallbackFailed(error) from None

    def flush(self) -> None:
        if self._held:
            self._held = False
            self._calling.release()
        if self._core.state is not State.STREAMING:
            raise Aborted  # closed by its own callback: nobody was there to be woken

    def close(self) -> None:
        if self._held:
            self._held = False
            self._calling.release()


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
        self._core.wait(timeout)
        if self._core.state is State.CANCELLED:
            raise concurrent.futures.CancelledError
        if self._core.error is not None:
            self._raise(self._core.error)
        return self._core.snapshot()

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
        self._core.wait(timeout)
        if self._core.state is State.CANCELLED:
            raise concurrent.futures.CancelledError
        return self._core.error

    def done(self) -> bool:
        """It has ended: well, with an error, or closed."""
        return self._core.state in _OVER

    def cancelled(self) -> bool:
        """It was closed before it had ended."""
        return self._core.state is State.CANCELLED

    def running(self) -> bool:
        """It has not ended yet."""
        return self._core.state not in _OVER

    def close(self) -> None:
        """Stop the stream, from any thread and at any moment; twice is harmless.

        The consumer is released at once: what is in the queue stays, then comes ``DONE``. The
        reader is woken and closes the connection, so that the server stops generating. After this
        has returned no callback starts; where one is running, it is waited for up to 50
        milliseconds, unless this is it.
        """
        self._core.close()

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

    def __repr__(self) -> str:
        return f"<Stream of {self._core.endpoint.path}, {self._core.state.name.lower()}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.handle_dropped()


_numbers = itertools.count(1)
#: The streams whose thread runs: a thread keeps its core anyway.
_live: set[Core[Any, Any]] = set()


class _Exit:
    """The interpreter's exit: it waits for callbacks, not for queues, and leaves nothing running.

    The reader threads are daemons, since a thread that is not makes Ctrl-C need two signals: one
    for the script, one for the wait at its end. What a plain thread would have done is done here.
    """

    _registered = False

    @classmethod
    def register(cls) -> None:
        """At the first stream: importing has no side effects."""
        if not cls._registered:
            cls._registered = True
            atexit.register(cls._leave)

    @classmethod
    def _leave(cls) -> None:
        try:
            if not cls._interrupted():
                # One after another, and those that callbacks start meanwhile as well.
                while core := next((c for c in list(_live) if c.live_on and not c.inherited), None):
                    thread = core._thread
                    if thread is None or thread is threading.current_thread():
                        break
                    thread.join()
        finally:
            until = time.monotonic() + _EXIT_GRACE
            mine = [core for core in list(_live) if not core.inherited]
            for core in mine:
                # A Ctrl-C may have come just when this thread had taken the lock.
                core.lock.hand_over(core._cancel)
            for core in mine:
                if core._thread is not None:
                    core._thread.join(max(0.0, until - time.monotonic()))

    @staticmethod
    def _interrupted() -> bool:
        """The script ends by a Ctrl-C: it would be rude to ask for a second one."""
        last = getattr(sys, "last_type", None)
        interactive = hasattr(sys, "ps1")  # there ``last_type`` may be of long ago
        return last is not None and issubclass(last, KeyboardInterrupt) and not interactive
