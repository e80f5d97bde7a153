"""What an error means for a run: for this prompt alone, for now, or for all prompts alike."""

from __future__ import annotations

from typing import Any

from openai_stream import (
    APIStatusError,
    AuthenticationError,
    NotFoundError,
    OpenAIStreamError,
    PermissionDeniedError,
    RateLimitError,
    StreamAPIError,
)
from openai_stream.cli.options import as_options
from openai_stream.retrying import another_may_do, has_no_credit, is_limit

from .workers import WorkerDied

__all__ = [
    "ENOUGH",
    "Doubt",
    "asked_pause",
    "described",
    "is_everybodys",
    "is_of_the_server",
    "is_passing",
    "is_rate_limit",
    "refusal",
]

#: So many prompts that fail alike, one after the other, before any has an answer.
ENOUGH = 20
#: And afterwards, of failures that are not the prompt's own.
_ENOUGH_LATER = 100
#: What to do about a prompt that failed, though it was asked so many times.
_ASK_AGAIN = "Running this again may help; --retries sets how often a run itself asks again"


def is_everybodys(error: Exception) -> bool:
    """Whether every other prompt would meet the same error."""
    return isinstance(error, AuthenticationError) or has_no_credit(error)


def _is_too_large(error: Exception) -> bool:
    """Whether the prompt alone is more than the limit: no pause makes it fit.

    OpenAI says so with the status, the code and the type of any rate limit.
    """
    return "request too large" in str(error).lower()


def is_rate_limit(error: Exception) -> bool:
    """Whether the whole run is to slow down."""
    if _is_too_large(error):
        return False
    return isinstance(error, RateLimitError) or (
        isinstance(error, StreamAPIError) and is_limit(error.code, error.type)
    )


def is_passing(error: Exception) -> bool:
    """Whether the same request may do better: what each of the library's errors says of itself."""
    if isinstance(error, OpenAIStreamError):
        return error.retryable and not _is_too_large(error)
    return isinstance(error, WorkerDied)


def asked_pause(error: Exception) -> float | None:
    """How long the server wants to be left alone, if it says so."""
    return error.retry_after if isinstance(error, APIStatusError) else None


def is_of_the_server(error: Exception) -> bool:
    """Whether it says nothing about the prompt: another one would meet the same."""
    if isinstance(error, OpenAIStreamError) and not _is_too_large(error):
        elsewhere = (NotFoundError, PermissionDeniedError)
        return isinstance(error, elsewhere) or another_may_do(error)
    return isinstance(error, WorkerDied)


def described(error: Exception) -> dict[str, Any]:
    """The error as a line of answers has it."""
    code = getattr(error, "code", None)
    return {
        "type": type(error).__name__,
        # This is about the command, which has asked again by itself.
        "message": as_options(str(error), _ASK_AGAIN),
        **({} if code is None else {"code": code}),
    }


def refusal(error: Exception) -> dict[str, Any] | None:
    """The response if there was one, as a line of answers has it."""
    if not isinstance(error, APIStatusError):
        return None
    return {
        "status_code": error.status_code,
        "request_id": error.request_id,
        "body": error.body,
    }


class Doubt:
    """Whether everything that is asked fails alike, so that the rest would too.

    While it is in doubt no further prompt is begun. Those that run, or wait to be asked again,
    decide: one answer, or another failure, and the run goes on.
    """

    def __init__(self) -> None:
        self._kind: str | None = None
        self._count = 0
        self._enough = ENOUGH

    def answered(self) -> None:
        """Note that a prompt has its answer."""
        self._count = 0

    def failed(self, kind: str, of_the_server: bool, any_answers: bool) -> None:
        """Note that a prompt failed.

        :param kind: the same for failures that are alike.
        :param of_the_server: see :func:`is_of_the_server`.
        :param any_answers: there are some, of this run or a former one. Then what is wrong with one
            prompt after the other says nothing about the rest.
        """
        if kind != self._kind:
            self._kind, self._count = kind, 0
        self._enough = _ENOUGH_LATER if any_answers else ENOUGH
        if of_the_server or not any_answers:
            self._count += 1

    @property
    def count(self) -> int:
        """How many failed alike, if that is enough to be in doubt; otherwise 0."""
        return self._count if self._count >= self._enough else 0
