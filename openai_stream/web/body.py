"""The body of a response: an iterator that web servers may leave at any moment.

A server reads it to its end, leaves it in the middle when the visitor has gone, or does not begin
(``HEAD``). PEP 3333 has it call ``close()`` in each case; some servers and middlewares forget. A
generator would not do: its ``close()`` runs nothing if it was never begun, and raises while another
thread is in it. What the bytes are, and what is closed, is the business of those who make it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["Body", "nothing"]


def nothing() -> None:
    """What is left to do once a body is closed, or if nobody need be told."""


class Body(Iterator[bytes]):
    """The bytes of a response, made by :func:`event_stream` and :func:`ui_messages`.

    Each block is one event or comment, whole: it may be sent on its own. One thread reads it;
    :meth:`close` may be called by any.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        close: Callable[[], object],
        abandon: Callable[[], object],
    ) -> None:
        self._blocks = blocks
        self._close = close
        self._abandon = abandon
        self._closed = False

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        try:
            block = next(self._blocks)
        except BaseException:  # the end, too
            self.close()
            raise
        if self._closed:  # by another thread, while this one waited
            raise StopIteration
        return block

    def close(self) -> None:
        """Close the stream, or end the subscription if it was made of one; twice is harmless.

        Nothing need have been read. A thread that waits for the next block is woken.
        """
        if not self._closed:
            self._closed = True
            close = self._close
            # A server may keep the body for long; nobody will read the events.
            self._blocks, self._close, self._abandon = iter(()), nothing, nothing
            close()

    def __del__(self) -> None:
        # Forgotten by who should have closed it. A finalizer must not wait: ``close`` may.
        if not getattr(self, "_closed", True):
            self._abandon()
