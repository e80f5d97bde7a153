"""Whatever JSON object comes: nothing raises, nothing is lost, and what is typed is right."""

from __future__ import annotations

import itertools
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine import calmly

from openai_stream import models
from openai_stream.models import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Model,
    Response,
    ResponseEvent,
    shapes,
)

CLASSES: list[type[Model]] = [
    cls
    for name in models.__all__
    if isinstance(cls := getattr(models, name), type)
    and issubclass(cls, Model)
    and cls is not Model
]
TOP: list[type[Model]] = [ChatCompletionChunk, Completion, ResponseEvent, ChatCompletion, Response]
HOSTILE = [
    "",
    "self",
    "cls",
    "extra",
    "to_dict",
    "from_dict",
    "__class__",
    "__init__",
    "__slots__",
    "_keys",
    "_rest",
    "_wire",
    "_cell",
    "keys",
    "new",
    "v0",
    "k0",
    "twin",
    "None",
    "größe",
    "键",
    "\ud800",
    "a\nb",
    "'); raise SystemExit('",
]
FIELDS = sorted({a.name for cls in CLASSES for a in attrs.fields(cls)})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["plain", "written out"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs over the plain way of reading and over the fast one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "WRITE_AFTER", 1 if request.param == "written out" else 10**9)
        for cls in CLASSES:
            forget(cls)
        yield
    for cls in CLASSES:
        forget(cls)


def forget(cls: type[Model]) -> None:
    cls._wire.loads.clear()
    cls._wire.seen.clear()
    cls._wire.cell[0] = cls._wire.load


# -- objects of the API, with anything done to them -----------------------------------------------

