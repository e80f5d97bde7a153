"""``Client``: where calls go, and with which key."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

import attrs
import requests

from . import endpoints, models
from .arguments import check_number, check_stream_arguments, signature, typed
from .attempts import TapMaker, Trace
from .base_client import (
    METHOD,
    MOST_EVENT_BYTES,
    BaseClient,
    Key,
    from_environment,
    keys_kept,
)
from .errors import ConfigurationError
from .redaction import forgets, forgets_what_it_is_made_of, shown
from .request import Headers, check_header_value, check_key, check_url
from .stream.crowds import Crowds
from .timeouts import Timeout, timeout_of
from .transport import Session

if TYPE_CHECKING:
    from .signatures import CreateResponse, ResumeResponse, StreamAny

__all__ = ["Client"]

_DEFAULT_HOST = "api.openai.com"
_DEFAULT_BASE_URL = f"https://{_DEFAULT_HOST}/v1"


#: One that taking it apart and putting it together again would leave as it is.
_PLAIN_URL = re.compile(r"https?://[^?#]+")


_RESUME = signature(
    "self", "id", optional="starting_after", stream=False, body=False, fallbacks=False
)


@forgets_what_it_is_made_of
@attrs.define(eq=False)
class Client(BaseClient):
    """Where calls go: base URL, key, timeouts, retries, and the connections that are kept.

    One client may be used from many threads at once. It cannot be pickled.

    :param api_key: default: ``OPENAI_API_KEY``. Without one, and with another base URL than
        OpenAI's, no ``Authorization`` header is sent. Keys that change: a function that returns
        one, asked before each attempt on the thread that makes it; ``None`` or a blank string means
        no key, and its exceptions are raised unchanged.
    :param base_url: default: ``OPENAI_BASE_URL``, ``OPENAI_API_ENDPOINT``, or OpenAI's own.
    :param organization: default: ``OPENAI_ORG_ID`` or ``OPENAI_ORGANIZATION``.
    :param project: default: ``OPENAI_PROJECT_ID``.
    :param timeout: a :class:`Timeout`, or seconds for its ``idle``, and without a stream for its
        ``gap`` too.
    :param max_retries: how often a request is retried before its response has begun.
    :param max_event_bytes: the most bytes of one event after decompression, and of a body that is
        not streamed; one above 256 KiB may have an object or a list for each 64 of them. While it
        is parsed it takes 6 to 10 times as much memory, at worst 35 times.
    :param headers: sent with each request.
    :param session: a :class:`requests.Session` to use as it is, and not to close. The library can
        then stop and time a request only as far as that session's connections allow: in the body,
        but not while connecting or waiting for headers.
    :param trace: called once an attempt with the ``requests.PreparedRequest`` and the
        ``requests.Response`` (``None`` when there was none; not to be read when streaming). The
        request carries the key.
    :param readers: the streams of this client are read by so many threads together, once their
        headers are there, instead of by one each; for those whose events go to an
        :class:`EventQueue` or a ``queue=``. Streams with any ``on_…``, through a SOCKS proxy, with
        TLS through an HTTPS proxy, or of a ``session`` keep a thread of their own; all do under
        gevent and eventlet. A ``queue=`` should not be bounded: a ``put`` that blocks holds up all
        streams of its reader. ``None``: a thread each.
    :raises ConfigurationError: no key for OpenAI's own URL; an argument that cannot be.

    .. versionadded:: 0.1
    """

    api_key: Key = attrs.field(default=None, repr=False)
    base_url: str | None = attrs.field(default=None, repr=lambda url: repr(shown(url)))
    organization: str | None = None
    project: str | None = None
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = MOST_EVENT_BYTES
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    readers: int | None = None
    _own_sessions: dict[int, Session] = attrs.field(factory=dict, init=False, repr=False)
    _crowds: Crowds = attrs.field(factory=Crowds, init=False, repr=False)
    _tap_maker: TapMaker | None = attrs.field(default=None, init=False, repr=False)
    _asked_for: deque[str] = attrs.field(factory=keys_kept, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key is None:
            self.api_key = from_environment("OPENAI_API_KEY")
        if self.base_url is None:
            self.base_url = (
                from_environment("OPENAI_BASE_URL", "OPENAI_API_ENDPOINT") or _DEFAULT_BASE_URL
            )
        if self.organization is None:
            self.organization = from_environment("OPENAI_ORG_ID", "OPENAI_ORGANIZATION")
        if self.project is None:
            self.project = from_environment("OPENAI_PROJECT_ID")
        self._check()

    def _check(self) -> None:
        check_url("base_url", self.base_url)
        if not self._has_key() and self._needs_key():
            raise ConfigurationError(
                "no API key: set the environment variable OPENAI_API_KEY, or pass api_key=…"
            )
        for name in ("api_key", "organization", "project"):
            value = getattr(self, name)
            if name == "api_key" and isinstance(value, str):
                check_key(name, value)
            elif value is not None and not (name == "api_key" and callable(value)):
                check_header_value(name, value)
        super()._check()

    @typed(lambda: CreateResponse[NoReturn], METHOD)
    def create_response(self, **arguments: Any) -> Any:
        """``POST /responses``. See :func:`openai_stream.create_response`."""
        return self._call(lambda: endpoints.RESPONSES, arguments)

    @typed(lambda: ResumeResponse[NoReturn], _RESUME)
    @forgets
    def resume_response(
        self,
        id: str,
        starting_after: int | None = None,
        **arguments: Any,
    ) -> Any:
        """``GET /responses/{id}?stream=true``. See :func:`openai_stream.resume_response`.

        .. versionadded:: 0.1
        """
        check_number("starting_after", starting_after)
        check_stream_arguments("resume_response", arguments)
        if "fallbacks" in arguments:
            raise TypeError(
                "resume_response() takes no fallbacks: no other server has the response"
            )
        arguments["stream"] = True
        return self._call(
            lambda: endpoints.stored_response(id, "GET", after=starting_after), arguments, {}
        )

    @forgets
    def retrieve_response(
        self,
        id: str,
        *,
        timeout: Timeout | float | None = None,
        extra_headers: Headers | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> models.Response:
        """``GET /responses/{id}``. See :func:`openai_stream.retrieve_response`.

        .. versionadded:: 0.1
        """
        return self._of_stored(id, "GET", "", timeout, extra_headers, extra_query)

    @forgets
    def cancel_response(
        self,
        id: str,
        *,
        timeout: Timeout | float | None = None,
        extra_headers: Headers | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> models.Response:
        """``POST /responses/{id}/cancel``. See :func:`openai_stream.cancel_response`.

        .. versionadded:: 0.1
        """
        return self._of_stored(id, "POST", "/cancel", timeout, extra_headers, extra_query)

    def _of_stored(
        self,
        ident: str,
        method: str,
        action: str,
        timeout: Timeout | float | None,
        extra_headers: Headers | None,
        extra_query: Mapping[str, Any] | None,
    ) -> models.Response:
        arguments = {
            "timeout": timeout,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
        }
        response: models.Response = self._call(
            lambda: endpoints.stored_response(ident, method, action), arguments, {}
        )
        return response

    @typed(lambda: StreamAny, signature("self", "path", "body", stream=False, body=False))
    @forgets
    def stream(self, path: str, body: Any, **arguments: Any) -> Any:
        """Stream any other endpoint that answers with JSON server-sent events.

        The events are :class:`ServerEvent`; ``result()`` is the last one's data. It is complete at
        ``[DONE]``, or at an orderly end of a body that has a length or is chunked.

        :param path: below the base URL.
        :param body: sent as it is, as JSON.
        :param arguments: those of a stream (:func:`create_chat_completion`), ``timeout``, and
            ``extra_…``.
        :returns: an :class:`EventQueue`, or with ``on_next`` or ``queue`` the :class:`Stream`.
        :raises OpenAIStreamError: as :func:`create_chat_completion` does.
        """
        check_stream_arguments("stream", arguments, "put it into the body")
        arguments["stream"] = True
        return self._call(lambda: endpoints.any_endpoint(path), arguments, body)

    def _url(self, endpoint: str, body: Any) -> str:
        assert self.base_url is not None
        if _PLAIN_URL.fullmatch(self.base_url):
            return self.base_url.rstrip("/") + endpoint
        base = urlsplit(self.base_url)
        return urlunsplit(base._replace(path=base.path.rstrip("/") + endpoint))

    def _own_headers(self) -> Headers:
        return {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}

    def _has_key(self) -> bool:
        return bool(self.api_key)

    def _needs_key(self) -> bool:
        return urlsplit(self.base_url).hostname == _DEFAULT_HOST

    def _authorization(self) -> tuple[str, str] | None:
        key = self.api_key
        if callable(key):
            key = self._asked("api_key", key)
            if key is None and self._needs_key():
                raise ConfigurationError("no API key: the function given as api_key returned none")
        if not key:
            return None
        check_key("api_key", key)  # it may have been set since
        return "Authorization", f"Bearer {key}"
