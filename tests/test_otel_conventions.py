"""Telemetry under the conventions of late 2026, read back with the SDK: names, tokens, times."""

from __future__ import annotations

import configparser
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openai_stream import (
    Client,
    OpenAIStreamError,
    RateLimitError,
    StreamAPIError,
    StreamInterruptedError,
    Timeout,
    observers,
)
from openai_stream.stream.stats import AnswerFigures, Figures
from openai_stream.testing import (
    ScriptedServer,
    answer,
    chat_chunks,
    cut,
    frame,
    json_answer,
    rate_limited,
)
from openai_stream.transport import NetworkCall

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")

from genai_conventions import EACH, METRICS, SPAN
from helpers import SOON
from opentelemetry.sdk.metrics.export import Histogram, Sum
from test_otel import MADE, MESSAGES, MODEL, TEXT, Telemetry, chat, messages_in, response_of

from openai_stream import otel

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "prompt_tokens_details": {
        "cached_tokens": 30,
        "cache_write_tokens": 5,
        "text_tokens": 60,
        "audio_tokens": 0,
        "image_tokens": 25,
        "cached_tokens_details": {"text_tokens": 30},
    },
    "completion_tokens_details": {"reasoning_tokens": 8, "text_tokens": 30, "audio_tokens": 10},
}
DURATION = "gen_ai.client.inference.duration"
FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
CHUNK = "gen_ai.client.inference.time_per_output_chunk"
OLD_DURATION = "gen_ai.client.operation.duration"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Under the new conventions."""
    made = Telemetry()
    made.on(conventions="new")
    yield made
    made.close()


def usage_chunks(usage: Any = USAGE) -> list[Any]:
    chunks: list[Any] = chat_chunks(TEXT, usage=True)
    chunks[-1]["usage"] = usage
    return chunks


def counted(telemetry: Telemetry, kind: str) -> dict[str, int]:
    """What a counter of tokens says, by modality."""
    points = telemetry.points(f"gen_ai.client.inference.usage.{kind}")
    return {point.attributes["gen_ai.token.modality"]: point.value for point in points}


# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("conventions", ["old", "new", "both", None])
def test_gives_the_names_of_the_registry(
    server: ScriptedServer, client: Client, telemetry: Telemetry, conventions: str | None
) -> None:
    """All of them, of a stream that has everything, and of one that breaks."""
    said = {} if conventions is None else {"conventions": conventions}
    telemetry.on(content=True, **said)
    server.play(answer(usage_chunks()), answer(TEXT, fault=cut(after=3)))
    asked = {
        "n": 2, "seed": 1, "temperature": 1, "top_p": 1, "top_k": 4, "stop": "x", "max_tokens": 5,
        "frequency_penalty": 1, "presence_penalty": 1, "reasoning_effort": "low",
        "service_tier": "flex", "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "extra_body": {"conversation": "conv_1", "previous_response_id": "resp_0"},
    }  # fmt: skip
    chat(client, **asked).stream.result(SOON)
    with pytest.raises(StreamInterruptedError):
        chat(client).stream.result(SOON)
    known = METRICS[conventions or "old"]
    metrics = telemetry.metrics()
    assert metrics.keys() == known.keys()
    for name, metric in metrics.items():
        kind, unit, more = known[name]
        assert metric.unit == unit
        assert metric.description
        assert isinstance(metric.data, Histogram if kind == "histogram" else Sum)
        for point in metric.data.data_points:
            assert EACH - {"gen_ai.response.model"} <= {*(point.attributes or ())} <= EACH | more
    told, *others = [dict[str, Any](span.attributes or {}) for span in telemetry.spans(2)]
    assert {*told, *others[0]} <= SPAN[conventions or "old"]
    if conventions in ("new", "both"):
        assert told["gen_ai.conversation.id"] == "conv_1"
        assert told["gen_ai.request.previous_response.id"] == "resp_0"
        assert told["gen_ai.request.reasoning.level"] == "low"
        assert told["gen_ai.request.top_k"] == 4
        assert told["openai.request.service_tier"] == "flex"
        assert told["openai.response.service_tier"] == "default"
        assert told["openai.response.system_fingerprint"].startswith("fp_")
        assert messages_in(told, "tool.definitions") == [{"type": "function", "name": "f"}]
    else:
        assert "gen_ai.tool.definitions" not in told


def test_refuses_conventions_that_there_are_not() -> None:
    conventions: Any = "newest"
    with pytest.raises(ValueError, match="'old', 'new' or 'both', not 'newest'"):
        otel.instrument(conventions=conventions)
    assert observers.observer is None


@pytest.mark.parametrize("conventions", ["old", "new", "both"])
def test_keeps_the_name_of_before_for_what_is_no_inference(
    server: ScriptedServer, client: Client, telemetry: Telemetry, conventions: str
) -> None:
    telemetry.on(conventions=conventions)
    server.play(json_answer({"data": []}))
    client.post("/embeddings", {"model": "m", "input": "x"})
    assert telemetry.span().name == "embeddings m"
    assert telemetry.metrics().keys() == {OLD_DURATION}


def test_says_what_is_openais_of_openai_alone(telemetry: Telemetry) -> None:
    body = b'{"service_tier": "flex", "reasoning": {"effort": "high"}}'
    call = observers.Call(
        None, "/chat/completions", "https://api.groq.com/openai/v1/chat/completions", body, True
    )
    ended = observers.begin(call)
    assert ended is not None
    ended(observers.Outcome(answer=lambda: {"service_tier": "flex", "system_fingerprint": "fp"}))
    told = telemetry.told()
    assert told["gen_ai.request.reasoning.level"] == "high"
    assert not [name for name in told if "tier" in name or "fingerprint" in name]
    (point,) = telemetry.points(DURATION)
    assert point.attributes.keys() <= EACH


def test_omits_a_tier_that_is_not_chosen(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(json_answer(response_of("completed", conversation={"id": "conv_2"})))
    client.create_response(model="m", input="Hi", service_tier="auto", conversation={"id": "c_1"})
    told = telemetry.told()
    assert "openai.request.service_tier" not in told
    assert told["gen_ai.conversation.id"] == "conv_2"


# Tokens --------------------------------------------------------------------------------------


def test_counts_tokens_by_kind_and_modality(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.always(answer(usage_chunks()))
    for _ in range(2):
        chat(client).stream.result(SOON)
    assert counted(telemetry, "input_tokens") == {"text": 120, "image": 50, "unknown": 30}
    assert counted(telemetry, "output_tokens") == {"text": 60, "audio": 20}
    assert counted(telemetry, "cache_read.input_tokens") == {"text": 60}
    assert counted(telemetry, "cache_write.input_tokens") == {"unknown": 10}
    assert counted(telemetry, "reasoning.output_tokens") == {"unknown": 16}
    for kind, total in (("input_tokens", 200), ("output_tokens", 80)):
        (point,) = telemetry.points(f"gen_ai.client.inference.operation.{kind}")
        assert (point.count, point.sum) == (2, total)
        assert point.explicit_bounds[-1] == 67108864
        assert point.attributes["openai.response.service_tier"] == "default"
    first, _ = telemetry.spans(2)
    assert first.attributes is not None
    told = {
        name.removeprefix("gen_ai.usage."): value
        for name, value in first.attributes.items()
        if name.startswith("gen_ai.usage.")
    }
    assert told == {
        "input_tokens": 100,
        "output_tokens": 40,
        "cache_read.input_tokens": 30,
        "cache_write.input_tokens": 5,
        "reasoning.output_tokens": 8,
        "text.input_tokens": 60,
        "image.input_tokens": 25,
        "text.output_tokens": 30,
        "audio.output_tokens": 10,
        "text.cache_read.input_tokens": 30,
    }


@pytest.mark.parametrize(
    ("usage", "read", "written"),
    [
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, 4, 0),
        ({"input_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}, 4, 2),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, 0, 0),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -4}}, 0, 0),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"text_tokens": 9, "audio_tokens": 9}},
            0,
            0,
        ),
    ],
)
def test_counts_tokens_where_servers_put_them(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    usage: dict[str, Any],
    read: int,
    written: int,
) -> None:
    """What overlaps, or is no count, is no breakdown; the sum of the modalities is the total."""
    server.play(answer(usage_chunks(usage)))
    chat(client).stream.result(SOON)
    assert counted(telemetry, "input_tokens") == {"unknown": 9}
    assert counted(telemetry, "cache_read.input_tokens") == {"unknown": read}
    assert counted(telemetry, "cache_write.input_tokens") == {"unknown": written}


@pytest.mark.parametrize("refused", [False, True])
def test_counts_none_if_there_is_no_usage(
    server: ScriptedServer, client: Client, telemetry: Telemetry, refused: bool
) -> None:
    """A counter has its 0, a percentile of what is not known has nothing."""
    server.play(answer(fault=rate_limited()) if refused else answer(TEXT))
    if refused:
        with pytest.raises(RateLimitError):
            chat(client)
    else:
        chat(client).stream.result(SOON)
    assert counted(telemetry, "input_tokens") == {"unknown": 0}
    assert counted(telemetry, "reasoning.output_tokens") == {"unknown": 0}
    assert telemetry.points("gen_ai.client.inference.operation.input_tokens") == []


def test_leaves_a_failed_call_out_of_percentiles(telemetry: Telemetry) -> None:
    call = observers.Call(None, "/responses", "http://x/responses", b"{}", True)
    ended = observers.begin(call)
    assert ended is not None
    ended(observers.Outcome(ValueError(), lambda: {"usage": {"input_tokens": 7}}))
    assert counted(telemetry, "input_tokens") == {"unknown": 7}
    assert telemetry.points("gen_ai.client.inference.operation.input_tokens") == []
    (point,) = telemetry.points(DURATION)
    assert point.attributes["error.type"] == "ValueError"


# Times ---------------------------------------------------------------------------------------


def test_times_each_chunk_but_the_first(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    pace = 0.03
    server.play(answer(chat_chunks(TEXT), delay=pace))
    stream = chat(client).stream
    stream.result(SOON)
    stats = stream.stats
    (point,) = telemetry.points(CHUNK)
    assert point.count == stats.events - 1
    assert pace * point.count * 0.8 < point.sum <= stats.seconds - stats.first_event_seconds
    assert point.attributes.keys() == EACH
    assert tuple(point.explicit_bounds)[:2] == (0.01, 0.02)
    (first,) = telemetry.points(FIRST_CHUNK)
    assert first.sum == stats.first_event_seconds
    (whole,) = telemetry.points(DURATION)
    assert whole.sum >= stats.seconds * 0.9


def test_times_chunks_that_come_together(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    """One write, one read: the others took no time of their own."""
    chunks = chat_chunks(" ".join("abcdefgh"))
    server.play(answer([b"".join([*map(frame, chunks), frame("[DONE]")])], done=False))
    chat(client).stream.result(SOON)
    (point,) = telemetry.points(CHUNK)
    assert point.count == len(chunks) - 1
    assert point.sum < 1


def test_times_no_chunk_across_a_restart(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    """The first chunk of each answer took the request's time, which is no pace."""
    chunks = chat_chunks(TEXT)
    server.play(answer(TEXT, fault=cut(after=3)), answer(chunks))
    stream = chat(client, restarts=1).stream
    stream.result(SOON)
    (point,) = telemetry.points(CHUNK)
    assert point.count == stream.stats.events - 2
    assert point.sum < stream.stats.seconds / 2
    (first,) = telemetry.points(FIRST_CHUNK)
    assert first.count == 1


