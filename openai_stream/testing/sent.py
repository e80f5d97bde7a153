"""What the server has sent in answer to one request: what a verdict on the client is made of.

It is written on the thread of the connection and read on others, one attribute at a time; whoever
reads while the answer is still being sent sees a part of it.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
import zlib
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["End", "Sent"]

#: How an answer ended: its script was played; the server closed the connection in good order, or
#: with a RST; the client left; the server itself was closed.
End: TypeAlias = Literal["played", "closed", "reset", "client", "server"]

_KEPT = 256 * 1024  # bytes of an answer; what is longer is not judged
# A comment alone, in a chunk or without one, is no news to anybody.
_COMMENT = re.compile(rb"(?:[0-9a-fA-F]+\r\n)?(?::[^\n]*\n|\r?\n)+(?:\r\n)?")
_FINISHED = re.compile(
    rb'\[DONE\]|"finish_reason": ?"|"type": ?"response\.(?:completed|incomplete|failed)"'
)


@dataclass(eq=False)
class Sent:
    """The bytes of one answer, and when they were sent; times by :func:`time.monotonic`."""

    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    #: When bytes were last sent that say something; comments do not.
    last_at: float | None = None
    end: End | None = None
    ended_at: float | None = None

    def add(self, data: bytes, at: float) -> None:
        """Note what is sent now."""
        if self.size < _KEPT:
            self.data += data[: _KEPT - self.size]
        self.size += len(data)
        if len(data) > 4096 or not _COMMENT.fullmatch(data):
            self.last_at = at

    def ends(self, how: End) -> None:
        """Note the end, unless one has been noted."""
        if self.end is None:
            self.ended_at = time.monotonic()
            self.end = how

    @property
    def status(self) -> int | None:
        """The status, if one was sent."""
        found = re.match(rb"HTTP/1\.\d (\d{3})", self._final())
        return int(found[1]) if found else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by name in lower case."""
        lines = self._final().partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def error_code(self) -> str | None:
        """The code, or else the type, of the error object in the body."""
        try:
            error = json.loads(self._body()[0])["error"]
            code = error.get("code") or error.get("type")
            return code if isinstance(code, str) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds for which the server asked to be left alone; the shorter, if it said two."""
        asked: list[float] = []
        for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            value = self.headers.get(name, "")
            try:
                asked.append(float(value) * factor)
            except ValueError:
                try:
                    date = email.utils.parsedate_to_datetime(value).timestamp()
                except ValueError:
                    continue
                # A date has whole seconds; it counted from when the answer was sent.
                then = time.time() - (time.monotonic() - (self.last_at or 0.0))
                asked.append(date - then - 1.0)
        return min(asked, default=None)

    @property
    def cut(self) -> str | None:
        """How an event stream ended too early, in words; ``None``: it did not, or who knows."""
        status = self.status
        if self.size > _KEPT or status is None or not 200 <= status < 300:
            return None
        if "text/event-stream" not in self.headers.get("content-type", ""):
            return None
        body, whole = self._body()
        if b"[DONE]" in body or (whole and _FINISHED.search(body)):
            return None
        if self.end == "reset":
            return "the server reset the connection in the middle"
        if whole:
            return "it ended in good order, but without its last event"
        if self.end == "closed":
            return "the server closed the connection in the middle"
        return None  # it still went on when the client had enough

    def _final(self) -> bytes:
        """The answer, without responses such as 100 that come before it."""
        data = bytes(self.data)
        while re.match(rb"HTTP/1\.\d 1", data):
            data = data.partition(b"\r\n\r\n")[2]
        return data

    def _body(self) -> tuple[bytes, bool]:
        """The body without framing and compression, and whether as HTTP it is whole."""
        rest = self._final().partition(b"\r\n\r\n")[2]
        headers = self.headers
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, whole = _unchunked(rest)
        elif headers.get("content-length", "").isdecimal():
            size = int(headers["content-length"])
            body, whole = rest[:size], len(rest) >= size
        else:
            body, whole = rest, self.end == "closed"
        if headers.get("content-encoding") in ("gzip", "deflate"):
            decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            try:
                body = decompressor.decompress(body, 16 * _KEPT)
            except zlib.error:
                return b"", False
        return body, whole


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    while True:
        line, found, rest = rest.partition(b"\r\n")
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return b"".join(parts), False
        if not found:
            return b"".join(parts), False
        if size == 0:
            return b"".join(parts), True
        parts.append(rest[:size])
        rest = rest[size + 2 :]
