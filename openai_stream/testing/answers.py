"""The answer that streams events, in every form that HTTP has for it, and with every fault."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from .chunks import chat_chunks
from .connection import Connection, Step
from .faults import Fault, Rest, fault_of
from .steps import Fin, Pause
from .wire import LAST_CHUNK, Headers, chunk, frame, head

__all__ = ["Event", "answer"]

#: A dict is sent as JSON, a string as it is, each as the data of one frame; bytes are a frame
#: already, or a piece of one; a step is played between the frames, and what it sends by itself goes
#: out as it is, so that in a chunked body it wants :func:`chunk`.
Event: TypeAlias = Mapping[str, Any] | str | bytes | Step


def answer(
    events: str | Iterable[Event] = (),
    *,
    fault: Fault | str | None = None,
    done: bool = True,
    status: int = 200,
    headers: Headers | None = None,
    content_type: str | None = "text/event-stream; charset=utf-8",
    framing: Literal["chunked", "length", "close"] = "chunked",
    encoding: Literal["gzip", "deflate"] | None = None,
    flush: bool = True,
    line_end: str = "\n",
    events_per_chunk: int = 1,
    bytes_per_chunk: int | None = None,
    delay: float = 0.0,
) -> list[Step | bytes]:
    """A script that answers with an event stream.

    :param events: see :data:`Event`; a :class:`Fin` or :class:`Reset` among them cuts the answer
        there. A string stands for :func:`chat_chunks` of it.
    :param fault: what goes wrong with it, see :mod:`openai_stream.testing.faults`; the name of a
        fault stands for the fault with its defaults.
    :param done: whether ``data: [DONE]`` comes last.
    :param headers: in addition to, or in place of, those that the other arguments make; ``None``
        leaves one out.
    :param framing: what tells the client where the body ends.
    :param encoding: compress the body.
    :param flush: compress in such a way that each event can be read when it has come.
    :param line_end: of the frames.
    :param events_per_chunk: how many go into one send, and one HTTP chunk if *framing* is that.
    :param bytes_per_chunk: cut the body by size instead, wherever that falls; 1: byte by byte.
    :param delay: pause after each chunk, in seconds.
    :raises ValueError: there is no such fault, or it would come after the answer's end.

    .. versionadded:: 0.1
    """
    if fault is not None:
        fault = fault_of(fault)
        if fault.instead is not None:
            return list(fault.instead)
        encoding = fault.encoding or encoding
        framing = fault.framing or framing
    if isinstance(events, str):
        events = chat_chunks(events)

    def framed(event: Event) -> Step | bytes:
        return event if isinstance(event, (Step, bytes)) else frame(event, line_end=line_end)

    frames = [framed(event) for event in events]
    if done:
        frames.append(framed("[DONE]"))
    if fault is not None:
        at = _place(fault, frames)
        frames[at:at] = [*map(framed, fault.events), _HERE]
    if encoding is not None:
        frames = _compressed(frames, encoding, flush)
    body = _cut(frames, events_per_chunk, bytes_per_chunk)

    own: dict[str, str | None] = {"Content-Type": content_type, "Content-Encoding": encoding}
    end: list[Step | bytes] = []
    if framing == "length":
        told = body[: body.index(_HERE)] if fault is not None and fault.ends_length else body
        own["Content-Length"] = str(sum(len(part) for part in told if isinstance(part, bytes)))
    elif framing == "close":
        own["Connection"] = "close"
        end = [Fin()]
    else:
        own["Transfer-Encoding"] = "chunked"
        body = [chunk(part) if isinstance(part, bytes) else part for part in body]
        end = [LAST_CHUNK]
    given = {name.lower() for name in headers or ()}
    own = {name: value for name, value in own.items() if name.lower() not in given}

    script: list[Step | bytes] = [head(status, {**own, **(headers or {})})]
    for part in body:
        script.append(part)
        if delay and isinstance(part, bytes):
            script.append(Pause(delay))
    script += end
    if fault is not None:
        at = script.index(_HERE)
        wrap = chunk if framing == "chunked" else bytes
        script[at:] = fault.rest(Rest(script[at + 1 :], end, wrap))
    return script


class _Here(Step):
    """Stands for the place where a fault comes."""

    def play(self, connection: Connection) -> None:
        raise AssertionError("it is replaced before it is played")


_HERE = _Here()


def _place(fault: Fault, frames: Sequence[Step | bytes]) -> int:
    """The index of the frame that the fault comes before."""
    places = [at for at, part in enumerate(frames) if not isinstance(part, Step)]
    places.append(len(frames))
    try:
        # Counted from the end, the end itself is no event.
        return places[fault.after - 1 if fault.after < 0 else fault.after]
    except IndexError:
        raise ValueError(
            f"{fault.name} is to come after {fault.after} events, and the answer has "
            f"{len(places) - 1}, its [DONE] included"
        ) from None


def _compressed(
    frames: Iterable[Step | bytes], encoding: Literal["gzip", "deflate"], flush: bool
) -> list[Step | bytes]:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
    compressed: list[Step | bytes] = []
    for part in frames:
        if isinstance(part, bytes):
            data = compressor.compress(part)
            compressed.append(data + compressor.flush(zlib.Z_SYNC_FLUSH) if flush else data)
        else:
            compressed.append(part)
    return [part for part in [*compressed, compressor.flush()] if part != b""]


def _cut(
    frames: Iterable[Step | bytes], events_per_chunk: int, bytes_per_chunk: int | None
) -> list[Step | bytes]:
    """Put together what goes into one chunk; a step ends the chunk before it."""
    parts: list[Step | bytes] = []
    gathered: list[bytes] = []

    def release() -> None:
        data = b"".join(gathered)
        size = bytes_per_chunk or max(1, len(data))
        parts.extend(data[start : start + size] for start in range(0, len(data), size))
        gathered.clear()

    for part in frames:
        if isinstance(part, bytes):
            gathered.append(part)
            if bytes_per_chunk is None and len(gathered) == events_per_chunk:
                release()
        else:
            release()
            parts.append(part)
    release()
    return parts
