"""How long a call may take: the deadlines, as the user states them.

Only the numbers and their checking; who keeps them is the transport's business.
"""

from __future__ import annotations

from typing import Any

import attrs

from .errors import ConfigurationError

__all__ = ["Timeout", "timeout_of", "without_stream"]


_NEVER = 1e12  # seconds, some 30,000 years: who asks for that wants no limit


def _seconds(instance: Any, attribute: Any, value: Any) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not value > 0:  # NaN is above nothing
        raise ConfigurationError(
            f"timeout: {attribute.name!r} must be a number of seconds above 0, or None for no "
            f"limit, not {value!r}"
        )


def _limit(value: float | None) -> float | None:
    return None if isinstance(value, (int, float)) and value >= _NEVER else value


class _Origin:
    # No field: it makes no difference between two that are otherwise equal.
    __slots__ = ("from_number",)


@attrs.frozen
class Timeout(_Origin):
    """The deadlines of a call, in seconds; ``None``: no limit. Each is met to within half a second.

    ``idle`` and ``gap`` run only while the library waits for the network: a slow consumer or a
    running callback trips neither.

    :param connect: TCP (all addresses), proxy and TLS together, for each attempt. The name look-up
        counts, but cannot be interrupted.
    :param idle: no progress: nothing of the request can be sent, no byte of the response comes. A
        keep-alive comment is bytes.
    :param gap: no event, whatever else arrives: for the server that sends nothing but keep-alives.
        Without ``stream=True`` it bounds the wait for the headers.
    :param total: from the call to its end: connecting, retries, and everything else.
    :param first: from the beginning of an attempt to the first event that carries something of the
        answer: text, reasoning, a refusal, a tool call, audio, an image or a finish reason; not a
        role, an empty delta, usage or a report of progress. Counted as ``gap`` is, connecting
        included. Before the headers the request is retried, as after any time-out; later
        ``restarts`` applies. It has no effect without ``stream=True``.
    :param content: the same between two such events, until each choice has a finish reason.
    :raises ConfigurationError: a value is not a number above 0.

    .. versionadded:: 0.1
    """

    connect: float | None = attrs.field(default=10.0, converter=_limit, validator=_seconds)
    idle: float | None = attrs.field(default=120.0, converter=_limit, validator=_seconds)
    gap: float | None = attrs.field(default=600.0, converter=_limit, validator=_seconds)
    total: float | None = attrs.field(default=None, converter=_limit, validator=_seconds)
    first: float | None = attrs.field(default=None, converter=_limit, validator=_seconds)
    content: float | None = attrs.field(default=None, converter=_limit, validator=_seconds)


def timeout_of(value: Timeout | float | None) -> Timeout:
    """A ``timeout`` argument as a :class:`Timeout`: a bare number is ``idle``.

    :raises ConfigurationError: it is neither a ``Timeout`` nor a number above 0.
    """
    if isinstance(value, Timeout):
        return value
    if value is None:
        return Timeout(connect=None, idle=None, gap=None)
    if not isinstance(value, (int, float)):
        raise ConfigurationError(
            "timeout must be a number of seconds or Timeout(connect=…, idle=…), not a "
            f"{type(value).__name__}"
        )
    made = Timeout(idle=value)
    object.__setattr__(made, "from_number", True)
    return made


def without_stream(timeout: Timeout) -> Timeout:
    """What it means for a call without a stream: a bare number bounds the wait for the headers too.

    That wait is ``gap``'s, as nothing comes while a server makes a whole answer; but whoever gives
    one number means all waits.
    """
    if getattr(timeout, "from_number", False):
        return attrs.evolve(timeout, gap=timeout.idle)
    return timeout
