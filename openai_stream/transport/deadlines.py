"""The limits of a call, as the network side knows them: their names, and what is raised at them."""

from __future__ import annotations

from typing import Literal

__all__ = ["NEVER", "Aborted", "Deadline", "Expired"]

#: Which of the four limits of :class:`~openai_stream.Timeout` was reached.
Deadline = Literal["connect", "idle", "gap", "total"]

NEVER = 10_000_000.0  # seconds that a wait may last at most; the C library takes no infinity


class Aborted(BaseException):
    """The call was aborted. For the thread that worked in it only; never seen by a user.

    Not an :class:`Exception`: nothing between a socket and the reader takes it for its own.
    """


class Expired(TimeoutError):
    """A deadline of the call is over; :attr:`NetworkCall.expired` says which one."""
