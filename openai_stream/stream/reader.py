"""The reader of one stream: connect, read, restart, and tell the end, on a thread of its own.

What the bytes mean is the protocol's business, and when a stream has ended the state's.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeGuard

from openai_stream import retrying
from openai_stream.candidates import Candidates, stop
from openai_stream.errors import (
    OpenAIStreamError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from openai_stream.observers import Ended
from openai_stream.protocol import StreamProtocol
from openai_stream.transport import Aborted, Body, Expired, check_codings

from .ending import Callbacks, Ending
from .exit import Exit, live
from .items import Restarted
from .sinks import Sink, SinkFailed
from .state import Core

if TYPE_CHECKING:
    import requests

__all__ = ["Reader"]

_log = logging.getLogger("openai_stream")

_numbers = itertools.count(1)


def _is_passing(error: OpenAIStreamError) -> TypeGuard[StreamError]:
    """Whether the same request may do better: what ``restarts`` are for."""
    if not isinstance(error, StreamError):
        return False
    if isinstance(error, StreamTimeoutError) and error.deadline == "total":
        return False
    return error.retryable and not isinstance(error, StreamAPIError)


class Reader:
    """Reads a stream. :meth:`connect` and :meth:`start` are the caller's; the rest is the thread's.

    :param core: the stream.
    :param sink: where its events go.
    :param candidates: who may be asked for it.
    :param callbacks: the user's functions for the end.
    :param restarts: how often an answer that breaks off is asked for again; of each candidate.
    :param ended: is told the outcome, where anybody observes.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        candidates: Candidates,
        callbacks: Callbacks,
        restarts: int,
        ended: Ended | None = None,
    ) -> None:
        self._core = core
        self._sink = sink
        self._candidates = candidates
        self._secrets = candidates.secrets
        self._restarts = restarts
        self._has_events = False  # some have been delivered
        #: What is to be told before the next event: what came before is void.
        self._again: Restarted | None = None
        self._ending = Ending(core, sink, callbacks, candidates.secrets, ended)
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
            response = self._connect()
        except BaseException as error:
            with self._core.lock:
                self._core.cancel()
            self._ending.observe(error)
            raise
        self._core.begin(response)

    def _connect(self) -> requests.Response:
        """Ask one after the other until one has a response."""
        candidates, core = self._candidates, self._core
        while True:
            try:
                return candidates.now.open(core.call)
            except OpenAIStreamError as error:
                if not candidates.move_on(error, core.call):
                    raise
            core.ask(candidates.now.asked)

    def start(self) -> None:
        """Start the thread.

        :raises OpenAIStreamError: the system gives no thread.
        """
        Exit.prepare()
        core = self._core
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"openai-stream-{next(_numbers)}",
            daemon=Exit.daemon,
        )
        core.thread = thread
        live.add(self)
        try:
            thread.start()
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

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        error: BaseException | None = None
        raised = False  # by a callback or a foreign queue
        try:
            self._read_answers()
        except Aborted:
            pass
        except SinkFailed as failed:
            error, raised = failed.error, True
        except BaseException as caught:
            error = caught
        try:
            self._ending.settle(error, raised)
        except BaseException as bug:
            # Nothing in there should raise; but whoever waits for the end must get one.
            self._ending.conclude(error or bug)
            raise
        finally:
            self._ending.observe(None, whole=False)  # if it was closed
            self._stop_the_server()
            live.discard(self)
            self._core.call_those_when_over()
            self.left.set()

    def _stop_the_server(self) -> None:
        """Cancel what goes on in the background, if the stream was closed for that."""
        background = self._candidates.now.background
        if background is not None and self._core.is_to_stop:
            stop(background, self._secrets)

    def _read_answers(self) -> None:
        """Read the answer; where it breaks off, and that is wanted, ask for the rest, or for all of
        it again, or ask the next candidate.
        """
        core, candidates = self._core, self._candidates
        call = core.call
        if core.response is None:
            core.begin(self._connect())
        restarts = all_restarts = 0
        broke: StreamError | None = None  # why the last answer broke off
        ready, wait = True, 0.0
        while True:
            try:
                if not ready:
                    self._pause(wait)
                    now = candidates.now
                    core.begin(now.open_again(call) if restarts else now.open(call))
                ready = False
                self._read()
                return
            except OpenAIStreamError as error:
                if isinstance(error, StreamError):
                    self._ending.complete(error)
                    broke = error
                if restarts < self._restarts and _is_passing(error):
                    candidates.note(error)
                    restarts, all_restarts = restarts + 1, all_restarts + 1
                    wait = retrying.backoff(restarts - 1)
                    rest = candidates.now.can_go_on
                    is_void = not rest
                    self._log_restart(error, restarts, wait, rest)
                elif candidates.move_on(error, call):
                    restarts, wait = 0, 0.0
                    is_void = self._has_events
                    if not is_void:
                        self._again = None
                        core.ask(candidates.now.asked)
                else:
                    raise
                if is_void:
                    assert broke is not None  # or there would be no events
                    number = candidates.number
                    self._again = Restarted(all_restarts + number, broke, number)

    def _pause(self, seconds: float) -> None:
        try:
            self._core.call.sleep(seconds)
        except Expired:
            raise self._timed_out() from None

    def _log_restart(self, error: StreamError, restarts: int, wait: float, rest: bool) -> None:
        _log.warning(
            "%s. Asking for the %s in %.1f s (restart %d of %d)",
            str(error),  # not the error, which leads to frames and what had come
            "rest" if rest else "answer again",
            wait,
            restarts,
            self._restarts,
        )

    def _read(self) -> None:
        """Read one response to its end, and keep the connection where that is possible.

        :returns: when the answer is complete.
        """
        core, sink = self._core, self._sink
        response = core.response
        assert response is not None
        try:
            body = Body(response, core.call)
        except BaseException:
            response.close()
            raise
        try:
            try:
                self._read_events(response, body)
            except Exception:
                sink.flush()  # what was parsed before it went wrong
                raise
        except Expired:
            raise self._timed_out() from None
        finally:
            sink.release()
            body.close()

    def _read_events(self, response: requests.Response, body: Body) -> None:
        """Read what has arrived, feed it, deliver what came, flush; again.

        A burst is delivered before the network is waited for again, and its first event at once.
        """
        core, sink = self._core, self._sink
        candidate, again = self._candidates.now, self._again
        accumulator = core.begin_sum(candidate.asked, goes_on=again is None)
        figures = core.figures.of_answer(core.call)

        def on_first() -> None:
            figures.note_first()
            self._has_events = True
            if again is not None:  # only now is what came before void
                self._again = None
                core.count(accumulator, candidate.asked)
                sink.restart(again)

        protocol = StreamProtocol(
            core.endpoint,
            accumulator,
            candidate.max_bytes,
            response.headers.get("content-type", ""),
            self._secrets,
            on_first,
            figures.looking(core.endpoint.carries, candidate.background),
        )
        figures.protocol = protocol
        core.figures.begin(figures)
        check_codings(response.headers.get("content-encoding", ""), self._secrets)
        deliver, flush = figures.timed(sink.deliver), sink.flush
        read, feed, note_wait = body.read, protocol.feed, figures.note_wait
        at_end = False
        try:
            while not (protocol.ended or at_end):
                note_wait()
                flush()
                try:
                    block = read()
                except (StreamInterruptedError, StreamDecodeError) as error:
                    if (instead := protocol.broken(error)) is error:
                        raise
                    raise instead from None
                at_end = not block
                events = protocol.end(body.framed) if at_end else feed(block)
                deque(map(deliver, events), 0)  # a loop, without a step of ours between two
            protocol.finish()
        finally:
            note_wait()
        flush()  # before the connection's farewell, which may take a moment
        body.finish()

    def _timed_out(self) -> StreamTimeoutError:
        call = self._core.call
        return StreamTimeoutError(call.expiry(), deadline=call.expired)

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

    def cancel_soon(self) -> None:
        """Close it without ever waiting: a Ctrl-C may have come just when the lock was taken."""
        self._core.lock.hand_over(self._core.cancel)

    def join(self, seconds: float) -> None:
        """Wait for the thread, so long at most."""
        if self._core.thread is not None:
            self._core.thread.join(seconds)
