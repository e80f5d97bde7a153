"""The strict schema of a class, and what cannot be one."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pytest

from openai_stream.errors import ConfigurationError
from openai_stream.structured import (
    check_class,
    convert,
    element_class,
    schema_name,
    strict_schema,
)


@attrs.define
class Step:
    explanation: str
    output: str = "x"


@attrs.define
class Solution:
    """How it is solved."""

    steps: list[Step]
    kind: Literal["short", "long"]
    score: Annotated[int, msgspec.Meta(ge=1, description="of 5")]
    note: int | str | None = None


STEP = {
    "title": "Step",
    "type": "object",
    "properties": {"explanation": {"type": "string"}, "output": {"type": "string"}},
    "required": ["explanation", "output"],
    "additionalProperties": False,
}


@dataclasses.dataclass
class Pair:
    left: str
    right: float = 0.5


class Loose(TypedDict, total=False):
    a: bool


class Packed(msgspec.Struct):
    inner: Pair | None


class Tree(msgspec.Struct):
    children: list[Tree]


def test_each_field_is_required_and_no_other_is_allowed() -> None:
    assert strict_schema(Solution) == {
        "title": "Solution",
        "description": "How it is solved.",
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}},
            "kind": {"enum": ["long", "short"]},
            "score": {"description": "of 5", "type": "integer", "minimum": 1},
            "note": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
        },
        "required": ["steps", "kind", "score", "note"],
        "additionalProperties": False,
        "$defs": {"Step": STEP},
    }


@pytest.mark.parametrize("cls", [Pair, Loose, Packed, Tree])
def test_the_root_is_an_object(cls: type) -> None:
    schema = strict_schema(cls)
    assert schema["type"] == "object"
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False


def test_a_class_may_refer_to_itself() -> None:
    schema = strict_schema(Tree)
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Tree"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (dict[str, int], "Made.field cannot be asked for: its keys are not known beforehand"),
        (list[dict[str, int]], "Made.field[] cannot be asked for: its keys"),
        (tuple[int, str], "Made.field cannot be asked for: it is a tuple"),
        (bytes, "Made.field cannot be asked for: it is bytes"),
        (list, "Made.field cannot be asked for: its items may be anything"),
        (list[Any], "Made.field cannot be asked for: its items may be anything"),
        (set[int], "Made.field cannot be asked for: it is a set"),
        (Any, "Made.field cannot be asked for: it may be anything"),
        (complex, "Made.field cannot be asked for: JSON has no form for <class 'complex'>"),
        (complex | None, "Made.field cannot be asked for: JSON has no form"),
        (list[list[complex]], "Made.field[][] cannot be asked for: JSON has no form"),
        (
            Annotated[str, msgspec.Meta(min_length=1)],
            "Made.field cannot be asked for: the API takes no",
        ),
        ("Nowhere", "Made cannot be asked for: name 'Nowhere' is not defined"),
    ],
)
def test_names_the_field_that_no_schema_can_express(kind: Any, said: str) -> None:
    made = dataclasses.make_dataclass("Made", [("field", kind)])
    with pytest.raises(TypeError) as caught:
        strict_schema(made)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("cls", [int, list, list[int], None, Step("a"), Callable, object])
def test_refuses_what_is_not_a_class_of_fields(cls: Any) -> None:
    with pytest.raises(TypeError, match="text_format must be an attrs class"):
        check_class("text_format", cls)


@pytest.mark.parametrize("cls", [Solution, Pair, Loose, Packed])
def test_takes_classes_of_fields(cls: Any) -> None:
    check_class("text_format", cls)


def test_makes_objects() -> None:
    assert convert({"explanation": "a"}, Step) == Step("a")
    assert convert({"inner": {"left": "l"}}, Packed) == Packed(Pair("l"))
    with pytest.raises(ValueError, match=r"\$\.steps\[0\]\.explanation"):
        convert({"steps": [{"explanation": 1}], "kind": "short", "score": 1}, Solution)


def test_the_name_of_a_schema() -> None:
    assert schema_name(Step) == "Step"
    made = dataclasses.make_dataclass("Größe" * 20, [("a", int)])
    assert schema_name(made) == ("Gr__e" * 20)[:64]


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ConfigurationError, match=r'-m pip install "\.\[structured\]"'):
        check_class("text_format", Step)


def test_the_class_of_a_list() -> None:
    made = dataclasses.make_dataclass(
        "Made",
        [
            ("plain", list[Step]),
            ("bounded", Annotated[list[Step], msgspec.Meta(max_length=2)]),
            ("perhaps", list[Step] | None),
            ("either", Annotated[list[Step] | None, msgspec.Meta(description="d")]),
            ("no", int),
        ],
    )
    for name in ("plain", "bounded", "perhaps", "either"):
        assert element_class(made, name) is Step
    with pytest.raises(ValueError, match="has no list 'no'; its lists: 'plain', 'bounded'"):
        element_class(made, "no")
