"""The attempts of a call that was more than one: a span of its own for each request.

They are children of the call's span and made when it ends, out of what was noted. A call that was
answered at the first request has none: they would say nothing new, and double what is exported.

Spans and not span events, which OpenTelemetry has deprecated in 2026, and which have no duration.
The conventions for HTTP ask for a span for each request that is sent; those for generative AI for
one over all of them, so only that one has ``gen_ai.operation.name``, the tokens, and the metrics:
whoever counts calls, tokens or costs counts nothing twice.

Source: OpenTelemetry, "Semantic conventions for HTTP spans", HTTP client span and resends.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from openai_stream.observers import Attempt, Outcome

from . import attributes
from .attributes import Attributes

__all__ = ["FALLBACK", "add_attempts"]

#: The number of the fallback that was asked; the conventions have no name for it.
FALLBACK = "openai_stream.fallback"


def add_attempts(
    tracer: Tracer, parent: Span, attempts: Sequence[Attempt], outcome: Outcome
) -> None:
    """Give the span of a call a child for each of its attempts, if they were more than one.

    :param outcome: of the call, and so of its last attempt.
    """
    if len(attempts) < 2:
        return
    context = set_span_in_context(parent)
    now = time.time_ns()
    for attempt in attempts:
        error = attempt.error
        if attempt.ended is None and outcome.error is not None:
            error = type(outcome.error).__qualname__
        span = tracer.start_span(
            f"{attempt.method} {attempt.call.clean(attempt.call.path)}",
            context,
            SpanKind.CLIENT,
            attributes.cleaned(_said(attempt, error), attempt.call),
            start_time=attempt.begun,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(now if attempt.ended is None else attempt.ended)


def _said(attempt: Attempt, error: str | None) -> Attributes:
    common = attributes.common(attempt.call, attempt.call.body())
    del common["gen_ai.operation.name"]  # it is not the operation
    said: Attributes = {
        **common,
        "http.request.method": attempt.method,
        "url.full": attempt.where,
    }
    optional = {
        "http.request.resend_count": attempt.resends or None,
        "http.response.status_code": attempt.status,
        "error.type": error,
        FALLBACK: attempt.fallback or None,
        "openai_stream.attempt.reason": attempt.why,
    }
    said.update({name: value for name, value in optional.items() if value is not None})
    return said
