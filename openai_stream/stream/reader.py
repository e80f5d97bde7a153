"""The reader of one stream: connect, read, restart, and tell the end, on a thread of its own.

What the bytes mean is the protocol's business, and when a stream has ended the state's.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openai_stream import retrying
from openai_stream.background import Background
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
from openai_stream.redaction import Secrets, purge
from openai_stream.transport import Aborted, Body, Expired, NetworkCall, check_codings

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


def _is_passing(error: StreamError) -> bool:
    """Whether the same request may do better: what ``restarts`` are for."""
    if isinstance(error, StreamTimeoutError) and error.deadline == "total":
        return False
    return error.retryable and not isinstance(error, StreamAPIError)


class Reader:
    """Reads a stream. :meth:`connect` and :meth:`start` are the caller's; the rest is the thread's.

    :param core: the stream.
    :param sink: where its events go.
    :param connect: makes the request, with an exchange; raises what the call should raise.
    :param limit: the most bytes of one event.
    :param secrets: what must show nowhere.
    :param callbacks: the user's functions for the end.
    :param restarts: how often an answer that breaks off is asked for again.
    :param ended: is told the outcome, where anybody observes.
    :param background: the response, if it runs in the background: it is resumed where others are
        asked for again.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        connect: Callable[[NetworkCall], requests.Response],
        limit: int,
        secrets: Secrets,
        callbacks: Callbacks,
        restarts: int,
        ended: Ended | None = None,
        background: Background | None = None,
    ) -> None:
        self._core = core
        self._sink = sink
        self._connect = connect
        self._limit = limit
        self._secrets = secrets
        self._restarts = restarts
        self._background = background
        self._ending = Ending(core, sink, callbacks, secrets, ended)
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
            response = self._connect(self._core.exchange)
        except BaseException as error:
            with self._core.lock:
                self._core.cancel()
            self._ending.observe(error)
            raise
        self._core.begin(response)

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
        if self._background is None or not self._core.is_to_stop:
            return
        try:
            self._background.cancel()
        except OpenAIStreamError as error:
            purge(error, self._secrets)
            _log.warning("the response was not cancelled at the server: %s", str(error))

    def _read_answers(self) -> None:
        """Read the answer; where it breaks off, and that is wanted, ask for the rest, or for all of
        it again.
        """
        exchange = self._core.exchange
        if self._core.response is None:
            self._core.begin(self._connect(exchange))
        again: Restarted | None = None
        restarts = 0
        while True:
            try:
                self._read(again)
                return
            except StreamError as error:
                if restarts >= self._restarts or not _is_passing(error):
                    raise
                self._ending.complete(error)
                again = None if self._can_go_on() else Restarted(restarts + 1, error)
                wait = retrying.backoff(restarts)
                _log.warning(
                    "%s. Asking for the %s in %.1f s (restart %d of %d)",
                    str(error),  # not the error, which leads to frames and what had come
                    "rest" if again is None else "answer again",
                    wait,
                    restarts + 1,
                    self._restarts,
                )
            try:
                exchange.sleep(wait)
            except Expired:
                raise self._timed_out() from None
            restarts += 1
            self._core.begin(self._connect_again())

    def _can_go_on(self) -> bool:
        return self._background is not None and self._background.can_go_on

    def _connect_again(self) -> requests.Response:
        background, exchange = self._background, self._core.exchange
        if background is None:
            return self._connect(exchange)
        if background.ident is not None:
            return background.resume(exchange)
        background.begin_anew()
        return self._connect(exchange)

    def _read(self, again: Restarted | None) -> None:
        """Read one response to its end, and keep the connection where that is possible.

        :param again: what to tell before its first event.
        :returns: when the answer is complete.
        """
        core, sink = self._core, self._sink
        response = core.response
        assert response is not None
        try:
            body = Body(response, core.exchange)
        except BaseException:
            response.close()
            raise
        try:
            try:
                self._read_events(response, body, again)
            except Exception:
                sink.flush()  # what was parsed before it went wrong
                raise
        except Expired:
            raise self._timed_out() from None
        finally:
            sink.release()
            body.close()

    def _read_events(
        self, response: requests.Response, body: Body, again: Restarted | None
    ) -> None:
        """Read what has arrived, feed it, deliver what came, flush; again.

        A burst is delivered before the network is waited for again, and its first event at once.
        """
        core, sink = self._core, self._sink
        accumulator = core.begin_sum(first=again is None)
        figures = core.figures.of_answer(core.exchange)

        def on_first() -> None:
            figures.note_first()
            if again is not None:  # only now is what came before void
                core.count(accumulator)
                sink.restart(again)

        protocol = StreamProtocol(
            core.endpoint,
            accumulator,
            self._limit,
            response.headers.get("content-type", ""),
            self._secrets,
            on_first,
            figures.looking(core.endpoint.carries, self._background),
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
        exchange = self._core.exchange
        return StreamTimeoutError(exchange.expiry(), deadline=exchange.expired)

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
