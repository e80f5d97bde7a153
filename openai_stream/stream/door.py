"""Where the events of a call go, and what its caller holds: chosen here, once, in the call."""

from __future__ import annotations

from typing import Any, TypeVar

from openai_stream.arguments import Streaming

from .handles import EventQueue, Stream
from .sinks import CallbackSink, ForeignSink, QueueSink, ReplaySink, Sink
from .state import Core

__all__ = ["choose"]

E = TypeVar("E")
W = TypeVar("W")


def choose(core: Core[E, W], streaming: Streaming) -> tuple[Sink, Stream[E, W] | EventQueue[E, W]]:
    """The sink of a stream, and its handle. On the caller's thread, before the reader's starts.

    :param streaming: what the call was given.
    """
    stream = Stream(core)
    sink: Any
    if streaming.on_next is not None:
        sink = CallbackSink(core, streaming.on_next)
    elif streaming.queue is not None:
        sink = ForeignSink(core, streaming.queue.put, streaming.tag)
    else:
        bursts = core.make_queue(streaming.maxsize, streaming.stream_close)
        return QueueSink(core), EventQueue(stream, bursts)
    core.live_on = True  # its events reach somebody although no handle is left
    return (sink if core.history is None else ReplaySink(core, sink)), stream
