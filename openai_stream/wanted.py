"""``Wanted``: what a call asks for, whoever is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from . import observers
from .arguments import check_fields
from .endpoints import Endpoint
from .first_use import importing
from .request import Headers, Request, check_headers, merge, take_mapping
from .structured import take_class
from .timeouts import Timeout, timeout_of

if TYPE_CHECKING:
    from .fallbacks import Fallback

__all__ = ["ARGUMENTS", "Wanted", "take_fallbacks"]


def take_fallbacks(arguments: dict[str, Any]) -> tuple[Fallback, ...]:
    """The fallbacks among a call's arguments, which they leave.

    :raises TypeError: they are something else.
    """
    if "fallbacks" not in arguments:
        return ()
    with importing():
        from .fallbacks import check_fallbacks  # noqa: PLC0415 - most calls have none

    return check_fallbacks(arguments.pop("fallbacks"))


#: The body of a request is made of a call's arguments.
ARGUMENTS: Any = object()


@attrs.frozen(eq=False, repr=False)
class Wanted:
    """What a call asks for, whoever is asked.

    :param endpoint: where.
    :param body: of the request.
    :param cls: the class that the answer is to be JSON of, if there is one.
    :param stream: events are asked for.
    :param headers: the user's.
    :param query: the user's.
    :param limits: the call's; ``None``: those of the client that is asked count.
    :param attempts: the requests that are made, whoever is asked; ``None`` if nobody observes.
    """

    endpoint: Endpoint[Any, Any]
    body: Any
    cls: type | None
    stream: bool
    headers: Headers
    query: Mapping[str, Any]
    limits: Timeout | None
    attempts: list[observers.Attempt] | None

    @classmethod
    def taken_from(
        cls, arguments: dict[str, Any], endpoint: Endpoint[Any, Any], stream: bool, body: Any
    ) -> Wanted:
        """What a call's arguments ask for; they are checked.

        :param arguments: those of streaming have been taken away.
        :param body: the request's, or :data:`ARGUMENTS`.
        """
        timeout = arguments.pop("timeout", None)
        limits = None if timeout is None else timeout_of(timeout)
        headers = take_mapping(arguments, "extra_headers")
        query = take_mapping(arguments, "extra_query")
        extra_body = take_mapping(arguments, "extra_body")
        check_headers("extra_headers", headers)
        answer = None
        if body is ARGUMENTS:
            check_fields(arguments)
            answer = take_class(arguments, endpoint.class_argument)
            body = {**arguments, **({"stream": True} if stream else {})}
        if extra_body:
            if not isinstance(body, dict):
                raise TypeError(f"extra_body cannot be added to a {type(body).__name__}")
            body = {**body, **extra_body}
        observed = observers.observer is not None and not endpoint.stored
        attempts: list[observers.Attempt] | None = [] if observed else None
        return cls(endpoint, body, answer, stream, headers, query, limits, attempts)

    def noting(
        self, provider: str | None, request: Request, clean: Callable[[str], str], number: int
    ) -> observers.Sent | None:
        """What notes the requests that are made of one who is asked, where anybody observes.

        :param provider: as :class:`~.observers.Call` has it.
        :param clean: takes secrets out of a text.
        :param number: of the fallback; 0 is the call's own client.
        """
        if self.attempts is None:
            return None
        call = observers.Call(
            provider, self.endpoint.path, request.url, request.body, self.stream, clean,
            self.attempts,
        )  # fmt: skip
        return observers.Sent(call, number)

    def changed(self, fallback: Fallback, same_client: bool) -> Wanted:
        """What a fallback is asked for.

        :param same_client: it is the call's own client.
        :raises TypeError: the body has no fields.
        """
        fields = dict(fallback.body)
        cls = take_class(fields, self.endpoint.class_argument) or self.cls
        body = self.body
        if fields:
            if not isinstance(body, dict):
                raise TypeError(f"a Fallback has no fields for a {type(body).__name__}")
            left_out = {name for name, value in fields.items() if value is None}
            body = {
                name: value for name, value in {**body, **fields}.items() if name not in left_out
            }
        headers, query = fallback.extra_headers, fallback.extra_query
        if same_client:
            headers, query = merge(self.headers, headers), {**self.query, **query}
        return attrs.evolve(self, body=body, cls=cls, headers=headers, query=query)
