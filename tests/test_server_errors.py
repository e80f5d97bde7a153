"""What a server says when it says no: the rule for whether it does, the reader of what it says, and
the doors through which it comes.
"""

from __future__ import annotations

import email.utils
import gzip
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from faults import ROWS as FAULTS
from helpers import JSON
from quirks import QUIRKS

from openai_stream import (
    DONE,
    Client,
    InternalServerError,
    OpenAIStreamError,
    RateLimitError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
)
from openai_stream.server_errors import api_error, clip, error_fields, retry_after, says_failure
from openai_stream.sse import Frames, begins_event_stream
from openai_stream.testing import (
    Event,
    Fin,
    ScriptedServer,
    Step,
    answer,
    chat_chunks,
    error_answer,
    frame,
    head,
    json_answer,
)

WAIT = 5.0  # seconds, for what takes milliseconds
HELLO = chat_chunks(["Hel", "lo"])
#: Role and the text, without the finish reason.
PART = HELLO[:-1]
END = frame("[DONE]")
CHUNK: JSON = {"id": "c1", "object": "chat.completion.chunk", "model": "m", "created": 1}


def choice(**fields: Any) -> JSON:
    return {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": None, **fields}]}


def read(client: Client) -> tuple[list[JSON], BaseException | None, Any]:
    """The events of a chat completion, what ended it, and its stream."""
    events = client.create_chat_completion(model="m", messages=[], stream=True, nowait=True)
    got: list[JSON] = []
    try:
        while (event := events.get(timeout=WAIT)) is not DONE:
            got.append(event.to_dict())
    except OpenAIStreamError as error:
        return got, error, events.stream
    return got, None, events.stream


def text_of(whole: Any) -> str:
    return (whole.choices[0].message.content or "") if whole.choices else ""


# Is it a failure? -----------------------------------------------------------------------------

VOID: list[Any] = [None, "", {}, [], False, 0, {"message": "", "code": None}, {"a": {"b": []}}]
FAILURES: list[Any] = [
    {"error": {"message": "boom"}},
    {"error": "boom"},
    {"error": True},
    {"error": 500},
    {"error": [1]},
    {"error": {"message": "boom"}, "choices": [{"delta": {"content": "x"}}]},
    {"choices": [{"delta": {}, "error": {"message": "boom"}}]},
    {"choices": [{"delta": {}}, {"delta": {}, "error": "boom"}]},
    *(
        {"choices": [{"finish_reason": reason}]}
        for reason in ("error", "network_error", "insufficient_system_resource", "abort")
    ),
    {"base_resp": {"status_code": 1004, "status_msg": "boom"}},
    {"base_resp": {"status_code": "1004"}, "choices": [{"delta": {"content": "x"}}]},
    {"choices": None, "error_type": "BadRequestError", "error_message": "boom"},
    {"choices": [], "error_message": "boom"},
    {"success": False, "errors": [{"code": 7, "message": "boom"}], "result": None},
    {"success": False, "msg": "boom"},
    {"code": "InvalidParameter", "message": "boom"},
    {"code": 20012, "message": "boom", "data": None},
    {"status": 500, "message": "boom"},
    {"status": "error", "message": "boom"},
    {"statusCode": 502, "message": "boom"},
    {"detail": "boom"},
    {"detail": [{"loc": ["body"], "msg": "boom"}]},
    {"type": "error", "message": "boom"},
    {"object": "error", "message": "boom"},
    {"error_code": 18, "error_msg": "boom"},
    {"error_code": "BAD_REQUEST", "message": "boom"},
    {"object": "response", "status": "failed", "output": []},
    {"status": "failed", "output": [], "error": None},
    {"choices": [{"finish_reason": "ERROR"}]},
    {"errorType": "Runtime.ExitError", "errorMessage": "boom"},
    {"errcode": 40001, "errmsg": "boom"},
    {"Code": "Throttling", "Message": "boom", "RequestId": "r"},
    {"Response": {"Error": {"Code": "AuthFailure", "Message": "boom"}, "RequestId": "r"}},
    {"fault": {"faultstring": "boom", "detail": {"errorcode": "policies.Quota"}}},
    {"internalServerException": {"message": "boom"}},
    {"status": "FAILURE", "message": "boom"},
    *({"status": status, "message": "boom"} for status in ("Failed", "fail", 400, 599)),
    {"object": "response", "status": "failed", "output": [{}]},
    {"error_code": 5},
    {"error_type": "t"},
    {"code": 7, "errors": "boom"},
    {"code": True, "message": "boom"},
    {"Error_Message": "boom"},
    [{"error": {"message": "boom"}}],
]
GOOD_REASONS: tuple[Any, ...] = ("stop", "length", "", None, 5, [])
NO_CODES: tuple[Any, ...] = (False, [], {}, [1], 0.0, 200.0)
NO_FAILURES: list[Any] = [
    *({"error": void} for void in VOID),
    *({"choices": [{"delta": {}, "error": void}]} for void in VOID),
    *({"choices": [{"finish_reason": reason}]} for reason in GOOD_REASONS),
    {"base_resp": {"status_code": 0, "status_msg": "success"}},
    {"base_resp": {"status_code": "0"}},
    {"base_resp": {}},
    {"base_resp": None},
    *({"code": code, "message": "m"} for code in (0, 200, "0", "200", "ok", "success", "OK", None)),
    {"code": 7, "message": "m", "choices": [{"delta": {"content": "x"}}]},
    {"detail": "m", "choices": [{"delta": {"content": "x"}}]},
    {"code": 7, "message": "m", "output": [{}]},
    {"code": 7, "message": "m", "text": "x"},
    {"code": 7},
    {"message": "m"},
    {"errcode": 0, "errmsg": "ok"},
    {"Code": "Success", "Message": "m"},
    {"errorMessage": None, "Error": {}, "fault": ""},
    {"Response": {"Error": None, "RequestId": "r"}},
    {"internalServerException": {"message": ""}},
    *({"status": status, "message": "m"} for status in ("queued", 399, 600, 500.0, True)),
    {"object": "response", "status": "completed", "output": [{}]},
    {"object": "other", "status": "failed", "output": [{}]},
    *({"code": code, "message": "m"} for code in NO_CODES),
    {"error_code": 0, "error_type": ""},
    {"error": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}}},
    {"detail": ""},
    {"success": True, "errors": []},
    {"type": "response.code_interpreter_call_code.done", "code": "1", "message": "m"},
    {"type": "response.created", "response": {"error": None, "status": "in_progress"}},
    {"choices": [], "usage": {"total_tokens": 1}},
    {"choices": [5, None, "error"]},
    {},
    [],
    [{}],
    ["error"],
    [1, {"error": "m"}],
    "error",
    None,
    5,
]


