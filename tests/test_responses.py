"""``create_response``: the events of ``/responses``, what completes them, what they add up to."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import JSON, SOON

from openai_stream import (
    DONE,
    AzureClient,
    Client,
    EventQueue,
    Response,
    ResponseEvent,
    Stream,
    StreamAPIError,
    StreamError,
    StreamInterruptedError,
    Timeout,
    create_response,
)
from openai_stream.testing import (
    Event,
    Fin,
    Hang,
    Reset,
    ScriptedServer,
    Step,
    answer,
    frame,
    json_answer,
)

USAGE = {
    "input_tokens": 37,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 11,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 48,
}


# What the API sends --------------------------------------------------------------------------


def text_part(text: str, annotations: list[JSON] | None = None) -> JSON:
    return {"type": "output_text", "annotations": annotations or [], "logprobs": [], "text": text}


def message(*parts: JSON, id: str = "msg_1") -> JSON:
    content = list(parts)
    return {
        "id": id,
        "type": "message",
        "status": "completed",
        "content": content,
        "role": "assistant",
    }


def function_call(name: str, arguments: str, id: str = "fc_1") -> JSON:
    return {
        "id": id,
        "type": "function_call",
        "status": "completed",
        "arguments": arguments,
        "call_id": f"call_{id}",
        "name": name,
    }


def reasoning(*summary: str, id: str = "rs_1") -> JSON:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": id, "type": "reasoning", "summary": parts}


def response(output: list[JSON], status: str = "completed", **fields: Any) -> JSON:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741290958,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5-2025-08-07",
        "output": output,
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "usage": USAGE if status == "completed" else None,
        "user": None,
        "metadata": {},
        "gateway": {"region": "eu"},
        **fields,
    }


def pieces(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def events_of_text(kind: str, where: JSON, field: str, text: str) -> Iterator[JSON]:
    for piece in pieces(text):
        yield {
            "type": f"response.{kind}.delta",
            **where,
            "delta": piece,
            "obfuscation": "x" * (20 - len(piece)),
        }
    yield {"type": f"response.{kind}.done", **where, field: text}


def events_of_part(where: JSON, part: JSON) -> Iterator[JSON]:
    refusal = part["type"] == "refusal"
    field = "refusal" if refusal else "text"
    empty = {**part, field: "", **({} if refusal else {"annotations": []})}
    yield {"type": "response.content_part.added", **where, "part": empty}
    kind = "refusal" if refusal else "output_text"
    yield from events_of_text(kind, where, field, part[field])
    for index, annotation in enumerate(part.get("annotations", ())):
        yield {
            "type": "response.output_text.annotation.added",
            **where,
            "annotation_index": index,
            "annotation": annotation,
        }
    yield {"type": "response.content_part.done", **where, "part": part}


def events_of_item(index: int, item: JSON) -> Iterator[JSON]:
    where = {"item_id": item["id"], "output_index": index}
    # As announced: everything but what grows.
    growing: JSON = {"message": {"content": []}, "function_call": {"arguments": ""}}
    grows = growing.get(item["type"], {"summary": []})
    status = {"status": "in_progress"} if "status" in item else {}
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": {**item, **status, **grows},
    }
    if item["type"] == "message":
        for position, part in enumerate(item["content"]):
            yield from events_of_part({**where, "content_index": position}, part)
    elif item["type"] == "function_call":
        yield from events_of_text("function_call_arguments", where, "arguments", item["arguments"])
    else:
        for position, part in enumerate(item["summary"]):
            there = {**where, "summary_index": position}
            empty = {**part, "text": ""}
            yield {"type": "response.reasoning_summary_part.added", **there, "part": empty}
            yield from events_of_text("reasoning_summary_text", there, "text", part["text"])
            yield {"type": "response.reasoning_summary_part.done", **there, "part": part}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def streamed(*output: JSON, last: JSON | None = None) -> list[JSON]:
    """The events of a response with these output items.

    :param last: the response that the last event carries, if not one that is complete.
    """
    begun = response([], "in_progress")
    last = response(list(output)) if last is None else last
    events: list[JSON] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(output):
        events += events_of_item(index, item)
    events.append({"type": f"response.{last['status']}", "response": last})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def frames(events: list[JSON]) -> list[Event]:
    """As OpenAI frames them: each under its name."""
    return [frame(event, event=event["type"]) for event in events]


def played(events: list[JSON], *then: Step, **arguments: Any) -> list[Step | bytes]:
    return answer([*frames(events), *then], done=False, **arguments)


def at_once(script: list[Step | bytes]) -> list[Step | bytes]:
    """In one piece: the body's end comes with its last event, however busy the machine is."""
    steps = [step for step in script if not isinstance(step, bytes)]
    return [b"".join(part for part in script if isinstance(part, bytes)), *steps]


