"""The class that a call asks for, as the field of its body that each API has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai_stream.first_use import importing

__all__ = ["take_class"]

#: The argument, and the calls whose argument it is.
_ARGUMENTS = {
    "response_format": "create_chat_completion",
    "text_format": "create_response",
}


def take_class(body: dict[str, Any], argument: str | None) -> type | None:
    """Put the schema of a class into a body, in the place of the class.

    A dict is left as it is: it is a field of the body like any other.

    :param body: the fields that were given, the class among them; it is changed.
    :param argument: the one that the endpoint has; ``None`` where it has none.
    :returns: the class, ``None`` where there is none.
    :raises TypeError: it cannot be asked for, or not in this call.
    """
    for name, call in _ARGUMENTS.items():
        if name != argument and isinstance(body.get(name), type):
            raise TypeError(f"{name} takes a class in {call} only")
    value = None if argument is None else body.get(argument)
    if argument is None or value is None or isinstance(value, Mapping):
        return None
    with importing():
        from .schema import (  # noqa: PLC0415 - few calls ask for a class
            check_class,
            schema_name,
            strict_schema,
        )

    check_class(argument, value)
    cls: type = value
    schema = {"name": schema_name(cls), "strict": True, "schema": strict_schema(cls)}
    if argument == "response_format":
        body[argument] = {"type": "json_schema", "json_schema": schema}
        return cls
    del body[argument]
    text = body.get("text") or {}
    if not isinstance(text, Mapping) or "format" in text:
        raise TypeError("text_format and the format of text do not go together")
    body["text"] = {**text, "format": {"type": "json_schema", **schema}}
    return cls