@pytest.mark.parametrize("data", FAILURES, ids=json.dumps)
def test_says_that_it_failed(data: Any) -> None:
    assert says_failure(data)


@pytest.mark.parametrize("data", NO_FAILURES, ids=json.dumps)
def test_does_not_say_that_it_failed(data: Any) -> None:
    assert not says_failure(data)


@pytest.mark.parametrize("data", [{"code": 1, "message": "m"}, {"detail": "m"}], ids=json.dumps)
def test_what_may_mean_anything_is_no_failure_of_an_unknown_endpoint(data: JSON) -> None:
    assert not says_failure(data, known=False)
    assert says_failure({**data, "error": "m"}, known=False)
    assert says_failure({**data, "object": "response", "status": "failed"}, known=False)


@pytest.mark.parametrize("data", [{"message": "m"}, {"Message": "m"}, {"msg": "m", "choices": []}])
def test_a_body_of_a_message_and_nothing_else_is_a_failure(data: JSON) -> None:
    said = "msg" not in data
    assert says_failure(data, body=True) is said
    assert not says_failure(data, body=True, known=False)
    assert not says_failure({**data, "id": "c1"}, body=True)
    assert not says_failure({**data, "choices": [{"message": {"content": "x"}}]}, body=True)


def _data(script: Sequence[Step | bytes]) -> Iterator[Any]:
    """The JSON of a script's events, as far as it can be seen in its bytes."""
    sent = b"".join(step for step in script if isinstance(step, bytes))
    for line in sent.replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            try:
                yield json.loads(line[5:])
            except ValueError:
                continue


def test_answers_that_end_well_hold_no_failure() -> None:
    scripts = [row.script for row in FAULTS if row.error is None]
    scripts += [quirk.script for quirk in QUIRKS if quirk.error is None]
    events = [*itertools.chain.from_iterable(map(_data, scripts))]
    assert len(events) > 1000
    assert [event for event in events if says_failure(event)] == []


