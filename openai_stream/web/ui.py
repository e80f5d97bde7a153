"""A stream for pages that are made with Vercel's AI SDK: :func:`ui_messages`.

Source: AI SDK, "Stream Protocols", "Data Stream Protocol", version 1 of its header. Each chunk is
an event whose data is a JSON object with a ``type``. Text and reasoning are blocks that are opened,
grow and are closed; the SDK refuses a block that grows and is not open, so each is closed before
the next begins. What a part is, and when a tool call is whole, is decided by
:mod:`openai_stream.parts`.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from time import monotonic
from typing import Any

from openai_stream.parts import Call, CallDelta, Finish, Part, Reasoning
from openai_stream.stream import consuming
from openai_stream.stream.handles import EventQueue, Stream, Subscription, source_of
from openai_stream.stream.source import Source
from openai_stream.strict_json import loads

from .body import Body, nothing
from .failures import ErrorText, check_error_text, told, words_of
from .frames import KEEP_ALIVE, SILENCE, STREAM_HEADERS, frame

__all__ = ["UI_MESSAGES_HEADERS", "ui_messages"]

#: The headers of a response with :func:`ui_messages`: those of an event stream, and the protocol's.
UI_MESSAGES_HEADERS: dict[str, str] = {**STREAM_HEADERS, "X-Vercel-AI-UI-Message-Stream": "v1"}

_Chunk = dict[str, Any]

#: What the protocol calls the reasons why an answer ends; any other is "other".
_REASONS = {
    "stop": "stop",
    "completed": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "content_filter": "content-filter",
    "safety": "content-filter",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
    "function_call": "tool-calls",
}


def ui_messages(
    events: EventQueue[Any, Any],
    *,
    error_text: ErrorText | None = None,
) -> Body:
    """The bytes of a UI message stream, which ``useChat`` of Vercel's AI SDK reads.

    Text, reasoning, tool calls as they grow and when they are whole, and why the answer ends; of a
    refusal the text. One message of one step. A comment is sent after 15 seconds without a chunk.

    An error is an ``error`` chunk, after everything that arrived before it. Before it comes a
    transient one of the type ``data-error``, for the page's ``onData``: ``{"type": …, "code": …,
    "retryable": …}``. If the answer starts again (``restarts``) after some of it was sent, the
    error that caused that ends the message, as with :meth:`EventQueue.text
    <openai_stream.EventQueue.text>`.

    :param events: the queue of a stream, which is closed with the body; or a subscription
        (:meth:`Stream.subscribe <openai_stream.Stream.subscribe>`), with which only that ends.
    :param error_text: called with the error, gives the words that the page is to show, or ``None``.
        Without words the class of the error is shown; its own text is not sent.
    :raises TypeError: ``events`` is not the queue of a stream, or not one of the three endpoints
        whose events are known; ``error_text`` cannot be called.
    :raises RuntimeError: something else takes from the queue already.

    .. versionadded:: 0.1
    """
    check_error_text(error_text)
    if not isinstance(events, EventQueue):
        raise TypeError(
            f"ui_messages() takes the queue of a stream, not {type(events).__name__}; "
            "stream.subscribe() gives one"
        )
    source = source_of(events)
    source.parts(0)
    source.claim("ui_messages")
    is_owner = not isinstance(events, Subscription)
    blocks = _blocks(source, events.stream, error_text)
    return Body(blocks, events.close, source.abandon if is_owner else nothing)


class _Pace:
    """Knows how long the page has been sent nothing."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.sent()

    def sent(self) -> None:
        """Something was, just now."""
        self._due = monotonic() + SILENCE

    def take(self) -> Any:
        """The next item, unless a comment is due: there may be many that the page does not see.

        :raises queue.Empty: it is.
        """
        left = self._due - monotonic()
        if left <= 0:
            raise queue.Empty
        return self._source.take(left)


def _blocks(
    source: Source, stream: Stream[Any, Any], error_text: ErrorText | None
) -> Iterator[bytes]:
    """The chunks, as they come."""
    message = _Message(stream)
    error: Exception | None = None
    for chunk in message.begin():
        yield frame(chunk)
    pace = _Pace(source)
    parts = consuming.parts(source, 0, pace.take)
    while error is None:
        try:
            part = next(parts)
        except StopIteration:
            break
        except Exception as failure:
            # The stream keeps the error; its traceback, with this frame, would close a circle.
            error = failure.with_traceback(None)
            break
        if part is None:
            yield KEEP_ALIVE
            pace.sent()
            continue
        for chunk in message.add(part):
            yield frame(chunk)
            pace.sent()
    if error is not None:
        ending = message.fail(error, words_of(error, error_text))
    elif source.is_cut():
        ending = message.abort()
    else:
        ending = message.end()
    for chunk in ending:
        yield frame(chunk)
    yield b"data: [DONE]\n\n"


