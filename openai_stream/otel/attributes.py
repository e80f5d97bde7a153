"""The attributes of a span: what was asked, and what was answered.

What :func:`asked` and :func:`answered` give is there whatever the conventions are; what these have
added since is in :func:`now_asked` and :func:`now_answered`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from openai_stream.observers import Call

__all__ = [
    "Attributes",
    "answered",
    "asked",
    "cleaned",
    "common",
    "finish_reasons",
    "is_inference",
    "items",
    "mapping",
    "now_answered",
    "now_asked",
    "now_finish_reasons",
    "of_openai",
]

Attributes = dict[str, Any]

#: By the path of the endpoint; of another one the path says what is done.
_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
}
#: Whose own attributes are OpenAI's.
_OPENAI = frozenset({"openai", "azure.ai.openai"})
_API_TYPES = {"/chat/completions": "chat_completions", "/responses": "responses"}

#: By the host's name. What speaks OpenAI's API elsewhere is told by its address.
_PROVIDERS = {
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}

_NUMBER = (int, float)
#: Of a request: the attribute, the fields that may have it, and of which type.
_REQUEST = (
    ("gen_ai.request.temperature", ("temperature",), _NUMBER),
    ("gen_ai.request.top_p", ("top_p",), _NUMBER),
    ("gen_ai.request.frequency_penalty", ("frequency_penalty",), _NUMBER),
    ("gen_ai.request.presence_penalty", ("presence_penalty",), _NUMBER),
    (
        "gen_ai.request.max_tokens",
        ("max_completion_tokens", "max_output_tokens", "max_tokens"),
        (int,),
    ),
    ("gen_ai.request.seed", ("seed",), (int,)),
)
#: Of a usage: the attribute, and the paths that may lead to it.
_USAGE = (
    ("gen_ai.usage.input_tokens", ("prompt_tokens",), ("input_tokens",)),
    ("gen_ai.usage.output_tokens", ("completion_tokens",), ("output_tokens",)),
    (
        "gen_ai.usage.cache_read.input_tokens",
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
    ),
    (
        "gen_ai.usage.reasoning.output_tokens",
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
    ),
)


def common(call: Call, body: Mapping[str, Any]) -> Attributes:
    """What spans and metrics both have, and samplers want at the start."""
    url = urlsplit(call.url)
    host = url.hostname or ""
    azure = call.provider == "azure" or host.endswith(".openai.azure.com")
    provider = "azure.ai.openai" if azure else _PROVIDERS.get(host, "openai")
    told: Attributes = {
        "gen_ai.operation.name": _OPERATIONS.get(call.path, call.path.strip("/")),
        "gen_ai.provider.name": provider,
        "server.address": host,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
    }
    if isinstance(model := body.get("model"), str):
        told["gen_ai.request.model"] = model
    return told


def is_inference(call: Call) -> bool:
    """A model is asked to answer."""
    return call.path in _OPERATIONS


def asked(call: Call, body: Mapping[str, Any]) -> Attributes:
    """What else a request says."""
    told: Attributes = {}
    if call.stream:
        told["gen_ai.request.stream"] = True
    if call.path in _API_TYPES:
        told["openai.api.type"] = _API_TYPES[call.path]
    for attribute, names, kinds in _REQUEST:
        for value in map(body.get, names):
            if isinstance(value, kinds) and not isinstance(value, bool):
                told[attribute] = value
                break
    if isinstance(count := body.get("n"), int) and not isinstance(count, bool) and count != 1:
        told["gen_ai.request.choice.count"] = count
    stop = body.get("stop")
    stops = [
        one for one in ([stop] if isinstance(stop, str) else items(stop)) if isinstance(one, str)
    ]
    if stops:
        told["gen_ai.request.stop_sequences"] = stops
    form = mapping(body.get("response_format")) or mapping(mapping(body.get("text")).get("format"))
    if isinstance(kind := form.get("type"), str):
        told["gen_ai.output.type"] = "json" if kind.startswith("json") else kind
    return told


def now_asked(body: Mapping[str, Any], provider: str) -> Attributes:
    """What a request says for which there are names by now.

    :param provider: as :func:`common` has it.
    """
    told: Attributes = {}
    effort = body.get("reasoning_effort", mapping(body.get("reasoning")).get("effort"))
    tier = body.get("service_tier")
    for attribute, value in (
        ("gen_ai.conversation.id", _conversation(body)),
        ("gen_ai.request.previous_response.id", body.get("previous_response_id")),
        ("gen_ai.request.reasoning.level", effort),
        ("openai.request.service_tier", None if tier == "auto" else tier),
    ):
        if isinstance(value, str) and (provider in _OPENAI or not attribute.startswith("openai.")):
            told[attribute] = value
    if isinstance(top_k := body.get("top_k"), int) and not isinstance(top_k, bool):
        told["gen_ai.request.top_k"] = top_k
    return told


def now_answered(answer: Mapping[str, Any]) -> Attributes:
    """What an answer says for which there are names by now; but for :func:`of_openai`."""
    conversation = _conversation(answer)
    return {} if conversation is None else {"gen_ai.conversation.id": conversation}


def of_openai(answer: Mapping[str, Any], provider: str) -> Attributes:
    """What only OpenAI's conventions have: which tier and system answered. For metrics too.

    :param provider: as :func:`common` has it.
    """
    return {
        f"openai.response.{name}": value
        for name in ("service_tier", "system_fingerprint")
        if provider in _OPENAI and isinstance(value := answer.get(name), str)
    }


def _conversation(said: Mapping[str, Any]) -> str | None:
    given = said.get("conversation")
    ident = mapping(given).get("id", given)
    return ident if isinstance(ident, str) else None


def answered(answer: Mapping[str, Any], reasons: list[str]) -> Attributes:
    """What an answer says, as far as it came.

    :param reasons: why its choices ended, by the conventions that are asked for.
    """
    told: Attributes = {}
    for attribute, name in (("gen_ai.response.id", "id"), ("gen_ai.response.model", "model")):
        if isinstance(value := answer.get(name), str):
            told[attribute] = value
    if reasons:
        told["gen_ai.response.finish_reasons"] = reasons
    for attribute, *paths in _USAGE:
        for path in paths:
            value = answer.get("usage")
            for name in path:
                value = mapping(value).get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                told[attribute] = value
    return told


def cleaned(told: Attributes, call: Call) -> Attributes:
    """The attributes without the call's secrets, which a server may quote in a name of a model."""
    return {
        name: call.clean(value)
        if isinstance(value, str)
        else [call.clean(one) if isinstance(one, str) else one for one in value]
        if isinstance(value, list)
        else value
        for name, value in told.items()
    }


