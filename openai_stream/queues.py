"""What the consumer holds in queue mode: :class:`EventQueue`, and the values that end it.

It knows ``queue.Queue`` and the end of a stream; HTTP, JSON and the reader thread are others'
business. The reader's side of the queue is :meth:`EventQueue._offer` and :meth:`EventQueue._end`.
"""

from __future__ import annotations

import importlib.util
import queue
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, NoReturn, cast

from . import consuming
from .items import DONE, Done, Restarted, ShutDown
from .structured import JSONAnswer

if TYPE_CHECKING:
    from types import TracebackType

    from .locks import HandoverLock
    from .parts import Part
    from .parts.pieces import Reader
    from .stream import Stream

__all__ = ["EventQueue", "QueueSource", "Subscription"]


class _Failure:
    """The end of a stream that failed, as the deque carries it: ``get()`` raises it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


_ENDS = (Done, _Failure)
_NOTHING = object()


def _queue_class() -> type[queue.Queue[Any]]:
    """``queue.Queue``, the one that is written in Python.

    gevent's monkey-patching puts a compiled class in its place, whose inside is not open to heirs.
    The plain one, over patched locks, is as good a citizen: it is taken from a second copy of the
    module.
    """
    if queue.Queue.__module__ == queue.__name__:
        return queue.Queue
    spec = importlib.util.find_spec("queue")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    plain: type[queue.Queue[Any]] = copy.Queue
    return plain


if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with defaults, in typing from Python 3.13 on

    E_co = TypeVar("E_co", covariant=True)
    W_co = TypeVar("W_co", covariant=True, default=Any)

    class _Queue(queue.Queue[Any], Generic[E_co, W_co]):
        """What it is at run time too: there ``EventQueue[E]`` and ``EventQueue[E, W]`` both go."""

else:
    E_co = W_co = Any
    _Queue = _queue_class()


class EventQueue(_Queue[E_co, W_co]):
    """The events of a stream, in order, then :data:`DONE`: a ``queue.Queue``.

    ``get()`` gives the events; when they are all taken, ``DONE``, or in its place the stream's
    error is raised, once. After that it is an empty queue, or a shut down one where the stream was
    asked for with ``stream_close=True``. A loop over the queue runs to the end, and over one whose
    end has been taken it finishes at once, or raises the error again where that was the end.

    Any number of threads may take from it. When the queue and its :attr:`stream` are both no longer
    referenced, the stream is closed.

    Made by ``create_…(stream=True)``, not by hand.
    """

    # One lock guards the queue and the life of its stream. Who takes it: consumers that must wait,
    # the reader once a burst, whoever closes. Taking an item that is there needs none:
    # ``deque.popleft`` is atomic. Two flags, both set before looking and read after changing, make
    # sure that nobody sleeps through it: ``_takers`` (consumers that wait, counted under the lock,
    # so the reader sees them when it puts) and ``_crowded`` (the reader found the queue full: set
    # *before* it counts the items again, so a consumer that takes one later sees the flag).

    def __init__(
        self,
        stream: Stream[E_co, W_co],
        lock: HandoverLock,
        room: threading.Condition,
        maxsize: int,
        stream_close: bool,
    ) -> None:
        super().__init__(maxsize)
        self.mutex = cast(threading.Lock, lock)
        self.not_empty = threading.Condition(self.mutex)
        self.not_full = room
        self.all_tasks_done = threading.Condition(self.mutex)
        self.is_shutdown = False
        self._stream = stream
        self._stream_close = stream_close
        self._takers = 0
        self._crowded = False
        self._the_end: Done | _Failure | None = None  # once it has been put
        self._taken_by: str | None = None  # the method that needs every event
        self._is_cut = False  # the end that was put is not that of the answer

    # -- the consumer's side ------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> E_co | Done:
        """The next event; after the last one ``DONE``.

        :param block: wait for it; otherwise raise ``queue.Empty`` where there is none.
        :param timeout: seconds to wait at most, then ``queue.Empty``.
        :raises queue.Empty: nothing came in time.
        :raises ShutDown: the end was taken, and the queue was to be shut down after it.
        :raises OpenAIStreamError: the stream failed; once, in the place of ``DONE``.
        """
        item: Any
        try:
            item = self.queue.popleft()
        except IndexError:
            item = _NOTHING
        if item is _NOTHING:  # not in the handler: tracebacks would tell of the IndexError
            try:
                item = self._wait(block, timeout)
            except BaseException:
                # Sessions keep the traceback of an interrupt (``sys.last_traceback``, Jupyter), and
                # that keeps this frame: it must not keep the queue, and so the stream.
                del self
                raise
        if self._crowded:
            self._make_known_room()
        if item.__class__ is _Failure:
            raise item.error
        return item  # type: ignore[no-any-return]  # cast() is a call, and this runs once an event

    def get_nowait(self) -> E_co | Done:
        """``get(block=False)``."""
        return self.get(block=False)

    def __iter__(self) -> Iterator[E_co]:
        """The events to the end; raises the stream's error where it failed.

        Leaving the loop early does not close the stream; ``with events:`` does.
        """
        while True:
            try:
                item = self.queue.popleft()
            except IndexError:
                item = _NOTHING
            if item is _NOTHING:
                try:
                    item = self._wait(True, None, to_the_end=True)
                except BaseException:
                    del self  # see ``get``
                    raise
            if self._crowded:
                self._make_known_room()
            if item.__class__ in _ENDS:
                if item is DONE:
                    return
                raise item.error
            yield item

    def text(self, choice: int = 0, *, every: float | None = None) -> Iterator[str]:
        """The pieces of text of one choice, as they come; raises as a loop over the queue does.

        Text cannot be taken back: where the stream restarts after some of it was given, the error
        that was the reason is raised.

        Each piece can be encoded: the halves of a character that a server cut in two are joined,
        and one that stays alone becomes U+FFFD.

        :param choice: the choice's index.
        :param every: give at most one piece in so many seconds: what comes faster is joined, for
            windows and pages that cannot draw a hundred times a second. The first comes at once.
        :raises ValueError: ``every`` is not above 0.
        """
        if every is None:
            return consuming.text(QueueSource(self), choice)
        consuming.check_every(every)
        return consuming.text_every(QueueSource(self), choice, every)

    def parts(self, choice: int = 0) -> Iterator[Part]:
        """Typed pieces of an answer, the same for all endpoints: :mod:`openai_stream.parts`.

        A tool call is given as soon as its arguments are whole, so that the tool can run while the
        model goes on. Joined, the texts and the calls are those of the whole answer; a call that
        was cut when the stream broke is not given. Restarts are as in :meth:`text`.

        :param choice: the choice's index.
        :raises TypeError: ``choice`` is not an integer; or the endpoint is not one of the three
            whose events are known.
        :raises ValueError: it is negative.
        :raises RuntimeError: something else takes from the queue already.
        """
        consuming.check_index("choice", choice)
        source = QueueSource(self)
        source.parts(choice)
        source.claim("parts")
        return cast("Iterator[Part]", consuming.parts(source, choice))  # None needs a limit

    def partials(self, *, call: int | None = None) -> Iterator[Any]:
        """An answer that is JSON, as far as it has come, and at the end the whole value.

        Dicts and lists grow in place, strings grow too; numbers, ``true``, ``false`` and ``null``
        come whole. Of what arrives together only the last state is given. Restarts are as in
        :meth:`text`.

        :param call: the arguments of a tool call instead: its place in the order in which the
            calls begin, 0 for the first.
        :raises StructuredOutputError: the answer is not JSON, or was cut; from the loop, after
            what came. A stream that broke raises its own error.
        :raises concurrent.futures.CancelledError: the stream was closed; from the loop.
        :raises RuntimeError: something else takes from the queue already.
        """
        source = QueueSource(self)
        if call is not None:
            consuming.check_index("call", call)
            source.parts(0)
        source.claim("partials")
        return consuming.partials(source, call)

    def items(self, name: str) -> Iterator[Any]:
        """The elements of a list in an answer that is a JSON object, each as soon as it is closed.

        With a class for the answer (``response_format``, ``text_format``) each is an object of the
        list's class; without, it is a dict or what else the JSON has.

        :param name: the key of the list.
        :raises StructuredOutputError: an element does not fit, or as :meth:`partials`; from the
            loop.
        :raises ValueError: the answer's class has no list of that name.
        :raises RuntimeError: something else takes from the queue already.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        cls = self._stream._core.asked.cls
        element = None if cls is None else consuming.element_class(cls, name)
        source = QueueSource(self)
        source.claim("items")
        return consuming.items(source, name, element)

    def _wait(self, block: bool, timeout: float | None, to_the_end: bool = False) -> Any:
        """Wait for an item; ``to_the_end``, as a loop does, also for the end that others take."""
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        until = None if timeout is None else monotonic() + timeout
        self._stream._core.check_not_inherited()
        try:
            with self.mutex:
                while True:
                    try:  # without a look at it first: others take without the lock
                        return self.queue.popleft()
                    except IndexError:
                        pass
                    if to_the_end and self._the_end is not None:  # put, but gone: others took it
                        return self._the_end
                    if self.is_shutdown:
                        raise ShutDown
                    left = None if until is None else until - monotonic()
                    if not block or (left is not None and left <= 0):
                        raise queue.Empty
                    self._takers += 1
                    try:
                        self.not_empty.wait(left)
                    finally:
                        self._takers -= 1
        except BaseException:
            del self  # see ``get``
            raise

    def _make_known_room(self) -> None:
        with self.mutex:
            self._crowded = False
            self.not_full.notify_all()

    # -- anybody's side: what queue.Queue has besides ------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put something of one's own between the events, as into any ``queue.Queue``.

        :param item: what is to be put; a loop over the queue gives it like an event.
        :param block: wait for room; otherwise raise ``queue.Full`` where there is none.
        :param timeout: seconds to wait at most, then ``queue.Full``.
        :raises queue.Full: no room in time.
        :raises ShutDown: the queue was shut down.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        until = None if timeout is None else monotonic() + timeout
        try:
            with self.mutex:
                while not self.is_shutdown and 0 < self.maxsize <= len(self.queue):
                    self._crowded = True
                    if len(self.queue) < self.maxsize:
                        break
                    left = None if until is None else until - monotonic()
                    if not block or (left is not None and left <= 0):
                        raise queue.Full
                    self.not_full.wait(left)
                if self.is_shutdown:
                    raise ShutDown
                self.queue.append(item)
                self.unfinished_tasks += 1
                self.not_empty.notify()
        except BaseException:
            del self  # see ``get``
            raise

    def shutdown(self, immediate: bool = False) -> None:
        """As ``queue.Queue.shutdown`` of Python 3.13, on every Python. It closes the stream too.

        :param immediate: drop what is in the queue, instead of letting it be taken.
        """
        self.close()
        self._stream._core.lock.run(lambda: self._shut_down(immediate))

    def _shut_down(self, immediate: bool) -> None:
        self.is_shutdown = True
        if immediate:
            self.unfinished_tasks = max(0, self.unfinished_tasks - len(self.queue))
            self.queue.clear()
            if not self.unfinished_tasks:
                self.all_tasks_done.notify_all()
        self.not_empty.notify_all()
        self.not_full.notify_all()

    @property
    def stream(self) -> Stream[E_co, W_co]:
        """The handle of the stream that fills the queue."""
        return self._stream

    def close(self, drain: bool = False) -> None:
        """``stream.close()``: stop the stream; what is in the queue stays, then comes ``DONE``.

        :param drain: let the stream go on for its result.
        """
        self._stream.close(drain)

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
        raise TypeError("a stream's queue has a lock, and is not to be copied or pickled")

    def __repr__(self) -> str:
        return f"<EventQueue of {self.qsize()}, {self._stream._core.state.name.lower()}>"

    def __del__(self) -> None:
        core = getattr(getattr(self, "_stream", None), "_core", None)
        if core is not None:
            core.queue_dropped()

    # -- the stream's side: all with the lock held ---------------------------------------------

    def _offer(self, events: list[Any]) -> int:
        """Take in as many of the events as there is room for.

        :returns: how many; fewer than there are means: full, wait for ``not_full``.
        """
        if self.maxsize > 0:
            room = self.maxsize - len(self.queue)
            if room < len(events):
                self._crowded = True
                room = max(self.maxsize - len(self.queue), 0)
                events = events[:room]
        return self._force(events)

    def _force(self, events: list[Any]) -> int:
        """Take in all events, room or none."""
        self.queue.extend(events)
        self.unfinished_tasks += len(events)
        if self._takers:
            self.not_empty.notify(min(len(events), self._takers))
        return len(events)

    def _end(self, error: BaseException | None, cut: bool = False) -> None:
        """Put the end; it has room in a full queue too.

        :param cut: it is not the end of the answer: the consumer was let go before that.
        """
        self._is_cut = cut
        self._the_end = DONE if error is None else _Failure(error)
        self.queue.append(self._the_end)
        if error is None:
            self.unfinished_tasks += 1
        if self._stream_close:
            self.is_shutdown = True
        self.not_empty.notify_all()
        self.not_full.notify_all()


