"""A response's bytes without the secrets in them, as they come: in pieces of any size."""

from __future__ import annotations

import re

from .names import is_harmless, is_secret
from .secrets import Mask

__all__ = ["AnswerWithout"]


class AnswerWithout:
    """A response's bytes without its secrets; holds back what may be the beginning of one."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""
        self._before = b""  # the byte before what is held
        self._in_head = True
        self._interim = False  # the head is that of a 1xx, behind which comes another
        self._hiding = False  # the header goes on in the next line

    def take(self, data: bytes) -> bytes:
        """Take in more.

        :returns: what can be written, of the same length as what came.
        """
        data = self._held + data
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
        data = self._hidden(data, more=True)
        held = self._mask.begun(data)
        self._held = data[len(data) - held :]
        data = data[: len(data) - held]
        self._before = data[-1:] or self._before
        return data

    def _hidden(self, data: bytes, more: bool = False) -> bytes:
        return self._mask.hide_bytes(self._before + data, more=more)[len(self._before) :]

    def _head_line(self, line: bytes) -> bytes:
        """A line of the head; of short keys only what is not HTTP's own is looked at."""
        if status := re.match(rb"HTTP/\d\.\d (\d{3})", line):
            self._interim = status[1].startswith(b"1")
            head, words = status[0], True
        elif not line.strip():
            self._in_head = self._interim
            return line
        elif line[:1] in (b" ", b"\t"):
            head, words = b"", True
        else:
            name, colon, _ = line.partition(b":")
            word = name.decode("latin-1")
            self._hiding = bool(colon and is_secret(word, identifying=True))
            head, words = name + colon if colon else b"", not is_harmless(word)
        value = line[len(head) :]
        head = self._mask.hide_bytes(head, words=False)
        if self._hiding and not status:
            return head + re.sub(rb"[^\s]", b"*", value)
        return head + self._mask.hide_bytes(value, words=words)
