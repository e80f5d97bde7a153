"""Chunks that come from elsewhere into the whole answer, by the rules of a stream's ``result()``.

From a log, a queue between processes, another library: what the reader decides of each event before
it adds it up is decided here for events that no reader saw. How they add up is ``accumulate``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, overload

from .endpoints import Accumulator, Endpoint
from .endpoints.any import any_endpoint
from .endpoints.chat_completions import CHAT_COMPLETIONS
from .endpoints.completions import COMPLETIONS
from .endpoints.responses import RESPONSES
from .errors import StreamAPIError
from .event_kinds import is_failed_chunk, is_failed_response, is_keep_alive, is_typed
from .models.chat import ChatCompletion, ChatCompletionChunk
from .models.completions import Completion
from .models.responses import Response, ResponseEvent
from .models.server_event import ServerEvent
from .publishing import publish
from .server_errors import api_error, says_failure
from .stream.items import DONE, Done, Restarted

__all__ = ["combine"]

AnyEndpoint: TypeAlias = Endpoint[Any, Any]

_ANY: AnyEndpoint = any_endpoint("")
_BY_CLASS: dict[type, AnyEndpoint] = {
    ChatCompletionChunk: CHAT_COMPLETIONS,
    Completion: COMPLETIONS,
    ResponseEvent: RESPONSES,
    ServerEvent: _ANY,
}


# They overlap where there are no events, which is an error.
@overload
def combine(  # type: ignore[overload-overlap]
    events: Iterable[ChatCompletionChunk | Restarted | Done],
) -> ChatCompletion: ...
@overload
def combine(  # type: ignore[overload-overlap]
    events: Iterable[Completion | Restarted | Done],
) -> Completion: ...
@overload
def combine(events: Iterable[ResponseEvent | Restarted | Done]) -> Response: ...
@overload
def combine(events: Iterable[Any]) -> Any: ...
def combine(events: Iterable[Any]) -> Any:
    """Combine the events of a stream into the whole answer, as :meth:`Stream.result` does.

    It cannot know whether the events are complete: look at the ``finish_reason``, or at the
    ``status`` of a response. Nor does it know the request, so that what a stream concludes from
    ``n`` and ``tools`` it concludes from the events alone.

    :param events: event objects of one endpoint, or its events as dicts, as ``to_dict()`` or
        another library gives them. A :class:`Restarted` makes void what came before it, ``DONE`` is
        ignored, and an exception, as a failed stream puts it on a queue, is raised. Anything that
        can be iterated over: a list, a generator, an :class:`EventQueue`, which it reads to its
        end.
    :returns: a :class:`ChatCompletion`, a :class:`Completion` or a :class:`Response`; of
        :class:`ServerEvent` objects the last one's data.
    :raises StreamAPIError: an event says that the server failed; its ``snapshot`` is the partial
        answer.
    :raises ValueError: there are no events, they are of two endpoints, or of an unknown one.
    :raises TypeError: one is neither an event nor a dict.

    .. versionadded:: 0.1
    """
    if isinstance(events, (Mapping, str, bytes)):
        raise TypeError(f"combine() takes a list of events, not one {type(events).__name__}")
    total = _Sum()
    for event in events:
        if isinstance(event, Restarted):
            total.begin_anew()
        elif isinstance(event, BaseException):
            raise event
        elif event is not DONE:
            total.take(event)
    return total.whole()


class _Sum:
    """The events so far. Dicts wait until one of them shows which endpoint they are of."""

    def __init__(self) -> None:
        self._endpoint: AnyEndpoint | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the events, but not which endpoint they are of."""
        self._waiting: list[dict[str, Any]] = []
        self._accumulator: Accumulator | None = None
        self._is_over = False

    def take(self, event: Any) -> None:
        """Take in an event.

        :raises StreamAPIError: it says that the server failed.
        :raises ValueError: it is of another endpoint.
        :raises TypeError: it is no event.
        """
        made_by = _BY_CLASS.get(type(event))
        if made_by is not None:
            self._decide((made_by,))
        elif not isinstance(event, Mapping):
            raise TypeError(_not_an_event(event))
        if made_by is _ANY:
            self._add_any(event)
            return
        data = event.to_dict() if made_by is not None else dict(event)
        if made_by is None:
            self._decide(_may_be_of(data))
        if self._endpoint is None and not _is_failed(data, last=False):
            self._waiting.append(data)
        else:
            self._add(data)

    def whole(self) -> Any:
        """What they add up to.

        :raises ValueError: to nothing.
        """
        if self._waiting:
            if not any(name in data for data in self._waiting for name in ("choices", "usage")):
                raise ValueError("these are no events of any endpoint that is known")
            self._decide((CHAT_COMPLETIONS,))  # a report of usage, say, looks alike everywhere
        if self._endpoint is None or self._accumulator is None:
            raise ValueError("there are no events to combine")
        return self._endpoint.whole(self._accumulator.snapshot())

    def _decide(self, endpoints: tuple[AnyEndpoint, ...]) -> None:
        """Take note of which endpoints an event may be of, the likeliest first."""
        if not endpoints:
            return
        if self._endpoint is None:
            self._endpoint = endpoints[0]
            waiting, self._waiting = self._waiting, []
            for data in waiting:
                self._add(data)
        elif self._endpoint not in endpoints:
            one, other = (each.path or "Client.stream()" for each in (self._endpoint, endpoints[0]))
            raise ValueError(f"these are events of two endpoints, {one} and {other}")

    def _sum(self, endpoint: AnyEndpoint) -> Accumulator:
        if self._accumulator is None:
            self._accumulator = endpoint.accumulator()
        return self._accumulator

    def _add_any(self, event: ServerEvent) -> None:
        failed = event.event.strip().lower() == "error"
        if failed or says_failure(event.data, known=False):
            raise self._failure(event.data)
        self._sum(_ANY).add(event.data)

    def _add(self, data: dict[str, Any]) -> None:
        """Add one event, as the reader of a stream does."""
        endpoint = self._endpoint
        if self._is_over:
            return
        if endpoint is None or _is_failed(data, bool(endpoint.last)):
            raise self._failure(data)
        if "choices" not in data and (is_keep_alive(data) or _is_of_others(data, endpoint)):
            return
        accumulator = self._sum(endpoint)
        accumulator.add(data)
        kind = data.get("type")
        ends = kind in endpoint.last
        if is_failed_chunk(data) or kind in endpoint.failed or (ends and is_failed_response(data)):
            raise self._failure(data)
        self._is_over = ends and accumulator.complete

    def _failure(self, data: Any) -> StreamAPIError:
        snapshot = None
        if self._endpoint is not None:
            snapshot = self._endpoint.whole(self._sum(self._endpoint).snapshot())
        return api_error(data, str, snapshot)