def test_times_nothing_of_an_answer_in_one_piece(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.play(json_answer(response_of("completed")))
    client.create_response(model="m", input="Hi")
    assert telemetry.points(CHUNK) == telemetry.points(FIRST_CHUNK) == []
    assert len(telemetry.points(DURATION)) == 1


def test_notes_no_times_if_nobody_observes() -> None:
    """Then the loop has not a step more."""
    figures, exchange = Figures(), NetworkCall(Timeout(), streaming=True)
    assert type(figures.of_answer(exchange)) is AnswerFigures
    figures.time_chunks()
    assert type(figures.of_answer(exchange)) is not AnswerFigures


# How it ended --------------------------------------------------------------------------------


def choice_chunk(index: int, reason: str | None = None) -> dict[str, Any]:
    delta = {"content": "x"}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": MADE,
        "choices": [{"index": index, "delta": delta, "finish_reason": reason}],
    }


@pytest.mark.parametrize("conventions", ["new", "both"])
@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([None], ("error",)),
        (["stop", None], ("stop", "error")),
        ([None, "length"], ("error", "length")),
    ],
)
def test_calls_choices_that_were_cut_an_error(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    conventions: str,
    reasons: list[str | None],
    told: tuple[str, ...],
) -> None:
    telemetry.on(conventions=conventions)
    server.play(answer([choice_chunk(*one) for one in enumerate(reasons)], done=False))
    with pytest.raises(StreamInterruptedError):
        chat(client, n=len(reasons)).stream.result(SOON)
    assert telemetry.told()["gen_ai.response.finish_reasons"] == told


