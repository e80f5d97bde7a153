"""Attempts: how often a request is tried, and what to tell when it brings no answer.

From a request to a response with a good status, or an error of ours. What is asked for, and with
whose key, the client knows; what is in a good response is not looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
import requests

from . import retrying
from .errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    OpenAIStreamError,
    StreamError,
    StreamTimeoutError,
)
from .redaction import Mask, Secrets, hiding_in_logs, is_secret, purge, shown
from .request import Request
from .status_errors import status_error
from .transport import (
    LEAKING,
    Aborted,
    Body,
    Expired,
    Interrupted,
    NetworkCall,
    Tap,
    cause_of,
    drop_tracebacks,
    leave_alone,
    of_user,
    proxy_of,
    reason,
    send,
    settle,
)

if TYPE_CHECKING:
    from .observers import Sent

__all__ = ["Attempts", "TapMaker", "Trace"]

Trace = Callable[[requests.PreparedRequest, requests.Response | None], object]

_log = logging.getLogger("openai_stream")

_LONGEST_RETRY_AFTER = 60.0  # seconds; a server that wants more gets no further attempt
_ERROR_BODY = 1024 * 1024  # bytes of an error's body that are looked at
_ERROR_BODY_SECONDS = 5.0  # and how long it may take: the status is the news, not the body


class TapMaker(Protocol):
    """Who may have the attempts of a client told: a recorder.

    :param path: where it writes.
    """

    path: str

    def tap(self, request: requests.PreparedRequest, mask: Mask) -> Tap:
        """What looks at an attempt's bytes; of its request, and of what hides the secrets."""


@attrs.frozen(eq=False, repr=False)
class _Failure:
    """An attempt that brought no answer.

    :param error: what to raise if it is the last.
    :param retry: whether another may do better.
    :param after: seconds that the server wants to be left alone.
    """

    error: OpenAIStreamError
    retry: bool
    after: float | None = None


