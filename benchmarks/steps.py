"""What becomes of the CPU that an event costs: ``python -m benchmarks.steps``.

The steps of an event's way, one after the other on one thread, over bytes that are there already:
no socket, no hand-over between threads. Each is timed with all steps before it, the best of many
passes; its own time is the difference. The two that no rewriting of this library can take away are
those of ``sseclient`` and ``json``, with the parsed dict as what they are for.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, pairwise
from typing import Any

from openai_stream.endpoints import CHAT_COMPLETIONS as CHAT
from openai_stream.sse import Frames, parser
from openai_stream.strict_json import decode_json
from openai_stream.transport.chunks import Chunks

from .events import END, Answer, burst
from .report import grid

_EVENTS = 5000
_BLOCK = 65536
_PASSES = 25


def _blocks(body: bytes) -> list[bytes]:
    """The body in pieces of whole chunks, about as large as what a read brings."""
    blocks = []
    start = 0
    while start < len(body):
        end = body.find(b"\n\n\r\n", start + _BLOCK) + 4
        if end < 4:
            end = len(body)
        blocks.append(body[start:end])
        start = end
    return blocks


class _Steps:
    """The steps, each with those before it."""

    def __init__(self, per_chunk: int) -> None:
        body = burst(Answer(events=_EVENTS, per_chunk=per_chunk)).removesuffix(END)
        self._arrived = _blocks(body)

    def chunks(self) -> Iterator[bytes]:
        chunks = Chunks()
        for block in self._arrived:
            chunks.feed(block)
            yield chunks.read()

    def frames(self) -> Iterator[list[bytes]]:
        frames = Frames(2**25)
        for block in self.chunks():
            yield from frames.feed(block)
        yield from frames.end()

    def messages(self) -> Iterator[Any]:
        return chain.from_iterable(map(parser(), self.frames()))

    def texts(self) -> Iterator[str]:
        return (text for message in self.messages() if (text := message.data) != "[DONE]")

    def run(self, upto: str) -> None:
        if upto == "chunks":
            deque(self.chunks(), 0)
        elif upto == "frames":
            deque(self.frames(), 0)
        elif upto == "sseclient":
            deque(self.texts(), 0)
        elif upto == "json":
            for text in self.texts():
                decode_json(text)
        elif upto == "sum":
            add = CHAT.accumulator().add
            for text in self.texts():
                add(decode_json(text))
        else:
            add = CHAT.accumulator().add
            make = CHAT.event
            for text in self.texts():
                data = decode_json(text)
                add(data)
                make(data)


STEPS = {
    "chunks": "HTTP chunks taken apart",
    "frames": "frames cut, line ends, limits",
    "sseclient": "``sseclient`` parses each frame",
    "json": "the standard library parses its data",
    "sum": "added up, for ``result()`` and ``snapshot()``",
    "event": "the typed event is made",
}


def _best(work: Callable[[], object]) -> float:
    """Seconds of CPU, the best of many."""
    took = []
    for _ in range(_PASSES):
        gc.collect()
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def main() -> None:
    rows = []
    costs: dict[int, list[float]] = {}
    for per_chunk in (1, 20):
        steps = _Steps(per_chunk)
        steps.run("event")  # every shape of an event has been met
        total = [_best(partial(steps.run, step)) / _EVENTS * 1e6 for step in STEPS]
        costs[per_chunk] = [total[0], *(after - before for before, after in pairwise(total))]
    for n, what in enumerate(STEPS.values()):
        rows.append([what, *(f"{costs[per_chunk][n]:.2f}" for per_chunk in costs)])
    rows.append(["together", *(f"{sum(cost):.2f}" for cost in costs.values())])
    print(grid(["step", *(f"µs, {n} a chunk" for n in costs)], rows))


if __name__ == "__main__":
    main()
