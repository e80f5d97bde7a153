"""Clients: where requests go, with which key and body, how often, and what a status means.

A client turns a call into an HTTP response or an error of ours. What is in the response, and on
which thread it is read, is not its business.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import json
import os
import random
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, Protocol, TypeVar, overload
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import attrs
import requests
import requests.structures
import urllib3
import urllib3.exceptions

from . import errors
from .endpoints import CHAT_COMPLETIONS, COMPLETIONS, RESPONSES, Endpoint, any_endpoint
from .errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    OpenAIStreamError,
    RateLimitError,
    StreamDecodeError,
    StreamError,
    StreamTimeoutError,
)
from .models import ChatCompletion, ChatCompletionChunk, Completion, Response, ResponseEvent
from .queues import EventQueue
from .reader import api_error, clip, error_fields, expiry
from .sse import decode_json
from .stream import Callbacks, Core, Stream
from .timeouts import Timeout, timeout_of
from .transport import Aborted, Body, Exchange, Expired, Session, reason, send

__all__ = ["AzureClient", "BaseClient", "Client"]

_DEFAULT_HOST = "api.openai.com"
_DEFAULT_BASE_URL = f"https://{_DEFAULT_HOST}/v1"

_AZURE_API_VERSION = "2024-10-21"  # the newest that Azure calls generally available

_MIB = 1024 * 1024
_LONGEST_RETRY_AFTER = 60.0  # seconds; a server that wants more gets no further attempt
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_ERROR_BODY = _MIB  # bytes of an error's body that are looked at
_ERROR_BODY_SECONDS = 5.0  # and how long it may take: the status is the news, not the body

E = TypeVar("E")
W = TypeVar("W")
C = TypeVar("C", bound="BaseClient")
OnError = Callable[[BaseException], object]
Headers = Mapping[str, str | None]
Trace = Callable[[requests.PreparedRequest, requests.Response | None], object]


def _from_environment(*names: str) -> str | None:
    """The first of the variables that is set; an empty one is not."""
    return next((value for name in names if (value := os.environ.get(name))), None)


@attrs.frozen
class _Streaming:
    """The arguments that only a stream has, with their defaults."""

    on_next: Callable[[Any], object] | None = None
    on_done: Callable[[Any], object] | None = None
    on_error: OnError | None = None
    stream_close: bool = False
    maxsize: int = 0
    queue: Any = None
    tag: Any = None
    nowait: bool = False
    replay: bool = False

    @classmethod
    def taken_from(cls, arguments: dict[str, Any]) -> _Streaming:
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
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable, not {getattr(self, name)!r}")
        if not isinstance(self.maxsize, int) or isinstance(self.maxsize, bool):
            raise TypeError(f"maxsize must be an int, not {self.maxsize!r}")
        put = getattr(self.queue, "put", None)
        if self.queue is not None and (not callable(put) or inspect.iscoroutinefunction(put)):
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


class Sink(Protocol):
    """What ``queue=`` takes."""

    def put(self, item: Any, /) -> Any:
        """Take in an item; may block."""


#: The body of a request is made of a call's arguments.
_ARGUMENTS: Any = object()


class BaseClient:
    """What all clients do; where they differ is in four small methods of theirs."""

    # An attrs mixin without fields: each client lists its own, in the order of its arguments.
    api_key: str | None
    timeout: Timeout
    max_retries: int
    max_event_bytes: int
    headers: Headers | None
    session: requests.Session | None
    trace: Trace | None
    _own_session: Session | None
    _own_pid: int
    _lock: threading.Lock

    def _url(self, endpoint: str, body: Any) -> str:
        """Where a request goes, without ``extra_query``."""
        raise NotImplementedError

    def _own_headers(self) -> Headers:
        """The headers that only this client sends; without the key."""
        return {}

    def _authorization(self) -> tuple[str, str] | None:
        """The header with the key, anew for each attempt."""
        raise NotImplementedError

    def _check(self) -> None:
        """Refuse what cannot be.

        :raises ConfigurationError: naming the argument.
        """
        if self.headers is not None:
            _check_headers("headers", self.headers)
        for name, least in (("max_retries", 0), ("max_event_bytes", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"{name} must be an int of at least {least}: {value!r}")

    # -- calls --------------------------------------------------------------------------------

    @overload
    def create_chat_completion(
        self, *, stream: Literal[False] = False, **arguments: Any
    ) -> ChatCompletion: ...
    @overload
    def create_chat_completion(
        self,
        *,
        stream: Literal[True],
        on_next: None = None,
        on_done: Callable[[ChatCompletion], object] | None = None,
        on_error: OnError | None = None,
        stream_close: bool = False,
        maxsize: int = 0,
        queue: None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> EventQueue[ChatCompletionChunk]: ...
    @overload
    def create_chat_completion(
        self,
        *,
        stream: Literal[True],
        on_next: Callable[[ChatCompletionChunk], object],
        on_done: Callable[[ChatCompletion], object] | None = None,
        on_error: OnError | None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def create_chat_completion(
        self,
        *,
        stream: Literal[True],
        queue: Sink,
        on_done: Callable[[ChatCompletion], object] | None = None,
        on_error: OnError | None = None,
        tag: Any = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    def create_chat_completion(self, **arguments: Any) -> Any:
        """``POST /chat/completions``. See :func:`openai_stream.create_chat_completion`."""
        return self._call(CHAT_COMPLETIONS, arguments)

    @overload
    def create_completion(
        self, *, stream: Literal[False] = False, **arguments: Any
    ) -> Completion: ...
    @overload
    def create_completion(
        self,
        *,
        stream: Literal[True],
        on_next: None = None,
        on_done: Callable[[Completion], object] | None = None,
        on_error: OnError | None = None,
        stream_close: bool = False,
        maxsize: int = 0,
        queue: None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> EventQueue[Completion]: ...
    @overload
    def create_completion(
        self,
        *,
        stream: Literal[True],
        on_next: Callable[[Completion], object],
        on_done: Callable[[Completion], object] | None = None,
        on_error: OnError | None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[Completion, Completion]: ...
    @overload
    def create_completion(
        self,
        *,
        stream: Literal[True],
        queue: Sink,
        on_done: Callable[[Completion], object] | None = None,
        on_error: OnError | None = None,
        tag: Any = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[Completion, Completion]: ...
    def create_completion(self, **arguments: Any) -> Any:
        """``POST /completions``. See :func:`openai_stream.create_completion`."""
        return self._call(COMPLETIONS, arguments)

    def _call(
        self, endpoint: Endpoint[E, W], arguments: dict[str, Any], body: Any = _ARGUMENTS
    ) -> Any:
        """Make a call.

        :param body: the request's; otherwise what is left of the arguments.
        """
        stream = arguments.pop("stream", False)
        streaming = _Streaming.taken_from(arguments)
        streaming.check(stream)
        timeout = arguments.pop("timeout", None)
        timeout = self.timeout if timeout is None else timeout_of(timeout)
        call = self._prepare(endpoint.path, arguments, stream, body)
        if not stream:
            return self._ask(endpoint, call, timeout)

        core = Core(
            endpoint,
            timeout,
            lambda exchange: self._open(call, exchange),
            self.max_event_bytes,
            Callbacks(streaming.on_next, streaming.on_done, streaming.on_error),
            live_on=streaming.makes_no_queue,
            replay=streaming.replay,
        )
        handle = Stream(core)
        events = None
        if streaming.queue is not None:
            core.put_on(streaming.queue.put, streaming.tag)
        elif streaming.on_next is None:
            events = core.make_queue(handle, streaming.maxsize, streaming.stream_close)
        if not streaming.nowait:
            core.connect()
        core.start()
        return handle if events is None else events

    def _ask(self, endpoint: Endpoint[E, W], call: _Call, timeout: Timeout) -> W:
        """The call without a stream."""
        exchange = Exchange(timeout, streaming=False)
        response = self._open(call, exchange)
        body = Body(response, exchange)
        try:
            text = body.read_all(self.max_event_bytes).decode()
            body.finish()
        except UnicodeDecodeError as error:
            raise StreamDecodeError(f"the server's answer is not UTF-8: {error.reason}") from error
        except Expired:
            raise StreamTimeoutError(expiry(exchange)) from None
        finally:
            body.close()
        try:
            answer = decode_json(text)
        except StreamDecodeError as error:
            raise StreamDecodeError(
                f"the server's answer is not JSON; it begins with {clip(text, 40)!r}: is the base "
                f"URL right?"
            ) from error.__cause__
        if not isinstance(answer, dict):
            raise StreamDecodeError("the server's answer is JSON, but no object")
        if answer.get("error") is not None and not endpoint.is_whole(answer):
            raise api_error(answer)
        return endpoint.whole(answer)

    # -- requests -----------------------------------------------------------------------------

    def _prepare(self, path: str, arguments: dict[str, Any], stream: bool, body: Any) -> _Call:
        """Everything that is the same for each attempt, checked before anything is sent."""
        headers = _option(arguments, "extra_headers")
        query = _option(arguments, "extra_query")
        extra_body = _option(arguments, "extra_body")
        _check_headers("extra_headers", headers)
        if body is _ARGUMENTS:
            body = {**arguments, **({"stream": True} if stream else {})}
        if extra_body:
            body = {**body, **extra_body}
        return _Call(
            url=_with_query(self._url(path, body), query),
            headers=_merge(
                {
                    "Accept": "text/event-stream" if stream else "application/json",
                    # Compression holds events back until its window fills.
                    "Accept-Encoding": "identity",
                    "Content-Type": "application/json",
                    "User-Agent": f"openai-stream requests/{requests.__version__}",
                },
                self._own_headers(),
                self.headers or {},
                headers,
            ),
            body=_encode(body),
        )

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the key in, as ``requests`` wants it: an ``auth`` keeps ``~/.netrc`` out."""
        header = self._authorization()
        if header is not None and header[0] not in request.headers:
            request.headers[header[0]] = header[1]
        return request

    def _open(self, call: _Call, exchange: Exchange) -> requests.Response:
        """Try until there is a response with a good status.

        :raises OpenAIStreamError: there is none.
        :raises Aborted: the exchange was aborted.
        """
        retries = 0
        while True:
            try:
                exchange.begin()
                outcome = self._try(call, exchange)
                if isinstance(outcome, requests.Response):
                    return outcome
                wait = outcome.after
                if wait is None:
                    # Exponential, with jitter: many clients shall not come back together.
                    wait = min(8.0, 0.5 * 2**retries) * random.uniform(0.75, 1)  # noqa: S311
                if not outcome.retry or retries >= self.max_retries or wait > _LONGEST_RETRY_AFTER:
                    break
                retries += 1
                exchange.sleep(wait)
            except Expired:
                raise APITimeoutError(f"{expiry(exchange)}, after {retries} retries") from None
        raise outcome.error

    def _try(self, call: _Call, exchange: Exchange) -> requests.Response | _Failure:
        session = self._session()
        response: requests.Response | None = None
        failure: _Failure | None = None
        request = session.prepare_request(
            requests.Request(
                "POST",
                call.url,
                headers=call.headers,
                data=call.body,
                # Any ``auth`` keeps ``~/.netrc`` out; a session that has its own keeps that.
                auth=None if session.auth and self.api_key is None else self._authorize,
            )
        )
        try:
            response = send(session, request, exchange)
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            if exchange.aborted:
                raise Aborted from None
            failure = self._no_response(error, exchange, request)
        try:
            if self.trace is not None:
                self.trace(request, response)
            if response is None:
                assert failure is not None
                return failure
            if 200 <= response.status_code < 300:
                return response
            return self._bad_status(response, exchange, call)
        except BaseException:
            if response is not None:
                response.close()
            raise

    def _no_response(
        self, error: Exception, exchange: Exchange, request: requests.PreparedRequest
    ) -> _Failure:
        """What to tell of an attempt that brought no response."""
        where = _shown(request.url or "")
        why = self._without_secrets(reason(error))
        told: OpenAIStreamError
        retry = True
        if exchange.expired is not None:
            told = APITimeoutError(f"{where}: {expiry(exchange)}")
            retry = exchange.expired != "total"
            exchange.expired = None
        elif isinstance(error, _NOT_SENT):
            told = ConfigurationError(f"{where}: the request cannot be made: {why}")
            retry = False
        elif isinstance(error, (requests.Timeout, TimeoutError)):
            told = APITimeoutError(f"{where}: {why}")
        elif isinstance(error, requests.exceptions.SSLError):
            told = APIConnectionError(f"{where}: TLS failed: {why}")
            retry = not _is_verification(error)
        elif isinstance(error, requests.exceptions.ProxyError):
            told = APIConnectionError(f"{where}: the proxy gives no connection: {why}")
        else:
            told = APIConnectionError(
                f"{where}: no response: {why}. Is the server running, and the base URL right?"
            )
        told.__cause__ = error if self._is_clean(error) else None
        return _Failure(told, retry)

    def _bad_status(self, response: requests.Response, exchange: Exchange, call: _Call) -> _Failure:
        """What to tell of a response that is no answer."""
        where = _shown(call.url)
        status = response.status_code
        if 300 <= status < 400:
            target = _shown(response.headers.get("location", "nowhere"))
            response.close()
            return _Failure(
                APIConnectionError(
                    f"{where}: the server redirects ({status}) to {target}. Redirects are not "
                    "followed, they would carry the key along: use that address as base URL"
                ),
                retry=False,
            )
        text = self._without_secrets(_error_body(response, exchange))
        body: Any = text or None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(text)
        said, kind, code = error_fields(body)
        after = _retry_after(response.headers)
        request_id = response.headers.get("x-request-id")
        cls = errors.status_error(status)
        message = f"{where}: {status} {response.reason or ''}".rstrip()
        if said or text:
            message += f": {clip(said or text)}"
        if named := ", ".join(part for part in (kind, code) if part):
            message += f" ({named})"
        if status == 400 and "stream_options" in text:
            message += ". This server does not take stream_options: leave it out"
        elif hint := _HINTS.get(status):
            message += f". {hint}"
        if request_id:
            message += f" [request {request_id}]"
        told = cls(
            message,
            status_code=status,
            body=body,
            code=code,
            type=kind,
            request_id=request_id,
            headers=response.headers,
        )
        if isinstance(told, RateLimitError):
            told.retry_after = after
        wish = response.headers.get("x-should-retry", "").lower()
        return _Failure(
            told, retry=wish != "false" and (wish == "true" or status in _RETRIED), after=after
        )

    def _keys(self) -> list[str | None]:
        """The keys that this client sends."""
        return [self.api_key]

    def _secrets(self) -> list[str]:
        """What must show nowhere: the key, and passwords of proxies."""
        proxies = urllib.request.getproxies()
        if self.session is not None:
            proxies = {**proxies, **self.session.proxies}
        secrets = self._keys()
        for proxy in proxies.values():
            with contextlib.suppress(ValueError):
                secrets.append(urlsplit(proxy).password)
        return [secret for secret in secrets if secret]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _is_clean(self, error: BaseException) -> bool:
        """Whether neither the error nor its causes show a secret, as a traceback would print."""
        seen: list[BaseException] = []
        link: BaseException | None = error
        while link is not None and link not in seen:
            seen.append(link)
            link = link.__cause__ or link.__context__
        text = "".join(f"{link!s}{link!r}" for link in seen)
        return self._without_secrets(text) == text

    # -- connections --------------------------------------------------------------------------

    def _session(self) -> requests.Session:
        if self.session is not None:
            return self.session
        with self._lock:
            # A forked child must not read from its parent's connections.
            if self._own_session is None or self._own_pid != os.getpid():
                self._own_session, self._own_pid = Session(), os.getpid()
            return self._own_session

    def close(self) -> None:
        """Close the connections that are kept. It ends no stream; a later call opens new ones."""
        with self._lock:
            session, self._own_session = self._own_session, None
        if session is not None and self._own_pid == os.getpid():
            session.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a client has a key and open connections, and is not to be pickled")


