"""OpenTelemetry: a span and metrics for each call, by the GenAI semantic conventions.

Install it with the extra ``otel``, and once, at the program's start::

    from openai_stream import otel

    otel.instrument()

Each call, streamed or not, is then a span of kind ``CLIENT``, a child of the caller's current one,
named after its operation and its model: ``chat gpt-6-luna``. It covers retries, restarts and
fallbacks, with a child for each request if there were more than one (:mod:`.attempts`), and ends
whenever the call does: when the answer is whole (that of a drained stream too), when it fails, when
the stream is closed or dropped. The metrics are ``gen_ai.client.operation.duration`` and, of
streams, ``gen_ai.client.operation.time_to_first_chunk``, in seconds; ``conventions="new"`` has the
names that they got in 2026, and more metrics.

Programs that are run by ``opentelemetry-instrument`` need no line of code: it finds
:class:`Instrumentor`.

``error.type`` is the name of the exception's class, ``RateLimitError`` say. That a stream was
closed is no error.

Source: OpenTelemetry, "Semantic conventions for generative AI", spans, metrics and OpenAI; until
version 1.41.0 in the repository semantic-conventions, since then in semantic-conventions-genai.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, get_args

import attrs

from openai_stream.extras import install

try:
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import (
        Span,
        SpanKind,
        Status,
        StatusCode,
        Tracer,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
except ImportError as error:
    raise ImportError(f"openai_stream.otel needs OpenTelemetry: {install('otel')}") from error

from openai_stream import observers
from openai_stream._version import VERSION

from . import attributes
from .attempts import FALLBACK, add_attempts
from .attributes import Attributes
from .messages import input_messages, output_messages, tool_definitions
from .metrics import Conventions, Measured, Metrics
from .usage import Tokens

__all__ = ["Instrumentor", "instrument", "uninstrument"]


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool = False,
    conventions: Conventions = "old",
) -> None:
    """Make spans and metrics of all calls from now on, on every client and thread.

    If it is called again, the new arguments apply.

    :param tracer_provider: gets the spans; the global one if ``None``.
    :param meter_provider: gets the metrics; the global one if ``None``.
    :param content: also keep what was asked and answered, as ``gen_ai.input.messages``,
        ``gen_ai.output.messages`` and ``gen_ai.system_instructions``, and the message of an error,
        in which a server may quote it.
    :param conventions: which names. ``"old"`` is what this library has always given, so that no
        dashboard goes blank and no metric is paid for twice unasked: metrics
        ``gen_ai.client.operation.*``. ``"new"`` is what the conventions say since they moved in
        2026: metrics ``gen_ai.client.inference.*``, tokens and the time of each chunk among them,
        and more attributes. ``"both"`` gives the metrics of both, for the time of a move; where one
        attribute of a span would say two things, it is the new one.
    :raises ValueError: there are no such conventions.

    .. versionadded:: 0.1
    """
    if conventions not in get_args(Conventions):
        raise ValueError(f"conventions is 'old', 'new' or 'both', not {conventions!r}")
    tracer = get_tracer("openai_stream", VERSION, tracer_provider)
    metrics = Metrics(get_meter("openai_stream", VERSION, meter_provider), conventions)
    now = conventions != "old"

    def begin(call: observers.Call) -> observers.Ended:
        body = call.body()
        common = attributes.common(call, body)
        name = " ".join(
            common[key]
            for key in ("gen_ai.operation.name", "gen_ai.request.model")
            if key in common
        )
        told = {**common, **attributes.asked(call, body)}
        if now:
            told |= attributes.now_asked(body, common["gen_ai.provider.name"])
        if content:
            told |= input_messages(body, reasoning=now) | (tool_definitions(body) if now else {})
        span = tracer.start_span(
            call.clean(name), kind=SpanKind.CLIENT, attributes=attributes.cleaned(told, call)
        )
        return _Operation(call, span, common, tracer, metrics, content, conventions).end

    observers.observer = begin


def uninstrument() -> None:
    """Make no further spans and metrics; those of calls that have begun are still ended.

    .. versionadded:: 0.1
    """
    observers.observer = None


class Instrumentor:
    """What ``opentelemetry-instrument`` finds, by the entry point ``openai_stream``, and turns on.

    It is used like a ``BaseInstrumentor``, but is not one, so that it needs only the API. What
    it is not given it takes from the environment: ``conventions`` is ``"new"`` if
    ``OTEL_SEMCONV_STABILITY_OPT_IN`` has ``gen_ai_latest_experimental``, and ``content`` is on if
    ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``, ``span_only`` or
    ``span_and_event``. What a program says with :func:`instrument` itself counts, whenever it does.

    .. versionadded:: 0.1
    """

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Spans and metrics are made.

        .. versionadded:: 0.1
        """
        return observers.observer is not None

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Empty: it comes with what it instruments.

        .. versionadded:: 0.1
        """
        return ()

    def instrument(self, **options: Any) -> None:
        """Call :func:`instrument`, unless that is done.

        :param options: its arguments; others, which are for other libraries, are left out.

        .. versionadded:: 0.1
        """
        if self.is_instrumented_by_opentelemetry:
            return
        names = ("tracer_provider", "meter_provider", "content", "conventions")
        given = {name: options[name] for name in names if name in options}
        instrument(**{**_from_environment(), **given})

    def uninstrument(self, **options: Any) -> None:
        """Call :func:`uninstrument`.

        :param options: none that matter.

        .. versionadded:: 0.1
        """
        uninstrument()


def _from_environment() -> dict[str, Any]:
    def said(variable: str) -> list[str]:
        return [word.strip().lower() for word in os.environ.get(variable, "").split(",")]

    latest = "gen_ai_latest_experimental" in said("OTEL_SEMCONV_STABILITY_OPT_IN")
    (captured, *_) = said("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
    return {
        "conventions": "new" if latest else "old",
        "content": captured in ("true", "span_only", "span_and_event"),
    }


@attrs.frozen
class _Operation:
    """A call that has begun.

    :param call: what began.
    :param common: the attributes that its metrics have too.
    :param tracer: makes the spans of its attempts.
    """

    _call: observers.Call
    _span: Span
    _common: Attributes
    _tracer: Tracer
    _metrics: Metrics
    _content: bool
    _conventions: Conventions
    _begun: float = attrs.field(factory=time.monotonic)

    def end(self, outcome: observers.Outcome) -> None:
        """Tell how it ended."""
        seconds = time.monotonic() - self._begun
        span, common, failed = self._span, dict(self._common), outcome.error
        first = outcome.first_event_seconds
        attempts = self._call.attempts
        try:
            if attempts and (number := attempts[-1].fallback):
                # Its tokens are its provider's, and for its model.
                last = attempts[-1].call
                common = attributes.common(last, last.body())
                span.set_attributes(attributes.cleaned({**common, FALLBACK: number}, last))
            answer = _plain(None if outcome.answer is None else outcome.answer())
            tokens = Tokens.of(answer)
            own: Attributes = {}
            if self._conventions == "old":
                told = attributes.answered(answer, attributes.finish_reasons(answer))
            else:
                reasons = attributes.now_finish_reasons(answer, outcome.whole)
                own = attributes.of_openai(answer, common["gen_ai.provider.name"])
                told = attributes.answered(answer, reasons) | attributes.now_answered(answer)
                told |= own | tokens.attributes()
            if self._content:
                told |= output_messages(
                    answer,
                    reasoning=self._conventions != "old",
                    reasons=self._conventions != "new",
                )
            span.set_attributes(attributes.cleaned(told, self._call))
            if isinstance(model := answer.get("model"), str):
                common["gen_ai.response.model"] = model
            if first is not None:
                span.set_attribute("gen_ai.response.time_to_first_chunk", first)
            failure = {} if failed is None else {"error.type": type(failed).__qualname__}
            if failed is not None:
                span.set_attributes(failure)
                said = str(failed) if self._content else None
                span.set_status(Status(StatusCode.ERROR, said))
            add_attempts(self._tracer, span, attempts, outcome)
            context = set_span_in_context(span)  # for exemplars
        finally:
            span.end()
        self._metrics.record(
            Measured(
                is_inference=attributes.is_inference(self._call),
                seconds=seconds,
                first_chunk=first,
                chunks=outcome.chunk_seconds,
                tokens=tokens,
                common=attributes.cleaned(common, self._call),
                own=attributes.cleaned(own, self._call),
                failure=failure,
                context=context,
            )
        )


def _plain(answer: Any) -> Mapping[str, Any]:
    """An answer as the JSON that it was; of one that is no object, nothing."""
    to_dict = getattr(answer, "to_dict", None)
    return attributes.mapping(to_dict() if callable(to_dict) else answer)
