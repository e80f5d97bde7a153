"""The Chat Completions API: a streamed chunk, a whole completion, and their parts.

Attributes are the fields of the *Chat Completions* section of the OpenAI API reference, under the
same names. Times are Unix times in seconds.
"""

from typing import Any, TypeVar, cast

import attrs

from openai_stream import structured
from openai_stream.first_use import importing
from openai_stream.publishing import publish

from .fields import NONE_GIVEN
from .logprobs import ChoiceLogprobs
from .model import Model, missing, wire
from .usage import Usage
from .whole import Whole

__all__ = [
    "Annotation",
    "Audio",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "ChunkChoice",
    "CustomCall",
    "Delta",
    "FunctionCall",
    "Message",
    "Moderation",
    "ModerationOutcome",
    "ModerationResult",
    "ToolCall",
    "ToolCallDelta",
    "URLCitation",
]

T = TypeVar("T")


# -- parts of both --------------------------------------------------------------------------------


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class FunctionCall(Model):
    """The call of a function; in a delta, a piece of one.

    .. versionadded:: 0.1
    """

    #: The function's arguments as JSON text, which the model may have got wrong.
    arguments: str | None = None
    name: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class CustomCall(Model):
    """The call of a custom tool; in a delta, a piece of one.

    .. versionadded:: 0.1
    """

    #: The tool's input, in whatever form the tool was declared to take.
    input: str | None = None
    name: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Audio(Model):
    """Spoken output; in a delta, a piece of it.

    .. versionadded:: 0.1
    """

    #: Names the audio in later turns of the conversation.
    id: str | None = None
    #: The audio, Base64, in the format that was asked for.
    data: str | None = None
    #: When the server will have forgotten the audio.
    expires_at: int | None = None
    #: What is said.
    transcript: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ModerationResult(Model):
    """One verdict of a moderation model.

    .. versionadded:: 0.1
    """

    #: For each category, whether it applies.
    categories: dict[str, Any] | None = None
    #: For each category, the kinds of input (``"text"``, ``"image"``) that its score is about.
    category_applied_input_types: dict[str, Any] | None = None
    #: For each category, how sure the model is.
    category_scores: dict[str, Any] | None = None
    #: Whether any category applies.
    flagged: bool | None = None
    model: str | None = None
    type: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ModerationOutcome(Model):
    """Verdicts on the input or on the output, or (type ``"error"``) why there are none.

    .. versionadded:: 0.1
    """

    #: ``"moderation_results"`` or ``"error"``.
    type: str | None = None
    #: The moderation model.
    model: str | None = None
    results: list[ModerationResult] = NONE_GIVEN
    #: Of an error.
    code: str | None = None
    #: Of an error.
    message: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Moderation(Model):
    """Moderation of a request and its answer, where that was asked for.

    .. versionadded:: 0.1
    """

    input: ModerationOutcome | None = None
    output: ModerationOutcome | None = None


# -- a streamed chunk -----------------------------------------------------------------------------


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ToolCallDelta(Model):
    """A piece of a tool call.

    .. versionadded:: 0.1
    """

    #: Which of the message's tool calls it is a piece of.
    index: int | None = None
    #: Only in a call's first piece, as are ``type`` and the tool's name.
    id: str | None = None
    #: ``"function"`` or ``"custom"``.
    type: str | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Delta(Model):
    """What a chunk adds to a choice's message.

    .. versionadded:: 0.1
    """

    #: Only in a message's first piece.
    role: str | None = None
    #: A piece of the text.
    content: str | None = None
    #: A piece of the text with which the model refuses.
    refusal: str | None = None
    #: Pieces of tool calls; their ``index`` tells which.
    tool_calls: list[ToolCallDelta] = NONE_GIVEN
    audio: Audio | None = None
    #: Deprecated by the API in favour of ``tool_calls``.
    function_call: FunctionCall | None = None


