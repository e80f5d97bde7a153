"""The texts that are secret, found again in every form that they are quoted in.

Covered are, in upper and in lower case: the text itself; percent-encoded, as in URLs and in forms;
escaped as JSON, Python and HTML do (``\\u002d``, ``\\x2d``, ``&#45;``, ``&amp;``), once or several
times; in base64, also as a part of something longer (``user:key``); and with characters in it that
were not UTF-8. Not covered is a text that was taken apart: broken by white space, encrypted or
hashed. Of one that was cut, pieces of at least 16 characters are found in messages, in causes and
in what is logged.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .escapes import HALF_ESCAPED, encoded, forms, unescaped
from .names import SHORT, is_harmless, is_secret

__all__ = [
    "HIDDEN",
    "Mask",
    "Secrets",
    "cleaned",
    "cleaned_headers",
    "of_headers",
    "of_proxies",
    "of_url",
]

HIDDEN = "***"
_PIECE = 16  # characters; shorter pieces of a secret are not looked for
_WINDOW = _PIECE // 2  # each piece has one of these in it that begins at a multiple of its length
_REQUESTS = 8  # whose headers are remembered: those of the newest attempts

#: Such "keys" hide nothing, and stars in their place would break numbers, literals and the sizes of
#: chunks.
_PLACEHOLDER = r"(?i)[0-9a-f]{1,4}|null|true|false"


class Secrets:
    """The secrets of one call, as they are when something is to be hidden: keys may be set anew.

    May be called, as a function that gives a text without them. Any thread may do so.

    :param texts: gives them; empty ones and ``None`` do not count.
    :param fixed: gives those that do not change during the call; asked once, if ever.
    """

    def __init__(
        self,
        texts: Callable[[], Iterable[str | None]],
        fixed: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._texts = [texts]
        self._fixed = [_Lazy(fixed)]
        self._sent: deque[_Lazy] = deque(maxlen=_REQUESTS)
        #: The ``id`` of an exception that the caller handles meanwhile: ours are raised in its
        #: context, and it is not ours to look at. Only during the call, so that it is alive.
        self.outside: int | None = None
        self._mask: tuple[frozenset[str], Mask] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def add(
        self, texts: Callable[[], Iterable[str | None]], fixed: Callable[[], Iterable[str]]
    ) -> None:
        """Those of another client, which the call may come to ask; as in ``__init__``."""
        self._texts.append(texts)
        self._fixed.append(_Lazy(fixed))

    def add_request(self, headers: Mapping[str, Any], url: str | None, keep: bool = False) -> None:
        """What is sent is secret too, by its names, whoever put it in: the user, a session.

        :param keep: for the whole call, however many requests it makes.
        """
        found = _Lazy(lambda: [*of_headers(headers), *of_url(url)])
        (self._fixed if keep else self._sent).append(found)

    def mask(self) -> Mask:
        """What hides them, as they are now."""
        known: list[list[str | None]] = [[*lazy.texts] for lazy in (*self._fixed, *self._sent)]
        known += [list(texts()) for texts in self._texts]
        now = frozenset(text for texts in known for text in texts if text)
        if self._mask is None or self._mask[0] != now:
            self._mask = now, Mask(now)
        return self._mask[1]

    def __call__(self, text: str) -> str:
        return self.mask().hide(text)

    def of_name(self, text: str) -> str:
        """The same by :meth:`Mask.hide_long`."""
        return self.mask().hide_long(text)


class _Lazy:
    """Secret texts that are looked for when they are wanted, which for most calls is never."""

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find

    @cached_property
    def texts(self) -> list[str]:
        """The texts."""
        return list(self._find())


class Mask:
    """What hides the given texts.

    Those of less than 8 characters, which local servers are given for keys, are a part of many
    words: they are hidden where they stand as a word, and not in names of fields and headers.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        kept = {text for text in texts if text}
        short = (text for text in kept if len(text) < SHORT)
        words = [encoded(text) for text in short if not re.fullmatch(_PLACEHOLDER, text)]
        self._words = sorted(words, reverse=True)  # before those that they begin with
        self._word = re.compile(rb"(?<!\w)(?:%b)(?!\w)" % b"|".join(map(re.escape, self._words)))
        self._forms = {form for text in kept if len(text) >= SHORT for form in forms(text)}
        self._long = [encoded(text).lower() for text in kept if len(text) > _PIECE]

    def hide(self, text: str, *, words: bool = True) -> str:
        """The text with ``***`` in the place of each secret.

        :param words: also of short ones, which may be words.
        """
        if len(text) < SHORT and not (words and self._words):
            return text
        data = encoded(text)
        spans = self._spans(data, words, pieces=True)
        if not spans:
            return text
        parts, position = [], 0
        for begin, end in spans:
            parts += [data[position:begin], HIDDEN.encode()]
            position = end
        return b"".join([*parts, data[position:]]).decode("utf-8", "surrogatepass")

    def hide_long(self, text: str) -> str:
        """The same for names, and for texts of ours: a short key may well be "code"."""
        return self.hide(text, words=False)

    def hide_bytes(self, data: bytes, *, words: bool = True, more: bool = False) -> bytes:
        """The data with as many stars in the place of each secret.

        :param more: will follow, and decide whether the end of it is a word.
        """
        hidden = bytearray(data)
        for begin, end in self._spans(data, words, more=more):
            hidden[begin:end] = b"*" * (end - begin)
        return bytes(hidden)

    def finds(self, data: str | bytes) -> bool:
        """Whether a secret is in there, short ones apart."""
        if isinstance(data, str):
            data = encoded(data)
        return bool(self._spans(data, words=False, pieces=True))

    def begun(self, data: bytes) -> int:
        """How many bytes at the end may be a secret's beginning, or want to be seen in context."""
        size = len(data)
        first = (
            size
            - max(
                (  # of a short one, what follows it decides
                    length
                    for word in self._words
                    for length in range(1, len(word) + 1)
                    if data.endswith(word[:length])
                ),
                default=0,
            )
        )
        if self._forms:
            half = re.search(HALF_ESCAPED, data)
            end = half.start() if half else size
            plain, starts = unescaped(data[:end])
            plain = plain.lower()
            for form in self._forms:
                at = _beginning(plain, form)
                if at is not None:
                    first = min(first, starts[at])
            first = min(first, end)
        return size - first

    def _spans(
        self, data: bytes, words: bool, pieces: bool = False, more: bool = False
    ) -> list[tuple[int, int]]:
        """Where secrets are, in order, without overlaps."""
        found = list(self._found(data.lower(), pieces))
        if self._forms:
            plain, starts = unescaped(data)
            if plain is not data:
                found += [
                    (starts[begin], starts[end])
                    for begin, end in self._found(plain.lower(), pieces)
                ]
        if words and self._words:
            size = len(data) - 1 if more else len(data)
            found += [one.span() for one in self._word.finditer(data) if one.end() <= size]
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(found):
            if merged and begin < merged[-1][1]:
                begin, end = merged[-1][0], max(end, merged.pop()[1])
            merged.append((begin, end))
        return merged

    def _found(self, lowered: bytes, pieces: bool) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            for begin in _occurrences(lowered, form):
                yield begin, begin + len(form)
        for secret in self._long if pieces else ():
            yield from _pieces(lowered, secret)


