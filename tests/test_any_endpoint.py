"""``Client.stream``: any endpoint that answers with JSON server-sent events."""

from __future__ import annotations

import gzip
import json
import pickle
import queue
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import SOON

from openai_stream import (
    DONE,
    Client,
    ConfigurationError,
    EventQueue,
    NotFoundError,
    Restarted,
    ServerEvent,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    Tagged,
    Timeout,
)
from openai_stream.testing import (
    Event,
    Fin,
    Hang,
    Reset,
    ScriptedServer,
    Step,
    answer,
    error_answer,
    frame,
    head,
    json_answer,
)

BODY = {"model": "m", "input": "Hi", "stream": True}
#: What JSON can be, on one line each.
DATA: list[Any] = [{"n": 1, "deep": {"a": [None, "ü"]}}, [1, 2], "text", 0, 1.5, True, None, {}]
FRAMES: list[Event] = [frame(json.dumps(one)) for one in DATA]


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    timeout = Timeout(connect=SOON, idle=SOON, gap=SOON)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=0, timeout=timeout
    ) as made:
        yield made


def stream(client: Client, **arguments: Any) -> Any:
    return client.stream("/audio/speech", BODY, **arguments)


def datas(events: EventQueue[ServerEvent]) -> list[Any]:
    return [event.data for event in events]


def at_once(script: list[Step | bytes]) -> list[Step | bytes]:
    """In one piece: the body's end comes with its last event, however busy the machine is."""
    steps = [step for step in script if not isinstance(step, bytes)]
    return [b"".join(part for part in script if isinstance(part, bytes)), *steps]


# The call ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/audio/speech", "audio/speech"])
@pytest.mark.parametrize(
    "body", [BODY, {}, {"stream": False, "queue": 5, "timeout": "x"}, [1], "s"]
)
def test_the_body_is_sent_as_it_is(
    server: ScriptedServer, client: Client, path: str, body: Any
) -> None:
    server.play(answer(FRAMES))
    client.stream(path, body).stream.result(SOON)
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/audio/speech")
    assert request.json == body
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["authorization"] == "Bearer sk-test"


def test_what_is_added_to_the_request(server: ScriptedServer, client: Client) -> None:
    server.play(answer(FRAMES))
    given = dict(BODY)
    stream(
        client,
        extra_headers={"X-Team": "a"},
        extra_query={"v": 1},
        extra_body={"input": "Ho", "voice": "b"},
    ).stream.result(SOON)
    (request,) = server.requests
    assert request.headers["x-team"] == "a"
    assert request.target == "/v1/audio/speech?v=1"
    assert request.json == {**BODY, "input": "Ho", "voice": "b"}
    assert given == BODY


@pytest.mark.parametrize(
    "body", [{"a": float("nan")}, {"a": object()}, [object()], float("inf"), object()]
)
def test_a_body_that_is_no_json(server: ScriptedServer, client: Client, body: Any) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        client.stream("/x", body)
    assert server.connections == []


