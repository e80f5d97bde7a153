"""Each request of a call that took more than one is a span of its own, read back with the SDK."""

from __future__ import annotations

import contextlib
import gc
import queue
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from openai_stream import (
    DONE,
    APIStatusError,
    Client,
    Fallback,
    InternalServerError,
    OpenAIStreamError,
    StreamInterruptedError,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Pause,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    json_answer,
)

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")

from asking import GOOD
from genai_conventions import HTTP, METRICS
from helpers import SOON
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from test_fallbacks import OVERLOADED, dead
from test_otel import DURATION, MODEL, TEXT, Telemetry, chat

STREAM = answer(TEXT)
CUT = answer([*chat_chunks("one two three")[:2], Fin()])
AGAIN = {"retry-after-ms": "1"}
#: What the conventions have no name for.
OWN = {"openai_stream.attempt.reason", "openai_stream.fallback"}


@pytest.fixture(params=["old", "new"])
def telemetry(request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    made = Telemetry()
    made.on(conventions=request.param)
    yield made
    made.close()


@pytest.fixture
def servers() -> Iterator[list[ScriptedServer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(ScriptedServer()) for _ in range(3)]


def client_of(server: ScriptedServer, key: str = "sk-0123456789abcdef", **arguments: Any) -> Client:
    return Client(key, server.base_url, **{"max_retries": 0, **arguments})


def ended(telemetry: Telemetry) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The call's span, and those of its attempts in the order of their beginning."""
    spans = telemetry.spans(1)
    (call,) = [span for span in spans if "gen_ai.operation.name" in (span.attributes or {})]
    attempts = [span for span in spans if span is not call]
    assert all(span.parent == call.context for span in attempts)
    return call, sorted(attempts, key=lambda span: span.start_time or 0)


def told(attempts: list[ReadableSpan]) -> list[tuple[Any, ...]]:
    """What was asked, why, and how that ended."""
    names = (
        "server.port", "gen_ai.request.model", "openai_stream.fallback",
        "openai_stream.attempt.reason", "http.request.resend_count", "http.response.status_code",
        "error.type",
    )  # fmt: skip
    return [tuple((span.attributes or {}).get(name) for name in names) for span in attempts]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("nowait", [False, True])
def test_shows_each_candidate_and_how_it_failed(
    servers: list[ScriptedServer], telemetry: Telemetry, stream: bool, nowait: bool
) -> None:
    refused = error_answer(503, "no", headers=AGAIN)
    broken = (
        answer([*chat_chunks("one two")[:2], OVERLOADED]) if stream else json_answer(OVERLOADED)
    )
    servers[0].play(refused, refused)
    servers[1].play(broken)
    servers[2].play(STREAM if stream else GOOD)
    gone = dead()
    others = (
        Fallback(gone),
        Fallback(client_of(servers[1]), model="second"),
        Fallback(client_of(servers[2]), model="third"),
    )
    first = client_of(servers[0], max_retries=1)
    waits = {"nowait": nowait} if stream else {}
    made = chat(first, stream=stream, fallbacks=others, **waits)
    if stream:
        made.stream.result(SOON)
    call, attempts = ended(telemetry)
    port, nowhere = servers[0].port, int(str(gone).partition("127.0.0.1:")[2].partition("/")[0])
    assert told(attempts) == [
        (port, MODEL, None, None, None, 503, "InternalServerError"),
        (port, MODEL, None, "retry", 1, 503, "InternalServerError"),
        (nowhere, MODEL, 1, "fallback", None, None, "APIConnectionError"),
        (servers[1].port, "second", 2, "fallback", None, 200, "StreamAPIError"),
        (servers[2].port, "third", 3, "fallback", None, 200, None),
    ]
    for span in attempts:
        assert span.kind is SpanKind.CLIENT
        assert span.name == "POST /chat/completions"
        own = {name for name in span.attributes or {} if not name.startswith("gen_ai.")}
        assert own <= HTTP | OWN
        assert str((span.attributes or {})["url.full"]).endswith("/v1/chat/completions")
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR] * 4 + [
        StatusCode.UNSET
    ]
    assert call.status.status_code is StatusCode.UNSET
    assert "error.type" not in (call.attributes or {})


def test_lies_within_the_call_and_one_after_the_other(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    servers[0].play(CUT, answer([*chat_chunks("one")[:2], Pause(0.1), *chat_chunks("one")[2:]]))
    chat(client_of(servers[0]), restarts=1).stream.result(SOON)
    call, (first, second) = ended(telemetry)
    times = [call.start_time, first.start_time, first.end_time, second.start_time, second.end_time]
    assert times == sorted(times, key=lambda time: time or 0)
    assert (second.end_time or 0) - (second.start_time or 0) > 80_000_000  # to its last event
    assert (second.end_time or 0) <= (call.end_time or 0)


@pytest.mark.parametrize("mode", ["queue", "callback", "foreign"])
def test_tells_a_restart_wherever_the_events_go(
    servers: list[ScriptedServer], telemetry: Telemetry, mode: str
) -> None:
    servers[0].play(CUT, STREAM)
    client = client_of(servers[0])
    if mode == "callback":
        chat(client, restarts=1, on_next=lambda event: None).result(SOON)
    elif mode == "foreign":
        own: queue.Queue[Any] = queue.Queue()
        stream = chat(client, restarts=1, queue=own)
        while own.get(timeout=SOON) is not DONE:
            pass
        stream.result(SOON)
    else:
        chat(client, restarts=1).stream.result(SOON)
    port = servers[0].port
    assert told(ended(telemetry)[1]) == [
        (port, MODEL, None, None, None, 200, "StreamInterruptedError"),
        (port, MODEL, None, "restart", 1, 200, None),
    ]


def test_tells_a_response_that_is_resumed(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    made = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    events = [
        {"type": "response.created", "sequence_number": 0, "response": made},
        {"type": "response.completed", "sequence_number": 1,
         "response": {**made, "status": "completed"}},
    ]  # fmt: skip
    servers[0].play(answer([events[0], Fin()]), answer([events[1]]))
    client = client_of(servers[0])
    stream = client.create_response(
        model=MODEL, input="x", background=True, stream=True, restarts=1
    ).stream
    stream.result(SOON)
    _, (first, second) = ended(telemetry)
    assert (first.name, second.name) == ("POST /responses", "GET /responses")
    said = dict(second.attributes or {})
    assert said["openai_stream.attempt.reason"] == "resume"
    assert said["url.full"] == f"{servers[0].base_url}/responses/resp_1"  # without its query


def test_leaves_cancelling_at_the_server_out(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    made = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    created = {"type": "response.created", "sequence_number": 0, "response": made}
    servers[0].play(answer([created, OVERLOADED]), json_answer(made))
    servers[1].play(error_answer(400, "no"))
    with pytest.raises(APIStatusError):
        client_of(servers[0]).create_response(
            model=MODEL,
            input="x",
            background=True,
            stream=True,
            fallbacks=[Fallback(client_of(servers[1]))],
        ).stream.result(SOON)
    assert [request.path for request in servers[0].requests][-1].endswith("/cancel")
    attempts = ended(telemetry)[1]
    assert [(span.attributes or {})["server.port"] for span in attempts] == [
        servers[0].port,
        servers[1].port,
    ]


def test_has_no_children_if_the_first_request_is_answered(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    servers[0].play(STREAM, error_answer(400, "no"))
    client = client_of(servers[0])
    chat(client, fallbacks=[Fallback(client_of(servers[1]))]).stream.result(SOON)
    with pytest.raises(APIStatusError):
        chat(client)
    spans = telemetry.spans(2)
    assert [span.name for span in spans] == [f"chat {MODEL}"] * 2
    assert not any(name in OWN for span in spans for name in span.attributes or {})


@pytest.mark.parametrize("stream", [False, True])
def test_gives_tokens_and_times_to_the_one_that_answered(
    servers: list[ScriptedServer], telemetry: Telemetry, stream: bool
) -> None:
    servers[0].play(error_answer(503, "no"))
    servers[1].play(STREAM if stream else GOOD)
    other = Fallback(client_of(servers[1]), model="second")
    made = chat(client_of(servers[0]), stream=stream, fallbacks=[other])
    if stream:
        made.stream.result(SOON)
    call, _ = ended(telemetry)
    said = dict(call.attributes or {})
    assert call.name == f"chat {MODEL}"  # what was asked for
    assert (said["server.port"], said["gen_ai.request.model"]) == (servers[1].port, "second")
    assert said["openai_stream.fallback"] == 1
    for name, metric in telemetry.metrics().items():
        for point in metric.data.data_points:
            assert point.attributes["server.port"] == servers[1].port, name
            assert point.attributes["gen_ai.request.model"] == "second"
            assert not OWN & {*point.attributes}
    (duration,) = {DURATION, "gen_ai.client.inference.duration"} & {*telemetry.metrics()}
    assert duration in METRICS["both"]
    assert telemetry.points(duration)[0].count == 1  # one call, whatever it took


@pytest.mark.parametrize("stream", [False, True])
def test_tells_all_of_them_if_all_fail(
    servers: list[ScriptedServer], telemetry: Telemetry, stream: bool
) -> None:
    for server in servers:
        server.play(error_answer(500, "no"))
    others = [Fallback(client_of(server)) for server in servers[1:]]
    with pytest.raises(InternalServerError):
        chat(client_of(servers[0]), stream=stream, fallbacks=others)
    call, attempts = ended(telemetry)
    assert [one[-1] for one in told(attempts)] == ["InternalServerError"] * 3
    assert (call.attributes or {})["error.type"] == "InternalServerError"


def test_a_stream_that_is_closed_leaves_no_error_in_its_last_attempt(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    go_on = Hang()
    servers[0].play(error_answer(503, "no", headers=AGAIN), answer([chat_chunks("a")[0], go_on]))
    events = chat(client_of(servers[0], max_retries=1))
    events.get(timeout=SOON)
    events.close()
    events.stream.cancelled()
    attempts = telemetry.spans(3)[:2]
    assert [one[-1] for one in told(attempts)] == ["InternalServerError", None]


def test_tells_an_error_that_the_users_function_raised(
    servers: list[ScriptedServer], telemetry: Telemetry
) -> None:
    servers[0].play(error_answer(503, "no", headers=AGAIN), STREAM)

    def raises(event: object) -> None:
        raise ZeroDivisionError

    stream = chat(client_of(servers[0], max_retries=1), on_next=raises, on_error=lambda error: None)
    assert isinstance(stream.exception(SOON), ZeroDivisionError)
    assert [one[-1] for one in told(ended(telemetry)[1])] == [
        "InternalServerError",
        "ZeroDivisionError",
    ]


def test_shows_no_secret(servers: list[ScriptedServer], telemetry: Telemetry) -> None:
    keys = "sk-first-0123456789abcdef", "sk-second-fedcba9876543210"
    servers[0].play(error_answer(503, f"{keys[0]} {keys[1]}"))
    servers[1].play(CUT)
    hidden = {"extra_query": {"key": "hidden-query-value-1"}}
    other = Fallback(client_of(servers[1], keys[1]), model=f"m {keys[1]}", **hidden)
    with pytest.raises(StreamInterruptedError):
        chat(client_of(servers[0], keys[0]), fallbacks=[other], model=keys[0]).stream.result(SOON)
    call, attempts = ended(telemetry)
    assert len(attempts) == 2
    shown = "".join(f"{span.name} {span.attributes}" for span in (call, *attempts))
    for secret in (*keys, "hidden-query-value-1"):
        assert secret not in shown


def test_keeps_no_error_alive(servers: list[ScriptedServer], telemetry: Telemetry) -> None:
    servers[0].play(CUT)
    servers[1].play(CUT)
    stream = chat(client_of(servers[0]), fallbacks=[Fallback(client_of(servers[1]))]).stream
    error = stream.exception(SOON)
    assert isinstance(error, OpenAIStreamError)
    gone = weakref.ref(error.earlier[0])
    del error, stream
    gc.collect()
    assert gone() is None
    assert len(ended(telemetry)[1]) == 2
