"""The fields of request bodies that the API documents, for type checkers and editors.

At run time any other field goes into the body as well. A type checker takes it for a misspelling;
``extra_body`` is the place for fields that only some servers know.

Source: OpenAI API reference, "Chat Completions", "Completions (legacy)" and "Responses".

This module does not import ``annotations`` from ``__future__``: each of its annotations would be
compiled by itself when it is imported.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from .models import Model

__all__ = ["ChatBody", "ChatMessage", "CompletionBody", "ResponseBody"]

JSON: TypeAlias = Mapping[str, Any]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class _Role(TypedDict):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]


class ChatMessage(_Role, total=False):
    """One of ``messages``. Other dicts, and messages of an answer, are taken too."""

    content: str | Sequence[JSON] | None
    name: str
    refusal: str | None
    audio: JSON | None
    tool_calls: Sequence[JSON]
    tool_call_id: str
    function_call: JSON | None


class _Sampling(TypedDict, total=False):
    model: str
    metadata: Mapping[str, str] | None
    moderation: JSON | None
    prompt_cache_key: str
    prompt_cache_options: JSON
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    safety_identifier: str
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None
    stream_options: JSON | None
    temperature: float | None
    top_p: float | None
    user: str


class ChatBody(_Sampling, total=False):
    """What ``create_chat_completion`` sends."""

    messages: Iterable[ChatMessage | JSON | Model]
    audio: JSON | None
    frequency_penalty: float | None
    function_call: Literal["none", "auto"] | JSON
    functions: Iterable[JSON]
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    max_completion_tokens: int | None
    max_tokens: int | None
    modalities: Sequence[Literal["text", "audio"]] | None
    n: int | None
    parallel_tool_calls: bool
    prediction: JSON | None
    presence_penalty: float | None
    reasoning_effort: Effort | None
    response_format: JSON | type
    seed: int | None
    stop: str | Sequence[str] | None
    store: bool | None
    tool_choice: Literal["none", "auto", "required"] | JSON
    tools: Iterable[JSON]
    top_logprobs: int | None
    verbosity: Literal["low", "medium", "high"] | None
    web_search_options: JSON


class CompletionBody(TypedDict, total=False):
    """What ``create_completion`` sends."""

    model: str
    prompt: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | None
    best_of: int | None
    echo: bool | None
    frequency_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: int | None
    max_tokens: int | None
    n: int | None
    presence_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    stream_options: JSON | None
    suffix: str | None
    temperature: float | None
    top_p: float | None
    user: str


class ResponseBody(_Sampling, total=False):
    """What ``create_response`` sends."""

    input: str | Iterable[JSON | Model]
    access_programs: Any
    background: bool | None
    background_options: JSON
    context_management: Iterable[JSON] | None
    conversation: str | JSON | None
    image: JSON
    include: Sequence[str] | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    parallel_tool_calls: bool | None
    previous_response_id: str | None
    prompt: JSON | None
    reasoning: JSON | None
    store: bool | None
    text: JSON
    text_format: JSON | type
    tool_choice: Literal["none", "auto", "required"] | JSON
    tools: Iterable[JSON]
    top_logprobs: int | None
    truncation: Literal["auto", "disabled"] | None
