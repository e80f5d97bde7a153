"""What takes from a stream's queue: ``queue.Queue``'s methods, and those that read answers.

What is inherited of ``queue.Queue`` (``qsize``, ``join``, ``task_done``, ``put_nowait``) works on
the very deque, lock and conditions of the :class:`~.burst_queue.BurstQueue`.
"""

from __future__ import annotations

import importlib.util
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, cast

from openai_stream import structured

from . import consuming
from .burst_queue import ENDS, BurstQueue, Failure
from .items import DONE, Done
from .source import Source
from .state import Core

__all__ = ["TakingQueue", "queue_class"]

_NOTHING = object()


def queue_class() -> type[queue.Queue[Any]]:
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

    from openai_stream.parts import Part

    E_co = TypeVar("E_co", covariant=True)
    W_co = TypeVar("W_co", covariant=True, default=Any)

    class _Queue(queue.Queue[Any], Generic[E_co, W_co]):
        """What it is at run time too: there ``EventQueue[E]`` and ``EventQueue[E, W]`` both go."""

else:
    E_co = W_co = Any
    _Queue = queue_class()


class TakingQueue(_Queue[E_co, W_co]):
    """Gives the items of a burst queue to any number of threads.

    :param core: the stream that puts them there.
    :param bursts: the queue, which nobody else takes from.
    """

    def __init__(self, core: Core[E_co, W_co], bursts: BurstQueue) -> None:
        self._core = core
        self._bursts = bursts
        # Without ``queue.Queue.__init__``, which makes its own of each of these.
        self.maxsize = bursts.maxsize
        self.queue = bursts.items
        self.mutex = cast(threading.Lock, bursts.lock)
        self.not_empty = bursts.not_empty
        self.not_full = bursts.room
        self.all_tasks_done = bursts.all_done

    def get(self, block: bool = True, timeout: float | None = None) -> E_co | Done:
        """The next event; after the last one ``DONE``.

        :param block: wait for it; otherwise raise ``queue.Empty`` if there is none.
        :param timeout: seconds to wait at most, then ``queue.Empty``.
        :raises queue.Empty: nothing arrived in time.
        :raises ShutDown: the end was taken, and the queue was to be shut down after it.
        :raises OpenAIStreamError: the stream failed; raised once, instead of ``DONE``.
        """
        item: Any
        try:
            item = self.queue.popleft()
        except IndexError:
            item = _NOTHING
        if item is _NOTHING:  # not in the handler: tracebacks would tell of the IndexError
            try:
                item = self._bursts.wait(block, timeout)
            except BaseException:
                # Sessions keep the traceback of an interrupt (``sys.last_traceback``, Jupyter), and
                # that keeps this frame: it must not keep the queue, and so the stream.
                del self
                raise
        if self._bursts.crowded:
            self._bursts.make_known_room()
        if item.__class__ is Failure:
            raise item.error
        return item  # type: ignore[no-any-return]  # cast() is a call, and this runs once an event

    def get_nowait(self) -> E_co | Done:
        """``get(block=False)``."""
        return self.get(block=False)

    def __iter__(self) -> Iterator[E_co]:
        """The events to the end; raises the stream's error where it failed.

        Leaving the loop early does not close the stream; ``with events:`` does.
        """
        bursts = self._bursts
        items = bursts.items
        while True:
            try:
                item = items.popleft()
            except IndexError:
                item = _NOTHING
            if item is _NOTHING:
                try:
                    item = bursts.wait(True, None, to_the_end=True)
                except BaseException:
                    del self  # see ``get``
                    raise
            if bursts.crowded:
                bursts.make_known_room()
            if item.__class__ in ENDS:
                if item is DONE:
                    return
                raise item.error
            yield item

    def text(self, choice: int = 0, *, every: float | None = None) -> Iterator[str]:
        """The pieces of text of one choice, as they come; raises as a loop over the queue does.

        Text cannot be taken back: if the stream restarts after some of it was given, the error that
        caused the restart is raised.

        Each piece can be encoded: the halves of a character that a server cut in two are joined,
        and one that stays alone becomes U+FFFD.

        :param choice: the choice's index.
        :param every: give at most one piece in this many seconds: faster pieces are joined, for
            windows and pages that cannot draw a hundred times a second. The first comes at once.
        :raises ValueError: ``every`` is not above 0.
        """
        if every is None:
            return consuming.text(self._source(), choice)
        consuming.check_every(every)
        return consuming.text_every(self._source(), choice, every)

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
        source = self._source()
        source.parts(choice)
        source.claim("parts")
        return cast("Iterator[Part]", consuming.parts(source, choice))

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
        source = self._source()
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
        cls = self._core.asked.cls
        element = None if cls is None else structured.element_class(cls, name)
        source = self._source()
        source.claim("items")
        return consuming.items(source, name, element)

    def _source(self) -> Source:
        return Source(self._core, self._bursts, self)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item of your own between the events, as into any ``queue.Queue``.

        :param item: what is to be put; a loop over the queue gives it like an event.
        :param block: wait for room; otherwise raise ``queue.Full`` if there is none.
        :param timeout: seconds to wait at most, then ``queue.Full``.
        :raises queue.Full: no room in time.
        :raises ShutDown: the queue was shut down.
        """
        try:
            self._bursts.put(item, block, timeout)
        except BaseException:
            del self  # see ``get``
            raise

    # ``queue.Queue``'s own methods read and set these.

    @property
    def unfinished_tasks(self) -> int:
        return self._bursts.unfinished

    @unfinished_tasks.setter
    def unfinished_tasks(self, count: int) -> None:
        self._bursts.unfinished = count

    @property
    def is_shutdown(self) -> bool:
        return self._bursts.is_shutdown

    @is_shutdown.setter
    def is_shutdown(self, value: bool) -> None:
        self._bursts.is_shutdown = value
