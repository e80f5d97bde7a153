"""What of an attempt goes into a recording: all but what is secret, with its times.

Stars stand in for what is hidden, as many as it had bytes: so all lengths of the recording hold.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import requests

from openai_stream.redaction import HIDDEN, AnswerWithout, Mask, hidden_header, hidden_target
from openai_stream.transport import End

from .format import packed

__all__ = ["HidingTap"]


class HidingTap:
    """Writes one exchange down; for the thread that works in it.

    :param begin: writes the line of a request; gives the exchange's number.
    :param write: writes a line; said with it: whether it is of an answer.
    :param mask: hides what must not be written.
    """

    def __init__(
        self,
        begin: Callable[[Mapping[str, Any]], int],
        write: Callable[[Mapping[str, Any], bool], None],
        request: requests.PreparedRequest,
        mask: Mask,
    ) -> None:
        self._begin_exchange = begin
        self._write_line = write
        self._request = request
        self._mask = mask
        self._answer = AnswerWithout(mask)
        # When bytes came, and how many, of those that are not written yet.
        self._pending: deque[tuple[float, int]] = deque()
        self._number: int | None = None
        self._sent_at = 0.0
        self._over = False

    def sent(self) -> None:
        self._sent_at = time.monotonic()
        request, hide = self._request, self._mask.hide_bytes
        body = request.body or b""
        self._number = self._begin_exchange(
            {
                "method": request.method,
                "target": hidden_target(hide(request.path_url.encode(), words=False).decode()),
                "headers": {
                    hide(name.encode(), words=False).decode(): HIDDEN
                    if hidden_header(name)
                    else hide(_latin_1(value), words=False).decode("latin-1")
                    for name, value in request.headers.items()
                },
                **packed(hide(body if isinstance(body, bytes) else body.encode())),
            }
        )

    def received(self, data: bytes) -> None:
        self._pending.append((self._seconds(), len(data)))
        self._write(self._answer.take(data))

    def ended(self, how: End) -> None:
        if self._number is None or self._over:
            return
        self._over = True
        self._write(self._answer.rest())
        self._write_line({"exchange": self._number, "at": self._seconds(), "end": how}, False)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._sent_at, 6)

    def _write(self, data: bytes) -> None:
        # What hides a secret has its length: so all that is written has come at a known time.
        while data:
            at, size = self._pending.popleft()
            if size > len(data):
                self._pending.appendleft((at, size - len(data)))
            line = {"exchange": self._number, "at": at, **packed(data[:size])}
            self._write_line(line, True)
            data = data[size:]


def _latin_1(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
