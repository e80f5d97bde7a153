"""Answers that are no event stream: a page, an error in JSON, or an answer in one piece.

What a response's label says is not believed before its first bytes agree. Without I/O: it is fed by
the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import StreamAPIError, StreamDecodeError
from .server_errors import api_error, says_failure
from .sse import Frames, begins_event_stream
from .strict_json import check_density, decode_json

__all__ = ["Label"]

_PAGES = ("text/html", "application/xhtml+xml", "application/xml", "text/xml")


class Label:
    """What a response calls its answer.

    WHATWG 9.2.2 wants ``text/event-stream``, but servers that stream well send ``text/plain``,
    nothing, or call it a page or JSON: what begins as an event stream is one, and anything unknown
    gets the benefit of the doubt.

    :param content_type: the header.
    :param limit: the most bytes of a body that is looked at.
    :param whole: the answer that a JSON body is, if it is one.
    :param clean: takes secrets out of what the server says, for messages.
    """

    def __init__(
        self,
        content_type: str,
        limit: int,
        whole: Callable[[Any], Any],
        clean: Callable[[str], str],
    ) -> None:
        kind = _kind_of(content_type)
        self._limit = limit
        self._whole = whole
        self._clean = clean
        self._body: bytearray | None = None  # of an answer that is the JSON that it is said to be
        self._is_json = kind == "application/json" or kind.endswith("+json")
        self._what = ""
        self._refusal: StreamDecodeError | None = None
        #: It is said to be no event stream, and what it begins with has not belied that.
        self.doubted = self._is_json or kind in _PAGES
        if not self.doubted:
            return
        kind = _kind_of(clean(content_type))
        self._what = f"the server answered with JSON ({kind}) instead of an event stream"
        if not self._is_json:
            self._refusal = StreamDecodeError(
                f"the server answered with a page ({kind}) instead of an event stream: is the "
                "base URL right, and does it end in /v1 where the server wants that?",
                lasting=True,
            )
        else:
            self._refusal = StreamDecodeError(f"{self._what}: is the base URL right?", lasting=True)

    def look(self, frames: Frames, block: bytes) -> bytes:
        """Look at the first blocks of an answer that is :attr:`doubted`.

        :returns: what is to be fed, once it is clear that it is an event stream after all.
        :raises StreamDecodeError: it is a page, or JSON that is too long.
        """
        if self._body is not None:
            self._body += block
            if len(self._body) > self._limit:
                self._refuse()
        elif opening := frames.open(block):
            if begins_event_stream(opening):
                self.doubted = False
                return opening
            self._begin(opening)
        return b""

    def end(self, frames: Frames) -> None:
        """An answer that is still :attr:`doubted` is at its end.

        :raises StreamDecodeError: it is what its label says.
        :raises StreamAPIError: it is an error.
        """
        if self._body is None:
            self._begin(frames.open_at_end())
        if (error := self._json(self._what, bytes(self._body or b""))) is not None:
            raise error
        self._refuse()

    def broken(self, error: Exception) -> Exception:
        """What to raise where the body cannot be read on."""
        return error if self._body is None or self._refusal is None else self._refusal

    def of_no_event(self, frames: Frames) -> StreamDecodeError | StreamAPIError | None:
        """The error for a body without events that is JSON, or is called a page or JSON."""
        error = None
        if frames.kept is not None:
            what = "the server answered with JSON instead of an event stream"
            error = self._json(what, bytes(frames.kept))
        return error or self._refusal

    def _begin(self, opening: bytes) -> None:
        """It does not begin as an event stream: a page is refused now, JSON is looked at."""
        if not self._is_json:
            self._refuse()
        self._body = bytearray(opening)

    def _refuse(self) -> None:
        assert self._refusal is not None
        raise self._refusal

    def _json(self, what: str, text: bytes) -> StreamDecodeError | StreamAPIError | None:
        """The error for a JSON body, which may well be a whole answer that was not streamed.

        :param what: what is wrong with it.
        :returns: ``None`` for what is neither an answer nor an error.
        """
        try:
            check_density(text, self._limit, "answer")
        except StreamDecodeError as error:
            return error
        try:
            body = decode_json(text.decode().strip().removesuffix("data: [DONE]"))
        except (StreamDecodeError, UnicodeDecodeError):
            return None
        snapshot = self._whole(body)
        if says_failure(body, body=True):
            return api_error(body, self._clean, snapshot)
        if snapshot is None:
            return None
        return StreamDecodeError(
            f"{what}: it ignores stream=True. The answer is whole, and is this error's "
            "snapshot; call without stream=True",
            snapshot=snapshot,
            lasting=True,
        )


def _kind_of(content_type: str) -> str:
    """The media type, without its parameters."""
    return content_type.partition(";")[0].strip().lower()