def test_an_error_status(server: ScriptedServer, client: Client) -> None:
    server.play(*[error_answer(404, "No such path.")] * 2)
    with pytest.raises(NotFoundError, match=r"/v1/audio/speech: 404 .* No such path"):
        stream(client)
    error = stream(client, nowait=True).stream.exception(SOON)
    assert type(error) is NotFoundError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"modle": "m"}, "no argument 'modle': put it into the body"),
        ({"stream": False}, "no argument 'stream': put it into the body"),
        ({"stream": True}, "no argument 'stream': put it into the body"),
        ({"on_next": print, "queue": queue.Queue()}, "on_next and queue"),
        ({"on_next": 5}, "on_next must be callable"),
        ({"on_next": print, "maxsize": 5}, "maxsize is for the queue that is made"),
        ({"queue": queue.Queue(), "stream_close": True}, "stream_close is for the queue"),
        ({"tag": 1}, "tag goes with queue only"),
        ({"replay": True, "maxsize": 5}, "replay keeps all events"),
        ({"restarts": -1}, "restarts must not be negative"),
        ({"extra_headers": 5}, "extra_headers must be a mapping"),
        ({"extra_body": [1]}, "extra_body must be a mapping"),
    ],
)
def test_what_does_not_go(
    server: ScriptedServer, client: Client, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        stream(client, **arguments)
    assert server.connections == []


def test_nothing_can_be_added_to_a_body_that_is_no_object(
    server: ScriptedServer, client: Client
) -> None:
    with pytest.raises(TypeError, match="extra_body"):
        client.stream("/x", ["no object"], extra_body={"a": 1})
    assert server.connections == []


# The events ----------------------------------------------------------------------------------


def test_any_json_is_an_event(server: ScriptedServer, client: Client) -> None:
    server.play(answer(FRAMES))
    events = stream(client)
    assert isinstance(events, EventQueue)
    got = list(events)
    assert got == [ServerEvent("message", one, None) for one in DATA]
    assert [type(event.data) for event in got] == [type(one) for one in DATA]


def test_names_and_ids_are_the_frames_own(server: ScriptedServer, client: Client) -> None:
    one = {"n": 1}
    server.play(
        answer(
            [
                frame(one, event="start", id="a"),
                frame(one),  # neither is kept from the one before
                frame(one, id="7"),
                frame(one, event="ünï", id="ü"),
                b'id: no\0\ndata: {"n": 1}\n\n',  # WHATWG 9.2.6: ignored
                b'id\ndata: {"n": 1}\n\n',
                b'event\ndata: {"n":\ndata: 1}\n\n',
                b'event:end\nid:last\ndata:{"n":1}\n\n',
            ]
        )
    )
    assert list(stream(client)) == [
        ServerEvent("start", one, "a"),
        ServerEvent("message", one, None),
        ServerEvent("message", one, "7"),
        ServerEvent("ünï", one, "ü"),
        ServerEvent("message", one, None),
        ServerEvent("message", one, ""),
        ServerEvent("message", one, None),
        ServerEvent("end", one, "last"),
    ]


def test_an_event_travels(server: ScriptedServer, client: Client) -> None:
    server.play(answer([frame({"n": [1]}, event="e", id="i")]))
    (event,) = stream(client)
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - our own
    assert repr(event) == "ServerEvent(event='e', data={'n': [1]}, id='i')"
    with pytest.raises(AttributeError):
        event.data = None


def test_text_has_no_meaning_here(server: ScriptedServer, client: Client) -> None:
    server.play(answer([frame({"choices": [{"delta": {"content": "Hi"}}]})]))
    assert list(stream(client).text()) == []


def test_everywhere_that_events_go(server: ScriptedServer, client: Client) -> None:
    server.always(answer(FRAMES))
    expected = [ServerEvent("message", one) for one in DATA]
    calls: list[Any] = []
    handle = stream(client, on_next=calls.append, on_done=calls.append)
    assert isinstance(handle, Stream)
    handle.result(SOON)
    assert calls == [*expected, DATA[-1]]
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream(client, queue=mine, tag="t").result(SOON)
    assert [mine.get(timeout=SOON) for _ in range(len(DATA) + 1)] == [
        Tagged("t", item) for item in [*expected, DONE]
    ]
    events = stream(client, replay=True)
    assert list(events) == list(events.stream.subscribe()) == expected


# What completes it ---------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_complete_where_the_body_says_so(
    server: ScriptedServer, client: Client, framing: Any, done: bool
) -> None:
    server.play(*[at_once(answer(FRAMES, framing=framing, done=done))] * 3)
    for _ in range(3):
        events = stream(client)
        assert datas(events) == DATA
        assert events.stream.result(SOON) == DATA[-1]
    assert len(server.connections) == 1


def test_complete_at_done_whatever_follows(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer(FRAMES, framing="close"),
        answer([*FRAMES, frame("[DONE]"), Hang()], done=False),
        answer([*FRAMES, frame("[DONE]"), Reset()], done=False),
    )
    for _ in range(3):
        assert datas(stream(client)) == DATA


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_no_event_at_all(server: ScriptedServer, client: Client, framing: Any) -> None:
    server.play(answer([], done=False, framing=framing), answer([]))
    for _ in range(2):
        events = stream(client)
        assert list(events) == []
        assert events.stream.result(SOON) is None


@pytest.mark.parametrize(
    ("framing", "end"),
    [("close", Fin()), ("close", Reset()), ("chunked", Fin()), ("chunked", Reset())],
    ids=["close-delimited, FIN", "close-delimited, RST", "chunked, FIN", "chunked, RST"],
)
def test_any_other_end_is_an_interruption(
    server: ScriptedServer, client: Client, framing: Any, end: Step
) -> None:
    for count in (0, 1, 3):
        sent = [frame({"n": number}) for number in range(count)]
        server.play(answer([*sent, end], framing=framing, done=False))
        events = stream(client)
        with pytest.raises(StreamInterruptedError) as caught:
            list(events)
        assert events.stream.exception(SOON) is caught.value
        if isinstance(end, Fin):
            assert caught.value.snapshot == ({"n": count - 1} if count else None)


def test_a_length_that_is_not_met(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer([*FRAMES, Fin()], done=False, headers={"Content-Length": "9999"}, framing="length")
    )
    with pytest.raises(StreamInterruptedError):
        list(stream(client))


def test_the_result_is_the_last_data(server: ScriptedServer, client: Client) -> None:
    last = {"usage": {"tokens": 5}, "list": [1]}
    server.play(answer([*FRAMES, frame(last)], done=False))
    handle = stream(client).stream
    whole = handle.result(SOON)
    assert whole == last
    whole["list"].append(2)
    assert handle.result() == handle.snapshot() == last


