"""``/chat/completions``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from openai_stream.accumulate import Asked
from openai_stream.accumulate.choices import ChatAccumulator
from openai_stream.content import choices_content
from openai_stream.first_use import importing
from openai_stream.models.chat import ChatCompletion, ChatCompletionChunk
from openai_stream.texts import ChoiceTexts, chat_text

from .endpoint import Endpoint, has_choices

if TYPE_CHECKING:
    from openai_stream.parts.pieces import PartsReader

__all__ = ["CHAT_COMPLETIONS"]


def _chat_parts(asked: Asked, choice: int) -> PartsReader:
    with importing():
        from openai_stream.parts.choices import ChatParts  # noqa: PLC0415

    return ChatParts(asked, choice)


#: Source: OpenAI API reference, "Chat Completions".
CHAT_COMPLETIONS: Endpoint[ChatCompletionChunk, ChatCompletion] = Endpoint(
    path="/chat/completions",
    event=ChatCompletionChunk.from_dict,
    whole=ChatCompletion.from_dict,
    accumulator=ChatAccumulator,
    text=chat_text,
    reading=partial(ChoiceTexts, chat_text),
    is_whole=has_choices,
    own="chat.completion",
    class_argument="response_format",
    parts=_chat_parts,
    carries=choices_content,
)
