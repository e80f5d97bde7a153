"""What a whole answer has beside the wire's JSON: the HTTP response that brought it."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

import attrs

from .model import Model

__all__ = ["HTTP", "Whole", "brought_by"]

W = TypeVar("W")


@attrs.frozen
class HTTP:
    """The HTTP response that brought an answer; after retries and restarts, the newest one.

    .. versionadded:: 0.1
    """

    #: The status.
    status_code: int
    #: The headers, found in any case.
    headers: Mapping[str, str] = attrs.field(repr=False)
    #: The ``x-request-id`` header, which OpenAI's support asks for; ``None`` if there is none.
    request_id: str | None = attrs.field(repr=False)


class Whole(Model):
    """Base of the whole answers."""

    # No field: no part of the JSON, of what is compared, or of a pickle.
    __slots__ = ("_http",)

    _http: HTTP

    @property
    def http(self) -> HTTP | None:
        """Status, headers and request id of the response that brought it.

        ``None`` on a snapshot, on what was made by hand, and on what comes out of a pickle.

        .. versionadded:: 0.1
        """
        return getattr(self, "_http", None)


class _Response(Protocol):
    """What of a ``requests`` response is used here."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]: ...


def brought_by(answer: W, response: _Response) -> W:
    """Note on an answer which response brought it, if it has a place for that.

    :param answer: a new one, which nobody else has yet.
    """
    if isinstance(answer, Whole):
        headers = response.headers
        http = HTTP(response.status_code, headers, headers.get("x-request-id"))
        object.__setattr__(answer, "_http", http)
    return answer
