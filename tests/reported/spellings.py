"""Failures in other spellings, other places, and good answers that look like them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from openai_stream.testing import answer, frame, head, json_answer

from .deltas import CALLS_END, CET, OSLO, PARIS, TIME, WEATHER, call, called, calls
from .errors import GOOD, PART, USAGE, failed, row, sent
from .responses import CREATED, completed, event, message, reasoning
from .row import HELLO, JSON, STOP, Fails, Report, Whole, chunk, said, texts


def failures() -> Sequence[Report]:
    """What says that the server failed."""
    busy = {"error": {"message": "busy", "type": "overloaded", "code": "c1"}}
    framed = b"data: " + json.dumps(busy).encode() + b"\n\ndata: [DONE]\n\n"
    bare = b"data: " + json.dumps(PART[1]).encode() + b'\n{"error":"boom"}\ndata: [DONE]\n\n'
    spelled: dict[str, JSON] = {
        "errorType and errorMessage": {"errorType": "Runtime.ExitError", "errorMessage": "boom"},
        "errcode and errmsg": {"errcode": 40001, "errmsg": "boom"},
        "Code and Message": {"Code": "Throttling.User", "Message": "boom", "RequestId": "r"},
        "Response.Error": {"Response": {"Error": {"Code": "c", "Message": "boom"}}},
        "a fault with a faultstring": {"fault": {"faultstring": "boom", "detail": {}}},
        "an exception of Amazon's": {"modelStreamErrorException": {"message": "boom"}},
    }
    return [
        *(
            row(f"a failure spelled as {name}", "", "a gateway", sent(data), failed("boom"))
            for name, data in spelled.items()
        ),
        row("finish_reason in capitals that says error", "", "a gateway",
            sent(chunk({}, "ERROR")), failed("finish_reason 'ERROR'")),
        row("a bare error between lines of data, without blank lines", "", "a proxy",
            answer([PART[0], bare], done=False), failed("boom"), "StreamDecodeError"),
        row("an event error with a code and details",
            "foundation-model-stack/fms-guardrails-orchestrator#436", "vLLM behind guardrails",
            sent(frame({"code": 400, "details": "logprobs of 21"}, event="error")),
            failed("logprobs of 21", code="400"), "without its words"),
        row("an event stream as the body of an error status", "jgravelle/jmunch-mcp#5",
            "a gateway", [head(503, {"Content-Type": "text/event-stream",
            "Content-Length": str(len(framed))}), framed],
            Fails("InternalServerError", "busy (overloaded, c1)", unsaid="data:",
            attributes={"type": "overloaded", "code": "c1"}), "type is None"),
        row("an OAuth error of two fields", "", "an identity-aware proxy",
            json_answer({"error": "invalid_token", "error_description": "it expired"}, 401),
            Fails("AuthenticationError", "it expired", attributes={"type": "invalid_token"}),
            "says 'invalid_token'"),
        row("a body of a message alone, asked without a stream", "Portkey-AI/gateway#1142",
            "Bedrock", json_answer({"message": "the model returned errors"}),
            failed("the model returned errors", held=None), stream=False),
        row("a body of a message alone, asked for a stream", "", "Bedrock",
            json_answer({"message": "the model returned errors"}),
            failed("the model returned errors", held=""), "StreamDecodeError"),
        row("an event stream that says an error, asked without a stream", "", "a gateway",
            answer([busy]), failed("busy", held=None, type="overloaded", code="c1"),
            "StreamDecodeError", stream=False),
        row("an error and [DONE], nothing else", "BerriAI/litellm#40578", "vLLM",
            answer([{"error": {"message": "queue full", "code": 429}}]),
            failed("queue full", held="", code="429"), "right"),
        row("an error beside choices that are empty", "diegosouzapw/OmniRoute#8210",
            "OpenRouter", sent({**chunk(), "choices": [], "error": {
            "code": 502, "message": "provider_unavailable"}}),
            failed("provider_unavailable", code="502"), "right"),
        row("pings with a type, then an error with one", "caidaoli/ccLoad#69", "sub2api",
            answer([{"type": "ping"}, {"type": "ping"}, {"type": "error", "error": {
            "type": "rate_limit_error", "message": "too many"}}], done=False),
            failed("too many", held="", type="rate_limit_error"), "right"),
        row("response.error without an error object", "Zoo-Code-Org/Zoo-Code#318", "a gateway",
            answer([CREATED, event("output_text.delta", delta="Hello"),
            event("error", code="c1", message="boom"), completed(output=[])], done=False),
            failed("boom", code="c1"), endpoint="responses"),
        row("a failed response that lacks its object, asked without a stream", "", "a gateway",
            json_answer({"id": "r", "status": "failed", "error": None, "output": []}),
            failed("", held=None), endpoint="responses", stream=False),
    ]  # fmt: skip


def answers() -> Sequence[Report]:
    """What a rule that is too eager would break."""
    well = {"choices": [], "usage": USAGE, "errcode": 0, "errmsg": "ok", "errorMessage": None,
            "Code": "Success", "Message": "done", "fault": {}}  # fmt: skip
    by_message = [
        {**chunk({"content": piece}), "choices": [{**chunk({"content": piece})["choices"][0],
         "message": said(so_far)}]}
        for piece, so_far in (("Hel", "Hel"), ("lo", "Hello"))
    ]  # fmt: skip
    whole = [reasoning(), message("Hello")]
    text = event("output_text.delta", delta="Hello", output_index=0, item_id="msg_1")
    late = event("output_item.added", output_index=1, item=reasoning())
    return [
        row("usage beside words that say that all is well", "", "a gateway",
            answer([*HELLO, well]),
            Whole(message=said("Hello"), usage=USAGE, text="Hello"), "right"),
        row("an error: line inside of a text", "", "any",
            answer([*texts('error: no\n{"error":1}'), STOP]),
            Whole(text='error: no\n{"error":1}'), "right"),
        row("the message so far beside each delta", "BerriAI/litellm#5158", "Perplexity",
            answer([*by_message, STOP]), GOOD, "right"),
        row("two calls of one tool, both index 0, in turn", "mcowger/plexus#691", "Plexus",
            answer(calls(*(one for city, id in ((OSLO, "a"), (PARIS, "b"))
            for one in (call(WEATHER, "", id=id), call(None, city))))),
            called(("a", WEATHER, OSLO), ("b", WEATHER, PARIS)), "right"),
        row("whole calls, all index 0, with text between", "ai-dynamo/dynamo#4723", "Dynamo",
            answer([chunk({"role": "assistant", "tool_calls": [call(WEATHER, OSLO, id="a")]}),
            chunk({"content": "\n", "tool_calls": None}),
            chunk({"tool_calls": [call(TIME, CET, id="b")]}), CALLS_END]),
            called(("a", WEATHER, OSLO), ("b", TIME, CET), content="\n"), "right"),
        row("two calls with one index and two ids", "apache/maka#1976", "Ollama",
            answer(calls(call(WEATHER, OSLO, id="a"), call(WEATHER, PARIS, id="b"))),
            called(("a", WEATHER, OSLO), ("b", WEATHER, PARIS)), "right"),
        row("a last event that orders the items in another way", "invergent-ai/surogate#175",
            "surogate", answer([CREATED, text, late, completed(output=whole)], done=False),
            Whole(output=whole, text="Hello"), "right", endpoint="responses"),
    ]  # fmt: skip


ROWS: tuple[Report, ...] = (*failures(), *answers())
