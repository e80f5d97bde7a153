"""What a user holds of a stream: :class:`Stream`, and in queue mode :class:`EventQueue`.

Their methods may be called from any thread. A stream whose handles are all gone is closed by the
finalizer of the last one, unless it has callbacks.
"""

from __future__ import annotations

import concurrent.futures
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from openai_stream import structured
from openai_stream.arguments import check_function
from openai_stream.errors import CLOSED

from .burst_queue import BurstQueue
from .future import ResultFuture
from .replay import SubscriberQueue
from .source import Source
from .state import Core, State
from .stats import Stats
from .taking import E_co, TakingQueue, W_co

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EventQueue", "Stream", "Subscription", "source_of"]

E = TypeVar("E")
W = TypeVar("W")
T = TypeVar("T")


class Stream(Generic[E, W]):
    """The handle of a stream, in the manner of :class:`concurrent.futures.Future`.

    All methods may be called from any thread. In queue mode the stream is closed when its handles,
    this and the queue, are no longer referenced.

    .. versionadded:: 0.1
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: Core[E, W]) -> None:
        self._core = core

    def result(self, timeout: float | None = None) -> W:
        """Wait for the end and return the whole answer: what ``stream=False`` would have returned.

        :param timeout: seconds to wait at most.
        :raises TimeoutError: they have passed; the stream continues.
        :raises concurrent.futures.CancelledError: the stream was closed.
        :raises OpenAIStreamError: the stream failed; or whatever a callback raised.
        :raises RuntimeError: called from a callback of the same stream; with ``readers``, from one
            of any stream that the same threads read.
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
        return core.answer()

    def _raise(self, error: BaseException) -> NoReturn:
        try:
            raise error
        finally:
            del error  # or the traceback, which has this frame, would keep it in a circle

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return its error, ``None`` if it succeeded.

        :param timeout: seconds to wait at most.
        :raises TimeoutError: they have passed; the stream continues.
        :raises concurrent.futures.CancelledError: the stream was closed.
        :raises RuntimeError: called from a callback of the same stream; with ``readers``, from one
            of any stream that the same threads read.
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
        return self._core.is_over

    def cancelled(self) -> bool:
        """It was closed before it had ended."""
        return self._core.state is State.CANCELLED

    def running(self) -> bool:
        """It has not ended yet."""
        return not self._core.is_over

    def add_done_callback(self, fn: Callable[[Stream[E, W]], object]) -> None:
        """Call a function when the stream has ended, for any reason, including ``close()``.

        It is called last on the reader thread, when ``result()`` is available; after a ``close()``
        that may be a little later. With ``readers`` that thread reads other streams too: the
        function must not block. If the stream has already ended, it is called at once, on this
        thread. Its exceptions are logged.

        :param fn: called with the stream. If it refers to the handle, it keeps the stream alive.
        :raises TypeError: it cannot be called, or is a coroutine function.
        """
        check_function("fn", fn)
        core, ref = self._core, weakref.ref(self)
        core.call_when_over(lambda: fn(ref() or Stream(core)))

    def future(self) -> concurrent.futures.Future[W]:
        """The result as a :class:`concurrent.futures.Future`.

        For :func:`concurrent.futures.wait`, :func:`~concurrent.futures.as_completed` and
        :func:`asyncio.wrap_future`. It refers to this handle; the stream has only a weak reference
        to the future. Its ``cancel()`` closes the stream.
        """
        future = ResultFuture(self)
        ref = weakref.ref(future)

        def settle() -> None:
            known = ref()
            if known is not None:
                known.settle()

        self._core.call_when_over(settle)
        return future

    def close(self, drain: bool = False, cancel: bool = True) -> None:
        """Stop the stream, from any thread and at any moment; calling it twice is harmless.

        The consumer is released at once: it gets the events that are in the queue, then ``DONE``.
        The reader is woken and closes the connection, so that the server stops generating. After
        this has returned no callback starts. If one is running on another thread, this waits for
        it, up to 50 milliseconds.

        :param drain: release the consumer, but let the reader go on quietly, so that
            :meth:`result` still has the whole answer, and the usage that an interrupted stream
            never sends. Until then :meth:`running` is true and the deadlines hold; ``on_next`` is
            called no more, ``on_done`` and ``on_error`` are; subscribers get their events; a
            foreign queue gets its ``DONE`` when the next event comes. Closing without ``drain``,
            or dropping every handle, ends it.
        :param cancel: a response that was asked for with ``background=True``, or resumed, goes on
            at the server though its connection is closed: so the reader has the server cancel it,
            once, within the ``connect`` time, and logs it if that fails. ``False`` leaves it
            running, to be resumed. Nothing else than ``close()``, the end of a ``with`` block and
            ``shutdown()`` cancels it. It makes no difference for other streams, and with ``drain``.
        """
        self._core.close(drain, cancel)

    def subscribe(self, after: int | None = None) -> EventQueue[E, W]:
        """A new queue that gives every event from the first, also after the end, then the end.

        For a page that was reloaded, or a second reader at its own pace; unbounded. On it,
        ``close()`` and ``with`` end only this subscription. From any thread.

        :param after: leave out this many items. Items are numbered from 1 over the stream's whole
            life, :class:`Restarted` included. A number from before the newest restart gives that
            ``Restarted`` and all of the new answer; a number above the last item waits for the next
            one.
        :raises RuntimeError: the stream was not made with ``replay=True``.
        :raises ValueError: ``after`` is negative.
        :raises TypeError: it is not an int.
        """
        if after is not None and (not isinstance(after, int) or isinstance(after, bool)):
            raise TypeError(f"after must be an int, not {after!r}")
        if after is not None and after < 0:
            raise ValueError(f"after must not be negative: {after}")
        return Subscription(self, self._core.subscribe(after))

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
        return structured.JSONAnswer.of(self.result(timeout)).parsed(cls)

    def snapshot(self) -> W:
        """A copy of the answer so far, at any time, also after a failure."""
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
        raise TypeError("a stream has a thread, and cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<Stream of {self._core.endpoint.path}, {self._core.state.name.lower()}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.handle_dropped()


class EventQueue(TakingQueue[E_co, W_co]):
    """The events of a stream, in order, then :data:`DONE`: a ``queue.Queue``.

    ``get()`` returns the events, then ``DONE``; if the stream failed, it raises the error once,
    instead of ``DONE``. After that the queue is empty, or shut down if the call had
    ``stream_close=True``. A loop over the queue runs to the end. If the end has already been taken,
    a loop finishes at once, or raises the error again.

    Any number of threads may take from it. When the queue and its :attr:`stream` are both no longer
    referenced, the stream is closed.

    Made by ``create_…(stream=True)``, not by hand.

    .. versionadded:: 0.1
    """

    def __init__(self, stream: Stream[E_co, W_co], bursts: BurstQueue) -> None:
        super().__init__(stream._core, bursts)
        self._stream = stream

    @property
    def stream(self) -> Stream[E_co, W_co]:
        """The handle of the stream that fills the queue."""
        return self._stream

    def close(self, drain: bool = False, cancel: bool = True) -> None:
        """``stream.close()``: stop the stream; what is in the queue stays, then comes ``DONE``.

        :param drain: let the stream go on for its result.
        :param cancel: have the server stop a response that runs in the background.
        """
        self._stream.close(drain, cancel)

    def __enter__(self) -> EventQueue[E_co, W_co]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a stream's queue has a lock, and cannot be copied or pickled")

    def __repr__(self) -> str:
        return f"<EventQueue of {self.qsize()}, {self._core.state.name.lower()}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.queue_dropped()

    def shutdown(self, immediate: bool = False) -> None:
        """As ``queue.Queue.shutdown`` of Python 3.13, on every Python. It closes the stream too.

        :param immediate: drop what is in the queue, instead of letting it be taken.
        """
        self.close()
        self._core.lock.run(lambda: self._bursts.shut_down(immediate))


class Subscription(EventQueue[E_co, W_co]):
    """A queue of :meth:`Stream.subscribe <openai_stream.Stream.subscribe>`."""

    def __init__(self, stream: Stream[E_co, W_co], bursts: SubscriberQueue) -> None:
        super().__init__(stream, bursts)
        self._subscriber = bursts

    def position(self) -> int:
        """The number of the item before the next that it gives."""
        with self._subscriber.lock:
            return self._subscriber.position()

    def is_from_the_start(self) -> bool:
        """It was made without ``after``, and nothing was taken yet."""
        with self._subscriber.lock:
            return self._subscriber.is_from_the_start()

    def close(self, drain: bool = False, cancel: bool = True) -> None:
        """End this subscription: what is in the queue stays, then comes ``DONE``.

        :param drain: makes no difference.
        :param cancel: makes no difference.
        """
        self._core.unsubscribe(self._subscriber)

    def __del__(self) -> None:
        """Nobody waits for room in it."""


def source_of(events: EventQueue[Any, Any]) -> Source:
    """A user's queue, for those who consume it for them."""
    return events._source()
