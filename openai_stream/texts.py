"""The text that an event adds to an answer of choices.

One function an endpoint for an event by itself, and one class for the events of an answer, one
after the other, where it depends on those before. Joined, it is the text of the whole answer. Those
of a response are in :mod:`.response_texts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .accumulate import Asked
from .accumulate.choices import is_reason
from .models import as_sent
from .models.chat import ChatCompletionChunk, ChunkChoice, Delta, Message

if TYPE_CHECKING:
    from .models.completions import Completion, CompletionChoice

__all__ = [
    "ChoiceTexts",
    "chat_text",
    "completion_text",
    "message_text",
    "whole_message",
]

#: The types of content parts that are text.
_TEXT_PARTS = ("text", "output_text")


def chat_text(chunk: ChatCompletionChunk, index: int) -> str | None:
    """The text that a chunk adds to a choice."""
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            return message_text(choice.delta)
    return None


def completion_text(chunk: Completion, index: int) -> str | None:
    """The text that a chunk adds to a choice."""
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            return choice.text
    return None


def message_text(message: Message | Delta) -> str | None:
    """The text of a message or a delta, if it has any. Its content may be parts; thoughts, images
    and the like are none of it.
    """
    if message.content is not None:
        return message.content
    parts = as_sent(message, "content")
    return None if parts is None else _of_parts(parts)


def _of_parts(parts: Any) -> str:
    texts = []
    for part in parts if type(parts) is list else (parts,):
        if type(part) is dict and part.get("type", "text") in _TEXT_PARTS:
            part = part.get("text")
        if type(part) is str:
            texts.append(part)
    return "".join(texts)


def _of_message(choice: ChunkChoice | CompletionChoice) -> str | None:
    """The text of a whole message that a choice has in the place of a delta."""
    message = whole_message(choice)
    return None if message is None else _of_parts(message.get("content"))


def whole_message(choice: ChunkChoice | CompletionChoice) -> dict[str, Any] | None:
    """The whole message that a choice has in the place of a delta."""
    message = as_sent(choice, "message")
    if type(message) is not dict:
        return None
    if isinstance(choice, ChunkChoice) and choice.delta.to_dict():
        return None  # with a delta beside it, it only tells once more what that tells
    return message


class ChoiceTexts:
    """The text that a chunk adds to a choice, after the chunks before it.

    Some servers number the tokens in the place of the choices. What is choice 0 then is told by
    :mod:`.accumulate.choices`, and is the same here. Some send the whole message in one chunk, and
    no deltas.

    :param text: the text that a chunk by itself adds to a choice.
    :param asked: what is known of the request.
    :param index: the choice.
    """

    def __init__(self, text: Callable[[Any, int], str | None], asked: Asked, index: int) -> None:
        self._text = text
        self._index = index
        self._is_one = asked.one_choice and index == 0
        self._has_finished = False
        self._has_text = False
        #: The index that the newest chunk has for the choice.
        self.current = index

    def __call__(self, event: Any) -> str | None:
        choices = event.choices
        index = self._index
        if self._is_one and choices:
            choice = choices[0]
            if len(choices) == 1:
                index = choice.index or 0
                if self._has_finished and self._text(event, index):
                    self._is_one = False
            else:
                self._is_one = False
            if not self._is_one:
                index = 0
            self._has_finished = self._has_finished or is_reason(choice.finish_reason)
        self.current = index
        said = self._text(event, index)
        if said:
            self._has_text = True
        elif not self._has_text:
            for position, choice in enumerate(choices):
                if (position if choice.index is None else choice.index) == index:
                    said = _of_message(choice) or said
                    self._has_text = bool(said)
        return said
