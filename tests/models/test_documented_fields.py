"""Our fields against those that the official client documents: none may be lacking.

The newest ``openai`` is generated from the API's own description. A field that it gains fails
here, so that we learn of it; it then becomes an attribute, or an exception with a reason.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import pytest

from openai_stream import models
from openai_stream.models import Model

pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")

from openai.types import Completion  # noqa: E402
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402
from openai.types.responses import Response, ResponseStreamEvent  # noqa: E402

#: (class of ours, field of theirs): why it is no attribute.
LACKING: dict[tuple[str, str], str] = {}


def events() -> Iterator[Any]:
    for option in unions(ResponseStreamEvent):
        yield pytest.param(models.ResponseEvent, option, id=option.__name__)


def unions(annotation: Any) -> list[Any]:
    """The options of an annotation, without ``Optional`` and ``Annotated``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return unions(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [one for option in typing.get_args(annotation) for one in unions(option)]
    return [] if annotation is types.NoneType else [annotation]


def sample(annotation: Any) -> Any:
    """A value of the kind that they document."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return typing.get_args(annotation)[0]
    if origin is list:
        (item,) = typing.get_args(annotation)
        return [sample(unions(item)[0])]
    if origin is dict:
        return {"key": sample(unions(typing.get_args(annotation)[1])[0])}
    if annotation is object or annotation is Any:
        return "x"
    if issubclass(annotation, pydantic.BaseModel):
        return {}
    return {str: "x", int: 1, float: 0.5, bool: True}[annotation]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (models.ChatCompletionChunk, ChatCompletionChunk),
        (models.ChatCompletion, ChatCompletion),
        (models.Completion, Completion),
        (models.Response, Response),
        *events(),
    ],
)
def test_every_documented_field_is_an_attribute(ours: type[Model], theirs: Any) -> None:
    compare(ours, theirs)


def compare(ours: type[Model], theirs: Any) -> None:
    hints = {a.name: a.type for a in attrs.fields(ours)}  # type: ignore[arg-type]
    for name, field in theirs.model_fields.items():
        if (ours.__name__, name) in LACKING:
            continue
        assert name in hints, f"{ours.__name__} lacks {name}, which {theirs.__name__} documents"
        for option in unions(field.annotation):
            value = sample(option)
            read = getattr(ours.from_dict({name: value}), name)
            what = f"{ours.__name__}.{name} does not read {value!r}"
            if isinstance(value, list):
                assert len(read) == 1, what
            else:
                assert read is not None, what
                assert isinstance(read, Model) or read == value, what
            part = our_class(hints[name])
            if part is not None:
                for inner in their_classes(option):
                    compare(part, inner)


def our_class(hint: Any) -> type[Model] | None:
    for option in unions(hint):
        kind = typing.get_args(option)[0] if typing.get_origin(option) is list else option
        if isinstance(kind, type) and issubclass(kind, Model):
            return kind
    return None


def their_classes(annotation: Any) -> list[Any]:
    item = typing.get_args(annotation)[0] if typing.get_origin(annotation) is list else annotation
    return [
        option
        for option in unions(item)
        if isinstance(option, type) and issubclass(option, pydantic.BaseModel)
    ]


def test_the_comparison_can_fail() -> None:
    class Theirs(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        content: str | None = None
        tool_calls: list[str] | None = None

    with pytest.raises(AssertionError, match=r"Delta\.tool_calls does not read \['x'\]"):
        compare(models.Delta, Theirs)
    Theirs = pydantic.create_model("Theirs", brand_new=(str, ...))  # type: ignore[misc]
    with pytest.raises(AssertionError, match="Delta lacks brand_new"):
        compare(models.Delta, Theirs)


def test_exceptions_are_still_needed() -> None:
    for cls, name in LACKING:
        assert name not in {a.name for a in attrs.fields(getattr(models, cls))}
