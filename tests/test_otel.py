"""Spans and metrics, read back with the SDK's in-memory exporters, and the hook beneath them."""

from __future__ import annotations

import contextvars
import gc
import json
import logging
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from openai_stream import (
    DONE,
    APIConnectionError,
    AzureClient,
    Client,
    OpenAIStreamError,
    RateLimitError,
    StreamDecodeError,
    StreamInterruptedError,
    observers,
)
from openai_stream.stream.exit import live
from openai_stream.testing import (
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    completion_chunks,
    cut,
    error_answer,
    frame,
    json_answer,
    rate_limited,
    tool_call_chunks,
)

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")

from helpers import SOON
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from openai_stream import otel

MODEL = "gpt-4o-mini"
MADE = "gpt-4o-mini-2024-07-18"
TEXT = "Hello you there"
MESSAGES = [{"role": "user", "content": "Hi"}]
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)


class Telemetry:
    """What the library told, as the SDK has it."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def on(self, **options: Any) -> None:
        otel.instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def close(self) -> None:
        otel.uninstrument()
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()

    def spans(self, count: int | None = None) -> list[ReadableSpan]:
        """The spans that have ended, of the library only; waits for so many."""
        until = time.monotonic() + SOON
        while True:
            ended = [
                span
                for span in self._exporter.get_finished_spans()
                if span.instrumentation_scope is not None
                and span.instrumentation_scope.name == "openai_stream"
            ]
            if count is None or len(ended) >= count or time.monotonic() > until:
                return ended
            time.sleep(0.005)

    def span(self) -> ReadableSpan:
        """The only one."""
        (span,) = self.spans(1)
        return span

    def told(self) -> dict[str, Any]:
        """The only span's attributes."""
        return dict(self.span().attributes or {})

    def metrics(self) -> dict[str, Any]:
        """The metrics that have a value, by their names."""
        data = self._reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        named = {metric.name: metric for metric in found}
        assert len(named) == len(found)
        return named

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def metric(self, name: str) -> Any:
        return self.metrics()[name]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    made.on()
    yield made
    made.close()


def chat(client: Client, **arguments: Any) -> Any:
    arguments = {"model": MODEL, "messages": MESSAGES, "stream": True, **arguments}
    return client.create_chat_completion(**arguments)


def messages_in(told: dict[str, Any], name: str) -> Any:
    return json.loads(told[f"gen_ai.{name}"])


# Names ---------------------------------------------------------------------------------------


