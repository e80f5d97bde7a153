"""Bytes into server-sent events: whole, normalised frames, parsed by ``sseclient``, as JSON.

It knows the event stream format (WHATWG HTML, section 9.2) and JSON, and nothing of OpenAI.

Why there is a stage before ``sseclient``: given pieces as they come from a socket, it dispatches an
unterminated frame at the end (half an answer that looks whole), takes a byte-order mark for a part
of the first field's name, misses a blank line where line ends are mixed, and copies a frame once
for each piece. Given whole frames with ``\\n`` line ends, none of it can happen.
"""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import sseclient

from .errors import StreamDecodeError
from .redaction import without_secrets

__all__ = ["Frames", "decode_json", "events"]

_BOM = codecs.BOM_UTF8
_HEAD = 64  # bytes that are kept of the beginning
# ``sseclient`` copies what it has of a frame once for each further line: lines times bytes is its
# work, and this much is a few seconds of it. A frame of 32 MiB may have 1,000 lines.
_MOST_WORK = 2**35


class Frames:
    """Blocks of bytes in, whole frames out: the event source that ``sseclient`` iterates over.

    All line ends are ``\\n``, there is no byte-order mark, and a frame that the end of the stream
    cuts is dropped (WHATWG 9.2.6: "if the file ends in the middle of an event, the incomplete event
    is not dispatched").

    :param read: returns the next block, ``b""`` at the end.
    :param limit: the most bytes that one frame may have.
    """

    def __init__(self, read: Callable[[], bytes], limit: int) -> None:
        self._read = read
        self._limit = limit
        #: Comments seen (WHATWG 9.2.6: a line that starts with a colon), the usual keep-alives.
        self.comments = 0
        #: The stream has ended in the middle of an event.
        self.cut = False
        #: The first bytes of the stream, for the message that says what it was instead.
        self.head = b""

    def __repr__(self) -> str:
        # ``sseclient`` logs its source.
        return f"<{type(self).__name__}>"

    def __iter__(self) -> Iterator[bytes]:
        """The frames, each closed by a blank line."""
        for frames in self.batches():
            for frame in frames:
                yield frame + b"\n\n"

    def batches(self) -> Iterator[list[bytes]]:
        """The frames without the blank lines that close them, a list of those that came together.

        It may hold empty ones, where there was more than one blank line.
        """
        parts: list[bytes] = []  # of the frame that is still open: joined once, when it closes
        size = 0
        after_cr = False  # the last block ended in "\r", whose "\n" may still come
        block = self._first() or self._read()
        while block:
            # WHATWG 9.2.6: a line ends in "\r\n", "\n" or "\r". Most servers send the second only.
            if after_cr or b"\r" in block:
                if after_cr and block[:1] == b"\n":
                    block = block[1:]
                after_cr = block[-1:] == b"\r"
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

            end = block.rfind(b"\n\n")
            if end >= 0:
                end += 2
            elif parts and block[:1] == b"\n" and parts[-1][-1:] == b"\n":
                end = 1  # the blank line is cut in two
            else:
                end = 0
            if size + (end or len(block)) > self._limit:
                yield from self._check(parts, block, end)
            if end:
                whole = block[:end]
                if parts:
                    parts.append(whole)
                    whole = b"".join(parts)
                    parts = []
                    size = 0
                    if len(whole) * whole.count(b"\n") > _MOST_WORK:
                        raise StreamDecodeError(
                            "the server sent an event of too many lines: "
                            f"{whole.count(10)} in {len(whole)} bytes",
                            lasting=True,
                        )
                if b"\n:" in whole or whole[0] == 58:  # ":"
                    self.comments += whole.count(b"\n:") + whole.startswith(b":")
                frames = whole.split(b"\n\n")
                del frames[-1], whole  # a blank line's end; and two copies of it are enough
                yield frames
                block = block[end:]
            if block:
                parts.append(block)
                size += len(block)
            block = self._read()
        rest = b"".join(parts).split(b"\n")
        self.cut = any(line.strip() and not line.startswith(b":") for line in rest)

    def _first(self) -> bytes:
        """The first bytes, without the byte-order mark (WHATWG 9.2.5: one leading U+FEFF is
        ignored).
        """
        head = b""
        # Up to where it is clear what it is, however it comes: half a mark is none.
        while len(head) < _HEAD and (_BOM.startswith(head) or not head.removeprefix(_BOM).strip()):
            block = self._read()
            if not block:
                break
            head += block
        head = head.removeprefix(_BOM)
        self.head = head[:_HEAD]
        return head

    def _check(self, parts: list[bytes], block: bytes, end: int) -> Iterator[list[bytes]]:
        """Refuse a frame over the limit, after the whole ones in front of it, which are given;
        blocks with several frames are looked at one by one.
        """
        whole = b"".join([*parts, block[:end]])
        frames = whole.split(b"\n\n") if end else []
        good = 0
        for frame in frames:
            if len(frame.strip(b"\n")) > self._limit:
                break
            good += 1
        else:
            rest = block[end:] if end else whole + block
            # A line end at an edge is, or may yet become, a part of a blank line.
            if len(rest.strip(b"\n")) <= self._limit:
                return
        if end and good:
            yield frames[:good]
        raise StreamDecodeError(
            f"the server sent an event of more than {self._limit} bytes; if such events are "
            "to be expected, raise max_event_bytes",
            lasting=True,
        )


def events(frames: Frames, clean: Callable[[str], str] = str) -> Iterator[Any]:
    """The events of a stream, as ``sseclient`` parses them: ``.event``, ``.data``, ``.id``.

    Raises what reading raises, and ``UnicodeDecodeError``: the stream is not UTF-8 (WHATWG 9.2.5).

    :param clean: takes secrets out of what ``sseclient`` logs: it quotes the server.
    """
    client = sseclient.SSEClient(frames)  # type: ignore[arg-type]
    # It would go through its source line by line for the blank ones. That is done already, for many
    # frames at once, and is a third of its time. Should it ever look for frames in another way, it
    # has a source that it can iterate over.
    client._read = partial(  # type: ignore[attr-defined]
        chain.from_iterable, frames.batches()
    )
    # Once a stream, not for each event: whether anybody wants to read that it is dispatched.
    logger = client._logger  # type: ignore[attr-defined]
    wanted = logger.isEnabledFor(logging.DEBUG)
    client._logger = (  # type: ignore[attr-defined]
        without_secrets(logger, clean) if wanted else _Silent()
    )
    parsed: Iterator[Any] = client.events()
    return parsed


class _Silent:
    """A logger whose level is above DEBUG."""

    def debug(self, message: str, *args: object) -> None:
        """Nothing."""


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


# ``json.loads`` without what it does around its scanner, which costs as much again on an event.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(  # type: ignore[attr-defined]
    parse_constant=_no_number
).scan_once


def decode_json(text: str) -> Any:
    """Parse the data of an event, strictly: no NaN, no Infinity (RFC 8259, section 6).

    :raises StreamDecodeError: it is no JSON, nested too deep, or has a number beyond Python's
        limit of digits.
    """
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, RecursionError):
        pass
    # Rare: white space around the value, which RFC 8259, section 2, allows; or no JSON at all.
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise StreamDecodeError(
            f"the server sent an event whose data is not JSON: {problem}"
        ) from error
