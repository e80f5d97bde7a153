"""What accumulators are built from: values that grow, the rules by which they grow, and copies.

What arrives in pieces is collected and joined only when somebody asks, so that each piece costs one
append however long the whole already is. What the fields mean is left to the accumulators.

One thread adds; any thread may copy meanwhile, without a lock. Three habits make that safe, and
everything built here keeps them:

* Values only grow, or are replaced as a whole; nothing is reordered, compacted or removed.
* A dict or list is never iterated where it lives, but in a copy made with ``.copy()`` or
  ``list()``: one call into C, during which the interpreter runs no other thread (a free-threaded
  one locks the container for it). ``"".join`` of a list is such a call as well.
* What came inside a chunk is shared with the events made from it: it is kept as it is and copied on
  the way out. Only containers made here are ever changed.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from openai_stream.surrogates import joined

#: The strings that come whole. Repeating one repeats it; every other string of a delta continues.
_WHOLE_STRINGS = frozenset({"id", "type", "name", "format", "role"})


class Text(list[str]):
    """A string that arrives in pieces."""

    __slots__ = ()


class Array(list[Any]):
    """A list that arrives in pieces."""

    __slots__ = ()


class Object(dict[str, Any]):
    """An object whose fields arrive in pieces."""

    __slots__ = ()


class Node:
    """Anything else that grows."""

    __slots__ = ()

    def frozen(self) -> Any:
        """What has grown so far, as JSON in containers of its own. From any thread."""
        raise NotImplementedError


def is_void(value: Any) -> bool:
    """Whether a value says nothing: null, or an empty string, list or object."""
    return value is None or (not value and type(value) in (str, list, dict))


def index_of(value: Any) -> int | None:
    """The number that an index stands for, ``None`` if it stands for none."""
    kind = type(value)
    if kind is int:
        return value  # type: ignore[no-any-return]
    if kind is float and value.is_integer():
        return int(value)
    if kind is str and len(value) < 10 and value.isascii() and value.isdigit():
        return int(value)
    return None


def keep(fields: dict[str, Any], key: str, value: Any) -> None:
    """The last value wins. Null only notes that the field exists: servers that give a field once
    often send it as null in all other chunks.
    """
    if value is None:
        fields.setdefault(key, None)
    else:
        fields[key] = value


def join(fields: dict[str, Any], key: str, value: Any) -> None:
    """One field of a delta: a string continues the one before, of anything else the last wins.

    An empty string neither ends nor replaces anything. Where the type changes, the newer stands.
    """
    if type(value) is not str:
        keep(fields, key, value)
        return
    have = fields.get(key)
    if key in _WHOLE_STRINGS:
        if value or have is None:
            fields[key] = value
    elif type(have) is Text:
        have.append(value)
    elif value or have is None:
        fields[key] = Text((value,))


def grow_object(
    fields: dict[str, Any],
    key: str,
    value: Any,
    grow: Callable[[dict[str, Any], str, Any], None] = join,
) -> None:
    """An object whose own fields grow, by default as a delta's do. A value that is no object stands
    only until one comes: an object that has begun is worth more than a field of the wrong type.
    """
    have = fields.get(key)
    if type(value) is not dict:
        if type(have) is not Object:
            keep(fields, key, value)
        return
    if type(have) is not Object:
        have = fields[key] = Object()
    for name, item in value.items():
        grow(have, name, item)


def extend(fields: dict[str, Any], key: str, value: Any) -> None:
    """A list that continues the one before. A value that is no list stands only until one comes."""
    have = fields.get(key)
    if type(value) is not list:
        if type(have) is not Array:
            keep(fields, key, value)
    elif type(have) is Array:
        have.extend(value)
    else:
        fields[key] = Array(value)


def fresh(value: Any) -> Any:
    """A deep copy of JSON. Without recursion: a stream may nest as deep as the parser allows, and
    a snapshot may be asked for from deep inside somebody's program.
    """
    if not isinstance(value, (dict, list)):
        return value
    root = value.copy()
    stack: list[Any] = [root]
    while stack:
        parent = stack.pop()
        # Replacing the value of a key that exists does not disturb the iteration over its dict.
        for key, child in parent.items() if isinstance(parent, dict) else enumerate(parent):
            if isinstance(child, (dict, list)):
                parent[key] = child.copy()
                stack.append(parent[key])
    return root


def frozen(value: Any) -> Any:
    """What a growing value is now, as JSON in containers of its own. From any thread."""
    kind = type(value)
    if kind is Text:
        return joined("".join(value))
    if kind is Object:
        return {key: frozen(item) for key, item in value.copy().items()}
    if kind is Array:
        return fresh(list(value))
    if isinstance(value, Node):
        return value.frozen()
    return fresh(value)


def frozen_in_order(things: list[Any]) -> list[Any]:
    """What numbered things are now, each with ``fields`` and an ``index``: by index, and those
    without one where they came. Of two with one index the earlier comes first. From any thread.
    """
    numbered = [
        (position if thing.index is None else thing.index, thing)
        for position, thing in enumerate(list(things))
    ]
    numbered.sort(key=itemgetter(0))
    return [frozen(thing.fields) for _, thing in numbered]
