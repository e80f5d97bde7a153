"""The events of ``/responses``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from openai_stream.testing import Fin, answer

from .row import JSON, Fails, Report, Whole

USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
PART: JSON = {"type": "output_text", "annotations": [], "text": ""}


# What the rows are made of -----------------------------------------------------------------------


def event(kind: str, **fields: Any) -> JSON:
    return {"type": f"response.{kind}", **fields}


def response(status: str = "in_progress", **fields: Any) -> JSON:
    base = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "m"}
    return {**base, "status": status, **fields}


CREATED = event("created", response=response(output=[]))


def completed(status: str = "completed", **fields: Any) -> JSON:
    return event(status, response=response(status, usage=USAGE, **fields))


def message(text: str = "", id: str = "msg_1", status: str = "completed", **fields: Any) -> JSON:
    content = [{**PART, "text": text, **fields}] if text else []
    base = {"id": id, "type": "message", "status": status, "role": "assistant"}
    return {**base, "content": content}


def reasoning(text: str = "", id: str = "rs_1", **fields: Any) -> JSON:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": id, "type": "reasoning", "summary": summary, **fields}


def call(arguments: str = "", name: str = "get_weather", id: str = "fc_1", **fields: Any) -> JSON:
    base = {"id": id, "type": "function_call", "status": "completed", "call_id": f"call_{id}"}
    return {**base, "name": name, "arguments": arguments, **fields}


def added(item: JSON, index: int | None = 0) -> JSON:
    where = {} if index is None else {"output_index": index}
    return event("output_item.added", **where, item=item)


def done(item: JSON, index: int | None = 0) -> JSON:
    where = {} if index is None else {"output_index": index}
    return event("output_item.done", **where, item=item)


def text(*pieces: str, index: int = 0, id: str = "msg_1") -> list[JSON]:
    where = {"output_index": index, "content_index": 0, "item_id": id}
    return [event("output_text.delta", **where, delta=piece) for piece in pieces]


def arguments(*pieces: str, index: int = 0, id: str = "fc_1") -> list[JSON]:
    where = {"output_index": index, "item_id": id}
    return [event("function_call_arguments.delta", **where, delta=piece) for piece in pieces]


def summary(*pieces: str, index: int = 0, ids: Sequence[str] = ("rs_1",)) -> list[JSON]:
    return [
        event(
            "reasoning_summary_text.delta",
            output_index=index,
            summary_index=0,
            item_id=ids[place % len(ids)],
            delta=piece,
        )
        for place, piece in enumerate(pieces)
    ]


SAID = [
    added(message(status="in_progress")),
    event("content_part.added", output_index=0, content_index=0, item_id="msg_1", part=PART),
    *text("Hel", "lo"),
]
SAID_WHOLE = [
    *SAID,
    event("output_text.done", output_index=0, content_index=0, item_id="msg_1", text="Hello"),
    done(message("Hello")),
]
HELLO = [message("Hello")]
WEATHER = '{"city":"Oslo"}'
CALLED = [added(call(status="in_progress")), *arguments('{"city":', '"Oslo"}')]
ends = partial(answer, done=False)
report = partial(Report, endpoint="responses")
LOST = "output []"

SHELL_CALL = {"id": "sh_1", "type": "shell_call", "call_id": "call_1", "status": "in_progress"}
SHELL_OUTPUT = {"id": "sho_1", "type": "shell_call_output", "call_id": "call_1", "output": []}
PRINTED = {"stdout": "a.txt\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
SHELL = [
    CREATED,
    added({**SHELL_CALL, "action": {"commands": [], "timeout_ms": None}}),
    event("shell_call_command.added", output_index=0, command_index=0, command=""),
    event("shell_call_command.delta", output_index=0, command_index=0, delta="ls"),
    event("shell_call_command.delta", output_index=0, command_index=0, delta=" -a"),
    event("shell_call_command.done", output_index=0, command_index=0, command="ls -a"),
    event("shell_call_command.added", output_index=0, command_index=1, command="pwd"),
]


def printed(kind: str, **fields: Any) -> JSON:
    where = {"output_index": 1, "command_index": 0, "item_id": "sho_1"}
    return event(f"shell_call_output_content.{kind}", **where, **fields)


# The rows ----------------------------------------------------------------------------------------

ROWS: tuple[Report, ...] = (
    # The last event without the output.
    report(
        "The last event has an empty output",
        "QuantumNous/new-api#4362",
        "New API",
        ends([CREATED, *SAID_WHOLE, completed(output=[])]),
        Whole(output=HELLO, usage=USAGE, text="Hello", fields={"status": "completed"}),
        before=LOST,
    ),
    report(
        "The last event has an output that is null",
        "openai/openai-python#3312",
        "Codex backend",
        ends([CREATED, done(reasoning("Hm.")), done(message("Hello"), 1), completed(output=None)]),
        Whole(output=[reasoning("Hm."), message("Hello")], usage=USAGE, text="Hello"),
        before="output None",
    ),
    report(
        "The last event has an output that is null; only deltas came before",
        "openai/openai-python#3321",
        "Codex backend",
        ends([CREATED, *SAID, completed(output=None)]),
        Whole(output=[{**message("Hello"), "status": "in_progress"}], usage=USAGE, text="Hello"),
        before="output None",
    ),
    report(
        "The last event has no output",
        "ENTERPILOT/GoModel#831",
        "GoModel",
        ends([CREATED, *SAID_WHOLE, completed()]),
        Whole(output=HELLO, usage=USAGE, text="Hello", fields={"model": "m"}),
        before="output None",
    ),
    report(
        "The last event has neither output nor usage",
        "decolua/9router#705",
        "9router",
        ends(
            [
                CREATED,
                done(reasoning("Hm.")),
                *text("Hello", index=1),
                done(message("Hello"), 1),
                event("completed", response=response("completed", background=False, error=None)),
            ]
        ),
        Whole(output=[reasoning("Hm."), message("Hello")], text="Hello"),
        before="output None",
    ),
    report(
        "The last event has an id and the usage, no more",
        "Oaklight/llm-rosetta#56",
        "llm-rosetta",
        ends([CREATED, *SAID_WHOLE, event("completed", response={"id": "resp_1", "usage": USAGE})]),
        Whole(output=HELLO, usage=USAGE, fields={"status": "completed", "model": "m"}),
        before="output None",
    ),
    report(
        "Text without an item or an index, and an empty output",
        "Oaklight/llm-rosetta#56",
        "llm-rosetta",
        ends(
            [
                CREATED,
                event("output_text.delta", delta="Hel"),
                event("output_text.delta", delta="lo"),
                event("completed", response={"status": "completed", "output": []}),
            ]
        ),
        Whole(
            output=[{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
            text="Hello",
            fields={"id": "resp_1", "model": "m"},
        ),
        before=LOST,
    ),
    report(
        "A function call, and an empty output",
        "commontoolsinc/labs#5092",
        "Codex backend",
        ends(
            [
                CREATED,
                *CALLED,
                event("function_call_arguments.done", output_index=0, arguments=WEATHER),
                done(call(WEATHER)),
                completed(output=[]),
            ]
        ),
        Whole(output=[call(WEATHER)], usage=USAGE),
        before=LOST,
    ),
    report(
        "Reasoning and three calls, and an empty output",
        "PwnKit-Labs/pwnkit#332",
        "Codex backend",
        ends(
            [
                CREATED,
                done(reasoning("Hm.")),
                *(done(call("{}", name, id=name), i) for i, name in enumerate("abc", 1)),
                completed(output=[]),
            ]
        ),
        Whole(output=[reasoning("Hm."), *(call("{}", name, id=name) for name in "abc")]),
        before=LOST,
    ),
    report(
        "Items that are done in another order than theirs, and an empty output",
        "bytedance/deer-flow#1928",
        "Codex backend",
        ends([CREATED, done(message("Hello"), 1), done(reasoning("Hm.")), completed(output=[])]),
        Whole(output=[reasoning("Hm."), message("Hello")], text="Hello"),
        before=LOST,
    ),
    report(
        "An image, and an empty output",
        "Wei-Shaw/sub2api#5186",
        "sub2api",
        ends(
            [
                CREATED,
                added({"id": "ig_1", "type": "image_generation_call", "status": "in_progress"}),
                event(
                    "image_generation_call.partial_image",
                    output_index=0,
                    item_id="ig_1",
                    partial_image_b64="iVBO",
                    partial_image_index=0,
                ),
                done({"id": "ig_1", "type": "image_generation_call", "result": "iVBORw=="}),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {
                    "id": "ig_1",
                    "type": "image_generation_call",
                    "status": "in_progress",
                    "result": "iVBORw==",
                }
            ]
        ),
        before=LOST,
    ),
    report(
        "A state of an image on its way, then cut",
        "openai/openai-node#1793",
        "OpenAI",
        ends(
            [
                CREATED,
                *text("Wait."),
                added({"id": "ig_1", "type": "image_generation_call", "result": None}, 1),
                event(
                    "image_generation_call.partial_image",
                    output_index=1,
                    item_id="ig_1",
                    partial_image_b64="iVBO",
                    partial_image_index=0,
                ),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Wait."),
        before="right",
    ),
    report(
        "An answer that was cut by length, and an empty output",
        "sipeed/picoclaw#2581",
        "Codex backend",
        ends(
            [
                CREATED,
                *SAID,
                completed(
                    "incomplete",
                    output=[],
                    incomplete_details={"reason": "max_output_tokens"},
                ),
            ]
        ),
        Whole(
            output=[{**message("Hello"), "status": "in_progress"}],
            fields={"status": "incomplete"},
            text="Hello",
        ),
        before=LOST,
    ),
    report(
        "A response that failed after half an answer, and an empty output",
        "sipeed/picoclaw#2581",
        "Codex backend",
        ends(
            [
                CREATED,
                *SAID,
                completed("failed", output=[], error={"code": "server_error", "message": "Boom."}),
            ]
        ),
        Fails("StreamAPIError", "Boom.", held="Hello", attributes={"code": "server_error"}),
        before="holds ''",
    ),
    report(
        "A message without a text in place of the call",
        "sgl-project/sglang#12652",
        "SGLang router",
        ends(
            [
                CREATED,
                *CALLED,
                event("function_call_arguments.done", output_index=0, arguments=WEATHER),
                completed(
                    output=[
                        {
                            "id": "msg_1",
                            "type": "message",
                            "role": "assistant",
                            "content": [{"type": "text", "text": ""}],
                        }
                    ]
                ),
            ]
        ),
        Whole(output=[call(WEATHER, status="in_progress")]),
        before="output: the empty message",
    ),
    report(
        "An item of the last event without its arguments",
        "Wei-Shaw/sub2api#6629",
        "sub2api",
        ends(
            [
                CREATED,
                added(call(status="in_progress")),
                event("function_call_arguments.done", output_index=0, arguments=WEATHER),
                done(call("")),
                completed(output=[call("")]),
            ]
        ),
        Whole(output=[call(WEATHER)]),
        before="output: a call without arguments",
    ),
    report(
        "The last event has another text than the deltas",
        "",
        "any",
        ends([CREATED, *SAID, completed(output=[message("Goodbye")])]),
        Whole(output=[message("Goodbye")], text="Hello"),
        before="right",
    ),
    report(
        "The last event has fewer items than were streamed",
        "Wei-Shaw/sub2api#6118",
        "sub2api",
        ends(
            [
                CREATED,
                done(reasoning("Hm.")),
                done(message("Hello", id="msg_0"), 1),
                completed(output=[message("Hello", id="msg_x")]),
            ]
        ),
        Whole(output=[message("Hello", id="msg_x")]),
        before="right",
    ),
    report(
        "Only the last event, and no output in it",
        "raullenchai/Rapid-MLX#851",
        "Rapid-MLX",
        ends([CREATED, completed()]),
        Whole(usage=USAGE, fields={"status": "completed"}, text=""),
        before="right",
    ),
    # Another last event.
    report(
        "The stream ends with response.done",
        "can1357/oh-my-pi#4692",
        "gateways",
        ends(
            [
                CREATED,
                *SAID_WHOLE,
                event("done", response=response("completed", output=HELLO, usage=USAGE)),
            ]
        ),
        Whole(output=HELLO, usage=USAGE, text="Hello"),
        before="StreamInterruptedError",
    ),
    report(
        "The stream ends with response.done, an empty output, and [DONE]",
        "decolua/9router#2142",
        "9router",
        answer([CREATED, *SAID_WHOLE, event("done", response=response("completed", output=[]))]),
        Whole(output=HELLO, text="Hello"),
        before="StreamInterruptedError",
    ),
    report(
        "The last event is response.completed, and the response has failed",
        "askalf/dario#1205",
        "Codex gateways",
        ends(
            [
                CREATED,
                *SAID,
                event(
                    "completed",
                    response=response("failed", output=[], error={"message": "Overloaded."}),
                ),
            ]
        ),
        Fails("StreamAPIError", "Overloaded.", held="Hello"),
        before="looks whole",
    ),
    report(
        "The last event is response.completed, and the response has an error",
        "askalf/dario#1205",
        "Codex gateways",
        ends([CREATED, *SAID, completed(output=HELLO, error={"message": "Overloaded."})]),
        Fails("StreamAPIError", "Overloaded.", held="Hello"),
        before="looks whole",
    ),
    report(
        "The stream ends with [DONE], and no last event",
        "decolua/9router#1648",
        "9router",
        answer([CREATED, *SAID]),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    ),
    report(
        "The body stays open after the last event",
        "earendil-works/pi#6807",
        "gateways",
        ends([CREATED, *SAID_WHOLE, completed(output=HELLO), *[b": wait\n\n"] * 3]),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "The text whole, in the event that closes it",
        "Sophomoresty/gemini-web2api#57",
        "gemini-web2api",
        ends(
            [
                CREATED,
                event("output_text.done", output_index=0, content_index=0, text="Hello"),
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="text ''",
    ),
    report(
        "The text whole, in the last event alone",
        "",
        "buffering gateways",
        ends([CREATED, completed(output=HELLO)]),
        Whole(output=HELLO, text="Hello"),
        before="text ''",
    ),
    report(
        "No response.created",
        "BerriAI/litellm#9545",
        "LiteLLM",
        ends([*text("Hel", "lo"), completed(output=HELLO)]),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "The output beside the response instead of in it",
        "BerriAI/litellm#22102",
        "LiteLLM",
        answer([*text("Hel", "lo"), event("completed", output=HELLO)]),
        Whole(
            output=[
                {
                    "type": "message",
                    "id": "msg_1",
                    "content": [{"type": "output_text", "text": "Hello"}],
                }
            ],
            text="Hello",
        ),
        before="right",
    ),
    # Items, indexes and ids.
    report(
        "Each event of an item has another id",
        "vercel/ai#18548",
        "GitHub Copilot",
        ends(
            [
                CREATED,
                added(reasoning(id="rs_a")),
                *summary("H", "m.", ids=("rs_b", "rs_c")),
                done(reasoning("Hm.", id="rs_d")),
                added(message(id="msg_a", status="in_progress"), 1),
                *text("Hel", index=1, id="msg_b"),
                *text("lo", index=1, id="msg_c"),
                done(message("Hello", id="msg_d"), 1),
                completed(output=[]),
            ]
        ),
        Whole(output=[reasoning("Hm.", id="rs_d"), message("Hello", id="msg_d")], text="Hello"),
        before=LOST,
    ),
    report(
        "An id of its own when an item is announced, when it is done, and at the end",
        "EricLBuehler/mistral.rs#1944",
        "mistral.rs",
        ends(
            [
                CREATED,
                added(message(id="msg_a", status="in_progress")),
                *text("Hello", id="msg_a"),
                done(message("Hello", id="msg_b")),
                completed(output=[message("Hello", id="msg_c")]),
            ]
        ),
        Whole(output=[message("Hello", id="msg_c")], text="Hello"),
        before="right",
    ),
    report(
        "Reasoning and text both under index 0, then cut",
        "BerriAI/litellm#36375",
        "LiteLLM",
        ends(
            [
                CREATED,
                *summary("H", "m.", ids=("rs_a", "rs_b")),
                *text("Hel", "lo"),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    ),
    report(
        "Reasoning and text both under index 0, and an empty output",
        "BerriAI/litellm#36375",
        "LiteLLM",
        ends(
            [
                CREATED,
                *summary("H", "m.", ids=("rs_a", "rs_b")),
                *text("Hel", "lo"),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {
                    "type": "reasoning",
                    "id": "rs_a",
                    "summary": [{"type": "summary_text", "text": "Hm."}],
                },
                {
                    "type": "message",
                    "id": "msg_1",
                    "content": [{"type": "output_text", "text": "Hello"}],
                },
            ],
            text="Hello",
        ),
        before=LOST,
    ),
    report(
        "Reasoning that was never announced under the index of the message",
        "maximhq/bifrost#5170",
        "Bifrost",
        ends(
            [
                CREATED,
                *summary("Hm.", ids=("",)),
                added(message(status="in_progress")),
                *text("Hel", "lo"),
                done(message("Hello")),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                message("Hello"),
            ],
            text="Hello",
        ),
        before=LOST,
    ),
    report(
        "A message and a call that are both announced with index 0",
        "teabranch/open-responses-server#63",
        "open-responses-server",
        ends(
            [
                CREATED,
                added(message(status="in_progress")),
                *text("Hel"),
                added(call(status="in_progress")),
                *arguments('{"city":'),
                *text("lo"),
                *arguments('"Oslo"}'),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {
                    **message(status="in_progress"),
                    "content": [{"type": "output_text", "text": "Hello"}],
                },
                call(WEATHER, status="in_progress"),
            ],
            text="Hello",
        ),
        before=LOST,
    ),
    report(
        "Reasoning that is done under the index of the message",
        "mudler/LocalAI#9658",
        "LocalAI",
        ends(
            [
                CREATED,
                added(message(status="in_progress"), 1),
                *text("Hel", "lo", index=1),
                done(reasoning("Hm."), 1),
                event("output_text.done", output_index=1, item_id="msg_1", text="Hello"),
                done(message("Hello"), 1),
                completed(output=[]),
            ]
        ),
        Whole(output=[message("Hello"), reasoning("Hm.")], text="Hello"),
        before=LOST,
    ),
    report(
        "Text under the index of reasoning, in an item that was never announced",
        "vllm-project/agentic-api#62",
        "vLLM, gpt-oss",
        ends(
            [
                CREATED,
                added(reasoning()),
                event("reasoning_text.delta", output_index=0, item_id="rs_1", delta="Hm."),
                done(reasoning("Hm.")),
                event("output_text.done", output_index=0, item_id="msg_1", text="Hello"),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Hm.Hello"),
        before="holds 'Hello'",
    ),
    report(
        "Indexes that begin at 1",
        "sgl-project/sglang#12644",
        "SGLang router",
        ends(
            [
                CREATED,
                added(message(status="in_progress"), 1),
                *text("Hel", "lo", index=1),
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "No indexes; the ids of calls are their call_ids",
        "lemonade-sdk/lemonade#3607",
        "Lemonade, llama.cpp",
        ends(
            [
                CREATED,
                *(
                    added({**call(status="in_progress"), "call_id": c, "id": ""}, None)
                    for c in "ab"
                ),
                *(
                    event("function_call_arguments.delta", item_id=c, delta=f'{{"{c}":1}}')
                    for c in "ab"
                ),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {**call(f'{{"{c}":1}}', status="in_progress"), "call_id": c, "id": ""} for c in "ab"
            ]
        ),
        before=LOST,
    ),
    report(
        "Parallel calls whose arguments are interleaved",
        "can1357/oh-my-pi#1882",
        "llama.cpp",
        ends(
            [
                CREATED,
                *(added(call(id=c, status="in_progress"), i) for i, c in enumerate("ab")),
                *arguments('{"a":', index=0, id="a"),
                *arguments('{"b":', index=1, id="b"),
                *arguments("1}", index=0, id="a"),
                *arguments("2}", index=1, id="b"),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError"),
        before="right",
    ),
    report(
        "An item that is announced as null, and indexes that skip one",
        "openai/openai-python#3125",
        "gateways",
        ends(
            [
                CREATED,
                event("output_item.added", output_index=0, item=None),
                added(message(status="in_progress"), 1),
                *text("Hel", "lo", index=1),
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "Items and parts that are announced without their empty fields",
        "openai/openai-node#2016",
        "gateways",
        ends(
            [
                CREATED,
                added({"id": "msg_1", "type": "message"}),
                event("content_part.added", output_index=0, part={"type": "output_text"}),
                *text("Hel", "lo"),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {
                    "id": "msg_1",
                    "type": "message",
                    "content": [{"type": "output_text", "text": "Hello"}],
                }
            ],
            text="Hello",
        ),
        before=LOST,
    ),
    report(
        "A part of the wrong index before the text",
        "vllm-project/vllm#45742",
        "vLLM, gpt-oss",
        ends(
            [
                CREATED,
                added(message(status="in_progress")),
                event("content_part.added", output_index=0, content_index=1, part=PART),
                event("output_text.delta", output_index=0, content_index=1, delta="Hel"),
                event("output_text.delta", output_index=0, content_index=1, delta="lo"),
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "A delta that is null",
        "langroid/langroid#987",
        "OpenAI",
        ends(
            [
                CREATED,
                added(message(status="in_progress")),
                event("output_text.delta", output_index=0, content_index=0, delta=None),
                *text("Hel", "lo"),
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    report(
        "A line type: in place of event:",
        "openai/openai-openapi#489",
        "OpenAI",
        ends(
            [
                b"type: response.created\n",
                CREATED,
                b"type: response.output_text.delta\n",
                *text("Hello"),
                b"type: response.completed\n",
                completed(output=HELLO),
            ]
        ),
        Whole(output=HELLO, text="Hello"),
        before="right",
    ),
    # Events that carry a piece.
    report(
        "The commands of a shell call in pieces",
        "openai/openai-node#1750",
        "OpenAI",
        ends([*SHELL, completed(output=[])]),
        Whole(
            output=[{**SHELL_CALL, "action": {"commands": ["ls -a", "pwd"], "timeout_ms": None}}]
        ),
        before=LOST,
    ),
    report(
        "What a shell command prints",
        "openai/openai-go#662",
        "OpenAI",
        ends(
            [
                *SHELL[:2],
                added(SHELL_OUTPUT, 1),
                printed("delta", delta={"stdout": "a."}),
                printed("delta", delta={"stdout": "tx", "stderr": "?"}),
                printed("done", output=[PRINTED]),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {**SHELL_CALL, "action": {"commands": [], "timeout_ms": None}},
                {**SHELL_OUTPUT, "output": [PRINTED]},
            ]
        ),
        before=LOST,
    ),
    report(
        "The diff of a patch in pieces",
        "Effect-TS/effect#8017",
        "OpenRouter",
        ends(
            [
                CREATED,
                added(
                    {
                        "id": "ap_1",
                        "type": "apply_patch_call",
                        "operation": {"type": "update_file", "path": "a.py", "diff": ""},
                    }
                ),
                event("apply_patch_call_operation_diff.delta", output_index=0, delta="+a"),
                event("apply_patch_call_operation_diff.delta", output_index=0, delta="b"),
                event("apply_patch_call_operation_diff.done", output_index=0, diff="+ab"),
                completed(output=[]),
            ]
        ),
        Whole(
            output=[
                {
                    "id": "ap_1",
                    "type": "apply_patch_call",
                    "operation": {"type": "update_file", "path": "a.py", "diff": "+ab"},
                }
            ]
        ),
        before=LOST,
    ),
    report(
        "Reasoning under the names of vLLM, then cut",
        "vllm-project/vllm#24788",
        "vLLM",
        ends(
            [
                CREATED,
                added({**reasoning(id="msg_r"), "content": None}),
                event("reasoning_part.added", output_index=0, part={"type": "reasoning_text"}),
                event("reasoning_text.delta", output_index=0, content_index=0, delta="Hm."),
                event("reasoning_text.done", output_index=0, content_index=0, text="Hm."),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Hm."),
        before="right",
    ),
    report(
        "Reasoning as an output_text part of a reasoning item",
        "vllm-project/vllm#24788",
        "vLLM",
        ends(
            [
                CREATED,
                added({**reasoning(id="msg_r"), "content": None}),
                event("content_part.added", output_index=0, item_id="msg_r", part=PART),
                event("reasoning_text.delta", output_index=0, item_id="msg_r", delta="Hm."),
                completed(output=[]),
            ]
        ),
        Whole(output=[{**reasoning(id="msg_r"), "content": [{**PART, "text": "Hm."}]}]),
        before=LOST,
    ),
    report(
        "Reasoning as response.reasoning.delta, then cut",
        "vercel/ai#19659",
        "Open Responses",
        ends(
            [
                CREATED,
                added(reasoning()),
                event("reasoning.delta", output_index=0, content_index=0, delta="H"),
                event("reasoning.delta", output_index=0, content_index=0, delta="m."),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Hm."),
        before="holds ''",
    ),
    report(
        "The arguments of an MCP call under their old names",
        "openai/openai-node#1562",
        "Hugging Face responses.js",
        ends(
            [
                CREATED,
                added({"id": "mcp_1", "type": "mcp_call", "name": "f", "arguments": ""}),
                event("mcp_call.arguments_delta", output_index=0, item_id="mcp_1", delta='{"a":'),
                event("mcp_call.arguments_delta", output_index=0, item_id="mcp_1", delta="1}"),
                completed(output=[]),
            ]
        ),
        Whole(output=[{"id": "mcp_1", "type": "mcp_call", "name": "f", "arguments": '{"a":1}'}]),
        before=LOST,
    ),
    report(
        "An annotation under its old name, which the last event leaves out",
        "openai/openai-node#1515",
        "OpenAI",
        ends(
            [
                CREATED,
                *SAID,
                event(
                    "output_text_annotation.added",
                    output_index=0,
                    content_index=0,
                    item_id="msg_1",
                    annotation={"type": "url_citation", "url": "https://x.org"},
                ),
                completed(output=HELLO),
            ]
        ),
        Whole(
            output=[
                message("Hello", annotations=[{"type": "url_citation", "url": "https://x.org"}])
            ],
            text="Hello",
        ),
        before="output: no annotation",
    ),
    report(
        "A summary that comes with the item that is done",
        "langchain-ai/langchain#37625",
        "gateways",
        ends(
            [
                CREATED,
                added(reasoning()),
                done(reasoning("Hm.", encrypted_content="gAAA")),
                *text("Hello", index=1),
                Fin(),
            ]
        ),
        Fails("StreamInterruptedError", held="Hello"),
        before="right",
    ),
)
