"""Failures in the stream, labels of answers, and what ends one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any

from openai_stream.testing import Event, Script, answer, error_answer, frame, head, json_answer

from .row import HELLO, JSON, STOP, Fails, Report, Whole, chunk, said, texts

PART = texts("Hel", "lo")
DONE = frame("[DONE]")
BOOM = {"error": {"message": "boom"}}
BARE = json.dumps(BOOM).encode()
GOOD = Whole(message=said("Hello"), finish_reason="stop", text="Hello")
USAGE: JSON = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
COMPLETION: JSON = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [{"index": 0, "message": said("Hello"), "finish_reason": "stop"}],
}
PAGE = (
    b"<!DOCTYPE html><html><head><style>body{color:red}</style><title>m.example | 520: Web server "
    b"is returning an unknown error</title></head><body>Your IP: 192.0.2.7</body></html>"
)
WHOLE = "looks whole"


def failed(message: str, *, held: str | None = "Hello", **attributes: Any) -> Fails:
    return Fails("StreamAPIError", message, held=held, attributes=attributes)


def ended(reason: str, **fields: Any) -> JSON:
    """The last chunk, which says that the server failed."""
    last = chunk({}, reason)
    last["choices"][0].update(fields)
    return last


def sent(*events: Event, done: bool = True, **how: Any) -> Script:
    return answer([*PART, *events], done=done, **how)


def page(status: int, body: bytes = PAGE, **headers: str) -> Script:
    length = {"Content-Length": str(len(body)), "retry-after-ms": "1"}
    return [head(status, {**length, "Content-Type": "text/html", **headers}), body]


def row(
    name: str,
    source: str,
    server: str,
    script: Script,
    right: Whole | Fails,
    before: str = WHOLE,
    **more: Any,
) -> Report:
    return Report(name, source, server, script, right, before, **more)


def shapes() -> Sequence[Report]:
    """Failures in events, fields and lines."""
    context = {"code": 400, "message": "context exceeded", "type": "invalid_request_error"}
    llama, no_data = "llama.cpp, 2025", "a gateway"
    return [
        row("a field named error", "ggml-org/llama.cpp#16104", llama,
            sent(b"error: " + json.dumps(context).encode() + b"\n\n"),
            failed("context exceeded", code="400", type="invalid_request_error")),
        row("a field named error, first and without [DONE]", "coddy-project/coddy-agent#106", llama,
            answer([b"error: " + json.dumps(context).encode() + b"\n\n"], done=False),
            failed("context exceeded", held=""), "interrupted"),
        row("a field named error, of text", "", llama, sent(b"error: context exceeded\n\n"),
            failed("context exceeded")),
        row("a bare line of JSON in the stream", "googleapis/js-genai#1973", "Gemini",
            sent(BARE + b"\n\n"), failed("boom")),
        row("a bare line of JSON that no blank line ends", "stacklok/toolhive#6085", no_data,
            sent(BARE, done=False), failed("boom"), "interrupted"),
        row("a bare line of JSON instead of the stream", "", no_data,
            answer([BARE], done=False), failed("boom", held=""), "StreamDecodeError"),
        row("error_type and error_message without choices", "NousResearch/hermes-agent#65643",
            "an OpenAI-compatible server",
            sent({"choices": None, "error_type": "BadRequestError", "error_message": "boom"}),
            failed("boom", type="BadRequestError")),
        row("base_resp", "", "MiniMax",
            sent({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "boom"}}),
            failed("boom", code="1004")),
        row("success false and errors", "", "Cloudflare",
            sent({"success": False, "errors": [{"code": 7003, "message": "boom"}], "result": None}),
            failed("boom", code="7003")),
        row("a code and a message without choices", "QwenLM/Qwen#938", "DashScope",
            sent({"code": "DataInspectionFailed", "message": "boom", "request_id": "r"}),
            failed("boom", code="DataInspectionFailed")),
        row("a detail", "", "FastAPI", sent({"detail": "boom"}), failed("boom")),
        row("a type error without an error", "", no_data,
            sent({"type": "error", "message": "boom"}), failed("boom")),
        row("an error_code", "", "Databricks",
            sent({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "boom"}),
            failed("boom", code="REQUEST_LIMIT_EXCEEDED")),
        row("an error event with its data behind a blank line", "", no_data,
            sent(b"event: error\n\n", b'data: {"message": "boom"}\n\n'), failed("boom")),
        row("an error event in capitals", "", no_data,
            sent(b'event: ERROR\ndata: {"message": "boom"}\n\n'), failed("boom")),
        row("an error event with a comment of the status", "zhengxs2018/ai#12", "DashScope",
            sent(b"id:1\nevent:error\n:HTTP_STATUS/429\ndata:" + json.dumps(
                {"code": "Throttling.AllocationQuota", "message": "quota", "request_id": "r"}
            ).encode() + b"\n\n"),
            failed("quota", code="Throttling.AllocationQuota"), "right"),
        row("finish_reason error with an error in the choice", "damianvtran/local-operator#223",
            "OpenRouter", sent(ended("error", error={"code": 502, "message": "boom"})),
            failed("boom", code="502")),
        row("finish_reason error and an error beside choices", "use-agent-os/agent-os#2215",
            "OpenRouter", sent({**ended("error"), "error": {"code": 502, "message": "boom"}}),
            failed("boom", code="502"), "right"),
        row("finish_reason error alone", "gethouston/houston#1211", "OpenRouter",
            sent(ended("error")), failed("error")),
        row("finish_reason network_error", "gethouston/houston#1211", "Zhipu",
            sent(ended("network_error")), failed("network_error")),
        row("finish_reason insufficient_system_resource", "can1357/oh-my-pi#8563", "DeepSeek",
            sent(ended("insufficient_system_resource")), failed("insufficient_system_resource")),
        row("finish_reason abort and [DONE]", "vllm-project/vllm#57082", "vLLM",
            sent(ended("abort")), failed("abort")),
        row("an error in the first choice of a whole answer", "razzant/claudexor#144", "OpenRouter",
            json_answer({**COMPLETION, "choices": [{**COMPLETION["choices"][0],
                "finish_reason": "error", "error": {"code": 502, "message": "boom"}}]}),
            failed("boom", code="502"), stream=False),
        row("an error whose words are in metadata.raw", "open-webui/computer#293", "OpenRouter",
            answer([{"error": {"message": "Provider returned error", "code": 429,
                "metadata": {"raw": "rate-limited upstream", "provider_name": "P"}}}]),
            failed("rate-limited upstream", held="", code="429"), "says other words"),
        row("an error whose words are JSON in metadata.raw", "diegosouzapw/OmniRoute#3044",
            "OpenRouter",
            json_answer({"error": {"message": "Provider returned error", "code": 400, "metadata":
                {"raw": '{"error": {"type": "t", "message": "at most 1 image"}}'}}}, status=400),
            Fails("BadRequestError", "Provider returned error: at most 1 image",
                  attributes={"type": "t", "code": "400"}), "says other words"),
        row("an error whose message is another error as text", "continuedev/continue#10560",
            "a proxy of Gemini",
            sent({"error": {"message": json.dumps({"error": {"code": 429, "message": "exhausted",
                "status": "RESOURCE_EXHAUSTED"}}), "code": 429, "status": "Too Many Requests"}}),
            failed("in its answer: exhausted", code="429", type="RESOURCE_EXHAUSTED"),
            "says other words"),
        row("an error with its message twice", "zendev-sh/goai#110", "LM Studio",
            sent({"error": {"message": "Compute error."}, "message": "Compute error."}),
            failed("in its answer: Compute error."), "right"),
        row("an error and its error_type", "huggingface/text-generation-inference#2668", "TGI",
            sent({"error": "Incomplete generation", "error_type": "incomplete_generation"}),
            failed("Incomplete generation", type="incomplete_generation"), "type is None"),
        row("an error as text in an event's data", "lucasjinreal/Crane#121", "Crane",
            sent(b"data: error: out of memory\n\n"), failed("out of memory"),
            "StreamDecodeError"),
        row("an error behind an event that was never finished", "Wei-Shaw/sub2api#1471", "sub2api",
            sent(b'data: {"id": "c1", "choi\ndata: {"type": "error", "error": {"type": '
                 b'"upstream_error", "message": "stream_read_error"}}\n\n', done=False),
            failed("stream_read_error", type="upstream_error"), "StreamDecodeError"),
        row("an error in the stream and [DONE]", "apache/rocketmq-dashboard#2178", "a gateway",
            answer([{"error": {"message": "quota exceeded"}}]),
            failed("quota exceeded", held=""), "right"),
        row("an overloaded error event", "farzaa/clicky#132", "Anthropic's gateway",
            answer([frame({"type": "error", "error": {"type": "overloaded_error",
                "message": "Overloaded"}}, event="error")], done=False),
            failed("Overloaded", held="", type="overloaded_error"), "right"),
        row("an overloaded error of /responses", "editor-code-assistant/eca#559", "OpenAI",
            answer([frame({"type": "error", "code": "server_is_overloaded", "message": "busy"},
                event="error")], done=False),
            failed("busy", held=None, code="server_is_overloaded"), "right", endpoint="responses"),
        row("plain text behind what was cut, and an orderly end", "tetsuo-ai/agenc-core#2492",
            "a proxy", sent(b"upstream error: read ECONNRESET\n", done=False),
            Fails("StreamInterruptedError", "before it was complete", held="Hello"), "right"),
        row("a void error in every chunk", "", "a gateway",
            answer([{**one, "error": ""} for one in HELLO]), GOOD, "StreamAPIError"),
        row("an empty error object in every chunk", "", "a gateway",
            answer([{**one, "error": {}} for one in HELLO]), GOOD, "StreamAPIError"),
        row("a base_resp that says all is well", "", "MiniMax",
            answer([{**one, "base_resp": {"status_code": 0}} for one in HELLO]), GOOD, "right"),
        row("a code beside choices", "", "a gateway",
            answer([{**one, "code": 7, "message": "x"} for one in HELLO]), GOOD, "right"),
    ]  # fmt: skip


def bodies() -> Sequence[Report]:
    """Bodies that are not event streams, and labels that are wrong."""
    array = [{"error": {"code": 429, "message": "exhausted", "status": "RESOURCE_EXHAUSTED"}}]
    whole = json.dumps(COMPLETION).encode()
    ignored = Fails("StreamDecodeError", "ignores stream=True", held="Hello")
    return [
        row("a list of errors under 429", "n4ze3m/page-assist#406", "Gemini",
            json_answer(array, status=429),
            Fails("RateLimitError", ": exhausted (RESOURCE_EXHAUSTED, 429)",
                  attributes={"code": "429", "type": "RESOURCE_EXHAUSTED"}), "says other words"),
        row("a list of errors in a good body", "coreply/coreply#20", "Gemini",
            json_answer(array), failed("exhausted", held="", code="429"), "StreamDecodeError"),
        row("a list of errors in a good body, not streamed", "coreply/coreply#20", "Gemini",
            json_answer(array), failed("exhausted", held=None), "StreamDecodeError", stream=False),
        row("an error within an error", "", "a gateway",
            json_answer({"error": {"error": {"message": "m", "type": "t", "code": 5}}}, status=500),
            Fails("InternalServerError", ": m (t, 5)", attributes={"code": "5", "type": "t"}),
            "says other words"),
        row("words under msg", "", "Zhipu", json_answer({"code": 500, "msg": "m"}, status=500),
            Fails("InternalServerError", ": m (500)"), "says other words"),
        row("words in a list of details", "", "FastAPI",
            json_answer({"detail": [{"loc": ["body"], "msg": "field required"}]}, status=422),
            Fails("UnprocessableEntityError", ": field required"), "says other words"),
        row("a number for an error, and a message", "", "a gateway",
            json_answer({"error": 500, "message": "m"}), failed(": m (500)", held=""),
            "StreamDecodeError"),
        row("a base_resp instead of an answer", "", "MiniMax",
            json_answer({"base_resp": {"status_code": 1004, "status_msg": "log in"}}),
            failed("log in", held=None, code="1004"), stream=False),
        row("an event stream called JSON", "openclaw/openclaw#97474", "a gateway",
            answer(HELLO, content_type="application/json"), GOOD, "StreamDecodeError"),
        row("an event stream called JSON, from a proxy", "microsoft/foundry-dev-tools#195",
            "Palantir", answer(HELLO, content_type="application/json; charset=utf-8"), GOOD,
            "StreamDecodeError"),
        row("an event stream called a page", "", "a gateway",
            answer(HELLO, content_type="text/html"), GOOD, "StreamDecodeError"),
        row("an event stream called application/stream+json", "", "Spring",
            answer(HELLO, content_type="application/stream+json"), GOOD, "StreamDecodeError"),
        row("an event stream without a label", "nearai/private-ml-sdk#20", "vLLM behind a proxy",
            answer(HELLO, content_type=None), GOOD, "right"),
        row("events that were wrapped in events", "openclaw/openclaw#97474", "a gateway",
            answer([b"data: " + frame(one) for one in HELLO]), GOOD, "StreamDecodeError"),
        row("a whole completion called an event stream", "tinyhumansai/tinyagents#56", "a mock",
            answer([whole], done=False), ignored, "StreamDecodeError, holds nothing"),
        row("a whole completion called text", "mistralai/mistral-vibe#619", "a server",
            answer([whole], done=False, content_type="text/plain"), ignored,
            "StreamDecodeError, holds nothing"),
        row("a whole completion with [DONE] behind it", "", "a gateway",
            answer([whole, b"\n\n"]), ignored),
        row("a whole completion with [DONE] behind it, not streamed", "decolua/9router#3492",
            "9router", answer([whole, b"\n\n"]),
            Whole(message=said("Hello"), finish_reason="stop"), "StreamDecodeError", stream=False),
        row("plain bytes said to be compressed by utf-8", "", "a proxy",
            answer(HELLO, headers={"Content-Encoding": "utf-8"}), GOOD, "StreamDecodeError"),
        row("a page under 520 that nothing is said of", "earendil-works/pi#6673", "Cloudflare",
            page(520), Fails("InternalServerError", "520: Web server is", unsaid="192.0.2.7"),
            "says other words"),
        row("520, and then an answer", "earendil-works/pi#9627", "Cloudflare",
            page(520, b""), GOOD, "InternalServerError", again=[answer(HELLO)], requests=2),
        row("524, and then an answer", "letta-ai/letta-code#1179", "Cloudflare",
            page(524), GOOD, "InternalServerError", again=[answer(HELLO)], requests=2),
        row("529, and then an answer", "", "an overloaded gateway",
            page(529, b"busy"), GOOD, "InternalServerError", again=[answer(HELLO)], requests=2),
        row("a compressed error that nobody asked for", "", "a gateway",
            page(500, gzip.compress(b"x" * 99), **{"Content-Encoding": "br"}),
            Fails("InternalServerError", "500", unsaid="\ufffd"), "says other words"),
        row("a negative Retry-After", "planningcenter/developers#606", "a gateway",
            error_answer(429, "slow", headers={"Retry-After": "-1"}), GOOD, "retried at once",
            again=[answer(HELLO)], waits=0.3),
        row("a Retry-After in the past", "kubescape/kubevuln#755", "a gateway",
            error_answer(429, "slow", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            GOOD, "retried at once", again=[answer(HELLO)], waits=0.3),
        row("an account that is used up", "Gitlawb/openclaude#249", "OpenAI",
            error_answer(429, "pay", code="insufficient_quota"),
            Fails("RateLimitError", "no credit"), "2 requests", again=[answer(HELLO)], requests=1),
        row("a balance that is used up", "modelscope/modelscope#1691", "MiniMax",
            error_answer(429, "pay", type="insufficient_balance_error"),
            Fails("RateLimitError", "no credit"), "2 requests", again=[answer(HELLO)], requests=1),
    ]  # fmt: skip


def ends() -> Sequence[Report]:
    """What ends a stream, and what is no part of the answer."""
    stop = frame(STOP).rstrip()
    usage = {**chunk(), "choices": [], "usage": USAGE}
    progress = {"id": "call_9", "object": "x.progress", "model": "zzz", "tool": "t"}
    content = [{"type": "output_text", "text": "Hello", "annotations": []}]
    message = {"id": "m1", "type": "message", "role": "assistant", "content": content}
    completed = frame({"type": "response.completed", "response": {
        "id": "r1", "object": "response", "status": "completed", "output": [message]}},
        event="response.completed").rstrip()  # fmt: skip
    return [
        row("a finish_reason without its blank line", "openai/openai-node#2725", "a gateway",
            answer([*PART, stop], done=False), GOOD, "StreamInterruptedError"),
        row("a finish_reason with one line end", "google-gemini/gemini-cli#29059", "a proxy",
            answer([*PART, stop + b"\n"], done=False, framing="length"), GOOD,
            "StreamInterruptedError"),
        row("usage without its blank line", "", "a gateway",
            answer([*HELLO, frame(usage).rstrip()], done=False), Whole(
                message=said("Hello"), finish_reason="stop", usage=USAGE), "loses the usage"),
        row("[DONE] without its blank line", "darshi1337/apogee#139", "llama.cpp",
            answer([*PART, b"data: [DONE]"], done=False),
            Whole(message=said("Hello"), text="Hello"), "StreamInterruptedError"),
        row("response.completed without its blank line", "earendil-works/pi#9047", "a gateway",
            answer([completed], done=False), Whole(output=[message]), "StreamInterruptedError",
            endpoint="responses"),
        row("half a number without its blank line", "", "a gateway",
            answer([*PART, b"data: 12"], done=False),
            Fails("StreamInterruptedError", held="Hello"), "right"),
        row("no finish_reason and no [DONE]", "vllm-project/vllm#52852", "vLLM",
            answer(PART, done=False), Fails("StreamInterruptedError", held="Hello"), "right"),
        row("progress of a tool under a name of its own", "janhq/jan#8392", "Hermes",
            answer([*HELLO, frame(progress, event="hermes.tool.progress")]),
            Whole(message=said("Hello"), finish_reason="stop", fields={"id": "c1", "model": "m"}),
            "id 'call_9'"),
        row("text under a name of its own", "", "a gateway",
            answer([PART[0], b"event: status\ndata: still thinking\n\n", *HELLO[1:]]), GOOD,
            "StreamDecodeError"),
        row("chunks under a name of their own", "", "a gateway",
            answer([frame(one, event="completion") for one in HELLO]), GOOD, "right"),
        row("an id with a NUL behind a good one", "", "any endpoint",
            answer([b"id: 123\nid: b\0d\ndata: 1\n\n"]),
            Whole(data=1, events=[{"event": "message", "data": 1, "id": "123"}]), "events",
            endpoint="any"),
        row("an empty id", "", "any endpoint", answer([b"id:\ndata: 1\n\n"]),
            Whole(data=1, events=[{"event": "message", "data": 1, "id": ""}]), "events",
            endpoint="any"),
    ]  # fmt: skip


ROWS: tuple[Report, ...] = (*shapes(), *bodies(), *ends())