class Subscription(EventQueue[E_co, W_co]):
    """A queue of :meth:`Stream.subscribe <openai_stream.Stream.subscribe>`."""

    #: The number of the item before the first that it gives.
    after = 0
    _skipped = 0  # items that are still to be left out
    _arrived = 0  # items that came
    _was_asked = False  # for a place to begin at

    def begin(self, after: int | None, restarted_at: int, restarted: Restarted | None) -> None:
        """Choose where it begins; before any item, with the lock held.

        :param after: items to leave out; ``None`` for those before the newest answer.
        :param restarted_at: the number of the newest restart, 0 if there was none.
        :param restarted: that restart.
        """
        self._was_asked = after is not None
        if after is None:
            after = restarted_at
        if after < restarted_at:
            self.after = restarted_at - 1
            self._force([restarted])
        else:
            self.after = after
            self._skipped = after - restarted_at

    def _force(self, events: list[Any]) -> int:
        if self._skipped:
            skipped = min(self._skipped, len(events))
            self._skipped -= skipped
            events = events[skipped:]
        self._arrived += len(events)
        return super()._force(events)

    def position(self) -> int:
        """The number of the item before the next that it gives."""
        with self.mutex:
            ahead = len(self.queue)
            if ahead and self.queue[-1].__class__ in _ENDS:
                ahead -= 1
            return self.after + self._arrived - ahead

    def is_from_the_start(self) -> bool:
        """It was made without ``after``, and nothing was taken yet."""
        return not self._was_asked and self.position() == self.after

    def close(self, drain: bool = False) -> None:
        """End this subscription: what is in the queue stays, then comes ``DONE``.

        :param drain: makes no difference.
        """
        self._stream._core.unsubscribe(self)

    def __del__(self) -> None:
        """Nobody waits for room in it."""