class _Message:
    """A message of the protocol, part by part.

    :param stream: where its parts come from.
    """

    def __init__(self, stream: Stream[Any, Any]) -> None:
        self._stream = stream
        #: What the block that is open is called, and its id.
        self._open: tuple[str, str] | None = None
        self._blocks = 0
        #: The ids of the calls, by their index.
        self._calls: dict[int, str] = {}
        self._finish: str | None = None

    def begin(self) -> list[_Chunk]:
        """What comes before all parts."""
        return [{"type": "start"}, {"type": "start-step"}]

    def add(self, part: Part) -> list[_Chunk]:
        """What a part adds."""
        if isinstance(part, CallDelta):
            return [*self._close(), *self._grow(part)]
        if isinstance(part, Call):
            return [*self._close(), self._call(part)]
        if isinstance(part, Finish):
            self._finish = part.reason
            return []
        kind = "reasoning" if isinstance(part, Reasoning) else "text"
        chunks = []
        if self._open is None or self._open[0] != kind:
            chunks = self._close()
            self._open = kind, str(self._blocks)
            self._blocks += 1
            chunks.append({"type": f"{kind}-start", "id": self._open[1]})
        return [*chunks, {"type": f"{kind}-delta", "id": self._open[1], "delta": part.text}]

    def end(self) -> list[_Chunk]:
        """What comes after all parts of an answer that ended well."""
        finish: _Chunk = {"type": "finish"}
        if self._finish is not None:
            finish["finishReason"] = self._reason(self._finish)
        return [*self._close(), {"type": "finish-step"}, finish]

    def abort(self) -> list[_Chunk]:
        """The same of one that was closed."""
        return [*self._close(), {"type": "abort"}]

    def fail(self, error: BaseException, words: str | None) -> list[_Chunk]:
        """The same of one that failed."""
        known = told(error)
        if words is None:
            code = known["code"]
            words = known["type"] if code is None else f"{known['type']} ({code})"
        return [
            *self._close(),
            {"type": "data-error", "data": known, "transient": True},
            {"type": "error", "errorText": words},
            {"type": "finish", "finishReason": "error"},
        ]

    def _close(self) -> list[_Chunk]:
        """Close the block that is open."""
        if self._open is None:
            return []
        (kind, ident), self._open = self._open, None
        return [{"type": f"{kind}-end", "id": ident}]

    def _grow(self, part: CallDelta) -> list[_Chunk]:
        chunks: list[_Chunk] = []
        ident = self._id(part)
        if part.name is not None:
            chunks.append({"type": "tool-input-start", "toolCallId": ident, "toolName": part.name})
        if part.arguments:
            chunks.append(
                {
                    "type": "tool-input-delta",
                    "toolCallId": ident,
                    "inputTextDelta": part.arguments,
                }
            )
        return chunks

    def _call(self, part: Call) -> _Chunk:
        call: _Chunk = {"toolCallId": self._id(part), "toolName": part.name}
        if _is_custom(part, self._stream.snapshot().to_dict()):
            return {"type": "tool-input-available", **call, "input": part.arguments}
        try:
            given = loads(part.arguments) if part.arguments else {}
        except (ValueError, RecursionError):
            return {
                "type": "tool-input-error",
                **call,
                "input": part.arguments,
                "errorText": "The arguments of the call are not JSON.",
            }
        return {"type": "tool-input-available", **call, "input": given}

    def _id(self, part: Call | CallDelta) -> str:
        """The id of a call: the page needs one, and the same all along."""
        ident = self._calls.get(part.index)
        if ident is None:
            ident = part.id
            if not ident or ident in self._calls.values():  # a page has one call of an id
                answer = getattr(self._stream.snapshot(), "id", None) or "answer"
                ident = f"{answer}-call-{part.index}"
            self._calls[part.index] = ident
        return ident

    def _reason(self, reason: str) -> str:
        known = _REASONS.get(reason.lower(), "other")
        return "tool-calls" if known == "stop" and self._calls else known


def _is_custom(call: Call, answer: dict[str, Any]) -> bool:
    """Whether a call is of a tool that takes plain text.

    :param answer: the answer so far, which has the call.
    """
    choices = [one for one in _entries(answer, "choices") if one.get("index", 0) == 0]
    message = choices[0].get("message") if choices else None
    told = _entries(message, "tool_calls") + _entries(answer, "output")
    return any(
        one.get("type") in ("custom", "custom_tool_call")
        and call.id in (one.get("id"), one.get("call_id"))
        for one in told
    )


def _entries(holder: Any, name: str) -> list[dict[str, Any]]:
    entries = holder.get(name) if isinstance(holder, dict) else None
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
