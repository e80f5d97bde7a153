"""What the client under test did wrong, as far as a server can see it.

A server sees requests, their times, and what becomes of the connections. It does not see what the
program made of an answer, nor when its user pressed Stop: the test says that, see
:meth:`~openai_stream.testing.ScriptedServer.verdict`. A new kind of finding is a new function here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from openai_stream.retrying import status_may_pass

from .connection import Request

__all__ = ["Finding", "FindingName", "Verdict", "judged"]

FindingName: TypeAlias = Literal[
    "retry_storm",
    "no_backoff",
    "retry_after_ignored",
    "refusal_retried",
    "cut_answer_accepted",
    "no_timeout",
    "left_open",
]

_TOLERANCE = 0.02  # seconds; clocks and timers differ by less
#: Codes of an account that is used up, which come with a status that may pass.
_USED_UP = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


@dataclass(frozen=True)
class Finding:
    """One thing that the client did wrong.

    .. versionadded:: 0.1
    """

    name: FindingName
    #: What was seen, in a sentence, with the times.
    words: str
    #: The requests in which it was seen.
    requests: tuple[Request, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


@dataclass(frozen=True)
class Verdict:
    """What a client did wrong, finding by finding; printed, it is a line for each.

    .. versionadded:: 0.1
    """

    findings: tuple[Finding, ...]
    #: How many requests were looked at.
    requests: int

    @property
    def names(self) -> list[FindingName]:
        """The names of the findings, each once.

        .. versionadded:: 0.1
        """
        return list(dict.fromkeys(one.name for one in self.findings))

    def check(self) -> None:
        """Fail the test if there is a finding.

        :raises AssertionError: with all of them in words.

        .. versionadded:: 0.1
        """
        if self.findings:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        if not self.findings:
            return f"nothing wrong in {self.requests} requests"
        return "\n".join(map(str, self.findings))


def judged(
    requests: Sequence[Request],
    *,
    accepted: bool | None,
    stopped: bool,
    max_attempts: int,
    min_wait: float,
    patience: float,
    grace: float,
) -> Verdict:
    """See :meth:`~openai_stream.testing.ScriptedServer.verdict`."""
    findings: list[Finding] = []
    for attempts in _calls(requests):
        findings += _stormy(attempts, max_attempts)
        for earlier, later in itertools.pairwise(attempts):
            findings += _hasty(earlier, later, min_wait)
    for request in requests:
        findings += _endless(request, patience)
    if accepted and requests:
        findings += _credulous(requests[-1])
    if stopped and requests:
        findings += _left_open(requests[-1], grace)
    return Verdict(tuple(findings), len(requests))


def _calls(requests: Iterable[Request]) -> list[list[Request]]:
    """The requests, those together that are attempts of one call.

    Such are alike in method, target and body, and each was sent after the one before had failed.
    """
    calls: list[list[Request]] = []
    open_calls: dict[tuple[str, str, bytes], list[list[Request]]] = {}
    for request in requests:
        alike = open_calls.setdefault((request.method, request.target, request.body), [])
        for attempts in alike:
            failed_at = _failed_at(attempts[-1])
            if failed_at is not None and failed_at <= request.received_at:
                attempts.append(request)
                break
        else:
            calls.append([request])
            alike.append(calls[-1])
    return calls


def _failed_at(request: Request) -> float | None:
    """When the client could know that it had no whole answer, by what the server did."""
    sent = request.sent
    if sent.status is not None and not 200 <= sent.status < 300:
        return sent.last_at
    if sent.end == "client" and sent.size:
        return None  # the user may have stopped it
    return sent.ended_at if sent.cut or not sent.size else None


def _stormy(attempts: Sequence[Request], most: int) -> Iterator[Finding]:
    if len(attempts) > most:
        seconds = attempts[-1].received_at - attempts[0].received_at
        words = f"one request was sent {len(attempts)} times in {seconds:.2f} s"
        yield Finding("retry_storm", words, tuple(attempts))


def _hasty(earlier: Request, later: Request, min_wait: float) -> Iterator[Finding]:
    """What is wrong with asking again, after this failure and so soon."""
    sent, both = earlier.sent, (earlier, later)
    failed_at = _failed_at(earlier)
    assert failed_at is not None
    waited = max(0.0, later.received_at - failed_at)
    after = f"asked again {waited:.3f} s after {_failure(earlier)}"
    if sent.status is not None and sent.status >= 300:
        if not status_may_pass(sent.status, sent.headers):
            why = ", and the server said x-should-retry: false" * (
                sent.headers.get("x-should-retry", "").lower() == "false"
            )
            yield Finding("refusal_retried", f"{after}, which will not pass{why}", both)
            return
        if sent.error_code in _USED_UP:
            words = f"{after} with the code {sent.error_code}, which will not pass"
            yield Finding("refusal_retried", words, both)
            return
    asked = sent.retry_after
    if asked is not None and waited < asked - _TOLERANCE:
        words = f"{after}, which asked to wait for {asked:g} s"
        yield Finding("retry_after_ignored", words, both)
    elif asked is None and waited < min_wait:
        # A connection that was kept may have been closed just when the request was sent.
        first = earlier.connection.requests[0] is earlier
        if sent.size or first or sent.end == "client":
            yield Finding("no_backoff", after, both)


def _failure(request: Request) -> str:
    sent = request.sent
    if sent.status is not None and sent.status >= 300:
        return f"status {sent.status}"
    if sent.size:
        return f"an answer was cut ({sent.cut})"
    if sent.end == "client":
        return "it had waited in vain for an answer"
    return "the connection ended without an answer"


def _endless(request: Request, patience: float) -> Iterator[Finding]:
    """A client that waited for a silent server."""
    sent, connection = request.sent, request.connection
    if sent.end not in (None, "client", "server") or connection.blocked_since is not None:
        return
    until = sent.ended_at if sent.ended_at is not None else time.monotonic()
    silent = until - max(request.received_at, sent.last_at or 0.0)
    if silent >= patience:
        verb = "had waited" if sent.end == "client" else "was still waiting"
        words = f"the client {verb} after {silent:.1f} s in which the server said nothing"
        yield Finding("no_timeout", words, (request,))


def _credulous(request: Request) -> Iterator[Finding]:
    if cut := request.sent.cut:
        words = f"the answer was cut ({cut}), and the program took it for whole"
        yield Finding("cut_answer_accepted", words, (request,))


def _left_open(request: Request, grace: float) -> Iterator[Finding]:
    sent, connection = request.sent, request.connection
    if sent.end in ("played", "closed", "reset"):
        return  # there was nothing left to stop
    if not connection.client_closed.wait(grace):
        words = f"the connection of a stopped answer was still open after {grace:g} s"
        yield Finding("left_open", words, (request,))
