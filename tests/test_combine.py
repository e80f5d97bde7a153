"""``combine()``: chunks that come from elsewhere, added up as a stream's ``result()`` is."""

from __future__ import annotations

import json
import pickle
import queue
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from helpers import SOON
from quirks import QUIRKS, Quirk
from reported.row import HELLO, JSON, Report, chunk, texts
from reported.verdict import text_of
from reports import REPORTS

from openai_stream import (
    DONE,
    APIStatusError,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    Completion,
    OpenAIStreamError,
    Response,
    ResponseEvent,
    Restarted,
    ServerEvent,
    StreamAPIError,
    StreamInterruptedError,
    Tagged,
    Timeout,
    combine,
)
from openai_stream.event_kinds import is_typed
from openai_stream.server_errors import says_failure
from openai_stream.testing import ScriptedServer, answer, completion_chunks

STREAMED = [row for row in REPORTS if row.stream]
#: What the stream concludes from the request, which ``combine()`` does not have.
NEEDS_THE_REQUEST = {
    "Counts the tokens in the index of the choice",
    "Counts the tokens, with a message beside each delta",
    "The message so far beside each delta, under an index that counts chunks",
}

TEXTS: list[JSON] = completion_chunks("Hello big world")
RESPONSE: JSON = {"id": "r1", "object": "response", "status": "in_progress", "output": []}
MESSAGE: JSON = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello"}],
}
EVENTS: list[JSON] = [
    {"type": "response.created", "response": RESPONSE},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo"},
    {
        "type": "response.completed",
        "response": {**RESPONSE, "status": "completed", "output": [MESSAGE]},
    },
]
BROKE = StreamInterruptedError("it broke off")


# As a stream's result --------------------------------------------------------------------------


def as_dicts(events: list[Any]) -> list[Any]:
    """As they may have been kept in a file."""
    return [
        json.loads(json.dumps(one.to_dict())) if hasattr(one, "to_dict") else one for one in events
    ]


def as_from_another_process(events: list[Any]) -> list[Any]:
    loaded: list[Any] = pickle.loads(pickle.dumps(events))  # noqa: S301 - our own
    return loaded


FORMS: list[Callable[[list[Any]], list[Any]]] = [list, as_dicts, as_from_another_process]


def plain(whole: Any) -> Any:
    return whole.to_dict() if hasattr(whole, "to_dict") else whole


def assert_combines(events: Any) -> None:
    """Whether the events of a stream add up to its result, or to what it had when it broke."""
    delivered: list[Any] = []
    error: OpenAIStreamError | None = None
    try:
        for event in events:
            delivered.append(event)
    except OpenAIStreamError as raised:
        error = raised
    stream = events.stream
    if not delivered:
        with pytest.raises(ValueError, match="no events"):
            combine(delivered)
        return
    if isinstance(error, StreamAPIError):
        # The event that says so is in the snapshot, and was not delivered. Some say it by name.
        said = error.body
        says_it = isinstance(said, dict) and (is_typed(said) or says_failure(said))
        delivered.append(said if says_it else {"error": said})
        for form in FORMS:
            with pytest.raises(StreamAPIError) as caught:
                combine(form(delivered))
            assert str(caught.value).partition(": ")[2] in str(error)
            assert caught.value.snapshot.to_dict() == stream.snapshot().to_dict()
        return
    right = plain(stream.result(SOON) if error is None else stream.snapshot())
    for form in FORMS:
        given = form(delivered)
        before = json.dumps(as_dicts(given), default=repr)
        assert json.dumps(plain(combine(given))) == json.dumps(right)
        assert json.dumps(as_dicts(given), default=repr) == before
    if error is not None:
        with pytest.raises(type(error)) as again:
            combine([*delivered, error, DONE])  # as a queue of the user's own gets it
        assert again.value is error


def asked(server: ScriptedServer, endpoint: str, body: JSON, retries: int = 0) -> Any:
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=retries, timeout=timeout
    ) as client:
        calls: dict[str, tuple[str, Any]] = {
            "chat": ("messages", client.create_chat_completion),
            "completions": ("prompt", client.create_completion),
            "responses": ("input", client.create_response),
        }
        if endpoint == "any":
            return client.stream("/any", body, nowait=True)
        name, call = calls[endpoint]
        arguments: JSON = {"model": "m", name: [], **body}
        return call(**arguments, stream=True, nowait=True)


@pytest.mark.parametrize("report", STREAMED, ids=lambda report: report.name)
def test_combines_a_report(server: ScriptedServer, report: Report) -> None:
    server.play(report.sent, *report.again)
    events = asked(server, report.endpoint, dict(report.body), len(report.again))
    if report.name in NEEDS_THE_REQUEST:
        with pytest.raises(AssertionError):
            assert_combines(events)
    else:
        assert_combines(events)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
