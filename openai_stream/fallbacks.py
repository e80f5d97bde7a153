"""``Fallback``: whom to ask, and for what, if the call itself brings no answer.

What leads from one to the next is decided in :mod:`.retrying`; who is being asked now is known to
:mod:`.candidates`. Imported by the first call that has fallbacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import attrs

from .arguments import STREAM_ARGUMENTS, check_fields
from .publishing import publish
from .redaction import forgets_what_it_is_made_of
from .request import Headers, check_headers, take_mapping
from .timeouts import Timeout

__all__ = ["Fallback", "check_fallbacks"]


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


def check_fallbacks(given: Any) -> tuple[Fallback, ...]:
    """What is given as ``fallbacks``.

    :raises TypeError: it is something else.
    """
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping)):
        raise TypeError(f"fallbacks must be a list of Fallback, not a {type(given).__name__}")
    fallbacks = tuple(given)
    for one in fallbacks:
        if not isinstance(one, Fallback):
            raise TypeError(f"fallbacks must be a list of Fallback, not of {type(one).__name__}")
    return fallbacks


publish(globals(), "openai_stream", ["Fallback"])