# What does it say? ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said", "kind", "code"),
    [
        ({"error": {"message": "m", "type": "t", "code": "c"}}, "m", "t", "c"),
        ({"error": {"error": {"message": "m", "type": "t", "code": 5}}}, "m", "t", "5"),
        ({"error": {"error": {"error": {"message": "m"}}, "code": "c"}}, "m", None, "c"),
        (["m"], "m", None, None),
        ({"msg": "m"}, "m", None, None),
        ({"detail": [{"msg": "m"}]}, "m", None, None),
        ({"detail": {"error": {"message": "m", "code": 3}}}, "m", None, "3"),
        ({"error": 500, "message": "m"}, "m", None, "500"),
        ({"error": True, "message": "m"}, "m", None, None),
        ({"error": "m", "code": 1}, "m", None, "1"),
        ({"error": "rate_limited", "message": "m"}, "m", "rate_limited", None),
        ({"status": 404, "error": "Not Found", "path": "/"}, "Not Found", None, None),
        ({"error_type": "t", "error_message": "m", "choices": None}, "m", "t", None),
        ({"error": {"message": "m", "code": 429, "status": "RESOURCE_EXHAUSTED"}},
         "m", "RESOURCE_EXHAUSTED", "429"),
        ([{"error": {"message": "m", "code": 1.0}}], "m", None, "1"),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, "m", None, "1004"),
        ({"success": False, "errors": [{"code": 7, "message": "m"}]}, "m", None, "7"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
         "m", "overloaded_error", None),
        ({"type": "response.failed", "response": {"status": "failed",
          "error": {"code": "c", "message": "m"}}}, "m", None, "c"),
        ({"choices": [{"finish_reason": "error", "error": {"message": "m", "code": 502}}]},
         "m", None, "502"),
        ({"choices": [{"finish_reason": "abort"}]}, "finish_reason 'abort'", None, None),
        ({"error": {"message": "Provider returned error", "code": 429,
          "metadata": {"raw": '{"error": {"message": "m", "type": "t"}}'}}},
         "Provider returned error: m", "t", "429"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "m"}}},
         "Provider returned error: m", None, None),
        ({"error": {"message": {"message": "m"}}}, "m", None, None),
        ({"error": {"message": ["m", 5, None]}}, "m", None, None),
        ({"errors": "m"}, "m", None, None),
        ({"code": 400, "details": "m"}, "m", None, "400"),
        ({"error": True, "reason": "m"}, "m", None, None),
        ({"error": "invalid_token", "error_description": "m"}, "m", "invalid_token", None),
        ({"errorType": "t", "errorMessage": "m"}, "m", "t", None),
        ({"Response": {"Error": {"Code": "c", "Message": "m"}}}, "m", None, "c"),
        ({"fault": {"faultstring": "m", "detail": {"errorcode": "c"}}}, "m", None, None),
        ({"throttlingException": {"message": "m"}}, "m", None, None),
        ({"message": "m", "Message": "n"}, "m", None, None),
        ({"title": "m", "status": 403}, "m", None, None),
        ({"error": {"code": [1], "type": {"a": 1}, "message": 5}}, None, None, None),
        ({"error": {"code": True, "type": 5}}, None, None, None),
        ({"error": [1, [2, [3]]]}, None, None, None),
        ({"error": '{"error": {"message": "m", "code": 5}}'}, "m", None, "5"),
        ({"message": ' ["m", {"type": "t"}]'}, "m", "t", None),
        ({"error": "{}"}, "{}", None, None),
        ({"error": "{m"}, "{m", None, None),
        (["a", "b", "c", "d"], "a: b: c", None, None),
        ({"message": ["a", "b", "c"], "msg": "d"}, "a: b: c", None, None),
        ({"error": {"message": "a long m"}, "message": "m"}, "a long m", None, None),
        ({"error": {"message": " "}, "detail": "m"}, "m", None, None),
        ({"__type": "ThrottlingException", "message": "m"}, "m", "ThrottlingException", None),
        ({"type": "", "__type": "t", "message": "m"}, "m", "t", None),
        ({"type": "error", "__type": "t", "message": "m"}, "m", "t", None),
        ({"error": "Not Found", "message": "m"}, "Not Found: m", None, None),
        ({"choices": [5, {"error": {"message": "m"}}]}, "m", None, None),
        ("m", "m", None, None),
        (" ", None, None, None),
        (None, None, None, None),
        (5, None, None, None),
    ],
)  # fmt: skip
def test_reads_the_words_the_type_and_the_code(
    body: Any, said: str | None, kind: str | None, code: str | None
) -> None:
    assert error_fields(body) == (said, kind, code)


def test_reads_no_deeper_than_anybody_says_anything() -> None:
    deep: Any = {"message": "m"}
    for _ in range(500):
        deep = {"error": deep}
    assert error_fields(deep) == (None, None, None)
    assert says_failure(deep)
    assert error_fields({"error": [[[[[[[[[[[["m"]]]]]]]]]]]]}) == (None, None, None)


