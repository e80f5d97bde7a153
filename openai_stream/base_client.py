"""What all clients do: a call, from its arguments to its answer or its stream.

Where a client's requests go and with which key is the client's own: :mod:`.client`, :mod:`.azure`.
How a request is tried, and how a stream lives, is told elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import requests

from . import endpoints, observers
from ._version import VERSION
from .accumulate import Asked
from .arguments import Streaming, signature, typed
from .attempts import Attempts, TapMaker, Trace
from .candidates import Candidate, Candidates
from .endpoints import Endpoint
from .errors import APIConnectionError, ConfigurationError, OpenAIStreamError, StreamError
from .redaction import Secrets, forget_locals, forgets, of_proxies, purge, shown
from .request import (
    Headers,
    Request,
    check_headers,
    check_key,
    check_session,
    encode,
    merge,
    with_query,
)
from .stored import in_background
from .stream.crowds import Crowds
from .stream.door import choose
from .stream.ending import Callbacks
from .stream.reader import Reader
from .stream.state import Core
from .timeouts import Timeout, without_stream
from .transport import Session, proxies_of
from .unstreamed import ask
from .wanted import ARGUMENTS, Wanted, take_fallbacks

if TYPE_CHECKING:
    from .fallbacks import Fallback
    from .signatures import CreateChatCompletion, CreateCompletion

__all__ = [
    "METHOD",
    "MOST_EVENT_BYTES",
    "BaseClient",
    "Key",
    "from_environment",
    "keys_kept",
    "start_taps",
    "stop_taps",
]

#: The default of ``max_event_bytes``.
MOST_EVENT_BYTES = 32 * 1024 * 1024

E = TypeVar("E")
W = TypeVar("W")
C = TypeVar("C", bound="BaseClient")


def from_environment(*names: str) -> str | None:
    """The first of the variables that is set; a blank one is not."""
    values = (os.environ.get(name) or "" for name in names)
    return next((value for value in values if value.strip()), None)


#: A key, or what gives one for each attempt.
Key = str | Callable[[], "str | None"] | None


def keys_kept() -> deque[str]:
    return deque(maxlen=16)


#: The arguments of a method that may stream or not.
METHOD = signature("self")
_POST_ARGUMENTS = {"timeout", "fallbacks", "extra_headers", "extra_query", "extra_body"}


class BaseClient:
    """What all clients do; where they differ is in small methods of theirs, from ``_url`` on."""

    #: The cloud that it speaks to, if that does not follow from the URL.
    _provider: ClassVar[str | None] = None
    #: The paths of endpoints that it has not, of those that have a call of their own.
    _lacks: ClassVar[tuple[str, ...]] = ()

    # An attrs mixin without fields: each client lists its own, in the order of its arguments.
    api_key: Key
    timeout: Timeout
    max_retries: int
    max_event_bytes: int
    headers: Headers | None
    session: requests.Session | None
    trace: Trace | None
    readers: int | None
    _own_sessions: dict[int, Session]
    _crowds: Crowds
    _tap_maker: TapMaker | None  # set by :func:`start_taps`
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
        for name, least in (("max_retries", 0), ("max_event_bytes", 1), ("readers", 1)):
            value = getattr(self, name)
            if name == "readers" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"{name} must be an int of at least {least}: {value!r}")

    # -- calls --------------------------------------------------------------------------------

    @typed(lambda: CreateChatCompletion[NoReturn], METHOD)
    def create_chat_completion(self, **arguments: Any) -> Any:
        """``POST /chat/completions``. See :func:`openai_stream.create_chat_completion`."""
        return self._call(lambda: endpoints.CHAT_COMPLETIONS, arguments)

    @typed(lambda: CreateCompletion[NoReturn], METHOD)
    def create_completion(self, **arguments: Any) -> Any:
        """``POST /completions``. See :func:`openai_stream.create_completion`."""
        return self._call(lambda: endpoints.COMPLETIONS, arguments)

    @forgets
    def post(self, path: str, body: Any, **arguments: Any) -> Any:
        """Ask any other endpoint that answers with a JSON object in one piece, as embeddings are.

        :param path: below the base URL.
        :param body: sent as it is, as JSON.
        :param arguments: ``timeout``, ``fallbacks``, and ``extra_…``.
        :returns: the parsed JSON.
        :raises OpenAIStreamError: as :func:`create_chat_completion` does.

        .. versionadded:: 0.1
        """
        unknown = arguments.keys() - _POST_ARGUMENTS
        if unknown:
            raise TypeError(f"post() takes no argument {min(unknown)!r}: put it into the body")
        return self._call(lambda: endpoints.any_endpoint(path), arguments, body)

    def _call(
        self, find: Callable[[], Endpoint[E, W]], arguments: dict[str, Any], body: Any = ARGUMENTS
    ) -> Any:
        """Make a call.

        :param find: gives the endpoint, which it may have to import.
        :param body: the request's; otherwise what is left of the arguments.
        """
        secrets = Secrets(self._keys, self._passwords)
        if (outside := sys.exc_info()[1]) is not None:
            secrets.outside = id(outside)
        del outside
        try:
            return self._call_with(secrets, find, arguments, body)
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
        self,
        secrets: Secrets,
        find: Callable[[], Endpoint[E, W]],
        arguments: dict[str, Any],
        body: Any,
    ) -> Any:
        stream = arguments.pop("stream", False)
        streaming = Streaming.taken_from(arguments)
        streaming.check(stream)
        fallbacks = take_fallbacks(arguments)
        try:
            endpoint = find()
        except OSError as error:  # no descriptor is left: there would be no connection either
            raise APIConnectionError(f"what the call needs is not imported: {error}") from error
        wanted = Wanted.taken_from(arguments, endpoint, stream, body)
        request = self._prepare(wanted)
        first = self._candidate(secrets, wanted, request)
        others = self._others(fallbacks, secrets, wanted)
        candidates = Candidates([first, *others], secrets)
        ended = None if first.sent is None else observers.begin(first.sent.call)
        if not stream:
            try:
                answer = ask(endpoint, candidates)
            except BaseException as error:
                if isinstance(error, StreamError):
                    purge(error, secrets)
                if ended is not None:
                    ended(observers.Outcome(error))
                raise
            if ended is not None:
                ended(observers.Outcome(answer=lambda: answer, whole=True))
            return answer

        core = Core(endpoint, first.asked, first.timeout, streaming.replay)
        core.has_limit = candidates.has_limit
        sink, handle = choose(core, streaming)
        callbacks = Callbacks(streaming.on_done, streaming.on_error)
        crowd = self._crowds.here(self.readers)
        reader = Reader(core, sink, candidates, callbacks, streaming.restarts, ended, crowd)
        if not streaming.nowait:
            reader.connect()
        reader.start()
        return handle

    # -- requests -----------------------------------------------------------------------------

    def _others(
        self, fallbacks: tuple[Fallback, ...], secrets: Secrets, wanted: Wanted
    ) -> Iterator[Candidate]:
        """Who is asked after this client; all is checked before anything is sent."""
        for index, fallback in enumerate(fallbacks):
            client = self if fallback.client is None else fallback.client
            if not isinstance(client, BaseClient):
                raise TypeError(
                    f"fallbacks[{index}]: client must be a Client or an AzureClient, not "
                    f"{type(client).__name__}"
                )
            if client is not self:
                secrets.add(client._keys, client._passwords)
            changed = wanted.changed(fallback, same_client=client is self)
            try:
                client._check()  # a key may have been taken away since it was made
                request = client._prepare(changed)
                yield client._candidate(secrets, changed, request, index + 1)
            except ConfigurationError as error:
                error.args = (f"fallbacks[{index}]: {error}",)
                raise

    def _candidate(
        self, secrets: Secrets, wanted: Wanted, request: Request, number: int = 0
    ) -> Candidate:
        """This client, as it is asked in a call.

        :param number: of the fallback; 0 is the call's own client.
        """
        secrets.add_request(request.headers, request.url, keep=True)
        sent = wanted.noting(self._provider, request, secrets.of_name, number)
        attempts = self._attempts(secrets, sent)
        limits = self.timeout if wanted.limits is None else wanted.limits
        background = None
        if wanted.stream:
            background = in_background(
                request, wanted.endpoint, self._url, attempts, limits, self.max_event_bytes
            )
        return Candidate(
            partial(attempts.open, request),
            lambda: secrets(shown(request.url)),
            request.asked,
            limits if wanted.stream else without_stream(limits),
            self.max_event_bytes,
            background,
            sent,
        )

    def _prepare(self, wanted: Wanted) -> Request:
        """Everything that is the same for each attempt, checked before anything is sent."""
        endpoint, query, body = wanted.endpoint, wanted.query, wanted.body
        if endpoint.path in self._lacks:
            raise ConfigurationError(f"{type(self).__name__} has no {endpoint.path}")
        url = self._url(endpoint.path, body)
        return Request(
            url=with_query(url, endpoint.query(query) if wanted.stream else query),
            headers=merge(
                {
                    "Accept": "text/event-stream" if wanted.stream else "application/json",
                    # Compression holds events back until its window fills.
                    "Accept-Encoding": "identity",
                    "Content-Type": None if endpoint.stored else "application/json",
                    "User-Agent": f"openai-stream/{VERSION} requests/{requests.__version__}",
                },
                self._own_headers(),
                self.headers or {},
                wanted.headers,
            ),
            body=b"" if endpoint.stored else encode(body),
            asked=Asked.of(body, wanted.cls),
            method=endpoint.method,
            if_missing=endpoint.if_missing,
            query=query,
            background=endpoint.runs_in_background(body),
        )

    def _attempts(self, secrets: Secrets, sent: observers.Sent | None) -> Attempts:
        # A session that has its own ``auth`` keeps it.
        own = self.session is not None and self.session.auth and not self._has_key()
        return Attempts(
            session=self._session,
            authorization=None if own else self._authorization,
            secrets=secrets,
            max_retries=self.max_retries,
            trace=self.trace,
            taps=self._tap_maker,
            sent=sent,
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
        return [self.api_key if isinstance(self.api_key, str) else None, *self._asked_for]

    def _passwords(self) -> Iterator[str]:
        """The passwords of proxies."""
        return of_proxies(proxies_of(self._session()))

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
        raise TypeError("a client has a key and open connections, and cannot be pickled")


def start_taps(client: BaseClient, maker: TapMaker) -> TapMaker:
    """Have *maker* make a tap for each attempt of a client from now on.

    :returns: who does so from now on: another, if there is one already.
    """
    if client._tap_maker is None:
        client._tap_maker = maker
    return client._tap_maker


def stop_taps(client: BaseClient) -> None:
    """Have no taps made any longer."""
    client._tap_maker = None
