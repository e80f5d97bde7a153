"""The three endpoints as the command sees them: what a request is made of, and what is in an event.

One object each, :data:`CHAT`, :data:`COMPLETE` and :data:`RESPOND`; they hold nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import click

from openai_stream import (
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    Completion,
    Response,
    ResponseEvent,
)
from openai_stream.accumulate import UNKNOWN, Asked
from openai_stream.endpoints import CHAT_COMPLETIONS, COMPLETIONS, RESPONSES
from openai_stream.endpoints import Endpoint as Streaming
from openai_stream.texts import message_text

from .targets import DEFAULT_MODEL, AnyClient

__all__ = ["CHAT", "COMPLETE", "ENDPOINTS", "RESPOND", "Endpoint", "Message", "Reading", "Tokens"]

#: ``{"role": …, "content": …}``.
Message = dict[str, Any]

_INCLUDE_USAGE = {"stream_options": {"include_usage": True}}
# Fields that servers send and the API does not document: DeepSeek, llama.cpp and vLLM; OpenRouter.
_REASONING = ("reasoning_content", "reasoning")
_CUT_SHORT = {
    "length": "the answer is cut short: it has as many tokens as were allowed",
    "max_output_tokens": "the answer is cut short: it has as many tokens as were allowed",
    "content_filter": "the answer is cut short by the server's content filter",
}


@attrs.frozen
class Tokens:
    """How many tokens an answer took."""

    prompt: int
    answer: int


class Reading:
    """What the events of one answer say to a reader, one after the other.

    :param endpoint: which kind of events.
    :param body: of the request, where it is known.
    """

    def __init__(self, endpoint: Endpoint, body: Mapping[str, Any] | None = None) -> None:
        self._endpoint = endpoint
        self._body = body
        self._asked = UNKNOWN if body is None else Asked.of(body)
        self._text: Callable[[Any], str | None] = endpoint.streaming.texts(self._asked, 0)

    def text(self, event: Any) -> str:
        """The text of the first choice that an event brings, a refusal included."""
        return (self._text(event) or "") + self._endpoint.refusal(event, self._asked)

    def reasoning(self, event: Any) -> str:
        """The reasoning of the first choice that an event brings."""
        return self._endpoint.reasoning(event, self._asked)

    def anew(self) -> Reading:
        """For another answer to the same request."""
        return Reading(self._endpoint, self._body)


class Endpoint(ABC):
    """What is different from one endpoint to the other."""

    #: The same endpoint, as the library knows it.
    streaming: Streaming[Any, Any]
    path: str
    #: The model that is asked for where the user does not say; ``None`` if OpenAI has none left.
    model: str | None = DEFAULT_MODEL
    #: The field of the request that the question is in, and the one for ``--system`` if it has one.
    question_field: str
    system_field: str | None = None

    @abstractmethod
    def create(self, client: AnyClient) -> Any:
        """The client's call."""

    @abstractmethod
    def body(self, messages: Sequence[Message], system: str | None = None) -> dict[str, Any]:
        """The fields of the request that hold the messages."""

    def with_usage(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of a request that asks for the usage too, unless it has an opinion on that."""
        return {**_INCLUDE_USAGE, **body}

    def refusal(self, event: Any, asked: Asked) -> str:
        """What the first choice of an event says in the place of a text."""
        return ""

    def reasoning(self, event: Any, asked: Asked) -> str:
        """The reasoning of the first choice of an event."""
        return ""

    @abstractmethod
    def said(self, whole: Any) -> str:
        """The text of an answer, whole or as far as it came."""

    def remembered(self, whole: Any) -> list[Message]:
        """An answer, as far as it came, as the next request takes it; none if there is no text.

        Of calls to tools nobody gives the results here, so that they are left out.
        """
        text = self.said(whole)
        return [{"role": "assistant", "content": text}] if text else []

    @abstractmethod
    def remarks(self, whole: Any) -> Iterator[str]:
        """What a reader of the text alone would miss."""

    def tokens(self, whole: Any) -> Tokens | None:
        """The usage, where the server told."""
        usage = whole.usage
        if usage is None or usage.completion_tokens is None:
            return None
        return Tokens(usage.prompt_tokens or 0, usage.completion_tokens)


class Chat(Endpoint):
    streaming = CHAT_COMPLETIONS
    path = "/chat/completions"
    question_field = "messages"

    def create(self, client: AnyClient) -> Any:
        return client.create_chat_completion

    def body(self, messages: Sequence[Message], system: str | None = None) -> dict[str, Any]:
        first = [] if system is None else [{"role": "system", "content": system}]
        return {"messages": [*first, *messages]}

    def refusal(self, event: ChatCompletionChunk, asked: Asked) -> str:
        return "".join(choice.delta.refusal or "" for choice in _first(event.choices, asked))

    def reasoning(self, event: ChatCompletionChunk, asked: Asked) -> str:
        pieces = []
        for choice in _first(event.choices, asked):
            extra = choice.delta.extra
            piece = next((extra[name] for name in _REASONING if extra.get(name)), "")
            pieces.append(piece if isinstance(piece, str) else "")
        return "".join(pieces)

    def said(self, whole: ChatCompletion) -> str:
        for choice in whole.choices:  # the first is the one of the lowest index
            return message_text(choice.message) or choice.message.refusal or ""
        return ""

    def remembered(self, whole: ChatCompletion) -> list[Message]:
        told = super().remembered(whole)
        if told:
            # Servers want reasoning back that is signed or encrypted.
            param = whole.choices[0].message.to_param()
            left_out = ("role", "content", "refusal", "tool_calls", "function_call")
            told[0] |= {name: value for name, value in param.items() if name not in left_out}
            if whole.choices[0].message.tool_calls:
                told[0].pop("reasoning_content", None)
        return told

    def remarks(self, whole: ChatCompletion) -> Iterator[str]:
        for choice in whole.choices:
            for call in choice.message.tool_calls:
                if call.function is not None:
                    yield f"tool call: {call.function.name}({call.function.arguments})"
                elif call.custom is not None:
                    yield f"tool call: {call.custom.name}({call.custom.input})"
        yield from _endings(whole.choices)


class Complete(Endpoint):
    streaming = COMPLETIONS
    path = "/completions"
    model = None
    question_field = "prompt"

    def create(self, client: AnyClient) -> Any:
        return client.create_completion

    def body(self, messages: Sequence[Message], system: str | None = None) -> dict[str, Any]:
        return {"prompt": messages[-1]["content"]}

    def said(self, whole: Completion) -> str:
        return (whole.choices[0].text or "") if whole.choices else ""

    def remarks(self, whole: Completion) -> Iterator[str]:
        yield from _endings(whole.choices)


class Respond(Endpoint):
    streaming = RESPONSES
    path = "/responses"
    question_field = "input"
    system_field = "instructions"

    def create(self, client: AnyClient) -> Any:
        if not isinstance(client, Client):
            raise click.UsageError("--azure does not go with the Responses API here")
        return client.create_response

    def body(self, messages: Sequence[Message], system: str | None = None) -> dict[str, Any]:
        instructions = {} if system is None else {"instructions": system}
        return {**instructions, "input": list(messages)}

    def with_usage(self, body: dict[str, Any]) -> dict[str, Any]:
        return body  # it always tells

    def refusal(self, event: ResponseEvent, asked: Asked) -> str:
        is_refusal = event.type == "response.refusal.delta"
        return event.delta if is_refusal and isinstance(event.delta, str) else ""

    def reasoning(self, event: ResponseEvent, asked: Asked) -> str:
        wanted = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
        return event.delta if event.type in wanted and isinstance(event.delta, str) else ""

    def said(self, whole: Response) -> str:
        return whole.output_text

    def remarks(self, whole: Response) -> Iterator[str]:
        for item in whole.output:
            if item.get("type") == "function_call":
                yield f"tool call: {item.get('name')}({item.get('arguments')})"
        if whole.incomplete_details is not None:
            reason = whole.incomplete_details.reason or ""
            yield _CUT_SHORT.get(reason, f"the answer is incomplete: {reason}")

    def tokens(self, whole: Response) -> Tokens | None:
        usage = whole.usage
        if usage is None or usage.output_tokens is None:
            return None
        return Tokens(usage.input_tokens or 0, usage.output_tokens)


def _first(choices: Sequence[Any], asked: Asked) -> Sequence[Any]:
    """Those of an event's choices that are of the first one: if one was asked for and one came, it
    is that, whatever its index.
    """
    if asked.one_choice and len(choices) == 1:
        return choices
    return [choice for choice in choices if not choice.index]


def _endings(choices: Sequence[Any]) -> Iterator[str]:
    if len(choices) > 1:
        yield f"there are {len(choices)} choices, and this is the first: --json shows all"
    for reason in {choice.finish_reason for choice in choices} & _CUT_SHORT.keys():
        yield _CUT_SHORT[reason]


CHAT, COMPLETE, RESPOND = Chat(), Complete(), Respond()
#: By their paths.
ENDPOINTS: dict[str, Endpoint] = {one.path: one for one in (CHAT, COMPLETE, RESPOND)}