@pytest.mark.parametrize("where", ["error", "message", "details", "response"])
def test_reads_eight_levels(where: str) -> None:
    assert _levels(lambda inner: {where: inner}) == 8


def test_reads_eight_levels_of_lists_choices_and_others_errors() -> None:
    assert _levels(lambda inner: [inner]) == 8
    assert _levels(lambda inner: {"choices": [{"error": inner}]}) == 8
    assert _levels(lambda inner: {"metadata": {"raw": inner}}) == 8
    assert _levels(lambda inner: {"message": json.dumps(inner)}) == 4  # and as many of text


def _levels(within: Callable[[Any], Any]) -> int:
    """How deep the words may be."""
    said: Any = {"message": "m"}
    for level in itertools.count(1):
        if error_fields(said)[0] != "m":
            return level - 1
        said = within(said)
    raise AssertionError


def test_a_message_has_no_control_characters() -> None:
    assert clip("a\x00b\x1b[31mc\ud83d \n d") == "ab[31mc d"


@pytest.mark.parametrize(
    ("text", "length", "clipped"),
    [
        ("a" * 500, 500, "a" * 500),
        ("a" * 501, 500, "a" * 499 + "…"),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        (" a \t\n b ", 3, "a b"),
        (" " * 11 + "ab", 3, "a"),  # no more is looked at than four times as much
        ("", 3, ""),
    ],
)
def test_a_message_is_short_and_on_one_line(text: str, length: int, clipped: str) -> None:
    assert clip(text, length) == clipped


def test_a_message_has_500_characters_at_most() -> None:
    assert clip("a" * 501) == clip("a" * 501, 500)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": {"message": "m", "type": "t"}}, "m (t)"),
        ({"error": {"message": "m", "code": "c"}}, "m (c)"),
        ({"error": {"message": "m", "type": "t", "code": 5}}, "m (t, 5)"),
        ({"error": {"type": "t"}}, "without a message (t)"),
        ({"error": {"message": "m" * 501}}, "m" * 499 + "…"),
        ({"error": {"message": "m", "type": "t" * 101}}, f"m ({'t' * 99}…)"),
        ("m", "m"),
        (None, "without a message"),
    ],
)
def test_an_error_says_what_the_server_said_and_names_it(body: Any, said: str) -> None:
    error = api_error(body, str)
    assert str(error) == f"the server sent an error in its answer: {said}"
    assert error.body == body
    assert (error.type, error.code) == error_fields(body)[1:]
    assert error.snapshot is None


def test_an_error_has_no_secrets_and_the_callers_snapshot() -> None:
    body = {"error": {"message": "of sk-1", "type": "t-sk-1", "code": "c-sk-1"}, "sk-1": ["sk-1"]}
    error = api_error(body, lambda text: text.replace("sk-1", "***"), "what had come")
    assert str(error).endswith(": of *** (t-***, c-***)")
    assert (error.type, error.code) == ("t-***", "c-***")
    assert error.body == json.loads(json.dumps(body).replace("sk-1", "***"))
    assert error.snapshot == "what had come"


def test_an_error_that_is_nested_too_deep_says_nothing() -> None:
    deep: Any = {"message": "m"}
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    error = api_error(deep, str)
    assert str(error) == "the server sent an error in its answer: without a message"
    assert error.body is None


# The doors ------------------------------------------------------------------------------------

BOOM = {"error": {"message": "boom"}}
BARE = json.dumps(BOOM).encode()
PRETTY = json.dumps(BOOM, indent=2).encode()

