"""The text that an event adds to a response: by itself, and after the events before it."""

from __future__ import annotations

from typing import Any

from .models.responses import Response, ResponseEvent

__all__ = ["ResponseTexts", "response_text"]


def response_text(event: ResponseEvent, index: int) -> str | None:
    """The text that an event adds to the response, which is all choice 0."""
    if event.type == "response.output_text.delta" and index == 0:
        return event.delta if isinstance(event.delta, str) else None
    return None


class ResponseTexts:
    """The text that an event adds to those before it.

    It comes in deltas. A server that sends none gives it in the events that close a text, a part
    or an item, or in the last event: whichever is the first to have some is where all is read.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._source: str | None = None

    def __call__(self, event: ResponseEvent) -> str | None:
        if self._index != 0:
            return None
        kind = event.type
        if kind == "response.output_text.delta":
            self._source = kind
            return event.delta if isinstance(event.delta, str) else None
        if self._source in (None, kind):
            text = _closed_text(kind, event)
            if text:
                self._source = kind
                return text
        return None


def _closed_text(kind: str | None, event: ResponseEvent) -> str | None:
    """The whole text that an event closes."""
    if kind == "response.output_text.done":
        return event.text
    if kind == "response.content_part.done":
        return _text_of_output([{"type": "message", "content": [event.part]}])
    if kind == "response.output_item.done":
        return _text_of_output([] if event.item is None else [event.item])
    if kind in ("response.completed", "response.incomplete", "response.done"):
        return None if event.response is None else event.response.output_text
    return None


def _text_of_output(output: list[dict[str, Any]]) -> str:
    return Response.from_dict({"output": output}).output_text
