"""``Endpoint``: what is to be known of one to ask it, to read its events and to add them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import attrs

from openai_stream.accumulate import UNKNOWN, Asked
from openai_stream.content import any_content

if TYPE_CHECKING:
    from openai_stream.parts.pieces import PartsReader

__all__ = ["Accumulator", "Endpoint", "has_choices"]

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


def has_choices(answer: dict[str, Any]) -> bool:
    """Whether a JSON object is a whole answer of an endpoint that gives choices."""
    return isinstance(answer.get("choices"), list)
