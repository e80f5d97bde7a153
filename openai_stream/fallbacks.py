"""``Fallback``: whom to ask, and for what, if the call itself brings no answer.

What leads from one to the next is decided in :mod:`.retrying`; who is being asked now is known to
:mod:`.candidates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from . import observers
from .arguments import STREAM_ARGUMENTS, check_fields
from .endpoints import Endpoint
from .redaction import forgets_what_it_is_made_of
from .request import Headers, Request, check_headers, merge, take_mapping
from .structured import take_class
from .timeouts import Timeout, timeout_of

__all__ = ["ARGUMENTS", "Fallback", "Wanted", "take_fallbacks"]

#: The body of a request is made of a call's arguments.
ARGUMENTS: Any = object()


class AnyClient(Protocol):
    """What all clients have. Which they are, a call checks: clients know fallbacks, not the other
    way around.
    """

    timeout: Timeout
    max_retries: int

    def close(self) -> None:
        """Close the connections that are kept."""


@forgets_what_it_is_made_of
@attrs.frozen(init=False, eq=False)
class Fallback:
    """Another client to ask, other fields of the body, or both, if a call brings no answer.

    ``fallbacks=[Fallback(model="gpt-5.1-mini"), Fallback(local, model="qwen3")]``: the fields that
    are given take the place of the call's own; all others are sent as they are.

    :param client: a :class:`Client` or an :class:`AzureClient`; ``None``: the call's own.
    :param extra_headers: headers to add, as in a call. Those of the call itself go to its own
        client only.
    :param extra_query: parameters to add to the URL; likewise.
    :param body: fields of the body; ``None`` leaves one out.
    :raises TypeError: an argument that only a call has.
    :raises ConfigurationError: a header that cannot be.

    .. versionadded:: 0.1
    """

    client: AnyClient | None
    extra_headers: Headers = attrs.field(repr=False)
    extra_query: Mapping[str, Any] = attrs.field(repr=False)
    body: Mapping[str, Any]

    def __init__(
        self,
        client: AnyClient | None = None,
        extra_headers: Headers | None = None,
        extra_query: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> None:
        if own := body.keys() & {*STREAM_ARGUMENTS, "stream"}:
            raise TypeError(f"Fallback() takes no argument {min(own)!r}: it is the call's")
        check_fields(body)
        given = {"extra_headers": extra_headers, "extra_query": extra_query}
        headers = take_mapping(given, "extra_headers")
        check_headers("extra_headers", headers)
        self.__attrs_init__(client, headers, take_mapping(given, "extra_query"), body)


def take_fallbacks(arguments: dict[str, Any]) -> tuple[Fallback, ...]:
    """The fallbacks among a call's arguments, which they leave.

    :raises TypeError: they are something else.
    """
    given = arguments.pop("fallbacks", ())
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping)):
        raise TypeError(f"fallbacks must be a list of Fallback, not a {type(given).__name__}")
    fallbacks = tuple(given)
    for one in fallbacks:
        if not isinstance(one, Fallback):
            raise TypeError(f"fallbacks must be a list of Fallback, not of {type(one).__name__}")
    return fallbacks


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