# What goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        frame({"error": {"message": "Too much.", "code": "c", "type": "t"}}),
        frame({"error": {"message": "Too much.", "code": "c", "type": "t"}}, event="error"),
        frame({"message": "Too much.", "code": "c", "type": "t"}, event="error"),
    ],
)
def test_an_error_in_the_stream(server: ScriptedServer, client: Client, error: bytes) -> None:
    server.play(answer([frame({"n": 1}), error]))
    events = stream(client)
    assert events.get(timeout=SOON).data == {"n": 1}
    with pytest.raises(StreamAPIError, match="Too much") as caught:
        events.get(timeout=SOON)
    assert (caught.value.code, caught.value.type) == ("c", "t")
    assert caught.value.snapshot == {"n": 1}


def test_null_is_no_error(server: ScriptedServer, client: Client) -> None:
    server.play(answer([frame({"error": None, "n": 1})]))
    assert datas(stream(client)) == [{"error": None, "n": 1}]


@pytest.mark.parametrize("data", ["{", "NaN", "[1, Infinity]", "9" * 5000, "plain text"])
def test_data_that_is_no_json(server: ScriptedServer, client: Client, data: str) -> None:
    server.play(answer([frame({"n": 1}), frame(data)]))
    events = stream(client)
    assert events.get(timeout=SOON).data == {"n": 1}
    with pytest.raises(StreamDecodeError):
        events.get(timeout=SOON)


def test_no_event_stream(server: ScriptedServer, client: Client) -> None:
    server.play(json_answer({"n": 1}))
    with pytest.raises(StreamDecodeError, match="JSON"):
        list(stream(client))


def test_a_restart(server: ScriptedServer, client: Client) -> None:
    server.play(answer([frame({"n": 1}), Fin()], framing="close"), answer([frame({"n": 2})]))
    events = stream(client, restarts=1)
    first, again, second = events
    assert (first.data, second.data) == ({"n": 1}, {"n": 2})
    assert isinstance(again, Restarted)
    assert again.error.snapshot == {"n": 1}
    assert events.stream.result(SOON) == {"n": 2}


def test_events_that_are_nested_deeply(server: ScriptedServer, client: Client) -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = [deep]
    server.play(answer([{"x": deep}]), answer([{"x": deep}, Reset()]))
    done: list[Any] = []
    assert stream(client, on_done=done.append).stream.result(SOON)["x"]
    assert done[0]["x"]
    events = stream(client)
    assert events.get(timeout=SOON).data["x"]
    with pytest.raises(StreamInterruptedError):
        events.get(timeout=SOON)


@pytest.mark.parametrize("lost", [4, 12, 30])
def test_compressed_data_that_breaks_off_in_an_orderly_body(
    server: ScriptedServer, client: Client, lost: int
) -> None:
    whole = gzip.compress(b"".join(frame({"n": n}) for n in range(30)))
    for body in (whole, whole[:-lost]):
        headers = {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
        server.play([head(200, headers), body])
    assert stream(client).stream.result(SOON) == {"n": 29}
    with pytest.raises(StreamInterruptedError):
        stream(client).stream.result(SOON)


def test_a_frame_that_breaks_off_in_an_orderly_body(server: ScriptedServer, client: Client) -> None:
    server.play(answer([{"n": 1}, b'data: {"n": 2'], done=False))
    server.play(answer([{"n": 1}, b": bye"], done=False))
    with pytest.raises(StreamInterruptedError):
        stream(client).stream.result(SOON)
    assert stream(client).stream.result(SOON) == {"n": 1}


def test_an_event_that_is_called_ping_is_one_if_it_has_data(
    server: ScriptedServer, client: Client
) -> None:
    frames = [frame({"n": 1}, event="ping"), b"event: ping\ndata:\n\n", b"event: ping\n\n"]
    server.play(answer(frames))
    events = stream(client)
    assert list(events) == [ServerEvent("ping", {"n": 1})]
    assert events.stream.stats.keep_alives == 1


# In one piece -----------------------------------------------------------------------------------


def test_posts_and_gives_the_json(server: ScriptedServer, client: Client) -> None:
    server.play(json_answer({"object": "list", "data": []}))
    answered = client.post("embeddings", {"input": "a"}, extra_body={"model": "m"})
    assert answered == {"object": "list", "data": []}
    assert server.requests[0].path == "/v1/embeddings"
    assert server.requests[0].json == {"input": "a", "model": "m"}


def test_a_post_raises_what_other_calls_raise(server: ScriptedServer, client: Client) -> None:
    server.play(error_answer(404, "no such model"))
    with pytest.raises(NotFoundError, match="no such model"):
        client.post("/embeddings", {})
    with pytest.raises(TypeError, match="no argument 'input': put it into the body"):
        client.post("/embeddings", {}, input="a")
    with pytest.raises(TypeError, match="path must be a string"):
        client.post(7, {})  # type: ignore[arg-type]