HELLO = message(text_part("Hello, big wörld! 🌍"))
CITED = message(
    text_part(
        "It is in Arlington.",
        [
            {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://a.example"},
            {"type": "url_citation", "start_index": 6, "end_index": 8, "url": "https://b.example"},
        ],
    )
)
REFUSED = message({"type": "refusal", "refusal": "I cannot help with that."})
THOUGHT = reasoning("First I look it up.", "Then I answer.")
KINDS: dict[str, list[JSON]] = {
    "text": [HELLO],
    "annotations": [CITED],
    "two parts": [message(text_part("The first part. "), text_part("The second part."))],
    "several items": [
        THOUGHT,
        message(text_part("One moment. ")),
        function_call("look_up", '{"city": "Arlington", "days": 3}', "fc_1"),
        function_call("look_up", '{"city": "Köln"}', "fc_2"),
        message(text_part("Here it is."), id="msg_2"),
    ],
    "a function call": [function_call("get_weather", '{"city": "Paris", "unit": "c"}')],
    "a reasoning summary": [THOUGHT, HELLO],
    "a refusal": [REFUSED],
    "no output": [],
}
EVENTS = streamed(HELLO)
TEXT: str = HELLO["content"][0]["text"]


# The calls -----------------------------------------------------------------------------------


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=0, timeout=timeout
    ) as made:
        yield made


def ask(client: Client, **arguments: Any) -> EventQueue[ResponseEvent]:
    return client.create_response(model="m", input="Hi", stream=True, **arguments)  # type: ignore[no-any-return]


def taken(events: EventQueue[ResponseEvent]) -> tuple[list[JSON], BaseException | None]:
    """What ``get()`` gives, and what it raises in the end."""
    got = []
    try:
        while (event := events.get(timeout=SOON)) is not DONE:
            got.append(event.to_dict())
    except StreamError as error:
        return got, error
    return got, None


def as_text(event: ResponseEvent | JSON) -> str:
    return json.dumps(event if isinstance(event, dict) else event.to_dict())


def test_the_request(server: ScriptedServer, client: Client) -> None:
    server.play(json_answer(response([HELLO])), played(EVENTS))
    given: JSON = {"model": "m", "input": [{"role": "user", "content": "Hi"}], "tools": []}
    client.create_response(**given)
    client.create_response(**given, stream=True).stream.result(SOON)
    unstreamed, stream = server.requests
    assert (unstreamed.method, unstreamed.target) == ("POST", "/v1/responses")
    assert stream.target == "/v1/responses"
    assert unstreamed.json == given
    assert stream.json == {**given, "stream": True}
    assert unstreamed.headers["authorization"] == "Bearer sk-test"


@pytest.mark.parametrize("kind", KINDS)
def test_unstreamed(server: ScriptedServer, client: Client, kind: str) -> None:
    body = response(KINDS[kind])
    server.play(json_answer(body))
    whole = client.create_response(model="m", input="Hi")
    assert isinstance(whole, Response)
    assert as_text(whole.to_dict()) == as_text(body)
    assert whole.usage is not None
    assert whole.usage.total_tokens == 48


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_into_a_queue(server: ScriptedServer, client: Client, kind: str) -> None:
    """Nothing is lost, and the result is what the call without ``stream`` returns."""
    sent = streamed(*KINDS[kind])
    server.play(played(sent), json_answer(response(KINDS[kind])))
    events = ask(client)
    got = list(events)
    assert all(isinstance(event, ResponseEvent) for event in got)
    assert [as_text(event) for event in got] == [as_text(event) for event in sent]
    assert [event.type for event in got] == [event["type"] for event in sent]
    assert [event.sequence_number for event in got] == list(range(len(sent)))
    whole = events.stream.result(SOON)
    assert whole == client.create_response(model="m", input="Hi")
    assert as_text(whole.to_dict()) == as_text(response(KINDS[kind]))


