"""What servers put into an event stream beside what its format has: an error, nearly always.

The standard ignores a field of an unknown name, a line that is no field, and an event without data
(WHATWG HTML, section 9.2.6). So an answer that failed would look whole if the server says so by
``error: {…}`` as a field, by ``{"error": …}`` as a line of its own, or by an ``event: error`` whose
data comes in the frame behind it.

Frames are sifted without being parsed, and nearly all are only searched once, for all of those that
came together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

__all__ = ["Strays"]

# Behind a line's end. It begins with a plain character, so that the search is one for line ends.
_STRANGE = re.compile(
    rb"\n(?:[ \t]*[{\[]|error[ \t]*:|event:[ \t]*error[ \t]*(?:\n|\Z)|id:[^\n]*\0)", re.IGNORECASE
)
_ERROR = rb"(?i)error[ \t]*: ?"
_ERROR_EVENT = rb"(?i)event:[ \t]*error[ \t]*"


class Strays:
    """Takes out of frames what is no field of theirs.

    :param report: is told of each, as ``error`` for the field of that name or ``json`` for what
        begins as JSON does, and its text. What it gives is raised: the stream ends there.
    """

    def __init__(self, report: Callable[[str, str], Exception | None]) -> None:
        self._report = report
        #: The data of an event named "error" has still to come.
        self.await_data = False

    def in_(self, whole: bytes) -> bool:
        """Whether frames are to be sifted.

        :param whole: some that came together, with the blank lines between them.
        """
        return (
            self.await_data
            or _STRANGE.search(whole) is not None
            or (whole[0] != 100 and _STRANGE.match(b"\n" + whole[:4096]) is not None)  # "d"
        )

    def sift(self, frames: list[bytes]) -> Iterator[list[bytes]]:
        """The frames as the standard would have them; what is before a stray comes before it is
        reported.
        """
        clean: list[bytes] = []
        for frame in frames:
            if not self.await_data and not _STRANGE.search(b"\n" + frame):
                clean.append(frame)
                continue
            kept, strays = _sifted(frame)
            has_data = any(line[:5] in (b"data:", b"data") for line in kept)
            is_awaited = has_data and self.await_data
            if is_awaited:
                if b'"choices"' not in frame:  # else it has gone on, and there was no event
                    kept.append(b"event: error")
                self.await_data = False
            elif not has_data and any(re.fullmatch(_ERROR_EVENT, line) for line in kept):
                self.await_data = True
                strays = [("error", text, place) for _, text, place in strays]
            if strays and clean:
                yield clean
                clean = []
            for kind, text, place in strays:
                error = self._report(kind, text.decode(errors="replace"))
                if error is not None:
                    # What is behind it, without a blank line between, is no part of the answer.
                    before = kept if is_awaited else kept[:place]
                    if before:
                        yield [b"\n".join(before)]
                    raise error
            if kept:
                clean.append(b"\n".join(kept))
        yield clean

    def rest(self) -> Iterator[list[bytes]]:
        """What is still to come at the end: an event named "error" that never got its data."""
        if self.await_data:
            yield [b"event: error\ndata"]


def _sifted(frame: bytes) -> tuple[list[bytes], list[tuple[str, bytes, int]]]:
    """The lines of a frame that its format has, and what else there is, each with the number of
    those lines that are before it.
    """
    kept: list[bytes] = []
    strays: list[tuple[str, bytes, int]] = []
    lines = frame.split(b"\n")
    for number, line in enumerate(lines):
        if line.lstrip()[:1] in (b"{", b"["):
            strays.append(("json", line, len(kept)))
            if len(strays) == 1 and lines[number + 1 :]:  # it may go on over more lines
                strays.append(("json", b"\n".join(lines[number:]), len(kept)))
        elif field := re.match(_ERROR, line):
            strays.append(("error", line[field.end() :], len(kept)))
        elif not (line.startswith(b"id:") and b"\0" in line):  # WHATWG: it is ignored
            kept.append(line)
    return kept, strays
