"""The (legacy) Completions API, whose chunk and whole have one shape.

Attributes are the fields of the *Completions* section of the OpenAI API reference, under the same
names.
"""

from typing import Any

import attrs

from openai_stream.publishing import publish

from .fields import NONE_GIVEN
from .model import Model, wire
from .usage import Usage
from .whole import Whole

__all__ = ["Completion", "CompletionChoice", "CompletionLogprobs"]


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class CompletionLogprobs(Model):
    """Log probabilities of a choice's tokens: lists of one length, an item a token.

    .. versionadded:: 0.1
    """

    #: Where each token starts, in characters of the text.
    text_offset: list[int] = NONE_GIVEN
    #: Natural logarithms. The first token of an echoed prompt has none.
    token_logprobs: list[float | None] = NONE_GIVEN
    tokens: list[str] = NONE_GIVEN
    #: At each place the most likely tokens and their log probabilities.
    top_logprobs: list[dict[str, Any] | None] = NONE_GIVEN


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class CompletionChoice(Model):
    """One of the answers that were asked for with ``n``; in a stream, a piece of one.

    .. versionadded:: 0.1
    """

    #: Which of the answers.
    index: int | None = None
    text: str | None = None
    logprobs: CompletionLogprobs | None = None
    #: Why the answer ends here: ``"stop"``, ``"length"`` or ``"content_filter"``; ``None`` while
    #: it goes on.
    finish_reason: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Completion(Whole):
    """A text completion, or one event of a streamed one (*The completion object*).

    .. versionadded:: 0.1
    """

    #: The same in all chunks of an answer.
    id: str | None = None
    choices: list[CompletionChoice] = NONE_GIVEN
    #: When it was made, a Unix time in seconds.
    created: int | None = attrs.field(default=None, repr=False)
    model: str | None = attrs.field(default=None, repr=False)
    #: ``"text_completion"``.
    object: str | None = attrs.field(default=None, repr=False)
    #: Characters without meaning, so that the size of a packet does not give its text away.
    obfuscation: str | None = attrs.field(default=None, repr=False)
    #: The server's configuration, for use with ``seed``.
    system_fingerprint: str | None = attrs.field(default=None, repr=False)
    #: In a stream only in the last chunk, if it was asked for in ``stream_options``.
    usage: Usage | None = None


publish(globals(), "openai_stream.models")
publish(globals(), "openai_stream", ("Completion",))
