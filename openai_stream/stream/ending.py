"""How the end of a stream is told: the last callback, then the queues, then everybody who waits.

Whoever reads the answer calls it: the stream's own thread, which may be held up by the user's
functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from openai_stream import observers
from openai_stream.errors import OpenAIStreamError, StreamError
from openai_stream.logged import log_raised
from openai_stream.redaction import Secrets, purge, shown
from openai_stream.transport import drop_tracebacks

from .calling import call
from .sinks import Sink, SinkFailed
from .state import Core

__all__ = ["Callbacks", "Ending"]


@attrs.frozen(eq=False, repr=False)
class Callbacks:
    """The user's functions for the end, called on the reader thread whatever the sink is.

    :param on_done: once, with the accumulated answer.
    :param on_error: once, with the error.
    """

    on_done: Callable[[Any], object] | None = None
    on_error: Callable[[BaseException], object] | None = None


class Ending:
    """Tells the end of one stream. For the thread that reads it.

    :param core: the stream.
    :param sink: where its events went.
    :param callbacks: the user's functions.
    :param secrets: what must show nowhere.
    :param ended: is told the outcome, where anybody observes.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        callbacks: Callbacks,
        secrets: Secrets,
        ended: observers.Ended | None,
    ) -> None:
        self._core = core
        self._sink = sink
        self._callbacks = callbacks
        self._secrets = secrets
        self._ended = ended

    def settle(self, error: BaseException | None, raised: bool) -> None:
        """Tell the end, once there is one.

        :param error: why it failed; ``None``: the answer is complete, or the stream was closed.
        :param raised: the error is a callback's or a foreign queue's, so the user's own.
        """
        core = self._core
        on_done = self._callbacks.on_done
        whole = None
        if error is None:
            # Closed before there was a response, there is no answer.
            if on_done is not None and core.response is not None:
                whole = core.answer()  # it may take its time, so not while close() waits
        elif not raised and isinstance(error, OpenAIStreamError):
            drop_tracebacks(error)
            if isinstance(error, StreamError):
                self.complete(error)
                core.hold(error.snapshot)
            else:
                purge(error, self._secrets)
        with core.calling:  # before the state says so: close() waits for what is about to start
            ending = core.begin_end()
            if ending and error is None and on_done is not None:
                try:
                    call(on_done, whole)
                except BaseException as caught:
                    error, raised = caught, True
            if ending and error is not None:
                self._tell_error(error, raised)
        # A foreign ``put`` may block forever, so nothing is held here.
        try:
            self._sink.end(error if ending else None)
        except SinkFailed as failed:
            if ending and error is None:
                error = failed.error
                self._tell_error(error, raised=True)
        if ending:  # otherwise it was closed, and everybody else knows
            self.conclude(error)

    def conclude(self, error: BaseException | None) -> None:
        """Tell the outcome to who observes, to the queues, and to everybody who waits."""
        self.observe(error, whole=error is None)
        self._core.conclude(error)

    def observe(self, error: BaseException | None, whole: bool = False) -> None:
        """Tell the outcome to who observes calls; the first time counts. With no lock held.

        :param whole: the answer is complete: the stream neither failed nor was closed.
        """
        if self._ended is not None:
            core = self._core
            first = core.stats().first_event_seconds
            chunks = core.figures.chunk_seconds
            self._ended(observers.Outcome(error, core.snapshot, first, chunks, whole))

    def complete(self, error: StreamError) -> None:
        """Add what the reader does not know: where it was, and what had come."""
        drop_tracebacks(error)
        if error.snapshot is None:
            error.snapshot = self._core.snapshot()
        if self._core.response is not None:
            error.url = self._secrets(shown(self._core.response.url))
        purge(error, self._secrets)

    def _tell_error(self, error: BaseException, raised: bool) -> None:
        if self._callbacks.on_error is not None:
            try:
                call(self._callbacks.on_error, error)
            except BaseException as raised_too:
                log_raised("on_error raised", raised_too)
        elif raised or not self._sink.tells_errors or not isinstance(error, OpenAIStreamError):
            # Nobody would ever know.
            log_raised("a stream that has no on_error failed", error)
