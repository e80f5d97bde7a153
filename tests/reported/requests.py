"""Requests and statuses, waits, framings, usage, and the dialects of single servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai_stream.testing import answer, completion_chunks, error_answer, frame, head, json_answer

from .row import HELLO, JSON, STOP, Fails, Report, Whole, chunk, said, texts

WHOLE = Whole(said("Hello"), finish_reason="stop", text="Hello")
USAGE: JSON = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
RETRIED = [answer(HELLO)]


def status(number: int, body: object, headers: dict[str, str | None] | None = None) -> list[Any]:
    """A status with a body: JSON, or a text as it is."""
    if not isinstance(body, str):
        return json_answer(body, number, headers)
    data = body.encode()
    own = {"Content-Type": "text/html; charset=UTF-8", "Content-Length": str(len(data))}
    return [head(number, {**own, **(headers or {})}) + data]


def page(number: int, title: str) -> str:
    """A page of Cloudflare's."""
    return (
        f"<!DOCTYPE html>\n<html lang='en-US'><head><title>{title}</title>"
        "<style>body{margin:0;padding:0}</style></head>"
        f"<body><div id='cf-wrapper'>Error {number} Ray ID: 0123456789abcdef</div></body></html>"
    )


def statuses() -> Iterator[Report]:
    yield Report(
        "402, the account has no credit",
        "continuedev/continue#4293",
        "DeepSeek",
        error_answer(402, "Insufficient Balance", type="unknown_error"),
        Fails("APIStatusError", "Insufficient Balance", attributes={"status_code": 402}),
        before="right",
        again=[error_answer(402, "Insufficient Balance", type="unknown_error")] * 2,
        requests=1,
    )
    yield Report(
        "520 with a page of Cloudflare's, then the answer",
        "crmne/ruby_llm#606",
        "OpenAI behind Cloudflare",
        status(520, page(520, "api.example.com | 520: Web server is returning an unknown error")),
        WHOLE,
        before="not asked again",
        again=RETRIED,
        requests=2,
    )
    yield Report(
        "524 with a page of Cloudflare's, three times",
        "ollama/ollama#3694",
        "Ollama behind Cloudflare",
        status(524, page(524, "chat.example.com | 524: A timeout occurred")),
        Fails(
            "InternalServerError", "A timeout occurred", "margin", attributes={"status_code": 524}
        ),
        before="not asked again, and a page of HTML in the message",
        again=[status(524, page(524, "chat.example.com | 524: A timeout occurred"))] * 2,
        requests=3,
    )
    yield Report(
        "520 as JSON of Cloudflare's",
        "letta-ai/letta-code#2136",
        "Letta behind Cloudflare",
        status(
            520,
            {
                "cloudflare_error": True,
                "status": 520,
                "title": "Error 520: Web server error",
                "detail": "The origin returned an unexpected response",
                "retryable": True,
            },
        ),
        WHOLE,
        before="not asked again",
        again=RETRIED,
        requests=2,
    )
    yield Report(
        "403 with a page that wants JavaScript",
        "GewoonJaap/codex-openai-wrapper#53",
        "ChatGPT behind Cloudflare",
        status(403, page(403, "Attention Required! | Cloudflare")),
        Fails("PermissionDeniedError", "Attention Required!", "margin"),
        before="a page of HTML in the message",
    )
    yield Report(
        "503 with a page of nginx's",
        "WolframResearch/Chatbook#183",
        "nginx",
        status(
            503,
            "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n"
            "<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"
            "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
        ),
        Fails("InternalServerError", "503 Service Temporarily Unavailable", "<"),
        before="a page of HTML in the message",
    )
    yield Report(
        "529, overloaded, then the answer",
        "anthropics/claude-code#5184",
        "Anthropic",
        status(
            529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        ),
        WHOLE,
        before="not asked again",
        again=RETRIED,
        requests=2,
    )
    yield Report(
        "404 with status, title and detail, no error object",
        "Alishahryar1/free-claude-code#956",
        "NVIDIA NIM",
        status(404, {"status": 404, "title": "Not Found", "detail": "Function 'f': Not found"}),
        Fails("NotFoundError", "404 Not Found: Function 'f': Not found"),
        before="right",
    )
    yield Report(
        "404 with success false and a list of errors",
        "anomalyco/opencode#18552",
        "Cloudflare Workers AI",
        status(
            404,
            {
                "result": None,
                "success": False,
                "errors": [{"code": 7003, "message": "Could not route to /client/v4/accounts"}],
                "messages": [],
            },
        ),
        Fails(
            "NotFoundError",
            "404 Not Found: Could not route to /client/v4/accounts",
            attributes={"code": "7003"},
        ),
        before="the message is the body's JSON",
    )
    yield Report(
        "400 as a list that holds the error object",
        "FuzzAnything/PromptFuzz#42",
        "Gemini's OpenAI mode",
        status(
            400,
            [{"error": {"code": 400, "message": 'Unknown name "x"', "status": "INVALID_ARGUMENT"}}],
        ),
        Fails("BadRequestError", '400 Bad Request: Unknown name "x"', attributes={"code": "400"}),
        before="the message is the body's JSON",
    )
    yield Report(
        "400 with error_code and message",
        "567-labs/instructor#691",
        "Databricks",
        status(400, {"error_code": "BAD_REQUEST", "message": "Chat message roles must alternate"}),
        Fails(
            "BadRequestError",
            "400 Bad Request: Chat message roles must alternate",
            attributes={"code": "BAD_REQUEST"},
        ),
        before="the code is lost",
    )
    yield Report(
        "400 with a code, and the words as a text under error",
        "nocmt/LLMSearchPlus#2",
        "xAI",
        status(
            400, {"code": "Client specified an invalid argument", "error": "One text per message"}
        ),
        Fails(
            "BadRequestError",
            "400 Bad Request: One text per message",
            attributes={"code": "Client specified an invalid argument"},
        ),
        before="the code is lost",
    )
    yield Report(
        "400 with message, type, param and code at the top",
        "Alishahryar1/free-claude-code#1136",
        "Cerebras",
        status(
            400,
            {
                "message": "property 'x' is unsupported",
                "type": "invalid_request_error",
                "param": "validation_error",
                "code": "wrong_api_format",
            },
        ),
        Fails(
            "BadRequestError",
            "property 'x' is unsupported",
            attributes={"type": "invalid_request_error", "code": "wrong_api_format"},
        ),
        before="right",
    )
    yield Report(
        "422 with a list under detail",
        "",
        "FastAPI's servers",
        status(
            422,
            {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]},
        ),
        Fails("UnprocessableEntityError", ": Field required"),  # its phrase is Python's
        before="the message is the body's JSON",
    )
    yield Report(
        "200 with error_code and error_msg as JSON",
        "langchain4j/langchain4j#1359",
        "Baidu Qianfan",
        json_answer({"error_code": 336003, "error_msg": "the max length of content is 2000"}),
        Fails(
            "StreamAPIError",
            "the max length of content is 2000",
            attributes={"code": "336003"},
        ),
        before="StreamDecodeError, the words are lost",
    )
    yield Report(
        "504 whose JSON is a message at the top",
        "aws/context-ontology-accelerator#185",
        "AWS API Gateway",
        status(504, {"message": "Endpoint request timed out"}),
        Fails("InternalServerError", "504 Gateway Timeout: Endpoint request timed out"),
        before="right",
        again=[status(504, {"message": "Endpoint request timed out"})],
        requests=2,
    )
    yield Report(
        "524 as an error object whose code is a number",
        "ferrislucas/promptr#32",
        "OpenAI behind Cloudflare",
        status(
            524,
            {"error": {"code": 524, "message": "Gateway timeout.", "type": "cf_gateway_timeout"}},
        ),
        WHOLE,
        before="not asked again",
        again=RETRIED,
        requests=2,
    )
    yield Report(
        "429 with an error object and a user, no type",
        "Aider-AI/aider#3550",
        "OpenRouter",
        status(
            429,
            {
                "error": {
                    "message": "Rate limit exceeded: free-models-per-day",
                    "code": 429,
                    "metadata": {"headers": {"X-RateLimit-Reset": "1743292800000"}},
                },
                "user_id": "user_1",
            },
        ),
        Fails("RateLimitError", "free-models-per-day", attributes={"code": "429"}),
        before="right",
    )
    yield Report(
        "413 with the code of a rate limit",
        "continuedev/continue#10218",
        "Groq",
        error_answer(413, "Request too large", type="tokens", code="rate_limit_exceeded"),
        Fails(
            "APIStatusError",
            "Request too large",
            attributes={"status_code": 413, "code": "rate_limit_exceeded", "type": "tokens"},
        ),
        before="right",
        again=RETRIED,
        requests=1,
    )
    yield Report(
        "400 labelled gzip, whose JSON is plain",
        "envoyproxy/ai-gateway#2554",
        "Envoy AI Gateway",
        status(400, {"error": {"message": "boom"}}, {"Content-Encoding": "gzip"}),
        Fails("BadRequestError", "400 Bad Request", attributes={"status_code": 400}),
        before="right",
    )
    yield Report(
        "429 whose Retry-After is a fraction",
        "SpaceTradersAPI/api-docs#24",
        "several",
        error_answer(429, "slow down", headers={"Retry-After": "0.7"}),
        WHOLE,
        before="right",
        again=RETRIED,
        requests=2,
        waits=0.7,
    )
    for value, name in [
        ("-10", "below zero"),
        ("nan", "not a number"),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "a date that has passed"),
    ]:
        yield Report(
            f"429 whose Retry-After is {name}",
            "openai/openai-python#3555",
            "several",
            error_answer(429, "slow down", headers={"Retry-After": value}),
            WHOLE,
            before="asked again at once",
            again=RETRIED,
            requests=2,
            waits=0.2,
        )
    yield Report(
        "429 that asks to wait an hour",
        "openai/openai-node#1924",
        "OpenAI",
        error_answer(429, "slow down", headers={"Retry-After": "3600"}),
        Fails("RateLimitError", "slow down", attributes={"retry_after": 3600.0}),
        before="right",
        again=RETRIED,
        requests=1,
    )
    yield Report(
        "429, the quota is used up",
        "langchain-ai/langchainjs#1929",
        "OpenAI",
        error_answer(429, "You exceeded your current quota", code="insufficient_quota"),
        Fails("RateLimitError", "current quota", attributes={"code": "insufficient_quota"}),
        before="asked three times",
        again=[error_answer(429, "You exceeded your current quota", code="insufficient_quota")] * 2,
        requests=1,
    )


