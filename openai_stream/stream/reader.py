"""The reader of one stream: on a thread of its own, or in a crowd for as long as nothing waits.

It has the answers read one after the other, and tells the end. What the bytes mean is the
protocol's business, and when a stream has ended the state's.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_stream.candidates import Candidates
from openai_stream.errors import OpenAIStreamError
from openai_stream.observers import Ended
from openai_stream.transport import Aborted, can_take_turns

from .answers import Answers
from .ending import Callbacks, Ending
from .exit import Exit, live
from .reading import Reading, Wait
from .sinks import Sink, SinkFailed
from .state import Core

if TYPE_CHECKING:
    from .crowd import Crowd, Seat

__all__ = ["Reader"]

_log = logging.getLogger("openai_stream")

_numbers = itertools.count(1)

_OVER = Wait.OVER


class Reader:
    """Reads a stream. :meth:`connect` and :meth:`start` are the caller's; the rest is the thread's.

    That is the stream's own, or that of a crowd. From one to the other it goes by being handed on:
    whoever hands it on does nothing more with it.

    :param core: the stream.
    :param sink: where its events go.
    :param candidates: who may be asked for it.
    :param callbacks: the user's functions for the end.
    :param restarts: how often an answer that breaks off is asked for again; of each candidate.
    :param ended: is told the outcome, where anybody observes.
    :param crowd: where it is read together with others, if it can be.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        candidates: Candidates,
        callbacks: Callbacks,
        restarts: int,
        ended: Ended | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self._core = core
        self._sink = sink
        self._ending = Ending(core, sink, callbacks, candidates.secrets, ended)
        self._answers = Answers(core, sink, candidates, restarts, self._ending)
        if sink.is_waited_for or callbacks.on_done or callbacks.on_error:
            crowd = None  # the user's functions may take their time
        self._crowd = crowd
        if crowd is not None:
            core.in_crowd = crowd.is_here
        self._seat: Seat | None = None
        self._context: contextvars.Context | None = None  # of its turns
        self._reading: Reading | None = None
        self._is_to_ask = False  # what there was of an answer has been read
        if ended is not None:
            core.figures.time_chunks()
        #: Set when it has nothing more to do.
        self.left = threading.Event()
        #: Taken by the thread when it begins, or by whom a Ctrl-C kept from starting it.
        self._begun = threading.Lock()

    # -- before the thread --------------------------------------------------------------------

    def connect(self) -> None:
        """Make the request on the calling thread.

        :raises OpenAIStreamError: there is no response to stream.
        """
        Exit.prepare()
        try:
            response = self._answers.connect()
        except BaseException as error:
            with self._core.lock:
                self._core.cancel()
            self._ending.observe(error)
            raise
        self._core.begin(response)

    def start(self) -> None:
        """Start the thread, or join the crowd.

        :raises OpenAIStreamError: the system gives no thread.
        """
        Exit.prepare()
        core = self._core
        live.add(self)
        try:
            if core.response is None or not self._join():
                self._start_thread(self._run)
        except BaseException as error:
            with core.lock:
                core.cancel()
            # After a Ctrl-C it may be running, or about to, or never come to it.
            if self._begun.acquire(blocking=False):
                live.discard(self)
                self.left.set()
                if core.response is not None:
                    core.response.close()
                self._ending.observe(error)
            if not isinstance(error, RuntimeError):
                raise
            raise OpenAIStreamError(f"cannot start a reader thread: {error}") from error

    def _start_thread(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(work,),
            name=f"openai-stream-{next(_numbers)}",
            daemon=Exit.daemon,
        )
        self._core.thread = thread
        thread.start()

    # -- any thread of its own ----------------------------------------------------------------

    def _run(self) -> None:
        if self._begun.acquire(blocking=False):
            self._work(self._read_answers)

    def _work(self, work: Callable[[], bool]) -> None:
        """Do some of what is to be done.

        :param work: returns whether that goes on elsewhere, or later; what it raises is the end.
        """
        raised: BaseException | None = None
        try:
            if work():
                return
        except BaseException as caught:
            raised = caught
        try:
            self._end_by(raised)
        finally:
            del raised  # its traceback leads here

    def _end_by(self, raised: BaseException | None) -> None:
        """The end has come, by what was raised; well, or by ``close()``, if that is nothing."""
        if isinstance(raised, SinkFailed):  # by a callback or a foreign queue
            self._end(raised.error, True)
        else:
            self._end(None if isinstance(raised, Aborted) else raised, False)

    def _end(self, error: BaseException | None, raised: bool) -> None:
        if self._core.inherited:  # a callback has forked, and come back in the child
            return
        try:
            self._ending.settle(error, raised)
        except BaseException as bug:
            # Nothing in there should raise; but whoever waits for the end must get one.
            self._ending.conclude(error or bug)
            raise
        finally:
            self._ending.observe(None, whole=False)  # if it was closed
            if not self._answers.is_to_stop:
                self._leave()
            elif self._seat is None:
                self._stop_and_leave()
            else:
                try:
                    self._hand_over(self._stop_and_leave)
                except OpenAIStreamError as no_thread:
                    _log.warning("the response was not cancelled at the server: %s", no_thread)
                    self._leave()

    def _stop_and_leave(self) -> None:
        try:
            self._answers.stop_the_server()
        finally:
            self._leave()

    def _leave(self) -> None:
        live.discard(self)
        self._core.call_those_when_over()
        self.left.set()

    def _read_answers(self) -> bool:
        """Read the answer; where it breaks off, and that is wanted, the next one.

        :returns: whether the crowd reads on.
        """
        core, answers = self._core, self._answers
        if core.response is None:
            core.begin(answers.connect())
        while True:
            try:
                if self._is_to_ask:
                    answers.ask_again()
                    self._is_to_ask = False
                if self._join():
                    return True
                reading = self._reading or answers.reading()
                self._reading = None
                self._is_to_ask = True
                reading.go_on()
                return False
            except OpenAIStreamError as error:
                if not answers.turn_from(error):
                    raise

    def _join(self) -> bool:
        """Have the crowd read, if there is one and it can."""
        crowd = self._crowd
        if crowd is None or self._reading is not None or not can_take_turns(self._core.call):
            return False
        self._context = contextvars.copy_context()
        return crowd.add(self)

    # -- the thread of a crowd ----------------------------------------------------------------

    def sit(self, seat: Seat) -> None:
        """See :class:`~.crowd.Member`."""
        self._seat = seat
        with self._core.lock:
            self._core.room.call = seat.call

    def rise(self) -> None:
        """See :class:`~.crowd.Member`."""
        self._seat = None
        with self._core.lock:
            self._core.room.call = None

    def turn(self) -> Wait | None:
        """See :class:`~.crowd.Member`."""
        assert self._context is not None
        raised: BaseException | None = None
        try:
            wait = self._context.run(self._turn)
            if wait is not _OVER:
                return wait
        except BaseException as caught:
            raised = caught
        try:
            self._context.run(self._end_by, raised)
        finally:
            del raised  # its traceback leads here
        return None

    def _turn(self) -> Wait | None:
        try:
            if self._reading is None and not self._begin_turns():
                return None
            assert self._reading is not None
            return self._reading.go_on()
        except (Aborted, SinkFailed):
            raise
        except OpenAIStreamError as error:
            self._reading = None
            if not self._answers.may_go_on():
                self._answers.turn_from(error)
                raise
            # What follows waits: for a moment, for a connection, for headers.
            self._hand_over(partial(self._work, partial(self._go_on_after, error)))
            return None
        except BaseException as error:  # nothing else of the user's is called here
            if self._reading is not None:
                self._reading.close()
            raise _bug() from error

    def _begin_turns(self) -> bool:
        """The first turn with a response.

        :returns: whether others follow.
        """
        seat = self._seat
        if not self._begins():
            return False
        self._core.thread = threading.current_thread()
        self._reading = self._answers.reading()
        turns = self._reading.take_turns()
        if turns is None or seat is None:
            self._crowd = None
            self._hand_over(partial(self._work, self._read_answers))
            return False
        seat.watch(turns)
        return True

    def _begins(self) -> bool:
        """It has begun, or does so now; not if a Ctrl-C kept it from that."""
        return self._core.thread is not None or self._begun.acquire(blocking=False)

    def _go_on_after(self, error: OpenAIStreamError) -> bool:
        if not self._answers.turn_from(error):
            raise error
        self._is_to_ask = True
        return self._read_answers()

    def _hand_over(self, work: Callable[[], object]) -> None:
        """Go on on a thread of its own."""
        if self._seat is not None:
            self._seat.leave()  # before that thread may take another one
        try:
            self._start_thread(work)
        except RuntimeError as error:
            raise OpenAIStreamError(f"cannot start a reader thread: {error}") from error

    def seconds_left(self) -> float:
        """See :class:`~.crowd.Member`."""
        return self._core.call.seconds_of_total()

    def fail(self, error: BaseException) -> None:
        """See :class:`~.crowd.Member`."""

        def end() -> bool:
            if self._reading is not None:
                self._reading.close()
            raise _bug() from error

        if self._begins():
            self._work(end)

    def go_alone(self) -> None:
        """See :class:`~.crowd.Member`."""
        self._crowd = None
        if self._begins():
            if self._reading is not None:
                self._reading.wait_again()
            self._hand_over(partial(self._work, self._read_answers))

    # -- the interpreter's exit ---------------------------------------------------------------

    @property
    def is_waited_for(self) -> bool:
        """The interpreter does not end before it: its callbacks are what the script is for."""
        core = self._core
        return self._sink.is_waited_for and not (core.inherited or core.on_reader)

    @property
    def inherited(self) -> bool:
        """This is a forked child, which has no such thread."""
        return self._core.inherited

    def end_copy(self) -> None:
        """What this thread would read is the parent's, and so is whom it would call."""
        if self._core.on_reader:
            self._core.end_copy()

    def cancel_soon(self) -> None:
        """Close it without ever waiting: a Ctrl-C may have come just when the lock was taken."""
        self._core.lock.hand_over(self._core.cancel)

    def join(self, seconds: float) -> None:
        """Wait for the thread, so long at most; for that of a crowd, until it has no stream."""
        if self._core.thread is not None:
            self._core.thread.join(seconds)


def _bug() -> OpenAIStreamError:
    return OpenAIStreamError(
        "a bug in openai-stream ended the stream: please report it, with the traceback of its "
        "__cause__"
    )
