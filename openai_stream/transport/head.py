"""The head of a response, for ``http.client``: interim responses, too many lines."""

from __future__ import annotations

import email.parser
import http.client
import io
import re

__all__ = ["Head"]

_HEAD = 1024 * 1024  # bytes of a response's headers at most
_HEAD_LINES = 100  # of which http.client takes so many lines

#: The status line of a response before the one that counts; 101 ends what is HTTP.
_INTERIM = re.compile(rb"HTTP/\S*\s+1(?!01)\d\d(?!\d)")


class Head:
    """The lines of a response's head, of which ``http.client`` takes no more than a hundred.

    Gateways send more, and the answer is paid for all the same. What ``http.client`` itself goes by
    comes first, and what exceeds its number is kept for later. The limit here is in bytes.

    RFC 9110, section 15.2: a client must read past any 1xx. ``http.client`` knows 100 alone, and
    from Python 3.14 on no more than a hundred of them; here the deadlines bound their number.
    """

    _FRAMING = (b"transfer-encoding", b"content-length", b"connection", b"keep-alive")

    def __init__(self, fp: io.BufferedReader) -> None:
        self._fp = fp
        self._lines: list[bytes] = []  # read and not yet asked for, the next one last
        self._others: list[bytes] = []
        self._in_head = False
        self.close = fp.close

    def readline(self, limit: int = -1) -> bytes:
        if self._lines:
            return self._lines.pop()
        self._in_head = not self._in_head
        if self._in_head:  # the status line is judged before any other is waited for
            line = self._fp.readline(limit)
            while _INTERIM.match(line):
                self._rest(limit)
                line = self._fp.readline(limit)
            return line
        lines = self._rest(limit)
        if len(lines) > _HEAD_LINES:
            lines = self._shortened(lines)
        self._lines = lines[::-1]
        return self._lines.pop()

    def _rest(self, limit: int) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        while not lines or lines[-1] not in (b"\r\n", b"\n", b""):
            line = self._fp.readline(limit)
            size += len(line)
            if size > _HEAD:
                raise http.client.HTTPException(f"the headers are longer than {_HEAD} bytes")
            lines.append(line)
        return lines

    def _shortened(self, lines: list[bytes]) -> list[bytes]:
        *lines, end = lines
        fields: list[list[bytes]] = []
        for line in lines:
            if fields and line[:1] in (b" ", b"\t"):  # it goes on
                fields[-1].append(line)
            else:
                fields.append([line])
        first: list[bytes] = []
        others: list[bytes] = []
        for field in fields:
            name = field[0].partition(b":")[0].strip().lower()
            (first if name in self._FRAMING else others).extend(field)
        self._others = others
        return [*first, end]

    def others(self) -> list[tuple[str, str]]:
        """The header fields of the last head that were kept back."""
        if not self._others:
            return []
        text = b"".join(self._others).decode("iso-8859-1")
        return email.parser.HeaderParser().parsestr(text).items()
