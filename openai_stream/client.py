"""Clients: where requests go, and with which key; the calls.

A client puts the parts of a call together. How a request is tried, and how a stream lives, is told
elsewhere.
"""

from __future__ import annotations

import os
import sys
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import requests

from . import observers
from ._version import VERSION
from .accumulate import Asked
from .arguments import STREAM_ARGUMENTS, Streaming, check_fields, signature
from .attempts import Attempts, Trace
from .endpoints import CHAT_COMPLETIONS, COMPLETIONS, RESPONSES, Endpoint, any_endpoint
from .errors import (
    ConfigurationError,
    OpenAIStreamError,
    StreamDecodeError,
    StreamError,
)
from .misframed import unframed
from .redaction import (
    Secrets,
    forget_locals,
    forgets,
    forgets_what_it_is_made_of,
    of_proxies,
    purge,
    shown,
)
from .request import (
    Headers,
    Request,
    check_header_value,
    check_headers,
    check_key,
    check_session,
    check_url,
    encode,
    merge,
    take_mapping,
    with_query,
)
from .server_errors import api_error, clip, parse_leniently, says_failure
from .signatures import (
    CreateChatCompletion,
    CreateCompletion,
    CreateResponse,
    StreamAny,
    typed,
)
from .sse import begins_event_stream, decode_json
from .stream import Callbacks, Core, Stream
from .structured import take_class
from .timeouts import Timeout, timeout_of, without_stream
from .transport import Exchange, Session

if TYPE_CHECKING:
    from .recordings import Recorder

__all__ = ["AzureClient", "BaseClient", "Client"]

_DEFAULT_HOST = "api.openai.com"
_DEFAULT_BASE_URL = f"https://{_DEFAULT_HOST}/v1"
_AZURE_API_VERSION = "2024-10-21"  # the newest that Azure calls generally available
_MIB = 1024 * 1024

E = TypeVar("E")
W = TypeVar("W")
C = TypeVar("C", bound="BaseClient")


def _from_environment(*names: str) -> str | None:
    """The first of the variables that is set; a blank one is not."""
    values = (os.environ.get(name) or "" for name in names)
    return next((value for value in values if value.strip()), None)


#: A key, or what gives one for each attempt.
Key = str | Callable[[], "str | None"] | None


def _keys_kept() -> deque[str]:
    return deque(maxlen=16)


_METHOD = signature("self")
#: The body of a request is made of a call's arguments.
_ARGUMENTS: Any = object()


