"""The names of OpenTelemetry's GenAI conventions that may show, and where they are from.

Read in November 2026. Two states of them are told, as ``conventions=`` of ``otel.instrument()``
names them:

``old``
    https://github.com/open-telemetry/semantic-conventions, version 1.41.0, docs/gen-ai: the last
    one that was published there; of it, what this library has given since its beginning.
``new``
    https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md
    and openai.md, which are generated from the registry in its folder model/, as of commit
    024a4f944a1291fcb627c9c47da69e79868dd15e; it has published no version yet.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HTTP", "METRICS", "SPAN"]


class Metric(NamedTuple):
    """What the registry says of a metric.

    :param kind: of instrument.
    :param more: the attributes beside those of each metric.
    """

    kind: str
    unit: str
    more: frozenset[str] = frozenset()


#: The attributes of each metric.
EACH = frozenset(
    f"gen_ai.{name}" for name in ("operation.name", "provider.name", "request.model")
) | {"gen_ai.response.model", "server.address", "server.port"}
_ERROR = frozenset({"error.type"})
# What OpenAI's own conventions add, to all but the times of chunks.
_OPENAI = frozenset({"openai.response.service_tier", "openai.response.system_fingerprint"})
_MODALITY = frozenset({"gen_ai.token.modality"}) | _OPENAI

METRICS = {
    "old": {
        "gen_ai.client.operation.duration": Metric("histogram", "s", _ERROR),
        "gen_ai.client.operation.time_to_first_chunk": Metric("histogram", "s"),
    },
    "new": {
        "gen_ai.client.inference.duration": Metric("histogram", "s", _ERROR | _OPENAI),
        "gen_ai.client.inference.time_to_first_chunk": Metric("histogram", "s"),
        "gen_ai.client.inference.time_per_output_chunk": Metric("histogram", "s"),
        "gen_ai.client.inference.usage.input_tokens": Metric("counter", "{token}", _MODALITY),
        "gen_ai.client.inference.usage.output_tokens": Metric("counter", "{token}", _MODALITY),
        "gen_ai.client.inference.usage.cache_read.input_tokens": Metric(
            "counter", "{token}", _MODALITY
        ),
        "gen_ai.client.inference.usage.cache_write.input_tokens": Metric(
            "counter", "{token}", _MODALITY
        ),
        "gen_ai.client.inference.usage.reasoning.output_tokens": Metric(
            "counter", "{token}", _MODALITY
        ),
        "gen_ai.client.inference.operation.input_tokens": Metric("histogram", "{token}", _OPENAI),
        "gen_ai.client.inference.operation.output_tokens": Metric("histogram", "{token}", _OPENAI),
    },
}
METRICS["both"] = METRICS["old"] | METRICS["new"]

_OLD_SPAN = """
error.type
gen_ai.input.messages
gen_ai.operation.name
gen_ai.output.messages
gen_ai.output.type
gen_ai.provider.name
gen_ai.request.choice.count
gen_ai.request.frequency_penalty
gen_ai.request.max_tokens
gen_ai.request.model
gen_ai.request.presence_penalty
gen_ai.request.seed
gen_ai.request.stop_sequences
gen_ai.request.stream
gen_ai.request.temperature
gen_ai.request.top_p
gen_ai.response.finish_reasons
gen_ai.response.id
gen_ai.response.model
gen_ai.response.time_to_first_chunk
gen_ai.system_instructions
gen_ai.usage.cache_read.input_tokens
gen_ai.usage.input_tokens
gen_ai.usage.output_tokens
gen_ai.usage.reasoning.output_tokens
openai.api.type
server.address
server.port
"""
_SPAN_SINCE = """
gen_ai.conversation.id
gen_ai.request.previous_response.id
gen_ai.request.reasoning.level
gen_ai.request.top_k
gen_ai.tool.definitions
gen_ai.usage.audio.cache_read.input_tokens
gen_ai.usage.audio.input_tokens
gen_ai.usage.audio.output_tokens
gen_ai.usage.cache_write.input_tokens
gen_ai.usage.image.cache_read.input_tokens
gen_ai.usage.image.input_tokens
gen_ai.usage.image.output_tokens
gen_ai.usage.text.cache_read.input_tokens
gen_ai.usage.text.input_tokens
gen_ai.usage.text.output_tokens
openai.request.service_tier
openai.response.service_tier
openai.response.system_fingerprint
"""

#: The attributes that a span may have.
SPAN = {"old": frozenset(_OLD_SPAN.split())}
SPAN["new"] = SPAN["both"] = SPAN["old"] | frozenset(_SPAN_SINCE.split())

#: The attributes of an attempt's span that the conventions for HTTP have, as of version 1.41.0 of
#: https://github.com/open-telemetry/semantic-conventions, docs/http/http-spans.md.
HTTP = frozenset(
    (
        "error.type",
        "http.request.method",
        "http.request.resend_count",
        "http.response.status_code",
        "server.address",
        "server.port",
        "url.full",
    )
)
