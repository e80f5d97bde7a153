"""Public names say the module from which they are imported, and tools still find what they want.

A pickle, a traceback and a ``repr`` name a class by its ``__module__``: if that is where the class
happens to be written, each move inside of the package breaks what others keep.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
import pydoc
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from public_methods import FIRST_METHODS

import openai_stream

#: What users import from. The first that has a name is the module that the name says.
MODULES = (
    "openai_stream",
    "openai_stream.models",
    "openai_stream.parts",
    "openai_stream.testing",
    "openai_stream.local",
    "openai_stream.recordings",
    "openai_stream.web",
    "openai_stream.otel",
)
PACKAGE = str(Path(openai_stream.__file__).parent)
VERSION_ADDED = re.compile(r"^ *\.\. versionadded:: \d+\.\d+$", re.MULTILINE)


def _public(kind: Any) -> dict[str, Any]:
    """What is public, by the name under which it is found."""
    found: dict[int, tuple[str, Any]] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for one in module.__all__:
            thing = getattr(module, one)
            if isinstance(thing, kind) and thing.__module__.startswith("openai_stream"):
                found.setdefault(id(thing), (f"{name}.{one}", thing))
    return dict(found.values())


CLASSES = _public(type)
FUNCTIONS = _public(types.FunctionType)
each_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=list(CLASSES))
THINGS = CLASSES | FUNCTIONS
each = pytest.mark.parametrize("thing", THINGS.values(), ids=list(THINGS))


def methods(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Those that are written in our source, in the class or in a base that is not public."""
    for base in cls.__mro__:
        if base is not cls and base in CLASSES.values():
            continue
        for name, thing in vars(base).items():
            function = thing.fget if isinstance(thing, property) else inspect.unwrap(thing)
            function = getattr(function, "__func__", function)
            if (
                isinstance(function, types.FunctionType)
                and not name.startswith("__annotate")  # Python 3.14 makes one of the annotations
                and PACKAGE in function.__code__.co_filename
            ):
                yield name, function


def test_there_are_some() -> None:
    assert {"openai_stream.Stream", "openai_stream.models.Delta", "openai_stream.parts.Call"} <= {
        *CLASSES
    }
    assert "openai_stream.create_response" in FUNCTIONS


@pytest.mark.parametrize(("name", "thing"), THINGS.items(), ids=list(THINGS))
def test_is_named_where_it_is_imported_from(name: str, thing: Any) -> None:
    assert f"{thing.__module__}.{thing.__qualname__}" == name


@each
def test_is_pickled_by_its_public_name(thing: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(thing, protocol)
        assert thing.__module__.encode() in pickled
        assert pickle.loads(pickled) is thing  # noqa: S301


@each_class
def test_its_types_are_found(cls: type) -> None:
    hints = typing.get_type_hints(cls)
    assert not any(isinstance(hint, str) for hint in hints.values())
    own = inspect.get_annotations(cls)
    assert inspect.get_annotations(cls, eval_str=True) == own
    if attrs.has(cls):
        attrs.resolve_types(cls)
        types_of = {field.name: field.type for field in attrs.fields(cls) if field.name in own}
        assert types_of == {name: hints[name] for name in types_of}


@each
def test_help_is_there(thing: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(thing))
    assert inspect.getdoc(thing)
    assert thing.__module__ in text.splitlines()[0]
    assert thing.__name__ in text


@each_class
def test_the_source_of_its_methods_is_found(cls: type) -> None:
    for _, function in methods(cls):
        assert f"def {function.__name__}" in inspect.getsource(function)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_the_source_of_a_function_is_found(function: Any) -> None:
    assert f"def {function.__name__}" in inspect.getsource(inspect.unwrap(function))


def test_a_traceback_names_an_error_as_users_import_it() -> None:
    from traceback import format_exception_only  # noqa: PLC0415

    from openai_stream import StreamInterruptedError  # noqa: PLC0415

    (line,) = format_exception_only(StreamInterruptedError("it broke off"))
    assert line == "openai_stream.StreamInterruptedError: it broke off\n"


@each
def test_says_since_when_it_is_there(thing: Any) -> None:
    assert VERSION_ADDED.search(thing.__doc__)


def test_says_of_later_methods_since_when_they_are_there() -> None:
    found = {
        f"{name}.{method}": function
        for name, cls in CLASSES.items()
        for method, function in methods(cls)
        if not method.startswith("_")
    }
    first = {f"{cls}.{name}" for cls, names in FIRST_METHODS.items() for name in names.split()}
    assert first - found.keys() == set()
    new = found.keys() - first
    assert [name for name in new if not VERSION_ADDED.search(found[name].__doc__ or "")] == []
