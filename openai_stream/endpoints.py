"""The endpoints that stream: for each its path, its classes, how it adds up, and its text.

A new endpoint is a new entry here, with its classes in ``models`` and its sum in ``accumulate``.
What is common to all (frames, errors in the stream, ``[DONE]``) is the reader's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from .accumulate import ChatAccumulator, CompletionAccumulator
from .models import ChatCompletion, ChatCompletionChunk, Completion

__all__ = ["CHAT_COMPLETIONS", "COMPLETIONS", "Accumulator", "Endpoint"]

E = TypeVar("E")
W = TypeVar("W")


class Accumulator(Protocol):
    """The sum of a stream's chunks, as parsed JSON."""

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in one more chunk; on the reader thread."""

    def snapshot(self) -> dict[str, Any]:
        """The sum so far; on any thread."""

    @property
    def complete(self) -> bool:
        """An orderly end of the connection would now be the end of the answer."""


@attrs.frozen
class Endpoint(Generic[E, W]):
    """An endpoint that answers in one piece or as a stream of events.

    :param path: below the base URL.
    :param event: makes an event of its JSON object.
    :param whole: makes the whole answer of its JSON object.
    :param accumulator: makes the sum of a new stream.
    :param text: the text that an event adds to a choice, if any.
    :param is_whole: whether a JSON object is a whole answer.
    """

    path: str
    event: Callable[[dict[str, Any]], E]
    whole: Callable[[dict[str, Any]], W]
    accumulator: Callable[[], Accumulator]
    text: Callable[[E, int], str | None]
    is_whole: Callable[[dict[str, Any]], bool]


def _has_choices(answer: dict[str, Any]) -> bool:
    return isinstance(answer.get("choices"), list)


def _chat_text(chunk: ChatCompletionChunk, index: int) -> str | None:
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            content = choice.delta.content
            return content if isinstance(content, str) else None
    return None


def _completion_text(chunk: Completion, index: int) -> str | None:
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            return choice.text
    return None


#: Source: OpenAI API reference, "Chat Completions".
CHAT_COMPLETIONS: Endpoint[ChatCompletionChunk, ChatCompletion] = Endpoint(
    "/chat/completions",
    ChatCompletionChunk.from_dict,
    ChatCompletion.from_dict,
    ChatAccumulator,
    _chat_text,
    _has_choices,
)

#: Source: OpenAI API reference, "Completions" (legacy).
COMPLETIONS: Endpoint[Completion, Completion] = Endpoint(
    "/completions",
    Completion.from_dict,
    Completion.from_dict,
    CompletionAccumulator,
    _completion_text,
    _has_choices,
)