def test_streamed_to_callbacks(server: ScriptedServer, client: Client) -> None:
    server.play(played(EVENTS))
    calls: list[tuple[str, Any]] = []
    stream = client.create_response(
        model="m",
        input="Hi",
        stream=True,
        on_next=lambda event: calls.append(("next", event.to_dict())),
        on_done=lambda whole: calls.append(("done", whole)),
        on_error=lambda error: calls.append(("error", error)),
    )
    assert isinstance(stream, Stream)
    whole = stream.result(SOON)
    assert isinstance(whole, Response)
    assert calls == [*(("next", event) for event in EVENTS), ("done", whole)]


def test_streamed_into_a_foreign_queue(server: ScriptedServer, client: Client) -> None:
    server.play(played(EVENTS))
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = client.create_response(model="m", input="Hi", stream=True, queue=mine)
    got = [mine.get(timeout=SOON) for _ in range(len(EVENTS) + 1)]
    assert got.pop() is DONE
    assert [event.to_dict() for event in got] == EVENTS
    assert stream.result(SOON).output_text == TEXT


def test_the_module_function(server: ScriptedServer, client: Client) -> None:
    server.play(played(EVENTS))
    events = create_response(client=client, model="m", input="Hi", stream=True)
    assert "".join(events.text()) == TEXT


def test_azure_has_no_such_call(server: ScriptedServer) -> None:
    with AzureClient(api_key="k", endpoint=server.base_url) as azure:
        assert not hasattr(azure, "create_response")
        with pytest.raises(TypeError, match="create_response needs a Client"):
            create_response(client=azure, model="m", input="Hi")  # type: ignore[call-overload]
    assert server.requests == []


def test_what_an_event_tells(server: ScriptedServer, client: Client) -> None:
    server.play(played(streamed(THOUGHT, CITED)))
    found: dict[str | None, ResponseEvent] = {}
    for event in ask(client):
        found.setdefault(event.type, event)
    created = found["response.created"].response
    assert isinstance(created, Response)
    assert (created.id, created.status) == ("resp_1", "in_progress")
    assert created.extra == {"gateway": {"region": "eu"}}
    added = found["response.output_item.added"]
    assert added.item == {"id": "rs_1", "type": "reasoning", "summary": []}
    assert added.output_index == 0
    delta = found["response.output_text.delta"]
    assert (delta.item_id, delta.output_index, delta.content_index) == ("msg_1", 1, 0)
    assert delta.delta == "It i"
    assert found["response.reasoning_summary_text.delta"].summary_index == 0
    part = found["response.content_part.done"].part
    assert part == CITED["content"][0]
    completed = found["response.completed"].response
    assert completed is not None
    assert completed.output_text == "It is in Arlington."


@pytest.mark.parametrize(
    "unknown",
    [
        {"type": "response.telepathy.delta", "delta": "mm", "thought": {"depth": 2}},
        {"type": None, "delta": 5},
        {"type": ["response.completed"]},
        {"type": {"response.failed": 1}, "item": []},
        {"delta": ["no", "text"], "item": "no dict", "response": [], "sequence_number": "7"},
        {"extra": 1, "self": 2, "type": "response.output_text.delta"},
        {},
    ],
)
def test_events_that_nobody_knows(server: ScriptedServer, client: Client, unknown: JSON) -> None:
    server.play(answer([*EVENTS[:-1], unknown, EVENTS[-1]], done=False))
    events = ask(client)
    got = [as_text(event) for event in events]
    assert got == [as_text(event) for event in [*EVENTS[:-1], unknown, EVENTS[-1]]]
    assert events.stream.result(SOON).output_text == TEXT


