"""``/completions``, of which one class is the chunk and the whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from openai_stream.accumulate import Asked
from openai_stream.accumulate.choices import CompletionAccumulator
from openai_stream.content import choices_content
from openai_stream.first_use import importing
from openai_stream.models.completions import Completion
from openai_stream.texts import ChoiceTexts, completion_text

from .endpoint import Endpoint, has_choices

if TYPE_CHECKING:
    from openai_stream.parts.pieces import PartsReader

__all__ = ["COMPLETIONS"]


def _completion_parts(asked: Asked, choice: int) -> PartsReader:
    with importing():
        from openai_stream.parts.choices import CompletionParts  # noqa: PLC0415

    return CompletionParts(asked, choice)


#: Source: OpenAI API reference, "Completions" (legacy).
COMPLETIONS: Endpoint[Completion, Completion] = Endpoint(
    path="/completions",
    event=Completion.from_dict,
    whole=Completion.from_dict,
    accumulator=CompletionAccumulator,
    text=completion_text,
    reading=partial(ChoiceTexts, completion_text),
    is_whole=has_choices,
    own="text_completion",
    parts=_completion_parts,
    carries=choices_content,
)