def _occurrences(data: bytes, part: bytes) -> Iterator[int]:
    begin = data.find(part)
    while begin >= 0:
        yield begin
        begin = data.find(part, begin + len(part))


def _pieces(data: bytes, secret: bytes) -> Iterator[tuple[int, int]]:
    """Where pieces of a secret are that was cut at either end."""
    for at in range(0, len(secret) - _WINDOW, _WINDOW):
        for begin in _occurrences(data, secret[at : at + _WINDOW]):
            end, left, right = begin + _WINDOW, at, at + _WINDOW
            while begin and left and data[begin - 1] == secret[left - 1]:
                begin, left = begin - 1, left - 1
            while end < len(data) and right < len(secret) and data[end] == secret[right]:
                end, right = end + 1, right + 1
            if end - begin >= _PIECE:
                yield begin, end


def _beginning(data: bytes, form: bytes) -> int | None:
    """Where, at the end of the data, a form begins that has not come to its end."""
    begin = max(0, len(data) - len(form) + 1)
    while True:
        begin = data.find(form[:1], begin)
        if begin < 0:
            return None
        if form.startswith(data[begin:]):
            return begin
        begin += 1


def of_headers(headers: Mapping[str, Any]) -> Iterator[str]:
    """What is secret in the headers of a request.

    Of a scheme and what follows it, that; of ``Basic`` the password; of cookies their values.
    """
    for name, value in headers.items():
        if value is None or is_harmless(name):
            continue
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        named = is_secret(name)
        for part in _parts(name, value):
            if part and (named or len(part) >= SHORT):
                yield part


def _parts(name: str, value: str) -> Iterator[str]:
    if name.lower() == "cookie":
        values = (cookie.partition("=")[2].strip('" ') for cookie in value.split(";"))
        yield from (one for one in values if len(one) >= SHORT)
        return
    scheme, space, rest = value.partition(" ")
    if not space or not scheme.isalnum() or " " in rest.strip():
        yield value
        return
    yield rest.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest).decode("latin-1").partition(":")
        except ValueError:
            return
        yield password or user


def of_url(url: str | None) -> Iterator[str]:
    """What is secret in the query of a URL: as it is meant, and as it stands there."""
    query = urlsplit(url or "").query
    if not query:
        return
    for pair in query.split("&"):
        raw = pair.partition("=")[2]
        for name, value in parse_qsl(pair):
            if is_secret(name, parameter=True) or (len(value) >= SHORT and not is_harmless(name)):
                yield from (value, raw)


def of_proxies(urls: Iterable[str | None]) -> Iterator[str]:
    """The passwords in the URLs of proxies."""
    for url in urls:
        # As it stands in the URL, which may be wrong, and as it is meant.
        before = (url or "").rpartition("@")[0]
        user, _, password = before.split("://", 1)[-1].partition(":")
        secret = password or user
        # Where what is special in it is not quoted, a parser quotes what comes before that.
        yield from (secret, unquote(secret), re.split(r"[/?#\\]", secret)[0])


def cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """JSON with all its texts cleaned, names of fields included.

    :raises RecursionError: it is nested too deep.
    """
    of_name = _of_names(clean)
    return _cleaned(value, clean.mask().hide if isinstance(clean, Secrets) else clean, of_name)


def _cleaned(value: Any, clean: Callable[[str], str], of_name: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item, clean, of_name) for item in value]
    if isinstance(value, dict):
        return {of_name(name): _cleaned(item, clean, of_name) for name, item in value.items()}
    return value


def cleaned_headers(
    headers: Mapping[str, str], clean: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """The headers of a response; of cookies and their like only the names."""
    of_name = _of_names(clean)
    for name, value in headers.items():
        yield of_name(name), HIDDEN if is_secret(name) else clean(value)


def _of_names(clean: Callable[[str], str]) -> Callable[[str], str]:
    return clean.mask().hide_long if isinstance(clean, Secrets) else clean
