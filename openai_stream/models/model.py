"""What all classes of the wire share: a JSON object becomes typed attributes, and comes back whole.

The classes themselves say only what the API documents: a field's annotation is also the rule by
which it is read. Where the objects come from, and how events add up to an answer, is not known
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from .fields import Load
from .plain_json import clipped, copied, same
from .shapes import Kept, Wire

__all__ = ["Model", "as_sent", "missing", "unread", "wire"]

M = TypeVar("M", bound="Model")
C = TypeVar("C", bound="type[Model]")


class Model(Kept):
    """Base of the classes of the wire.

    Instances are not to be changed once made, the lists and dicts in their attributes included.

    .. versionadded:: 0.1
    """

    __slots__ = ()

    _wire: ClassVar[Wire]
    _cell: ClassVar[list[Load]]

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
        return self is other or same(self.to_dict(), other.to_dict())

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
        return (type(self).from_dict, (self.to_dict(),))


def as_sent(model: Model, name: str) -> Any:
    """The JSON of a field whose attribute is ``None`` because its value is of another type."""
    return None if model._rest is None else model._rest.get(name)


def unread(model: Model) -> dict[str, Any] | None:
    """The JSON of the fields that no attribute holds, as it is kept: not to be changed."""
    return model._rest


def missing(cls: type[M]) -> M:
    """The shared, empty object that stands for a *cls* that the wire did not have."""
    result: M = cls._wire.missing
    return result


def wire(cls: C) -> C:
    """Class decorator, outside of :func:`attrs.frozen`: makes a :class:`Model` readable.

    Modules of such classes do not import ``annotations`` from ``__future__``: to resolve the texts
    of all annotations took half of the time that ``import openai_stream`` takes.
    """
    cls._wire = Wire(cls, _given, _form_of)
    cls._cell = cls._wire.cell
    return cls


def _given(value: Any) -> Any:
    """The JSON of an attribute, whatever it is: by hand, anything can be put there."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [item.to_dict() if isinstance(item, Model) else copied(item) for item in value]
    return copied(value)


def _form_of(hint: Any) -> Wire | None:
    return hint._wire if isinstance(hint, type) and issubclass(hint, Model) else None
