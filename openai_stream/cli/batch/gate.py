"""How many requests of a batch may run at once, and when: a rate limit slows all of them down."""

from __future__ import annotations

import random
import time

from .budget import Budget

__all__ = ["Gate"]

_LONGEST = 60.0  # seconds of a pause that the server did not ask for
_LONGEST_ASKED = 86400.0  # seconds of one that it did: more is a mistake, and no clock can count it


class Gate:
    """Lets requests begin, as many at once as the server bears.

    It closes when the server says that it is too much, for as long as the server asks for. Then it
    lets half as many through as there were, and one more after each answer: what TCP does.

    :param most: how many may ever run at once.
    :param budget: how many requests and tokens a minute.
    """

    def __init__(self, most: int, budget: Budget | None = None) -> None:
        #: What else says when requests may begin.
        self.budget = Budget() if budget is None else budget
        self.most = most
        self._limit: float = most
        self._closed_until = 0.0
        self._closings = 0
        self._strikes = 0

    @property
    def limit(self) -> int:
        """How many requests may run at once now."""
        return int(self._limit)

    @property
    def held_until(self) -> float:
        """Until when the server holds requests back, by :func:`time.monotonic`."""
        return max(self._closed_until, self.budget.held_until)

    @property
    def opens_at(self) -> float:
        """When the next request may begin, by :func:`time.monotonic`."""
        return max(self._closed_until, self.budget.opens_at)

    def begin(self) -> int:
        """Note that a request begins.

        :returns: what to tell should it meet a rate limit.
        """
        return self._closings

    def answered(self) -> None:
        """Note that there was an answer."""
        self._strikes = 0
        self._limit = min(self.most, self._limit + 1)

    def limited(self, begun: int, running: int, retry_after: float | None) -> None:
        """Note that a request met a rate limit.

        :param begun: what :meth:`begin` returned.
        :param running: how many others run.
        :param retry_after: seconds that the server asked to wait.
        """
        pause = min(retry_after or 0.0, _LONGEST_ASKED)
        # Many requests run into the same limit: the first is the news, the others are its echo.
        if begun == self._closings:
            self._closings += 1
            self._limit = max(1.0, min(self._limit, running + 1) / 2)
            least = (1.0 if retry_after is None else 0.05) * 2.0 ** min(self._strikes, 16)
            self._strikes += 1
            pause = max(pause, min(_LONGEST, least))
        # Not all at the same moment, should there be other programs that wait for it.
        pause *= random.uniform(1.0, 1.1)  # noqa: S311
        self._closed_until = max(self._closed_until, time.monotonic() + pause)
