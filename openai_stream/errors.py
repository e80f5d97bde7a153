"""Every exception that the library raises, and nothing else.

One tree under :class:`OpenAIStreamError`, so that ``except OpenAIStreamError`` is enough, and one
class for each thing a caller would do something different about. The module knows no HTTP, no JSON
and no threads: what an error tells was put together by the room where it happened.

Errors cross process borders (a worker puts them on a queue), so each is picklable with all its
attributes; what cannot be pickled, a ``__cause__`` for one, stays behind.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from typing import Any

from .retrying import has_no_credit, is_servers_own, status_may_pass

__all__ = [
    "ASK_AGAIN",
    "CLOSED",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "InternalServerError",
    "NotFoundError",
    "OpenAIStreamError",
    "PermissionDeniedError",
    "RateLimitError",
    "RecordingError",
    "StreamAPIError",
    "StreamDecodeError",
    "StreamError",
    "StreamInterruptedError",
    "StreamTimeoutError",
    "StructuredOutputError",
    "UnprocessableEntityError",
    "class_of_status",
]

#: What the ``CancelledError`` of a closed stream says.
CLOSED = "the stream was closed; snapshot() has the partial answer"
#: What to do about an answer that was cut.
ASK_AGAIN = "Asking again may help; with restarts=1 a stream does that by itself"


class OpenAIStreamError(Exception):
    """The base of all errors of this library.

    :param message: what happened, where, and what to do about it.

    .. versionadded:: 0.1
    """

    #: With ``fallbacks``: the errors of those that were asked before, oldest first. This one is of
    #: the last that was asked.
    earlier: tuple[OpenAIStreamError, ...] = ()

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        for name, value in attributes.items():
            setattr(self, name, value)
        # Some register how all exceptions are pickled, as an import of Dask does: with causes,
        # contexts and tracebacks, which may be unfit for it. An error that was made before is
        # pickled so; a secret is not in there either (see ``redaction``).
        copyreg.dispatch_table.pop(type(self), None)

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later.

        ``True``: no connection, unless its reason lasts (a certificate that does not verify, a
        redirect, a CA bundle that is not there, a proxy that refuses); a deadline that has passed;
        the statuses 408, 409, 429 and those 5xx that are tried again, unless the account has no
        credit or the server says ``x-should-retry: false``; an answer that broke off or could not
        be read; a failure of the server's own in a stream. ``False``: everything else.

        .. versionadded:: 0.1
        """
        return self._may_pass()

    def _may_pass(self) -> bool:
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        # ``BaseException.__reduce__`` would call the class with ``args`` alone; the attributes
        # travel as state, which works for every subclass whatever its ``__init__`` takes.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    cls: type[OpenAIStreamError], args: tuple[Any, ...], state: dict[str, Any]
) -> OpenAIStreamError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(OpenAIStreamError, ValueError):
    """The call or the client cannot work as it was set up; nothing was sent.

    No API key for the default base URL, a key with a line break in it, a URL without a scheme, a
    body that JSON cannot carry. The message names the argument.

    .. versionadded:: 0.1
    """


class APIConnectionError(OpenAIStreamError):
    """No response: the connection was refused or broke, TLS failed, a proxy refused, or the server
    answered with a redirect, which is never followed (it would carry the key and the body along).

    .. versionadded:: 0.1
    """

    #: Asking again would bring the same: a certificate that does not verify, a redirect.
    lasting: bool = False

    def _may_pass(self) -> bool:
        return not self.lasting


class APITimeoutError(APIConnectionError, TimeoutError):
    """A deadline passed while connecting, sending, or waiting for the response to begin.

    .. versionadded:: 0.1
    """


class APIStatusError(OpenAIStreamError):
    """The server answered with an HTTP error status.

    The subclasses name the usual ones; any other status is this class itself.

    .. versionadded:: 0.1
    """

    #: The HTTP status.
    status_code: int = 0
    #: The response's body: parsed where it is JSON, text otherwise, ``None`` where it is empty.
    body: Any = None
    #: ``error.code`` of an OpenAI error object, ``None`` where there is none.
    code: str | None = None
    #: ``error.type`` of an OpenAI error object, ``None`` where there is none.
    type: str | None = None
    #: The ``x-request-id`` header, which OpenAI's support asks for.
    request_id: str | None = None
    #: All response headers, names in lower case.
    headers: Mapping[str, str] = {}
    #: Seconds that the server asked to wait, ``None`` where it did not say.
    retry_after: float | None = None

    def _may_pass(self) -> bool:
        return status_may_pass(self.status_code, self.headers) and not has_no_credit(self)


