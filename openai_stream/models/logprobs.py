"""How likely the tokens of a chat completion were.

Source: OpenAI API reference, "Chat Completions".
"""

import attrs

from openai_stream.publishing import publish

from .fields import NONE_GIVEN
from .model import Model, wire

__all__ = ["ChoiceLogprobs", "TokenLogprob", "TopLogprob"]


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class TopLogprob(Model):
    """A token that might have come in a token's place.

    .. versionadded:: 0.1
    """

    token: str | None = None
    #: The token's UTF-8 bytes; some characters are spread over several tokens.
    bytes: list[int] = NONE_GIVEN
    #: Natural logarithm of the probability; ``-9999.0`` stands for very unlikely.
    logprob: float | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class TokenLogprob(Model):
    """A token of the answer and how probable it was.

    .. versionadded:: 0.1
    """

    token: str | None = None
    #: The token's UTF-8 bytes; some characters are spread over several tokens.
    bytes: list[int] = NONE_GIVEN
    #: Natural logarithm of the probability; ``-9999.0`` stands for very unlikely.
    logprob: float | None = None
    #: The most likely tokens at this place.
    top_logprobs: list[TopLogprob] = NONE_GIVEN


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ChoiceLogprobs(Model):
    """Log probabilities of a choice's tokens; in a chunk, of that chunk's tokens.

    .. versionadded:: 0.1
    """

    #: For the tokens of ``content``.
    content: list[TokenLogprob] = NONE_GIVEN
    #: For the tokens of ``refusal``.
    refusal: list[TokenLogprob] = NONE_GIVEN


publish(globals(), "openai_stream.models")
