"""Whether a value that grows has only grown."""

from __future__ import annotations

from typing import Any

from openai_stream.structured import NOTHING


def begins(whole: Any, part: Any) -> bool:
    """Whether *part* is what *whole* may have been before: all but the last value is equal."""
    if part is NOTHING:
        return True
    if type(part) is not type(whole):
        return False
    if isinstance(part, str):
        return bool(whole.startswith(part))
    if isinstance(part, (dict, list)):
        old: list[Any] = list(part.items()) if isinstance(part, dict) else list(enumerate(part))
        new: list[Any] = list(whole.items()) if isinstance(whole, dict) else list(enumerate(whole))
        if not old:
            return True
        *before, (key, value) = old
        return (
            new[: len(before)] == before
            and len(new) >= len(old)
            and new[len(before)][0] == key
            and begins(new[len(before)][1], value)
        )
    return bool(part == whole)
