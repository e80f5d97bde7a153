"""The metrics of a call, under the names of the conventions that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter

from .attributes import Attributes
from .usage import Tokens

__all__ = ["Conventions", "Measured", "Metrics"]

#: Which names: those of before, those of now, or all of them.
Conventions = Literal["old", "new", "both"]

#: As the conventions advise, in seconds.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
#: And in tokens.
_TOKENS = tuple(4**power for power in range(14))

_COUNTED = {
    "input_tokens": "Tokens of the input, cached ones included.",
    "output_tokens": "Tokens of the output, those of reasoning included.",
    "cache_read.input_tokens": "Tokens of the input that came from a cache.",
    "cache_write.input_tokens": "Tokens of the input that were written to a cache.",
    "reasoning.output_tokens": "Tokens of the output that were spent on reasoning.",
}


@attrs.frozen
class Measured:
    """A call that has ended.

    :param is_inference: a model was asked to answer; other operations keep the names of before.
    :param seconds: how long it took.
    :param first_chunk: seconds to the first event of a stream; ``None`` if there was none.
    :param chunks: seconds from one event to the next.
    :param tokens: what it used.
    :param common: the attributes of each metric.
    :param own: those that the provider's own conventions add, to the metrics of now.
    :param failure: ``error.type``, if it failed.
    :param context: for exemplars.
    """

    is_inference: bool
    seconds: float
    first_chunk: float | None
    chunks: Sequence[float]
    tokens: Tokens
    common: Attributes
    own: Attributes
    failure: Attributes
    context: Context


class Metrics:
    """Records what was measured.

    :param meter: makes the instruments.
    :param conventions: which names.
    """

    def __init__(self, meter: Meter, conventions: Conventions) -> None:
        def seconds(name: str, description: str) -> Histogram:
            return meter.create_histogram(
                f"gen_ai.client.{name}", "s", description,
                explicit_bucket_boundaries_advisory=_SECONDS,
            )  # fmt: skip

        self._old = conventions != "new"
        self._new = conventions != "old"
        # What is no inference keeps this one.
        self._operation = seconds("operation.duration", "GenAI operation duration.")
        first = "Time from the request to the first chunk of a streamed response."
        if self._old:
            self._old_first_chunk = seconds("operation.time_to_first_chunk", first)
        if self._new:
            self._inference = seconds("inference.duration", "Duration of a model's inference.")
            self._first_chunk = seconds("inference.time_to_first_chunk", first)
            self._chunk = seconds(
                "inference.time_per_output_chunk",
                "Time from one chunk of a streamed response to the next.",
            )
            self._counters = {
                kind: meter.create_counter(
                    f"gen_ai.client.inference.usage.{kind}", "{token}", _COUNTED[kind]
                )
                for kind in Tokens.KINDS
            }
            self._distributions = {
                kind: meter.create_histogram(
                    f"gen_ai.client.inference.operation.{kind}",
                    "{token}",
                    f"{_COUNTED[kind][:-1]}, by operation.",
                    explicit_bucket_boundaries_advisory=_TOKENS,
                )
                for kind in ("input_tokens", "output_tokens")
            }

    def record(self, measured: Measured) -> None:
        """Record a call. Costs as much as the SDK takes for each value, so one for each chunk."""
        common, context = measured.common, measured.context
        if self._old or not measured.is_inference:
            self._operation.record(measured.seconds, {**common, **measured.failure}, context)
        if self._old and measured.first_chunk is not None:
            self._old_first_chunk.record(measured.first_chunk, common, context)
        if self._new and measured.is_inference:
            self._record_inference(measured)

    def _record_inference(self, measured: Measured) -> None:
        common, context, tokens = measured.common, measured.context, measured.tokens
        full: dict[str, Any] = {**common, **measured.own}
        self._inference.record(measured.seconds, {**full, **measured.failure}, context)
        if measured.first_chunk is not None:
            self._first_chunk.record(measured.first_chunk, common, context)
        record = self._chunk.record
        for seconds in measured.chunks:
            record(seconds, common, context)
        # The counters are for sums, so a call that failed counts; a percentile is of good ones.
        for kind, counter in self._counters.items():
            for modality, count in tokens.split(kind):
                counter.add(count, {**full, "gen_ai.token.modality": modality}, context)
        if not measured.failure:
            for kind, histogram in self._distributions.items():
                if kind in tokens.counts:
                    histogram.record(tokens.counts[kind], full, context)
