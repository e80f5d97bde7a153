"""Attempts: how often a request is tried, and what to tell when it brings no answer.

From a request to a response with a good status, or an error of ours. What is asked for, and with
whose key, the client knows; what is in a good response is not looked at.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable

import attrs
import requests
import urllib3
import urllib3.exceptions

from .errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    OpenAIStreamError,
    StreamError,
)
from .reader import expiry
from .redaction import Mask, Secrets, hiding_in_logs, is_secret, purge, shown
from .request import Request
from .server_errors import status_error
from .transport import Aborted, Body, Exchange, Expired, Tap, drop_tracebacks, reason, send

__all__ = ["Attempts", "Trace"]

Trace = Callable[[requests.PreparedRequest, requests.Response | None], object]
#: Makes what looks at an attempt's bytes, of its request and of what hides the secrets in them.
MakeTap = Callable[[requests.PreparedRequest, Mask], Tap]

_LONGEST_RETRY_AFTER = 60.0  # seconds; a server that wants more gets no further attempt
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_ERROR_BODY = 1024 * 1024  # bytes of an error's body that are looked at
_ERROR_BODY_SECONDS = 5.0  # and how long it may take: the status is the news, not the body


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


@attrs.frozen(repr=False)
class Attempts:
    """How a client tries its requests.

    :param session: gives the session to use.
    :param authorize: puts the key into a request; asked for each attempt.
    :param secrets: what must show nowhere; what the requests have of it is added here.
    :param max_retries: attempts after the first.
    :param trace: the user's function.
    :param tap: makes what looks at an attempt's bytes.
    """

    session: Callable[[], requests.Session]
    authorize: Callable[[requests.PreparedRequest], requests.PreparedRequest] | None
    secrets: Secrets
    max_retries: int
    trace: Trace | None
    tap: MakeTap | None = None

    def open(self, request: Request, exchange: Exchange) -> requests.Response:
        """Try until there is a response with a good status.

        :raises OpenAIStreamError: there is none.
        :raises Aborted: the exchange was aborted.
        """
        retries = 0
        while True:
            try:
                exchange.begin()
                outcome = self._try(request, exchange)
                if isinstance(outcome, requests.Response):
                    return outcome
                wait = outcome.after
                long = wait is not None and wait > _LONGEST_RETRY_AFTER
                if not outcome.retry or retries >= self.max_retries or long:
                    break
                if wait is None:
                    exchange.back_off(retries)
                else:
                    exchange.sleep(wait)
                retries += 1
            except Expired:
                raise APITimeoutError(f"{expiry(exchange)}, after {retries} retries") from None
        purge(outcome.error, self.secrets)
        raise outcome.error

    def _try(self, request: Request, exchange: Exchange) -> requests.Response | _Failure:
        session = self.session()
        response: requests.Response | None = None
        failure: _Failure | None = None
        prepared = self._prepared(session, request)
        self.secrets.add_request(prepared.headers, prepared.url)
        if self.tap is not None:
            exchange.tap = self.tap(prepared, self.secrets.mask())
        try:
            with hiding_in_logs(self.secrets):
                response = send(session, prepared, exchange)
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            exchange.end_tap()
            if exchange.aborted:
                raise Aborted from None
            drop_tracebacks(error)  # or a queue that the caller drops would live on
            failure = self._no_response(error, exchange, request.url)
        except BaseException:
            exchange.end_tap()
            raise
        try:
            if self.trace is not None:
                self.trace(prepared, response)
            if response is None:
                assert failure is not None
                return failure
            if 200 <= response.status_code < 300:
                return response
            keyed = any(map(is_secret, prepared.headers))
            return self._bad_status(response, exchange, request.url, keyed)
        except BaseException:
            if response is not None:
                exchange.end_tap()
                response.close()
            raise

    def _prepared(self, session: requests.Session, request: Request) -> requests.PreparedRequest:
        try:
            return session.prepare_request(
                requests.Request(
                    "POST",
                    request.url,
                    headers=request.headers,
                    data=request.body,
                    auth=_leave_alone if request.anonymous else self.authorize,
                )
            )
        except (requests.RequestException, UnicodeError) as error:  # the session's own headers, say
            why = self.secrets(reason(error))
            raise ConfigurationError(
                f"{self.secrets(shown(request.url))}: the request cannot be made: {why}"
            ) from error

    def _no_response(self, error: Exception, exchange: Exchange, url: str) -> _Failure:
        """What to tell of an attempt that brought no response."""
        where = self.secrets(shown(url))
        why = self.secrets(reason(error))
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
        told.__cause__ = error
        return _Failure(told, retry)

    def _bad_status(
        self, response: requests.Response, exchange: Exchange, url: str, keyed: bool
    ) -> _Failure:
        """What to tell of a response that is no answer.

        :param keyed: whether a key was sent.
        """
        where = self.secrets(shown(url))
        status = response.status_code
        if 300 <= status < 400:
            target = self.secrets(shown(response.headers.get("location", "nowhere")))
            exchange.end_tap()
            response.close()
            return _Failure(
                APIConnectionError(
                    f"{where}: the server redirects ({status}) to {target}. Redirects are not "
                    "followed, they would carry the key along: use that address as base URL"
                ),
                retry=False,
            )
        text = _error_body(response, exchange)
        told = status_error(response, text, where, self.secrets, keyed)
        wish = response.headers.get("x-should-retry", "").lower()
        return _Failure(
            told,
            retry=wish != "false" and (wish == "true" or status in _RETRIED),
            after=told.retry_after,
        )


_NOT_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that does nothing, but for keeping ``~/.netrc`` out."""
    return request


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