#: What comes instead of the rest of an answer.
SAID: dict[str, list[Event]] = {
    "a field": [b'error: {"message":"boom"}\n\n'],
    "a field of the whole body": [b"error: " + BARE + b"\n\n"],
    "a field in capitals": [b'Error: {"message":"boom"}\n\n'],
    "a field of text": [b"error: boom\n\n"],
    "a field without a space": [b"error:boom\n\n"],
    "a field with an id before it": [b"id: 5\nerror: boom\n\n"],
    "a field behind a comment": [b": x\nerror: boom\n\n"],
    "a bare line": [BARE + b"\n\n"],
    "a bare line in an event's frame": [b": x\n" + BARE + b'\ndata: {"usage":{}}\n\n'],
    "a bare line, indented": [b"  " + BARE + b"\n\n"],
    "bare lines": [PRETTY + b"\n\n"],
    "a bare list": [b"[" + BARE + b"]\n\n"],
    "a bare line of other names": [b'{"detail": "boom"}\n\n'],
    "an event with its data behind it": [b"event: error\n\n", b'data: {"message":"boom"}\n\n'],
    "an event with a comment before its data": [b"event: error\n\n: x\n\n", b"data: boom\n\n"],
    "an event whose data has another name": [b"event: error\n\n", b"event: x\ndata: boom\n\n"],
    "an event whose data is a bare line": [b'event: error\n{"message":"boom"}\n\n'],
    "an event in capitals": [b'event: ERROR\ndata: {"message":"boom"}\n\n'],
    "an event with spaces around its name": [b"event:  Error \ndata: boom\n\n"],
    "an event of text": [b"event: error\ndata: boom\n\n"],
    "a list": [b"data: [" + BARE + b"]\n\n"],
    "other names, without choices": [
        {"choices": None, "error_type": "BadRequestError", "error_message": "boom"}
    ],
    "a base_resp": [{"choices": None, "base_resp": {"status_code": 1004, "status_msg": "boom"}}],
    "errors": [{"success": False, "errors": [{"message": "boom"}]}],
    "a code and a message": [{"code": "Throttling", "message": "boom", "request_id": "r"}],
    "a detail": [{"detail": "boom"}],
    "a type": [{"type": "error", "message": "boom"}],
    "beside a finish reason": [choice(finish_reason="error", error={"message": "boom"})],
    "beside a good finish reason": [choice(finish_reason="stop", error={"message": "boom"})],
    "in a choice alone": [choice(error={"message": "boom"})],
    "beside choices": [{**choice(), "error": {"message": "boom"}}],
    "under a foreign name": [frame(BOOM, event="vendor.failed")],
}


@pytest.mark.parametrize("place", ["first", "later", "at the end"])
@pytest.mark.parametrize("behind", ["[DONE]", "nothing"])
@pytest.mark.parametrize("name", SAID)
def test_an_answer_in_which_the_server_failed_is_an_error(
    server: ScriptedServer, client: Client, name: str, behind: str, place: str
) -> None:
    before: list[JSON] = {"first": [], "later": [*PART], "at the end": [*HELLO]}[place]
    server.play(answer([*before, *SAID[name]], done=behind == "[DONE]"))
    got, error, stream = read(client)
    assert got == before
    assert type(error) is StreamAPIError
    assert "boom" in str(error)
    assert text_of(error.snapshot) == ("Hello" if before else "")
    assert stream.stats.events == len(before)


@pytest.mark.parametrize("line", [b"error: boom", BARE, b'data: {"error": "boom"}'])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_an_error_without_its_blank_line(
    server: ScriptedServer, client: Client, line: bytes, end: bytes
) -> None:
    server.play(answer([*PART, line + end], done=False))
    got, error, _ = read(client)
    assert got == PART
    assert type(error) is StreamAPIError
    assert "boom" in str(error)


@pytest.mark.parametrize(
    "sent",
    [
        [*PART, b"event: error\n\n", END],
        [*PART, b"event: error\n\n"],
        [*PART, b"event: error\ndata: [DONE]\n\n"],
        [*PART, choice(finish_reason="abort"), END],
        [*PART, choice(finish_reason="network_error")],
    ],
    ids=["no data", "nothing behind it", "[DONE]", "abort", "network_error"],
)
def test_an_error_without_words(server: ScriptedServer, client: Client, sent: list[Event]) -> None:
    server.play(answer(sent, done=False))
    got, error, _ = read(client)
    assert got == PART
    assert type(error) is StreamAPIError


def test_the_failing_chunk_is_in_the_snapshot(server: ScriptedServer, client: Client) -> None:
    last = choice(delta={"content": "!"}, finish_reason="error", error={"message": "boom"})
    server.play(answer([*PART, last]))
    got, error, stream = read(client)
    assert got == PART
    assert isinstance(error, StreamAPIError)
    assert text_of(error.snapshot) == "Hello!"
    assert error.snapshot.choices[0].finish_reason == "error"
    assert stream.snapshot() == error.snapshot


@pytest.mark.parametrize(
    "line",
    [
        b"error: null\n\n",
        b"error: {}\n\n",
        b"error:\n\n",
        b"error\n\n",
        b"errors: boom\n\n",
        b": error: boom\n\n",
        b'{"status": "ok"}\n\n',
        b'{"error": null}\n\n',
        b"{ no JSON\n\n",
        b"id: error: boom\n\n",
        b"retry: error\n\n",
    ],
)
@pytest.mark.parametrize("own_frame", [True, False])
def test_what_stands_beside_the_events_and_is_no_error(
    server: ScriptedServer, client: Client, line: bytes, own_frame: bool
) -> None:
    middle = [line, frame(HELLO[1])] if own_frame else [line.rstrip() + b"\n" + frame(HELLO[1])]
    server.play(answer([HELLO[0], *middle, *HELLO[2:]]))
    got, error, _ = read(client)
    assert error is None
    assert got == HELLO


