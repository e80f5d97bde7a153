"""Whether an outcome is the right value of a report: one rule, for this library and for others."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from openai_stream.testing import ScriptedServer

from .row import JSON, Fails, Report, Whole

RIGHT = "right"
COMPARED = ("message", "messages", "finish_reason", "usage", "output", "text", "data", "events")


def played(report: Report, player: Callable[[JSON], JSON]) -> tuple[JSON, list[float]]:
    """The outcome of a report, and when each of its requests came."""
    with ScriptedServer() as server:
        server.play(report.sent, *report.again)
        job = {"endpoint": report.endpoint, "body": dict(report.body), "stream": report.stream}
        outcome = player({**job, "url": server.base_url, "retries": len(report.again)})
        return outcome, [request.received_at for request in server.requests]


def verdict(report: Report, outcome: JSON, times: Sequence[float]) -> str:
    """``right``, or in a few words what is wrong with what this library made of a report."""
    error = outcome.get("error")
    if report.requests not in (None, len(times)):
        return f"{len(times)} requests"
    if len(times) > 1 and times[1] - times[0] < report.waits:
        return f"waited {times[1] - times[0]:.3f} s"
    if isinstance(report.right, Fails):
        return "looks whole" if error is None else _of_error(report.right, error)
    if error is not None:
        return f"{error['class']}: {error['said'][:100]}"
    return difference(report.right, outcome)


def _of_error(right: Fails, error: JSON) -> str:
    if error["class"] != right.error:
        return f"{error['class']}: {error['said'][:100]}"
    if right.said not in error["said"] or (right.unsaid and right.unsaid in error["said"]):
        return f"says {error['said']!r}"
    if right.held is not None and right.held != (held := text_of(error["snapshot"] or {})):
        return f"holds {held!r}"
    for name, value in right.attributes.items():
        if error["attributes"].get(name) != value:
            return f"{name} is {error['attributes'].get(name)!r}"
    return RIGHT


def difference(
    right: Whole, outcome: JSON, *, same: Callable[[Any, Any], bool] = operator.eq
) -> str:
    """``right``, or the first thing in which a whole answer is not as it should be.

    :param same: whether what came is what is right.
    """
    whole = outcome["whole"]
    fields = whole if isinstance(whole, dict) else {}
    messages = [message_of(choice) for choice in fields.get("choices") or []]
    got = {
        **fields,
        "messages": messages,
        "message": messages[0] if len(messages) == 1 else f"{len(messages)} choices",
        "finish_reason": fields["choices"][0].get("finish_reason") if messages else None,
        "text": outcome.get("text"),
        "data": whole,
        "events": outcome.get("events"),
    }
    asked = {name: getattr(right, name) for name in COMPARED}
    for name, value in {**asked, **right.fields}.items():
        if value is not None and not same(got.get(name), value):
            return f"{name} {got.get(name)!r}"
    return RIGHT


def message_of(choice: JSON) -> Any:
    """Of a whole chat completion, or of a text completion."""
    return choice["message"] if "message" in choice else choice.get("text")


def text_of(whole: JSON) -> str:
    """The text of choice 0, or of a response."""
    if whole.get("choices"):
        message = message_of(whole["choices"][0])
        content = message if isinstance(message, str) else message.get("content")
    else:
        items = whole.get("output") or []
        content = [part for item in items for part in item.get("content") or []]
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""
