"""What all classes of the wire share: a JSON object becomes typed attributes, and comes back whole.

The classes themselves say only what the API documents: a field's annotation is also the rule by
which it is read. Where the objects come from, and how events add up to an answer, is not known
here.

Reading has one meaning, :meth:`_Wire.read`. For a *shape*, that is one sequence of keys, that is
met again and again, the same steps are written out as Python source without loops and look-ups
(:meth:`_Wire.write`, in the manner of ``attrs`` itself), because this runs once for every event
of every stream.
"""

from __future__ import annotations

import abc
import itertools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

import attrs

__all__ = ["NONE_GIVEN", "Model", "clipped", "copied", "missing", "wire"]

M = TypeVar("M", bound="Model")
C = TypeVar("C", bound="type[Model]")
Load = Callable[[Mapping[str, Any]], Any]

#: Shapes that each class remembers; a server that invents new ones makes it forget and start over.
MAX_SHAPES = 64
#: A shape with more keys, or more characters in them, is never remembered.
MAX_SHAPE_KEYS = 64
MAX_SHAPE_CHARACTERS = 2048
#: A shape is written out when it is met for this many times: writing costs what some 50 readings
#: cost, so one that comes once a stream should not delay the first event.
WRITE_AFTER = 16

#: Characters of a string, and items of a list or dict, that a ``repr`` shows.
CLIP_STRING = 60
CLIP_ITEMS = 4


class _NoList(list[Any]):
    """An empty list that stands for a list that the wire did not have.

    It is shared by all events (which spares each of them a list), hence it cannot be changed.
    """

    __slots__ = ("_name",)

    def __new__(cls, items: Any = (), *, name: str = "") -> Any:
        # attrs.asdict() makes new lists by calling a list's class: those are plain ones.
        return super().__new__(cls) if name else list(items)

    def __init__(self, *, name: str) -> None:
        super().__init__()
        self._name = name

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("an event's lists are not to be changed; make a list of your own from it")

    append = extend = insert = __iadd__ = __imul__ = __setitem__ = _refuse

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A plain name stands for the one object of that name, in pickle and in copy alike.
        return self._name


#: The key was not there. Also what a list field is when it is not given to the constructor.
NONE_GIVEN: list[Any] = _NoList(name="NONE_GIVEN")
#: The key was there with ``null``; told apart from ``[]`` by identity alone.
NULL_GIVEN: list[Any] = _NoList(name="NULL_GIVEN")


