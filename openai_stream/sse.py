"""Bytes into server-sent events: whole, normalised frames, parsed by ``sseclient``, as JSON.

It knows the event stream format (WHATWG HTML, section 9.2) and JSON, and nothing of OpenAI.

Why there is a stage before ``sseclient``: given pieces as they come from a socket, it dispatches an
unterminated frame at the end (half an answer that looks whole), takes a byte-order mark for a part
of the first field's name, misses a blank line where line ends are mixed, and copies a frame once
for each piece. Given whole frames with ``\\n`` line ends, none of it can happen.
"""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import sseclient

from .errors import StreamDecodeError
from .redaction import without_secrets
from .strays import Strays
from .strict_json import decode_json

__all__ = ["Frames", "begins_event_stream", "decode_json", "events"]

_BOM = codecs.BOM_UTF8
_HEAD = 64  # bytes that are kept of the beginning
# ``sseclient`` copies what it has of a frame once for each further line: lines times bytes is its
# work, and this much is a few seconds of it. A frame of 32 MiB may have 1,000 lines.
_MOST_WORK = 2**35


# What the beginning of a body may be while it is not clear yet: blank, half a byte-order mark, or
# half a field's name.
_UNCLEAR = re.compile(
    rb"\s*(?:\xef\xbb?|(?:d|da|dat|data|e|ev|eve|even|event|er|err|erro|error|i|id|r|re|ret|retr|retry)"
    rb"[ \t]*)?",
    re.IGNORECASE,
)
_BEGINNING = re.compile(rb"\s*(?:(?:data|event|id|retry|error)[ \t]*[:\r\n]|:)", re.IGNORECASE)


def begins_event_stream(head: bytes) -> bool:
    """Whether a body begins as an event stream does: with a comment or a field."""
    return _BEGINNING.match(head) is not None


def _is_whole(data: bytes) -> bool:
    """Whether the data of a frame that may be cut is all there: 12 may be half of 123."""
    if data.strip() == b"[DONE]":
        return True
    try:
        return isinstance(decode_json(data.decode()), (dict, list))
    except (StreamDecodeError, UnicodeDecodeError):
        return False


class Frames:
    """Blocks of bytes in, whole frames out: the event source that ``sseclient`` iterates over.

    All line ends are ``\\n``, there is no byte-order mark, and a frame that the end of the stream
    cuts is dropped (WHATWG 9.2.6: "if the file ends in the middle of an event, the incomplete event
    is not dispatched").

    :param read: returns the next block, ``b""`` at the end.
    :param limit: the most bytes that one frame may have.
    :param strays: takes out of them what is no field of theirs; without it the standard's word
        holds, and it is ignored.
    :param ended: whether, after the last block, the body itself told that it ends there. Then a
        last frame without its blank line counts, if its data is whole; otherwise never.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        limit: int,
        strays: Strays | None = None,
        ended: Callable[[], bool] | None = None,
    ) -> None:
        self._read = read
        self._limit = limit
        self._strays = strays
        self._ended = ended
        self._begun: bytes | None = None  # the first block, once it was looked at
        #: Comments seen (WHATWG 9.2.6: a line that starts with a colon), the usual keep-alives.
        self.comments = 0
        #: The stream has ended in the middle of an event.
        self.cut = False
        #: The first bytes of the stream, for the message that says what it was instead.
        self.head = b""
        #: All of it, up to the limit, where it begins as JSON does.
        self.kept: bytearray | None = None

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
        strays = self._strays
        self.peek()
        block = self._begun or self._read()
        self._begun = b""
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
                lines = whole.split(b"\n")
                frames = lines[::2]
                # Nearly all frames have one line, and that is data.
                plain = not any(lines[1::2]) and whole.startswith(b"data:")
                plain = plain and whole.count(b"\n\ndata:") + 2 == len(frames)
                del lines
                if not plain or (strays is not None and strays.await_data):
                    self.comments += whole.count(b"\n:") + whole.startswith(b":")
                    frames = whole.split(b"\n\n")
                    plain = strays is None or not strays.in_(whole)
                del frames[-1], whole  # a blank line's end; and two copies of it are enough
                if plain:
                    yield frames
                else:
                    yield from self._sifted(frames)
                block = block[end:]
            if block:
                parts.append(block)
                size += len(block)
            block = self._read()
        yield from self._last(b"".join(parts))

    def peek(self) -> bytes:
        """The first bytes, without the byte-order mark (WHATWG 9.2.5: one leading U+FEFF is
        ignored); waits until it is clear what they begin with.
        """
        if self._begun is None:
            begun = b""
            while len(begun) < _HEAD and _UNCLEAR.fullmatch(begun.removeprefix(_BOM)):
                block = self._read()
                if not block:
                    break
                begun += block
            self._begun = begun.removeprefix(_BOM)
            self.head = self._begun[:_HEAD]
            if self.head.lstrip()[:1] in (b"{", b"["):
                self.kept = bytearray(self._begun)
                self._read = partial(self._read_and_keep, self._read)
        return self._begun

    def _read_and_keep(self, read: Callable[[], bytes]) -> bytes:
        block = read()
        if self.kept is not None:
            self.kept += block
            if len(self.kept) > self._limit:
                self.kept = None
        return block

    def _sifted(self, frames: list[bytes]) -> Iterator[list[bytes]]:
        return iter([frames]) if self._strays is None else self._strays.sift(frames)

    def _last(self, frame: bytes) -> Iterator[list[bytes]]:
        """What comes of the frame that the end of the stream cuts."""
        lines = frame.split(b"\n")
        self.cut = any(line.strip() and not line.startswith(b":") for line in lines)
        fits = len(frame.strip(b"\n")) <= self._limit
        if self.cut and fits and self._ended is not None and self._ended():
            data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
            strange = self._strays is not None and self._strays.in_(frame)
            if data and len(frame) * len(lines) <= _MOST_WORK and _is_whole(b"\n".join(data)):
                self.cut = False
                yield from self._sifted([frame])
            elif not data and strange:
                yield from self._sifted([frame])
        if self._strays is not None:
            yield from self._strays.rest()

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
