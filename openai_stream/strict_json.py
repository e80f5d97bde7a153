"""JSON as RFC 8259 has it: no NaN, no Infinity (section 6), which :mod:`json` takes for numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any

from .errors import StreamDecodeError

__all__ = ["SMALL", "check_density", "decode_json", "loads", "loads_finite"]


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


#: JSON of no more bytes is not looked at before it is parsed: at its worst that makes 10 MB.
SMALL = 2**18

#: Larger JSON may have one object or list for so many bytes of its limit. Parsed, one takes 200
#: bytes, and a class of the answer and its sum are made of it. The densest that real servers send,
#: the log probabilities of tokens, has one for 30 bytes.
_BYTES_EACH = 64

_WINDOW = 2**16
_STRING = rb'"[^"]*"?'


def _brackets(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _has_more(text: bytes, most: int) -> bool:
    """Whether there are more objects and lists in it."""
    if _brackets(text) <= most:
        return False
    # Those inside of strings do not count. A window at a time, as what stands between millions of
    # strings would take as much memory as what is looked for.
    text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    count = 0
    is_inside = False
    for start in range(0, len(text), _WINDOW):
        window = b'"' * is_inside + text[start : start + _WINDOW]
        count += _brackets(re.sub(_STRING, b"", window))
        if count > most:
            return True
        is_inside = window.count(b'"') % 2 == 1
    return False


def check_density(text: bytes, limit: int, noun: str) -> None:
    """Look at JSON that may be large, before it is parsed into many times as much.

    :param limit: of its bytes, from which follows how many objects and lists it may have.
    :param noun: what it is, for the message: ``"event"`` or ``"answer"``.
    :raises StreamDecodeError: it has more.
    """
    if len(text) > SMALL and _has_more(text, most := limit // _BYTES_EACH):
        raise StreamDecodeError(
            f"the server sent an {noun} of more than {most} JSON objects and lists; if such "
            f"{noun}s are to be expected, raise max_event_bytes, of which each takes "
            f"{_BYTES_EACH}",
            lasting=True,
        )
