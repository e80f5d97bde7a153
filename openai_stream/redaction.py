"""What must show nowhere, and how it is taken out.

It knows neither clients nor the network: whoever has keys names them here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

__all__ = [
    "HIDDEN",
    "SECRET_HEADER",
    "SECRET_HEADERS",
    "SECRET_PARAMETER",
    "AnswerWithout",
    "Secrets",
    "cleaned",
    "is_clean",
    "of_proxies",
    "shown",
    "without",
]

HIDDEN = "***"
#: Headers of requests and of responses that are nobody else's business.
SECRET_HEADER = re.compile(
    r"(.+-)?(authorization|api-key|token|secret|cookie|organi[sz]ation(-id)?)|openai-project",
    re.IGNORECASE,
)
#: Parameters of a query that are, by what servers call them: ``?key=…``, ``&sig=…``.
SECRET_PARAMETER = re.compile(
    r"(?<=[?&])((?:[^=&#]*[-_])?(?:key|apikey|authorization|token|secret|password|sig|signature|code)=)"
    r"([^&#]*)",
    re.IGNORECASE,
)
_SHORT = 8  # shorter keys, as local servers are given ("x", "none"), are a part of many words
SECRET_HEADERS = ("Authorization", "api-key", "x-api-key", "Proxy-Authorization", "Cookie")


def of_proxies(urls: Iterable[str | None]) -> Iterator[str]:
    """The passwords in the URLs of proxies."""
    for url in urls:
        # As it stands in the URL, which may be wrong, and as it is meant.
        user, _, password = (url or "").rpartition("@")[0].rpartition("://")[2].partition(":")
        yield from (password or user, unquote(password or user))


def shown(url: str | None) -> str:
    """A URL for people: without user name, password and query, where secrets may be."""
    if not url:
        return ""
    bare = url.split("?", 1)[0].split("#", 1)[0]
    return re.sub(r"[^/]*@", "", bare)


def without(text: str, secrets: Iterable[str]) -> str:
    """The text with stars in the place of secrets."""
    for secret in secrets:
        pattern = re.escape(secret)
        if len(secret) < _SHORT:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, HIDDEN, text)
    return text


def cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """JSON with all its texts cleaned.

    :raises RecursionError: it is nested too deep.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        # No name of a field is that long; and a key of a local server may well be "code".
        return {
            clean(name) if len(name) > 16 else name: cleaned(item, clean)
            for name, item in value.items()
        }
    return value


def is_clean(error: BaseException, clean: Callable[[str], str]) -> bool:
    """Whether neither the error nor its causes show a secret, as a traceback would print."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        link = link.__cause__ or link.__context__
    text = "".join(f"{link!s}{link!r}" for link in seen)
    return clean(text) == text


class Secrets:
    """Texts that must not be written, and the stars in their place."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._secrets = sorted({text.encode() for text in texts}, key=len, reverse=True)
        self._pattern = re.compile(
            b"|".join(
                re.escape(one) if len(one) >= _SHORT else rb"(?<!\w)%b(?!\w)" % re.escape(one)
                for one in self._secrets
            )
            or rb"(?!)"
        )

    def hide(self, data: bytes) -> bytes:
        """The data with as many stars in the place of each secret."""
        return self._pattern.sub(lambda found: b"*" * len(found[0]), data)

    def begun(self, data: bytes) -> int:
        """How many bytes at the end may be a secret's beginning, or want to be seen in context."""
        longest = 0
        for secret in self._secrets:
            # Of a short one, what follows it decides.
            most = min(len(data), len(secret) - (len(secret) >= _SHORT))
            longest = max(
                longest,
                next((size for size in range(most, 0, -1) if data.endswith(secret[:size])), 0),
            )
        return longest


class AnswerWithout:
    """A response's bytes without its secrets; holds back what may be the beginning of one."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = b""
        self._before = b""  # the byte before what is held
        self._in_head = True
        self._interim = False  # the head is that of a 1xx, behind which comes another
        self._hiding = False  # the header goes on in the next line

    def take(self, data: bytes) -> bytes:
        """Take in more.

        :returns: what can be written, of the same length as what came.
        """
        data, self._held = self._held + data, b""
        done = b""
        while self._in_head:
            line, end, data = data.partition(b"\n")
            if not end:
                self._held = line
                return done
            done += self._head_line(line + end)
        return done + self._body(data)

    def rest(self) -> bytes:
        """What was held back, at the end."""
        held, self._held = self._held, b""
        return self._head_line(held) if self._in_head else self._hidden(held)

    def _body(self, data: bytes) -> bytes:
        data = self._hidden(data)
        held = self._secrets.begun(data)
        self._held = data[len(data) - held :]
        data = data[: len(data) - held]
        self._before = data[-1:] or self._before
        return data

    def _hidden(self, data: bytes) -> bytes:
        return self._secrets.hide(self._before + data)[len(self._before) :]

    def _head_line(self, line: bytes) -> bytes:
        if status := re.match(rb"HTTP/\d\.\d (\d{3})", line):
            self._interim = status[1].startswith(b"1")
        name, colon, value = line.partition(b":")
        if not line.strip():
            self._in_head = self._interim
        elif line[:1] in (b" ", b"\t"):
            name, value = b"", line
        else:
            self._hiding = bool(colon and SECRET_HEADER.fullmatch(name.decode("latin-1").strip()))
        if self._hiding and line.strip():
            return name + colon * bool(name) + re.sub(rb"[^\s]", b"*", value)
        return self._secrets.hide(line)