def test_combines_a_quirk(server: ScriptedServer, quirk: Quirk) -> None:
    server.play(quirk.script)
    assert_combines(asked(server, "chat", {"n": 2}))


# What is given ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (HELLO, ChatCompletion),
        ([ChatCompletionChunk.from_dict(one) for one in HELLO], ChatCompletion),
        (TEXTS, Completion),
        ([Completion.from_dict(one) for one in TEXTS], Completion),
        (EVENTS, Response),
        ([ResponseEvent.from_dict(one) for one in EVENTS], Response),
    ],
    ids=["chat dicts", "chat", "completion dicts", "completions", "response dicts", "responses"],
)
def test_gives_the_whole_of_the_endpoint(given: list[Any], kind: type) -> None:
    forms: list[Iterable[Any]] = [given, [*given, DONE], iter(given), (one for one in given)]
    for events in forms:
        whole = combine(events)
        assert text_of(whole.to_dict()) == ("Hello big world" if kind is Completion else "Hello")
        assert type(whole) is kind


def test_takes_objects_and_dicts_of_one_endpoint_together() -> None:
    mixed = [ChatCompletionChunk.from_dict(HELLO[0]), *HELLO[1:], DONE]
    assert combine(mixed).choices[0].message.content == "Hello"


def test_takes_what_another_library_gives() -> None:
    """With all documented fields, and null for what was not there."""
    nulls = {"function_call": None, "refusal": None, "role": None, "tool_calls": None}
    dumped = [chunk({"content": piece, **nulls}, usage=None) for piece in ("Hel", "lo")]
    whole = combine([*dumped, chunk({"content": None, **nulls}, "stop", service_tier=None)])
    assert whole.choices[0].message.content == "Hello"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].message.tool_calls == []


def test_reads_a_queue_to_its_end(server: ScriptedServer) -> None:
    server.play(answer(HELLO))
    events = asked(server, "chat", {})
    whole = combine(events)
    assert whole == events.stream.result(SOON)
    assert whole is not events.stream.result(SOON)


def test_raises_what_ends_a_queue(server: ScriptedServer) -> None:
    server.play(answer(texts("Hel"), done=False))
    with pytest.raises(StreamInterruptedError):
        combine(asked(server, "chat", {}))


def test_reads_a_queue_of_the_users_own_until_done(server: ScriptedServer) -> None:
    server.play(answer(HELLO))
    own: queue.Queue[Any] = queue.Queue()
    with Client(api_key="sk-test", base_url=server.base_url) as client:
        client.create_chat_completion(model="m", messages=[], stream=True, queue=own).result(SOON)
    assert combine(iter(own.get, DONE)).choices[0].message.content == "Hello"


def test_begins_anew_at_a_restart() -> None:
    again = [chunk({"role": "assistant", "content": "Bye"}, id="c2"), chunk({}, "stop", id="c2")]
    whole = combine([*texts("Hel"), Restarted(1, BROKE), *again, DONE])
    assert (whole.id, whole.choices[0].message.content) == ("c2", "Bye")


@pytest.mark.parametrize(
    "given",
    [
        [],
        [DONE],
        [Restarted(1, BROKE)],
        [*HELLO, Restarted(1, BROKE)],
        [{"type": "ping"}, HELLO[0]],
    ],
    ids=["nothing", "only the end", "only a restart", "nothing after a restart", "a keep-alive"],
)
def test_nothing_is_an_error(given: list[Any]) -> None:
    if given[1:] == HELLO[:1]:
        assert combine(given).choices[0].message.content == "Hel"
        return
    with pytest.raises(ValueError, match="there are no events"):
        combine(given)


def test_keep_alives_are_no_part_of_the_answer() -> None:
    alive = {"type": "ping"}
    assert combine([alive, *HELLO, alive]).to_dict() == combine(HELLO).to_dict()


@pytest.mark.parametrize(
    "given",
    [
        [*HELLO, *TEXTS],
        [*TEXTS, *HELLO],
        [*HELLO, *EVENTS],
        [*EVENTS[:2], *HELLO],
        [ChatCompletionChunk.from_dict(HELLO[0]), Completion.from_dict(TEXTS[0])],
        [ChatCompletionChunk.from_dict(HELLO[0]), TEXTS[0]],
        [ServerEvent(data={"a": 1}), ResponseEvent.from_dict(EVENTS[0])],
        [*HELLO, Restarted(1, BROKE), *TEXTS],
    ],
)
def test_two_endpoints_are_an_error(given: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"of two endpoints, .* and "):
        combine(given)