class BadRequestError(APIStatusError):
    """400: the server does not understand the request, or refuses one of its fields.

    .. versionadded:: 0.1
    """


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked.

    .. versionadded:: 0.1
    """


class PermissionDeniedError(APIStatusError):
    """403: the key is known but may not do this.

    .. versionadded:: 0.1
    """


class NotFoundError(APIStatusError):
    """404: no such model, deployment or path.

    .. versionadded:: 0.1
    """


class ConflictError(APIStatusError):
    """409: the resource was changed by another request.

    .. versionadded:: 0.1
    """


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed, but its content is not.

    .. versionadded:: 0.1
    """


class RateLimitError(APIStatusError):
    """429: too many requests, or the quota is used up.

    .. versionadded:: 0.1
    """


class InternalServerError(APIStatusError):
    """5xx: the server failed.

    .. versionadded:: 0.1
    """


class StreamError(OpenAIStreamError):
    """The response had begun, and the stream failed.

    Nothing that arrived before is lost: the events were delivered, and :attr:`snapshot` holds the
    partial completion.

    .. versionadded:: 0.1
    """

    #: What had arrived, accumulated; ``None`` for a call without ``stream=True``.
    snapshot: Any = None
    #: The URL that was asked, without its query; ``None`` where nothing was.
    url: str | None = None

    def __str__(self) -> str:
        # Who found the fault knew bytes or JSON; where they came from is known further out.
        what = super().__str__()
        return f"{self.url}: {what}" if self.url else what


class StreamInterruptedError(StreamError):
    """The connection ended, or was cut, before the stream was complete.

    .. versionadded:: 0.1
    """

    def _may_pass(self) -> bool:
        return True


class StreamTimeoutError(StreamError, TimeoutError):
    """A deadline passed after the response had begun: see :class:`Timeout`.

    .. versionadded:: 0.1
    """

    #: Which of them: ``"idle"``, ``"gap"``, ``"first"``, ``"content"`` or ``"total"``.
    deadline: str | None = None

    def _may_pass(self) -> bool:
        return True


class StreamDecodeError(StreamError):
    """What the server sent is not an event stream: wrong content type, not UTF-8, not JSON, or an
    event that is larger than ``max_event_bytes`` or would be many times as large in memory.

    .. versionadded:: 0.1
    """

    #: Asking again would bring the same: a wrong content type, an event too large.
    lasting: bool = False

    def _may_pass(self) -> bool:
        return not self.lasting


class StreamAPIError(StreamError):
    """The server sent an error in the stream.

    .. versionadded:: 0.1
    """

    #: ``code`` of the error object, ``None`` where it has none.
    code: str | None = None
    #: ``type`` of the error object, ``None`` where it has none.
    type: str | None = None
    #: The parsed data of the event that carried the error.
    body: Any = None

    def _may_pass(self) -> bool:
        return is_servers_own(self.code, self.type, self.body) and not has_no_credit(self)


class StructuredOutputError(StreamError):
    """The answer is not JSON of the class that was asked for.

    .. versionadded:: 0.1
    """

    #: The text of the answer.
    text: str = ""
    #: ``"refusal"``: the model refused. ``"length"``: it was cut at a limit of tokens.
    #: ``"content_filter"``: it was filtered. ``"invalid"``: it is something else.
    reason: str = "invalid"


class RecordingError(OpenAIStreamError):
    """Not a recording, broken, of a newer version, or not written completely.

    .. versionadded:: 0.1
    """


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def class_of_status(status: int) -> type[APIStatusError]:
    """The class for an HTTP error status."""
    if status >= 500:
        return InternalServerError
    return _BY_STATUS.get(status, APIStatusError)
