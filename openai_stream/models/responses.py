"""The Responses API: a streamed event, and a whole response.

Attributes are the fields of the *Responses* section of the OpenAI API reference, under the same
names. What comes in many kinds, told apart by ``type``, stays a dict as the wire has it: output
items, content parts, tools. Times are Unix times in seconds.
"""

from typing import Any, TypeVar, cast

import attrs

from openai_stream import structured
from openai_stream.publishing import publish

from .fields import NONE_GIVEN
from .model import Model, wire
from .next_turn import input_items
from .whole import Whole

__all__ = [
    "IncompleteDetails",
    "InputTokensDetails",
    "OutputTokensDetails",
    "Response",
    "ResponseError",
    "ResponseEvent",
    "ResponseUsage",
]

T = TypeVar("T")


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class InputTokensDetails(Model):
    """What the input's tokens were (*usage.input_tokens_details*).

    .. versionadded:: 0.1
    """

    #: Tokens written to the prompt cache.
    cache_write_tokens: int | None = None
    #: Tokens that came from the prompt cache.
    cached_tokens: int | None = None
    #: Tokens written to the prompt cache, by how long they are kept.
    cache_write_tokens_details: dict[str, Any] | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class OutputTokensDetails(Model):
    """What the output's tokens were (*usage.output_tokens_details*).

    .. versionadded:: 0.1
    """

    #: Tokens that the model spent on reasoning.
    reasoning_tokens: int | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ResponseUsage(Model):
    """Tokens that were used, in the whole and of which kinds (*usage*).

    .. versionadded:: 0.1
    """

    #: Tokens of the input.
    input_tokens: int | None = None
    #: Tokens of the output.
    output_tokens: int | None = None
    #: Both together.
    total_tokens: int | None = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ResponseError(Model):
    """Why a response failed (*error*). Not an exception.

    .. versionadded:: 0.1
    """

    code: str | None = None
    #: For people.
    message: str | None = None
    #: The parameter of the request that is to blame.
    param: str | None = None
    #: The original kind of the error.
    type: str | None = None
    #: About an answer that was held back, and how to go on.
    misalignment: dict[str, Any] | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class IncompleteDetails(Model):
    """Why a response is incomplete (*incomplete_details*).

    .. versionadded:: 0.1
    """

    #: ``"max_output_tokens"``, ``"content_filter"``, …
    reason: str | None = None


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class Response(Whole):
    """A response (*The response object*), whole or as far as it is.

    .. versionadded:: 0.1
    """

    id: str | None = None
    #: ``"completed"``, ``"failed"``, ``"in_progress"``, ``"cancelled"``, ``"queued"`` or
    #: ``"incomplete"``.
    status: str | None = None
    model: str | None = None
    #: What the model made: messages, tool calls, reasoning. Each item is a dict with a ``type``.
    output: list[dict[str, Any]] = NONE_GIVEN
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponseUsage | None = None
    created_at: float | None = attrs.field(default=None, repr=False)
    completed_at: float | None = attrs.field(default=None, repr=False)
    #: ``"response"``.
    object: str | None = attrs.field(default=None, repr=False)
    #: How much the request is trusted with.
    access_programs: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: Whether the model runs in the background.
    background: bool | None = attrs.field(default=None, repr=False)
    #: The conversation that the response belongs to.
    conversation: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: How images are handled.
    image: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: Reasoning of earlier turns that the model did not get to see.
    input_transformations: list[dict[str, Any]] = attrs.field(default=NONE_GIVEN, repr=False)
    #: The system message: a text or a list of input items.
    instructions: str | list[Any] | None = attrs.field(default=None, repr=False)
    #: Bound of the output in tokens, reasoning included.
    max_output_tokens: int | None = attrs.field(default=None, repr=False)
    #: Bound of the calls of built-in tools.
    max_tool_calls: int | None = attrs.field(default=None, repr=False)
    #: What the request attached to the response.
    metadata: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: Moderation of the input and the output, where that was asked for.
    moderation: dict[str, Any] | None = attrs.field(default=None, repr=False)
    parallel_tool_calls: bool | None = attrs.field(default=None, repr=False)
    previous_response_id: str | None = attrs.field(default=None, repr=False)
    #: The prompt template that was used, and its variables.
    prompt: dict[str, Any] | None = attrs.field(default=None, repr=False)
    prompt_cache_diagnostics: dict[str, Any] | None = attrs.field(default=None, repr=False)
    prompt_cache_key: str | None = attrs.field(default=None, repr=False)
    prompt_cache_options: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: Deprecated by the API in favour of ``prompt_cache_options``.
    prompt_cache_retention: str | None = attrs.field(default=None, repr=False)
    #: How the model was told to reason.
    reasoning: dict[str, Any] | None = attrs.field(default=None, repr=False)
    safety_identifier: str | None = attrs.field(default=None, repr=False)
    service_tier: str | None = attrs.field(default=None, repr=False)
    temperature: float | None = attrs.field(default=None, repr=False)
    #: How the text was to be formatted.
    text: dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: ``"none"``, ``"auto"``, ``"required"``, or the tools that the model was held to.
    tool_choice: str | dict[str, Any] | None = attrs.field(default=None, repr=False)
    #: What the built-in tools used.
    tool_usage: dict[str, Any] | None = attrs.field(default=None, repr=False)
    tools: list[dict[str, Any]] = attrs.field(default=NONE_GIVEN, repr=False)
    #: How many of the most likely tokens are given at each place.
    top_logprobs: int | None = attrs.field(default=None, repr=False)
    top_p: float | None = attrs.field(default=None, repr=False)
    truncation: str | None = attrs.field(default=None, repr=False)
    #: Deprecated by the API in favour of ``safety_identifier`` and ``prompt_cache_key``.
    user: str | None = attrs.field(default=None, repr=False)

    @property
    def output_text(self) -> str:
        """The text of all messages in :attr:`output`, joined; ``""`` where there is none."""
        texts = []
        for item in self.output:
            parts = item.get("content") if item.get("type") == "message" else None
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and part.get("type") == "output_text":
                    text = part.get("text")
                    if isinstance(text, str):
                        texts.append(text)
        return "".join(texts)

    def to_input(self) -> list[dict[str, Any]]:
        """The output as the next request takes it: ``items += response.to_input()``.

        Without what is of answers only. Reasoning goes back with the item that follows it, and not
        without it. With ``store=False`` ids are left out, and reasoning goes back if it is
        encrypted: ask for it with ``include=["reasoning.encrypted_content"]``.

        .. versionadded:: 0.1
        """
        return input_items(self.to_dict())

    def parsed(self, cls: type[T]) -> T:
        """The answer, which is JSON, as an object of a class. Needs the extra ``structured``.

        :param cls: an ``attrs`` class, a dataclass, a ``TypedDict``, a ``msgspec.Struct``, or any
            other type that msgspec can make of JSON.
        :raises StructuredOutputError: it is not JSON of that class; ``reason`` says why.
        """
        return cast("T", structured.JSONAnswer.of(self).parsed(cls))


