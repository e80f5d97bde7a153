"""Who may be asked for one answer: the call's own client first, then each of its fallbacks.

The two that ask, the reader of a stream and a call without one, tell each error here, and are told
whether there is a next one. For one thread at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import requests

from . import retrying
from .accumulate import Asked
from .background import Background
from .errors import OpenAIStreamError
from .redaction import Secrets, purge
from .timeouts import Timeout
from .transport import NetworkCall, drop_tracebacks

if TYPE_CHECKING:
    from .observers import Sent

__all__ = ["Candidate", "Candidates", "stop"]

_log = logging.getLogger("openai_stream")


@attrs.frozen(eq=False, repr=False)
class Candidate:
    """One that may be asked, and for what.

    :param connect: makes the request and its retries; of the call, and of the most bytes that are
        to be read at once, if it is not a stream. Raises what the call should raise.
    :param where: gives its address, as it may be shown.
    :param asked: what the sum of its answer may know of the request.
    :param timeout: the call's, or else its client's.
    :param max_bytes: the most bytes of one event, or of the whole answer.
    :param background: the response, if it runs in the background: it is resumed where others are
        asked for again.
    :param sent: notes what it is sent, where anybody observes.
    """

    connect: Callable[[NetworkCall, int | None], requests.Response]
    where: Callable[[], str]
    asked: Asked
    timeout: Timeout
    max_bytes: int
    background: Background | None = None
    sent: Sent | None = None

    def open(self, call: NetworkCall) -> requests.Response:
        """Ask for a stream."""
        return self.connect(call, None)

    def open_whole(self, call: NetworkCall) -> requests.Response:
        """Ask for an answer in one piece, and read it."""
        return self.connect(call, self.max_bytes)

    def open_again(self, call: NetworkCall) -> requests.Response:
        """Ask once more after a break; for the rest, if the server goes on by itself."""
        background = self.background
        if background is not None:
            if background.ident is not None:
                return background.resume(call)
            background.begin_anew()
        return self.open(call)

    @property
    def can_go_on(self) -> bool:
        """After a break the rest can be asked for."""
        return self.background is not None and self.background.can_go_on


class Candidates:
    """All that may be asked, one after the other.

    :param all_of_them: the first is the call's own.
    :param secrets: what must show nowhere, of all of them.
    """

    def __init__(self, all_of_them: Sequence[Candidate], secrets: Secrets) -> None:
        self._all = all_of_them
        self.secrets = secrets
        self._earlier: tuple[OpenAIStreamError, ...] = ()
        #: Which one is asked now: 0 is the call's own, then the fallbacks.
        self.number = 0

    @property
    def now(self) -> Candidate:
        """The one that is asked now."""
        return self._all[self.number]

    @property
    def has_limit(self) -> bool:
        """One of them has a limit for the whole call."""
        return any(one.timeout.total is not None for one in self._all)

    def note(self, error: OpenAIStreamError) -> None:
        """What the one that is asked now was sent has failed; it may be asked once more."""
        if self.now.sent is not None:
            self.now.sent.end(error)

    @property
    def has_more(self) -> bool:
        """There are others after the one that is asked now."""
        return self.number + 1 < len(self._all)

    def move_on(self, error: OpenAIStreamError, call: NetworkCall) -> bool:
        """The one that is asked now has failed for good: turn to the next one.

        :param error: from now on it knows those before it.
        :returns: whether there is one, the error is of a kind for that, and there is time.
        """
        self.note(error)
        if self._earlier:
            error.earlier = self._earlier
        if not self.has_more or call.expired == "total" or not retrying.another_may_do(error):
            return False
        # It lives on, in ``earlier``; what its frames hold must not.
        drop_tracebacks(error, self.secrets.outside)
        purge(error, self.secrets)
        if self.now.background is not None:
            stop(self.now.background, self.secrets, call.seconds_of_total())
        if call.total_is_up():
            return False
        self._earlier = (*self._earlier, error)
        self.number += 1
        call.change(self.now.timeout)
        _log.warning(
            "%s. Asking %s instead (fallback %d of %d)",
            str(error),  # not the error, which leads to frames and what had come
            self.now.where(),
            self.number,
            len(self._all) - 1,
        )
        return True


def stop(background: Background, secrets: Secrets, within: float | None = None) -> None:
    """Cancel what goes on at the server; if that fails, it is logged.

    :param within: seconds that are left for it.
    """
    try:
        if within is None or within > 0:
            background.cancel(within)
    except OpenAIStreamError as error:
        purge(error, secrets)
        _log.warning("the response was not cancelled at the server: %s", str(error))
