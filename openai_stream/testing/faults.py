"""What can go wrong with an answer, by name: ``answer("Hello you", fault=cut(after=2))``.

Each function here makes a :class:`Fault`; :data:`FAULTS` has them by name. Where a fault has an
``after``, so many events come before it, counted as a slice counts: ``after=-1`` is before the last
one, and ``[DONE]`` is one. A new fault is a new function.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from .connection import Step
from .steps import Drip, Fin, Hang, Pause, Repeat, Reset
from .wire import error_answer, frame, head, json_answer

__all__ = [
    "FAULTS",
    "Fault",
    "Rest",
    "corrupt_chunk",
    "corrupt_gzip",
    "cut",
    "endless_event",
    "error_event",
    "fault_of",
    "html_page",
    "invalid_utf8",
    "keep_alives",
    "malformed",
    "no_response",
    "rate_limited",
    "redirect",
    "reset",
    "server_error",
    "short_length",
    "stall",
    "trickle",
    "truncated",
    "unanswered",
    "whole_json",
]

_MOMENT = 0.1  # seconds, within which a client reads what has come


@dataclass(frozen=True)
class Rest:
    """The rest of an answer, from the place where a fault comes.

    .. versionadded:: 0.1
    """

    #: What would have been sent, and played.
    parts: Sequence[Step | bytes]
    #: What ends a body, in good order.
    end: Sequence[Step | bytes]
    #: Makes bytes a part of the body: a chunk, where it is sent in chunks.
    framed: Callable[[bytes], bytes]


def _unchanged(rest: Rest) -> Iterable[Step | bytes]:
    return rest.parts


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer.

    The functions of this module make them; one of your own is made here.

    :param name: for messages.
    :param after: how many events come first.
    :param events: events to be sent then, as those of the answer are.
    :param rest: makes what is played after those.
    :param instead: a script to be played instead of any answer.
    :param encoding: the compression that the answer must have for it.
    :param framing: the framing that it must have.
    :param ends_length: a content-length counts no more than what comes before the fault.

    .. versionadded:: 0.1
    """

    name: str
    after: int = 0
    events: tuple[bytes, ...] = ()
    rest: Callable[[Rest], Iterable[Step | bytes]] = _unchanged
    instead: Sequence[Step | bytes] | None = None
    encoding: Literal["gzip"] | None = None
    framing: Literal["chunked", "length"] | None = None
    ends_length: bool = False


# The connection ------------------------------------------------------------------------------


def cut(after: int = 2) -> Fault:
    """The server closes the connection in the middle of the answer.

    .. versionadded:: 0.1
    """
    return Fault("cut", after, rest=lambda rest: [Fin()])


def reset(after: int = 2) -> Fault:
    """The connection breaks in the middle of the answer: a RST.

    It comes a moment after the events: what has not been read then is lost.

    .. versionadded:: 0.1
    """
    return Fault("reset", after, rest=lambda rest: [Pause(_MOMENT), Reset()])


def stall(after: int = 2, seconds: float | None = None) -> Fault:
    """The server falls silent.

    :param seconds: for so long, and then goes on; ``None``: for ever.

    .. versionadded:: 0.1
    """
    if seconds is None:
        return Fault("stall", after, rest=lambda rest: [Hang()])
    return Fault("stall", after, rest=lambda rest: [Pause(seconds), *rest.parts])


def keep_alives(after: int = 2, every: float = 0.05) -> Fault:
    """From there the server sends nothing but comments that keep the connection alive.

    :param every: seconds between them.

    .. versionadded:: 0.1
    """
    comment = b": keep-alive\n\n"
    return Fault(
        "keep_alives", after, rest=lambda rest: [Repeat(rest.framed(comment), delay=every)]
    )


def trickle(after: int = 2, delay: float = 0.001) -> Fault:
    """From there the answer comes byte by byte.

    :param delay: seconds after each byte.

    .. versionadded:: 0.1
    """
    return Fault(
        "trickle",
        after,
        rest=lambda rest: [
            Drip(part, delay=delay) if isinstance(part, bytes) else part for part in rest.parts
        ],
    )


def no_response() -> Fault:
    """The server closes the connection instead of answering.

    .. versionadded:: 0.1
    """
    return Fault("no_response", instead=[Fin()])


def unanswered() -> Fault:
    """The server takes the request and says nothing, for ever.

    .. versionadded:: 0.1
    """
    return Fault("unanswered", instead=[Hang()])


# Statuses ------------------------------------------------------------------------------------


def rate_limited(retry_after: float | None = None) -> Fault:
    """Status 429.

    :param retry_after: seconds that the server asks to wait.

    .. versionadded:: 0.1
    """
    return Fault(
        "rate_limited",
        instead=error_answer(
            429,
            "Rate limit reached for requests",
            code="rate_limit_exceeded",
            type="requests",
            headers={"Retry-After": None if retry_after is None else f"{retry_after:g}"},
        ),
    )