# The text ------------------------------------------------------------------------------------


def test_text_is_that_of_all_messages(server: ScriptedServer, client: Client) -> None:
    server.play(*[played(streamed(*KINDS["several items"]))] * 2)
    events = ask(client)
    assert list(events.text()) == [*pieces("One moment. "), *pieces("Here it is.")]
    assert events.stream.result(SOON).output_text == "One moment. Here it is."
    assert list(ask(client).text(choice=1)) == []


@pytest.mark.parametrize("kind", ["a function call", "a refusal", "no output"])
def test_text_where_there_is_none(server: ScriptedServer, client: Client, kind: str) -> None:
    server.play(played(streamed(*KINDS[kind])))
    assert list(ask(client).text()) == []


# What completes it ---------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("done", [False, True], ids=["without [DONE]", "with [DONE]"])
@pytest.mark.parametrize("named", [True, False], ids=["names", "no names"])
def test_complete_without_done(
    server: ScriptedServer, client: Client, framing: Any, done: bool, named: bool
) -> None:
    sent = frames(EVENTS) if named else EVENTS
    script = at_once(answer(sent, done=done, framing=framing))
    server.play(script, script, script)
    for _ in range(3):
        events = ask(client)
        assert [event.to_dict() for event in events] == EVENTS
        assert events.stream.exception(SOON) is None
    # Nothing of one is left on the connection for the next.
    assert len(server.connections) == (3 if framing == "close" else 1)


def test_nothing_after_the_last_event_is_delivered(server: ScriptedServer, client: Client) -> None:
    late = [{"type": "response.output_text.delta", "delta": "late"}, {"type": "error"}]
    server.play(played([*EVENTS, *late], events_per_chunk=100))
    events = ask(client)
    assert [event.to_dict() for event in events] == EVENTS
    assert events.stream.result(SOON).output_text == TEXT


def test_the_end_comes_although_the_body_does_not_end(
    server: ScriptedServer, client: Client
) -> None:
    server.play(played(EVENTS, Hang()))
    events = ask(client)
    assert len(list(events)) == len(EVENTS)
    assert events.stream.result(SOON).output_text == TEXT
    assert server.connections[0].client_closed.wait(SOON)


def test_incomplete_is_a_result(server: ScriptedServer, client: Client) -> None:
    short = message(text_part("Hello, b"))
    last = response(
        [short], "incomplete", incomplete_details={"reason": "max_output_tokens"}, usage=USAGE
    )
    sent = streamed(short, last=last)
    server.play(played(sent), json_answer(last))
    done: list[Response] = []
    events = ask(client, on_done=done.append)
    assert "".join(events.text()) == "Hello, b"
    whole = events.stream.result(SOON)
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert done == [whole]
    assert client.create_response(model="m", input="Hi") == whole


# What goes wrong -----------------------------------------------------------------------------


FAILED = response(
    [],
    "failed",
    error={"code": "server_error", "message": "The model failed to generate a response."},
)
WRONG: dict[str, tuple[JSON, str | None, str]] = {
    "response.failed": (
        {"type": "response.failed", "response": FAILED},
        "server_error",
        "The model failed to generate a response.",
    ),
    "error": (
        {
            "type": "error",
            "code": "rate_limit_exceeded",
            "message": "Slow down.",
            "param": None,
        },
        "rate_limit_exceeded",
        "Slow down.",
    ),
    "an error object": (
        {"error": {"type": "server_error", "code": None, "message": "Out of memory."}},
        None,
        "Out of memory.",
    ),
    "both": (
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "code": "too_long", "message": "Too long."},
        },
        "too_long",
        "Too long.",
    ),
}


