"""How one field of an object is read from the wire, and given back.

A field's annotation is the rule by which it is read: see :func:`make_field`. What an object is, and
how its fields are read together, is not known here.
"""

from __future__ import annotations

import abc
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from .plain_json import copied

__all__ = ["NONE_GIVEN", "NULL_GIVEN", "Field", "Load", "Readable", "make_field", "only_dicts"]

Load = Callable[[Mapping[str, Any]], Any]


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
        raise TypeError("an event's lists are immutable; make a list of your own from it")

    append = extend = insert = __iadd__ = __imul__ = __setitem__ = _refuse

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A plain name stands for the one object of that name, in pickle and in copy alike.
        return self._name


#: The key was not there. Also what a list field is when it is not given to the constructor.
NONE_GIVEN: list[Any] = _NoList(name="NONE_GIVEN")
#: The key was there with ``null``; told apart from ``[]`` by identity alone.
NULL_GIVEN: list[Any] = _NoList(name="NULL_GIVEN")


class Readable(Protocol):
    """What a field knows of the class of the objects in it."""

    #: The function that reads the next object, in a list that others may put another into.
    cell: list[Load]
    #: The object where the key is not there, and for ``null``, if there is always to be one.
    missing: Any
    null: Any

    def give(self, value: Any) -> Any:
        """The JSON of an attribute, which holds an object, a list of them, or anything."""


class Field(abc.ABC):
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


class Scalar(Field):
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


class Scalars(Scalar):
    """A list of what :class:`Scalar` reads."""

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


class Part(Field):
    """An object of the API that has a class of its own."""

    def __init__(self, form: Readable, *, always: bool) -> None:
        self.cell = form.cell
        self.give = form.give
        if always:
            self.missing, self.null = form.missing, form.null

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


class Parts(Field):
    """A list of what :class:`Part` reads."""

    missing = NONE_GIVEN
    null = NULL_GIVEN

    def __init__(self, form: Readable) -> None:
        self.cell = form.cell
        self.give = form.give

    def read(self, value: Any) -> tuple[Any, bool]:
        if value is None:
            return NULL_GIVEN, True
        if not isinstance(value, list):
            return NONE_GIVEN, False
        parts = [self.cell[0](item) for item in value if isinstance(item, dict)]
        return parts, len(parts) == len(value)

    def check(self, v: str, names: dict[str, Any]) -> str:
        # Nearly always there is one item, the one choice: no call, no loop (0.15 µs less).
        return f"type({v}) is list and (len({v}) == 1 and type({v}[0]) is dict or only_dicts({v}))"

    def take(self, v: str, names: dict[str, Any]) -> str:
        names[f"cell_{v}"] = self.cell
        return (
            f"NULL_GIVEN if {v} is None else"
            f" [cell_{v}[0]({v}[0])] if len({v}) == 1 else [cell_{v}[0](x) for x in {v}]"
        )


def only_dicts(items: list[Any]) -> bool:
    """Whether each of them is a plain dict."""
    for item in items:  # noqa: SIM110 - see Scalars._only
        if type(item) is not dict:
            return False
    return True


def make_field(name: str, hint: Any, form_of: Callable[[Any], Readable | None]) -> Field:
    """The field of that name.

    :param hint: its annotation, resolved.
    :param form_of: tells how the objects of a class are read; ``None`` if it is not such a class.
    """
    field = _rule(hint, form_of)
    field.name = name
    return field


def _rule(hint: Any, form_of: Callable[[Any], Readable | None]) -> Field:
    options = _options(hint)
    kinds = [option for option in options if option is not types.NoneType]
    first = kinds[0]
    if len(kinds) == 1 and typing.get_origin(first) is list:
        (item,) = typing.get_args(first)
        form = form_of(item)
        return Parts(form) if form is not None else Scalars(*_types(_options(item)))
    form = form_of(first)
    return Part(form, always=len(options) == 1) if form is not None else Scalar(*_types(kinds))


def _options(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _types(options: typing.Iterable[Any]) -> list[type]:
    found = [typing.get_origin(option) or option for option in options]
    if float in found:
        found.append(int)  # JSON writes a whole number without a point
    return found
