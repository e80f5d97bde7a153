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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sseclient

from .errors import StreamDecodeError
from .redaction import without_secrets
from .strays import Strays
from .strict_json import SMALL, check_density, decode_json

__all__ = ["Frames", "begins_event_stream", "parser"]

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
_BEGINNING = rb"(?i)\s*(?:(?:data|event|id|retry|error)[ \t]*[:\r\n]|:)"


def begins_event_stream(head: bytes) -> bool:
    """Whether a body begins as an event stream does: with a comment or a field."""
    return re.match(_BEGINNING, head) is not None


def _is_whole(data: bytes) -> bool:
    """Whether the data of a frame that may be cut is all there: 12 may be half of 123."""
    if data.strip() == b"[DONE]":
        return True
    try:
        return isinstance(decode_json(data.decode()), (dict, list))
    except (StreamDecodeError, UnicodeDecodeError):
        return False


class Frames:
    """Blocks of bytes in, whole frames out. Without I/O; for one thread at a time.

    All line ends are ``\\n``, there is no byte-order mark, and a frame that the end of the stream
    cuts is dropped (WHATWG 9.2.6: "if the file ends in the middle of an event, the incomplete event
    is not dispatched").

    :param limit: the most bytes that one frame may have.
    :param strays: takes out of them what is no field of theirs; without it the standard's word
        holds, and it is ignored.
    """

    def __init__(self, limit: int, strays: Strays | None = None) -> None:
        self._limit = limit
        self._unseen = min(limit, SMALL)  # what is together no larger needs no look at its sizes
        self._strays = strays
        self._opening: bytes | None = b""  # until it is clear what the stream begins with
        self._parts: list[bytes] = []  # of the frame that is still open: joined when it closes
        self._size = 0
        self._after_cr = False  # the last block ended in "\r", whose "\n" may still come
        #: Comments seen (WHATWG 9.2.6: a line that starts with a colon), the usual keep-alives.
        self.comments = 0
        #: The stream has ended in the middle of an event.
        self.cut = False
        #: The first bytes of the stream, for the message that says what it was instead.
        self.head = b""
        #: All of it, up to the limit, where it begins as JSON does.
        self.kept: bytearray | None = None

    def open(self, block: bytes) -> bytes:
        """Take in the first blocks, for a look at what the stream begins with.

        :returns: what has come, without the byte-order mark (WHATWG 9.2.5: one leading U+FEFF is
            ignored), as soon as that is clear, to be fed then; nothing before.
        """
        opening = (self._opening or b"") + block
        if len(opening) < _HEAD and _UNCLEAR.fullmatch(opening.removeprefix(_BOM)):
            self._opening = opening
            return b""
        return self._open(opening)

    def open_at_end(self) -> bytes:
        """The same at the end of the stream: that nothing more comes makes it clear."""
        return b"" if self._opening is None else self._open(self._opening)

    def _open(self, opening: bytes) -> bytes:
        self._opening = None
        opening = opening.removeprefix(_BOM)
        self.head = opening[:_HEAD]
        if self.head.lstrip()[:1] in (b"{", b"["):
            self.kept = bytearray()
        return opening

    def feed(self, block: bytes) -> tuple[()] | tuple[list[bytes]] | Iterator[list[bytes]]:
        """Take in a block.

        :returns: the frames that are whole now, without the blank lines that close them, in lists
            of those that came together: a tuple of one nearly always, an iterator if they are
            sifted, which is to be used up before the next block. There may be empty frames, where
            there was more than one blank line.
        :raises StreamDecodeError: a frame is too large, or would be once it is parsed; after those
            before it.
        """
        if (
            # One alone, as it comes from a model that takes its time. The processor has forgotten
            # the steps below by then: 10 µs.
            block.endswith(b"\n\n")
            and block.find(b"\n") == len(block) - 2 <= self._unseen - 2
            and block.startswith(b"data:")
            and b"\r" not in block
            and not (self._parts or self._after_cr)
            and self._opening is self.kept is None
            and not (self._strays is not None and self._strays.await_data)
        ):
            return ([block[:-2]],)
        if self._opening is not None and not (block := self.open(block)):
            return ()
        if self.kept is not None:
            self._keep(block)
        # WHATWG 9.2.6: a line ends in "\r\n", "\n" or "\r". Most servers send the second only.
        if self._after_cr or b"\r" in block:
            if self._after_cr and block[:1] == b"\n":
                block = block[1:]
            self._after_cr = block[-1:] == b"\r"
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        parts = self._parts
        end = block.rfind(b"\n\n")
        if end >= 0:
            end += 2
        elif parts and block[:1] == b"\n" and parts[-1][-1:] == b"\n":
            end = 1  # the blank line is cut in two
        else:
            end = 0
        if self._size + (end or len(block)) > self._unseen:
            refused = self._look(block, end)
            if refused is not None:
                return self._refuse(*refused)
        if not end:
            if block:
                parts.append(block)
                self._size += len(block)
            return ()
        whole = block[:end]
        if parts:
            parts.append(whole)
            whole = b"".join(parts)
            self._parts = []
            self._size = 0
            if len(whole) * whole.count(b"\n") > _MOST_WORK:
                raise StreamDecodeError(
                    "the server sent an event of too many lines: "
                    f"{whole.count(10)} in {len(whole)} bytes",
                    lasting=True,
                )
        if rest := block[end:]:
            self._parts.append(rest)
            self._size = len(rest)
        strays = self._strays
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
        return (frames,) if plain else self._sifted(frames)

    def end(self, framed: bool = False) -> Iterator[list[bytes]]:
        """Nothing more comes.

        :param framed: the body itself told that it ends here. Then a last frame without its blank
            line counts, if its data is whole; otherwise never.
        :returns: the frames that this makes whole, as :meth:`feed`.
        """
        if opening := self.open_at_end():
            yield from self.feed(opening)
        yield from self._last(b"".join(self._parts), framed)

    def _keep(self, block: bytes) -> None:
        if self.kept is not None:
            self.kept += block
            if len(self.kept) > self._limit:
                self.kept = None

    def _sifted(self, frames: list[bytes]) -> Iterator[list[bytes]]:
        return iter([frames]) if self._strays is None else self._strays.sift(frames)

    def _last(self, frame: bytes, framed: bool) -> Iterator[list[bytes]]:
        """What comes of the frame that the end of the stream cuts."""
        lines = frame.split(b"\n")
        self.cut = any(line.strip() and not line.startswith(b":") for line in lines)
        if self.cut and framed:
            data = [line[5:] for line in lines if line.startswith(b"data:")]
            strange = self._strays is not None and self._strays.in_(frame)
            if data:
                self._check(frame)
            if data and len(frame) * len(lines) <= _MOST_WORK and _is_whole(b"\n".join(data)):
                self.cut = False
                yield from self._sifted([frame])
            elif not data and strange:
                yield from self._sifted([frame])
        if self._strays is not None:
            yield from self._strays.rest()

    def _look(self, block: bytes, end: int) -> tuple[list[bytes], StreamDecodeError] | None:
        """Look at the frames of a block one by one: perhaps only all together they are too large.

        :returns: those in front of one that is too large, and the error; ``None`` if none is.
        """
        if not end and self._size + len(block) <= self._limit:
            return None  # it is looked at once it is whole
        whole = b"".join([*self._parts, block[:end]])
        frames = whole.split(b"\n\n") if end else []
        for good, frame in enumerate(frames):
            try:
                self._check(frame)
            except StreamDecodeError as error:
                return frames[:good], error
        rest = block[end:] if end else whole + block
        # A line end at an edge is, or may yet become, a part of a blank line.
        if len(rest.strip(b"\n")) <= self._limit:
            return None
        return frames, self._too_large()

    def _check(self, frame: bytes) -> None:
        if len(frame.strip(b"\n")) > self._limit:
            raise self._too_large()
        check_density(frame, self._limit, "event")

    def _too_large(self) -> StreamDecodeError:
        return StreamDecodeError(
            f"the server sent an event of more than {self._limit} bytes; if such events are "
            "to be expected, raise max_event_bytes",
            lasting=True,
        )

    def _refuse(self, good: list[bytes], error: StreamDecodeError) -> Iterator[list[bytes]]:
        if good:
            yield good
        raise error