def test_an_error_field_beside_data_comes_after_it(server: ScriptedServer, client: Client) -> None:
    both = frame(PART[1]).rstrip() + b"\nerror: boom\n\n"
    server.play(answer([PART[0], both, *HELLO[2:]]))
    got, error, _ = read(client)
    assert got == PART[:2]
    assert type(error) is StreamAPIError


def test_an_error_and_a_finish_reason_and_done(server: ScriptedServer, client: Client) -> None:
    every = {**choice(finish_reason="stop", error="boom"), "error": {"message": "bang"}}
    server.play(answer([*PART, every, b"error: late\n\n"]))
    got, error, _ = read(client)
    assert got == PART
    assert isinstance(error, StreamAPIError)
    assert "bang" in str(error)
    assert "boom" in str(error)
    assert "late" not in str(error)


@pytest.mark.parametrize("code", [0, 7, -1, 1.5, 1e400, "x", "", True, None, [], {}, [1], {"a": 1}])
def test_a_code_of_any_type(server: ScriptedServer, client: Client, code: Any) -> None:
    text = json.dumps({"error": {"message": "boom", "code": code}}).replace("Infinity", "1e400")
    server.play(answer([b"data: " + text.encode() + b"\n\n"]))
    _, error, _ = read(client)
    assert isinstance(error, StreamAPIError)
    assert error.code is None or isinstance(error.code, str)


# Without stream, and JSON instead of a stream -------------------------------------------------

WHOLE = {
    **CHUNK,
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
}
BODIES: list[Any] = [
    BOOM,
    {"error": {"error": {"message": "boom"}}},
    {"error": "boom", "code": 1},
    {"error": 500, "message": "boom"},
    [BOOM],
    {"detail": [{"msg": "boom"}]},
    {"base_resp": {"status_code": 1004, "status_msg": "boom"}, "choices": None},
    {"success": False, "errors": [{"message": "boom"}]},
    {"code": "InvalidApiKey", "message": "boom"},
    {**WHOLE, "error": {"message": "boom"}},
    {**WHOLE, "choices": [{**WHOLE["choices"][0], "error": {"message": "boom"}}]},
]


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain", None])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_body_that_says_that_the_server_failed(
    server: ScriptedServer, client: Client, body: Any, kind: str | None, framing: Any
) -> None:
    sent = json.dumps(body).encode()
    server.play(answer([sent], done=False, content_type=kind, framing=framing))
    got, error, _ = read(client)
    assert got == []
    assert type(error) is StreamAPIError
    assert "boom" in str(error)
    assert error.body == body
    assert text_of(error.snapshot) == ("Hi" if "object" in body else "")


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
def test_a_body_that_says_so_without_stream(
    server: ScriptedServer, client: Client, body: Any
) -> None:
    server.play(json_answer(body))
    with pytest.raises(StreamAPIError, match="boom") as caught:
        client.create_chat_completion(model="m", messages=[])
    assert caught.value.body == body
    assert (caught.value.snapshot is None) == ("object" not in body)


@pytest.mark.parametrize("more", [{"error": None}, {"error": {}}, {"code": 200, "message": "ok"}])
def test_a_good_body_stays_one_without_stream(
    server: ScriptedServer, client: Client, more: JSON
) -> None:
    body = {**WHOLE, **more, "base_resp": {"status_code": 0}}
    server.play(json_answer(body))
    assert client.create_chat_completion(model="m", messages=[]).to_dict() == body


def test_a_failed_response_without_stream(server: ScriptedServer, client: Client) -> None:
    error = {"code": "server_error", "message": "boom"}
    body = {"id": "r", "object": "response", "status": "failed", "error": error, "output": []}
    server.play(json_answer(body))
    with pytest.raises(StreamAPIError, match="boom") as caught:
        client.create_response(model="m", input="x")
    assert caught.value.code == "server_error"
    assert caught.value.snapshot.to_dict() == body


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", None])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\n\n", b"\n\ndata: [DONE]\n\n"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_answer_under_any_label(
    server: ScriptedServer, client: Client, kind: str | None, behind: bytes, indent: int | None
) -> None:
    sent = b"\n" + json.dumps(WHOLE, indent=indent).encode() + behind
    server.play(answer([sent], done=False, content_type=kind, bytes_per_chunk=7))
    got, error, _ = read(client)
    assert got == []
    assert type(error) is StreamDecodeError
    assert "ignores stream=True" in str(error)
    assert error.snapshot.to_dict() == WHOLE


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/stream+json"])
def test_a_stream_under_any_label_is_read_byte_by_byte(
    server: ScriptedServer, client: Client, kind: str
) -> None:
    server.play(answer(HELLO, content_type=kind, bytes_per_chunk=1))
    got, error, _ = read(client)
    assert error is None
    assert got == HELLO


