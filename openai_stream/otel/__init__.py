"""OpenTelemetry: a span and two metrics for each call, by the GenAI semantic conventions.

Install it with the extra ``otel``, and once, at the program's start::

    from openai_stream import otel

    otel.instrument()

Each call, streamed or not, is then a span of kind ``CLIENT``, a child of the caller's current one,
named after its operation and its model: ``chat gpt-6-luna``. It covers retries and restarts, and
ends whenever the call does: when the answer is whole (that of a drained stream too), when it fails,
when the stream is closed or dropped. The metrics are ``gen_ai.client.operation.duration`` and, of
streams, ``gen_ai.client.operation.time_to_first_chunk``, in seconds.

``error.type`` is the name of the exception's class, ``RateLimitError`` say. That a stream was
closed is no error.

Source: OpenTelemetry, "Semantic conventions for generative AI", spans, metrics and OpenAI.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs

from openai_stream.extras import install

try:
    from opentelemetry.metrics import Histogram, MeterProvider, get_meter
    from opentelemetry.trace import (
        Span,
        SpanKind,
        Status,
        StatusCode,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
except ImportError as error:
    raise ImportError(f"openai_stream.otel needs OpenTelemetry: {install('otel')}") from error

from openai_stream import observers
from openai_stream._version import VERSION

from . import attributes
from .attributes import Attributes
from .messages import input_messages, output_messages

__all__ = ["instrument", "uninstrument"]

#: As the conventions advise, in seconds.
_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool = False,
) -> None:
    """Make spans and metrics of all calls from now on, on every client and thread.

    Called again, the new arguments count.

    :param tracer_provider: gets the spans; the global one if ``None``.
    :param meter_provider: gets the metrics; the global one if ``None``.
    :param content: also keep what was asked and answered, as ``gen_ai.input.messages``,
        ``gen_ai.output.messages`` and ``gen_ai.system_instructions``, and the message of an error,
        in which a server may quote it.

    .. versionadded:: 0.1
    """
    tracer = get_tracer("openai_stream", VERSION, tracer_provider)
    meter = get_meter("openai_stream", VERSION, meter_provider)

    def histogram(name: str, description: str) -> Histogram:
        return meter.create_histogram(
            name, "s", description, explicit_bucket_boundaries_advisory=_BUCKETS
        )

    duration = histogram("gen_ai.client.operation.duration", "GenAI operation duration.")
    first_chunk = histogram(
        "gen_ai.client.operation.time_to_first_chunk",
        "Time from the request to the first chunk of a streamed response.",
    )

    def begin(call: observers.Call) -> observers.Ended:
        body = call.body()
        common = attributes.common(call, body)
        name = " ".join(
            common[key]
            for key in ("gen_ai.operation.name", "gen_ai.request.model")
            if key in common
        )
        told = {
            **common,
            **attributes.asked(call, body),
            **(input_messages(body) if content else {}),
        }
        span = tracer.start_span(
            call.clean(name), kind=SpanKind.CLIENT, attributes=attributes.cleaned(told, call)
        )
        return _Operation(call, span, common, duration, first_chunk, content).end

    observers.observer = begin


def uninstrument() -> None:
    """Make no more spans and metrics; those of calls that have begun are ended yet.

    .. versionadded:: 0.1
    """
    observers.observer = None


@attrs.frozen
class _Operation:
    """A call that has begun.

    :param call: what began.
    :param common: the attributes that its metrics have too.
    """

    _call: observers.Call
    _span: Span
    _common: Attributes
    _duration: Histogram
    _first_chunk: Histogram
    _content: bool
    _begun: float = attrs.field(factory=time.monotonic)

    def end(self, outcome: observers.Outcome) -> None:
        """Tell how it ended."""
        seconds = time.monotonic() - self._begun
        span, common, failed = self._span, dict(self._common), outcome.error
        first = outcome.first_event_seconds
        try:
            answer = _plain(None if outcome.answer is None else outcome.answer())
            span.set_attributes(attributes.cleaned(attributes.answered(answer), self._call))
            if self._content:
                span.set_attributes(attributes.cleaned(output_messages(answer), self._call))
            if isinstance(model := answer.get("model"), str):
                common["gen_ai.response.model"] = model
            common = attributes.cleaned(common, self._call)
            if first is not None:
                span.set_attribute("gen_ai.response.time_to_first_chunk", first)
            failure = {} if failed is None else {"error.type": type(failed).__qualname__}
            if failed is not None:
                span.set_attributes(failure)
                said = str(failed) if self._content else None
                span.set_status(Status(StatusCode.ERROR, said))
            context = set_span_in_context(span)  # for exemplars
            self._duration.record(seconds, {**common, **failure}, context)
            if first is not None:
                self._first_chunk.record(first, common, context)
        finally:
            span.end()


def _plain(answer: Any) -> Mapping[str, Any]:
    """An answer as the JSON that it was; of one that is no object, nothing."""
    to_dict = getattr(answer, "to_dict", None)
    return attributes.mapping(to_dict() if callable(to_dict) else answer)