def finish_reasons(answer: Mapping[str, Any]) -> list[str]:
    """Why it ended, for each choice that did; a response has a status instead."""
    reasons = [choice.get("finish_reason") for choice in map(mapping, items(answer.get("choices")))]
    if answer.get("object") == "response" and answer.get("status") != "in_progress":
        why = mapping(answer.get("incomplete_details")).get("reason")
        reasons = [why or answer.get("status")]
    return [reason for reason in reasons if isinstance(reason, str)]


def now_finish_reasons(answer: Mapping[str, Any], whole: bool) -> list[str]:
    """Why each choice ended, in their order: ``error`` for one that failed or was cut off.

    :param whole: the answer is complete.
    """
    reasons: list[Any]
    if answer.get("object") == "response":
        going_on = answer.get("status") in ("in_progress", "queued")
        reasons = [] if going_on else finish_reasons(answer)
        cut = not whole and not reasons
        return ["error"] if cut or reasons in (["failed"], ["cancelled"]) else reasons
    choices = map(mapping, items(answer.get("choices")))
    reasons = [choice.get("finish_reason") for choice in choices]
    if whole:  # a server that never tells is no error
        return [reason for reason in reasons if isinstance(reason, str)]
    return [reason if isinstance(reason, str) else "error" for reason in reasons]


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, if it is an object; an empty one otherwise: servers and callers differ."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value, if it is a list; an empty one otherwise."""
    return value if isinstance(value, list) else []