class QueueSource:
    """A queue, as those want it who consume it for somebody: :mod:`.consuming`, and web pages."""

    def __init__(self, queue: EventQueue[Any, Any]) -> None:
        self._queue = queue

    def take(self, timeout: float | None = None) -> Any:
        """The next item as a loop takes it: ``DONE`` at the end, each time.

        :param timeout: seconds to wait at most.
        :raises queue.Empty: none came in that time.
        :raises OpenAIStreamError: the stream failed.
        """
        events = self._queue
        item: Any
        try:
            item = events.queue.popleft()
        except IndexError:
            item = _NOTHING
        if item is _NOTHING:
            try:
                item = events._wait(True, timeout, to_the_end=True)
            except queue.Empty:
                raise
            except BaseException:
                del self._queue, events  # see ``EventQueue.get``; who takes is at an end
                raise
        if events._crowded:
            events._make_known_room()
        if item.__class__ is _Failure:
            raise item.error
        return item

    def claim(self, name: str) -> None:
        """Only one of those that need every event may take them.

        :param name: of the method or function that wants to.
        :raises RuntimeError: one does already.
        """
        events = self._queue
        with events.mutex:
            if events._taken_by is not None:
                raise RuntimeError(
                    f"{events._taken_by}() takes the events of this queue already; for {name}() "
                    "beside it, make the stream with replay=True and ask stream.subscribe() for a "
                    "queue of its own"
                )
            events._taken_by = name

    def has_more(self) -> bool:
        """An item is there already."""
        return bool(self._queue.queue)

    def texts(self, choice: int) -> Callable[[Any], str | None]:
        """What tells the text that each event of one answer adds to a choice."""
        core = self._queue._stream._core
        return core.endpoint.texts(core.asked, choice)

    def parts(self, choice: int) -> Reader:
        """What tells the parts that each event of one answer adds to a choice.

        :raises TypeError: of this endpoint nothing is known.
        """
        core = self._queue._stream._core
        if core.endpoint.parts is None:
            raise TypeError(
                "the events of this endpoint are not known, and so have no parts; loop over them"
            )
        return core.endpoint.parts(core.asked, choice)

    def is_cut(self) -> bool:
        """The end that was taken is not that of the answer: it was closed, or drains."""
        return self._queue._is_cut

    def is_let_go(self) -> bool:
        """The end that was taken is a subscription's own: the stream goes on without it."""
        events = self._queue
        return (
            isinstance(events, Subscription) and events._is_cut and not events._stream.cancelled()
        )

    def abandon(self) -> None:
        """What a finalizer does in the place of closing the stream: it waits for nothing."""
        self._queue._stream._core.handle_dropped()

    def answer(self) -> JSONAnswer:
        """What the answer says, as far as it has come."""
        return JSONAnswer.of(self._queue._stream.snapshot())

    def is_closed(self) -> bool:
        """The stream was closed before it had ended."""
        return self._queue._stream.cancelled()
