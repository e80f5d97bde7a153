"""Whether asking again may help, and how long to wait before: one rule for everybody who asks.

The attempts before an answer has begun, restarts after that, fallbacks, and :attr:`retryable
<openai_stream.OpenAIStreamError.retryable>` on every error, all decide here. It knows only what an
error carries: a status, headers, names. It imports nothing of ours.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "another_may_do",
    "backoff",
    "failed_reason",
    "has_no_credit",
    "is_limit",
    "is_servers_own",
    "sentence",
    "status_may_pass",
]

# 520 to 530 are Cloudflare's for a server behind it that fails, 529 is an overloaded one's.
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, *range(520, 525), 529, 530})

_BAD_STATUS = r"(?a)[45]\d\d"

#: Types and codes of an account that is used up: to ask again is no use to anybody.
_NO_CREDIT = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}  # OpenAI
    | {"insufficient_balance", "insufficient_balance_error", "insufficient_credits"}
    | {"exceeded_current_quota_error"}  # Moonshot
)

#: Reasons for which an answer ends that is no answer: the server, or what it asks, failed.
_FAILED_REASONS = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})

#: What servers call a limit of rate, by :func:`_plain`.
_LIMITS = frozenset(
    {"ratelimit", "ratelimited", "ratelimitexceeded", "ratelimitreached", "toomanyrequests"}
    | {"resourceexhausted", "throttling", "throttled"}
)

#: And their own failures.
_SERVERS_OWN = frozenset(
    {"server", "internal", "internalserver", "api", "engine", "backend", "upstream", "provider"}
    | {"overloaded", "engineoverloaded", "modeloverloaded", "serveroverloaded", "slowdown"}
    | {"serverisoverloaded", "systembusy", "serverbusy", "busy", "capacityexceeded", "nocapacity"}
    | {"unavailable", "serviceunavailable", "modelunavailable", "temporarilyunavailable"}
    | {"modelstream", "modelnotready"}  # Amazon's
    | {"timeout", "gatewaytimeout", "deadlineexceeded", "modeltimeout", "requesttimeout"}
    | {"badgateway", "network", "connection", "vectorstoretimeout", "insufficientsystemresource"}
    | {"abort", "aborted"}
)


def _plain(name: str) -> str:
    """What a name means: ``overloaded_error`` and ``OverloadedError`` are both ``overloaded``."""
    letters = "".join(one for one in name.lower() if one.isalnum())
    for end in ("error", "exception"):
        letters = letters.removesuffix(end)
    return letters


def has_no_credit(error: BaseException) -> bool:
    """Whether an error says that the account is used up."""
    names = (getattr(error, "code", None), getattr(error, "type", None))
    return getattr(error, "status_code", None) == 402 or any(
        name == "402" or name.lower() in _NO_CREDIT for name in names if name
    )


def status_may_pass(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the server may answer otherwise later, by the status and by its own word.

    :param headers: names in lower case, or found in any.
    """
    wish = headers.get("x-should-retry", "").lower()
    return wish != "false" and (wish == "true" or status in _RETRIED)


def another_may_do(error: Any) -> bool:
    """Whether another server, or another model, may do better: what fallbacks are for.

    All that the same call may do better later; and what it may not, but where another has its own:
    another connection, another account, another load. Not what is wrong with the request, nor an
    answer that came and cannot be read.

    :param error: one of ours.
    """
    if error.retryable:
        return True
    status = getattr(error, "status_code", None)
    if status is not None:
        return status in (408, 409, 429) or status >= 500
    if not hasattr(error, "snapshot"):  # no response: a certificate, a proxy, a redirect
        return hasattr(error, "lasting")
    return hasattr(error, "code") and has_no_credit(error)


def failed_reason(choice: Mapping[str, Any]) -> str | None:
    """The finish reason of a choice, if it says that the server, or what that asks, failed."""
    reason = choice.get("finish_reason")
    return reason if type(reason) is str and reason.lower() in _FAILED_REASONS else None


def is_limit(code: str | None, kind: str | None) -> bool:
    """Whether an error in a stream is a limit of rate: all requests are to slow down.

    :param code: a name, or a status as a number.
    :param kind: the type of the error.
    """
    return code == "429" or any(name and _plain(name) in _LIMITS for name in (code, kind))


def is_servers_own(code: str | None, kind: str | None, body: Any) -> bool:
    """Whether an error in a stream is the server's own failure, or a limit of rate.

    :param code: a name, or a status as a number.
    :param kind: the type of the error.
    :param body: what was sent: a choice that ended because of an error may be all that it says.
    """
    if not (code or kind):
        choices = body.get("choices") if type(body) is dict else None
        return type(choices) is list and any(
            type(choice) is dict and failed_reason(choice) for choice in choices
        )
    if code is not None and re.fullmatch(_BAD_STATUS, code):
        return int(code) in _RETRIED
    own = any(name and _plain(name) in _SERVERS_OWN for name in (code, kind))
    return own or is_limit(code, kind)


def backoff(retries: int) -> float:
    """Seconds to wait before the next attempt: exponentially more, up to 8, with jitter, so that
    many clients do not come back together.

    :param retries: how often there was a wait already.
    """
    most: float = min(8.0, 0.5 * 2**retries)
    return most * random.uniform(0.75, 1)  # noqa: S311


def sentence(error: BaseException) -> str:
    """What it says, to be followed by what is done about it.

    As text: the record of an error itself would lead to frames, requests and what had come.
    """
    text = str(error)
    return text if text.endswith("?") else f"{text.removesuffix('.')}."
