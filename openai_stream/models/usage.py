"""The token counts of the Chat Completions and Completions APIs."""

import attrs

from openai_stream.publishing import publish

from .model import Model, wire

__all__ = ["CompletionTokensDetails", "PromptTokensDetails", "Usage"]


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class PromptTokensDetails(Model):
    """What the prompt's tokens were (*usage.prompt_tokens_details*).

    .. versionadded:: 0.1
    """

    #: Tokens of audio.
    audio_tokens: int | None = None
    #: Tokens written to the prompt cache.
    cache_write_tokens: int | None = None
    #: Tokens that came from the prompt cache.
    cached_tokens: int | None = None
    #: Tokens of images.
    image_tokens: int | None = None
    #: Tokens of text.
    text_tokens: int | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class CompletionTokensDetails(Model):
    """What the answer's tokens were (*usage.completion_tokens_details*).

    .. versionadded:: 0.1
    """

    #: Tokens of a predicted output that are in the answer.
    accepted_prediction_tokens: int | None = None
    #: Tokens of audio.
    audio_tokens: int | None = None
    #: Tokens that the model spent on reasoning.
    reasoning_tokens: int | None = None
    #: Tokens of a predicted output that are not in the answer, but are paid for.
    rejected_prediction_tokens: int | None = None
    #: Tokens of text.
    text_tokens: int | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Usage(Model):
    """Tokens that were used, in the whole and of which kinds (*usage*).

    A streamed answer has it in its last chunk, and only if it was asked for with
    ``stream_options={"include_usage": True}``.

    .. versionadded:: 0.1
    """

    #: Tokens of the answer.
    completion_tokens: int | None = None
    #: Tokens of the prompt.
    prompt_tokens: int | None = None
    #: Both together.
    total_tokens: int | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_tokens_details: PromptTokensDetails | None = None


publish(globals(), "openai_stream.models")
