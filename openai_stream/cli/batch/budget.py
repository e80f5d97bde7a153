"""How many requests and tokens a minute: what the user allows, and what the server says is left.

``--rpm`` and ``--tpm`` are spread evenly over the minute. The headers ``x-ratelimit-…`` say how
much of a limit is left and when there is more, so that the run holds back before the first 429.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone

import attrs

__all__ = ["Budget", "seconds_of"]

_KINDS = ("requests", "tokens")
_NAMES = ("x-ratelimit-{what}-{kind}", "anthropic-ratelimit-{kind}-{what}")
_PERIODS = (60.0, 3600.0, 86400.0)  # seconds over which a limit may be counted
_LONGEST = 60.0  # seconds that are waited for a header's sake: a 429 knows better
_DURATION = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d*)?)s)?(?:(\d+(?:\.\d*)?)ms)?"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def seconds_of(value: str | None) -> float | None:
    """The seconds until a limit resets: ``6m0s``, ``20ms``, ``30``, a time of day in any form.

    :returns: ``None`` if it says nothing.
    """
    value = (value or "").strip()
    number = _number(value)
    if number is not None:
        if number > 1e11:  # since 1970, in milliseconds
            number /= 1000
        return max(0.0, number - time.time() if number > 1e9 else number)
    found = _DURATION.fullmatch(value)
    if found and value:
        return sum(float(n) * unit for n, unit in zip(found.groups(), _UNITS, strict=True) if n)
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() - time.time())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


class _Bucket:
    """Fills up evenly. What is taken may leave a debt, so that a large request is not refused.

    :param per_minute: how much comes in.
    """

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        # A server may count by the second: no more than that is saved up.
        self._most = max(1.0, self._rate)
        self._level = self._most
        self._at = time.monotonic()

    def take(self, amount: float) -> None:
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._at) * self._rate) - amount
        self._at = now

    @property
    def opens_at(self) -> float:
        """By :func:`time.monotonic`."""
        return self._at + (1.0 - self._level) / self._rate


@attrs.define
class _Told:
    """What a server said is left.

    :param left: requests or tokens.
    :param opens_at: when there is more, by :func:`time.monotonic`.
    """

    left: float
    opens_at: float


class Budget:
    """Says when the next request may begin.

    :param rpm: requests a minute, ``None`` for as many as the server bears.
    :param tpm: tokens a minute, of prompts and answers.
    """

    def __init__(self, rpm: float | None = None, tpm: float | None = None) -> None:
        given = dict(zip(_KINDS, (rpm, tpm), strict=True))
        self._buckets = {kind: _Bucket(most) for kind, most in given.items() if most is not None}
        self._told: dict[str, _Told] = {}
        self._answers = 0
        self._answer_tokens = 0.0

    def begin(self, prompt_tokens: int) -> float:
        """Note that a request begins.

        :param prompt_tokens: about how many it has.
        :returns: what to give to :meth:`spent`.
        """
        guess = prompt_tokens + self._answer_tokens / max(1, self._answers)
        for kind, amount in zip(_KINDS, (1.0, guess), strict=True):
            if kind in self._buckets:
                self._buckets[kind].take(amount)
            if kind in self._told:
                self._told[kind].left -= amount
        return guess

    def spent(self, guess: float, prompt_tokens: int, answer_tokens: int) -> None:
        """Note what a request took in the end."""
        self._answers += 1
        self._answer_tokens += answer_tokens
        if "tokens" in self._buckets:
            self._buckets["tokens"].take(prompt_tokens + answer_tokens - guess)

    def told(self, headers: Mapping[str, str], others: int) -> None:
        """Note what the headers of a response say.

        :param others: how many requests have no response yet: the server may not have counted them.
        """
        for kind in _KINDS:
            left, limit, reset = (self._header(headers, kind, what) for what in _WHATS)
            remaining, most = _number(left), _number(limit)
            if remaining is None:
                continue
            pause = seconds_of(reset)
            needed = 1.0 if kind == "requests" else self._average
            self._told[kind] = _Told(
                remaining - others * needed,
                time.monotonic() + _pause(remaining, most, pause, needed),
            )

    @staticmethod
    def _header(headers: Mapping[str, str], kind: str, what: str) -> str | None:
        names = (name.format(kind=kind, what=what) for name in _NAMES)
        return next((headers[name] for name in names if name in headers), None)

    @property
    def _average(self) -> float:
        return max(1.0, self._answer_tokens / max(1, self._answers))

    @property
    def held_until(self) -> float:
        """When what the server counts lets the next one begin, by :func:`time.monotonic`."""
        needed = {"requests": 1.0, "tokens": self._average}
        closed = [told.opens_at for kind, told in self._told.items() if told.left < needed[kind]]
        return max(closed, default=0.0)

    @property
    def opens_at(self) -> float:
        """When the next one may begin, by :func:`time.monotonic`."""
        return max([self.held_until, *(bucket.opens_at for bucket in self._buckets.values())])


_WHATS = ("remaining", "limit", "reset")


def _pause(left: float, limit: float | None, reset: float | None, needed: float) -> float:
    """Seconds until there is enough for another request.

    :param reset: seconds until the limit is whole again.
    """
    if reset is None:
        return 1.0
    if limit and limit > left:
        # Most fill up evenly: then all is there at ``reset``, and a part of it before.
        for period in _PERIODS:
            whole = (limit - left) * period / limit
            if abs(reset - whole) <= max(1.0, whole / 10) and period / limit < reset:
                return min(_LONGEST, reset, max(0.0, needed - left) * period / limit)
    return min(_LONGEST, reset)