def server_error(status: int = 500) -> Fault:
    """A status of the server's failure: 500, 502, 503 or another.

    .. versionadded:: 0.1
    """
    said = "The server had an error while processing your request"
    return Fault("server_error", instead=error_answer(status, said, type="server_error"))


def redirect(location: str = "http://elsewhere.invalid/v1") -> Fault:
    """Status 307, to another address.

    .. versionadded:: 0.1
    """
    headers = {"Location": location, "Content-Length": "0"}
    return Fault("redirect", instead=[head(307, headers)])


# The body ------------------------------------------------------------------------------------


def truncated(after: int = 2) -> Fault:
    """The answer ends too early, and in good order: as HTTP it is whole.

    .. versionadded:: 0.1
    """
    return Fault("truncated", after, rest=lambda rest: rest.end, ends_length=True)


def short_length(after: int = 2) -> Fault:
    """The content-length is that of the first events only, although the others are sent too.

    .. versionadded:: 0.1
    """
    return Fault("short_length", after, framing="length", ends_length=True)


def corrupt_chunk(after: int = 2) -> Fault:
    """A part of a chunked body begins with what is no chunk size.

    .. versionadded:: 0.1
    """
    return Fault(
        "corrupt_chunk", after, rest=lambda rest: [b"zz\r\n", *rest.parts], framing="chunked"
    )


def corrupt_gzip(after: int = 2) -> Fault:
    """The body is compressed, and the compression is broken.

    That comes a moment after the events: what is decompressed in one go with it is lost.

    .. versionadded:: 0.1
    """
    return Fault(
        "corrupt_gzip",
        after,
        rest=lambda rest: [Pause(_MOMENT), rest.framed(b"\xff" * 100), *rest.parts],
        encoding="gzip",
    )


def html_page() -> Fault:
    """A web page instead of an event stream, with status 200: a wrong base URL, say.

    .. versionadded:: 0.1
    """
    page = b"<!DOCTYPE html><html><body>It works!</body></html>"
    headers = {"Content-Type": "text/html", "Content-Length": str(len(page))}
    return Fault("html_page", instead=[head(200, headers) + page])


def whole_json(text: str = "Hello") -> Fault:
    """A whole completion, as if ``stream=True`` had not been asked for.

    :param text: the completion's.

    .. versionadded:: 0.1
    """
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
    return Fault("whole_json", instead=json_answer(whole))


# Events --------------------------------------------------------------------------------------


def malformed(after: int = 2, data: str = '{"choices": [') -> Fault:
    """An event whose data is no JSON; then the answer goes on.

    :param data: the event's data.

    .. versionadded:: 0.1
    """
    return Fault("malformed", after, events=(frame(data),))


def invalid_utf8(after: int = 2) -> Fault:
    """An event that is no UTF-8; then the answer goes on.

    .. versionadded:: 0.1
    """
    return Fault("invalid_utf8", after, events=(b'data: {"choices": "\xff"}\n\n',))


def error_event(
    after: int = 2,
    message: str = "The server is overloaded",
    type: str | None = "server_error",
    code: str | None = None,
) -> Fault:
    """An error object in the stream, which ends there.

    :param message: the error's, as the next two.

    .. versionadded:: 0.1
    """
    error = {"message": message, "type": type, "param": None, "code": code}
    return Fault(
        "error_event",
        after,
        events=(frame({"error": error}),),
        rest=lambda rest: rest.end,
        ends_length=True,
    )


def endless_event(after: int = 2) -> Fault:
    """An event that never ends, sent as fast as it is read.

    .. versionadded:: 0.1
    """
    return Fault(
        "endless_event", after, rest=lambda rest: [Repeat(rest.framed(b"data: " + b"x" * 65530))]
    )


# By name -------------------------------------------------------------------------------------

_ALL: list[Callable[..., Fault]] = [
    corrupt_chunk, corrupt_gzip, cut, endless_event, error_event, html_page, invalid_utf8,
    keep_alives, malformed, no_response, rate_limited, redirect, reset, server_error, short_length,
    stall, trickle, truncated, unanswered, whole_json,
]  # fmt: skip

#: The functions of this module by their names; called without arguments, each makes a fault.
FAULTS: Mapping[str, Callable[..., Fault]] = MappingProxyType({one.__name__: one for one in _ALL})


def fault_of(fault: Any) -> Fault:
    """A ``fault`` argument as a :class:`Fault`.

    :raises ValueError: it is the name of none.
    :raises TypeError: it is neither a fault nor a name.

    .. versionadded:: 0.1
    """
    if isinstance(fault, Fault):
        return fault
    if not isinstance(fault, str):
        raise TypeError(f"fault must be a Fault or the name of one, not {fault!r}")
    if fault not in FAULTS:
        close = difflib.get_close_matches(fault, FAULTS, n=1)
        meant = f": did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"no fault is named {fault!r}{meant} There are {', '.join(FAULTS)}")
    return FAULTS[fault]()
