"""Server-sent events as bytes, from the server's side.

Source: HTML standard, "Server-sent events". The data is JSON in ASCII: it has no line break, which
would end the field, and no other character at which a careless reader breaks lines (U+2028). A lone
half of a character is escaped, so that the page joins it with the other half when that comes.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["KEEP_ALIVE", "SILENCE", "STREAM_HEADERS", "comment", "frame"]

#: Seconds without a byte after which a comment is sent: less than proxies wait (nginx: 60), and
#: seldom enough to cost nothing.
SILENCE = 15.0

#: The headers of any event stream. ``no-transform`` keeps proxies and middlewares from compressing,
#: for which they collect; the last line is nginx's word for it. ``Connection`` is the web server's
#: own affair: WSGI forbids it here.
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str).encode


def comment(words: str) -> bytes:
    """A line that every reader skips."""
    return f": {words}\n\n".encode("ascii")


#: What is sent when there is nothing to say. The write is how a server learns that nobody reads.
KEEP_ALIVE = comment("keep-alive")


def frame(
    data: Any, *, event: str | None = None, number: int | None = None, retry: int | None = None
) -> bytes:
    """One event.

    :param data: anything that JSON can carry.
    :param event: its name; ``None`` for a plain message.
    :param number: its ``id``.
    :param retry: milliseconds after which a client that loses the connection comes back.
    """
    lines = [f"data: {_encode(data)}\n\n"]
    if event is not None:
        lines.insert(0, f"event: {event}\n")
    if retry is not None:
        lines.insert(0, f"retry: {retry}\n")
    if number is not None:
        lines.insert(0, f"id: {number}\n")
    return "".join(lines).encode("ascii")
