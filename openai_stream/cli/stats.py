"""``--stats``: how fast an answer came, and what it used."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from openai_stream import Stream

from .endpoints import Endpoint, Reading
from .notes import console

__all__ = ["Stopwatch"]


class Stopwatch:
    """Notes when the first text came; the rest the stream knows.

    :param endpoint: which kind of events.
    :param body: of the request, where it is known.
    """

    def __init__(self, endpoint: Endpoint, body: Mapping[str, Any] | None = None) -> None:
        self._endpoint = endpoint
        self._reading = Reading(endpoint, body)
        self._begun = time.monotonic()
        self._first: float | None = None

    def event(self, event: Any) -> None:
        """Look at an event."""
        if self._first is None and (self._reading.text(event) or self._reading.reasoning(event)):
            self._first = time.monotonic() - self._begun

    def show(self, stream: Stream[Any, Any]) -> None:
        """Print the figures of a stream, ended or stopped, to standard error."""
        stats = stream.stats
        generating = stats.seconds - (stats.first_event_seconds or 0.0)
        lines = [
            ("first token", _seconds(self._first)),
            ("longest gap", _seconds(stats.longest_gap_seconds)),
            ("whole", _seconds(stats.seconds)),
            ("events", f"{stats.events} ({_rate(stats.events, generating)})"),
        ]
        tokens = self._endpoint.tokens(stream.snapshot())
        if tokens is None:
            lines.append(("tokens", "not reported by the server"))
        else:
            lines += [
                ("tokens", f"{tokens.answer} ({_rate(tokens.answer, generating)})"),
                (
                    "usage",
                    f"{tokens.prompt} prompt + {tokens.answer} answer = "
                    f"{tokens.prompt + tokens.answer} tokens",
                ),
            ]
        out = console()
        for name, value in lines:
            out.print(Text(f"{name:12} {value}", style="dim"))


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:.1f}/s" if seconds > 0 else "-"
