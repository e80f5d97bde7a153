"""Chunked bodies (RFC 9112, section 7.1): where each chunk's size is read."""

from __future__ import annotations

import itertools

__all__ = ["HEX", "whole_chunks"]

HEX = b"0123456789abcdefABCDEF"


def whole_chunks(arrived: bytes, position: int, parts: list[bytes]) -> int:
    """Take apart the plain chunks that follow in ``arrived``, those that are there to their end.

    Between line ends, sizes and data take turns. Nothing here runs once a chunk, which is once an
    event where a server sends one in each. Where something is not plain (an extension, data with
    such line ends in it) or not valid, and from the last chunk on, each line is taken for itself.

    :param position: where the first one's size would be.
    :param parts: gets their data.
    :returns: the position behind the last of them.
    """
    lines = arrived[position:].split(b"\r\n")
    if len(lines) == 3 and lines[0] and lines[1] and not lines[2] and not lines[0].strip(HEX):
        # One alone, as it comes from a server that takes its time. The processor has forgotten the
        # steps below by then: 20 µs.
        if int(lines[0], 16) != len(lines[1]):
            return position
        parts.append(lines[1])
        return len(arrived)
    whole = (len(lines) - 1) // 2 * 2  # what follows has not come to its end
    digits, data = lines[:whole:2], lines[1:whole:2]
    lengths = list(map(len, data))
    if 0 in lengths:  # the last chunk, perhaps
        del lengths[lengths.index(0) :]
        digits, data = digits[: len(lengths)], data[: len(lengths)]
    joined = b"".join(digits)
    if not joined or joined.strip(HEX):  # int() would take "-5", "1_0" and "0x5" too
        return position
    try:
        if list(map(int, digits, itertools.repeat(16))) != lengths:
            return position
    except ValueError:
        return position
    parts += data
    return position + len(joined) + sum(lengths) + 4 * len(lengths)