def framings() -> Iterator[Report]:
    waiting = b": OPENROUTER PROCESSING\n\n"
    yield Report(
        "Comments between the events",
        "openai/openai-go#227",
        "OpenRouter",
        answer([waiting, HELLO[0], waiting, *HELLO[1:]]),
        WHOLE,
        before="right",
    )
    yield Report(
        "Comments between events that have an id",
        "openai/openai-python#2722",
        "LLM Gateway",
        answer(
            [frame(HELLO[0], id="1"), b": ping\n\n", frame(HELLO[1], id="2"), b": ping\n\n", STOP]
        ),
        WHOLE,
        before="right",
    )
    yield Report(
        "A comment in the middle of an event's JSON",
        "james-6-23/codex2api#696",
        "codex2api",
        answer([HELLO[0], b'data: {"id":"c1","cho: keepalive\n\nices":[]}\n\n', *HELLO[1:]]),
        Fails("StreamDecodeError", held="Hel"),
        before="right",
    )
    yield Report(
        "null as an event",
        "Kilo-Org/kilocode#3083",
        "AgentRouter",
        answer([HELLO[0], b"data: null\n\n", *HELLO[1:]]),
        Whole(said("Hello"), text="Hello", events=HELLO),
        before="right",
    )
    beats: list[tuple[str, str, str, JSON]] = [
        ("An object of type ping", "caozhiyuan/copilot-api#88", "copilot-api", {"type": "ping"}),
        (
            "An object of type keepalive",
            "Prism-Shadow/agenthub#174",
            "one-api's gateways",
            {"type": "keepalive", "sequence_number": 3},
        ),
        (
            "An object of type heartbeat",
            "PhilflowIO/dav-mcp#31",
            "gateways",
            {"type": "heartbeat", "timestamp": "2025-10-31T11:30:41.100Z"},
        ),
    ]
    for name, source, server, beat in beats:
        yield Report(
            f"{name} as keep-alive",
            source,
            server,
            answer([beat, HELLO[0], beat, *HELLO[1:], beat]),
            Whole(said("Hello"), text="Hello", events=HELLO),
            before="delivered as an event, and part of the completion",
        )
    done = {"type": "response.completed", "response": {"id": "r", "output": [], "model": "m"}}
    yield Report(
        "An object of type response.keep_alive among a response's events",
        "OpenRouterTeam/python-sdk#266",
        "OpenRouter",
        answer([{"type": "response.keep_alive", "sequence_number": 1}, done], done=False),
        Whole(events=[done], output=[]),
        before="delivered as an event",
        endpoint="responses",
    )
    yield Report(
        "A chunk without choices as keep-alive",
        "CJackHwang/ds2api#430",
        "ds2api",
        answer([HELLO[0], {**HELLO[0], "choices": []}, *HELLO[1:]]),
        WHOLE,
        before="right",
    )
    yield Report(
        "Comments that a gateway sent on as data",
        "mnfst/llm-gateway#2053",
        "Manifest",
        answer([": OPENROUTER PROCESSING", *HELLO]),
        Whole(said("Hello"), text="Hello", events=HELLO),
        before="right",
    )
    yield Report(
        "An event with only a retry field",
        "openai/openai-python#2721",
        "gateways",
        answer([b"retry: 3000\n\n", *HELLO]),
        WHOLE,
        before="right",
    )
    yield Report(
        "Chunks on lines that follow each other, without a blank line between",
        "rexxars/eventsource-parser#31",
        "GLM, Kimi",
        answer([*(frame(one)[:-1] for one in HELLO), b"\n"]),
        WHOLE,
        before="StreamDecodeError",
    )
    yield Report(
        "Chunks and [DONE] on lines that follow each other",
        "rexxars/eventsource-parser#31",
        "GLM, Kimi",
        answer([*(frame(one)[:-1] for one in HELLO), b"data: [DONE]\n\n"], done=False),
        WHOLE,
        before="StreamDecodeError",
    )
    yield Report(
        "JSON on several lines, each with data:",
        "SamSaffron/term-llm#454",
        "several",
        answer([json.dumps(one, indent=1) for one in HELLO]),
        WHOLE,
        before="right",
    )
    yield Report(
        "data: twice on each line",
        "langgenius/dify#4120",
        "FastAPI with sse-starlette",
        answer([frame("data: " + json.dumps(one)) for one in HELLO]),
        WHOLE,
        before="StreamDecodeError",
    )
    yield Report(
        "Chunks on lines that follow each other, of which the second is broken",
        "",
        "several",
        answer([frame(HELLO[0])[:-1], b'data: {"id":"c1","choices":[{"delta":{"con\n\n']),
        Fails("StreamDecodeError", held="Hel"),
        before="what came before it is lost",
    )
    yield Report(
        "An error as plain text in an event",
        "lucasjinreal/Crane#121",
        "Crane",
        answer([HELLO[0], "error: the engine failed"], done=False),
        Fails("StreamAPIError", "the engine failed", held="Hel"),
        before="StreamDecodeError, the words are lost",
    )
    yield Report(
        "An event of code and message, without choices",
        "OpenRouterTeam/ai-sdk-provider#440",
        "OpenRouter",
        answer(
            [
                HELLO[0],
                {
                    "code": 502,
                    "message": "Network connection lost.",
                    "metadata": {"error_type": "provider_unavailable"},
                },
            ]
        ),
        Fails("StreamAPIError", "Network connection lost.", held="Hel", attributes={"code": "502"}),
        before="looks whole",
    )
    yield Report(
        "An object of type ping that has the usage",
        "",
        "gateways",
        answer([*HELLO, {"type": "ping", "usage": USAGE}]),
        Whole(said("Hello"), usage=USAGE),
        before="right",
    )
    yield Report(
        "A byte order mark before the first event",
        "openai/openai-python#3819",
        "gateways",
        answer([b"\xef\xbb\xbf" + frame(HELLO[0]), *HELLO[1:]]),
        WHOLE,
        before="right",
    )
    yield Report(
        "Lines that end with CR LF",
        "miruamel/xuan#194",
        "gateways",
        answer(HELLO, line_end="\r\n"),
        WHOLE,
        before="right",
    )
    yield Report(
        "Lines that end with CR LF, a byte at a time",
        "praxis-proxy/praxis#739",
        "gateways",
        answer(HELLO, line_end="\r\n", bytes_per_chunk=1),
        WHOLE,
        before="right",
    )
    yield Report(
        "No space after data:",
        "tashfeenahmed/freellmapi#1087",
        "Ant Ling",
        answer([frame(one).replace(b"data: ", b"data:") for one in HELLO], done=False)[:-1]
        + answer([b"data:[DONE]\n\n"], done=False)[1:],
        WHOLE,
        before="right",
    )
    yield Report(
        "[DONE] with a space behind it",
        "mistralai/mistral-vibe#793",
        "Ollama",
        answer([*HELLO, b"data: [DONE] \n\n"], done=False),
        WHOLE,
        before="right",
    )
    yield Report(
        "DONE without brackets as the last event",
        "googleapis/java-genai#1084",
        "Gemini",
        answer([*HELLO, b"data: DONE\n\n"], done=False),
        WHOLE,
        before="StreamDecodeError",
    )
    yield Report(
        "[DONE] without data: as the last line",
        "Portkey-AI/gateway#55",
        "Portkey",
        answer([*HELLO, b"[DONE]\n\n"], done=False),
        WHOLE,
        before="right",
    )
    yield Report(
        "A text that holds [DONE]",
        "rahilp/second-brain-cloudflare#353",
        "any",
        answer([*texts("say [DONE]", " twice"), STOP]),
        Whole(said("say [DONE] twice"), text="say [DONE] twice"),
        before="right",
    )
    separators = "a\u2028b\u2029c\x85d"
    yield Report(
        "Line separators of Unicode in a text",
        "modelscope/evalscope#1642",
        "any",
        answer([*texts(separators), STOP]),
        Whole(said(separators), text=separators),
        before="right",
    )
    # urllib3, requests and openai raise too: DecodeError, ContentDecodingError, APIConnectionError.
    yield Report(
        "A plain body labelled gzip",
        "diegosouzapw/OmniRoute#2291",
        "OmniRoute",
        answer(HELLO, headers={"Content-Encoding": "gzip"}),
        Fails("StreamDecodeError"),
        before="right",
    )
    yield Report(
        "A body of 200 that is empty",
        "earendil-works/pi#2537",
        "corporate gateways",
        answer([], done=False),
        Fails("StreamInterruptedError", held=""),
        before="right",
    )
    yield Report(
        "Lines of JSON with an error in the last",
        "0xPlaygrounds/rig#825",
        "Ollama",
        answer(
            [
                b'{"model":"m","message":{"role":"assistant","content":"Hel"},"done":false}\n',
                b'{"error":"an error was encountered while running the model"}\n',
            ],
            done=False,
            content_type="application/x-ndjson",
        ),
        Fails("StreamAPIError", "an error was encountered while running the model"),
        before="StreamDecodeError, the words are lost",
    )
    yield Report(
        "A page of the gateway's with status 200",
        "QwenLM/qwen-code#6465",
        "corporate gateways",
        status(200, page(200, "Blocked")),
        Fails("StreamDecodeError", "page"),
        before="right",
    )
    yield Report(
        "An event stream for stream=False",
        "Alishahryar1/free-claude-code#486",
        "free-claude-code",
        answer(HELLO),
        Fails("StreamDecodeError"),
        before="right",
        stream=False,
    )


