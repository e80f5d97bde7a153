"""A stream as server-sent events for a page of one's own: :func:`event_stream`.

The events of the model are plain messages. What has a name is ours: ``restarted``, ``done``,
``failed``. So no event of any server's can be taken for the end. The last is not called ``error``,
as the browser's ``EventSource`` calls a lost connection so.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from openai_stream.models import ServerEvent
from openai_stream.stream.handles import EventQueue, Subscription, source_of
from openai_stream.stream.items import DONE, Restarted
from openai_stream.stream.source import Source

from .body import Body, nothing
from .failures import ErrorText, check_error_text, told, words_of
from .frames import KEEP_ALIVE, SILENCE, STREAM_HEADERS, comment, frame

__all__ = ["EVENT_STREAM_HEADERS", "event_stream"]

#: The headers of a response with :func:`event_stream`: its type, no caching, no buffering.
EVENT_STREAM_HEADERS: dict[str, str] = dict(STREAM_HEADERS)

#: Milliseconds, a day. An ``EventSource`` connects again after any end, unless its page closes it:
#: one that nobody closes comes back tomorrow, not every three seconds.
_NOT_SOON = 86_400_000

_DIGITS = 18  # of a number that can be one of ours


def event_stream(
    events: EventQueue[Any, Any],
    after: int | str | None = 0,
    *,
    error_text: ErrorText | None = None,
) -> Body:
    """The bytes of a ``text/event-stream``, for any WSGI response.

    Each event is a message whose data is its JSON (``to_dict()``) and whose ``id`` its number.
    Then comes one of two events:

    * ``done``, with ``{"closed": false}``, or ``true`` if the stream was closed before its end;
    * ``failed``, with ``{"type": …, "code": …, "retryable": …}``, and ``text`` if ``error_text``
      has words.

    A page closes its ``EventSource`` on both. If the answer starts again (``restarts``,
    ``fallbacks``), the event ``restarted`` says so: discard what came before. A comment is sent at
    the beginning, and after 15 seconds of silence: a server notices that the visitor has left only
    when it writes.

    :param events: the queue of a stream, which is closed with the body; or a subscription
        (:meth:`Stream.subscribe <openai_stream.Stream.subscribe>`), with which only that ends. If
        the stream has ``replay``, the body subscribes by itself.
    :param after: the number of the last event that the page has: its ``Last-Event-ID`` header, as
        it is. What is not a number is 0. Only a stream with ``replay`` can begin in the middle; a
        subscription that was made with ``after`` keeps its own.
    :param error_text: called with the error, gives the words that the page is to show, or ``None``.
        Nothing else of the error's text is sent.
    :raises TypeError: ``events`` is not the queue of a stream; ``error_text`` cannot be called.
    :raises RuntimeError: something else takes from the queue already.

    .. versionadded:: 0.1
    """
    check_error_text(error_text)
    if not isinstance(events, EventQueue):
        raise TypeError(
            f"event_stream() takes the queue of a stream, not {type(events).__name__}; "
            "stream.subscribe() gives one"
        )
    number = _number(after)
    stream = events.stream
    if isinstance(events, Subscription):
        taken: EventQueue[Any, Any] = events
        if number and events.is_from_the_start():
            taken = stream.subscribe(after=number)
            events.close()
        close = taken.close
    else:
        close = stream.close
        try:
            taken = stream.subscribe(after=number or None)
        except RuntimeError:  # it has no replay
            taken = events
    source = source_of(taken)
    source.claim("event_stream")
    before = taken.position() if isinstance(taken, Subscription) else 0
    abandon = nothing if isinstance(events, Subscription) else source.abandon
    return Body(_blocks(source, before, error_text), close, abandon)


def _number(after: object) -> int:
    """The number that a ``Last-Event-ID`` carries; 0 if it carries none."""
    if isinstance(after, str):
        after = after.strip(" ")
        is_number = after.isascii() and after.isdigit() and len(after) <= _DIGITS
        return int(after) if is_number else 0
    if isinstance(after, int) and not isinstance(after, bool):
        return max(after, 0)
    return 0


def _blocks(source: Source, number: int, error_text: ErrorText | None) -> Iterator[bytes]:
    """The events, as they come.

    :param number: of the event before the first.
    """
    yield comment("the answer follows")  # with it go the headers: the page knows it is connected
    error: Exception | None = None
    while error is None:
        try:
            item = source.take(SILENCE)
            if item is DONE:
                break
            number += 1
            block = _block(item, number)
        except queue.Empty:
            block = KEEP_ALIVE
        except Exception as failure:
            # The stream keeps the error; its traceback, with this frame, would close a circle.
            error = failure.with_traceback(None)
            break
        yield block
    if error is not None:
        failed = told(error)
        words = words_of(error, error_text)
        if words is not None:
            failed["text"] = words
        yield frame(failed, event="failed", retry=_NOT_SOON)
    elif not source.is_let_go():
        yield frame({"closed": source.is_cut()}, event="done", retry=_NOT_SOON)


def _block(item: Any, number: int) -> bytes:
    """What is sent of an item."""
    if isinstance(item, Restarted):
        data: Any = {
            "attempt": item.attempt,
            "error": told(item.error),
            "fallback": item.fallback,
        }
        return frame(data, event="restarted", number=number)
    if isinstance(item, ServerEvent):
        data = {"event": item.event, "data": item.data, "id": item.id}
    else:
        data = item.to_dict() if hasattr(item, "to_dict") else item
    return frame(data, number=number)