keys = st.sampled_from(HOSTILE) | st.sampled_from(FIELDS) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, True, False, 1.0, 0.0, -0.0, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def options(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field with this annotation should have."""
    found: list[st.SearchStrategy[Any]] = []
    for option in options(hint):
        origin = typing.get_origin(option)
        if origin is list:
            item = typing.get_args(option)[0]
            found.append(st.lists(anything if item is Any else values(item), max_size=3))
        elif origin is dict:
            found.append(st.dictionaries(keys, anything, max_size=3))
        elif isinstance(option, type) and issubclass(option, Model):
            found.append(objects(option))
        else:
            plain: dict[Any, st.SearchStrategy[Any]] = {
                str: st.text(max_size=8),
                int: st.integers(),
                float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
                bool: st.booleans(),
                types.NoneType: st.none(),
            }
            found.append(plain[option])
    return st.one_of(found)


@st.composite
def objects(draw: st.DrawFn, cls: type[Model]) -> dict[str, Any]:
    """A JSON object of *cls*: some of its fields, most as they should be, in any order."""
    made: dict[str, Any] = {}
    fields = attrs.fields(cls)  # type: ignore[arg-type]
    for field in draw(st.lists(st.sampled_from(list(fields)), unique_by=lambda a: a.name)):
        usual = draw(st.integers(0, 5))
        made[field.name] = draw(values(field.type) if usual else anything)
    if draw(st.booleans()):
        made.update(draw(st.dictionaries(keys, anything, max_size=2)))
    return made


any_object = st.dictionaries(keys, anything, max_size=5)
top = st.sampled_from(TOP)
read = top.flatmap(lambda cls: st.tuples(st.just(cls), objects(cls) | any_object))


# -- what is asked of all of them -----------------------------------------------------------------


@calmly
@given(read)
def test_to_dict_gives_the_same_json_text(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    text = json.dumps(d)
    event = cls.from_dict(d)
    assert json.dumps(event.to_dict()) == text
    # Also when it is written out only now, and from what it gave.
    assert json.dumps(type(event).from_dict(event.to_dict()).to_dict()) == text
    assert json.dumps(d) == text


@calmly
@given(read)
def test_attributes_hold_what_is_documented(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    expect(cls.from_dict(d), json.loads(json.dumps(d)))


def expect(event: Model, d: dict[str, Any]) -> None:
    """The contract of reading, in a second writing."""
    names = set()
    for field in attrs.fields(type(event)):  # type: ignore[arg-type]
        names.add(field.name)
        attribute = getattr(event, field.name)
        value = d.get(field.name)
        kinds = [kind for kind in options(field.type) if kind is not types.NoneType]
        kind = kinds[0]
        if typing.get_origin(kind) is list and len(kinds) == 1:
            item = typing.get_args(kind)[0]
            assert isinstance(attribute, list)
            items = value if isinstance(value, list) else []
            fitting = [x for x in items if any(fits(x, k) for k in options(item))]
            assert len(attribute) == len(fitting)
            for one, other in zip(attribute, fitting, strict=True):
                equal(one, other)
        elif isinstance(kind, type) and issubclass(kind, Model) and value is not None:
            if isinstance(value, dict):
                equal(attribute, value)
            elif len(options(field.type)) == 1:
                equal(attribute, {})
            else:
                assert attribute is None
        elif isinstance(kind, type) and issubclass(kind, Model):
            assert attribute is None or (len(options(field.type)) == 1 and attribute == kind())
        elif any(fits(value, k) for k in kinds):
            equal(attribute, value)
        else:
            assert attribute is None
    assert list(event.extra) == [key for key in d if key not in names]
    assert json.dumps(event.extra) == json.dumps({k: v for k, v in d.items() if k not in names})


def equal(attribute: Any, value: Any) -> None:
    if isinstance(attribute, Model):
        expect(attribute, value)
    else:
        assert type(attribute) is type(value)
        assert attribute == value


def fits(value: Any, kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Model):
        return isinstance(value, dict)
    if origin is float:
        return type(value) in (int, float)
    return type(value) is origin


@calmly
@given(read)
def test_both_ways_of_reading_make_the_same(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    plain = cls._wire.read(d, tuple(d))
    written = cls._wire.write(tuple(d), d)(d)
    assert type(plain) is type(written) is cls
    assert alike(plain, written)
    assert repr(plain) == repr(written)


def alike(one: Any, other: Any) -> bool:
    """Equal down to what is hidden: missing against null, what is kept beside the attributes."""
    if isinstance(one, Model):
        return type(one) is type(other) and all(
            alike(getattr(one, name), getattr(other, name))
            for name in ["_keys", "_rest", *one._wire.fields]
        )
    if isinstance(one, list) and isinstance(other, list):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(itertools.starmap(alike, zip(one, other, strict=True)))
        )
    return type(one) is type(other) and bool(one == other)


@calmly
@given(read)
def test_a_caller_can_change_nothing(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    text = json.dumps(d)
    event = cls.from_dict(d)
    d.clear()
    for got in (event.to_dict(), event.extra):
        wreck(got)
    assert json.dumps(event.to_dict()) == text


def wreck(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            wreck(item)
        value.clear()
        value["wrecked"] = True
    elif isinstance(value, list):
        for item in value:
            wreck(item)
        value[:] = ["wrecked"]


@calmly
@given(read)
def test_equality_is_that_of_to_dict(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    copy = json.loads(json.dumps(d))
    event = cls.from_dict(d)
    assert event == cls.from_dict(copy)
    assert (event != cls.from_dict(copy)) is False
    assert event == cls.from_dict(dict(reversed(copy.items())))
    assert event != cls.from_dict({**copy, "another key": None})


@calmly
@given(read)
def test_repr_is_short(pair: tuple[type[Model], dict[str, Any]]) -> None:
    cls, d = pair
    assert repr(cls.from_dict(d)).startswith(f"{cls.__name__}(")


KINDS: list[Any] = [None, [], {}, "", "x", 0, 1, 1.0, True, False]
KINDS += [[None], [{}], [1], [[]], [{}, 1], {"a": []}]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_gives_back_every_single_field(cls: type[Model]) -> None:
    for field in attrs.fields(cls):  # type: ignore[arg-type]
        for value in KINDS:
            d = {field.name: value}
            text = json.dumps(d)
            event = cls.from_dict(d)
            assert json.dumps(event.to_dict()) == text
            expect(event, d)
            wreck(event.to_dict())
            assert json.dumps(event.to_dict()) == text
            assert alike(cls._wire.read(d, tuple(d)), cls._wire.write(tuple(d), d)(d))
