"""The forms in which a text is quoted: escaped, percent-encoded, in base64.

Of what was escaped the meaning is found, with the place of each byte in it; the other forms cannot
be undone without knowing where they begin, so the text is put into them.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator

__all__ = ["HALF_ESCAPED", "encoded", "forms", "unescaped"]

_ESCAPED = rb"""(?ix)
    \\+ (?: u ([0-9a-f]{4}) | x ([0-9a-f]{2}) | (["'/]) )
    | % (?:25)* ([0-9a-f]{2})
    | & (?:amp;)* (?: \# (?: x 0* ([0-9a-f]{2,6}) | 0* (\d{2,7}) ) | (amp|lt|gt|quot|apos) ) ;
"""
#: Of HTML.
_NAMED = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
#: What may become one, at the end of what has come so far.
HALF_ESCAPED = rb"""(?ix)
    (?: \\+ (?: u [0-9a-f]{0,3} | x [0-9a-f]? )?
      | % (?:25)* [0-9a-f]?
      | & [\#;a-z0-9]{0,24}
    ) \Z
"""
_NOT_ASCII = r"[^\x00-\x7f]"


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def forms(text: str) -> Iterator[bytes]:
    """The forms of a secret that no unescaping leads back to, in lower case."""
    data = encoded(text)
    yield data.lower()
    if "\\" in text:  # once, and in JSON that is a text in JSON
        yield data.replace(b"\\", b"\\\\").lower()
        yield data.replace(b"\\", b"\\" * 4).lower()
    if " " in text:  # in a form
        yield data.replace(b" ", b"+").lower()
    if not text.isascii():
        yield text.encode("latin-1", "replace").lower()
        yield re.sub(_NOT_ASCII, "\ufffd", text).encode().lower()
    # In base64 three bytes are four letters, wherever it begins: the first that is all its own.
    for offset, first in ((0, 0), (1, 2), (2, 3)):
        letters = base64.b64encode(bytes(offset) + data)
        own = letters[first : (offset + len(data)) * 8 // 6]
        yield own.lower()
        yield own.replace(b"+", b"-").replace(b"/", b"_").lower()


def _bytes_of(code: int) -> bytes:
    """A byte, as it may stand for one of several; of what is more than a byte, UTF-8."""
    return bytes([code]) if code < 256 else chr(code).encode("utf-8", "surrogatepass")


def unescaped(data: bytes) -> tuple[bytes, list[int] | range]:
    """The data without escapes, and where each byte of it, and its end, is in the data.

    If there are none it is the same object.
    """
    parts: list[bytes] = []
    starts: list[int] = []
    position = 0
    for found in re.finditer(_ESCAPED, data):
        u, x, itself, percent, hexadecimal, decimal, name = found.groups()
        code = int(decimal) if decimal else int(u or x or percent or hexadecimal or b"0", 16)
        if code > sys.maxunicode:
            continue
        meant = itself or (_NAMED[name.lower()] if name else _bytes_of(code))
        begin, end = found.span()
        parts += [data[position:begin], meant]
        starts.extend(range(position, begin))
        starts.extend([begin] * len(meant))
        position = end
    if not parts:
        return data, range(len(data) + 1)
    starts.extend(range(position, len(data) + 1))
    return b"".join([*parts, data[position:]]), starts
