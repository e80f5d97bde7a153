"""Feeding what is fed: frames and events of blocks of bytes, as a reader would make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from openai_stream.sse import Frames, parser

__all__ = ["batches", "events"]


def batches(frames: Frames, blocks: Iterable[bytes], framed: bool = False) -> Iterator[list[bytes]]:
    """The frames, in lists of those that came together."""
    for block in blocks:
        yield from frames.feed(block)
    yield from frames.end(framed)


def events(frames: Frames, blocks: Iterable[bytes]) -> Iterator[Any]:
    """The events, as ``sseclient`` parses them."""
    parse = parser()
    for batch in batches(frames, blocks):
        yield from parse(batch)
