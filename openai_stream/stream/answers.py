"""One answer after the other, until one is whole: connecting, restarts, and who is asked next.

All of it may wait for long, on a thread that may. Reading what comes is left to :mod:`.reading`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeGuard

from openai_stream import retrying
from openai_stream.candidates import Candidates, stop
from openai_stream.errors import (
    OpenAIStreamError,
    StreamAPIError,
    StreamError,
    StreamTimeoutError,
)
from openai_stream.transport import Expired

from .ending import Ending
from .items import Restarted
from .reading import Reading, timed_out
from .sinks import Sink
from .state import Core

if TYPE_CHECKING:
    import requests

__all__ = ["Answers"]

_log = logging.getLogger("openai_stream")


def _is_passing(error: OpenAIStreamError) -> TypeGuard[StreamError]:
    """Whether the same request may do better: what ``restarts`` are for."""
    if not isinstance(error, StreamError):
        return False
    if isinstance(error, StreamTimeoutError) and error.deadline == "total":
        return False
    return error.retryable and not isinstance(error, StreamAPIError)


class Answers:
    """The answers of one stream, of which the last counts.

    :param core: the stream.
    :param sink: where its events go.
    :param candidates: who may be asked for it.
    :param restarts: how often an answer that breaks off is asked for again; of each candidate.
    :param ending: adds to an error what is known of the stream.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        candidates: Candidates,
        restarts: int,
        ending: Ending,
    ) -> None:
        self._core = core
        self._sink = sink
        self._candidates = candidates
        self._secrets = candidates.secrets
        self._most_restarts = restarts
        self._restarts = 0  # of the candidate that is asked now
        self._all_restarts = 0
        self._wait = 0.0  # seconds before it is asked again
        self._broke: StreamError | None = None  # why the last answer broke off
        self._has_events = False  # some have been delivered
        #: What is to be told before the next event: what came before is void.
        self._again: Restarted | None = None
        self._ending = ending

    def connect(self) -> requests.Response:
        """Ask one after the other until one has a response.

        :raises OpenAIStreamError: none has.
        """
        candidates, core = self._candidates, self._core
        while True:
            try:
                return candidates.now.open(core.call)
            except OpenAIStreamError as error:
                if not candidates.move_on(error, core.call):
                    raise
            core.ask(candidates.now.asked)

    def reading(self) -> Reading:
        """Begin to read the response that there is."""
        return Reading(
            self._core,
            self._sink,
            self._candidates.now,
            self._again,
            self._secrets,
            self._begun,
        )

    def _begun(self) -> None:
        self._has_events = True
        self._again = None

    def may_go_on(self) -> bool:
        """After an error there may be another answer, for which somebody has to wait."""
        return self._restarts < self._most_restarts or self._candidates.has_more

    def turn_from(self, error: OpenAIStreamError) -> bool:
        """The answer has failed: ask for the rest, or for all of it again, or ask the next one.

        :returns: whether there is a next one; otherwise that was the end.
        """
        core, candidates = self._core, self._candidates
        if isinstance(error, StreamError):
            self._ending.complete(error)
            self._broke = error
        if self._restarts < self._most_restarts and _is_passing(error):
            candidates.note(error)
            self._restarts, self._all_restarts = self._restarts + 1, self._all_restarts + 1
            self._wait = retrying.backoff(self._restarts - 1)
            rest = candidates.now.can_go_on
            is_void = not rest
            self._log_restart(error, rest)
        elif candidates.move_on(error, core.call):
            self._restarts, self._wait = 0, 0.0
            is_void = self._has_events
            if not is_void:
                self._again = None
                core.ask(candidates.now.asked)
        else:
            return False
        if is_void:
            assert self._broke is not None  # or there would be no events
            number = candidates.number
            self._again = Restarted(self._all_restarts + number, self._broke, number)
        return True

    def ask_again(self) -> None:
        """Wait a little, and ask for the next answer.

        :raises OpenAIStreamError: there is no response.
        """
        call = self._core.call
        try:
            call.sleep(self._wait)
        except Expired:
            raise timed_out(call) from None
        now = self._candidates.now
        self._core.begin(now.open_again(call) if self._restarts else now.open(call))

    def stop_the_server(self) -> None:
        """Cancel what goes on in the background."""
        background = self._candidates.now.background
        if background is not None:
            stop(background, self._secrets)

    @property
    def is_to_stop(self) -> bool:
        """The stream was closed, and something goes on at the server that is to stop too."""
        return self._core.is_to_stop and self._candidates.now.background is not None

    def _log_restart(self, error: StreamError, rest: bool) -> None:
        _log.warning(
            "%s Asking for the %s in %.1f s (restart %d of %d)",
            retrying.sentence(error),
            "rest" if rest else "answer again",
            self._wait,
            self._restarts,
            self._most_restarts,
        )