def _is_failed(data: dict[str, Any], last: bool) -> bool:
    """Whether something without choices says that the server failed.

    :param last: the endpoint's events say what they are.
    """
    if "choices" in data or (last and "error" not in data and is_typed(data)):
        return False
    return says_failure(data)


def _is_of_others(data: dict[str, Any], endpoint: AnyEndpoint) -> bool:
    """Whether a gateway or a tool put an event without choices in between, under another name."""
    kinds = [kind for kind in (data.get("object"), data.get("type")) if isinstance(kind, str)]
    return (
        "usage" not in data
        and any(kinds)
        and not any(kind.startswith(endpoint.own) for kind in kinds)
    )


def _may_be_of(data: dict[str, Any]) -> tuple[AnyEndpoint, ...]:
    """The endpoints that an event may be of, the likeliest first; none for what fits all.

    Servers put the ``object`` of one endpoint on the events of another, and the fields of both
    into a choice. So of what contradicts itself, both are possible.
    """
    if is_typed(data):
        return (RESPONSES,)
    choices = data.get("choices")
    listed = choices if isinstance(choices, list) else ()
    fields = {key for one in listed if isinstance(one, dict) for key in one}
    found: list[AnyEndpoint] = []
    if fields & {"delta", "message"}:
        found.append(CHAT_COMPLETIONS)
    if "text" in fields:
        found.append(COMPLETIONS)
    named = data.get("object")
    candidates: tuple[AnyEndpoint, ...] = (CHAT_COMPLETIONS, COMPLETIONS)
    for endpoint in candidates:
        if isinstance(named, str) and named.startswith(endpoint.own):
            if len(found) == 1:
                found.append(endpoint)
            else:
                found.insert(0, endpoint)
    return tuple(found)


def _not_an_event(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, (ChatCompletion, Response)):
        return f"a {kind} is whole already; combine() takes the events of a stream"
    if callable(getattr(value, "to_dict", None)) or callable(getattr(value, "model_dump", None)):
        name = "to_dict" if hasattr(value, "to_dict") else "model_dump"
        return f"combine() takes events or dicts, not {kind}: give it event.{name}()"
    return f"combine() takes events or dicts, not {kind}"


publish(globals(), "openai_stream")