def test_calls_a_stream_that_is_closed_an_error_of_the_choice(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    """Of the generation, not of the call."""
    server.play(answer(TEXT, fault="stall"))
    events = chat(client)
    events.get(timeout=SOON)
    events.close()
    told = telemetry.told()
    assert told["gen_ai.response.finish_reasons"] == ("error",)
    assert "error.type" not in told


def test_calls_no_answer_an_error_that_is_whole(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    """Some servers never say why an answer ended."""
    server.play(answer([choice_chunk(0)]), json_answer({"choices": [{"message": {}}]}))
    chat(client).stream.result(SOON)
    chat(client, stream=False)
    for span in telemetry.spans(2):
        assert span.attributes is not None
        assert "gen_ai.response.finish_reasons" not in span.attributes


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_calls_a_response_that_failed_an_error(
    server: ScriptedServer, client: Client, telemetry: Telemetry, status: str
) -> None:
    begun = {"type": "response.created", "response": response_of("in_progress", output=[])}
    ended = {"type": "response.done", "response": response_of(status)}
    server.play(answer([begun, ended], done=False))
    with pytest.raises(StreamAPIError):
        client.create_response(model="m", input="Hi", stream=True).stream.result(SOON)
    assert telemetry.told()["gen_ai.response.finish_reasons"] == ("error",)


def test_calls_a_response_that_was_cut_an_error(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    begun = {"type": "response.created", "response": response_of("in_progress", output=[])}
    server.play(answer([begun], done=False))
    with pytest.raises(StreamInterruptedError):
        client.create_response(model="m", input="Hi", stream=True).stream.result(SOON)
    assert telemetry.told()["gen_ai.response.finish_reasons"] == ("error",)


@pytest.mark.parametrize(
    ("status", "told"), [("completed", ("completed",)), ("queued", None), ("in_progress", None)]
)
def test_calls_a_response_that_goes_on_nothing(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    status: str,
    told: tuple[str, ...] | None,
) -> None:
    server.play(json_answer(response_of(status)))
    client.create_response(model="m", input="Hi", background=True)
    assert telemetry.told().get("gen_ai.response.finish_reasons") == told


# Messages ------------------------------------------------------------------------------------


def reasoning_item(**more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], **more}


@pytest.mark.parametrize(
    ("item", "part"),
    [
        (
            reasoning_item(content=[{"type": "reasoning_text", "text": "Hm."}]),
            {"type": "reasoning", "content": "Hm."},
        ),
        (
            reasoning_item(
                summary=[{"type": "summary_text", "text": one} for one in ("One.", "Two.")]
            ),
            {"type": "reasoning", "content": "One.\n\nTwo."},
        ),
        (reasoning_item(encrypted_content="x"), reasoning_item(encrypted_content="x")),
    ],
    ids=["words", "summary", "encrypted"],
)
def test_gives_the_reasoning_of_a_response_as_a_part(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    item: dict[str, Any],
    part: dict[str, Any],
) -> None:
    server.always(json_answer(response_of("completed", output=[item])))
    for conventions, parts in (("new", [part]), ("old", [item])):
        telemetry.on(content=True, conventions=conventions)
        client.create_response(model="m", input=[item])
        span = telemetry.spans()[-1]
        assert messages_in(dict(span.attributes or {}), "output.messages")[0]["parts"] == parts
        assert messages_in(dict(span.attributes or {}), "input.messages")[0]["parts"] == parts


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "Hm.", "content": "Hi"},
        {"reasoning": "Hm.", "content": "Hi"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                {"type": "text", "text": "Hi"},
            ]
        },
    ],
    ids=["reasoning_content", "reasoning", "thinking"],
)
def test_gives_the_reasoning_of_a_chat_as_a_part(
    server: ScriptedServer, client: Client, telemetry: Telemetry, message: dict[str, Any]
) -> None:
    message = {"role": "assistant", **message}
    server.play(json_answer({"choices": [{"message": message, "finish_reason": "stop"}]}))
    telemetry.on(content=True, conventions="new")
    chat(client, stream=False, messages=[message])
    parts = [{"type": "reasoning", "content": "Hm."}, {"type": "text", "content": "Hi"}]
    said = [{"role": "assistant", "parts": parts}]
    assert messages_in(telemetry.told(), "output.messages") == said
    assert messages_in(telemetry.told(), "input.messages") == said


