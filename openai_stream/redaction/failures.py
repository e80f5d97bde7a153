"""Secrets in errors: in what an error says, in its causes, and in the frames that it came through.

Whoever reports errors does not stop at the message: tracebacks with the locals of each frame go to
a service, exceptions are pickled with their causes, and a ``requests`` exception has the request,
and so the key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from .secrets import Secrets, cleaned

__all__ = ["forget_locals", "forgets", "forgets_what_it_is_made_of", "purge"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: Where exceptions of ``requests`` and ``urllib3`` keep what they were about.
_CARRIERS = ("request", "response", "pool", "conn", "_pool", "_conn", "connection")
#: Of these packages are the frames whose locals are forgotten; those of a user are the user's.
_FORGETFUL = frozenset({"openai_stream", "requests", "urllib3", "http", "sseclient", "attr"})
_MOST_LINKS = 100  # exceptions that are looked at; a longer chain is nobody's, and is dropped
#: What had arrived: it is the answer, and kept as it is.
_ANSWERS = frozenset({"snapshot"})


def purge(error: BaseException, secrets: Secrets) -> None:
    """Take the secrets out of an error of ours and of what leads on from it.

    Of short keys, which may be words of ours, the rooms that quote a server have taken care.
    A cause, or what it was raised in the place of, is dropped if its text shows one.
    """
    for earlier in getattr(error, "earlier", ()):  # each has those before itself
        _purge(earlier, secrets)
    _purge(error, secrets)


def _purge(error: BaseException, secrets: Secrets) -> None:
    mask = secrets.mask()
    error.args = tuple(mask.hide_long(arg) if isinstance(arg, str) else arg for arg in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            vars(error)[name] = mask.hide_long(value)
        elif isinstance(value, (list, dict)) and name not in _ANSWERS:
            try:
                vars(error)[name] = cleaned(value, secrets)
            except RecursionError:  # JSON that could just be read
                vars(error)[name] = None
    if not _is_clean(error.__cause__, secrets):
        error.__cause__ = None
    if not _is_clean(error.__context__, secrets):
        error.__context__ = None


def _is_clean(error: BaseException | None, secrets: Secrets) -> bool:
    """Whether neither an exception nor what it leads to shows a secret, once the requests and
    connections that it was about are forgotten.
    """
    if error is None or id(error) == secrets.outside:
        return True
    mask = secrets.mask()
    todo, seen = [error], {id(error), secrets.outside}
    while todo:
        link = todo.pop()
        own = vars(link)
        for name in _CARRIERS:
            if own.get(name) is not None:
                with suppress(Exception):
                    setattr(link, name, None)
        # The frames lead to what those hold, and so to queues that a caller has dropped.
        link.__traceback__ = None
        try:
            if any(map(mask.finds, _values(link))) or any(
                secrets(text) != text for text in (str(link), repr(link))
            ):
                return False
        except Exception:
            return False
        for other in (link.__cause__, link.__context__, *_exceptions([link.args, own])):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
        if len(seen) > _MOST_LINKS:
            return False
    return True


def _values(link: BaseException) -> Iterator[str | bytes]:
    for value in (*link.args, *vars(link).values()):
        yield value if isinstance(value, (str, bytes)) else repr(value)


def _exceptions(value: Any, depth: int = 3) -> Iterator[BaseException]:
    """The exceptions in a nest of containers."""
    if isinstance(value, BaseException):
        yield value
    elif depth and isinstance(value, (list, tuple, set, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _exceptions(item, depth - 1)


def forget_locals(traceback: TracebackType | None) -> None:
    """Clear the locals of frames that are not the user's; the lines of the traceback stay."""
    while traceback is not None:
        frame = traceback.tb_frame
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in _FORGETFUL:
            with suppress(RuntimeError):  # it still runs
                frame.clear()
        traceback = traceback.tb_next


def forgets(function: F) -> F:
    """Have a function that may be given secrets forget what it was given if it fails.

    A frame that runs cannot be cleared: so it is this one that runs, and forgets by itself.
    """

    @functools.wraps(function)
    def forgetful(*args: Any, **arguments: Any) -> Any:
        try:
            return function(*args, **arguments)
        except BaseException as error:
            args = ()
            arguments.clear()
            forget_locals(error.__traceback__)
            raise

    return forgetful  # type: ignore[return-value]


def forgets_what_it_is_made_of(cls: type[T]) -> type[T]:
    """The same for the ``__init__`` of a class."""
    cls.__init__ = forgets(cls.__init__)  # type: ignore[method-assign]
    return cls