@attrs.define(eq=False)
class Client(BaseClient):
    """Where calls go: base URL, key, timeouts, retries, and the connections that are kept.

    One client may be used from many threads at once. It refuses to be pickled.

    :param api_key: default: ``OPENAI_API_KEY``. Without one, and with another base URL than
        OpenAI's, no ``Authorization`` header is sent.
    :param base_url: default: ``OPENAI_BASE_URL``, ``OPENAI_API_ENDPOINT``, or OpenAI's own.
    :param organization: default: ``OPENAI_ORG_ID`` or ``OPENAI_ORGANIZATION``.
    :param project: default: ``OPENAI_PROJECT_ID``.
    :param timeout: a :class:`Timeout`, or seconds for its ``idle``.
    :param max_retries: how often a request is tried again before its response has begun.
    :param max_event_bytes: the most bytes of one event after decompression, and of a body that is
        not streamed.
    :param headers: sent with each request.
    :param session: a ``requests.Session`` to use as it is, and not to close. The library can then
        stop and time a request only as far as that session's connections allow: in the body, but
        not while connecting or waiting for headers.
    :param trace: called once an attempt with the ``requests.PreparedRequest`` and the
        ``requests.Response`` (``None`` when there was none; not to be read when streaming). The
        request carries the key.
    :raises ConfigurationError: no key for OpenAI's own URL; a key, URL or header that cannot be.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = attrs.field(default=None, repr=lambda url: repr(_shown(url)))
    organization: str | None = None
    project: str | None = None
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = 32 * _MIB
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    _own_session: Session | None = attrs.field(default=None, init=False, repr=False)
    _own_pid: int = attrs.field(default=0, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key is None:
            self.api_key = _from_environment("OPENAI_API_KEY")
        if self.base_url is None:
            self.base_url = (
                _from_environment("OPENAI_BASE_URL", "OPENAI_API_ENDPOINT") or _DEFAULT_BASE_URL
            )
        if self.organization is None:
            self.organization = _from_environment("OPENAI_ORG_ID", "OPENAI_ORGANIZATION")
        if self.project is None:
            self.project = _from_environment("OPENAI_PROJECT_ID")
        self._check()

    def _check(self) -> None:
        _check_url("base_url", self.base_url)
        if self.api_key is None and urlsplit(self.base_url).hostname == _DEFAULT_HOST:
            raise ConfigurationError(
                "no API key: set the environment variable OPENAI_API_KEY, or pass api_key=…"
            )
        for name in ("api_key", "organization", "project"):
            value = getattr(self, name)
            if value is not None:
                _check_header_value(name, value)
        super()._check()

    @overload
    def create_response(self, *, stream: Literal[False] = False, **arguments: Any) -> Response: ...
    @overload
    def create_response(
        self,
        *,
        stream: Literal[True],
        on_next: None = None,
        on_done: Callable[[Response], object] | None = None,
        on_error: OnError | None = None,
        stream_close: bool = False,
        maxsize: int = 0,
        queue: None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> EventQueue[ResponseEvent]: ...
    @overload
    def create_response(
        self,
        *,
        stream: Literal[True],
        on_next: Callable[[ResponseEvent], object],
        on_done: Callable[[Response], object] | None = None,
        on_error: OnError | None = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def create_response(
        self,
        *,
        stream: Literal[True],
        queue: Sink,
        on_done: Callable[[Response], object] | None = None,
        on_error: OnError | None = None,
        tag: Any = None,
        nowait: bool = False,
        replay: bool = False,
        **arguments: Any,
    ) -> Stream[ResponseEvent, Response]: ...
    def create_response(self, **arguments: Any) -> Any:
        """``POST /responses``. See :func:`openai_stream.create_response`."""
        return self._call(RESPONSES, arguments)

    def stream(
        self,
        path: str,
        body: Any,
        **arguments: Any,
    ) -> Any:
        """Stream any other endpoint that answers with JSON server-sent events.

        The events are :class:`ServerEvent`; ``result()`` is the last one's data. It is complete at
        ``[DONE]``, or at an orderly end of a body that tells where it ends.

        :param path: below the base URL.
        :param body: sent as it is, as JSON.
        :param arguments: those of a stream (:func:`create_chat_completion`), ``timeout``, and
            ``extra_…``.
        :returns: an :class:`EventQueue`, or with ``on_next`` or ``queue`` the :class:`Stream`.
        """
        arguments["stream"] = True
        unknown = arguments.keys() - _STREAM_ARGUMENTS
        if unknown:
            raise TypeError(f"stream() takes no argument {min(unknown)!r}: put it into the body")
        return self._call(any_endpoint("/" + path.lstrip("/")), arguments, body)

    def _url(self, endpoint: str, body: Any) -> str:
        assert self.base_url is not None
        base = urlsplit(self.base_url)
        return urlunsplit(base._replace(path=base.path.rstrip("/") + endpoint))

    def _own_headers(self) -> Headers:
        return {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}

    def _authorization(self) -> tuple[str, str] | None:
        return None if self.api_key is None else ("Authorization", f"Bearer {self.api_key}")


@attrs.define(eq=False)
class AzureClient(BaseClient):
    """Where calls go in Azure: ``model`` is the name of the deployment.

    The URL is ``{endpoint}/openai/deployments/{model}/chat/completions?api-version=…``. Everything
    else is as with :class:`Client`. Source: Azure OpenAI REST API reference, "Authentication".

    :param api_key: sent as ``api-key``; default: ``AZURE_OPENAI_API_KEY``.
    :param endpoint: ``https://….openai.azure.com``; default: ``AZURE_OPENAI_ENDPOINT`` or
        ``AZURE_OPENAI_API_ENDPOINT``.
    :param api_version: default: ``OPENAI_API_VERSION``.
    :param azure_ad_token: a Microsoft Entra ID token, sent as ``Authorization`` and in the place
        of a key; or a function that returns one, asked before each attempt.
    :raises ConfigurationError: no endpoint, or neither key nor token.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    endpoint: str | None = attrs.field(default=None, repr=lambda url: repr(_shown(url)))
    api_version: str | None = None
    azure_ad_token: str | Callable[[], str] | None = attrs.field(default=None, repr=False)
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = 32 * _MIB
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    _own_session: Session | None = attrs.field(default=None, init=False, repr=False)
    _own_pid: int = attrs.field(default=0, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _last_token: str | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.api_key is None and self.azure_ad_token is None:
            self.api_key = _from_environment("AZURE_OPENAI_API_KEY")
        if self.endpoint is None:
            self.endpoint = _from_environment("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_ENDPOINT")
        if self.api_version is None:
            self.api_version = _from_environment("OPENAI_API_VERSION") or _AZURE_API_VERSION
        self._check()

    def _check(self) -> None:
        if self.endpoint is None:
            raise ConfigurationError(
                "no endpoint: set the environment variable AZURE_OPENAI_ENDPOINT, or pass "
                "endpoint='https://….openai.azure.com'"
            )
        _check_url("endpoint", self.endpoint)
        if self.api_key is None and self.azure_ad_token is None:
            raise ConfigurationError(
                "no API key: set the environment variable AZURE_OPENAI_API_KEY, or pass api_key=… "
                "or azure_ad_token=…"
            )
        if self.api_key is not None:
            _check_header_value("api_key", self.api_key)
        if isinstance(self.azure_ad_token, str):
            _check_header_value("azure_ad_token", self.azure_ad_token)
        elif self.azure_ad_token is not None and not callable(self.azure_ad_token):
            raise ConfigurationError(
                "azure_ad_token must be a string or a function that returns one"
            )
        super()._check()

    def _url(self, endpoint: str, body: Any) -> str:
        assert self.endpoint is not None
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise ConfigurationError(
                f"model must be the name of the Azure deployment, not {model!r}"
            )
        base = urlsplit(self.endpoint)
        path = f"{base.path.rstrip('/')}/openai/deployments/{quote(model, safe='')}{endpoint}"
        return _with_query(urlunsplit(base._replace(path=path)), {"api-version": self.api_version})

    def _authorization(self) -> tuple[str, str] | None:
        token = self.azure_ad_token
        if token is None:
            assert self.api_key is not None
            return "api-key", self.api_key
        if not isinstance(token, str):
            token = token()
            _check_header_value("azure_ad_token", token)
        self._last_token = token
        return "Authorization", f"Bearer {token}"

    def _keys(self) -> list[str | None]:
        return [self.api_key, self._last_token]


@attrs.frozen(repr=False)
class _Call:
    """A request, as it is for each attempt."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class _Failure:
    """An attempt that brought no answer.

    :param error: what to raise if it is the last.
    :param retry: whether another may do better.
    :param after: seconds that the server wants to be left alone.
    """

    error: OpenAIStreamError
    retry: bool
    after: float | None = None


_STREAM_ARGUMENTS = frozenset(
    {
        "stream",
        "timeout",
        "extra_headers",
        "extra_query",
        "extra_body",
        *(field.name for field in attrs.fields(_Streaming)),
    }
)

_NOT_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)

_HINTS = {
    401: "Is the API key right?",
    404: "Are the model's name and the base URL right?",
    429: "Slow down, or look at the account's limits",
}


def _is_verification(error: BaseException) -> bool:
    """Whether a certificate was refused, which no retry mends."""
    link: BaseException | None = error
    for _ in range(10):
        if isinstance(link, ssl.SSLCertVerificationError):
            return True
        inner = [getattr(link, "reason", None), *getattr(link, "args", ())]
        link = next((item for item in inner if isinstance(item, BaseException)), None)
    return False


def _error_body(response: requests.Response, exchange: Exchange) -> str:
    """The text of an error's body, as far as it comes in a few seconds."""
    body = Body(response, exchange)
    exchange.limit(_ERROR_BODY_SECONDS)
    text = bytearray()
    try:
        while len(text) < _ERROR_BODY and (block := body.read()):
            text += block
        body.finish()
    except (Expired, StreamError):
        exchange.expired = None
    finally:
        body.close()
    return bytes(text[:_ERROR_BODY]).decode(errors="replace").strip()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, else ``Retry-After`` (RFC 9110)."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    try:
        return max(0.0, urllib3.Retry().parse_retry_after(headers["retry-after"]))
    except (KeyError, ValueError, urllib3.exceptions.InvalidHeader):
        return None


def _jsonable(value: Any) -> Any:
    """What an earlier call returned may be sent again: a message, say."""
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return to_dict()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _dumps(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, default=_jsonable, separators=(",", ":")).encode()


def _encode(body: dict[str, Any]) -> bytes:
    """The body as JSON.

    :raises ConfigurationError: naming the argument that JSON cannot carry.
    """
    try:
        return _dumps(body)
    except (TypeError, ValueError, RecursionError):
        for name, value in body.items():
            try:
                _dumps({name: value})
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigurationError(f"{name}: JSON cannot carry it: {error}") from None
        raise


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    """The URL with parameters added to those that it has."""
    if not query:
        return url
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    return urlunsplit(parts._replace(query=urlencode([*pairs, *query.items()], doseq=True)))


def _option(arguments: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = arguments.pop(name, None)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {value!r}")
    return value


def _merge(*layers: Mapping[str, str | None]) -> Mapping[str, str]:
    """Headers, the later ones before the earlier, in any case; ``None`` takes one away."""
    merged: requests.structures.CaseInsensitiveDict[Any]
    merged = requests.structures.CaseInsensitiveDict()
    for layer in layers:
        merged.update(layer)
    return {name: value for name, value in merged.items() if value is not None}


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def _check_header_value(name: str, value: Any) -> None:
    """Refuse what HTTP cannot carry or would take for another header; never shows the value.

    :raises ConfigurationError: naming the argument.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not a {type(value).__name__}")
    if _CONTROL.search(value):
        raise ConfigurationError(
            f"{name} has a line break or another control character in it: was it read from a file "
            "and not stripped?"
        )
    if value != value.strip():
        raise ConfigurationError(f"{name} begins or ends with white space")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{name} has characters in it that an HTTP header cannot carry"
        ) from None


def _check_headers(name: str, headers: Any) -> None:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, not a {type(headers).__name__}")
    for header, value in headers.items():
        if not isinstance(header, str) or not _TOKEN.fullmatch(header):
            raise ConfigurationError(f"{name}: {header!r} cannot be the name of a header")
        if value is not None:
            _check_header_value(f"{name}[{header!r}]", value)


def _check_url(name: str, url: Any) -> None:
    """Refuse what is no base URL.

    :raises ConfigurationError: naming the argument.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{name} must be a string, not a {type(url).__name__}")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\x00-\x20\x7f]", url):
        raise ConfigurationError(
            f"{name} must be a URL such as https://api.openai.com/v1, with its scheme: "
            f"{_shown(url)!r}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{name} has a user name or a password in it, which would show in messages: use "
            "headers={'Authorization': …}"
        )


def _shown(url: str | None) -> str:
    """A URL for people: without user name, password and query, where secrets may be."""
    if not url:
        return ""
    bare = url.split("?", 1)[0].split("#", 1)[0]
    scheme, separator, rest = bare.rpartition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path