class Model:
    """Base of the classes of the wire.

    Instances are not to be changed once made, the lists and dicts in their attributes included.
    """

    # Not fields, so that attrs does not see them. ``_keys`` is the shape the object was read with
    # (one tuple, shared by all events of that shape), ``None`` if it was made by hand. ``_rest``
    # holds what the attributes cannot: unknown keys, and known keys with values of a wrong type.
    # So the parsed dicts themselves need not be kept: they would slow the garbage collector down.
    __slots__ = ("_keys", "_rest")

    _wire: ClassVar[_Wire]
    _cell: ClassVar[list[Load]]

    _keys: tuple[str, ...] | None
    _rest: dict[str, Any] | None

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_keys", None)
        object.__setattr__(self, "_rest", None)

    @classmethod
    def from_dict(cls: type[M], d: Mapping[str, Any]) -> M:
        """Read a JSON object.

        Nothing raises, whatever the object holds: a list that is missing, ``null`` or of the wrong
        type reads as ``[]``, items of a wrong type in a list are skipped, anything else missing or
        of the wrong type reads as ``None``; :meth:`to_dict` still gives all of it back.

        :param d: a dict as :func:`json.loads` makes it. Its top level is copied. The dicts and
            lists inside now belong to the new object: do not change them afterwards.
        """
        result: M = cls._cell[0](d)
        return result

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, as a new dict that the caller may change.

        Of an object that was read it is the same JSON text again: order of keys, missing keys,
        ``null``, unknown fields and values of a wrong type. Of one made by hand (or by
        :func:`attrs.evolve`) it holds what is not ``None``.
        """
        fields = self._wire.fields
        out: dict[str, Any] = {}
        if self._keys is None:
            for name, field in fields.items():
                value = getattr(self, name)
                if not (value is None or value is field.missing or value is field.null):
                    out[name] = _given(value)
            return out
        rest = self._rest or {}
        for key in self._keys:
            if key in rest:
                out[key] = copied(rest[key])
                continue
            # What is not in the rest is a field, by name, and its value had the right type.
            value = getattr(self, key)
            field = fields[key]
            if value is None or value is field.null:
                out[key] = None
            else:
                out[key] = value if field.give is None else field.give(value)
        return out

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that this library does not know: a copy, ``{}`` where there are none."""
        if self._rest is None:
            return {}
        fields = self._wire.fields
        return {key: copied(value) for key, value in self._rest.items() if key not in fields}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return self is other or _same(self.to_dict(), other.to_dict())

    # Equality follows lists and dicts; like theirs, it leaves nothing to hash by.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = []
        for name in self._wire.shown:
            value = getattr(self, name)
            if value is None or value == []:
                continue
            text = clipped(value)
            if not (isinstance(value, Model) and text.endswith("()")):
                shown.append(f"{name}={text}")
        if self._rest is not None:
            fields = self._wire.fields
            extra = {key: value for key, value in self._rest.items() if key not in fields}
            if extra:
                shown.append(f"extra={clipped(extra)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The wire's own form: it survives a change of our attributes between two versions, and
        # carries what the attributes cannot.
        return (_from_pickle, (type(self), self.to_dict()))


def _from_pickle(cls: type[M], d: dict[str, Any]) -> M:
    return cls.from_dict(d)


def missing(cls: type[M]) -> M:
    """The shared, empty object that stands for a *cls* that the wire did not have."""
    result: M = cls._wire.missing
    return result


def wire(cls: C) -> C:
    """Class decorator, outside of :func:`attrs.frozen`: makes a :class:`Model` readable.

    Modules of such classes do not import ``annotations`` from ``__future__``: to resolve the texts
    of all annotations took half of the time that ``import openai_stream`` takes.
    """
    cls._wire = _Wire(cls)
    cls._cell = cls._wire.cell
    return cls


# -- plain JSON values ----------------------------------------------------------------------------
#
# None of these recurses, except to a small depth: a parser of JSON allows nesting that is deeper
# than Python's own stack.


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


def _given(value: Any) -> Any:
    """The JSON of an attribute, whatever it is: by hand, anything can be put there."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [item.to_dict() if isinstance(item, Model) else copied(item) for item in value]
    return copied(value)


def _same(one: Any, other: Any) -> bool:
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


# -- how one field is read ------------------------------------------------------------------------


class _Field(abc.ABC):
    """How the value of one field is read and given back.

    :meth:`read` is the meaning. :meth:`check` and :meth:`take` are the same in Python source, where
    *v* is the variable that holds the value. What else the source names goes into *names*, under a
    name that ends in *v* and so is the field's own.
    """

    #: The attribute's name, which is the key on the wire too.
    name: str = ""
    #: What the attribute is when the key is not there, or has a value of a wrong type.
    missing: Any = None
    #: What the attribute is for ``null``.
    null: Any = None
    #: Makes what :meth:`Model.to_dict` gives of an attribute; ``None`` where it is the same.
    give: Callable[[Any], Any] | None = None

    @abc.abstractmethod
    def read(self, value: Any) -> tuple[Any, bool]:
        """The attribute for *value*, and whether it says all that *value* says."""

    @abc.abstractmethod
    def check(self, v: str, names: dict[str, Any]) -> str:
        """A condition: the value, which is not ``null``, is of the very type it should have."""

    @abc.abstractmethod
    def take(self, v: str, names: dict[str, Any]) -> str:
        """An expression: the attribute for a value for which the condition holds."""


class _Scalar(_Field):
    """A string, number or boolean, or a JSON value that is left as it is; one of *types*."""

    def __init__(self, *types: type) -> None:
        self.types = types
        if dict in types or list in types:
            self.give = copied

    def fits(self, value: Any) -> bool:
        if isinstance(value, bool):  # which isinstance() takes for an int
            return bool in self.types
        return isinstance(value, self.types)

    def read(self, value: Any) -> tuple[Any, bool]:
        if value is None or self.fits(value):
            return value, True
        return None, False

    def check(self, v: str, names: dict[str, Any]) -> str:
        return " or ".join(f"type({v}) is {t.__name__}" for t in self.types)

    def take(self, v: str, names: dict[str, Any]) -> str:
        return v


class _Scalars(_Scalar):
    """A list of what :class:`_Scalar` reads."""

    missing = NONE_GIVEN
    null = NULL_GIVEN

    def __init__(self, *types: type) -> None:
        super().__init__(*types)
        self.give = copied

    def read(self, value: Any) -> tuple[Any, bool]:
        if value is None:
            return NULL_GIVEN, True
        if not isinstance(value, list):
            return NONE_GIVEN, False
        fitting = [item for item in value if self.fits(item)]
        return (value, True) if len(fitting) == len(value) else (fitting, False)

    def check(self, v: str, names: dict[str, Any]) -> str:
        names[f"only_{v}"] = self._only
        return f"type({v}) is list and only_{v}({v})"

    def take(self, v: str, names: dict[str, Any]) -> str:
        return f"NULL_GIVEN if {v} is None else {v}"

    def _only(self, items: list[Any]) -> bool:
        allowed = self.types
        for item in items:  # noqa: SIM110 - all() is twice as slow for a short list
            if type(item) not in allowed:
                return False
        return True


class _Part(_Field):
    """An object of the API that has a class of its own."""

    def __init__(self, cls: type[Model], *, always: bool) -> None:
        self.cell = cls._wire.cell
        self.give = _given
        if always:
            self.missing, self.null = cls._wire.missing, cls._wire.null

    def read(self, value: Any) -> tuple[Any, bool]:
        if value is None:
            return self.null, True
        if isinstance(value, dict):
            return self.cell[0](value), True
        return self.missing, False

    def check(self, v: str, names: dict[str, Any]) -> str:
        return f"type({v}) is dict"

    def take(self, v: str, names: dict[str, Any]) -> str:
        names[f"null_{v}"] = self.null
        names[f"cell_{v}"] = self.cell
        return f"null_{v} if {v} is None else cell_{v}[0]({v})"


class _Parts(_Field):
    """A list of what :class:`_Part` reads."""

    missing = NONE_GIVEN
    null = NULL_GIVEN

    def __init__(self, cls: type[Model]) -> None:
        self.cell = cls._wire.cell
        self.give = _given

    def read(self, value: Any) -> tuple[Any, bool]:
        if value is None:
            return NULL_GIVEN, True
        if not isinstance(value, list):
            return NONE_GIVEN, False
        parts = [self.cell[0](item) for item in value if isinstance(item, dict)]
        return parts, len(parts) == len(value)

    def check(self, v: str, names: dict[str, Any]) -> str:
        # Nearly always there is one item, the one choice: no call, no loop (0.15 µs less).
        return f"type({v}) is list and (len({v}) == 1 and type({v}[0]) is dict or _only_dicts({v}))"

    def take(self, v: str, names: dict[str, Any]) -> str:
        names[f"cell_{v}"] = self.cell
        return (
            f"NULL_GIVEN if {v} is None else"
            f" [cell_{v}[0]({v}[0])] if len({v}) == 1 else [cell_{v}[0](x) for x in {v}]"
        )


def _only_dicts(items: list[Any]) -> bool:
    for item in items:  # noqa: SIM110 - see _Scalars._only
        if type(item) is not dict:
            return False
    return True


def _field(name: str, hint: Any) -> _Field:
    field = _rule(hint)
    field.name = name
    return field


def _rule(hint: Any) -> _Field:
    """The rule that a resolved annotation stands for."""
    options = _options(hint)
    kinds = [option for option in options if option is not types.NoneType]
    first = kinds[0]
    if len(kinds) == 1 and typing.get_origin(first) is list:
        (item,) = typing.get_args(first)
        if isinstance(item, type) and issubclass(item, Model):
            return _Parts(item)
        return _Scalars(*_types(_options(item)))
    if isinstance(first, type) and issubclass(first, Model):
        return _Part(first, always=len(options) == 1)
    return _Scalar(*_types(kinds))


def _options(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _types(options: typing.Iterable[Any]) -> list[type]:
    found = [typing.get_origin(option) or option for option in options]
    if float in found:
        found.append(int)  # JSON writes a whole number without a point
    return found


# -- how one class is read ------------------------------------------------------------------------


class _Wire:
    """What a :class:`Model` class knows about its form on the wire.

    Many threads read at once. They share ``seen``, ``loads`` and ``cell``, without a lock: each
    access is one operation on a dict or list, and what a race can lose is a count or a remembered
    shape, which costs time and changes no result.
    """

    def __init__(self, cls: type[Model]) -> None:
        attributes = attrs.fields(cls)  # type: ignore[arg-type]  # each decorated class is one
        self.cls = cls
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
        self.fields: dict[str, _Field] = {a.name: _field(a.name, a.type) for a in attributes}
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
            "_only_dicts": _only_dicts,
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
