"""Which events carry something of the answer, for the limits of the first and of the next one.

Text, reasoning, a refusal, a tool call, audio, an image, a finish reason do. A role, an empty
delta, usage and reports of progress do not: servers send them while the model is silent.
"""

from __future__ import annotations

from typing import Any

__all__ = ["any_content", "choices_content", "response_content"]

#: Fields that are there before anything is said.
_SILENT = frozenset(
    {"role", "id", "type", "index", "object", "format", "status", "phase", "logprobs"}
)
#: Where a choice has what it says.
_OF_CHOICES = ("delta", "text", "message", "reasoning", "reasoning_content")
#: Items of a response that are announced empty, and grow.
_GROWING = frozenset({"message", "reasoning"})
#: The last words of events that give a whole piece, at the latest.
_PIECES = ("delta", "done", "partial_image", "added")
_ENDS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.done", "error"}
)


def _says(value: Any) -> bool:
    """Whether there is a text in it, however deep, that is not empty."""
    if type(value) is str:
        return bool(value)
    if type(value) is dict:
        return any(_says(item) for name, item in value.items() if name not in _SILENT)
    return type(value) is list and any(map(_says, value))


def choices_content(data: dict[str, Any]) -> bool:
    """Of chat completions and text completions."""
    choices = data.get("choices")
    for choice in choices if type(choices) is list else ():
        if type(choice) is dict and (
            choice.get("finish_reason") or any(_says(choice.get(field)) for field in _OF_CHOICES)
        ):
            return True
    return False


def response_content(data: dict[str, Any]) -> bool:
    """Of ``/responses``."""
    kind = data.get("type")
    if type(kind) is not str:
        return False
    name, _, last = kind.rpartition(".")
    if last not in _PIECES:
        return kind in _ENDS
    item = data.get("item")
    if type(item) is dict and name == "response.output_item" and last == "added":
        # A call is one from its beginning; what grows is nothing yet.
        return item.get("type") not in _GROWING or _says(item)
    # The numbers and the ids of an event are no texts of its own.
    return any(
        _says(value)
        for field, value in data.items()
        if field not in ("type", "item_id", "obfuscation", "sequence_number", "logprobs")
    )


def any_content(data: Any) -> bool:
    """Of endpoints of which only that they stream JSON is known: each event."""
    return True
