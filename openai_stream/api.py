"""The module functions: a client's methods, on the default client or on one that is given."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import models
from .arguments import signature, typed
from .base_client import BaseClient
from .client import Client
from .redaction import forgets
from .timeouts import Timeout

if TYPE_CHECKING:
    from .signatures import CreateChatCompletion, CreateCompletion, CreateResponse, ResumeResponse

__all__ = [
    "cancel_response",
    "create_chat_completion",
    "create_completion",
    "create_response",
    "resume_response",
    "retrieve_response",
]

_FUNCTION = signature(client=True)
_lock = threading.Lock()
_default: Client | None = None


def _client(client: BaseClient | None) -> BaseClient:
    """The client to use: the default one is made at its first use, and a failure is forgotten."""
    global _default  # noqa: PLW0603 - one per process is what "default" means
    if client is not None:
        if not isinstance(client, BaseClient):
            raise TypeError(f"client must be a Client or an AzureClient, not {client!r}")
        return client
    with _lock:
        if _default is None:
            _default = Client()
        return _default


@typed(lambda: CreateChatCompletion[BaseClient], _FUNCTION)
@forgets
def create_chat_completion(*, client: BaseClient | None = None, **arguments: Any) -> Any:
    """Ask for a chat completion: ``POST /chat/completions``.

    Arguments that are not named here are fields of the request and go into its JSON body as they
    are: ``model``, ``messages``, ``temperature``, … (source: OpenAI API reference, "Chat
    Completions", *Create chat completion*).

    :param stream: ``False``: wait, and return the whole completion. ``True``: stream.
    :param on_next: called with each event, in order, on the reader thread.
    :param on_done: called once with the accumulated completion, if the stream succeeds.
    :param on_error: called once with the exception, if it fails.
    :param stream_close: after ``DONE``, shut the queue down, so that a further ``get()`` raises
        :class:`ShutDown` instead of blocking.
    :param queue: put the events on this instead: anything with ``put(item)``. On failure it gets
        the exception, and in any case ``DONE`` at the end.
    :param tag: with ``queue``: each item put is :class:`Tagged`, so that many streams can share it.
    :param restarts: how often an answer that breaks off is requested again, from the start. A
        :class:`Restarted` precedes the first event of the new one.
    :param fallbacks: a :class:`Fallback` each, asked in turn if the call fails for a reason that
        another may not have: no connection, time-outs, 408, 409, 429, 5xx, a stream that breaks
        off. Retries and restarts come first. With and without ``stream``.
    :param replay: keep the events, so that :meth:`Stream.subscribe` can give them again.
    :param maxsize: the most events that the queue holds, 0 for any number. A full queue holds the
        reader back, and so the server.
    :param nowait: return at once and connect on the reader thread; a failure to connect is then
        reported like any failure of the stream.
    :param client: the client to use instead of the default one.
    :param timeout: a :class:`Timeout`, or seconds for its ``idle``, and without a stream for its
        ``gap`` too; default: the client's.
    :param extra_headers: headers to add; ``None`` as a value removes one.
    :param extra_query: parameters to add to the URL.
    :param extra_body: fields to add to the body, for those that share a name with an argument here.
    :returns: without ``stream`` the completion, with it an :class:`EventQueue`, with ``on_next``
        or ``queue`` too the :class:`Stream`.
    :raises TypeError: arguments that do not go together; before anything is sent.
    :raises ConfigurationError: no key, or a body that JSON cannot carry; before anything is sent.
    :raises APIConnectionError: no response. With ``nowait`` this and the next are the stream's.
    :raises APIStatusError: the server answered with an error status.
    :raises StreamError: without ``stream``: the answer broke off, or is not a completion.

    .. versionadded:: 0.1
    """
    return _client(client).create_chat_completion(**arguments)


@typed(lambda: CreateCompletion[BaseClient], _FUNCTION)
@forgets
def create_completion(*, client: BaseClient | None = None, **arguments: Any) -> Any:
    """Ask for a text completion: ``POST /completions``.

    Everything is as with :func:`create_chat_completion`; the fields of the request are those of
    the OpenAI API reference, "Completions (legacy)", *Create completion*: ``model``, ``prompt``, …

    .. versionadded:: 0.1
    """
    return _client(client).create_completion(**arguments)


@typed(lambda: CreateResponse[Client], _FUNCTION)
@forgets
def create_response(*, client: Client | None = None, **arguments: Any) -> Any:
    """Ask for a response: ``POST /responses``.

    Everything is as with :func:`create_chat_completion`; the fields of the request are those of
    the OpenAI API reference, "Responses", *Create a model response*: ``model``, ``input``, …

    .. versionadded:: 0.1
    """
    return _responses_client("create_response", client).create_response(**arguments)


@typed(
    lambda: ResumeResponse[Client],
    signature(
        "id", optional="starting_after", stream=False, client=True, body=False, fallbacks=False
    ),
)
@forgets
def resume_response(
    id: str,
    starting_after: int | None = None,
    *,
    client: Client | None = None,
    **arguments: Any,
) -> Any:
    """Stream a response that the server keeps: ``GET /responses/{id}?stream=true``.

    A response that was requested with ``background=True`` and ``stream=True`` continues at the
    server if its connection breaks, or if the process that reads it dies. This call always streams.
    ``result()`` is the whole response; ``text()`` has the text of the events that arrive. After a
    break the stream is resumed, up to ``restarts`` times, and no event is lost or delivered twice.

    :param id: of the response, as in ``response.id``.
    :param starting_after: the ``sequence_number`` of the last event that you have; ``None``: all
        events from the beginning.
    :param client: the client to use instead of the default one.
    :param arguments: those of a stream (:func:`create_chat_completion`), ``timeout`` and
        ``extra_…``.
    :returns: an :class:`EventQueue`, or with ``on_next`` or ``queue`` the :class:`Stream`.
    :raises NotFoundError: the server does not have it, or not any more.
    :raises OpenAIStreamError: as :func:`create_response` does.

    .. versionadded:: 0.1
    """
    chosen = _responses_client("resume_response", client)
    return chosen.resume_response(id, starting_after, **arguments)


@forgets
def retrieve_response(
    id: str,
    *,
    client: Client | None = None,
    timeout: Timeout | float | None = None,
    extra_headers: Mapping[str, str | None] | None = None,
    extra_query: Mapping[str, Any] | None = None,
) -> models.Response:
    """Return a response that the server keeps: ``GET /responses/{id}``.

    A response that was requested with ``background=True`` runs at the server. It is returned
    whatever its ``status``, even if it failed or was cancelled.

    :param id: of the response, as in ``response.id``.
    :param client: the client to use instead of the default one.
    :param timeout: a :class:`Timeout`, or seconds for its ``idle`` and ``gap``; default: the
        client's.
    :param extra_headers: headers to add; ``None`` as a value removes one.
    :param extra_query: parameters to add to the URL: ``include``, say.
    :raises NotFoundError: the server does not have it, or not any more.
    :raises OpenAIStreamError: as :func:`create_response` does.

    .. versionadded:: 0.1
    """
    return _responses_client("retrieve_response", client).retrieve_response(
        id, timeout=timeout, extra_headers=extra_headers, extra_query=extra_query
    )


@forgets
def cancel_response(
    id: str,
    *,
    client: Client | None = None,
    timeout: Timeout | float | None = None,
    extra_headers: Mapping[str, str | None] | None = None,
    extra_query: Mapping[str, Any] | None = None,
) -> models.Response:
    """Stop a response that runs in the background: ``POST /responses/{id}/cancel``.

    The arguments are those of :func:`retrieve_response`. A response that has already ended is
    returned unchanged if the server allows that; some servers refuse with status 400.

    :returns: the response, whatever its ``status``.

    .. versionadded:: 0.1
    """
    return _responses_client("cancel_response", client).cancel_response(
        id, timeout=timeout, extra_headers=extra_headers, extra_query=extra_query
    )


def _responses_client(name: str, client: BaseClient | None) -> Client:
    chosen = _client(client)
    if not isinstance(chosen, Client):
        raise TypeError(f"{name} needs a Client, not an {type(chosen).__name__}")
    return chosen