def test_a_stream(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    chunks = chat_chunks(TEXT, usage=True)
    chunks[-1]["usage"]["prompt_tokens_details"] = {"cached_tokens": 4}
    chunks[-1]["usage"]["completion_tokens_details"] = {"reasoning_tokens": 2}
    server.play(answer(chunks, delay=0.005))
    stream = chat(
        client, temperature=0.5, top_p=1, max_completion_tokens=50, max_tokens=True, seed=7, n=1,
        frequency_penalty=0.1, presence_penalty=0.2, stop="end",
        response_format={"type": "json_schema"},
    ).stream  # fmt: skip
    stream.result(SOON)
    span = telemetry.span()
    assert (span.name, span.kind) == (f"chat {MODEL}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events
    told = telemetry.told()
    assert told.pop("gen_ai.response.time_to_first_chunk") == stream.stats.first_event_seconds
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.request.stop_sequences": ("end",),
        "gen_ai.output.type": "json",
        "gen_ai.response.id": chunks[0]["id"],
        "gen_ai.response.model": MADE,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "openai.api.type": "chat_completions",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }


def test_the_metrics_of_a_stream(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.always(answer(TEXT, delay=0.005))
    stats = []
    for _ in range(2):
        stream = chat(client).stream
        stream.result(SOON)
        stats.append(stream.stats)
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MADE,
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    for name in (DURATION, FIRST_CHUNK):
        metric = telemetry.metric(name)
        assert metric.unit == "s"
        assert metric.description
        (point,) = metric.data.data_points
        assert dict(point.attributes) == attributes
        assert point.count == 2
        assert tuple(point.explicit_bounds) == BUCKETS
        if name == DURATION:
            assert point.sum >= sum(one.seconds for one in stats) * 0.9
        else:
            assert point.sum == pytest.approx(sum(one.first_event_seconds or 0 for one in stats))


def test_a_call_without_a_stream(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": "x"}, "finish_reason": why}
        for index, why in enumerate(["stop", "length"])
    ]
    server.play(json_answer({"id": "c-1", "model": MADE, "choices": choices}))
    chat(client, stream=False, n=2, stop=["a", "b", 5], max_tokens=9)
    told = telemetry.told()
    assert told["gen_ai.response.finish_reasons"] == ("stop", "length")
    assert told["gen_ai.request.choice.count"] == 2
    assert told["gen_ai.request.stop_sequences"] == ("a", "b")
    assert told["gen_ai.request.max_tokens"] == 9
    assert told["gen_ai.response.id"] == "c-1"
    assert "gen_ai.request.stream" not in told
    assert "gen_ai.response.time_to_first_chunk" not in told
    assert len(telemetry.points(DURATION)) == 1
    assert telemetry.points(FIRST_CHUNK) == []


def response_of(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-4o",
        "status": status,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi"}],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        ],
        "usage": {
            "input_tokens": 3,
            "output_tokens": 4,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
        **more,
    }


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        ("completed", {}, "completed"),
        (
            "incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
        ),
    ],
)
def test_a_response(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    status: str,
    more: dict[str, Any],
    reason: str,
) -> None:
    event = {"type": f"response.{status}", "response": response_of(status, **more)}
    server.play(answer([event], done=False))
    client.create_response(
        model="gpt-4o", input="Hi", max_output_tokens=5, stream=True,
        text={"format": {"type": "text"}},
    ).stream.result(SOON)  # fmt: skip
    told = telemetry.told()
    assert telemetry.span().name == "chat gpt-4o"
    assert told["openai.api.type"] == "responses"
    assert told["gen_ai.request.max_tokens"] == 5
    assert told["gen_ai.output.type"] == "text"
    assert told["gen_ai.response.finish_reasons"] == (reason,)
    assert told["gen_ai.usage.input_tokens"] == 3
    assert told["gen_ai.usage.output_tokens"] == 4
    assert told["gen_ai.usage.cache_read.input_tokens"] == 1
    assert told["gen_ai.usage.reasoning.output_tokens"] == 2


def test_a_completion_and_another_endpoint(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(answer(completion_chunks(TEXT)), answer([frame("[1]")]), answer([frame("{}")]))
    client.create_completion(model="m", prompt="Hi", stream=True).stream.result(SOON)
    client.stream("/threads/runs", {"model": 5}).stream.result(SOON)
    client.stream("/other", [1]).stream.result(SOON)
    first, second, third = telemetry.spans(3)
    assert first.name == "text_completion m"
    assert first.attributes is not None
    assert "openai.api.type" not in first.attributes
    assert (second.name, third.name) == ("threads/runs", "other")
    assert second.attributes is not None
    assert "gen_ai.request.model" not in second.attributes


def test_answers_of_no_known_form(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    telemetry.on(content=True)
    odd = {"id": 5, "model": [], "choices": [5, {"message": 5}], "usage": {"prompt_tokens": True}}
    server.play(json_answer(odd))
    chat(client, stream=False, messages=[5, {"role": 5}, {"content": [5]}], stop={}, n="2")
    told = telemetry.told()
    assert not [name for name in told if name.startswith(("gen_ai.response", "gen_ai.usage"))]
    assert "gen_ai.output.messages" not in told
    assert messages_in(told, "input.messages") == [
        {"role": "user", "parts": [{"type": "text", "content": "5"}]},
        {"role": "user", "parts": []},
        {"role": "user", "parts": [{"type": "unknown"}]},
    ]


@pytest.mark.parametrize(
    ("url", "provider", "port"),
    [
        ("https://api.openai.com/v1", "openai", 443),
        ("https://api.groq.com/openai/v1", "groq", 443),
        ("https://mine.openai.azure.com/openai/v1", "azure.ai.openai", 443),
        ("http://local.test:8000/v1", "openai", 8000),
        ("http://local.test", "openai", 80),
    ],
)
def test_who_is_asked(telemetry: Telemetry, url: str, provider: str, port: int) -> None:
    call = observers.Call(None, "/chat/completions", f"{url}/chat/completions", b"{}", True)
    ended = observers.begin(call)
    assert ended is not None
    ended(observers.Outcome())
    told = telemetry.told()
    assert told["gen_ai.provider.name"] == provider
    assert told["server.address"] in url
    assert told["server.port"] == port
    assert telemetry.span().name == "chat"


def test_azure(server: ScriptedServer, telemetry: Telemetry) -> None:
    server.play(answer(TEXT))
    endpoint = server.base_url.removesuffix("/v1")
    with AzureClient(api_key="test", endpoint=endpoint) as client:
        client.create_chat_completion(model="m", messages=[], stream=True).stream.result(SOON)
    assert telemetry.told()["gen_ai.provider.name"] == "azure.ai.openai"
    assert telemetry.told()["openai.api.type"] == "chat_completions"


# How a span ends -----------------------------------------------------------------------------


def failed(telemetry: Telemetry, kind: str) -> dict[str, Any]:
    """The attributes of the only span, which has failed, as its metric has."""
    span = telemetry.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None  # a server may quote what was asked
    assert not span.events
    told = telemetry.told()
    assert told["error.type"] == kind
    (point,) = telemetry.points(DURATION)
    assert point.attributes["error.type"] == kind
    return told


def test_a_stream_that_breaks(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    server.play(answer(TEXT, fault=cut(after=3)))
    with pytest.raises(StreamInterruptedError):
        chat(client).stream.result(SOON)
    told = failed(telemetry, "StreamInterruptedError")
    assert told["gen_ai.response.model"] == MADE  # what had come
    assert "gen_ai.response.finish_reasons" not in told
    (point,) = telemetry.points(FIRST_CHUNK)
    assert "error.type" not in point.attributes


@pytest.mark.parametrize("arguments", [{}, {"stream": False}, {"nowait": True}], ids=str)
def test_a_call_that_is_refused(
    server: ScriptedServer, client: Client, telemetry: Telemetry, arguments: dict[str, Any]
) -> None:
    server.play(answer(fault=rate_limited()))
    with pytest.raises(RateLimitError):
        chat(client, **arguments).stream.result(SOON)
    told = failed(telemetry, "RateLimitError")
    assert "gen_ai.response.id" not in told
    assert telemetry.points(FIRST_CHUNK) == []


def test_an_answer_that_is_none(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(answer(fault="html_page"))
    with pytest.raises(StreamDecodeError, match="not JSON"):
        chat(client, stream=False)
    failed(telemetry, "StreamDecodeError")


def test_no_connection(client: Client, server: ScriptedServer, telemetry: Telemetry) -> None:
    server.close()
    with pytest.raises(APIConnectionError):
        chat(client)
    failed(telemetry, "APIConnectionError")


def test_no_thread(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server.always(answer(TEXT))
    chat(client).stream.result(SOON)  # now the server has the thread that it needs
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OpenAIStreamError, match="cannot start a reader thread"):
            chat(client)
    _, second = telemetry.spans(2)
    assert second.attributes is not None
    assert second.attributes["error.type"] == "RuntimeError"


@pytest.mark.parametrize("runs", [False, True])
def test_ctrl_c_while_the_thread_starts(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    runs: bool,
) -> None:
    """Whether it comes before there is a thread or after: nothing is left of the stream."""
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if runs or not thread.name.startswith("openai-stream-"):
            begin(thread)
        if thread.name.startswith("openai-stream-"):
            raise KeyboardInterrupt

    server.always(answer(TEXT, fault="stall"))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            chat(client, on_next=print)
    telemetry.spans(1)
    (connection,) = server.wait_for_connections(1)
    assert connection.client_closed.wait(SOON)
    deadline = time.monotonic() + SOON
    while live and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not live


def test_a_callback_that_raises(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(answer(TEXT))
    stream = chat(client, on_next=lambda event: 1 / 0, on_error=lambda error: None)
    assert isinstance(stream.exception(SOON), ZeroDivisionError)
    failed(telemetry, "ZeroDivisionError")


@pytest.mark.parametrize("how", ["closed", "dropped", "left"])
def test_a_stream_that_is_stopped(
    server: ScriptedServer, client: Client, telemetry: Telemetry, how: str
) -> None:
    server.play(answer(TEXT, fault="stall"))
    events = chat(client)
    events.get(timeout=SOON)
    if how == "closed":
        events.close()
    elif how == "left":
        with events:
            pass
    del events
    gc.collect()
    span = telemetry.span()
    assert span.status.status_code is StatusCode.UNSET
    told = telemetry.told()
    assert "error.type" not in told
    assert "gen_ai.response.finish_reasons" not in told
    assert told["gen_ai.response.model"] == MADE
    (point,) = telemetry.points(DURATION)
    assert "error.type" not in point.attributes


def test_a_stream_that_is_stopped_before_it_began(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(answer(fault="unanswered"))
    events = chat(client, nowait=True)
    server.wait_for_requests(1)
    events.close()
    assert "gen_ai.response.id" not in telemetry.told()
    assert telemetry.points(FIRST_CHUNK) == []


def test_a_drained_stream(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    go_on = threading.Event()
    chunks = chat_chunks(TEXT, usage=True)
    server.play(answer([*chunks[:2], Wait(go_on), *chunks[2:]]))
    events = chat(client)
    stream = events.stream
    events.get(timeout=SOON)
    stream.close(drain=True)
    assert telemetry.spans() == []
    go_on.set()
    stream.result(SOON)
    assert telemetry.told()["gen_ai.usage.output_tokens"] == 5


def test_restarts_and_retries_are_one_call(server: ScriptedServer, telemetry: Telemetry) -> None:
    server.play(error_answer(500, "no"), answer(TEXT, fault=cut()), answer(TEXT))
    with Client(api_key="test", base_url=server.base_url, max_retries=1) as client:
        chat(client, restarts=1).stream.result(SOON)
    (span,) = [span for span in telemetry.spans(4) if span.parent is None]
    told = dict(span.attributes or {})
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert "error.type" not in told
    (point,) = telemetry.points(FIRST_CHUNK)
    assert point.count == 1


@pytest.mark.parametrize("mode", ["queue", "callback", "foreign"])
def test_the_span_has_ended_before_anybody_knows(
    server: ScriptedServer, client: Client, telemetry: Telemetry, mode: str
) -> None:
    server.play(answer(TEXT))
    if mode == "foreign":
        own: queue.Queue[Any] = queue.Queue()
        stream = chat(client, queue=own)
        while own.get(timeout=SOON) is not DONE:
            pass
        stream.result(SOON)
    elif mode == "callback":
        chat(client, on_next=lambda event: None).result(SOON)
    else:
        assert list(chat(client))
    assert len(telemetry.spans()) == 1


# Whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"stream": False}, {"nowait": True}], ids=str)
def test_the_parent_is_the_callers(
    server: ScriptedServer, client: Client, telemetry: Telemetry, arguments: dict[str, Any]
) -> None:
    whole = {"object": "chat.completion", "choices": []}
    server.play(json_answer(whole) if arguments.get("stream") is False else answer(TEXT))
    tracer = telemetry.tracer_provider.get_tracer("of the application")
    with tracer.start_as_current_span("a page") as page:
        made = chat(client, **arguments)
        assert trace.get_current_span() is page
    if arguments.get("stream") is not False:
        made.stream.result(SOON)
    span = telemetry.span()
    assert span.parent is not None
    assert span.parent.span_id == page.get_span_context().span_id
    assert span.context.trace_id == page.get_span_context().trace_id


def test_callbacks_are_in_the_callers_context(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(answer(TEXT))
    tracer = telemetry.tracer_provider.get_tracer("of the application")
    seen: list[Any] = []
    with tracer.start_as_current_span("a page") as page:
        stream = chat(client, on_next=lambda event: seen.append(trace.get_current_span()))
    stream.result(SOON)
    assert {one.get_span_context().span_id for one in seen} == {page.get_span_context().span_id}


def test_many_at_once(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    server.always(answer(TEXT, delay=0.001))
    streams = [chat(client, nowait=True).stream for _ in range(20)]
    for stream in streams:
        stream.result(SOON)
    assert len({span.context.span_id for span in telemetry.spans(20)}) == 20
    (point,) = telemetry.points(DURATION)
    assert point.count == 20


# Content -------------------------------------------------------------------------------------


def test_content_only_when_it_is_asked_for(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    wish = "to be a bird"
    server.play(answer(chat_chunks(wish)), error_answer(400, f"no {wish}"))
    asked = {"messages": [{"role": "user", "content": wish}], "user": wish}
    chat(client, **asked).stream.result(SOON)
    with pytest.raises(OpenAIStreamError, match=wish):
        chat(client, **asked)
    for span in telemetry.spans(2):
        assert wish not in span.to_json()


def test_content_of_a_chat(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    telemetry.on(content=True)
    server.play(answer(tool_call_chunks(("f", '{"a": 1}'), ("g", "{"))))
    asked = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        ]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]  # fmt: skip
    whole = chat(client, messages=asked).stream.result(SOON)
    told = telemetry.told()
    call = {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}
    assert messages_in(told, "input.messages") == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Look"}, {"type": "image_url"}]},
        {"role": "assistant", "parts": [call]},
        {"role": "assistant", "parts": [{"type": "text", "content": "No."}]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}],
        },
    ]
    ids = [one.id for one in whole.choices[0].message.tool_calls]
    assert messages_in(told, "output.messages") == [
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": ids[0], "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call", "id": ids[1], "name": "g", "arguments": "{"},
            ],
            "finish_reason": "tool_calls",
        }
    ]


def test_content_of_a_completion(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    telemetry.on(content=True)
    server.play(answer(completion_chunks(TEXT)))
    prompt: Any = ["Hi", [1, 2]]
    client.create_completion(model="m", prompt=prompt, stream=True).stream.result(SOON)
    told = telemetry.told()
    parts = [[{"type": "text", "content": text}] for text in ("Hi", "[1,2]")]
    assert messages_in(told, "input.messages") == [{"role": "user", "parts": one} for one in parts]
    (said,) = messages_in(told, "output.messages")
    assert said["parts"] == [{"type": "text", "content": TEXT}]
    assert said["finish_reason"] == "stop"


def test_content_of_a_response(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    telemetry.on(content=True)
    server.play(json_answer(response_of("completed")))
    client.create_response(
        model="gpt-4o",
        instructions="Be kind.",
        input=[
            {"role": "user", "content": "Hi"},
            {"type": "function_call_output", "call_id": "c0", "output": "ok"},
        ],
    )
    told = telemetry.told()
    assert messages_in(told, "system_instructions") == [{"type": "text", "content": "Be kind."}]
    assert messages_in(told, "input.messages")[1]["parts"] == [
        {"type": "tool_call_response", "id": "c0", "response": "ok"}
    ]
    assert messages_in(told, "output.messages") == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "text", "content": "Hi"},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
            ],
            "finish_reason": "completed",
        }
    ]


def test_the_message_of_an_error_is_content(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    telemetry.on(content=True)
    server.play(error_answer(400, "no secrets"))
    with pytest.raises(OpenAIStreamError) as caught:
        chat(client)
    assert telemetry.span().status.description == str(caught.value)


# On and off ----------------------------------------------------------------------------------


def test_off(server: ScriptedServer, client: Client, telemetry: Telemetry) -> None:
    server.always(answer(TEXT))
    go_on = threading.Event()
    server.play(answer([*chat_chunks(TEXT)[:1], Wait(go_on)]))
    begun = chat(client).stream
    otel.uninstrument()
    otel.uninstrument()
    go_on.set()
    begun.result(SOON)
    assert len(telemetry.spans()) == 1  # what has begun is ended
    chat(client).stream.result(SOON)
    assert len(telemetry.spans()) == 1
    assert observers.observer is None


def test_a_call_that_cannot_be_made_is_none(client: Client, telemetry: Telemetry) -> None:
    with pytest.raises(TypeError):
        chat(client, maxsize="many")
    with pytest.raises(ValueError, match="JSON cannot carry it"):
        chat(client, messages=object())
    assert telemetry.spans() == []


def test_the_global_providers_are_the_default(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Telemetry()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made.tracer_provider)
    server.play(answer(TEXT))
    otel.instrument()
    try:
        chat(client).stream.result(SOON)
    finally:
        made.close()
    assert made.span().name == f"chat {MODEL}"


def test_the_core_does_without_opentelemetry() -> None:
    script = """
import sys
import openai_stream, openai_stream.testing, openai_stream.recordings
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
sys.modules["opentelemetry"] = None
try:
    import openai_stream.otel
except ImportError as error:
    assert 'python -m pip install ".[otel]"' in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# The hook ------------------------------------------------------------------------------------


@pytest.fixture
def observe() -> Iterator[Callable[[observers.Observer], None]]:
    def set_to(observer: observers.Observer) -> None:
        observers.observer = observer

    yield set_to
    observers.observer = None


@pytest.mark.parametrize("arguments", [{}, {"stream": False}, {"on_next": print}], ids=str)
@pytest.mark.parametrize("place", ["at the beginning", "at the end"])
def test_an_observer_that_raises_is_logged(
    server: ScriptedServer,
    client: Client,
    observe: Callable[[observers.Observer], None],
    caplog: pytest.LogCaptureFixture,
    place: str,
    arguments: dict[str, Any],
) -> None:
    def end(outcome: observers.Outcome) -> None:
        raise ZeroDivisionError("at the end")

    def begin(call: observers.Call) -> observers.Ended:
        if place == "at the end":
            return end
        raise ZeroDivisionError("at the beginning")

    observe(begin)
    whole = json_answer({"object": "chat.completion", "choices": []})
    server.play(whole if arguments.get("stream") is False else answer(TEXT))
    with caplog.at_level(logging.ERROR, "openai_stream"):
        made = chat(client, **arguments)
        if arguments.get("stream") is not False:
            getattr(made, "stream", made).result(SOON)
    assert caplog.messages == ["an observer of calls raised"]
    assert place in caplog.text


def test_the_threads_of_the_hook(
    server: ScriptedServer, client: Client, observe: Callable[[observers.Observer], None]
) -> None:
    variable = contextvars.ContextVar("variable", default="none")
    told: list[Any] = []

    def begin(call: observers.Call) -> observers.Ended:
        told.append((threading.current_thread(), call.stream, call.body()["model"]))
        return lambda outcome: told.append((threading.current_thread(), variable.get(), outcome))

    observe(begin)
    server.play(answer(TEXT))
    variable.set("the caller's")
    stream = chat(client).stream
    whole = stream.result(SOON)
    (thread, streamed, model), (reader, value, outcome) = told
    assert (thread, streamed, model) == (threading.current_thread(), True, MODEL)
    assert reader.name.startswith("openai-stream-")
    assert value == "the caller's"
    assert outcome.error is None
    assert outcome.answer() == whole
    assert outcome.first_event_seconds == stream.stats.first_event_seconds


def test_an_observer_that_goes_between_the_looks() -> None:
    assert observers.observer is None
    assert observers.begin(observers.Call(None, "/x", "http://x/x", b"{}", True)) is None
