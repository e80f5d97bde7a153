"""The endpoints that stream: for each its path, its classes, how it adds up, and its text.

A new endpoint is a new entry here, with its classes in ``models`` and its sum in ``accumulate``.
What is common to all (frames, errors in the stream, ``[DONE]``) is the reader's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from .accumulate import (
    UNKNOWN,
    Asked,
    ChatAccumulator,
    CompletionAccumulator,
    ResponseAccumulator,
    is_reason,
)
from .models import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Delta,
    Response,
    ResponseEvent,
    ServerEvent,
    as_sent,
    copied,
)

__all__ = [
    "CHAT_COMPLETIONS",
    "COMPLETIONS",
    "RESPONSES",
    "Accumulator",
    "Endpoint",
    "any_endpoint",
]

E = TypeVar("E")
W = TypeVar("W")


class Accumulator(Protocol):
    """The sum of a stream's chunks, as parsed JSON."""

    def add(self, chunk: Any) -> object:
        """Take in one more chunk; on the reader thread.

        :returns: true if it repeats, in all but its deltas, what is known; not all can tell.
        """

    def snapshot(self) -> Any:
        """The sum so far; on any thread."""

    @property
    def complete(self) -> bool:
        """An orderly end of the connection would now be the end of the answer."""


class MakesAccumulator(Protocol):
    """Makes the sum of a new stream."""

    def __call__(self, asked: Asked = UNKNOWN) -> Accumulator:
        """The sum of nothing.

        :param asked: what is known of the request.
        """


@attrs.frozen
class Endpoint(Generic[E, W]):
    """An endpoint that answers in one piece or as a stream of events.

    :param path: below the base URL.
    :param event: makes an event of its JSON object.
    :param whole: makes the whole answer of its JSON.
    :param accumulator: makes the sum of a new stream.
    :param text: the text that an event adds to a choice, if any; see :meth:`texts`.
    :param reading: makes what :meth:`texts` gives, where the text of an event depends on those
        before it; of choice 0.
    :param is_whole: whether a JSON object is a whole answer.
    :param own: what the names of its events begin with, and the ``object`` or ``type`` of their
        data: what is called otherwise is no part of the answer.
    :param last: the types of the events that complete an answer, where it is not ``[DONE]``.
    :param failed: the types of the events that say it failed.
    :param server_event: makes an event of the parsed frame and its JSON, where ``event`` is not
        enough. Then any JSON will do, not objects only.
    :param class_argument: the argument of its call that may be a class, which the answer is to be
        JSON of.
    """

    path: str
    event: Callable[[dict[str, Any]], E]
    whole: Callable[[Any], W]
    accumulator: MakesAccumulator
    text: Callable[[E, int], str | None]
    is_whole: Callable[[dict[str, Any]], bool]
    own: str
    reading: Callable[[], Callable[[E], str | None]] | None = None
    # Tuples: what a server gives as a type may have no hash.
    last: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    server_event: Callable[[Any, Any], E] | None = None
    class_argument: str | None = None

    def texts(self, asked: Asked, index: int) -> Callable[[E], str | None]:
        """:attr:`text` for the events of one answer, one after the other.

        Some servers number the tokens in the place of the choices. What is choice 0 then is told
        by :mod:`.accumulate.choices`, and is the same here.

        :param asked: what is known of the request.
        :param index: the choice.
        """
        text = self.text
        if self.reading is not None and index == 0:
            return self.reading()
        if index != 0 or not asked.one_choice:
            return lambda event: text(event, index)
        is_one = True
        has_finished = False

        def only(event: E) -> str | None:
            nonlocal is_one, has_finished
            choices = getattr(event, "choices", None)
            if not is_one or not choices:
                return text(event, 0)
            [choice, *others] = choices
            said = text(event, choice.index or 0)
            is_one = not (others or (has_finished and said))
            has_finished = has_finished or is_reason(choice.finish_reason)
            return said if is_one else text(event, 0)

        return only


#: The types of content parts that are text.
_TEXT_PARTS = ("text", "output_text")


def _has_choices(answer: dict[str, Any]) -> bool:
    return isinstance(answer.get("choices"), list)


def _chat_text(chunk: ChatCompletionChunk, index: int) -> str | None:
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            delta = choice.delta
            return delta.content if delta.content is not None else _text_of_parts(delta)
    return None


