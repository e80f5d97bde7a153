"""A stream's result as a :class:`concurrent.futures.Future`, for all that takes one.

``concurrent.futures.wait`` and ``as_completed`` wait for many at once, ``asyncio.wrap_future``
makes one of it that a coroutine can await. How a stream lives, and who settles its future, is not
known here.
"""

from __future__ import annotations

import concurrent.futures
import threading
from contextlib import suppress
from typing import Protocol, TypeVar

__all__ = ["ResultFuture"]

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)


class _Stream(Protocol[W_co]):
    """What of a handle is used here; it may be called from any thread."""

    def close(self) -> None: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def exception(self, timeout: float | None = None) -> BaseException | None: ...
    def result(self) -> W_co: ...
    def running(self) -> bool: ...


class ResultFuture(concurrent.futures.Future[W]):
    """The result of a stream. It holds the stream's handle, which so stays alive.

    ``set_result`` and its like are the stream's own.

    :param stream: the handle.
    """

    def __init__(self, stream: _Stream[W]) -> None:
        super().__init__()
        self._stream = stream
        #: Taken by whoever settles it: the reader thread at its end, or a thread that cancels.
        self._settling = threading.Lock()

    def cancel(self) -> bool:
        """Close the stream, and wake all who wait for the result.

        :returns: ``False`` where it ended before, well or not.
        """
        if not self._stream.done():
            self._stream.close()
        if self._stream.cancelled():
            self.settle()
        return self.cancelled()

    def running(self) -> bool:
        """The stream has not ended yet."""
        return not self.done() and self._stream.running()

    def result(self, timeout: float | None = None) -> W:
        """As that of any future.

        :raises RuntimeError: it would wait for ever: see :meth:`Stream.result`.
        """
        self._look()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As that of any future; see :meth:`result`."""
        self._look()
        return super().exception(timeout)

    def _look(self) -> None:
        """Before a wait: the stream says whether that can end, and may be over already."""
        if self.done():
            return
        with suppress(TimeoutError, concurrent.futures.CancelledError):
            self._stream.exception(0)
        if self._stream.done():
            self.settle()

    def settle(self) -> None:
        """The stream is over: be so too. The first time counts; from any thread."""
        if not self._settling.acquire(blocking=False):
            return
        if self._stream.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif (error := self._stream.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(self._stream.result())
