"""What is sent: a request's URL, headers and body, checked before anything is.

Whatever HTTP or JSON cannot carry, or would take for something else, is refused here with the name
of the argument, and without showing its value where that may be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
import requests
import requests.structures

from .accumulate import UNKNOWN, Asked
from .errors import ConfigurationError
from .redaction import shown

__all__ = [
    "Headers",
    "Request",
    "check_header_value",
    "check_headers",
    "check_key",
    "check_session",
    "check_url",
    "encode",
    "merge",
    "take_mapping",
    "with_query",
]

Headers = Mapping[str, str | None]


@attrs.frozen(eq=False, repr=False)
class Request:
    """A request, as it is for each attempt."""

    url: str
    headers: Mapping[str, str | None]
    body: bytes
    #: What the body asks for, as far as it tells how to put the answer together.
    asked: Asked = UNKNOWN
    method: str = "POST"
    #: The parameters that were added to the URL.
    query: Mapping[str, Any] = attrs.field(factory=dict)
    #: It asks for a response that runs in the background.
    background: bool = False
    #: What to do about status 404.
    if_missing: str = ""

    @property
    def anonymous(self) -> bool:
        """The header with the key was taken away: ``extra_headers={"Authorization": None}``."""
        return any(self.headers.get(name, "") is None for name in ("Authorization", "api-key"))


def _jsonable(value: Any) -> Any:
    """What an earlier call returned may be sent again: a message, say."""
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return to_dict()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _dumps(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, default=_jsonable, separators=(",", ":")).encode()


def encode(body: Any) -> bytes:
    """The body as JSON.

    :raises ConfigurationError: naming the argument that JSON cannot carry.
    """
    try:
        return _dumps(body)
    except (TypeError, ValueError, RecursionError):
        parts = body if isinstance(body, dict) else {"body": body}
        for name, value in parts.items():
            try:
                _dumps({name: value})
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigurationError(f"{name}: JSON cannot carry it: {error}") from None
        raise


def with_query(url: str, query: Mapping[str, Any]) -> str:
    """The URL with parameters added to those that it has."""
    if not query:
        return url
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    pairs += [(name, value) for name, value in query.items() if value is not None]
    try:
        encoded = urlencode(pairs, doseq=True)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"extra_query: a URL cannot carry it: {error.reason}") from None
    return urlunsplit(parts._replace(query=encoded))


def take_mapping(arguments: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = arguments.pop(name, None)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not a {type(value).__name__}")
    return value


def merge(*layers: Headers) -> Headers:
    """Headers, the later ones before the earlier, in any case; ``None`` takes one away."""
    merged: requests.structures.CaseInsensitiveDict[Any]
    merged = requests.structures.CaseInsensitiveDict()
    for layer in layers:
        for name, value in layer.items():
            merged[name] = value
    return merged


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: What is given for a URL if two arguments changed places.
_LIKE_A_KEY = r"(?s)(sk-|eyJ).*|[\w+=-]{16,}"
_LIKE_A_URL = r"(?i)https?://"
_LIKE_A_HEADER = r"(?i)bearer\s"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def check_header_value(name: str, value: Any) -> None:
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


def check_key(name: str, key: Any) -> None:
    """Refuse what cannot be a key, and what is something else in its place; never shows it.

    :raises ConfigurationError: naming the argument.
    """
    check_header_value(name, key)
    if re.match(_LIKE_A_URL, key):
        raise ConfigurationError(
            f"{name} looks like a URL: the server's address goes into base_url=… (of AzureClient: "
            "endpoint=…)"
        )
    if re.match(_LIKE_A_HEADER, key):
        raise ConfigurationError(
            f"{name} begins with 'Bearer ', which is added by itself: give the key alone"
        )


def check_session(session: Any) -> None:
    """Refuse what cannot send as a :class:`requests.Session` does, whatever its class.

    :raises ConfigurationError: saying what it is instead.
    """
    used = ("prepare_request", "merge_environment_settings", "send")
    is_class = isinstance(session, type)
    if is_class or not all(callable(getattr(session, name, None)) for name in used):
        what = f"the class {session.__name__}" if is_class else f"a {type(session).__name__}"
        raise ConfigurationError(
            f"session must be a session, as requests.Session() makes one, not {what}"
        )


def check_headers(name: str, headers: Any) -> None:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, not a {type(headers).__name__}")
    for number, (header, value) in enumerate(headers.items(), start=1):
        if not isinstance(header, str) or not _TOKEN.fullmatch(header):
            # Which is not shown: it may be a whole line, "Authorization: Bearer …".
            raise ConfigurationError(f"{name}: the name of header {number} is not one (RFC 9110)")
        if value is not None:
            check_header_value(f"{name}[{header!r}]", value)


def _what_is_wrong(url: str) -> str:
    """What of an address that is not a base URL, if it is plain."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        # A name or a number of a host, with a port and a path perhaps.
        if re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+)(:\d{1,5})?(/[\w./-]*)?", url):
            return f" (is it 'http://{url}'?)"
        return ""
    if scheme.lower() not in ("http", "https"):
        return f" (the scheme is {scheme!r}, and not http or https)" if scheme.isalnum() else ""
    port = re.search(r":([^:\]@]*)$", rest.partition("/")[0])
    if port and port[1] and not (port[1].isdecimal() and 0 < int(port[1][:6]) < 65536):
        return f" (the port is not a number from 1 to 65535: {port[1][:20]!r})"
    return ""


def check_url(name: str, url: Any) -> None:
    """Refuse what is no base URL.

    :raises ConfigurationError: naming the argument.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{name} must be a string, not a {type(url).__name__}")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        requests.PreparedRequest().prepare_url(url, None)
    except (ValueError, requests.RequestException):
        good = False
    if not good or re.search(r"[\x00-\x20\x7f]", url):
        raise ConfigurationError(
            f"{name} must be a URL such as https://api.openai.com/v1, with its scheme: "
            f"{'***' if re.fullmatch(_LIKE_A_KEY, url) else shown(url)!r}{_what_is_wrong(url)}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{name} has a user name or a password in it, which would show in messages: use "
            "headers={'Authorization': …}"
        )
