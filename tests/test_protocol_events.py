"""What one event, one line and one end mean to the protocol: rows of bytes, without a socket."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Any

import pytest
from helpers import JSON

from openai_stream.endpoints import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    RESPONSES,
    Endpoint,
    any_endpoint,
)
from openai_stream.errors import (
    ASK_AGAIN,
    OpenAIStreamError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
)
from openai_stream.protocol import StreamProtocol
from openai_stream.strict_json import SMALL
from openai_stream.testing import frame

ANY = any_endpoint("/any")
CHUNK: JSON = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
LAST: JSON = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
KEY = "sk-1"
#: An error that the server sent, with its key in it.
SAID = "the server sent an error in its answer: ***"
NO_WORDS = "the server sent an error in its answer: without a message"
NO_JSON = "the server sent an event whose data is not JSON"
NO_OBJECT = "the server sent an event that is not a JSON object: its data is "
CUT = (
    "the server ended the answer after {}, before it was complete: its last event, or a "
    f"finish_reason for every choice, is missing. {ASK_AGAIN}"
)
EMPTY = f"the server ended the answer before its first event. {ASK_AGAIN}"


class Read:
    """What the protocol made of bytes."""

    def __init__(
        self,
        blocks: Iterable[bytes],
        endpoint: Endpoint[Any, Any] = CHAT_COMPLETIONS,
        kind: str = "",
        *,
        framed: bool = True,
        limit: int = 1000,
        **given: Any,
    ) -> None:
        self.accumulator = endpoint.accumulator()
        self.protocol = protocol = StreamProtocol(
            endpoint, self.accumulator, limit, kind, lambda text: text.replace(KEY, "***"), **given
        )
        self.events: list[Any] = []
        self.error: OpenAIStreamError | None = None
        self.fed = 0
        try:
            for block in blocks:
                self.events += protocol.feed(block)
                self.fed += 1
                if protocol.ended:
                    break
            else:
                self.events += protocol.end(framed)
            protocol.finish()
        except OpenAIStreamError as error:
            self.error = error

    @property
    def said(self) -> str:
        return "" if self.error is None else str(self.error)


# Events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"data: \n\n",
        b"data: :x\n\n",
        b"data: PING\n\n",
        b"data: [keep-alive]\n\n",
        b"data: null\n\n",
        b'data: {"type": "ping"}\n\n',
        b'event: ping\ndata: {"a": 1}\n\n',
        b"event:  Heartbeat \ndata: {}\n\n",
        b"event: x\ndata: 5\n\n",
        b"event: x\ndata: [1]\n\n",
    ],
)
def test_counts_what_has_nothing_to_say(sent: bytes) -> None:
    for before in (b"", frame(CHUNK)):
        read = Read([before + sent + sent + frame(LAST)])
        assert read.error is None
        assert [event.to_dict() for event in read.events] == [CHUNK, LAST][not before :]
        assert read.protocol.empty == 2
        assert read.protocol.events == len(read.events)
        assert read.protocol.ended is False
        assert read.protocol.is_complete is True


@pytest.mark.parametrize("sent", [b"error: null\n\n", b'{"a": 1}\n\n', b": comment\n\n"])
def test_passes_over_lines_that_say_nothing(sent: bytes) -> None:
    read = Read([frame(CHUNK) + sent + frame(LAST)])
    assert read.error is None
    assert len(read.events) == 2
    assert read.protocol.empty == 0
    assert read.protocol.comments == sent.startswith(b":")


@pytest.mark.parametrize(
    "sent",
    [
        b'data: {"type": "x"}\n\n',
        b'data: {"usage": {"total_tokens": 1}}\n\n',
        b'event: x\ndata: {"a": 1}\n\n',
        b'event: x\ndata: {"choices": []}\n\n',
        b'event: x\ndata: {"usage": {"total_tokens": 1}}\n\n',
        b'event: x\ndata: {"object": "chat.completion.chunk"}\n\n',
        b'event: x\ndata: {"type": "chat.completion.x"}\n\n',
        b'event: Chat.Completion.Chunk\ndata: {"a": 1}\n\n',
    ],
)
def test_gives_all_other_objects(sent: bytes) -> None:
    told: list[int] = []
    for before in (b"", frame(CHUNK)):
        read = Read([before + sent + frame(LAST)], on_first=lambda: told.append(1))
        assert read.error is None
        assert len(read.events) == 2 + bool(before)
        assert read.protocol.events == len(read.events)
        assert read.events[-2].to_dict() == json.loads(sent[sent.index(b"{") :])
    assert told == [1, 1]


@pytest.mark.parametrize(
    "sent",
    [
        *(b"data: [DONE]", b"data:  [DONE] ", b"data: DONE"),
        *(b"event: x\ndata: [DONE]", b"event: ping\ndata: [DONE]"),
    ],
)
def test_ends_at_done_and_at_what_is_written_for_it(sent: bytes) -> None:
    read = Read([frame(CHUNK) + sent + b"\n\ndata: {late\n\n", b"late"], framed=False)
    assert read.error is None
    assert len(read.events) == read.fed == 1
    assert read.protocol.ended is True


def test_takes_chunks_of_one_event_for_several() -> None:
    two = b"data: " + json.dumps(CHUNK).encode() + b"\ndata: " + json.dumps(LAST).encode() + b"\n\n"
    read = Read([two + frame(LAST)])
    assert read.error is None
    assert [event.to_dict() for event in read.events] == [CHUNK, LAST, LAST]
    read = Read([b'data: {"a": 1}\ndata: {"error": "sk-1"}\n\n'])
    assert [event.to_dict() for event in read.events] == [{"a": 1}]
    assert read.said == SAID
    read = Read([b'data: {"usage": {"a": 1}}\ndata: [DONE]\n\n' + frame(CHUNK)])
    assert [event.to_dict() for event in read.events] == [{"usage": {"a": 1}}]
    assert read.protocol.ended is True


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (b"data: pong\n\n", StreamDecodeError, f"{NO_JSON}: Expecting value: line 1 column 1"),
        (b'data: {"a":\ndata: 5\n\n', StreamDecodeError, f"{NO_JSON}: Expecting ',' delimiter"),
        (b'event: x\ndata: {"a"\n\n', StreamDecodeError, f"{NO_JSON}: Expecting ':' delimiter"),
        (b"event: x\ndata: [1\n\n", StreamDecodeError, f"{NO_JSON}: Expecting ',' delimiter"),
        (b"data: 5\n\n", StreamDecodeError, f"{NO_OBJECT}a number"),
        (b'data: "x"\n\n', StreamDecodeError, f"{NO_OBJECT}a string"),
        (b"data: []\n\n", StreamDecodeError, f"{NO_OBJECT}an array"),
        (b"event: chat.completion.chunk\ndata: 5\n\n", StreamDecodeError, f"{NO_OBJECT}a number"),
        (b"data: \xff\n\n", StreamDecodeError,
         "the server sent an event that is not UTF-8: invalid start byte"),
        (b"data: error: sk-1\n\n", StreamAPIError, SAID.replace("***", "error: ***")),
        (b"data: ERROR\n\n", StreamAPIError, SAID.replace("***", "ERROR")),
        (b'data: [{"error": "sk-1"}]\n\n', StreamAPIError, SAID),
        (b'data: {"code": 5, "message": "sk-1"}\n\n', StreamAPIError, f"{SAID} (5)"),
        (b'data: {"error": "sk-1"}\n\n', StreamAPIError, SAID),
        (b'data: {"error": "sk-1", "choices": []}\n\n', StreamAPIError, SAID),
        (b'data: {"choices": [\ndata: x\ndata: {"error": "sk-1"}\n\n', StreamAPIError, SAID),
        (b'data: {"choices": [{"finish_reason": "abort"}]}\n\n', StreamAPIError,
         SAID.replace("***", "finish_reason 'abort'")),
        (b"event: error\ndata: sk-1\n\n", StreamAPIError, SAID),
        (b'event:  ERROR \ndata: {"message": "sk-1"}\n\n', StreamAPIError, SAID),
        (b"event: error\ndata: [DONE]\n\n", StreamAPIError, NO_WORDS),
        (b"event: error\n\n", StreamAPIError, NO_WORDS),
        (b'event: x\ndata: {"error": "sk-1"}\n\n', StreamAPIError, SAID),
        (b"error: sk-1\n\n", StreamAPIError, SAID),
        (b'error: {"message": "sk-1"}\n\n', StreamAPIError, SAID),
        (b'{"error": "sk-1"}\n\n', StreamAPIError, SAID),
        (b"error: sk-1\xe4\n\n", StreamAPIError, SAID + "\ufffd"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(sent: bytes, kind: type[OpenAIStreamError], said: str) -> None:
    for before in (b"", frame(CHUNK)):
        read = Read([before, sent] if before else [sent])
        assert type(read.error) is kind
        assert read.said.startswith(said)
        assert len(read.said) == len(said) or kind is StreamDecodeError
        assert read.protocol.events == len(read.events) == bool(before)
        if isinstance(read.error, StreamAPIError):
            assert KEY not in json.dumps(read.error.body)


def test_adds_up_the_chunk_that_says_that_the_server_failed() -> None:
    failed = {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "error"}]}
    for before, text in (([], "b"), ([frame(CHUNK)], "ab")):
        told: list[int] = []
        read = Read([*before, frame(failed)], on_first=lambda told=told: told.append(1))
        assert type(read.error) is StreamAPIError
        assert read.accumulator.snapshot()["choices"][0]["message"]["content"] == text
        assert len(told) == len(before)


@pytest.mark.parametrize(
    ("name", "said", "ours"),
    [
        ("", {"type": "x"}, True),
        ("x", {"type": "x"}, False),
        ("x", {"type": 5, "object": ["chat.completion"]}, False),
        ("x", {"object": "chat.completion.chunk"}, True),
        ("x", {"type": "chat.completion.x"}, True),
        ("x", {"usage": {"total_tokens": 1}}, True),
        ("x", {"choices": []}, True),
        ("chat.completion.chunk", {}, True),
    ],
)
def test_adds_up_what_is_of_the_answer(name: str, said: JSON, ours: bool) -> None:
    told: list[int] = []
    read = Read(
        [frame({**said, "id": "c9"}, event=name or None), frame(LAST)],
        on_first=lambda: told.append(1),
    )
    assert read.error is None
    assert told == [1]
    assert (read.accumulator.snapshot().get("id") == "c9") is ours


def test_an_answer_beside_the_events_is_none_of_theirs() -> None:
    failed = json.dumps({**WHOLE, "error": KEY}).encode() + b"\n\n"
    for before in ([], [frame(CHUNK)]):
        read = Read([*before, b": x\n\n" + failed])
        assert type(read.error) is StreamAPIError
        assert (read.error.snapshot is None) is bool(before)


def test_hides_keys_in_what_the_parser_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Read([b"event: sk-1\ndata: {}\n\n"])
    assert "***" in caplog.text
    assert KEY not in caplog.text


def test_is_asked_for_the_end_before_it_has_come() -> None:
    protocol = StreamProtocol(ANY, ANY.accumulator(), 1000)
    list(protocol.feed(b"data: 1\n\n"))
    with pytest.raises(StreamInterruptedError):
        protocol.finish()


def test_drops_events_that_came_before() -> None:
    looked: list[Any] = []

    def look(data: Any) -> bool:
        looked.append(data)
        return bool(data == CHUNK)

    read = Read([frame(CHUNK) + frame(CHUNK) + frame(LAST)], look=look)
    assert looked == [CHUNK, CHUNK, LAST]
    assert [event.to_dict() for event in read.events] == [LAST]
    assert (read.protocol.events, read.protocol.empty) == (1, 2)


# Other endpoints ------------------------------------------------------------------------------

CREATED: JSON = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_ends_with_the_last_event_of_a_response(status: str) -> None:
    last = {"type": f"response.{status}", "response": {"id": "r", "status": status}}
    read = Read([frame(CREATED) + frame(last) + b"data: late\n\n", b"late"], RESPONSES)
    assert read.error is None
    assert [event.to_dict() for event in read.events] == [CREATED, last]
    assert read.fed == 1


@pytest.mark.parametrize(
    "last",
    [
        {"type": "response.failed", "response": {"status": "failed", "error": {"message": KEY}}},
        {"type": "response.completed", "response": {"status": "failed", "error": KEY}},
        {"type": "response.done", "response": {"status": "cancelled", "error": {"message": KEY}}},
        {"type": "error", "message": KEY},
        {"type": "response.output_text.delta", "error": {"message": KEY}},
        {"code": 5, "message": KEY},
    ],
)
def test_a_response_that_failed_is_an_error(last: JSON) -> None:
    read = Read([frame(CREATED) + frame(last)], RESPONSES)
    assert type(read.error) is StreamAPIError
    assert read.said.startswith(SAID)
    assert [event.to_dict() for event in read.events] == [CREATED]


def test_done_completes_no_response() -> None:
    read = Read([frame(CREATED) + b"data: [DONE]\n\n"], RESPONSES)
    assert type(read.error) is StreamInterruptedError
    assert read.said == CUT.format("1 event")


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b"data: 5\n\n", [5]),
        (b"data: null\n\n", [None]),
        (b"data: []\n\n", [[]]),
        (b'event: x\ndata: {"type": "ping"}\n\n', [{"type": "ping"}]),
        (b'data: {"detail": "x"}\n\n', [{"detail": "x"}]),
        (b"data: \n\n", []),
    ],
)
def test_gives_all_that_an_unknown_endpoint_streams(sent: bytes, data: list[Any]) -> None:
    read = Read([sent + b'data: "end"\n\n'], ANY)
    assert read.error is None
    assert [event.data for event in read.events] == [*data, "end"]


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (b"data: error\n\n", StreamDecodeError, NO_JSON),
        (b'data: {"a":\ndata: {"error": "sk-1"}\n\n', StreamDecodeError, NO_JSON),
        (b"data: {}\ndata: {}\n\n", StreamDecodeError, NO_JSON),
        (b'data: {"error": "sk-1"}\n\n', StreamAPIError, SAID),
        (b'data: [{"error": "sk-1"}]\n\n', StreamAPIError, SAID),
        (b"event: error\ndata: sk-1\n\n", StreamAPIError, SAID),
    ],
)
def test_guesses_nothing_at_an_unknown_endpoint(
    sent: bytes, kind: type[OpenAIStreamError], said: str
) -> None:
    read = Read([sent], ANY)
    assert type(read.error) is kind
    assert read.said.startswith(said)


# The end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "sent", "framed", "said"),
    [
        (CHAT_COMPLETIONS, b"", True, EMPTY),
        (CHAT_COMPLETIONS, b"nothing\n\n", True, EMPTY),
        (CHAT_COMPLETIONS, frame(CHUNK), True, CUT.format("1 event")),
        (CHAT_COMPLETIONS, frame(CHUNK) * 2, True, CUT.format("2 events")),
        (CHAT_COMPLETIONS, frame(CHUNK) + frame(LAST), False, ""),
        (CHAT_COMPLETIONS, frame(CHUNK) + frame(LAST)[:-2], True, ""),
        (CHAT_COMPLETIONS, frame(CHUNK) + frame(LAST)[:-2], False, CUT.format("1 event")),
        (COMPLETIONS, b"", True, EMPTY),
        (RESPONSES, b"data: [DONE]\n\n", True, EMPTY),
        (ANY, b"data: 1\n\n", True, ""),
        (ANY, b"data: 1\n\n", False, CUT.format("1 event")),
        (ANY, b"data: 1\n\ndata: 2", True, CUT.format("1 event")),
    ],
)
def test_knows_whether_the_end_is_one(
    endpoint: Endpoint[Any, Any], sent: bytes, framed: bool, said: str
) -> None:
    read = Read([sent] if sent else [], endpoint, framed=framed)
    assert type(read.error) is (StreamInterruptedError if said else type(None))
    assert read.said == said


@pytest.mark.parametrize("sent", [b"<html>", b"\n {no", b"[no", b'{"a": 1}'])
def test_something_else_than_an_event_stream(sent: bytes) -> None:
    read = Read([sent])
    assert type(read.error) is StreamDecodeError
    assert read.error.lasting is True
    assert read.said == (
        "the server answered with something else than an event stream; it begins with "
        f"{sent.lstrip()[:1].decode()!r}: is the base URL right?"
    )


# What it is called ----------------------------------------------------------------------------

WHOLE: JSON = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
}
PAGE = (
    "the server answered with a page ({}) instead of an event stream: is the base URL right, and "
    "does it end in /v1 where the server wants that?"
)
JSON_INSTEAD = "the server answered with JSON{} instead of an event stream"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("text/html", "text/html"),
        ("Application/XHTML+xml; charset=utf-8; x", "application/xhtml+xml"),
        ("application/xml ", "application/xml"),
        ("text/xml", "text/xml"),
    ],
)
def test_a_page_is_one_from_its_beginning(kind: str, shown: str) -> None:
    for sent in (b"<html>" * 20, b"no field: at all, but a very long text of one line, of a page"):
        read = Read([sent, b"more"], kind=kind)
        assert type(read.error) is StreamDecodeError
        assert read.error.lasting is True
        assert read.said == PAGE.format(shown)
        assert read.fed == 0
    assert Read([], kind=kind).said == Read([b"e"], kind=kind).said == PAGE.format(shown)
    assert Read([b"event: x\n\n" + frame(LAST)], kind=kind).error is None


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("application/json", " (application/json)"),
        ("application/sk-1.problem+json; a", " (application/***.problem+json)"),
        ("", ""),
        ("application/jsonl", ""),
    ],
)
def test_json_is_read_to_its_end_whatever_it_is_called(kind: str, shown: str) -> None:
    what = JSON_INSTEAD.format(shown)
    for sent in (json.dumps(WHOLE).encode(), json.dumps(WHOLE).encode() + b"\n\ndata: [DONE]\n\n"):
        for blocks in (
            [sent],
            [sent[:9], sent[9:]],
            [sent[at : at + 1] for at in range(len(sent))],
        ):
            read = Read(blocks, kind=kind)
            assert type(read.error) is StreamDecodeError
            assert read.error.lasting is True
            assert read.said == (
                f"{what}: it ignores stream=True. The answer is whole, and is this error's "
                "snapshot; call without stream=True"
            )
            assert read.error.snapshot.to_dict() == WHOLE
    for short in ([], [b"e"], [b"\n"]):
        read = Read(short, kind=kind)
        assert read.said == (f"{what}: is the base URL right?" if shown else EMPTY)
    failed = Read([json.dumps({**WHOLE, "error": {"message": KEY}}).encode()], kind=kind)
    assert type(failed.error) is StreamAPIError
    assert failed.said == SAID
    assert failed.error.snapshot.choices[0].message.content == "Hi"
    words = Read([b'{"message": "sk-1"}'], kind=kind)
    assert type(words.error) is StreamAPIError
    assert words.said == SAID
    assert words.error.snapshot is None
    for sent in (b'{"a": 1}', b"[", b"[\xff]"):
        read = Read([sent], kind=kind)
        assert type(read.error) is StreamDecodeError
        assert read.error.lasting is True
        assert read.said == (f"{what}: is the base URL right?" if shown else read.said)
        assert read.said.endswith("is the base URL right?")
    assert Read([frame(LAST)], kind=kind).error is None


def test_json_is_kept_up_to_the_limit() -> None:
    body = json.dumps(WHOLE).encode()
    refused = JSON_INSTEAD.format(" (application/json)") + ": is the base URL right?"
    too_much = f"the server sent an event of more than {len(body) - 1} bytes"
    for kind, said in (("application/json", refused), ("", too_much)):
        for blocks in ([body[:10], body[10:]], [body[:-1], body[-1:]]):
            read = Read(blocks, kind=kind, limit=len(body))
            assert "ignores stream=True" in read.said
            read = Read(blocks, kind=kind, limit=len(body) - 1)
            assert type(read.error) is StreamDecodeError
            assert read.said.startswith(said)
            assert read.fed == 1


def test_a_body_that_breaks_off_is_no_page_before_it_is_clear() -> None:
    reset = StreamInterruptedError("reset")
    for kind, sent, refused in (
        ("application/json", b'{"half": ', True),
        ("application/json", b"data", False),
        ("application/json", frame(CHUNK), False),
        ("", b'{"half": ', False),
    ):
        protocol = StreamProtocol(ANY, ANY.accumulator(), 1000, kind)
        list(protocol.feed(sent))
        said = str(protocol.broken(reset))
        expected = JSON_INSTEAD.format(f" ({kind})") + ": is the base URL right?"
        assert said == (expected if refused else "reset")


def test_json_of_too_many_objects_is_refused_as_an_answer() -> None:
    body = json.dumps({"more": [{}] * SMALL, "pad": "x" * SMALL}).encode()
    read = Read([body], kind="application/json", limit=len(body))
    assert type(read.error) is StreamDecodeError
    assert re.match(r"the server sent an answer of more than \d+ JSON objects", read.said)
    assert "answers are to be expected" in read.said
