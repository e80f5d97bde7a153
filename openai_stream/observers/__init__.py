"""Who is told of each call: when it begins, and how it ended. For instrumentation.

One function at most, :data:`observer`. Where there is none a call looks once, and nothing else
happens; what one raises is logged, and the call goes on. What it is told comes with its first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openai_stream.logged import log_raised

if TYPE_CHECKING:
    from .calls import Attempt, Call, Outcome, Sent
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(), {".calls": ("Attempt", "Call", "Outcome", "Sent")}
    )

__all__ = ["Attempt", "Call", "Ended", "Observer", "Outcome", "Sent", "begin"]

#: Called with the outcome, once, on the thread where the call ends, before anybody else knows.
Ended = Callable[["Outcome"], object]
#: Called on the caller's thread.
Observer = Callable[["Call"], Ended]

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
    except Exception as error:
        log_raised("an observer of calls raised", error)
        return None

    def tell(outcome: Outcome) -> None:
        if ended:
            try:
                ended.pop()(outcome)
            except Exception as error:
                log_raised("an observer of calls raised", error)

    return tell
