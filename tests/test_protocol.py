"""Bytes into events and what *complete* means: plain asserts on bytes, without a socket."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from openai_stream.endpoints import CHAT_COMPLETIONS, RESPONSES, Endpoint, any_endpoint
from openai_stream.errors import (
    OpenAIStreamError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
)
from openai_stream.protocol import StreamProtocol
from openai_stream.testing import chat_chunks, frame

ANY = any_endpoint("/any")
CHUNKS = chat_chunks(["Hi", "!"])
DONE = b"data: [DONE]\n\n"
WHOLE = b"".join([*map(frame, CHUNKS), DONE])
LIMIT = 1000


def cut(stream: bytes) -> Iterator[Sequence[bytes]]:
    """The stream as a whole, byte by byte, and in two pieces at each place."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


class Fed:
    """What became of an answer."""

    def __init__(
        self,
        blocks: Sequence[bytes],
        endpoint: Endpoint[Any, Any] = CHAT_COMPLETIONS,
        *,
        framed: bool = True,
        content_type: str = "text/event-stream",
        limit: int = LIMIT,
    ) -> None:
        self.accumulator = endpoint.accumulator()
        self.protocol = StreamProtocol(endpoint, self.accumulator, limit, content_type)
        self.events: list[Any] = []
        self.left = iter(blocks)
        self.error: OpenAIStreamError | None = None
        try:
            while not self.protocol.ended and (block := next(self.left, b"")):
                self._take(self.protocol.feed(block))
            if not self.protocol.ended:
                self._take(self.protocol.end(framed))
            self.protocol.finish()
        except OpenAIStreamError as error:
            self.error = error

    def _take(self, events: Any) -> None:
        for event in events:
            self.events.append(event.data if hasattr(event, "data") else event.to_dict())


def outcome(fed: Fed) -> tuple[list[Any], type[Any], str]:
    return fed.events, type(fed.error), str(fed.error)


# Events ----------------------------------------------------------------------------------------


def test_gives_each_event_however_the_bytes_are_cut() -> None:
    for blocks in cut(WHOLE):
        fed = Fed(blocks)
        assert fed.events == CHUNKS, blocks
        assert fed.error is None
        assert fed.protocol.ended
        assert fed.protocol.events == len(CHUNKS)


def test_gives_an_event_with_its_last_byte() -> None:
    protocol = StreamProtocol(CHAT_COMPLETIONS, CHAT_COMPLETIONS.accumulator(), LIMIT)
    for chunk in CHUNKS:
        text = frame(chunk)
        for at in range(len(text) - 1):
            assert list(protocol.feed(text[at : at + 1])) == []
        assert [event.to_dict() for event in protocol.feed(text[-1:])] == [chunk]


def test_works_while_its_events_are_taken() -> None:
    protocol = StreamProtocol(CHAT_COMPLETIONS, CHAT_COMPLETIONS.accumulator(), LIMIT)
    for count, _ in enumerate(protocol.feed(WHOLE), 1):
        assert protocol.events == count


def test_does_not_look_behind_the_end() -> None:
    behind = b"event: error\ndata: {}\n\n: late\n\nnonsense\n\nerror: late\n\n"
    for blocks in ([WHOLE + behind], [WHOLE, behind]):
        fed = Fed(blocks)
        assert fed.events == CHUNKS
        assert fed.error is None


def test_ends_with_the_last_event_of_a_response() -> None:
    created = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    last = {"type": "response.completed", "response": {"id": "r", "status": "completed"}}
    stream = frame(created) + frame(last)
    for blocks in cut(stream):
        fed = Fed([*blocks, b"nonsense"], RESPONSES)
        assert fed.events == [created, last]
        assert fed.error is None
        assert list(fed.left) == [b"nonsense"]


def test_counts_what_is_no_event() -> None:
    stream = b": one\n\n" + b"data: \n\n" + b"event: ping\ndata: {}\n\n" + WHOLE
    for blocks in cut(stream):
        fed = Fed(blocks)
        assert fed.error is None
        assert (fed.protocol.comments, fed.protocol.empty) == (1, 2)


def test_tells_the_first_event_before_it_is_added_up() -> None:
    for blocks in cut(b": comment\n\ndata: \n\n" + WHOLE):
        accumulator = CHAT_COMPLETIONS.accumulator()
        told: list[Any] = []

        def tell(told: list[Any] = told, accumulator: Any = accumulator) -> None:
            told.append(accumulator.snapshot())

        protocol = StreamProtocol(
            CHAT_COMPLETIONS,
            accumulator,
            LIMIT,
            on_first=tell,
        )
        for block in blocks:
            list(protocol.feed(block))
        assert told == [CHAT_COMPLETIONS.accumulator().snapshot()]


# The end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [True, False])
def test_a_cut_answer_is_told_from_a_whole_one_at_each_byte(framed: bool) -> None:
    for at in range(len(WHOLE)):
        fed = Fed([WHOLE[:at]] if at else [], framed=framed)
        assert fed.events == CHUNKS[: len(fed.events)]
        finished = len(fed.events) == len(CHUNKS)  # every choice has its finish_reason
        assert (fed.error is None) is finished, WHOLE[:at]
        if fed.error is not None:
            assert isinstance(fed.error, StreamInterruptedError)


def test_done_completes_any_stream() -> None:
    assert Fed([b'data: {"a": 1}\n\n', DONE], ANY, framed=False).error is None


