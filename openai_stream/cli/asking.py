"""One question and its answer, for the commands that ask one and for the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from openai_stream import EventQueue, Restarted

from .endpoints import Endpoint, Message
from .notes import remark
from .output import Output
from .stats import Stopwatch
from .targets import AnyClient

__all__ = ["Asking", "show"]


@attrs.frozen
class Asking:
    """How questions are asked.

    :param endpoint: of which API.
    :param client: of whom.
    :param fields: of each request, besides the messages; ``model`` among them.
    :param system: what the model is told first.
    :param restarts: how often an answer that broke off is asked for again.
    :param stats: whether to print figures.
    """

    endpoint: Endpoint
    client: AnyClient
    fields: dict[str, Any]
    system: str | None = None
    restarts: int = 0
    stats: bool = False

    def start(self, messages: Sequence[Message]) -> EventQueue[Any]:
        """Ask, and return at once.

        :param messages: the last one is the question.
        """
        body = {**self.endpoint.body(messages, self.system), **self.fields}
        if self.stats:
            body = self.endpoint.with_usage(body)
        # In ``extra_body``, fields may share a name with an argument of the call. The model is in
        # the address too where it is a deployment.
        create = self.endpoint.create(self.client)
        events: EventQueue[Any] = create(
            stream=True,
            nowait=True,
            restarts=self.restarts,
            model=body.pop("model"),
            extra_body=body,
        )
        return events

    def show(self, events: EventQueue[Any], output: Output) -> None:
        """Show an answer as it comes; it is stopped when that ends early.

        :raises openai_stream.OpenAIStreamError: there is none, or it broke off.
        """
        show(self.endpoint, events, output, self.stats, self.fields)


def show(
    endpoint: Endpoint,
    events: EventQueue[Any],
    output: Output,
    stats: bool,
    body: Mapping[str, Any],
) -> None:
    """Show an answer; see :meth:`Asking.show`.

    :param body: of the request.
    """
    stopwatch = Stopwatch(endpoint, body)
    try:
        try:
            with events:
                for item in events:
                    if isinstance(item, Restarted):
                        output.restarted(item)
                    else:
                        stopwatch.event(item)
                        output.event(item)
        finally:
            output.end()
        for text in endpoint.remarks(events.stream.result()):
            remark(text)
    finally:
        if stats and events.stream.stats.events:
            stopwatch.show(events.stream)
