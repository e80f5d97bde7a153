"""Plain JSON values: copied, compared and shown, however deep they are nested.

None of these functions recurses, except to a small depth: a parser of JSON allows nesting that is
deeper than Python's own stack.
"""

from __future__ import annotations

import itertools
from typing import Any

__all__ = ["clipped", "copied", "same"]

#: Characters of a string, and items of a list or dict, that a ``repr`` shows.
CLIP_STRING = 60
CLIP_ITEMS = 4


def copied(value: Any) -> Any:
    """*value* with new dicts and lists all the way down."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    top: Any = {} if isinstance(value, dict) else []
    todo: list[tuple[Any, Any]] = [(value, top)]
    while todo:
        source, target = todo.pop()
        pairs = source.items() if isinstance(source, dict) else enumerate(source)
        for key, item in pairs:
            made: Any = item
            if isinstance(item, (dict, list, tuple)):
                made = {} if isinstance(item, dict) else []
                todo.append((item, made))
            if isinstance(target, dict):
                target[key] = made
            else:
                target.append(made)
    return top


def same(one: Any, other: Any) -> bool:
    """``one == other``, also where that is nested too deeply for Python."""
    try:
        return bool(one == other)
    except RecursionError:
        pass
    todo = [(one, other)]
    while todo:
        a, b = todo.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            todo.extend((a[key], b[key]) for key in a)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            todo.extend(zip(a, b, strict=True))
        elif not (a is b or a == b):
            return False
    return True


def clipped(value: Any, depth: int = 2) -> str:
    """A short ``repr``: of a long string the start, of a large dict or list the first items."""
    if isinstance(value, str):
        return repr(value if len(value) <= CLIP_STRING else value[: CLIP_STRING - 1] + "…")
    if isinstance(value, (dict, list, tuple)):
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        if value and not depth:
            return f"{opening}…{closing}"
        first = list(itertools.islice(value, CLIP_ITEMS))
        if isinstance(value, dict):
            texts = [f"{clipped(k)}: {clipped(value[k], depth - 1)}" for k in first]
        else:
            texts = [clipped(item, depth - 1) for item in first]
        if len(value) > CLIP_ITEMS:
            texts.append("…")
        return opening + ", ".join(texts) + closing
    try:
        return repr(value)
    except ValueError:  # an int of more digits than Python is willing to print
        return "…"
