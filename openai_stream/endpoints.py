"""The endpoints that stream: for each its path, its classes, how it adds up, and its text.

A new endpoint is a new entry here; "To add an endpoint" in CONTRIBUTING.rst says what else. What is
common to all (frames, errors in the stream, ``[DONE]``) is the protocol's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import quote

import attrs

from .accumulate import (
    UNKNOWN,
    Asked,
    ChatAccumulator,
    CompletionAccumulator,
    ResponseAccumulator,
)
from .content import any_content, choices_content, response_content
from .models import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Response,
    ResponseEvent,
    ServerEvent,
    copied,
)
from .texts import ChoiceTexts, ResponseTexts, chat_text, completion_text, response_text

if TYPE_CHECKING:
    from .parts.pieces import PartsReader

__all__ = [
    "CHAT_COMPLETIONS",
    "COMPLETIONS",
    "RESPONSES",
    "Accumulator",
    "Endpoint",
    "any_endpoint",
    "can_be_id",
    "stored_response",
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


@attrs.frozen(eq=False, repr=False)
class Endpoint(Generic[E, W]):
    """An endpoint that answers in one piece or as a stream of events.

    :param path: below the base URL.
    :param event: makes an event of its JSON object.
    :param whole: makes the whole answer of its JSON.
    :param accumulator: makes the sum of a new stream.
    :param text: the text that an event adds to a choice, if any; see :meth:`texts`.
    :param reading: makes what :meth:`texts` gives, where the text of an event depends on those
        before it.
    :param is_whole: whether a JSON object is a whole answer.
    :param own: what the names of its events begin with, and the ``object`` or ``type`` of their
        data: what is called otherwise is no part of the answer.
    :param last: the types of the events that complete an answer, where it is not ``[DONE]``.
    :param failed: the types of the events that say it failed.
    :param server_event: makes an event of the parsed frame and its JSON, where ``event`` is not
        enough. Then any JSON will do, not objects only.
    :param class_argument: the argument of its call that may be a class, which the answer is to be
        JSON of.
    :param parts: makes what reads the parts of an answer of its events: typed pieces of a choice.
    :param carries: whether the JSON of an event carries something of the answer.
    :param method: of its requests.
    :param stored: the id of an answer that the server keeps: no body is sent, and the answer is
        returned whatever its status.
    :param after: of that answer, the number of the last event that is not wanted.
    :param may_run_in_background: the server may go on with an answer without a connection.
    :param if_missing: what to do about status 404.
    """

    path: str
    event: Callable[[dict[str, Any]], E]
    whole: Callable[[Any], W]
    accumulator: MakesAccumulator
    text: Callable[[E, int], str | None]
    is_whole: Callable[[dict[str, Any]], bool]
    own: str
    reading: Callable[[Asked, int], Callable[[E], str | None]] | None = None
    # Tuples: what a server gives as a type may have no hash.
    last: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    server_event: Callable[[Any, Any], E] | None = None
    class_argument: str | None = None
    parts: Callable[[Asked, int], PartsReader] | None = None
    carries: Callable[[Any], bool] = any_content
    method: str = "POST"
    stored: str = ""
    after: int | None = None
    may_run_in_background: bool = False
    if_missing: str = "Are the model's name and the base URL right?"

    def runs_in_background(self, body: Any) -> bool:
        """Whether the answer to a request goes on at the server without a connection."""
        asked = isinstance(body, dict) and body.get("background") is True
        return self.may_run_in_background and asked

    def query(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters of a request that streams.

        :param query: those that the user added.
        """
        if not self.stored:
            return query
        after = {} if self.after is None else {"starting_after": self.after}
        return {**query, "stream": "true", **after}

    def texts(self, asked: Asked, index: int) -> Callable[[E], str | None]:
        """:attr:`text` for the events of one answer, one after the other.

        :param asked: what is known of the request.
        :param index: the choice.
        """
        if self.reading is None:
            return lambda event: self.text(event, index)
        return self.reading(asked, index)


