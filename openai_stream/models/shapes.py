"""How the objects of one class are read: any shape, and faster those that come again.

A *shape* is one sequence of keys. Reading has one meaning, :meth:`Wire.read`. For a shape that is
met again and again, the same steps are written out as Python source without loops and look-ups
(:meth:`Wire.write`, in the manner of ``attrs`` itself), because this runs once for every event of
every stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .fields import NULL_GIVEN, Field, Load, make_field, only_dicts

__all__ = ["Kept", "Wire"]

#: Shapes that each class remembers; a server that invents new ones makes it forget and start over.
MAX_SHAPES = 64
#: A shape with more keys, or more characters in them, is never remembered.
MAX_SHAPE_KEYS = 64
MAX_SHAPE_CHARACTERS = 2048
#: A shape is written out when it is met for this many times: writing costs what some 50 readings
#: cost, so one that comes once a stream should not delay the first event.
WRITE_AFTER = 16


class Kept:
    """What an object of the wire has beside its attributes.

    ``_keys`` is the shape the object was read with (one tuple, shared by all events of that shape),
    ``None`` if it was made by hand. ``_rest`` holds what the attributes cannot: unknown keys, and
    known keys with values of a wrong type. So the parsed dicts themselves need not be kept: they
    would slow the garbage collector down.
    """

    # Not fields, so that attrs does not see them.
    __slots__ = ("_keys", "_rest")

    _keys: tuple[str, ...] | None
    _rest: dict[str, Any] | None


class Wire:
    """The form of a class's objects on the wire.

    Many threads read at once. They share ``seen``, ``loads`` and ``cell``, without a lock: each
    access is one operation on a dict or list, and what a race can lose is a count or a remembered
    shape, which costs time and changes no result.

    :param cls: the class, a frozen one of ``attrs`` with slots, and a :class:`Kept`.
    :param give: makes the JSON of an attribute that holds objects.
    :param form_of: the form of another class that a field may name; ``None`` if it has none.
    """

    def __init__(
        self,
        cls: type[Any],
        give: Callable[[Any], Any],
        form_of: Callable[[Any], Wire | None],
    ) -> None:
        attributes = attrs.fields(cls)
        self.cls = cls
        self.give = give
        # Every class is frozen. Its twin has the same slots without that, so that they can be
        # filled by plain assignment, after which the object changes its class (0.02 µs). Through
        # the frozen __init__, the chunk of a chat takes 3.8 µs instead of 1.1; without the line
        # for __delattr__ 3.1 µs, for CPython has one slot for it and __setattr__.
        self.twin: Callable[[], Any] = type(
            cls.__name__,
            (cls,),
            {
                "__slots__": (),
                "__init__": object.__init__,
                "__setattr__": object.__setattr__,
                "__delattr__": object.__delattr__,
            },
        )
        self.fields: dict[str, Field] = {
            a.name: make_field(a.name, a.type, form_of) for a in attributes
        }
        self.shown = [a.name for a in attributes if a.repr]
        self.seen: dict[tuple[str, ...], int] = {}
        self.loads: dict[tuple[str, ...], Load] = {}
        #: The function that reads the next object: the one written for the newest shape, which
        #: hands over when it is given another. A look-up by the keys each time makes it 1.3 µs for
        #: the chunk of a chat, one by keys and types of values 2.1.
        self.cell: list[Load] = [self.load]
        self.missing: Any = cls()
        self.null: Any = cls()

    def load(self, d: Mapping[str, Any]) -> Any:
        """Read an object of any shape."""
        keys = tuple(d)
        load = self.loads.get(keys) or self.learn(keys, d)
        if load is None:
            return self.read(d, keys)
        self.cell[0] = load
        return load(d)

    def learn(self, keys: tuple[str, ...], d: Mapping[str, Any]) -> Load | None:
        """Count a shape, which *d* has; from the 16th time on there is a function for it."""
        if len(keys) > MAX_SHAPE_KEYS or sum(len(str(key)) for key in keys) > MAX_SHAPE_CHARACTERS:
            return None
        count = self.seen.get(keys, 0) + 1
        if count < WRITE_AFTER:
            if count == 1 and len(self.seen) >= MAX_SHAPES:
                self.seen.clear()
            self.seen[keys] = count
            return None
        self.seen.pop(keys, None)
        if len(self.loads) >= MAX_SHAPES:
            self.loads.clear()
        load = self.loads[keys] = self.write(keys, d)
        return load

    def read(self, d: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
        """Read an object: 5.5 µs for the chunk of a chat, all its parts read in this way."""
        new = self.twin()
        new._keys = keys
        rest = {}
        for field in self.fields.values():
            setattr(new, field.name, field.missing)
        for key, value in d.items():
            known = self.fields.get(key)
            if known is None:
                rest[key] = value
                continue
            attribute, whole = known.read(value)
            setattr(new, known.name, attribute)
            if not whole:
                rest[key] = value
        new._rest = rest or None
        new.__class__ = self.cls
        return new

    def write(self, keys: tuple[str, ...], d: Mapping[str, Any]) -> Load:
        """Write :meth:`read` out for one shape: 1.1 µs for the chunk of a chat.

        *d* has it. Where its value is no ``null``, others will hardly be: their type is looked at
        first.

        The source is made of our own names and of positions (``v3``, ``k3``), never of a key that
        a server sent. A value that is not as expected is left to :meth:`read`.
        """
        names: dict[str, Any] = {
            "NULL_GIVEN": NULL_GIVEN,
            "only_dicts": only_dicts,
            "cell": self.cell,
            "cls": self.cls,
            "keys": keys,
            "loads": self.loads,
            "load_other": self.load,
            "read": self.read,
            "twin": self.twin,
        }
        checks, stores, rest = [], [], []
        absent = dict(self.fields)
        for i, key in enumerate(keys):
            field = absent.pop(key, None)
            if field is None:
                names[f"k{i}"] = key
                rest.append(f"k{i}: v{i}")
            else:
                check = [f"v{i} is None", field.check(f"v{i}", names)]
                checks.append(f"({' or '.join(check if d[key] is None else check[::-1])})")
                stores.append(f"    new.{field.name} = {field.take(f'v{i}', names)}")
        for i, field in enumerate(absent.values()):
            names[f"missing_{i}"] = field.missing
            stores.append(f"    new.{field.name} = missing_{i}")
        source = [
            "def load(d, found=None):",
            "    if found is None:",
            "        found = tuple(d)",
            "        if found != keys:",
            "            other = loads.get(found)",
            "            if other is None:",
            "                return load_other(d)",
            "            cell[0] = other",
            "            return other(d, found)",
            *([f"    {''.join(f'v{i}, ' for i in range(len(keys)))}= d.values()"] if keys else []),
            *([f"    if not ({' and '.join(checks)}):"] if checks else []),
            *(["        return read(d, keys)"] if checks else []),
            "    new = twin()",
            "    new._keys = keys",
            f"    new._rest = {'{' + ', '.join(rest) + '}' if rest else None}",
            *stores,
            "    new.__class__ = cls",
            "    return new",
        ]
        code = compile("\n".join(source), f"<{self.cls.__name__}.from_dict>", "exec")
        exec(code, names)  # noqa: S102 - see above: no word of it is from outside
        load: Load = names["load"]
        return load
