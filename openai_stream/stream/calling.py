"""Calls of the user's functions on the reader thread, and how ``close()`` waits for them.

After ``close()`` has returned no callback begins; one that runs is waited for, but not for long,
since it may itself be waiting for the thread that closes. The reader holds a lock while it calls.
That alone does not do: between the reader's last look at the state and the first line of the
function a thread may lose its turn, on a busy machine for longer than anybody would guess. No flag
can tell that it is just there, for the user's function sets none; the thread's own frames do.
"""

from __future__ import annotations

import opcode
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar, cast

__all__ = ["call", "calls_the_user", "wait_for_calls"]

_GRACE = 0.05  # seconds that close() waits for a callback that is running
_TURNS = 200  # so often it waits for one that is about to start; more than any machine needs

F = TypeVar("F", bound=Callable[..., Any])


def call(function: Callable[[Any], object], value: Any) -> None:
    """Call a function of the user's: the one place but for what :func:`calls_the_user` marks."""
    function(value)


#: The code that calls the user's functions.
_callers: set[CodeType] = {call.__code__}
_RESUME = opcode.opmap.get("RESUME")  # Python 3.11


def calls_the_user(method: F) -> F:
    """Mark a method that calls a function of the user's itself, as what runs once an event does."""
    _callers.add(cast(FunctionType, method).__code__)
    return method


def wait_for_calls(
    calling: threading.Lock, thread: threading.Thread | None, may_follow: Callable[[], bool]
) -> None:
    """Wait for the function that a reader calls; for one that is about to start, until it has.

    The state is such that nothing is called that was not about to be.

    :param calling: what the reader holds while it calls.
    :param thread: the reader.
    :param may_follow: whether a reader that holds it without being at a call may still call.
    """
    for _ in range(_TURNS):
        if calling.acquire(timeout=_GRACE):
            calling.release()
            return
        if not _is_pending(thread, may_follow):
            return


def _is_pending(thread: threading.Thread | None, may_follow: Callable[[], bool]) -> bool:
    """The thread is about to call one of the user's functions, but not a line of it has run."""
    frame = None if thread is None else sys._current_frames().get(thread.ident or 0)
    inner = None
    while frame is not None and frame.f_code not in _callers:
        inner, frame = frame, frame.f_back
    if frame is None:
        # It holds ``calling`` without being at a call. If it is to call at all it has yet to look
        # at the state, but at the end, when that says so already.
        return may_follow()
    if inner is None:  # a function in C; or, in ``call`` itself, not that far
        return frame.f_code is call.__code__ and _is_at_its_start(frame)
    return _is_at_its_start(inner)


def _is_at_its_start(frame: FrameType) -> bool:
    """Not a line of a function has run: threads take turns where one begins."""
    last = frame.f_lasti
    return last < 0 or frame.f_code.co_code[last] == _RESUME
