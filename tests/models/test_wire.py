"""What makes a class readable: an annotation is the rule by which its field is read.

On classes of the tests' own, made in the test: those of the API were made when they were imported.
"""

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any, Optional, cast

import attrs
import pytest

from openai_stream.models import Delta, Model, fields, shapes
from openai_stream.models.model import missing, wire


@pytest.fixture(params=["plain", "written out"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test runs over the plain way of reading and over the fast one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "WRITE_AFTER", 1 if request.param == "written out" else 10**9)
        yield


def make() -> tuple[Any, Any]:
    """A class with a field of each kind, and the class of its parts."""

    @wire
    @attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
    class Part(Model):
        name: str | None = None

    no_part = missing(Part)

    @wire
    @attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
    class Whole(Model):
        text: str | None = None
        old: Optional[str] = None  # noqa: UP045 - another type at run time
        bare: str = cast(Any, None)
        number: int | None = None
        real: float | None = None
        flag: bool | None = None
        thing: dict[str, Any] | None = None
        text_or_thing: str | dict[str, Any] | None = None
        text_or_list: str | list[Any] | None = None
        list_or_text: list[Any] | str | None = None
        part: Part | None = None
        always: Part = no_part
        parts: list[Part] = fields.NONE_GIVEN
        reals: list[float] = fields.NONE_GIVEN
        texts: list[str | None] = fields.NONE_GIVEN
        things: list[dict[str, Any]] = fields.NONE_GIVEN
        hidden: str | None = attrs.field(default=None, repr=False)

    return Whole, Part


#: What is given, and what is read from it.
RULES: dict[str, list[tuple[Any, Any]]] = {
    "text": [("x", "x"), (None, None), (1, None), (["x"], None), ({}, None)],
    "old": [("x", "x"), (None, None), (1, None)],
    "bare": [("x", "x"), (None, None), (1, None)],
    "number": [(1, 1), (None, None), (1.5, None), (True, None), ("1", None)],
    "real": [(1.5, 1.5), (1, 1), (None, None), (True, None), ("1", None)],
    "flag": [(True, True), (False, False), (None, None), (1, None), (0.0, None)],
    "thing": [({"a": [1]}, {"a": [1]}), ({}, {}), (None, None), ([1], None), ("x", None)],
    "text_or_thing": [("x", "x"), ({"a": [1]}, {"a": [1]}), (None, None), ([1], None)],
    "text_or_list": [("x", "x"), ([{"a": 1}], [{"a": 1}]), (None, None), ({}, None)],
    "list_or_text": [("x", "x"), ([{"a": 1}], [{"a": 1}]), (None, None), ({}, None)],
    "reals": [([1.5, 1], [1.5, 1]), ([], []), (None, []), ([1, "x", True], [1]), ({}, [])],
    "texts": [(["x", None], ["x", None]), ([1, None], [None]), ("x", [])],
    "things": [([{"a": [1]}], [{"a": [1]}]), ([1, {}], [{}]), ({"a": 1}, [])],
    "parts": [([], []), (None, []), ({"name": "x"}, []), ([1, "x"], [])],
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [(name, *pair) for name, pairs in RULES.items() for pair in pairs],
)
def test_a_field_is_read_by_its_annotation(name: str, value: Any, expected: Any) -> None:
    whole, _ = make()
    text = json.dumps(value)
    event = whole.from_dict({name: value})
    attribute = getattr(event, name)
    assert type(attribute) is type(expected) or attribute == expected == []
    assert attribute == expected
    assert event.extra == {}
    wreck(event.to_dict()[name])
    assert json.dumps(event.to_dict()) == f'{{"{name}": {text}}}'
    # All others are as they are when nothing is given.
    for other in RULES.keys() - {name}:
        assert getattr(event, other) == getattr(whole(), other)


def wreck(value: Any) -> None:
    """Change what was given away, all the way down."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            wreck(item)
        value.clear()


def test_parts_are_objects_of_their_class() -> None:
    whole, part = make()
    given = {"name": "x", "odd": [1]}
    event = whole.from_dict({"part": given, "always": given, "parts": [given, given]})
    for one in (event.part, event.always, *event.parts):
        assert type(one) is part
        assert one.name == "x"
        assert one.extra == {"odd": [1]}
    assert len(event.parts) == 2
    assert json.dumps(event.to_dict()["parts"]) == json.dumps([given, given])
    wreck(event.to_dict())
    assert event.to_dict() == {"part": given, "always": given, "parts": [given, given]}


def test_a_part_without_none_in_its_annotation_is_always_there() -> None:
    whole, part = make()
    objects: list[dict[str, Any]] = [{}, {"always": None}, {"always": 5}]
    for given in objects:
        event = whole.from_dict(given)
        assert type(event.always) is part
        assert event.always.name is None
        assert event.part is None
        assert event.to_dict() == given
    assert whole.from_dict({"part": 5}).part is None
    assert type(whole().always) is part
    assert whole().to_dict() == {}


def test_an_object_of_a_new_class_is_as_all_others() -> None:
    whole, part = make()
    for event in (whole.from_dict({"text": "x", "hidden": "y", "odd": 1}), whole(text="x")):
        assert type(event) is whole
        assert not hasattr(event, "__dict__")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.text = "z"
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            del event.text
    assert repr(whole.from_dict({"hidden": "y", "text": "x"})) == "Whole(text='x')"
    assert repr(whole.from_dict({"parts": [{"name": "x"}]})) == "Whole(parts=[Part(name='x')])"
    assert whole.from_dict({"a": 1}) == whole.from_dict({"a": 1})
    assert whole.from_dict({}) != part.from_dict({})


def test_a_list_that_stands_for_a_missing_one_is_known_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in: Any = fields._NoList(name="ANOTHER")
    monkeypatch.setattr(fields, "ANOTHER", stand_in, raising=False)
    assert pickle.loads(pickle.dumps(stand_in)) is stand_in  # noqa: S301
    assert copy.deepcopy(stand_in) is stand_in
    assert stand_in is not Delta().tool_calls
