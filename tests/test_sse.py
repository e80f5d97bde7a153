"""Bytes into events: frames against the standard's own algorithm."""

from __future__ import annotations

import inspect
import itertools
import re
import time
from collections.abc import Iterable, Iterator

import pytest
from feeding import batches, events
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openai_stream import sse
from openai_stream.errors import StreamDecodeError
from openai_stream.sse import Frames, parser
from openai_stream.strays import Strays
from openai_stream.strict_json import SMALL

BOM = b"\xef\xbb\xbf"
LIMIT = 2**20
#: A loaded machine may take its time.
unhurried = settings(deadline=None)

Event = tuple[str, str, "str | None"]


def parsed(blocks: Iterable[bytes], limit: int = LIMIT) -> list[Event]:
    return [(one.event, one.data, one.id) for one in events(Frames(limit), blocks)]


def whatwg(stream: bytes) -> list[Event]:
    """The events of a whole stream, by WHATWG HTML, sections 9.2.5 and 9.2.6, step by step.

    Without what concerns reconnection: ``retry``, and an ``id`` that outlives its event.
    """
    text = stream.decode(errors="replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)
    del lines[-1]  # what no line end follows is no line
    found: list[Event] = []
    event, data, id_ = "", "", None
    for line in lines:
        if line == "":
            if data:
                found.append((event or "message", data.removesuffix("\n"), id_))
            event, data, id_ = "", "", None
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                event = value
            elif field == "data":
                data += value + "\n"
            elif field == "id":
                id_ = value
    return found


# Streams and cuts ----------------------------------------------------------------------------

texts = st.text(
    # The last five end a line for ``str.splitlines``, and for no event stream.
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
    | st.sampled_from([*": \x00\ufeffé€𝄞", *"\x0b\x1c\x85\u2028\u2029"]),
    max_size=8,
)
names = st.sampled_from(["data", "data", "data", "event", "id", "retry", " data", "Data", "", "x"])
lines = st.one_of(
    st.builds("{}:{}".format, names, texts),
    st.builds("{}: {}".format, names, texts),
    names,
    st.just(""),
    texts,
)
line_ends = st.sampled_from(["\n", "\r", "\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Any lines with any mixture of line ends, whole or cut, after any number of marks."""
    marks = draw(st.sampled_from([0, 0, 1, 2]))
    drawn = draw(st.lists(st.tuples(lines, line_ends), max_size=30))
    tail = draw(st.just("") | lines)
    return BOM * marks + ("".join(line + end for line, end in drawn) + tail).encode()


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream in any pieces: inside a line end, a character, or the byte-order mark too."""
    stream = draw(streams())
    cuts = draw(
        st.just(set(range(len(stream))))
        | st.sets(st.integers(0, len(stream)), max_size=12)
        | st.just(set[int]())
    )
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges) if a < b]


@unhurried
@given(cut_streams())
@example([b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"])
@example([b"data: a\n", b"\r", b"\n"])
@example([b"data: a\r", b"\r"])
@example([b"data\n", b"\ndata\ndata\n\n", b"data:"])
@example([b"\xef", b"\xbb", b"\xbfdata: a\n\n"])
@example([b"\xef", b"\xbb", b"data: a\n\n"])
def test_any_stream_in_any_pieces_is_read_as_the_standard_says(blocks: list[bytes]) -> None:
    if b"".join(blocks) == b"\xef\xbbdata: a\n\n":  # half a mark is none, and no UTF-8
        with pytest.raises(UnicodeDecodeError):
            parsed(blocks)
    else:
        assert parsed(blocks) == whatwg(b"".join(blocks))


@unhurried
@given(cut_streams())
def test_an_event_is_there_before_more_than_its_bytes_is_read(blocks: list[bytes]) -> None:
    seen = 0
    given_away = b""

    def read() -> Iterator[bytes]:
        nonlocal given_away
        for block in blocks:
            assert seen == len(whatwg(given_away))
            given_away += block
            yield block
        assert seen == len(whatwg(given_away))

    for _ in events(Frames(LIMIT), read()):
        seen += 1


@unhurried
@given(cut_streams())
def test_the_parser_is_given_whole_normalised_frames_only(blocks: list[bytes]) -> None:
    for batch in batches(Frames(LIMIT), blocks):
        for piece in batch:
            assert b"\n\n" not in piece
            assert b"\r" not in piece


@unhurried
@given(cut_streams())
@example([b": keep-alive\n\n"])
@example([b": one\n: two\n\n: three\n\n"])
def test_comments_are_counted(blocks: list[bytes]) -> None:
    text = b"".join(blocks).decode().removeprefix("\ufeff")
    whole = [*re.split("\r\n|\n|\r", text)[:-1]]
    while whole and whole[-1]:  # the frame that is not closed does not count
        del whole[-1]
    frames = Frames(LIMIT)
    for _ in batches(frames, blocks):
        pass
    assert frames.comments == sum(line.startswith(":") for line in whole)


# What the standard's section 9.2.6 shows -----------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", None)]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
            b"data:  third event",
            [("message", "first event", "1"), ("message", "second event", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", None), ("message", "\n", None)]),
        (b"data:test\n\ndata: test\n\n", [("message", "test", None)] * 2),
        (b"event: add\ndata: 73857293\n\n", [("add", "73857293", None)]),
        (b"event: add\n\ndata: 1\n\n", [("message", "1", None)]),
        (b'data:{"a":\ndata:1}\n\n', [("message", '{"a":\n1}', None)]),
        (b"retry: 10\nunknown: x\n\n", []),
        (b"", []),
        (BOM, []),
        (BOM + b"data: a\n\n", [("message", "a", None)]),
        (b"data: a\n\n" + BOM + b"data: b\n\n", [("message", "a", None)]),
        (b"data: a\n\ndata: b", [("message", "a", None)]),
        (b"data: a\n\ndata: b\n", [("message", "a", None)]),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_examples(stream: bytes, expected: list[Event], line_end: bytes, size: int) -> None:
    stream = stream.replace(b"\n", line_end)
    assert parsed(stream[at : at + size] for at in range(0, len(stream), size)) == expected


def test_what_came_before_bad_utf_8_is_given_first() -> None:
    found = events(Frames(LIMIT), [b"data: a\n\ndata: \xff\n\ndata: b\n\n"])
    assert next(found).data == "a"
    with pytest.raises(UnicodeDecodeError):
        next(found)


def test_an_error_while_reading_comes_through_after_the_events_before_it() -> None:
    class Broken(Exception):
        pass

    def read() -> Iterator[bytes]:
        yield b"data: a\n\ndata: b"
        raise Broken

    found = events(Frames(LIMIT), read())
    assert next(found).data == "a"
    with pytest.raises(Broken):
        next(found)


def test_the_source_shows_no_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "sseclient"):
        parsed([b"data: confidential\n\n"])
    assert "from event source <_Batch>" in caplog.text
    assert "confidential" not in caplog.text


def test_the_source_can_be_iterated_over() -> None:
    """Should ``sseclient`` ever look for frames in another way."""
    parse = parser()
    list(parse([b"data: a", b"data: b"]))
    source = inspect.getclosurevars(parse).nonlocals["batch"]
    assert list(source) == [b"data: a\n\n", b"data: b\n\n"]


def test_the_parser_logs_for_who_asked_before_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocks = [b"data: 1\n\n"]
    with caplog.at_level("DEBUG", "sseclient"):
        parsed(blocks)
        assert "Dispatching message event" in caplog.text
        caplog.clear()
    with caplog.at_level("INFO", "sseclient"):
        parsed(blocks)
        assert not caplog.records


def test_before_anything_was_read() -> None:
    frames = Frames(LIMIT)
    assert (frames.comments, frames.cut, frames.head) == (0, False, b"")


@pytest.mark.parametrize(
    "blocks",
    [
        [b"<" + b"html" * 100],
        [BOM + b"<" + b"html" * 100],
        [BOM, b"\n", b" ", b"<" + b"html" * 100],
    ],
)
def test_the_first_bytes_are_kept_for_the_message(blocks: list[bytes]) -> None:
    frames = Frames(LIMIT)
    list(batches(frames, [*blocks, b"y" * 1000]))
    assert frames.head == b"".join(blocks).removeprefix(BOM)[:64]


@pytest.mark.parametrize(
    ("stream", "cut"),
    [
        (b"", False),
        (b"data: a\n\n", False),
        (b"data: a", True),
        (b"data: a\n", True),
        (b"data: a\n\ndata: b", True),
        (b"data: a\n\n: goodbye", False),  # nobody misses the rest of a comment
        (b"data: a\n\n: goodbye\ndata: b", True),
        (b"data: a\n\n \n ", False),
        (b": goodbye\n", False),
        (b" \n \n", False),
        (BOM, False),
        (BOM[:2], True),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_whether_the_end_cut_an_event(stream: bytes, cut: bool, size: int) -> None:
    blocks = (stream[at : at + size] for at in range(0, len(stream), size))
    frames = Frames(LIMIT)
    list(batches(frames, blocks))
    assert frames.cut is cut


# Bounds --------------------------------------------------------------------------------------


@unhurried
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
    st.sets(st.integers(0, 1200)),
    st.booleans(),
)
def test_events_within_the_limit_pass_and_larger_ones_do_not(
    sizes: list[int], cuts: set[int], larger: bool
) -> None:
    stream = b"".join(b":" * size + b"\n\n" for size in sizes)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    blocks = [stream[a:b] for a, b in itertools.pairwise(edges) if a < b]
    if larger:
        with pytest.raises(StreamDecodeError, match="max_event_bytes"):
            parsed(blocks, limit=max(sizes) - 1)
    else:
        assert parsed(blocks, limit=max(sizes) + 1) == []  # with its line's end


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: x\n" * 100, b":\r" * 500, b"data: "])
def test_an_event_without_end_is_given_up_at_the_limit(piece: bytes) -> None:
    taken = 0

    def read() -> bytes:
        nonlocal taken
        taken += len(piece)
        return piece

    with pytest.raises(StreamDecodeError, match="more than 100000 bytes"):
        parsed(iter(read, None), limit=100_000)
    assert taken <= 100_000 + len(piece)


def before_the_error(blocks: list[bytes], limit: int) -> tuple[list[str], StreamDecodeError]:
    found: list[str] = []
    with pytest.raises(StreamDecodeError) as caught:
        found.extend(one.data for one in events(Frames(limit), blocks))
    return found, caught.value


def test_the_limit_is_met_exactly() -> None:
    frame = b"data: " + b"x y " * 10
    for blocks in (
        [frame + b"\n\n"],
        [frame, b"\n\n"],
        [frame[:-9], frame[-9:] + b"\n", b"\n"],
        [b":\n\n" * 100 + frame, b"\n\n"],
    ):
        assert [one[1] for one in parsed(blocks, limit=len(frame))] == ["x y " * 10]
        found, error = before_the_error(blocks, limit=len(frame) - 1)
        assert found == []
        assert str(error) == (
            f"the server sent an event of more than {len(frame) - 1} bytes; if such events are to "
            "be expected, raise max_event_bytes"
        )
        assert error.lasting is True  # the same request would bring the same


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"\n\n", b"x" * 1000])
def test_whole_events_before_one_that_is_too_large_are_given(size: int, end: bytes) -> None:
    stream = b"data: a\n\ndata: b\n\ndata: c\n\ndata: " + b"x" * 100 + end
    blocks = [stream[at : at + size] for at in range(0, len(stream), size)]
    found, _ = before_the_error(blocks, limit=50)
    assert found == ["a", "b", "c"]


@pytest.mark.parametrize("block", [10, 65536])
def test_an_event_in_very_many_pieces_or_lines_costs_no_more_than_its_size(block: int) -> None:
    data = b"x" * 500_000
    stream = b"data: " + data + b"\n" + b": x\n" * 500 + b"data: y\n\n"
    start = time.process_time()
    found = parsed((stream[at : at + block] for at in range(0, len(stream), block)), 2**25)
    assert [len(one[1]) for one in found] == [len(data) + 2]
    assert time.process_time() - start < 2


def test_an_event_of_far_too_many_lines_is_refused_at_once() -> None:
    stream = b"data\n" * 200_000 + b"\n"
    start = time.process_time()
    blocks = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]
    found, error = before_the_error(blocks, limit=2**25)
    assert time.process_time() - start < 2
    assert found == []
    assert str(error) == ("the server sent an event of too many lines: 200001 in 1000001 bytes")
    assert error.lasting is True


# The beginning and the end -------------------------------------------------------------------


def test_waits_for_64_bytes_to_see_what_a_stream_begins_with() -> None:
    for first, size in ((b" ", 63), (BOM + b" ", 60), (b"", 0)):
        frames = Frames(LIMIT)
        blank = (first * 63)[:size] if first != BOM + b" " else BOM + b" " * size
        assert frames.open(blank) == b""
        assert frames.open(b"x") == blank.removeprefix(BOM) + b"x"
        assert frames.head == (blank.removeprefix(BOM) + b"x")[:64]
    assert Frames(LIMIT).open(b" " * 64) == b" " * 64


@pytest.mark.parametrize("begin", [b"{", b"[", b'{"a', b" \n[1"])
def test_keeps_what_begins_as_json_does(begin: bytes) -> None:
    frames = Frames(len(begin) + 4)
    for block in (begin, b"\n\n", b": "):
        list(frames.feed(block))
    assert bytes(frames.kept or b"") == begin + b"\n\n: "
    frames.feed(b"x")
    assert frames.kept is None


def test_keeps_nothing_of_an_event_stream() -> None:
    for begin in (b"data: {}", b": [", b" data", b"x{"):
        frames = Frames(LIMIT)
        frames.feed(begin + b"\n" * 64)
        assert frames.kept is None


class _Told(Strays):
    """Keeps what it would report, and counts how often frames are searched."""

    def __init__(self) -> None:
        super().__init__(self._keep)
        self.told: list[tuple[str, str]] = []
        self.searched = 0

    def in_(self, whole: bytes) -> bool:
        self.searched += 1
        return super().in_(whole)

    def _keep(self, kind: str, text: str) -> None:
        self.told.append((kind, text))


@pytest.mark.parametrize(
    ("sent", "given", "cut"),
    [
        (b"data: {}", True, False),
        (b"data: {}\n", True, False),
        (b"data:{}", True, False),
        (b"data: [1]", True, False),
        (b"data: [DONE]", True, False),
        (b'id: 5\ndata: {"a":\ndata: 1}', True, False),
        (b'data: {"a": "\ndata: "}', False, True),  # no line end is in a text of JSON
        (b"data:  {} ", True, False),
        (b"data: 12", False, True),
        (b"data: {", False, True),
        (b'data: "a"', False, True),
        (b"data: \xff", False, True),
        (b"data", False, True),
        (b"DATA: {}", False, True),
        (b"id: 5", False, True),
        (b": comment", False, False),
        (b": comment\n \n", False, False),
        (b"", False, False),
    ],
)
def test_a_last_frame_counts_if_the_body_is_framed_and_its_data_is_whole(
    sent: bytes, given: bool, cut: bool
) -> None:
    told = _Told()
    for strays in (None, told):
        for blocks in ([sent], [sent[:3], sent[3:]]):
            for framed in (True, False):
                frames = Frames(LIMIT, strays)
                found = list(batches(frames, [b for b in blocks if b], framed))
                assert found == ([[sent]] if given and framed else [])
                assert frames.cut is (cut if framed else cut or given)
    frames = Frames(LIMIT)
    assert [*frames.feed(sent), *frames.end()] == []
    assert told.told == []


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"error: boom", [("error", "boom")]),
        (b'{"error": 1}', [("json", '{"error": 1}')]),
        (b"event: error\ndata: {", []),
        (b"data: {\nerror: boom", []),
        (b"data: {}\nerror: boom", [("error", "boom")]),
    ],
)
def test_a_last_line_that_is_no_field_is_reported_if_the_body_is_framed(
    sent: bytes, told: list[tuple[str, str]]
) -> None:
    for framed in (True, False):
        strays = _Told()
        list(batches(Frames(LIMIT, strays), [sent], framed))
        assert strays.told == (told if framed else [])


def test_work_for_the_parser_is_bounded_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b"data: {\ndata: }"
    for most, passes in ((2 * len(frame), True), (2 * len(frame) - 1, False)):
        monkeypatch.setattr(sse, "_MOST_WORK", most)
        frames = Frames(LIMIT)
        assert list(batches(frames, [frame], framed=True)) == ([[frame]] if passes else [])
        assert frames.cut is not passes
    blocks = [frame, b"\n\n"]
    monkeypatch.setattr(sse, "_MOST_WORK", 3 * (len(frame) + 2))
    assert list(batches(Frames(LIMIT), blocks)) == [[frame]]
    monkeypatch.setattr(sse, "_MOST_WORK", 3 * (len(frame) + 2) - 1)
    with pytest.raises(StreamDecodeError, match="too many lines: 3 in 17 bytes"):
        list(batches(Frames(LIMIT), blocks))


# Beside the events ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_frames_of_one_line_of_data_are_not_searched(count: int, end: bytes) -> None:
    strays = _Told()
    frames = Frames(LIMIT, strays)
    for block in (b"data: a" + end) * count, (b"data:" + end) * count:
        assert frames.feed(block) == ([block[: block.index(end)]] * count,)
    assert strays.searched == 0
    strays.await_data = True
    assert not isinstance(frames.feed(b"data: a" + end), tuple)
    assert strays.searched == 1


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"data: a\ndata: b\n\n", [b"data: a\ndata: b"]),
        (b"data: a\n\n\ndata: b\n\n", [b"data: a", b"\ndata: b"]),
        (b"id: 1\n\n", [b"id: 1"]),
        (b": x\n\ndata: a\n\n", [b": x", b"data: a"]),
        (b"data: a\n\nid: 1\n\n", [b"data: a", b"id: 1"]),
        (b"DATA: a\n\n", [b"DATA: a"]),
    ],
)
def test_all_other_frames_are_searched_once(block: bytes, found: list[bytes]) -> None:
    strays = _Told()
    frames = Frames(LIMIT, strays)
    for _ in range(2):
        assert frames.feed(block) == (found,)
    assert strays.searched == 2
    assert frames.comments == 2 * block.startswith(b":")
    assert not isinstance(frames.feed(block + b"error: x\n\n"), tuple)


@pytest.mark.parametrize("strays", [None, _Told()])
def test_takes_one_event_alone_as_it_takes_several(strays: Strays | None) -> None:
    frames = Frames(100, strays)
    for _ in range(3):
        assert frames.feed(b"data: a\n\n") == ([b"data: a"],)
    assert frames.feed(b"data: a\rid: c\n\n") == ([b"data: a\nid: c"],)
    assert frames.feed(b"data: a\n") == ()
    assert frames.feed(b"data: b\n\n") == ([b"data: a\ndata: b"],)
    most = b"data: " + b"x" * 94
    assert frames.feed(most + b"\n\n") == ([most],)
    for more in (b"x", b"xx", b"xxx"):
        with pytest.raises(StreamDecodeError, match="more than 100 bytes"):
            list(frames.feed(most + more + b"\n\n"))


def test_an_event_of_too_many_objects_is_refused_before_it_is_parsed() -> None:
    dense = b"data: [" + b"{}," * SMALL + b"{}]\n\n"
    with pytest.raises(StreamDecodeError, match=r"an event of more than \d+ JSON objects"):
        list(Frames(len(dense)).feed(dense))


def test_takes_out_what_is_no_field() -> None:
    strays = _Told()
    frames = Frames(LIMIT, strays)
    found = list(batches(frames, [b"data: a\n\nerror: x\n\n{}\n\ndata: b\n\n"]))
    assert [frame for batch in found for frame in batch] == [b"data: a", b"data: b"]
    assert strays.told == [("error", "x"), ("json", "{}")]


def test_the_parser_asks_for_no_secrets_unless_its_log_is_read() -> None:
    def clean(text: str) -> str:
        raise AssertionError(text)

    assert [one.data for one in parser(clean)([b"data: a"])] == ["a"]
