"""Answers that depend on what has been asked before: an account's limits, and faults by chance."""

from __future__ import annotations

import inspect
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from .answers import Event, answer
from .connection import Request, Script, Step
from .faults import Fault, fault_of
from .server import Answer, Handler
from .wire import error_answer

__all__ = ["limits", "random_faults"]


class _Bucket:
    """A limit that refills steadily: so many a period, and never more than that at once."""

    def __init__(self, name: str, size: int, period: float) -> None:
        if size <= 0:
            raise ValueError(f"a limit of {size} {name} lets nothing pass: give a positive one")
        self.name = name
        self.size = size
        self._rate = size / period
        self._left = float(size)
        self._at = time.monotonic()

    def refill(self, now: float) -> None:
        self._left = min(self.size, self._left + (now - self._at) * self._rate)
        self._at = now

    def wait_for(self, amount: float) -> float:
        """Seconds until so many are there; 0: they are."""
        return max(0.0, (amount - self._left) / self._rate)

    def take(self, amount: float) -> None:
        self._left -= amount

    def headers(self) -> dict[str, str]:
        return {
            f"x-ratelimit-limit-{self.name}": str(self.size),
            f"x-ratelimit-remaining-{self.name}": str(int(self._left)),
            f"x-ratelimit-reset-{self.name}": _shown(self.wait_for(self.size)),
        }


def limits(
    answer: Answer,
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    period: float = 60.0,
    tokens: Callable[[Request], float] | None = None,
) -> Handler:
    """A handler for :meth:`ScriptedServer.always` that holds to an account's limits.

    While there is something left, it gives the answer, with the headers ``x-ratelimit-limit-…``,
    ``x-ratelimit-remaining-…`` and ``x-ratelimit-reset-…`` of ``requests`` and ``tokens``; else
    status 429 with the same, ``retry-after`` in whole seconds and ``retry-after-ms``. As OpenAI's,
    a limit refills steadily and not at the minute. What is refused uses nothing up.

    :param answer: a script, or a handler.
    :param rpm: requests in a *period*.
    :param tpm: tokens in a *period*; a request that wants more than that is never answered.
    :param period: seconds; a minute, unless a test has less time.
    :param tokens: what a request uses up; by default what it may at most: a token for each four
        characters of its body, and ``max_tokens`` (or its like) for each of ``n`` choices.
    :raises ValueError: a limit or the period is not positive, or there is no limit.

    .. versionadded:: 0.1
    """
    if period <= 0:
        raise ValueError(f"period must be positive, in seconds: {period}")
    buckets: list[tuple[_Bucket, Callable[[Request], float]]] = []
    if rpm is not None:
        buckets.append((_Bucket("requests", rpm, period), lambda request: 1))
    if tpm is not None:
        buckets.append((_Bucket("tokens", tpm, period), tokens or _tokens))
    if not buckets:
        raise ValueError("no limit: give rpm=, tpm= or both")
    lock = threading.Lock()

    def handler(request: Request) -> Script:
        wanted = [(bucket, count(request)) for bucket, count in buckets]
        with lock:
            now = time.monotonic()
            for bucket, _ in wanted:
                bucket.refill(now)
            bucket, amount = max(wanted, key=lambda one: one[0].wait_for(one[1]))
            wait = bucket.wait_for(amount)
            if not wait:
                for one, each in wanted:
                    one.take(each)
            headers = {name: text for one, _ in wanted for name, text in one.headers().items()}
        if not wait:
            script = answer(request) if callable(answer) else answer
            return _with_headers(script, headers)
        if amount > bucket.size:
            said = f"Request too large: Limit {bucket.size}, Requested {amount:g}."
        else:
            said = f"Rate limit reached for {bucket.name}: Limit {bucket.size}. "
            said += f"Please try again in {_shown(wait)}."
            headers["retry-after"] = str(math.ceil(wait))
            headers["retry-after-ms"] = str(math.ceil(wait * 1000))
        return error_answer(
            429, said, code="rate_limit_exceeded", type=bucket.name, headers=headers
        )

    return handler


def _tokens(request: Request) -> float:
    try:
        body = request.json
    except ValueError:
        body = None
    most: float = len(request.body) // 4
    if isinstance(body, dict):
        for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
            if isinstance(body.get(name), int):
                many = body.get("n")
                most += body[name] * (many if isinstance(many, int) else 1)
                break
    return most


def _shown(seconds: float) -> str:
    """As OpenAI writes times: ``12ms``, ``8.64s``, ``6m0s``."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:g}s"
    if minutes or hours:
        shown = f"{minutes}m{shown}"
    return f"{hours}h{shown}" if hours else shown


def _with_headers(script: Script, headers: Mapping[str, str]) -> Script:
    """The script with these headers more, in the answer that it begins with."""
    parts = [script] if isinstance(script, (Step, bytes)) else list(script)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    for at, part in enumerate(parts):
        if isinstance(part, bytes) and part.startswith(b"HTTP/"):
            status, end, rest = part.partition(b"\r\n")
            parts[at] = status + end + lines + rest
            break
    return parts


def random_faults(
    rates: Mapping[str, float] | Iterable[tuple[Fault | str, float]],
    events: str | Iterable[Event] = "Hello, world!",
    *,
    seed: int,
    **options: object,
) -> Handler:
    """A handler for :meth:`ScriptedServer.always` whose answers go wrong at these rates.

    The same seed gives the same faults, to the first request, the second, and so on. ::

        server.always(random_faults({"rate_limited": 0.2, "cut": 0.1}, "Hello you", seed=7))

    :param rates: of each fault the share of answers that have it, from 0 to 1: by name, or in pairs
        with what the functions of :mod:`openai_stream.testing.faults` make.
    :param events: as those of :func:`answer`, which *options* are also for.
    :raises ValueError: there is no such fault, or the rates are not such.

    .. versionadded:: 0.1
    """
    pairs = rates.items() if isinstance(rates, Mapping) else rates
    table = [(fault_of(fault), rate) for fault, rate in pairs]
    if any(not 0 <= rate <= 1 for _, rate in table) or sum(rate for _, rate in table) > 1 + 1e-9:
        raise ValueError("the rates must each be from 0 to 1, and together not more than 1")
    kept = events if isinstance(events, str) else list(events)
    inspect.signature(answer).bind(kept, fault=None, **options)
    faults = [fault for fault, _ in table]
    # One script for each fault, made now: a fault that does not fit the answer is an error here.
    scripts = [answer(kept, fault=fault, **options) for fault in [*faults, None]]  # type: ignore[arg-type]
    weights = [rate for _, rate in table]
    weights.append(max(0.0, 1.0 - sum(weights)))
    chance = random.Random(seed)  # noqa: S311
    lock = threading.Lock()

    def handler(request: Request) -> Script:
        with lock:
            return chance.choices(scripts, weights)[0]

    return handler
