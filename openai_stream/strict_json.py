"""JSON as RFC 8259 has it: no NaN, no Infinity (section 6), which :mod:`json` takes for numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from .errors import StreamDecodeError

__all__ = ["decode_json", "loads", "loads_finite"]


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def loads(text: str) -> Any:
    """As :func:`json.loads`, strictly.

    :raises ValueError: it is not JSON, or has a number beyond Python's limit of digits.
    :raises RecursionError: it is nested too deep.
    """
    return json.loads(text, parse_constant=_no_number)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def loads_finite(text: str | bytes) -> Any:
    """As :func:`loads`, for what is to become JSON again: ``1e999`` would become ``Infinity``.

    :raises: as :func:`loads`.
    """
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


# ``json.loads`` without what it does around its scanner, which costs as much again on an event.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(  # type: ignore[attr-defined]
    parse_constant=_no_number
).scan_once


_DEEP = 1000  # more than any JSON is nested that is meant well, also if its end is missing


def decode_json(text: str) -> Any:
    """Parse the data of an event.

    :raises StreamDecodeError: it is no JSON, nested too deep, or has a number beyond Python's
        limit of digits.
    """
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    # Rare: white space around the value, which RFC 8259, section 2, allows; or no JSON at all.
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        # Python 3.14 reads deeper than older ones, and then only misses the end.
        unclosed = sum(map(text.count, "[{")) - sum(map(text.count, "]}"))
        deep = isinstance(error, RecursionError) or unclosed > _DEEP
        problem = "it is nested too deep" if deep else str(error)
        raise StreamDecodeError(
            f"the server sent an event whose data is not JSON: {problem}"
        ) from error