def usages() -> Iterator[Report]:
    usage = Whole(said("Hello"), finish_reason="stop", usage=USAGE, text="Hello")
    base = {key: value for key, value in STOP.items() if key != "choices"}
    yield Report(
        "Usage in a chunk without the field choices",
        "ROCm/ATOM#1711",
        "ATOM",
        answer([*HELLO, {**base, "usage": USAGE}]),
        usage,
        before="right",
    )
    yield Report(
        "Usage in a chunk whose choices are null",
        "pydantic/pydantic-ai#5165",
        "gateways",
        answer([*HELLO, {**base, "choices": None, "usage": USAGE}]),
        usage,
        before="right",
    )
    yield Report(
        "Usage in every chunk, each the sum so far",
        "open-webui/open-webui#29064",
        "vLLM",
        answer(
            [
                {
                    **one,
                    "usage": {"prompt_tokens": 9, "completion_tokens": at, "total_tokens": 9 + at},
                }
                for at, one in enumerate(HELLO)
            ]
        ),
        usage,
        before="right",
    )
    yield Report(
        "Usage before the last chunk, which says null",
        "openai/openai-agents-python#2126",
        "xAI",
        answer([HELLO[0], {**HELLO[1], "usage": USAGE}, {**STOP, "usage": None}]),
        usage,
        before="right",
    )
    yield Report(
        "Usage with the finish reason, in a delta that has a role",
        "odysseus-dev/odysseus#1703",
        "gateways",
        answer([*HELLO[:2], chunk({"role": "assistant", "content": None}, "stop", usage=USAGE)]),
        usage,
        before="right",
    )
    inside: JSON = {**STOP, "choices": [{**STOP["choices"][0], "usage": USAGE}]}
    yield Report(
        "Usage inside the choice, then alone",
        "maximhq/bifrost#191",
        "OpenAI's gateways",
        answer([*HELLO[:2], inside, {**base, "choices": [], "usage": USAGE}]),
        usage,
        before="right",
    )
    yield Report(
        "Usage inside the choice of the last chunk, and nowhere else",
        "earendil-works/pi#2017",
        "Moonshot",
        answer([*HELLO[:2], inside]),
        usage,
        before="no usage",
    )
    yield Report(
        "Usage in x_groq, and nowhere else",
        "Portkey-AI/gateway#1072",
        "Groq, without stream_options",
        answer([*HELLO[:2], {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}}]),
        usage,
        before="no usage",
    )
    yield Report(
        "Usage as an empty object in every chunk but one",
        "",
        "gateways",
        answer(
            [
                {**HELLO[0], "usage": {}},
                HELLO[1],
                {**STOP, "usage": USAGE},
                {**base, "choices": [], "usage": {}},
            ]
        ),
        usage,
        before="right",
    )