@pytest.mark.parametrize(
    "start", ["data: x", "event : x", "id: 1", "retry", "Error: x", ": x", " data:"]
)
def test_sees_an_event_stream_however_it_is_cut(start: str) -> None:
    stream = start.encode() + b"\n\n"
    for at in range(1, len(start)):
        frames = Frames(1000)
        opening = frames.open(stream[:at]) or frames.open(stream[at:])
        assert begins_event_stream(opening)


def test_a_page_that_only_begins_like_a_field_is_refused(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer([b"database error"], done=False, content_type="text/html"))
    _, error, _ = read(client)
    assert type(error) is StreamDecodeError


# The end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_usage_in_a_last_event_without_its_blank_line(
    server: ScriptedServer, client: Client, framing: Any
) -> None:
    usage = {**CHUNK, "choices": [], "usage": {"total_tokens": 3}}
    last = frame(usage).rstrip()
    server.play(answer([*HELLO, last], done=False, framing=framing))
    got, error, stream = read(client)
    assert error is None
    assert got == [*HELLO, usage]
    assert stream.result().usage.total_tokens == 3


@pytest.mark.parametrize(
    "last",
    [b"data: 12", b'data: "x"', b"data: null", b"data: true", b'data: {"a": 1', b"data: [DO", b"x"],
)
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_last_event_that_may_be_cut_does_not_count(
    server: ScriptedServer, client: Client, last: bytes, framing: Any
) -> None:
    server.play(answer([*PART, last], done=False, framing=framing))
    got, error, _ = read(client)
    assert got == PART
    assert type(error) is StreamInterruptedError


@pytest.mark.parametrize("body", [frame(HELLO[-1]).rstrip(), END.rstrip(), frame(BOOM).rstrip()])
def test_a_last_event_of_a_body_without_an_end_does_not_count(
    server: ScriptedServer, client: Client, body: bytes
) -> None:
    server.play(answer([*PART, body], done=False, framing="close"))
    got, error, _ = read(client)
    assert got == PART
    assert type(error) is StreamInterruptedError


def test_a_last_event_of_a_body_that_was_cut_does_not_count(
    server: ScriptedServer, client: Client
) -> None:
    script = answer([*PART, frame(HELLO[-1]).rstrip()], done=False)
    server.play([*script[:-1], Fin()])
    got, error, _ = read(client)
    assert got == PART
    assert type(error) is StreamInterruptedError


# Foreign names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [{"id": "call_9", "object": "x.progress", "model": "zzz"}, {}, {"type": "error", "code": 5}],
    ids=json.dumps,
)
def test_a_foreign_event_is_no_part_of_the_answer(
    server: ScriptedServer, client: Client, data: JSON
) -> None:
    server.play(
        answer([HELLO[0], frame({**data, "more": 1}, event="vendor.tool.progress"), *HELLO[1:]])
    )
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    got = list(events)
    assert [event.to_dict() for event in got] == [HELLO[0], {**data, "more": 1}, *HELLO[1:]]
    assert got[1].extra["more"] == 1
    whole = events.stream.result(WAIT)
    server.play(answer(HELLO))
    plain = client.create_chat_completion(model="m", messages=[], stream=True).stream.result(WAIT)
    assert whole.to_dict() == plain.to_dict()
    assert events.stream.stats.events == len(HELLO) + 1


@pytest.mark.parametrize("text", ["working on it", "12", "null", '"x"', "[1]", ""])
def test_text_under_a_foreign_name_is_a_keep_alive(
    server: ScriptedServer, client: Client, text: str
) -> None:
    sent = f"event: vendor.status\ndata: {text}\n\n".encode()
    server.play(answer([HELLO[0], sent, *HELLO[1:]]))
    got, error, stream = read(client)
    assert error is None
    assert got == HELLO
    assert stream.stats.keep_alives == 1


