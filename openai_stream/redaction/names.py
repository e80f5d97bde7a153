"""What is secret by its name: of a header, and of a parameter of a query.

A pattern, not a list: gateways invent names faster than lists grow. A name says it by its last
word (``Ocp-Apim-Subscription-Key``, ``X-Session-Id``, ``sig``), so that what only counts tokens
(``X-RateLimit-Limit-Tokens``, ``X-Token-Count``) can still be read. Between what is secret by its
name and what is harmless by its name is the rest: what the user sent under such a name is secret
too, since nobody but the user knows.
"""

from __future__ import annotations

import functools
import re

__all__ = [
    "SHORT",
    "has_unquoted_user",
    "hidden_header",
    "hidden_target",
    "is_harmless",
    "is_secret",
    "shown",
    "shown_proxy",
]

#: Shorter texts, as local servers are given for keys ("x", "none"), are a part of many words.
SHORT = 8

_PRIVATE = r"""
    (?: .* (?: key | token | secrets? | auth | authori[sz]ation | authentication | passwords?
             | passwd | passphrase | credentials? | cookie | session | sessid | signature | bearer )
      | (?: .* [^a-z] )? (?: pass | pwd | pin | sid | sess | jwt | sig | hmac | otp ) )
    (?: [-_.]? (?: id | value | hash | base64 | sha\d+ | v?\d+ ) )*
"""
#: Of a query only: Azure's functions, and what OAuth sends back, are asked for with a ``code``.
_PRIVATE_IN_QUERY = "code"
#: It is secret to nobody who may see the account, and worth knowing in an error. A recording goes
#: to strangers.
_IDENTIFYING = r"(.+-)?organi[sz]ation(-id)?|openai-project"
_HARMLESS = r"""
    # what HTTP itself needs, and what requests sends
    accept(-.+)? | allow | cache-control | connection | content-.+ | date | dnt | expect | host
    | keep-alive | location | pragma | range | referer | server | te | trailer | transfer-encoding
    | upgrade | user-agent | vary | via | http-referer | retry-after(-ms)?
    # what ties a request to a log, and is new each time
    | (.+-)?(request|correlation|trace|span)-?id | (x-)?idempotency-key | traceparent | tracestate
    | x-b3-.+ | x-cloud-trace-context | cf-ray | (surrogate|x-cache|x-surrogate)-key
    # versions, kinds and settings
    | x-stainless-.+ | (.+[-_])?(version | beta | model | region | environment | env | language
    | locale | name | title | type | format | mode | provider | platform | os | arch | runtime
    | count | priority | tier | timeout | retries | ttl | enabled)
"""
_PARAMETER = r"(?<=[?&])([^=&#\s\"']*)=([^&#\s\"']*)"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern, from its first use on: to compile these takes longer than to import a room."""
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE)


def _says(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name.strip()) is not None


def is_secret(name: str, *, parameter: bool = False, identifying: bool = False) -> bool:
    """Whether what stands under this name is nobody else's business.

    :param parameter: it is that of a query.
    :param identifying: whether what names the account counts as well.
    """
    if _says(_HARMLESS, name):
        return False
    return (
        _says(_PRIVATE, name)
        or (parameter and _says(_PRIVATE_IN_QUERY, name))
        or (identifying and _says(_IDENTIFYING, name))
    )


def is_harmless(name: str) -> bool:
    """Whether what stands under this name may be shown, whoever sent it."""
    return _says(_HARMLESS, name) or _says(_IDENTIFYING, name)


def hidden_header(name: str) -> bool:
    """Whether the value of a header of a request is to be left out of what strangers may read."""
    return not is_harmless(name) or _says(_IDENTIFYING, name)


def hidden_target(target: str) -> str:
    """The target of a request, with as many stars in the place of parameters that are secret, or
    that may be.
    """

    def hide(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        unknown = not is_harmless(name) and len(value) >= SHORT
        if unknown or is_secret(name, parameter=True, identifying=True):
            value = "*" * len(value)
        return f"{name}={value}"

    return re.sub(_PARAMETER, hide, target)


def shown(url: str | None) -> str:
    """A URL for people: without user name, password and query, where secrets may be."""
    if not url:
        return ""
    scheme, authority, tail = _parts(url)
    port = authority.rpartition("]")[2].partition(":")[2]
    if "@" not in authority and "@" in tail and not port.isdecimal() and ":" in authority:
        # A password with a slash or a question mark in it, which should have been quoted.
        rest = tail.rpartition("@")[2]
    else:
        rest = authority.rpartition("@")[2] + tail
    return scheme + re.split(r"[?#]", rest)[0]


def has_unquoted_user(url: str) -> bool:
    """Whether a proxy's URL has a user name or password with a sign in it that ends the host: what
    looks like the host is the user's, then, and the host is behind an at sign.
    """
    _, authority, tail = _parts(url)
    if "\\" in (authority + tail).rpartition("@")[0]:
        return True
    return re.search(r"@[^@/?#]+:\d+/?\Z", tail) is not None


def shown_proxy(url: str) -> str:
    """The same of a proxy; also if the user's name and password are not quoted as they must be."""
    scheme, host, tail = _parts(url)
    is_clear = re.search(r":\d+\Z", host) is not None and not has_unquoted_user(url)
    if "@" in host or not is_clear:
        host = re.split(r"[/?#]", (host + tail).rpartition("@")[2])[0]
    return scheme + host


def _parts(url: str) -> tuple[str, str, str]:
    """The scheme with what separates it; what comes before a sign that ends it; the rest."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    authority = re.split(r"[/?#]", rest)[0]
    return scheme + separator, authority, rest[len(authority) :]