@attrs.frozen(eq=False, repr=False)
class Attempts:
    """How a client tries its requests.

    :param session: gives the session to use.
    :param authorization: gives the header with the key, asked for each attempt; what it raises goes
        through as it is. ``None``: the session has an ``auth`` of its own.
    :param secrets: what must show nowhere; what the requests have of it is added here.
    :param max_retries: attempts after the first.
    :param trace: the user's function.
    :param taps: makes what looks at an attempt's bytes.
    :param sent: notes each attempt, where anybody observes.
    """

    session: Callable[[], requests.Session]
    authorization: Callable[[], tuple[str, str] | None] | None
    secrets: Secrets
    max_retries: int
    trace: Trace | None
    taps: TapMaker | None = None
    sent: Sent | None = None

    def open(
        self, request: Request, call: NetworkCall, whole: int | None = None
    ) -> requests.Response:
        """Try until there is a response with a good status.

        :param whole: read its body too, before anybody looks at it: so many bytes at most.
        :raises OpenAIStreamError: there is none, or its body could not be read.
        :raises Aborted: the call was aborted.
        """
        retries = 0
        while True:
            try:
                call.begin()
                if self.sent is not None:
                    self.sent.begin(request.method, self.secrets(shown(request.url)), retries > 0)
                outcome = self._try(request, call, whole)
                if isinstance(outcome, requests.Response):
                    return outcome
                if self.sent is not None:
                    self.sent.end(outcome.error)
                wait = outcome.after
                long = wait is not None and wait > _LONGEST_RETRY_AFTER
                if not outcome.retry or retries >= self.max_retries or long:
                    break
                if wait is None:
                    wait = retrying.backoff(retries)
                purge(outcome.error, self.secrets)
                _log.warning(
                    "%s Asking again in %.1f s (retry %d of %d)",
                    retrying.sentence(outcome.error),
                    wait,
                    retries + 1,
                    self.max_retries,
                )
                call.sleep(wait)
                retries += 1
            except Expired:
                raise APITimeoutError(f"{call.expiry()}, after {retries} retries") from None
        purge(outcome.error, self.secrets)
        raise outcome.error

    def _try(
        self, request: Request, call: NetworkCall, whole: int | None
    ) -> requests.Response | _Failure:
        session = self.session()
        response: requests.Response | None = None
        failure: _Failure | None = None
        broken: StreamError | None = None
        users: BaseException | None = None
        made, prepared = self._prepared(session, request)
        self.secrets.add_request(prepared.headers, prepared.url)
        if self.taps is not None:
            call.tap = self.taps.tap(prepared, self.secrets.mask())
        try:
            with hiding_in_logs(self.secrets):
                response = send(session, made, prepared, call)
        except LEAKING as error:
            call.end_tap()
            if call.aborted:
                raise Aborted from None
            sent = getattr(error, "request", None)
            if isinstance(sent, requests.PreparedRequest):  # a session may have made another
                self.secrets.add_request(sent.headers, sent.url)
            users = of_user(error)
            if users is None:
                drop_tracebacks(
                    error, self.secrets.outside
                )  # or a queue that the caller drops would live on
                failure = self._no_response(error, call, session, request.url)
        except Interrupted as interrupted:
            call.end_tap()
            users = interrupted.error
        except BaseException:
            call.end_tap()
            raise
        if users is not None:
            raise users
        try:
            if response is not None:
                if self.sent is not None:
                    self.sent.note_status(response.status_code)
                if response.request not in (None, prepared):  # a session has made another
                    prepared = response.request
                    self.secrets.add_request(prepared.headers, prepared.url)
                good = 200 <= response.status_code < 300
                if not good:
                    _take_error_in(response, call)
                elif whole is not None:
                    broken = _take_in(response, call, whole)
            if self.trace is not None:
                self.trace(prepared, response)
            if response is None:
                assert failure is not None
                return failure
            if broken is not None:
                raise broken
            return response if good else self._bad_status(response, prepared, request)
        except BaseException:
            if response is not None:
                call.end_tap()
                response.close()
            raise

    def _prepared(
        self, session: requests.Session, request: Request
    ) -> tuple[requests.Request, requests.PreparedRequest]:
        header = None if self.authorization is None else self.authorization()

        def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            if header is not None and header[0] not in prepared.headers:
                prepared.headers[header[0]] = header[1]
            return prepared

        own = self.authorization is None and not request.anonymous
        made = requests.Request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body or None,
            # Any ``auth`` keeps ``~/.netrc`` out.
            auth=None if own else leave_alone if request.anonymous else authorize,
        )
        try:
            prepared = session.prepare_request(made)
        except (requests.RequestException, UnicodeError) as error:
            why = self.secrets(reason(error))
            where = self.secrets(shown(request.url))
            if isinstance(error, ValueError):  # the session's own headers, say
                raise ConfigurationError(f"{where}: the request cannot be made: {why}") from error
            # Its ``auth`` asks a server of its own for a token.
            raise APIConnectionError(f"{where}: the session's auth failed: {why}") from error
        return made, prepared

    def _no_response(
        self, error: Exception, call: NetworkCall, session: requests.Session, url: str
    ) -> _Failure:
        """What to tell of an attempt that brought no response."""
        where = self.secrets(shown(url))
        told: OpenAIStreamError
        if call.expired is not None:
            told = APITimeoutError(f"{where}: {call.expiry()}")
            retry = call.expired != "total"
        else:
            cause = cause_of(error, proxy_of(session, url))
            told = cause.error(f"{where}: {self.secrets(cause.said)}")
            retry = cause.retry
            if isinstance(told, APIConnectionError):
                told.lasting = not retry
        told.__cause__ = error
        return _Failure(told, retry)

    def _bad_status(
        self, response: requests.Response, sent: requests.PreparedRequest, request: Request
    ) -> _Failure:
        """What to tell of a response that is no answer; it has been read."""
        where = self.secrets(shown(request.url))
        status = response.status_code
        if 300 <= status < 400:
            target = self.secrets(shown(response.headers.get("location", "nowhere")))
            return _Failure(
                APIConnectionError(
                    f"{where}: the server redirects ({status}) to {target}. Redirects are not "
                    "followed, they would carry the key along: use that address as base URL",
                    lasting=True,
                ),
                retry=False,
            )
        text = response.content.decode(errors="replace").strip()
        keyed = any(map(is_secret, sent.headers))
        told = status_error(response, text, where, self.secrets, keyed, request.if_missing)
        return _Failure(told, told.retryable, told.retry_after)


def _take_error_in(response: requests.Response, call: NetworkCall) -> None:
    """Read an error's body, as far as it comes in a few seconds; a redirect's is not looked at."""
    body = Body(response, call)
    content = bytearray()
    try:
        if not 300 <= response.status_code < 400:
            call.limit(_ERROR_BODY_SECONDS)
            while len(content) < _ERROR_BODY and (block := body.read()):
                content += block
            body.finish()
    except (Expired, StreamError):
        call.forgive()
    finally:
        body.close()
        settle(response, bytes(content[:_ERROR_BODY]))


def _take_in(response: requests.Response, call: NetworkCall, limit: int) -> StreamError | None:
    """Read a whole answer.

    :returns: why there is no more of it than what the response has now.
    """
    body = Body(response, call)
    blocks: list[bytes] = []
    try:
        for block in body.blocks(limit):
            blocks.append(block)
        body.finish()
    except StreamError as error:
        return error
    except Expired:
        return StreamTimeoutError(call.expiry())
    finally:
        body.close()
        settle(response, b"".join(blocks))
    return None
