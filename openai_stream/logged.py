"""Errors of which only the log says anything, whatever becomes of that.

It is written where others wait for what comes next: for the end of a stream, for their own turn.
What a handler of the user's raises then keeps nobody waiting: ``threading.excepthook`` gets it, as
if it had ended the thread.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress

__all__ = ["log_raised"]

_log = logging.getLogger("openai_stream")


def log_raised(what: str, error: BaseException) -> None:
    """Log it, with its traceback. From any thread; a handler's exception goes no further."""
    try:
        _log.error(what, exc_info=error)
    except BaseException:
        with suppress(BaseException):  # that hook may be the user's as well
            threading.excepthook(
                threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            )
