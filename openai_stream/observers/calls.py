"""What an observer is told of a call: how it was asked, with which requests, and how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Attempt", "Call", "Outcome", "Sent"]


@attrs.frozen(eq=False, repr=False)
class Call:
    """A call that begins.

    :param provider: ``"azure"``, of an :class:`AzureClient`; ``None``: only the URL can say.
    :param path: of the endpoint, below the base URL.
    :param url: where it goes.
    :param content: the body, as it is sent.
    :param stream: events are asked for.
    :param clean: takes secrets out of a text.
    :param attempts: the requests that were made for it, whoever was asked; more come while it goes
        on.
    """

    provider: str | None
    path: str
    url: str
    content: bytes
    stream: bool
    clean: Callable[[str], str] = str
    attempts: list[Attempt] = attrs.field(factory=list)

    def body(self) -> Mapping[str, Any]:
        """The body; of one that is no object, nothing."""
        body = json.loads(self.content)
        return body if isinstance(body, dict) else {}


@attrs.define(eq=False, repr=False)
class Attempt:
    """One request of a call.

    :param call: the call as this one was asked: a fallback has a client and a body of its own.
    :param fallback: the number of the fallback; 0 is the call's own client.
    :param resends: how many requests this one was sent before.
    :param why: ``"retry"``, ``"restart"``, ``"resume"``, ``"fallback"``; ``None`` of the first.
    :param method: of HTTP.
    :param where: its URL, as it may be shown.
    :param begun: when it began, in nanoseconds of :func:`time.time_ns`.
    :param ended: when it failed; ``None`` if it did not, or not by itself.
    :param status: of the response; ``None`` if there was none.
    :param error: the name of the error's class.
    """

    call: Call
    fallback: int
    resends: int
    why: str | None
    method: str
    where: str
    begun: int
    ended: int | None = None
    status: int | None = None
    error: str | None = None


@attrs.frozen(eq=False, repr=False)
class Sent:
    """Notes the requests that one of those who may be asked is sent. On whose thread asks it.

    The error itself is not kept: it leads to what the user has let go of.

    :param call: the call as this one is asked; all of them share the list of attempts.
    :param fallback: its number; 0 is the call's own client.
    """

    call: Call
    fallback: int = 0

    def begin(self, method: str, where: str, retry: bool) -> None:
        """A request is about to be sent.

        :param retry: the one before it brought no answer.
        """
        attempts = self.call.attempts
        resends = sum(one.fallback == self.fallback for one in attempts)
        why = "retry" if retry else None
        if attempts and not retry:
            why = "fallback" if not resends else "resume" if method == "GET" else "restart"
        attempts.append(
            Attempt(self.call, self.fallback, resends, why, method, where, time.time_ns())
        )

    def note_status(self, status: int) -> None:
        """There is a response."""
        self.call.attempts[-1].status = status

    def end(self, error: BaseException) -> None:
        """The request, or the answer to it, has failed; the first time counts."""
        attempts = self.call.attempts
        if attempts and attempts[-1].ended is None:
            attempts[-1].ended = time.time_ns()
            attempts[-1].error = type(error).__qualname__


@attrs.frozen(eq=False, repr=False)
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
