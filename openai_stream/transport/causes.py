"""What went wrong below: the exceptions of ``requests``, ``urllib3``, ``ssl`` and SOCKS, read.

In which words, under which class of ours, and whether another attempt may do better. Theirs repeat
each other, nest in four different ways, and say the same of a server and of a proxy.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import ssl
from collections.abc import Iterator

import attrs
import requests
import urllib3.exceptions

from openai_stream.errors import APIConnectionError, APITimeoutError, ConfigurationError
from openai_stream.redaction import shown_proxy

from .deadlines import NO_TLS

__all__ = ["LEAKING", "Cause", "cause_of", "drop_tracebacks", "reason"]

#: What to send and to read raise that is not ours; the errors of ``requests`` are among them.
LEAKING = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


@attrs.frozen(eq=False, repr=False)
class Cause:
    """Why there is no response.

    :param error: the class to raise.
    :param said: what happened, and what to do about it; secrets are still in it.
    :param retry: whether another attempt may do better.
    """

    error: type[APIConnectionError | ConfigurationError]
    said: str
    retry: bool = True


#: What OpenSSL calls an answer that is not TLS; its words change with its versions.
_NO_TLS_REASONS = {
    *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"),
    *("PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"),
}

_NOT_SENT = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)
#: What ``requests`` never raises for an answer by itself: a hook of the session's has.
_REFUSED = (requests.HTTPError, requests.exceptions.InvalidJSONError)
_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def cause_of(error: Exception, proxy: str | None = None) -> Cause:
    """Read what ``requests`` raised in the place of a response.

    :param proxy: the URL of the proxy that the request was to go through.
    """
    why = reason(error)
    inner = list(_links(error))
    if isinstance(error, ConfigurationError):  # said where it was seen
        return Cause(ConfigurationError, why, retry=False)
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in why:
        return Cause(
            ConfigurationError, "a SOCKS proxy needs PySocks: pip install PySocks", retry=False
        )
    if isinstance(error, _NOT_SENT):
        return Cause(ConfigurationError, f"the request cannot be made: {why}", retry=False)
    if type(error) is ValueError and why.startswith("Invalid header"):  # an ``auth`` has put it in
        return Cause(ConfigurationError, f"the request cannot be made: {why}", retry=False)
    if isinstance(error, _REFUSED) or type(error) is requests.RequestException:
        return Cause(APIConnectionError, f"the session refuses the answer: {why}", retry=False)
    if file := _unusable_file(error, inner):
        return Cause(APIConnectionError, file, retry=False)
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return Cause(APITimeoutError, why)
    if isinstance(error, requests.exceptions.SSLError):
        refused = [one for one in inner if isinstance(one, ssl.SSLCertVerificationError)]
        plain = any(
            isinstance(one, ssl.SSLError) and one.reason in _NO_TLS_REASONS for one in inner
        )
        hint = f": {NO_TLS}" if plain else ""
        if any(one.verify_code in _UNKNOWN_AUTHORITY for one in refused):
            hint = ". REQUESTS_CA_BUNDLE can name a file with the authorities to trust"
        return Cause(APIConnectionError, f"TLS failed: {why}{hint}", retry=not refused)
    if proxy and (isinstance(error, requests.exceptions.ProxyError) or _is_socks(inner)):
        return Cause(
            APIConnectionError,
            f"the proxy {shown_proxy(proxy)} gives no connection: {why}",
            retry=not (_is_refused(inner) or _refuses(why)),
        )
    if any(type(one) in _UNREADABLE for one in inner):
        # The server has answered, and to ask again would be paid for again.
        return Cause(APIConnectionError, f"no response that can be read: {why}", retry=False)
    if any(isinstance(one, OSError) and one.errno in _NO_MORE_FILES for one in inner):
        return Cause(
            APIConnectionError,
            f"no response: {why}: this program has as many open as it may (ulimit -n)",
        )
    if proxy:  # which of the two it was nothing tells
        return Cause(
            APIConnectionError,
            f"no response through the proxy {shown_proxy(proxy)}: {why}. Are the proxy and the "
            "server running, and is the base URL right?",
        )
    return Cause(
        APIConnectionError,
        f"no response: {why}. Is the server running, and the base URL right?",
    )


#: OpenSSL's numbers: signed by itself, by one that is not trusted, or nobody knows by whom.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
_UNREADABLE = (http.client.HTTPException, http.client.LineTooLong, http.client.UnknownProtocol)


def _unusable_file(error: Exception, inner: list[BaseException]) -> str | None:
    """What to say if a certificate's file is why; the network was not even asked."""
    said = str(error)
    if "invalid path:" in said and not isinstance(error, requests.RequestException):
        path = said.rpartition("invalid path:")[2].strip()
        what = "CA bundle" if "CA certificate bundle" in said else "client certificate"
        why = "is not there"
    else:
        broken = next((one for one in inner if isinstance(one, _FILES)), None) or next(
            # An error of these of OpenSSL's libraries is about a file's content.
            (one for one in inner if isinstance(one, ssl.SSLError) and one.library in _CONTENT),
            None,
        )
        if broken is None or not isinstance(error, requests.exceptions.SSLError):
            return None
        what, path = "CA bundle or client certificate", ""
        why = f"cannot be read: {reason(broken)}"
    if what != "client certificate":
        for name in _BUNDLES:  # in the order in which requests asks
            if os.environ.get(name):
                return f"the CA bundle that {name} names {why}: {os.environ[name]}"
    return f"the session's {what} {why}" + (f": {path}" if path else "")


_CONTENT = ("X509", "PEM", "ASN1")


def _is_refused(inner: list[BaseException]) -> bool:
    return any(isinstance(one, ConnectionRefusedError) for one in inner)


def _is_socks(inner: list[BaseException]) -> bool:
    # Without importing PySocks, which may not be there.
    return any(type(one).__module__ == "socks" for one in inner)


def _refuses(why: str) -> bool:
    """A proxy's answer that it will not give again differently: 403, 407; not 502 or 503."""
    status = re.search(r"Tunnel connection failed: (\d{3})", why)
    if status is None:
        return "authentication" in why.lower()
    return status[1].startswith("4") and status[1] not in ("408", "429")


def _links(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, in whichever of the four ways it is kept."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < 50:
        one = waiting.pop()
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        more = (getattr(one, "reason", None), getattr(one, "socket_err", None), *one.args)
        waiting += [*more, one.__cause__, one.__context__]


def drop_tracebacks(error: BaseException, outside: int | None = None) -> None:
    """Forget the frames that an error and its causes came through; none of them is the user's.

    They lead to the reader's frames, or to the caller's, and so to all that those hold: and
    ``urllib3`` leaves them in circles, in which they stay until the garbage is collected.

    :param outside: the ``id`` of an exception that the caller handles meanwhile, and that ends the
        chain: it is the caller's.
    """
    link: BaseException | None = error
    for _ in range(20):  # a chain may be a circle
        if link is None or id(link) == outside:
            return
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def reason(error: BaseException) -> str:
    """The innermost cause of a ``requests`` or ``urllib3`` error, in a few words.

    Theirs repeat each other, and quote objects: ``HTTPConnectionPool(host=…): Max retries …``.
    """
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or next(
            (arg for arg in reversed(error.args) if isinstance(arg, BaseException)), None
        )
        inner = inner if isinstance(inner, BaseException) else error.__cause__
        if inner is None:
            break
        error = inner
    text = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    # http.client's limits: headers, trailers, interim responses.
    return re.sub(r"^got more than (\d+) ", r"the server sent more than \1 ", text)
