"""What the targets of the fuzzer share: the same bytes in other pieces, and a promise."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["HEADER", "check", "cut", "ways"]

#: Bytes in front: two that choose, six sizes of blocks.
HEADER = 8
_PAGE = 4096
_SINGLE = 48  # so many single bytes; each costs as much as a block


def check(promise: bool, *what: Any) -> None:
    """An ``assert`` that ``python -O`` leaves in."""
    if not promise:
        raise AssertionError(*what)


def cut(stream: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The stream in blocks of these sizes; 0 is a page, as are all after the last."""
    start = 0
    for size in itertools.chain(sizes, itertools.repeat(0)):
        if start >= len(stream):
            return
        yield stream[start : start + (size or _PAGE)]
        start += size or _PAGE


def ways(header: bytes, stream: bytes) -> list[list[bytes]]:
    """One stream in pieces as the fuzzer likes, as a whole, and beginning with single bytes."""
    sizes = header[2:] * 16
    return [list(cut(stream, sizes)) for sizes in (sizes, b"", b"\1" * _SINGLE)]
