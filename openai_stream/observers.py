"""Who is told of each call: when it begins, and how it ended. For instrumentation.

One function at most, :data:`observer`. Where there is none a call looks once, and nothing else
happens; what one raises is logged, and the call goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Call", "Ended", "Observer", "Outcome", "begin"]

_log = logging.getLogger("openai_stream")


@attrs.frozen(repr=False)
class Call:
    """A call that begins.

    :param provider: ``"azure"``, of an :class:`AzureClient`; ``None``: only the URL can say.
    :param path: of the endpoint, below the base URL.
    :param url: where it goes.
    :param content: the body, as it is sent.
    :param stream: events are asked for.
    :param clean: takes secrets out of a text.
    """

    provider: str | None
    path: str
    url: str
    content: bytes
    stream: bool
    clean: Callable[[str], str] = str

    def body(self) -> Mapping[str, Any]:
        """The body; of one that is no object, nothing."""
        body = json.loads(self.content)
        return body if isinstance(body, dict) else {}


@attrs.frozen
class Outcome:
    """How a call ended.

    :param error: why it failed; ``None`` where it ended well, or was closed.
    :param answer: makes what was answered, as far as it came; ``None`` for nothing.
    :param first_event_seconds: from the call to the first event; ``None`` where none came.
    :param chunk_seconds: from one event of a stream to the next, for each but an answer's first;
        0 for those that came together.
    :param whole: the answer is complete: the call did not fail, nor was its stream closed.
    """

    error: BaseException | None = None
    answer: Callable[[], Any] | None = None
    first_event_seconds: float | None = None
    chunk_seconds: Sequence[float] = ()
    whole: bool = False


#: Called with the outcome, once, on the thread where the call ends, before anybody else knows.
Ended = Callable[[Outcome], object]
#: Called on the caller's thread.
Observer = Callable[[Call], Ended]

#: The one that there is. A forked child inherits it.
observer: Observer | None = None


def begin(call: Call) -> Ended | None:
    """Tell that a call begins.

    :returns: what is to be told how it ended: the first time counts, and it never raises.
    """
    told = observer
    if told is None:  # it went while this call looked
        return None
    try:
        ended = [told(call)]
    except Exception:
        _log.exception("an observer of calls raised")
        return None

    def tell(outcome: Outcome) -> None:
        if ended:
            try:
                ended.pop()(outcome)
            except Exception:
                _log.exception("an observer of calls raised")

    return tell