class BaseClient:
    """What all clients do; where they differ is in four small methods of theirs."""

    # An attrs mixin without fields: each client lists its own, in the order of its arguments.
    api_key: Key
    timeout: Timeout
    max_retries: int
    max_event_bytes: int
    headers: Headers | None
    session: requests.Session | None
    trace: Trace | None
    _own_sessions: dict[int, Session]
    _recorder: Recorder | None  # set by the recorder itself
    # The newest keys that a function gave: what a server says of one may come after the next.
    _asked_for: deque[str]

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
            check_headers("headers", self.headers)
        if self.session is not None:
            check_session(self.session)
        for name, least in (("max_retries", 0), ("max_event_bytes", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"{name} must be an int of at least {least}: {value!r}")

    # -- calls --------------------------------------------------------------------------------

    @typed(CreateChatCompletion[NoReturn], _METHOD)
    def create_chat_completion(self, **arguments: Any) -> Any:
        """``POST /chat/completions``. See :func:`openai_stream.create_chat_completion`."""
        return self._call(CHAT_COMPLETIONS, arguments)

    @typed(CreateCompletion[NoReturn], _METHOD)
    def create_completion(self, **arguments: Any) -> Any:
        """``POST /completions``. See :func:`openai_stream.create_completion`."""
        return self._call(COMPLETIONS, arguments)

    def _call(
        self, endpoint: Endpoint[E, W], arguments: dict[str, Any], body: Any = _ARGUMENTS
    ) -> Any:
        """Make a call.

        :param body: the request's; otherwise what is left of the arguments.
        """
        secrets = Secrets(self._keys, self._passwords)
        if (outside := sys.exc_info()[1]) is not None:
            secrets.outside = id(outside)
        del outside
        try:
            return self._call_with(secrets, endpoint, arguments, body)
        except BaseException as error:
            # Some report errors with the locals of each frame, this one's and its caller's too.
            arguments.clear()
            forget_locals(error.__traceback__)
            if isinstance(error, OpenAIStreamError):
                purge(error, secrets)
            raise
        finally:
            secrets.outside = None

    def _call_with(
        self, secrets: Secrets, endpoint: Endpoint[E, W], arguments: dict[str, Any], body: Any
    ) -> Any:
        stream = arguments.pop("stream", False)
        streaming = Streaming.taken_from(arguments)
        streaming.check(stream)
        timeout = arguments.pop("timeout", None)
        timeout = self.timeout if timeout is None else timeout_of(timeout)
        if not stream:
            timeout = without_stream(timeout)
        request = self._prepare(endpoint, arguments, stream, body)
        secrets.add_request(request.headers, request.url)
        attempts = self._attempts(secrets)
        ended = None
        if observers.observer is not None:
            call = observers.Call(
                self, endpoint.path, request.url, request.body, stream, secrets.of_name
            )
            ended = observers.begin(call)
        if not stream:
            try:
                answer = self._ask(endpoint, request, timeout, attempts)
            except BaseException as error:
                if isinstance(error, StreamError):
                    error.url = secrets(shown(request.url))
                    purge(error, secrets)
                if ended is not None:
                    ended(observers.Outcome(error))
                raise
            if ended is not None:
                ended(observers.Outcome(answer=lambda: answer))
            return answer

        core = Core(
            endpoint,
            request.asked,
            timeout,
            lambda exchange: attempts.open(request, exchange),
            self.max_event_bytes,
            secrets,
            Callbacks(streaming.on_next, streaming.on_done, streaming.on_error),
            live_on=streaming.makes_no_queue,
            replay=streaming.replay,
            restarts=streaming.restarts,
            ended=ended,
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

    def _ask(
        self, endpoint: Endpoint[E, W], request: Request, timeout: Timeout, attempts: Attempts
    ) -> W:
        """The call without a stream."""
        exchange = Exchange(timeout, streaming=False)
        response = attempts.open(request, exchange, self.max_event_bytes)
        try:
            text = response.content.decode()
        except UnicodeDecodeError as error:
            raise StreamDecodeError(f"the server's answer is not UTF-8: {error.reason}") from error
        try:
            # Gateways that take every answer for a stream end this one as such.
            answer = decode_json(text.rstrip().removesuffix("data: [DONE]"))
        except StreamDecodeError as error:
            said = parse_leniently(unframed(text))
            if says_failure(said, body=True):
                raise api_error(said, attempts.secrets) from None
            if begins_event_stream(response.content):
                raise StreamDecodeError(
                    "the server streamed though it was not asked to: call with stream=True"
                ) from error.__cause__
            head = clip(attempts.secrets(text), 40)
            raise StreamDecodeError(
                f"the server's answer is not JSON; it begins with {head!r}: is the base URL right?"
            ) from error.__cause__
        if says_failure(answer, body=True):
            is_whole = isinstance(answer, dict) and endpoint.is_whole(answer)
            raise api_error(answer, attempts.secrets, endpoint.whole(answer) if is_whole else None)
        if not isinstance(answer, dict):
            raise StreamDecodeError("the server's answer is JSON, but no object")
        return endpoint.whole(answer)

    # -- requests -----------------------------------------------------------------------------

    def _prepare(
        self, endpoint: Endpoint[Any, Any], arguments: dict[str, Any], stream: bool, body: Any
    ) -> Request:
        """Everything that is the same for each attempt, checked before anything is sent."""
        headers = take_mapping(arguments, "extra_headers")
        query = take_mapping(arguments, "extra_query")
        extra_body = take_mapping(arguments, "extra_body")
        check_headers("extra_headers", headers)
        cls = None
        if body is _ARGUMENTS:
            check_fields(arguments)
            cls = take_class(arguments, endpoint.class_argument)
            body = {**arguments, **({"stream": True} if stream else {})}
        if extra_body:
            if not isinstance(body, dict):
                raise TypeError(f"extra_body cannot be added to a {type(body).__name__}")
            body = {**body, **extra_body}
        return Request(
            url=with_query(self._url(endpoint.path, body), query),
            headers=merge(
                {
                    "Accept": "text/event-stream" if stream else "application/json",
                    # Compression holds events back until its window fills.
                    "Accept-Encoding": "identity",
                    "Content-Type": "application/json",
                    "User-Agent": f"openai-stream/{VERSION} requests/{requests.__version__}",
                },
                self._own_headers(),
                self.headers or {},
                headers,
            ),
            body=encode(body),
            asked=Asked.of(body, cls),
        )

    def _attempts(self, secrets: Secrets) -> Attempts:
        # A session that has its own ``auth`` keeps it.
        own = self.session is not None and self.session.auth and not self._has_key()
        return Attempts(
            session=self._session,
            authorization=None if own else self._authorization,
            secrets=secrets,
            max_retries=self.max_retries,
            trace=self.trace,
            tap=None if self._recorder is None else self._recorder.tap,
        )

    def _has_key(self) -> bool:
        """Whether there is something to ask for a key."""
        raise NotImplementedError

    def _asked(self, name: str, key: Callable[[], str | None]) -> str | None:
        """Ask the user's function for a key; ``None`` if it has none."""
        value = key()
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        check_key(name, value)
        if value not in self._asked_for:
            self._asked_for.append(value)
        return value

    def _keys(self) -> list[str | None]:
        """The keys that this client sends, as far as it knows them."""
        fixed = self.api_key if isinstance(self.api_key, str) else None
        return [fixed, *self._asked_for]

    def _passwords(self) -> Iterator[str]:
        """The passwords of proxies."""
        proxies = urllib.request.getproxies()
        proxies.update(self._session().proxies)
        return of_proxies(proxies.values())

    # -- connections --------------------------------------------------------------------------

    def _session(self) -> requests.Session:
        if self.session is not None:
            return self.session
        # One a process: a forked child must not read from its parent's connections. Without a lock,
        # which another thread of the parent's might have held at the fork, and so for ever in the
        # child: of two threads that come here first, one drops a session that has done nothing yet.
        process = os.getpid()
        session = self._own_sessions.get(process)
        if session is None:
            session = self._own_sessions.setdefault(process, Session())
        return session

    def close(self) -> None:
        """Close the connections that are kept. It ends no stream; a later call opens new ones."""
        session = self._own_sessions.pop(os.getpid(), None)
        if session is not None:
            session.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a client has a key and open connections, and is not to be pickled")


@forgets_what_it_is_made_of
@attrs.define(eq=False)
class Client(BaseClient):
    """Where calls go: base URL, key, timeouts, retries, and the connections that are kept.

    One client may be used from many threads at once. It refuses to be pickled.

    :param api_key: default: ``OPENAI_API_KEY``. Without one, and with another base URL than
        OpenAI's, no ``Authorization`` header is sent. Keys that change: a function that returns
        one, asked before each attempt on the thread that makes it; ``None`` or blank is no key, and
        what it raises goes through as it is.
    :param base_url: default: ``OPENAI_BASE_URL``, ``OPENAI_API_ENDPOINT``, or OpenAI's own.
    :param organization: default: ``OPENAI_ORG_ID`` or ``OPENAI_ORGANIZATION``.
    :param project: default: ``OPENAI_PROJECT_ID``.
    :param timeout: a :class:`Timeout`, or seconds for its ``idle``, and without a stream for its
        ``gap`` too.
    :param max_retries: how often a request is tried again before its response has begun.
    :param max_event_bytes: the most bytes of one event after decompression, and of a body that is
        not streamed.
    :param headers: sent with each request.
    :param session: a :class:`requests.Session` to use as it is, and not to close. The library can
        then stop and time a request only as far as that session's connections allow: in the body,
        but not while connecting or waiting for headers.
    :param trace: called once an attempt with the ``requests.PreparedRequest`` and the
        ``requests.Response`` (``None`` when there was none; not to be read when streaming). The
        request carries the key.
    :raises ConfigurationError: no key for OpenAI's own URL; a key, URL, header or session that
        cannot be.
    """

    api_key: Key = attrs.field(default=None, repr=False)
    base_url: str | None = attrs.field(default=None, repr=lambda url: repr(shown(url)))
    organization: str | None = None
    project: str | None = None
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = 32 * _MIB
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    _own_sessions: dict[int, Session] = attrs.field(factory=dict, init=False, repr=False)
    _recorder: Recorder | None = attrs.field(default=None, init=False, repr=False)
    _asked_for: deque[str] = attrs.field(factory=_keys_kept, init=False, repr=False)

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

    @typed(CreateResponse[NoReturn], _METHOD)
    def create_response(self, **arguments: Any) -> Any:
        """``POST /responses``. See :func:`openai_stream.create_response`."""
        return self._call(RESPONSES, arguments)

    @typed(StreamAny, signature("self", "path", "body", stream=False, body=False))
    @forgets
    def stream(self, path: str, body: Any, **arguments: Any) -> Any:
        """Stream any other endpoint that answers with JSON server-sent events.

        The events are :class:`ServerEvent`; ``result()`` is the last one's data. It is complete at
        ``[DONE]``, or at an orderly end of a body that tells where it ends.

        :param path: below the base URL.
        :param body: sent as it is, as JSON.
        :param arguments: those of a stream (:func:`create_chat_completion`), ``timeout``, and
            ``extra_…``.
        :returns: an :class:`EventQueue`, or with ``on_next`` or ``queue`` the :class:`Stream`.
        :raises OpenAIStreamError: as :func:`create_chat_completion` does.
        """
        unknown = arguments.keys() - STREAM_ARGUMENTS
        if unknown:
            check_fields(unknown - {"stream"})
            raise TypeError(f"stream() takes no argument {min(unknown)!r}: put it into the body")
        if not isinstance(path, str):
            raise TypeError(f"path must be a string, not {path!r}")
        arguments["stream"] = True
        return self._call(any_endpoint("/" + path.lstrip("/")), arguments, body)

    def _url(self, endpoint: str, body: Any) -> str:
        assert self.base_url is not None
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


@forgets_what_it_is_made_of
@attrs.define(eq=False)
class AzureClient(BaseClient):
    """Where calls go in Azure: ``model`` is the name of the deployment.

    The URL is ``{endpoint}/openai/deployments/{model}/chat/completions?api-version=…``. Everything
    else is as with :class:`Client`. Source: Azure OpenAI REST API reference, "Authentication".

    :param api_key: sent as ``api-key``; default: ``AZURE_OPENAI_API_KEY``. Or a function, as with
        :class:`Client`.
    :param endpoint: ``https://….openai.azure.com``; default: ``AZURE_OPENAI_ENDPOINT`` or
        ``AZURE_OPENAI_API_ENDPOINT``.
    :param api_version: default: ``OPENAI_API_VERSION``.
    :param azure_ad_token: a Microsoft Entra ID token, sent as ``Authorization`` and in the place
        of a key; or a function that returns one, asked before each attempt.
    :raises ConfigurationError: no endpoint, or neither key nor token.
    """

    api_key: Key = attrs.field(default=None, repr=False)
    endpoint: str | None = attrs.field(default=None, repr=lambda url: repr(shown(url)))
    api_version: str | None = None
    azure_ad_token: Key = attrs.field(default=None, repr=False)
    timeout: Timeout = attrs.field(factory=Timeout, converter=timeout_of)
    max_retries: int = 2
    max_event_bytes: int = 32 * _MIB
    headers: Headers | None = attrs.field(default=None, repr=False)
    session: requests.Session | None = attrs.field(default=None, repr=False)
    trace: Trace | None = attrs.field(default=None, repr=False)
    _own_sessions: dict[int, Session] = attrs.field(factory=dict, init=False, repr=False)
    _recorder: Recorder | None = attrs.field(default=None, init=False, repr=False)
    _asked_for: deque[str] = attrs.field(factory=_keys_kept, init=False, repr=False)

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
        check_url("endpoint", self.endpoint)
        if not self._has_key():
            raise ConfigurationError(
                "no API key: set the environment variable AZURE_OPENAI_API_KEY, or pass api_key=… "
                "or azure_ad_token=…"
            )
        if self.api_key is not None and not callable(self.api_key):
            check_key("api_key", self.api_key)
        if isinstance(self.azure_ad_token, str):
            check_key("azure_ad_token", self.azure_ad_token)
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
        return with_query(urlunsplit(base._replace(path=path)), {"api-version": self.api_version})

    def _has_key(self) -> bool:
        return bool(self.api_key) or self.azure_ad_token is not None

    def _authorization(self) -> tuple[str, str] | None:
        for name, header, scheme in (
            ("azure_ad_token", "Authorization", "Bearer "),
            ("api_key", "api-key", ""),
        ):
            key = getattr(self, name)
            if callable(key):
                key = self._asked(name, key)
                if key is None:
                    raise ConfigurationError(f"no key: the function given as {name} returned none")
            if key:
                return header, scheme + key
        return None

    def _keys(self) -> list[str | None]:
        token = self.azure_ad_token if isinstance(self.azure_ad_token, str) else None
        return [*super()._keys(), token]
