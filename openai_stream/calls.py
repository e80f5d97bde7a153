"""What a call may be given and what it returns: the arguments of streaming, checked and typed.

The same for each endpoint, and for a client's methods as for the module's functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, cast, overload

import attrs

from .endpoints import Endpoint
from .queues import EventQueue, Restarted
from .stream import Stream

__all__ = ["STREAM_ARGUMENTS", "Create", "Sink", "Streaming", "typed"]

E = TypeVar("E")
W = TypeVar("W")
OnError = Callable[[BaseException], object]


class Sink(Protocol):
    """What ``queue=`` takes."""

    def put(self, item: Any, /) -> Any:
        """Take in an item; may block."""


@attrs.frozen
class Streaming:
    """The arguments that only a stream has, with their defaults."""

    on_next: Callable[[Any], object] | None = None
    on_done: Callable[[Any], object] | None = None
    on_error: OnError | None = None
    stream_close: bool = False
    maxsize: int = 0
    queue: Any = None
    tag: Any = None
    restarts: int = 0
    nowait: bool = False
    replay: bool = False

    @classmethod
    def taken_from(cls, arguments: dict[str, Any]) -> Streaming:
        """Those among a call's arguments, which they leave."""
        names = [field.name for field in attrs.fields(cls) if field.name in arguments]
        return cls(**{name: arguments.pop(name) for name in names})

    def given(self, *names: str) -> str | None:
        """The first of the arguments that is not its default."""
        defaults = {field.name: field.default for field in attrs.fields(type(self))}
        return next(
            (name for name in names or defaults if not _same(getattr(self, name), defaults[name])),
            None,
        )

    def check(self, stream: Any) -> None:
        """Refuse combinations that make no sense.

        :raises TypeError: saying which.
        """
        if not isinstance(stream, bool):
            raise TypeError(f"stream must be True or False, not {stream!r}")
        if not stream and (name := self.given()):
            raise TypeError(f"{name} goes with stream=True only")
        for name in ("on_next", "on_done", "on_error"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be callable, not {function!r}")
            if kind := _runs_later(function):
                raise TypeError(
                    f"{name} must be a plain function, not {kind}: the reader thread calls it and "
                    "awaits nothing. To hand events to an event loop, call "
                    "loop.call_soon_threadsafe in it"
                )
        for name in ("stream_close", "nowait", "replay"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        for name in ("maxsize", "restarts"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an int, not {value!r}")
        if self.restarts < 0:
            raise TypeError(f"restarts must not be negative: {self.restarts}")
        put = getattr(self.queue, "put", None)
        if self.queue is not None and (not callable(put) or _runs_later(put)):
            raise TypeError(
                f"queue must have a put(item) that blocks, not {type(self.queue).__name__}; of a "
                "queue for coroutines, pass its synchronous side"
            )
        if self.queue is not None and self.on_next is not None:
            raise TypeError("on_next and queue do not go together: the events go to one of them")
        if self.makes_no_queue and (name := self.given("maxsize", "stream_close")):
            raise TypeError(f"{name} is for the queue that is made, and here none is")
        if self.queue is None and self.given("tag"):
            raise TypeError("tag goes with queue only")
        if self.replay and self.given("maxsize"):
            raise TypeError("replay keeps all events, so maxsize does not go with it")

    @property
    def makes_no_queue(self) -> bool:
        """The events have somewhere else to go."""
        return self.on_next is not None or self.queue is not None


def _same(value: Any, default: Any) -> bool:
    # By type too, and without asking a user's object: what is equal to 0 may be False or an array.
    return value is default or (type(value) is type(default) and value in (default,))


#: Each kind of function whose body does not run when it is called: all events would be lost.
_RUN_LATER: dict[str, Callable[[Any], bool]] = {
    "a coroutine function": inspect.iscoroutinefunction,
    "an asynchronous generator function": inspect.isasyncgenfunction,
    "a generator function": inspect.isgeneratorfunction,
}


def _runs_later(function: Any) -> str | None:
    """The kind of a function that, when called, only makes what somebody else must run.

    Partials, bound methods and objects with such a ``__call__`` are of the same kind as the
    function behind them. What a wrapper says that it wraps does not count: it may run that itself.
    """
    while isinstance(function, functools.partial):
        function = function.func
    # An object is called by its type's method; that of a function or a class is of no interest.
    method = getattr(type(function), "__call__", None)  # noqa: B004
    for kind, is_kind in _RUN_LATER.items():
        if is_kind(function) or is_kind(method):
            return kind
    return None


#: What goes with a stream of any endpoint, and not into the body.
STREAM_ARGUMENTS = frozenset(
    {
        "timeout",
        "extra_headers",
        "extra_query",
        "extra_body",
        *(field.name for field in attrs.fields(Streaming)),
    }
)


class Create(Protocol[E, W]):
    """The type of the ``create_…`` calls: what comes back depends on the arguments."""

    @overload
    def __call__(self, *, stream: Literal[False] = False, **arguments: Any) -> W: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        on_next: None = None,
        on_done: Callable[[W], object] | None = None,
        on_error: OnError | None = None,
        stream_close: bool = False,
        maxsize: int = 0,
        queue: None = None,
        restarts: Literal[0] = 0,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> EventQueue[E]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        restarts: int,
        on_next: None = None,
        on_done: Callable[[W], object] | None = None,
        on_error: OnError | None = None,
        stream_close: bool = False,
        maxsize: int = 0,
        queue: None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> EventQueue[E | Restarted]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        on_next: Callable[[E], object],
        on_done: Callable[[W], object] | None = None,
        on_error: OnError | None = None,
        restarts: Literal[0] = 0,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[E, W]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        restarts: int,
        on_next: Callable[[E | Restarted], object],
        on_done: Callable[[W], object] | None = None,
        on_error: OnError | None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[E, W]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        queue: Sink,
        on_done: Callable[[W], object] | None = None,
        on_error: OnError | None = None,
        tag: Any = None,
        restarts: int = 0,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[E, W]: ...


def typed(endpoint: Endpoint[E, W]) -> Callable[[Callable[..., Any]], Create[E, W]]:
    """For type checkers: the decorated function is that endpoint's ``create_…``."""
    return lambda function: cast("Create[E, W]", function)