def _text_of_parts(delta: Delta) -> str | None:
    """The text of a content that is no string but parts. Thoughts, images and the like are none."""
    parts = as_sent(delta, "content")
    if parts is None:
        return None
    texts = []
    for part in parts if type(parts) is list else (parts,):
        if type(part) is dict and part.get("type", "text") in _TEXT_PARTS:
            part = part.get("text")
        if type(part) is str:
            texts.append(part)
    return "".join(texts)


def _completion_text(chunk: Completion, index: int) -> str | None:
    for position, choice in enumerate(chunk.choices):
        if (position if choice.index is None else choice.index) == index:
            return choice.text
    return None


def _response_text(event: ResponseEvent, index: int) -> str | None:
    # A response has no choices: all its output is that of choice 0.
    if event.type == "response.output_text.delta" and index == 0:
        return event.delta if isinstance(event.delta, str) else None
    return None


class _ResponseTexts:
    """The text that an event adds to those before it.

    It comes in deltas. A server that sends none gives it in the events that close a text, a part
    or an item, or in the last event: whichever is the first to have some is where all is read.
    """

    def __init__(self) -> None:
        self._source: str | None = None

    def __call__(self, event: ResponseEvent) -> str | None:
        kind = event.type
        if kind == "response.output_text.delta":
            self._source = kind
            return event.delta if isinstance(event.delta, str) else None
        if self._source in (None, kind):
            text = _closed_text(kind, event)
            if text:
                self._source = kind
                return text
        return None


def _closed_text(kind: str | None, event: ResponseEvent) -> str | None:
    """The whole text that an event closes."""
    if kind == "response.output_text.done":
        return event.text
    if kind == "response.content_part.done":
        return _text_of_output([{"type": "message", "content": [event.part]}])
    if kind == "response.output_item.done":
        return _text_of_output([] if event.item is None else [event.item])
    if kind in RESPONSES.last or kind == "response.done":
        return None if event.response is None else event.response.output_text
    return None


def _text_of_output(output: list[dict[str, Any]]) -> str:
    return Response.from_dict({"output": output}).output_text


#: Source: OpenAI API reference, "Chat Completions".
CHAT_COMPLETIONS: Endpoint[ChatCompletionChunk, ChatCompletion] = Endpoint(
    path="/chat/completions",
    event=ChatCompletionChunk.from_dict,
    whole=ChatCompletion.from_dict,
    accumulator=ChatAccumulator,
    text=_chat_text,
    is_whole=_has_choices,
    own="chat.completion",
    class_argument="response_format",
)

#: Source: OpenAI API reference, "Completions" (legacy).
COMPLETIONS: Endpoint[Completion, Completion] = Endpoint(
    path="/completions",
    event=Completion.from_dict,
    whole=Completion.from_dict,
    accumulator=CompletionAccumulator,
    text=_completion_text,
    is_whole=_has_choices,
    own="text_completion",
)

#: Source: OpenAI API reference, "Responses", "Streaming events".
RESPONSES: Endpoint[ResponseEvent, Response] = Endpoint(
    path="/responses",
    event=ResponseEvent.from_dict,
    whole=Response.from_dict,
    accumulator=lambda asked=UNKNOWN: ResponseAccumulator(),
    text=_response_text,
    reading=_ResponseTexts,
    is_whole=lambda answer: isinstance(answer.get("output"), list),
    own="response.",
    last=("response.completed", "response.incomplete"),
    failed=("response.failed", "error"),
    class_argument="text_format",
)


class _LastData:
    """The "sum" where nothing is known of the events: the last one's data."""

    complete = False

    def __init__(self, asked: Asked = UNKNOWN) -> None:
        self._data: Any = None

    def add(self, chunk: Any) -> None:
        self._data = chunk

    def snapshot(self) -> Any:
        return copied(self._data)


def _server_event(message: Any, data: Any) -> ServerEvent:
    return ServerEvent(message.event, data, message.id)


def any_endpoint(path: str) -> Endpoint[ServerEvent, Any]:
    """An endpoint of which only that it streams JSON is known."""
    return Endpoint(
        path=path,
        event=lambda data: ServerEvent(data=data),
        whole=lambda data: data,
        accumulator=_LastData,
        text=lambda event, index: None,
        is_whole=lambda answer: False,
        own="",
        server_event=_server_event,
    )
