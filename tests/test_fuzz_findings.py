"""What ``make fuzz`` has found, each as the smallest input that showed it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from feeding import batches, events

from openai_stream.errors import StreamDecodeError
from openai_stream.sse import Frames


def in_two_pieces(stream: bytes) -> Iterator[list[bytes]]:
    for place in range(1, len(stream)):
        yield [stream[:place], stream[place:]]


def data_of(blocks: list[bytes], limit: int) -> list[str]:
    return [event.data for event in events(Frames(limit), blocks)]


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_an_event_as_long_as_the_limit_is_taken_however_it_is_cut(line_end: str) -> None:
    event = "data: 12"
    stream = f"{line_end}{event}{line_end}{line_end}".encode()
    bytewise = [bytes([byte]) for byte in stream]
    for blocks in itertools.chain([[stream], bytewise], in_two_pieces(stream)):
        assert data_of(blocks, len(event)) == ["12"], blocks
        with pytest.raises(StreamDecodeError, match=f"more than {len(event) - 1} bytes"):
            data_of(blocks, len(event) - 1)


@pytest.mark.parametrize("stream", [b"\n{}", b"\xef\xbb\xbf{}", b"\xef\xbb\xbf \r\n{}"])
def test_what_a_stream_begins_with_is_seen_however_it_is_cut(stream: bytes) -> None:
    bytewise = [bytes([byte]) for byte in stream]
    for blocks in itertools.chain([[stream], bytewise], in_two_pieces(stream)):
        frames = Frames(100)
        assert [frame for batch in batches(frames, blocks) for frame in batch] == []
        assert frames.head.lstrip()[:1] == b"{", blocks


@pytest.mark.parametrize(
    ("end", "is_cut"),
    [
        (b": a comment", False),
        (b"\n: a comment\n\n: another\n", False),
        (b": a comment\ndata: half", True),
        (b" : no comment, a field without a name", True),
    ],
)
def test_a_comment_at_the_end_hides_no_event_that_is_cut(end: bytes, is_cut: bool) -> None:
    stream = b"data: 1\n\n" + end
    bytewise = [bytes([byte]) for byte in stream]
    for blocks in itertools.chain([[stream], bytewise], in_two_pieces(stream)):
        frames = Frames(100)
        assert len(list(events(frames, blocks))) == 1
        assert frames.cut is is_cut, blocks