@pytest.mark.parametrize("given", [[{"a": 1}], [{}], [{"type": "message_start"}]])
def test_dicts_of_no_known_endpoint_are_an_error(given: list[Any]) -> None:
    with pytest.raises(ValueError, match="no events of any endpoint"):
        combine(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (HELLO[0], "a list of events, not one dict"),
        ("events", "not one str"),
        ([*HELLO, "text"], "not str"),
        ([None], "not NoneType"),
        ([b"data: {}"], "not bytes"),
        ([combine(HELLO)], "whole already"),
        ([Tagged(1, HELLO[0])], "not Tagged"),
        (3, "not iterable"),
    ],
)
def test_what_is_not_an_event_is_a_type_error(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        combine(given)


def test_says_how_an_object_of_another_library_becomes_a_dict() -> None:
    class Chunk:
        def model_dump(self) -> JSON:
            return HELLO[0]

    with pytest.raises(TypeError, match=r"not Chunk: give it event\.model_dump\(\)"):
        combine([Chunk()])


@pytest.mark.parametrize(
    "failed",
    [
        {"error": {"message": "boom", "code": "c"}},
        {"type": "error", "message": "boom", "code": "c"},
        {"object": "error", "message": "boom", "code": "c"},
        {"error_message": "boom", "error_code": "c"},
        chunk({}, "error", error={"message": "boom", "code": "c"}),
    ],
)
@pytest.mark.parametrize("before", [[], texts("Hel")], ids=["first", "later"])
def test_an_error_is_raised_with_what_had_come(failed: JSON, before: list[JSON]) -> None:
    with pytest.raises(StreamAPIError, match="boom") as caught:
        combine([*before, failed])
    assert caught.value.code == "c"
    snapshot = caught.value.snapshot
    if before:
        assert snapshot.choices[0].message.content == "Hel"


@pytest.mark.parametrize(
    "last",
    [
        {"type": "response.failed", "response": {"error": {"message": "boom"}}},
        {"type": "error", "message": "boom", "code": None},
        {"type": "response.done", "response": {"status": "failed", "error": {"message": "boom"}}},
    ],
)
def test_a_response_that_failed_is_raised(last: JSON) -> None:
    with pytest.raises(StreamAPIError, match="boom") as caught:
        combine([*EVENTS[:3], last])
    assert caught.value.snapshot.output_text == "Hello"


def test_a_failed_server_event_is_raised() -> None:
    with pytest.raises(StreamAPIError, match="boom"):
        combine([ServerEvent(data={"a": 1}), ServerEvent("error", {"message": "boom"})])
    assert combine([ServerEvent(data={"detail": "as it is"})]) == {"detail": "as it is"}


def test_an_error_that_a_queue_brought_is_raised_as_it_is() -> None:
    error = APIStatusError("too late")
    with pytest.raises(APIStatusError) as caught:
        combine([error, DONE])
    assert caught.value is error


def test_does_not_know_whether_the_end_came() -> None:
    assert combine(texts("Hel")).choices[0].finish_reason is None
    assert combine(EVENTS[:3]).status == "in_progress"


def test_what_a_tool_put_in_between_is_no_part_of_the_answer() -> None:
    between = {"id": "call_9", "object": "x.progress", "model": "zzz"}
    whole = combine([texts("Hel")[0], between, *HELLO[1:]])
    assert (whole.id, whole.model, whole.object) == ("c1", "m", "chat.completion")


def test_a_report_of_usage_alone_is_of_the_endpoint_of_the_others() -> None:
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    assert combine([usage, *TEXTS]).usage.total_tokens == 3
    assert combine([*TEXTS, usage]).usage.total_tokens == 3
    assert type(combine([usage])) is ChatCompletion


def test_choices_with_the_fields_of_two_endpoints_are_of_the_one_that_is_named() -> None:
    both = {"index": 0, "text": "Hello", "delta": {"content": "Hello"}, "finish_reason": "stop"}
    chat = combine([{"object": "chat.completion.chunk", "choices": [both]}])
    assert chat.choices[0].message.content == "Hello"
    text = combine([{"object": "text_completion", "choices": [both]}])
    assert text.choices[0].text == "Hello"
    # The name alone is often wrong.
    plain_text = {"object": "chat.completion.chunk", "choices": [{"index": 0, "text": "Hello"}]}
    assert combine([plain_text, *TEXTS[1:]]).choices[0].text == "Hello big world"


def test_what_follows_the_end_of_a_response_is_not_read() -> None:
    whole = combine([*EVENTS, {"type": "error", "message": "too late"}, DONE])
    assert whole.output_text == "Hello"