def test_gives_the_reasoning_of_a_stream(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.always(answer(chat_chunks(TEXT, reasoning="Let me see")))
    found = {}
    for conventions in ("old", "both"):
        telemetry.on(content=True, conventions=conventions)
        chat(client).stream.result(SOON)
        (found[conventions],) = messages_in(
            dict(telemetry.spans()[-1].attributes or {}), "output.messages"
        )
    text = {"type": "text", "content": TEXT}
    assert found["old"] == {"role": "assistant", "parts": [text], "finish_reason": "stop"}
    assert found["both"] == {
        "role": "assistant",
        "parts": [{"type": "reasoning", "content": "Let me see"}, text],
        "finish_reason": "stop",
    }


def test_keeps_content_out_by_default(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    wish = "to be a bird"
    server.play(answer(chat_chunks(wish, reasoning=wish, usage=True)))
    tools = [{"type": "function", "function": {"name": wish}}]
    messages = [*MESSAGES, {"role": "user", "content": wish}]
    chat(client, tools=tools, messages=messages, metadata={"a": wish}).stream.result(SOON)
    assert wish not in telemetry.span().to_json()


# opentelemetry-instrument --------------------------------------------------------------------


def entry_point() -> Any:
    """What ``opentelemetry-instrument`` loads."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parent.parent / "setup.cfg")
    group = "opentelemetry_instrumentor"
    name, _, value = config["options.entry_points"][group].strip().partition(" = ")
    return importlib.metadata.EntryPoint(name, value, group).load()


def test_is_turned_on_as_an_instrumentor(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.always(answer(TEXT))
    otel.uninstrument()
    load = entry_point()
    assert list(load().instrumentation_dependencies()) == []
    assert not load().is_instrumented_by_opentelemetry
    load().instrument(
        skip_dep_check=True,
        of_another_library=5,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
    )
    assert load().is_instrumented_by_opentelemetry
    chat(client).stream.result(SOON)
    assert telemetry.span().name == f"chat {MODEL}"
    assert telemetry.metrics().keys() == METRICS["old"].keys()
    load().uninstrument(skip_dep_check=True)
    assert observers.observer is None


@pytest.mark.parametrize(
    ("variable", "value", "new", "content"),
    [
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental", True, False),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup", False, False),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "True", False, True),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY", False, True),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "event_only", False, False),
    ],
)
def test_takes_from_the_environment_what_nobody_says(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    new: bool,
    content: bool,
) -> None:
    monkeypatch.setenv(variable, value)
    providers: dict[str, Any] = {
        "tracer_provider": telemetry.tracer_provider,
        "meter_provider": telemetry.meter_provider,
    }
    otel.uninstrument()
    otel.Instrumentor().instrument(**providers)
    server.play(answer(TEXT))
    chat(client).stream.result(SOON)
    assert (DURATION in telemetry.metrics()) is new
    assert (OLD_DURATION in telemetry.metrics()) is not new
    assert ("gen_ai.output.messages" in telemetry.told()) is content


def test_leaves_to_the_program_what_it_has_said(
    server: ScriptedServer,
    client: Client,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And ``instrument()`` does as its arguments say, whatever the environment has."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    telemetry.on()
    otel.Instrumentor().instrument(conventions="both")
    server.play(answer(TEXT))
    chat(client).stream.result(SOON)
    assert telemetry.metrics().keys() == METRICS["old"].keys()


def test_says_why_a_call_failed_whatever_the_conventions(
    server: ScriptedServer, client: Client, telemetry: Telemetry
) -> None:
    server.close()
    with pytest.raises(OpenAIStreamError):
        chat(client)
    (point,) = telemetry.points(DURATION)
    assert point.attributes["error.type"] == telemetry.told()["error.type"] == "APIConnectionError"
    assert "gen_ai.response.finish_reasons" not in telemetry.told()