@pytest.mark.parametrize(
    ("end", "framed", "is_whole"),
    [(b"", True, True), (b"", False, False), (b"data: {", True, False), (b"data: 2", True, False)],
)
def test_only_a_framed_end_completes_an_unknown_stream(
    end: bytes, framed: bool, is_whole: bool
) -> None:
    for blocks in cut(b'data: {"a": 1}\n\n' + end):
        fed = Fed(blocks, ANY, framed=framed)
        assert fed.events == [{"a": 1}]
        assert isinstance(fed.error, StreamInterruptedError) is not is_whole


def test_an_end_without_any_event() -> None:
    fed = Fed([])
    assert isinstance(fed.error, StreamInterruptedError)
    assert "before its first event" in str(fed.error)


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b'data: {"error": {"message": "no"}}\n\n', StreamAPIError),
        (b'event: error\ndata: {"message": "no"}\n\n', StreamAPIError),
        (b'error: {"message": "no"}\n\n', StreamAPIError),
        (b'{"error": {"message": "no"}}\n\n', StreamAPIError),
        (b"data: {nonsense\n\n", StreamDecodeError),
        (b"data: 5\n\n", StreamDecodeError),
        (b"data: \xff\n\n", StreamDecodeError),
        (b"data: " + b"x" * 2000 + b"\n\n", StreamDecodeError),
    ],
)
def test_an_error_comes_after_the_events_before_it(sent: bytes, error: type[Exception]) -> None:
    outcomes = [outcome(Fed(blocks)) for blocks in cut(frame(CHUNKS[0]) + sent)]
    assert outcomes[0][0] == [CHUNKS[0]]
    assert outcomes[0][1] is error
    assert all(one == outcomes[0] for one in outcomes)


# What is no event stream -----------------------------------------------------------------------


@pytest.mark.parametrize("label", ["text/html", "application/json", "application/problem+json"])
def test_a_label_is_not_believed_before_the_bytes_agree(label: str) -> None:
    for blocks in cut(WHOLE):
        fed = Fed(blocks, content_type=label)
        assert fed.events == CHUNKS
        assert fed.error is None


def test_a_page_is_refused_as_soon_as_it_is_clear() -> None:
    fed = Fed([b"\n\n", b"<html>", b"rest"], content_type="text/html; charset=utf-8")
    assert isinstance(fed.error, StreamDecodeError)
    assert "a page (text/html)" in str(fed.error)
    assert list(fed.left) == [b"rest"]


@pytest.mark.parametrize("label", ["application/json", "text/event-stream", ""])
def test_an_error_in_json_is_raised_whatever_its_label(label: str) -> None:
    body = json.dumps({"error": {"message": "no such model"}}).encode()
    for blocks in cut(body):
        fed = Fed(blocks, content_type=label)
        assert isinstance(fed.error, StreamAPIError), blocks
        assert "no such model" in str(fed.error)


def test_json_over_the_limit_is_refused_before_it_is_kept() -> None:
    blocks = [b'{"a": "', *[b"x" * 100] * 20]
    fed = Fed(blocks, content_type="application/json", limit=500)
    assert isinstance(fed.error, StreamDecodeError)
    assert "is the base URL right?" in str(fed.error)
    assert len(list(fed.left)) > 10


@pytest.mark.parametrize(
    ("label", "sent", "is_refused"),
    [
        ("application/json", b'{"half": ', True),
        ("application/json", b"data: 1\n\n", False),
        ("text/event-stream", b'{"half": ', False),
    ],
)
def test_a_broken_body_of_json_is_no_interruption(
    label: str, sent: bytes, is_refused: bool
) -> None:
    protocol = StreamProtocol(ANY, ANY.accumulator(), LIMIT, label)
    list(protocol.feed(sent))
    reset = StreamInterruptedError("reset")
    told = protocol.broken(reset)
    assert (told is not reset) is is_refused
    assert isinstance(told, StreamDecodeError) is is_refused


def test_shows_no_secret_of_a_label() -> None:
    accumulator = CHAT_COMPLETIONS.accumulator()
    protocol = StreamProtocol(
        CHAT_COMPLETIONS,
        accumulator,
        LIMIT,
        "application/key+json",
        lambda text: text.replace("key", "…"),
    )
    with pytest.raises(StreamDecodeError) as caught:
        list(itertools.chain(protocol.feed(b"[]"), protocol.end(framed=True)))
    assert "key" not in str(caught.value)


def test_looks_for_no_secrets_in_an_answer_that_is_well() -> None:
    def clean(text: str) -> str:
        raise AssertionError(text)

    protocol = StreamProtocol(
        CHAT_COMPLETIONS, CHAT_COMPLETIONS.accumulator(), LIMIT, "text/event-stream", clean
    )
    assert len(list(protocol.feed(WHOLE))) == len(CHUNKS)
    protocol.finish()


@pytest.mark.parametrize("content_type", ["text/html; about=secret", "application/x.secret+json"])
def test_hides_what_is_secret_in_the_name_of_another_kind(content_type: str) -> None:
    protocol = StreamProtocol(
        CHAT_COMPLETIONS,
        CHAT_COMPLETIONS.accumulator(),
        LIMIT,
        content_type,
        lambda text: text.replace("secret", "***"),
    )
    with pytest.raises(StreamDecodeError, match="instead of an event stream") as caught:
        list(itertools.chain(protocol.feed(b"<p>"), protocol.end(framed=True)))
    assert "secret" not in str(caught.value)