@pytest.mark.parametrize("name", [None, "error"], ids=["no name", "named error"])
@pytest.mark.parametrize("before", [0, 2, 6, len(EVENTS) - 1])
@pytest.mark.parametrize("kind", WRONG)
def test_an_error_in_the_stream(
    server: ScriptedServer, client: Client, kind: str, before: int, name: str | None
) -> None:
    body, code, said = WRONG[kind]
    script = answer([*frames(EVENTS[:before]), frame(body, event=name)], done=False)
    server.play(script, script)
    errors: list[BaseException] = []
    events = ask(client, on_error=errors.append)
    got, error = taken(events)
    assert got == EVENTS[:before]
    assert isinstance(error, StreamAPIError)
    assert said in str(error)
    assert error.code == code
    assert error.body == body
    assert isinstance(error.snapshot, Response)
    assert errors == [error]
    assert events.stream.exception(SOON) is error
    with pytest.raises(StreamAPIError, match=said):
        list(ask(client).text())


@pytest.mark.parametrize(
    ("end", "framing"),
    [(None, "chunked"), (None, "length"), (Fin(), "chunked"), (Fin(), "close"), (Reset(), "close")],
    ids=["the body's end", "a length's end", "FIN", "close-delimited", "RST"],
)
def test_a_cut_is_an_interruption_wherever_it_is(
    server: ScriptedServer, client: Client, end: Step | None, framing: Any
) -> None:
    """Whatever was sent, and however orderly it ends: without its last event it is not whole."""
    sent = streamed(*KINDS["several items"])
    cuts = range(0, len(sent), 3) if end is None else (0, 1, 9, len(sent) - 1)
    for cut in cuts:
        then = () if end is None else (end,)
        server.play(played(sent[:cut], *then, framing=framing))
        events = ask(client)
        got, error = taken(events)
        if not isinstance(end, Reset):  # which may overtake what was sent before it
            assert got == sent[:cut]
        assert isinstance(error, StreamInterruptedError)
        assert events.stream.exception(SOON) is error
        assert isinstance(error.snapshot, Response)
        assert error.snapshot.status in (None, "in_progress")


def test_done_without_a_last_event_is_an_interruption(
    server: ScriptedServer, client: Client
) -> None:
    """A proxy that ends each stream in the same way completes none."""
    for cut in (0, 5, len(EVENTS) - 1):
        server.play(answer(frames(EVENTS[:cut])))
        with pytest.raises(StreamInterruptedError):
            ask(client).stream.result(SOON)


@pytest.mark.parametrize("kind", KINDS)
def test_the_snapshot_of_a_cut_stream_is_built_from_items_and_deltas(
    server: ScriptedServer, client: Client, kind: str
) -> None:
    sent = streamed(*KINDS[kind])
    server.play(played(sent[:-1]))
    error = ask(client).stream.exception(SOON)
    assert isinstance(error, StreamInterruptedError)
    # All items were told, only the last event was not: the output is what it would have had.
    assert error.snapshot.to_dict() == response(KINDS[kind], "in_progress")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no output"])
def test_the_snapshot_of_deltas_alone(server: ScriptedServer, client: Client, kind: str) -> None:
    """No ``….done`` event, nothing announced: what was streamed is there all the same."""
    sent = [event for event in streamed(*KINDS[kind]) if event["type"].endswith(".delta")]
    server.play(played(sent))
    error = ask(client).stream.exception(SOON)
    assert isinstance(error, StreamInterruptedError)
    grown = error.snapshot.output
    assert [item["type"] for item in grown] == [item["type"] for item in KINDS[kind]]
    for item, whole in zip(grown, KINDS[kind], strict=True):
        assert item["id"] == whole["id"]
        assert item.get("arguments") == whole.get("arguments")
        for parts in ("content", "summary"):
            expected = [
                {key: part[key] for key in ("type", "text", "refusal") if key in part}
                for part in whole.get(parts, ())
            ]
            assert item.get(parts, []) == expected


def test_snapshots_grow_with_the_stream(server: ScriptedServer, client: Client) -> None:
    seen: list[str] = []
    returned = threading.Event()

    def on_next(event: ResponseEvent) -> None:
        assert returned.wait(SOON)
        seen.append(stream.snapshot().output_text)

    server.play(played(EVENTS))
    stream = client.create_response(model="m", input="Hi", stream=True, on_next=on_next)
    returned.set()
    stream.result(SOON)
    expected = [""] * 4
    for piece in pieces(TEXT):
        expected.append(expected[-1] + piece)
    expected += [TEXT] * 4
    assert seen == expected


