"""The JSON schema of a class, strict as OpenAI wants it, and objects of the class out of JSON.

``msgspec`` knows both for ``attrs`` classes, dataclasses, ``TypedDict`` and its own structs; what
is added here is the strictness. Source: OpenAI's guide "Structured model outputs", *Supported
schemas*.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
import typing
from types import ModuleType
from typing import Any

import attrs

from openai_stream.errors import ConfigurationError
from openai_stream.extras import install

__all__ = ["check_class", "convert", "element_class", "schema_name", "strict_schema"]

#: What is kept as it is. Of ``default`` a strict schema has no need: each field is required.
_KEPT = frozenset(
    {
        "type",
        "enum",
        "const",
        "description",
        "title",
        "pattern",
        "format",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "required",
    }
)
_DROPPED = frozenset({"default", "discriminator"})
_WHY = {
    "additionalProperties": "its keys are not known beforehand: use a list of objects",
    "prefixItems": "it is a tuple: use a class, or a list",
    "contentEncoding": "it is bytes: use a string",
    "uniqueItems": "it is a set: use a list",
}


def _msgspec() -> ModuleType:
    try:
        return importlib.import_module("msgspec")
    except ImportError as error:
        raise ConfigurationError(
            f"structured output needs msgspec ({error}): {install('structured')}"
        ) from None


def check_class(name: str, cls: Any) -> None:
    """Refuse what is not a class of named fields.

    :param name: of the argument.
    :raises TypeError: saying what it may be.
    :raises ConfigurationError: the extra is not installed.
    """
    if isinstance(cls, str):
        wanted = f'{{"type": "{cls[:40]}"}}'
        if name == "text_format":
            wanted = f'text={{"format": {wanted}}}'
        raise TypeError(f"{name} must be a class or a dict, not a string: write {wanted}")
    if callable(getattr(cls, "model_json_schema", None)):
        # Its own schema is not a strict one, and to make it so is pydantic's business.
        raise TypeError(
            f"{name}: pydantic is not supported; pass the model's JSON schema as a dict, and "
            "validate the text yourself"
        )
    msgspec = _msgspec()
    if not isinstance(cls, type) or not (
        attrs.has(cls)
        or dataclasses.is_dataclass(cls)
        or typing.is_typeddict(cls)
        or issubclass(cls, msgspec.Struct)
    ):
        shown = cls.__name__ if isinstance(cls, type) else repr(cls)
        raise TypeError(
            f"{name} must be an attrs class, a dataclass, a TypedDict or a msgspec.Struct (or a "
            f"dict, which is sent as it is), not {shown}"
        )


def schema_name(cls: type) -> str:
    """The name that a schema is sent under: letters, digits, "_" and "-", 64 at most."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", cls.__name__)[:64] or "answer"


def strict_schema(cls: type) -> dict[str, Any]:
    """The schema of a class: each field required, and no others.

    :raises TypeError: a field cannot be expressed; the message names it.
    """
    msgspec = _msgspec()
    try:
        whole = msgspec.json.schema(cls)
    except NameError as error:  # an annotation that is text
        raise TypeError(f"{cls.__name__} cannot be asked for: {error}") from None
    except TypeError as error:
        raise TypeError(_unsupported(msgspec, cls) or f"{cls.__name__}: {error}") from None
    definitions = whole.get("$defs", {})
    root = whole.get("$ref", "").rpartition("/")[2]
    strict = {name: _strict(schema, name) for name, schema in definitions.items()}
    if not root:
        return _strict(whole, cls.__name__)
    # The schema itself has to be an object, not a reference to one; what refers to it still may.
    top = strict[root]
    others = strict if _refers_to(strict, root) else {k: v for k, v in strict.items() if k != root}
    return {**top, "$defs": others} if others else top


def _strict(schema: dict[str, Any], path: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    kind = schema.get("type")
    for key, value in schema.items():
        if key == "$ref":
            # No other keyword may stand beside it.
            return {"$ref": value}
        if key == "properties":
            out[key] = {name: _strict(field, f"{path}.{name}") for name, field in value.items()}
        elif key == "items" and isinstance(value, dict):
            if value:  # where not, nothing is said of the items, which is looked at below
                out[key] = _strict(value, f"{path}[]")
        elif key == "anyOf":
            out[key] = [_strict(option, path) for option in value]
        elif key in _KEPT:
            out[key] = value
        elif key not in _DROPPED and not (key == "additionalProperties" and value is False):
            why = _WHY.get(key, f"the API takes no {key!r} in a strict schema")
            raise TypeError(f"{path} cannot be asked for: {why}")
    if kind == "object":
        if "properties" not in out:
            raise TypeError(f"{path} cannot be asked for: {_WHY['additionalProperties']}")
        out["required"] = list(out["properties"])
        out["additionalProperties"] = False
    elif kind == "array" and "items" not in out:
        raise TypeError(f"{path} cannot be asked for: its items may be anything. Give them a type")
    elif not out.keys() & {"type", "enum", "const", "anyOf"}:
        raise TypeError(f"{path} cannot be asked for: it may be anything. Give it a type")
    return out


def _refers_to(schema: Any, name: str) -> bool:
    if isinstance(schema, dict):
        return schema.get("$ref") == f"#/$defs/{name}" or any(
            _refers_to(value, name) for value in schema.values()
        )
    return isinstance(schema, list) and any(_refers_to(value, name) for value in schema)


def _unsupported(msgspec: ModuleType, cls: type) -> str | None:
    """Which field has a type that is unknown, in words."""
    seen: set[int] = set()

    def look(info: Any, path: str) -> str | None:
        if isinstance(info, msgspec.inspect.CustomType):
            return f"{path} cannot be asked for: JSON has no form for {info.cls!r}"
        if id(info) in seen:
            return None
        seen.add(id(info))
        parts = [
            (field.type, f"{path}.{field.encode_name}") for field in getattr(info, "fields", ())
        ]
        parts += [(option, path) for option in getattr(info, "types", ())]
        for name in ("item_type", "key_type", "value_type", "type"):
            if isinstance(inner := getattr(info, name, None), msgspec.inspect.Type):
                parts.append((inner, f"{path}[]" if name != "type" else path))
        return next((found for part in parts if (found := look(*part))), None)

    return look(msgspec.inspect.type_info(cls), cls.__name__)


def convert(value: Any, cls: Any) -> Any:
    """An object of the class, out of parsed JSON.

    :raises ValueError: it does not fit; the message says where.
    """
    return _msgspec().convert(value, cls)


def element_class(cls: type, name: str) -> Any:
    """The class of the elements of a list that a class has.

    :param name: the list's key.
    :raises ValueError: it has no list of that name.
    """
    msgspec = _msgspec()
    hints = typing.get_type_hints(cls, include_extras=True)
    names = {field.encode_name: field.name for field in msgspec.inspect.type_info(cls).fields}
    lists = {}
    for key, attribute in names.items():
        for option in _options(hints.get(attribute)):
            if typing.get_origin(option) is list:
                (lists[key],) = typing.get_args(option)
    if name not in lists:
        known = ", ".join(map(repr, lists)) or "none"
        raise ValueError(f"{cls.__name__} has no list {name!r}; its lists: {known}")
    return lists[name]


def _options(hint: Any) -> list[Any]:
    """What an annotation may be, without what is annotated beside it."""
    if typing.get_origin(hint) is typing.Annotated:
        return _options(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [option for one in typing.get_args(hint) for option in _options(one)]
    return [hint]