@wire
@attrs.frozen(kw_only=True, eq=False, repr=False, getstate_setstate=False)
class ResponseEvent(Model):
    """One event of a streamed response (*Streaming events*).

    One class for all its kinds: :attr:`type` tells which of the other attributes are there. The
    text, for one, comes in the :attr:`delta` of ``"response.output_text.delta"``.

    .. versionadded:: 0.1
    """

    #: The kind of event, such as ``"response.output_text.delta"``.
    type: str | None = None
    #: Counts the events of the response.
    sequence_number: int | None = None
    #: What is new: a piece of text, of JSON arguments, of Base64 audio; for a shell's output a
    #: dict.
    delta: str | dict[str, Any] | None = None
    #: The whole text, in events that end with ``.done``.
    text: str | None = None
    #: The response so far, in ``response.created``, ``response.completed`` and their like.
    response: Response | None = None
    #: The output item that was added or is done.
    item: dict[str, Any] | None = None
    #: The content part that was added or is done.
    part: dict[str, Any] | None = None
    #: The ``id`` of the output item that the event is about.
    item_id: str | None = attrs.field(default=None, repr=False)
    #: Where that item is in the response's ``output``.
    output_index: int | None = attrs.field(default=None, repr=False)
    #: Where the part is in the item's ``content``.
    content_index: int | None = attrs.field(default=None, repr=False)
    #: Where the part is in the item's ``summary``.
    summary_index: int | None = attrs.field(default=None, repr=False)
    #: Log probabilities of the text's tokens.
    logprobs: list[dict[str, Any]] = attrs.field(default=NONE_GIVEN, repr=False)
    #: Characters without meaning, so that the size of a packet does not give its text away.
    obfuscation: str | None = attrs.field(default=None, repr=False)
    #: The whole text with which the model refuses.
    refusal: str | None = None
    #: The whole arguments of a call, JSON text.
    arguments: str | None = None
    #: The whole input of a custom tool's call.
    input: str | None = None
    #: The annotation that was added to the text.
    annotation: dict[str, Any] | None = None
    #: Where it is among the part's annotations.
    annotation_index: int | None = attrs.field(default=None, repr=False)
    #: Of ``"error"`` the code; of a code interpreter the whole code.
    code: str | None = None
    #: Of ``"error"``, for people.
    message: str | None = None
    #: Of ``"error"``, the parameter that is to blame.
    param: str | None = None
    #: The command that a shell is to run.
    command: str | None = None
    #: Which of a shell call's commands.
    command_index: int | None = attrs.field(default=None, repr=False)
    #: The whole diff of a patch.
    diff: str | None = None
    #: What a shell's command printed.
    output: list[dict[str, Any]] = NONE_GIVEN
    #: An image so far, Base64.
    partial_image_b64: str | None = None
    #: Counts the states of that image.
    partial_image_index: int | None = None
    #: Of an image: ``"transparent"``, ``"opaque"`` or ``"auto"``.
    background: str | None = attrs.field(default=None, repr=False)
    #: Of an image: ``"png"``, ``"webp"`` or ``"jpeg"``.
    output_format: str | None = attrs.field(default=None, repr=False)
    #: Of an image.
    quality: str | None = attrs.field(default=None, repr=False)
    #: Of an image, such as ``"1024x1024"``.
    size: str | None = attrs.field(default=None, repr=False)
    #: ``"incomplete"`` of a part that was cut short.
    status: str | None = None


publish(globals(), "openai_stream.models")
publish(globals(), "openai_stream", ("Response", "ResponseEvent"))
