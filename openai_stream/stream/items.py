"""What stands beside the events in a queue: its end, a restart, and an item with a tag.

All of it may cross to another process, on a queue of somebody else's.
"""

from __future__ import annotations

import enum
import queue
from collections.abc import Iterator
from typing import Any, Final

import attrs

from openai_stream.errors import StreamError

__all__ = ["DONE", "Done", "Restarted", "ShutDown", "Tagged"]


class Done(enum.Enum):
    """The type of :data:`DONE`, for annotations.

    .. versionadded:: 0.1
    """

    DONE = "DONE"

    def __repr__(self) -> str:
        return "DONE"

    __str__ = __repr__


#: The one value that a queue gives after the last event.
DONE: Final = Done.DONE

if hasattr(queue, "ShutDown"):  # Python 3.13
    ShutDown = queue.ShutDown
else:

    class ShutDown(Exception):  # type: ignore[no-redef]
        """Raised when put or get is called on a queue that was shut down.

        .. versionadded:: 0.1
        """


@attrs.frozen
class Tagged:
    """An item of one of many streams that share a queue: ``tag, item = queue.get()``.

    :param tag: the ``tag`` that was given to the call.
    :param item: an event, ``DONE``, or the stream's error.

    .. versionadded:: 0.1
    """

    tag: Any
    item: Any

    def __iter__(self) -> Iterator[Any]:
        """``tag, item = queue.get()``."""
        return iter((self.tag, self.item))


@attrs.frozen
class Restarted:
    """An item among the events: the answer broke off and starts again; discard what came before.

    :param attempt: 1 for the first time that the answer is requested again. Restarts count, and
        fallbacks.
    :param error: why the last answer broke off; its ``snapshot`` has the partial answer.
    :param fallback: whose answer starts: the number of the :class:`Fallback`, from 1; 0 is the
        call's own request.

    .. versionadded:: 0.1
    """

    attempt: int
    error: StreamError
    fallback: int = 0