READERS: dict[str, Callable[[EventQueue[Any]], Any]] = {
    "text": lambda events: list(events.text()),
    "loop": list,
    "result": lambda events: events.stream.result(SOON),
}


@pytest.mark.parametrize("read", READERS)
def test_every_way_of_reading_raises(server: ScriptedServer, client: Client, read: str) -> None:
    server.play(played(EVENTS[:6]))
    with pytest.raises(StreamInterruptedError) as caught:
        READERS[read](ask(client))
    assert caught.value.snapshot.output_text == pieces(TEXT)[0] + pieces(TEXT)[1]


@pytest.mark.parametrize("last", ["completed", "incomplete", "done"])
@pytest.mark.parametrize("first", range(4))
def test_text_without_deltas_comes_from_what_closes_it(
    server: ScriptedServer, client: Client, first: int, last: str
) -> None:
    """From the first such events that have some, and once."""
    texts = ["The sea ", "is wide."]
    output = [message(*(text_part(text) for text in texts))]
    kinds: list[list[JSON]] = [
        [{"type": "response.output_text.done", "text": text} for text in texts],
        [{"type": "response.content_part.done", "part": text_part(text)} for text in texts],
        [{"type": "response.output_item.done", "item": item} for item in output],
        [],
    ]
    told = kinds[first:]
    status = "incomplete" if last == "incomplete" else "completed"
    ends = {"type": f"response.{last}", "response": response(output, status)}
    server.play(answer([*(event for kind in told for event in kind), ends], done=False))
    events = client.create_response(model="m", input="Hi", stream=True)
    pieces = list(events.text())
    assert pieces == (texts if first < 2 else ["".join(texts)])
    assert events.stream.result().output_text == "".join(texts)


def test_text_of_deltas_is_not_repeated_by_what_closes_it(
    server: ScriptedServer, client: Client
) -> None:
    item = message(text_part("one"), id="a")
    other = message(text_part("two"), id="b")
    streamed = list(events_of_item(0, item))
    whole = [event for event in events_of_item(1, other) if not event["type"].endswith(".delta")]
    # Even where one text came without: which of two is meant, their places may not tell.
    ends = {"type": "response.completed", "response": response([item, other])}
    server.play(answer([*streamed, *whole, ends], done=False))
    events = client.create_response(model="m", input="Hi", stream=True)
    assert "".join(events.text()) == "one"


@pytest.mark.parametrize("kind", ["completed", "incomplete", "done"])
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "Boom."}}, "Boom."),
        ({"status": "completed", "error": {"message": "Boom."}}, "Boom."),
        ({"status": "failed"}, "without a message"),
        ({"status": "cancelled"}, "without a message"),
    ],
)
def test_a_last_event_that_says_that_it_failed(
    server: ScriptedServer, client: Client, kind: str, said: JSON, words: str
) -> None:
    told = {**response([message(text_part("Half"))]), **said}
    server.play(answer([{"type": f"response.{kind}", "response": told}], done=False))
    events = client.create_response(model="m", input="Hi", stream=True)
    with pytest.raises(StreamAPIError, match=words) as caught:
        events.stream.result()
    assert isinstance(caught.value.snapshot, Response)
    assert caught.value.snapshot.output_text == "Half"


def test_response_done_ends_the_stream_although_the_body_does_not_end(
    server: ScriptedServer, client: Client
) -> None:
    whole = response([message(text_part("Hi"))])
    done = {"type": "response.done", "response": whole}
    server.play(answer([done, Hang()], done=False))
    events = client.create_response(model="m", input="Hi", stream=True)
    assert events.stream.result(SOON).to_dict() == whole


def test_response_done_of_a_response_that_goes_on_is_no_end(
    server: ScriptedServer, client: Client
) -> None:
    done = {"type": "response.done", "response": response([], "in_progress")}
    server.play(answer([done], done=False))
    with pytest.raises(StreamInterruptedError):
        client.create_response(model="m", input="Hi", stream=True).stream.result()