def dialects() -> Iterator[Report]:
    def reasons(reason: object, last: object) -> list[JSON]:
        choices = [one["choices"][0] for one in HELLO]
        marks = [reason, reason, last]
        return [
            {**one, "choices": [{**choice, "finish_reason": mark}]}
            for one, choice, mark in zip(HELLO, choices, marks, strict=True)
        ]

    yield Report(
        "finish_reason is an empty text until the end",
        "sgl-project/sglang#3912",
        "SGLang, Ollama",
        answer(reasons("", "stop")),
        WHOLE,
        before="right",
    )
    yield Report(
        "finish_reason is an empty text, and the answer is cut",
        "ollama/ollama#4357",
        "Ollama",
        answer(reasons("", ""), done=False),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    )
    yield Report(
        'finish_reason is the text "null", and the answer is cut',
        "PowerShell/AIShell#350",
        "KoboldCpp",
        answer(reasons("null", "null"), done=False),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    )
    yield Report(
        'finish_reason is the text "null" until the end',
        "PowerShell/AIShell#350",
        "KoboldCpp",
        answer(reasons("null", "stop"), done=False),
        WHOLE,
        before="right",
    )
    yield Report(
        "No finish_reason at all, and [DONE]",
        "XiaomiMiMo/MiMo-Code#2244",
        "OpenCode Zen",
        answer(HELLO[:2]),
        Whole(said("Hello"), text="Hello"),
        before="right",
    )
    yield Report(
        "Neither finish_reason nor [DONE]",
        "can1357/oh-my-pi#9433",
        "gateways",
        answer(HELLO[:2], done=False),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    )
    yield Report(
        "The last piece of the text comes with the finish reason",
        "linagora/openrag#749",
        "vLLM",
        answer([HELLO[0], chunk({"content": "lo"}, "stop")]),
        WHOLE,
        before="right",
    )
    results = {"hate": {"filtered": False, "severity": "safe"}}
    first = {
        "id": "",
        "object": "",
        "created": 0,
        "model": "",
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": results}],
    }
    late = {
        "id": "",
        "object": "",
        "created": 0,
        "model": "",
        "choices": [
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_results": results,
                "content_filter_offsets": {"check_offset": 44, "end_offset": 198},
            }
        ],
    }
    azure = Whole(
        said("Hello"),
        finish_reason="stop",
        text="Hello",
        fields={"id": "c1", "model": "m", "created": 1700000000},
    )
    yield Report(
        "A first chunk with filter results and a void id",
        "AbanteAI/archive-old-cli-mentat#429",
        "Azure",
        answer([first, *HELLO]),
        azure,
        before="right",
    )
    yield Report(
        "Filter results after the end, void id, no delta",
        "microsoft/autogen#6465",
        "Azure, asynchronous filter",
        answer([first, *HELLO, late]),
        azure,
        before="right",
    )
    yield Report(
        "delta is null",
        "microsoft/agent-framework#5734",
        "Azure",
        answer([*HELLO[:2], {**STOP, "choices": [{**STOP["choices"][0], "delta": None}]}]),
        WHOLE,
        before="right",
    )
    yield Report(
        "The role in every delta",
        "higress-group/higress#3670",
        "MiniMax",
        answer([*(chunk({"role": "assistant", "content": one}) for one in ("Hel", "lo")), STOP]),
        WHOLE,
        before="right",
    )
    yield Report(
        "The role is an empty text after the first delta",
        "anomalyco/opencode#28427",
        "Zhipu",
        answer([HELLO[0], chunk({"role": "", "content": "lo"}), STOP]),
        WHOLE,
        before="right",
    )
    yield Report(
        "The role is null after the first delta",
        "sgl-project/sglang#3912",
        "SGLang",
        answer([HELLO[0], chunk({"role": None, "content": "lo", "tool_calls": None}), STOP]),
        Whole(said("Hello", tool_calls=None), text="Hello"),
        before="right",
    )
    yield Report(
        "The message so far beside each delta",
        "open-webui/open-webui#9927",
        "Perplexity",
        answer(
            [
                {
                    **one,
                    "citations": ["https://example.com"],
                    "choices": [{**one["choices"][0], "message": said(so_far)}],
                }
                for one, so_far in zip(HELLO, ("Hel", "Hello", "Hello"), strict=True)
            ]
        ),
        Whole(
            said("Hello"),
            finish_reason="stop",
            text="Hello",
            fields={"citations": ["https://example.com"]},
        ),
        before="right",
    )
    yield Report(
        "The message so far beside each delta, under an index that counts chunks",
        "microsoft/foundry-local#144",
        "Foundry Local",
        answer(
            [
                {
                    **chunk(index=at),
                    "id": f"chat.id.{at}",
                    "error": None,
                    "HttpStatusCode": 0,
                    "choices": [{**choice, "index": at, "message": choice["delta"]}],
                }
                for at, choice in enumerate(one["choices"][0] for one in HELLO)
            ]
        ),
        WHOLE,
        before="a choice for each chunk",
    )
    last = {**STOP, "choices": [{"index": 0, "message": said("Hello"), "finish_reason": "stop"}]}
    yield Report(
        "The whole message in the last chunk, after the deltas",
        "abundantbeing/hermes-browser-extension#11",
        "gateways",
        answer([*HELLO[:2], last]),
        WHOLE,
        before="right",
    )
    yield Report(
        "The whole message in the only chunk, and no delta",
        "",
        "gateways that do not stream",
        answer([{**last, "object": "chat.completion"}]),
        Whole(said("Hello"), finish_reason="stop"),
        before="right",
    )
    yield Report(
        "A list of tool calls that is empty beside each text",
        "microsoft/vscode#330038",
        "vLLM",
        answer([*(chunk({"content": one, "tool_calls": []}) for one in ("Hel", "lo")), STOP]),
        Whole(finish_reason="stop", text="Hello"),
        before="right",
    )
    yield Report(
        "Choices without index, finish_reason only at the end",
        "mudler/LocalAI#648",
        "LocalAI",
        answer(
            [
                *(
                    {"object": "text_completion", "model": "m", "choices": [{"text": one}]}
                    for one in ("Hel", "lo")
                ),
                {"model": "m", "choices": [{"finish_reason": "stop"}]},
            ]
        ),
        Whole("Hello", finish_reason="stop", text="Hello"),
        before="right",
        endpoint="completions",
    )
    yield Report(
        "Another id in each chunk",
        "ggml-org/llama.cpp#5876",
        "llama.cpp",
        answer([{**one, "id": f"chatcmpl-{at}"} for at, one in enumerate(HELLO)]),
        WHOLE,
        before="right",
    )
    yield Report(
        "No id, model or created",
        "openvinotoolkit/model_server#3553",
        "OpenVINO Model Server",
        answer([{"object": one["object"], "choices": one["choices"]} for one in HELLO]),
        WHOLE,
        before="right",
    )
    yield Report(
        "An object name of its own",
        "openai/openai-dotnet#706",
        "Azure, on your data",
        answer([{**one, "object": "extensions.chat.completion.chunk"} for one in HELLO]),
        WHOLE,
        before="right",
    )
    yield Report(
        "x_groq in the first and the last chunk",
        "Portkey-AI/gateway#1072",
        "Groq",
        answer(
            [
                {**HELLO[0], "x_groq": {"id": "req_1"}},
                HELLO[1],
                {**STOP, "x_groq": {"id": "req_1", "usage": USAGE}},
            ]
        ),
        Whole(said("Hello"), fields={"x_groq": {"id": "req_1", "usage": USAGE}}),
        before="right",
    )
    logprobs = [
        {
            "tokens": ["Hel"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{"Hel": -0.5}],
            "text_offset": [0],
        },
        {
            "tokens": ["lo"],
            "token_logprobs": [-0.25],
            "top_logprobs": [{"lo": -0.25}],
            "text_offset": [3],
        },
    ]
    plain = completion_chunks(["Hel", "lo"])
    yield Report(
        "Log probabilities of a text completion",
        "vllm-project/vllm#47815",
        "vLLM",
        answer(
            [
                {**one, "choices": [{**one["choices"][0], "logprobs": of}]}
                for one, of in zip(plain, [*logprobs, None], strict=True)
            ]
        ),
        Whole(
            fields={
                "choices": [
                    {
                        "text": "Hello",
                        "index": 0,
                        "logprobs": {
                            "tokens": ["Hel", "lo"],
                            "token_logprobs": [-0.5, -0.25],
                            "top_logprobs": [{"Hel": -0.5}, {"lo": -0.25}],
                            "text_offset": [0, 3],
                        },
                        "finish_reason": "stop",
                    }
                ]
            },
            text="Hello",
        ),
        before="right",
        endpoint="completions",
    )


ROWS: tuple[Report, ...] = (*statuses(), *framings(), *usages(), *dialects())