_NO_DELTA = missing(Delta)


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ChunkChoice(Model):
    """What a chunk adds to one of the answers that were asked for with ``n``.

    .. versionadded:: 0.1
    """

    #: Which of the answers.
    index: int | None = None
    delta: Delta = _NO_DELTA
    logprobs: ChoiceLogprobs | None = None
    #: Why the answer ends here: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``
    #: or ``"function_call"``; ``None`` while it goes on.
    finish_reason: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ChatCompletionChunk(Model):
    """One event of a streamed chat completion (*The chat completion chunk object*).

    .. versionadded:: 0.1
    """

    #: The same in all chunks of an answer.
    id: str | None = None
    #: Empty in a chunk that brings only ``usage``.
    choices: list[ChunkChoice] = NONE_GIVEN
    created: int | None = attrs.field(default=None, repr=False)
    model: str | None = attrs.field(default=None, repr=False)
    #: ``"chat.completion.chunk"``.
    object: str | None = attrs.field(default=None, repr=False)
    #: Characters without meaning, so that the size of a packet does not give its text away.
    obfuscation: str | None = attrs.field(default=None, repr=False)
    service_tier: str | None = attrs.field(default=None, repr=False)
    #: The server's configuration, for use with ``seed``.
    system_fingerprint: str | None = attrs.field(default=None, repr=False)
    #: Only in the last chunk, if it was asked for in ``stream_options``.
    usage: Usage | None = None
    moderation: Moderation | None = None


# -- a whole completion ---------------------------------------------------------------------------


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class URLCitation(Model):
    """A page that the text cites.

    .. versionadded:: 0.1
    """

    #: First character of the passage, counted in ``content``.
    start_index: int | None = None
    #: Last character of the passage.
    end_index: int | None = None
    title: str | None = None
    url: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Annotation(Model):
    """A note on a passage of the text, as web search makes them.

    .. versionadded:: 0.1
    """

    #: ``"url_citation"``.
    type: str | None = None
    url_citation: URLCitation | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ToolCall(Model):
    """A tool that the model wants to be called.

    .. versionadded:: 0.1
    """

    #: To be sent back with the tool's result.
    id: str | None = None
    #: ``"function"`` or ``"custom"``.
    type: str | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Message(Model):
    """The answer of the model.

    .. versionadded:: 0.1
    """

    role: str | None = None
    #: The text.
    content: str | None = None
    #: The text with which the model refuses.
    refusal: str | None = None
    tool_calls: list[ToolCall] = NONE_GIVEN
    annotations: list[Annotation] = NONE_GIVEN
    audio: Audio | None = None
    #: Deprecated by the API in favour of ``tool_calls``.
    function_call: FunctionCall | None = None

    def to_param(self) -> dict[str, Any]:
        """The message as the next request takes it: ``messages.append(message.to_param())``.

        Its text and its tool calls, whose arguments are a JSON object (``{}`` if the model did not
        give one). Reasoning goes back if servers want it back: signed or encrypted
        (``reasoning_details``, ``thinking_blocks``, ``extra_content``) always, as it is, and
        ``reasoning_content`` beside tool calls. What is of answers only is left out.

        .. versionadded:: 0.1
        """
        with importing():
            from .next_turn import assistant_param  # noqa: PLC0415 - many programs ask but once

        return assistant_param(self.to_dict())


_NO_MESSAGE = missing(Message)


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Choice(Model):
    """One of the answers that were asked for with ``n``.

    .. versionadded:: 0.1
    """

    #: Which of the answers.
    index: int | None = None
    message: Message = _NO_MESSAGE
    logprobs: ChoiceLogprobs | None = None
    #: Why the answer ends: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"`` or
    #: ``"function_call"``.
    finish_reason: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ChatCompletion(Whole):
    """A whole answer (*The chat completion object*).

    .. versionadded:: 0.1
    """

    id: str | None = None
    model: str | None = None
    choices: list[Choice] = NONE_GIVEN
    usage: Usage | None = None
    created: int | None = attrs.field(default=None, repr=False)
    #: ``"chat.completion"``.
    object: str | None = attrs.field(default=None, repr=False)
    service_tier: str | None = attrs.field(default=None, repr=False)
    #: The server's configuration, for use with ``seed``.
    system_fingerprint: str | None = attrs.field(default=None, repr=False)
    #: What the request attached to a stored completion.
    metadata: dict[str, Any] | None = None
    moderation: Moderation | None = None

    def parsed(self, cls: type[T]) -> T:
        """The answer, which is JSON, as an object of a class. Needs the extra ``structured``.

        :param cls: an ``attrs`` class, a dataclass, a ``TypedDict``, a ``msgspec.Struct``, or any
            other type that msgspec can make of JSON.
        :raises StructuredOutputError: it is not JSON of that class; ``reason`` says why.
        """
        return cast("T", structured.JSONAnswer.of(self).parsed(cls))


publish(globals(), "openai_stream.models")
publish(globals(), "openai_stream", ("ChatCompletion", "ChatCompletionChunk"))