def _has_choices(answer: dict[str, Any]) -> bool:
    return isinstance(answer.get("choices"), list)


# Imported when they are first asked for: most programs want text, or the whole.


def _chat_parts(asked: Asked, choice: int) -> PartsReader:
    from .parts.choices import ChatParts  # noqa: PLC0415

    return ChatParts(asked, choice)


def _completion_parts(asked: Asked, choice: int) -> PartsReader:
    from .parts.choices import CompletionParts  # noqa: PLC0415

    return CompletionParts(asked, choice)


def _response_parts(asked: Asked, choice: int) -> PartsReader:
    from .parts.pieces import NoParts  # noqa: PLC0415
    from .parts.responses import ResponseParts  # noqa: PLC0415

    return ResponseParts() if choice == 0 else NoParts()


#: Source: OpenAI API reference, "Chat Completions".
CHAT_COMPLETIONS: Endpoint[ChatCompletionChunk, ChatCompletion] = Endpoint(
    path="/chat/completions",
    event=ChatCompletionChunk.from_dict,
    whole=ChatCompletion.from_dict,
    accumulator=ChatAccumulator,
    text=chat_text,
    reading=partial(ChoiceTexts, chat_text),
    is_whole=_has_choices,
    own="chat.completion",
    class_argument="response_format",
    parts=_chat_parts,
    carries=choices_content,
)

#: Source: OpenAI API reference, "Completions" (legacy).
COMPLETIONS: Endpoint[Completion, Completion] = Endpoint(
    path="/completions",
    event=Completion.from_dict,
    whole=Completion.from_dict,
    accumulator=CompletionAccumulator,
    text=completion_text,
    reading=partial(ChoiceTexts, completion_text),
    is_whole=_has_choices,
    own="text_completion",
    parts=_completion_parts,
    carries=choices_content,
)

#: Source: OpenAI API reference, "Responses", "Streaming events".
RESPONSES: Endpoint[ResponseEvent, Response] = Endpoint(
    path="/responses",
    event=ResponseEvent.from_dict,
    whole=Response.from_dict,
    accumulator=lambda asked=UNKNOWN: ResponseAccumulator(),
    text=response_text,
    reading=lambda asked, index: ResponseTexts(index),
    is_whole=lambda answer: isinstance(answer.get("output"), list),
    own="response.",
    # The third is what some gateways send in the place of the first two.
    last=("response.completed", "response.incomplete", "response.done"),
    failed=("response.failed", "response.error", "error"),
    class_argument="text_format",
    parts=_response_parts,
    carries=response_content,
    may_run_in_background=True,
)


_FORGOTTEN = (
    "Does the server still keep that response? Of those asked for with store=True or "
    "background=True it does, for some time"
)


def can_be_id(value: object) -> bool:
    """Whether it can be the id of a response, which becomes a part of a path."""
    if not isinstance(value, str) or not value.strip(". "):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True


def stored_response(
    ident: str, method: str, action: str = "", after: int | None = None
) -> Endpoint[ResponseEvent, Response]:
    """A response that the server keeps. Source: "Responses", *Get* and *Cancel a response*.

    :param ident: its ``id``.
    :param action: what is done to it, behind a slash.
    :param after: the number of the last event that is not wanted.
    :raises TypeError: the id is not a string.
    :raises ValueError: it is a string that cannot be one.
    """
    if not isinstance(ident, str):
        raise TypeError(f"the id of a response must be a string, not {ident!r}")
    if not can_be_id(ident):
        raise ValueError(f"the id of a response cannot be {ident!r}: it is as in response.id")
    return attrs.evolve(
        RESPONSES,
        path=f"{RESPONSES.path}/{quote(ident, safe='')}{action}",
        is_whole=lambda answer: answer.get("object") == "response" or RESPONSES.is_whole(answer),
        method=method,
        stored=ident,
        after=after,
        if_missing=_FORGOTTEN,
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