def test_a_chunk_under_a_foreign_name_is_one(server: ScriptedServer, client: Client) -> None:
    usage = {"usage": {"total_tokens": 3}}
    sent = [frame(one, event="completion") for one in (*HELLO, usage)]
    server.play(answer(sent))
    got, error, stream = read(client)
    assert error is None
    assert got == [*HELLO, usage]
    assert text_of(stream.result()) == "Hello"
    assert stream.result().usage.total_tokens == 3


def test_a_broken_chunk_under_a_foreign_name_is_an_error(
    server: ScriptedServer, client: Client
) -> None:
    server.play(answer([HELLO[0], b'event: completion\ndata: {"choices": [{\n\n', *HELLO[1:]]))
    _, error, _ = read(client)
    assert type(error) is StreamDecodeError


# A status -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "100", "retry-after": "7"}, 0.1),
        *(
            ({name: value}, None)
            for name in ("retry-after", "retry-after-ms")
            for value in ("nan", "-10", "inf", "1e3", "0x5", "1_0", "", "soon", "٣", "5 s")
        ),
        *(({"retry-after-ms": value, "retry-after": "7"}, 7) for value in ("nan", "-10", "inf")),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_time_to_come(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_is_as_far_away_as_the_clock_says() -> None:
    for zone in (True, False):  # "GMT" and "-0000"
        date = email.utils.formatdate(time.time() + 100, usegmt=zone)
        seconds = retry_after({"retry-after": date})
        assert seconds is not None
        assert 50 < seconds <= 100


@pytest.mark.parametrize(("seconds", "left"), [(-1, None), (0, None), (1, 1.0), (2, 2.0)])
def test_a_date_that_is_now_has_passed(
    monkeypatch: pytest.MonkeyPatch, seconds: int, left: float | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    date = email.utils.formatdate(1_800_000_000 + seconds, usegmt=True)
    assert retry_after({"retry-after": date}) == left


@pytest.mark.parametrize("year", ["99999", "0", "9" * 30])
def test_a_date_beyond_the_calendar_is_none(year: str) -> None:
    assert retry_after({"retry-after": f"Wed, 21 Oct {year} 07:28:00 GMT"}) is None


PAGE = (
    b"<!DOCTYPE html>\n<html><head><style>body { color: red }</style>"
    b"<title>\n 520: Web server is &amp; unknown </title></head><body>Ray ID: 7</body></html>"
)


@pytest.mark.parametrize("status", [520, 521, 522, 523, 524, 529, 530])
def test_a_gateways_statuses_are_tried_again(
    server: ScriptedServer, client: Client, status: int
) -> None:
    client.max_retries = 1
    headers = {"Content-Type": "text/html", "Content-Length": str(len(PAGE)), "retry-after-ms": "1"}
    server.play([head(status, headers), PAGE], answer(HELLO))
    _, error, _ = read(client)
    assert error is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("page", [PAGE, PAGE.replace(b"<title>", b"<p>"), b"<html>" + b"x" * 9999])
def test_of_a_page_only_the_title_is_said(
    server: ScriptedServer, client: Client, page: bytes
) -> None:
    server.play([head(520, {"Content-Length": str(len(page))}), page])
    _, error, _ = read(client)
    assert isinstance(error, InternalServerError)
    assert ("520: Web server is & unknown" in str(error)) == (page is PAGE)
    assert "<" not in str(error)
    assert "color" not in str(error)
    assert error.body == page.decode()


@pytest.mark.parametrize("coding", ["br", "gzip, x", "none", None])
def test_a_message_has_no_unreadable_bytes(
    server: ScriptedServer, client: Client, coding: str | None
) -> None:
    body = gzip.compress(b"nobody can read this" * 5)
    headers = {"Content-Length": str(len(body)), **({"Content-Encoding": coding} if coding else {})}
    server.play([head(500, headers), body])
    _, error, _ = read(client)
    assert isinstance(error, InternalServerError)
    assert str(error).isprintable()
    assert "\ufffd" not in str(error)


def test_a_text_in_another_encoding_is_said(server: ScriptedServer, client: Client) -> None:
    body = "Das Modell läuft nicht, bitte später versuchen".encode("latin-1")
    server.play([head(500, {"Content-Length": str(len(body))}), body])
    _, error, _ = read(client)
    assert "Das Modell l" in str(error)


@pytest.mark.parametrize("named", [{"code": "insufficient_quota"}, {"type": "insufficient_quota"}])
def test_an_account_that_is_used_up_is_asked_once(
    server: ScriptedServer, client: Client, named: JSON
) -> None:
    client.max_retries = 2
    server.always(error_answer(429, "pay", **named))
    _, error, _ = read(client)
    assert isinstance(error, RateLimitError)
    assert "no credit" in str(error)
    assert len(server.requests) == 1