class _Batch:
    """What ``sseclient`` takes for its source: the frames that came together."""

    frames: Sequence[bytes] = ()

    def __repr__(self) -> str:
        # ``sseclient`` logs its source.
        return f"<{type(self).__name__}>"

    def __iter__(self) -> Iterator[bytes]:
        """The frames, each closed by a blank line."""
        return (frame + b"\n\n" for frame in self.frames)

    def read(self) -> Sequence[bytes]:
        """The frames, as ``sseclient`` would find them itself."""
        return self.frames


def parser(clean: Callable[[str], str] = str) -> Callable[[list[bytes]], Iterator[Any]]:
    """What makes events of whole frames, by ``sseclient``: ``.event``, ``.data``, ``.id``.

    It raises ``UnicodeDecodeError``: the stream is not UTF-8 (WHATWG 9.2.5); after the events
    before it.

    :param clean: takes secrets out of what ``sseclient`` logs: it quotes the server.
    """
    batch = _Batch()
    client = sseclient.SSEClient(batch)  # type: ignore[arg-type]
    # It would go through its source line by line for the blank ones. That is done already, for many
    # frames at once, and is a third of its time. Should it ever look for frames in another way, it
    # has a source that it can iterate over.
    client._read = batch.read  # type: ignore[attr-defined]
    # Once a stream, not for each event: whether anybody wants to read that it is dispatched.
    logger = client._logger  # type: ignore[attr-defined]
    wanted = logger.isEnabledFor(logging.DEBUG)
    client._logger = (  # type: ignore[attr-defined]
        without_secrets(logger, clean) if wanted else _Silent()
    )

    def parse(frames: list[bytes]) -> Iterator[Any]:
        batch.frames = frames
        events: Iterator[Any] = client.events()
        return events

    return parse


class _Silent:
    """A logger whose level is above DEBUG."""

    def debug(self, message: str, *args: object) -> None:
        """Nothing."""
