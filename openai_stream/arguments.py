"""What a call may be given beside the fields of its body: the arguments of streaming, checked.

They are the same for each endpoint, and for a client's methods and the module's functions. How
type checkers see them is told in :mod:`.signatures`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import attrs

from .bodies import ChatBody, CompletionBody, ResponseBody

__all__ = [
    "STREAM_ARGUMENTS",
    "Streaming",
    "check_fields",
    "check_function",
    "check_number",
    "check_stream_arguments",
    "signature",
    "typed",
]

F = TypeVar("F")


@attrs.frozen(eq=False, repr=False)
class Streaming:
    """The arguments that only a stream has, with their defaults."""

    on_next: Callable[[Any], object] | None = None
    on_done: Callable[[Any], object] | None = None
    on_error: Callable[[BaseException], object] | None = None
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
        names = arguments.keys() & _STREAMING
        return cls(**{name: arguments.pop(name) for name in names}) if names else _NOTHING_GIVEN

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
        if self is _NOTHING_GIVEN:
            return
        if not stream and (name := self.given()):
            raise TypeError(f"{name} goes with stream=True only")
        for name in ("on_next", "on_done", "on_error"):
            if (function := getattr(self, name)) is not None:
                check_function(name, function)
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
            raise TypeError(f"{name} is for the queue that is made, and this call makes none")
        if self.queue is None and self.given("tag"):
            raise TypeError("tag goes with queue only")
        if self.replay and self.given("maxsize"):
            raise TypeError("replay keeps all events, so maxsize does not go with it")

    @property
    def makes_no_queue(self) -> bool:
        """The events have somewhere else to go."""
        return self.on_next is not None or self.queue is not None


_STREAMING = frozenset(field.name for field in attrs.fields(Streaming))
_NOTHING_GIVEN = Streaming()


def _same(value: Any, default: Any) -> bool:
    # By type too, and without asking a user's object: what is equal to 0 may be False or an array.
    return value is default or (type(value) is type(default) and value in (default,))


#: Each kind of function whose body does not run when it is called: all events would be lost.
_RUN_LATER: dict[str, Callable[[Any], bool]] = {
    "a coroutine function": inspect.iscoroutinefunction,
    "an asynchronous generator function": inspect.isasyncgenfunction,
    "a generator function": inspect.isgeneratorfunction,
}


def check_function(name: str, function: Any) -> None:
    """Refuse what the reader thread cannot call.

    :param name: of the argument.
    :raises TypeError: saying why.
    """
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {function!r}")
    if kind := _runs_later(function):
        raise TypeError(
            f"{name} must be a plain function, not {kind}: the reader thread calls it and awaits "
            "nothing. To hand events to an event loop, call loop.call_soon_threadsafe in it"
        )


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


# What each call takes besides, streamed or not.
_BESIDE = ("timeout", "extra_headers", "extra_query", "extra_body")

#: What goes with a stream of any endpoint, and not into the body.
STREAM_ARGUMENTS = frozenset(
    {*_BESIDE, "fallbacks", *(field.name for field in attrs.fields(Streaming))}
)

# A name of five letters or more with one letter too many, too few or exchanged; short names are
# near too much ("tags" is a field that some servers know).
_CLOSE = 0.85
_NAMES = [name for name in ("stream", *STREAM_ARGUMENTS) if len(name) >= 5]
_FIELDS = frozenset().union(
    *(body.__annotations__ for body in (ChatBody, CompletionBody, ResponseBody))
)


def signature(
    *positional: str,
    optional: str | None = None,
    stream: bool = True,
    client: bool = False,
    body: bool = True,
    fallbacks: bool = True,
) -> inspect.Signature:
    """What a call takes, for ``help()``, editors and the documentation.

    :param positional: its arguments that are not keywords.
    :param optional: one more of them, which may be ``None``.
    :param stream: it may stream or not; otherwise it always does.
    :param client: it takes a client.
    :param body: what is left goes into the body.
    :param fallbacks: others can be asked instead.
    """
    named: dict[str, Any] = {"stream": False} if stream else {}
    named |= {field.name: field.default for field in attrs.fields(Streaming)}
    named |= {"client": None} if client else {}
    named |= {"fallbacks": ()} if fallbacks else {}
    named |= dict.fromkeys(_BESIDE)
    kinds = inspect.Parameter
    return inspect.Signature(
        [
            *(kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in positional),
            *([kinds(optional, kinds.POSITIONAL_OR_KEYWORD, default=None)] if optional else []),
            *(kinds(name, kinds.KEYWORD_ONLY, default=named[name]) for name in named),
            *([kinds("body", kinds.VAR_KEYWORD)] if body else []),
        ]
    )


def typed(
    kind: Callable[[], type[F]], signature: inspect.Signature
) -> Callable[[Callable[..., Any]], F]:
    """A decorator: the function is of that kind for type checkers, and has that signature.

    :param kind: never called, so that what it gives is imported for type checkers only.
    """

    def decorate(function: Callable[..., Any]) -> F:
        function.__signature__ = signature  # type: ignore[attr-defined]
        return cast("F", function)

    return decorate


def check_stream_arguments(name: str, arguments: Iterable[str], instead: str = "") -> None:
    """Refuse what does not go with a stream that has no fields.

    :param name: of the function.
    :param instead: what to do instead.
    :raises TypeError: saying which.
    """
    if unknown := set(arguments) - STREAM_ARGUMENTS:
        check_fields(unknown - {"stream"})
        what = f"{name}() takes no argument {min(unknown)!r}"
        raise TypeError(f"{what}: {instead}" if instead else what)


def check_number(name: str, value: Any) -> None:
    """Refuse what cannot be the number of an event, or ``None``.

    :param name: of the argument.
    :raises TypeError: it is not an int.
    :raises ValueError: it is negative.
    """
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")


def _near(name: str) -> list[str]:
    """The argument of ours that it may be a misspelling of, if any."""
    import difflib  # noqa: PLC0415 - most calls have no field that is not known

    return difflib.get_close_matches(name, _NAMES, 1, _CLOSE)


def check_fields(body: Iterable[str]) -> None:
    """Refuse a field of the body that is an argument of ours, misspelled.

    :raises TypeError: saying which is meant.
    """
    for name in body:
        if name not in _FIELDS and (near := _near(name)):
            raise TypeError(
                f"there is no argument {name!r}: did you mean {near[0]!r}? A field of the body "
                "that has this name goes into extra_body"
            )
