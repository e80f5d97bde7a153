"""Responses that run in the background: the server goes on, whatever happens to their stream.

So such a stream is not asked for again after a break, but resumed after its last event. The server
numbers the events; :class:`Background` keeps the count, and with it what is new, what comes again
and what was left out. Who makes the requests is not known here.

Source: OpenAI API reference, "Responses", *Get a model response*, ``starting_after``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import endpoints
from .errors import StreamDecodeError

if TYPE_CHECKING:
    import requests

__all__ = ["Background"]


class Background:
    """What is known of a response that runs in the background. For the reader's thread.

    :param resume: asks for the response's events, of its id, after a number; ``None``: all.
    :param cancel: has the server stop it; raises what the request raises.
    :param ends: the types of the events after which it is over.
    :param ident: its id, where that is known before it is streamed.
    :param after: the number of the last event that is not wanted.
    """

    def __init__(
        self,
        resume: Callable[[Any, str, int | None], requests.Response],
        cancel: Callable[[str, float | None], object],
        ends: tuple[str, ...],
        ident: str | None = None,
        after: int | None = None,
    ) -> None:
        self._resume = resume
        self._cancel = cancel
        self._ends = ends
        #: Its id, once it is known.
        self.ident = ident
        #: The last event that will ever come has come.
        self.is_over = False
        self._last = after
        self._last_said: object = None  # what the event of that number says, if it is known
        self._counts = True  # the numbers tell one event from another
        self._joins = after is not None  # nothing new has come since it was resumed
        self._replays = ident is not None  # what comes begins after ``_last``, or at the beginning
        self._has_begun = False  # an event has come

    @property
    def can_go_on(self) -> bool:
        """It can be resumed where it broke off: its id is known, and its last number."""
        return self.ident is not None and (self._last is not None or not self._has_begun)

    def resume(self, call: Any) -> requests.Response:
        """Ask for what comes after the last event; for all of them, if none had a number."""
        assert self.ident is not None
        self._replays = True
        self._has_begun = self._joins = self._last is not None
        return self._resume(call, self.ident, self._last)

    def begin_anew(self) -> None:
        """Another response is about to be asked for."""
        self.ident = self._last = None
        self._replays = self.is_over = self._has_begun = self._joins = False
        self._counts = True

    def cancel(self, within: float | None = None) -> None:
        """Have the server stop it, where it has begun and is not over.

        :param within: seconds that are left for it; ``None``: as long as it usually may take.
        :raises: what the request raises.
        """
        if self.ident is not None and not self.is_over:
            self._cancel(self.ident, within)

    def is_repeated(self, event: Any) -> bool:
        """Take note of an event.

        :returns: whether it has come before.
        :raises StreamDecodeError: the server left out some before it, or numbers them so that
            nobody can know.
        """
        if type(event) is not dict:
            return False
        kind = event.get("type")
        response = event.get("response")
        if self.ident is None and type(response) is dict:
            ident = response.get("id")
            self.ident = ident if endpoints.can_be_id(ident) else None
        number = event.get("sequence_number")
        if type(number) is int and self._counts:
            said = (kind, event.get("delta"))
            if self._has_come(number, said):
                return True
            if self._counts:
                self._check_gap(number)
                self._last, self._last_said = number, said
        self._joins = False
        self._has_begun = True
        if kind in self._ends:
            self.is_over = True
        return False

    def _has_come(self, number: int, said: object) -> bool:
        last = self._last
        if last is None or number > last:
            return False
        if number < last or said == self._last_said or self._last_said is None:
            return True
        # Some gateways give each event the same number, which so says nothing.
        self._counts = False
        self._last = None
        if self._joins:
            raise StreamDecodeError(
                f"the server gives several events of the response the number {number}, so that it "
                "cannot be resumed after one. It has to be asked for from its beginning"
            )
        return False

    def _check_gap(self, number: int) -> None:
        last = self._last
        if last is None:
            # A new stream may begin to count where it likes; a replay begins at 0 or at 1.
            if self._replays and number > 1:
                self._refuse("the beginning of the response", number)
        elif number > last + 1:
            self._refuse(f"number {last}", number)

    def _refuse(self, before: str, number: int) -> None:
        raise StreamDecodeError(
            f"the server left out events of the response: after {before} comes number {number}. "
            "What came before is in order; resume_response(…, starting_after=…) asks for the rest"
        )
