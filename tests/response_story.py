"""One stream of ``/responses`` in which every type of event of the API occurs, and what openai-node
made of it, step by step.

``python tests/response_story.py FOLDER`` records the latter anew, in ``response_story_node.json``;
FOLDER is where ``npm install openai`` was run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JSON = dict[str, Any]


RECORDED = Path(__file__).with_name("response_story_node.json")

#: The types whose events leave no trace in the response, and why.
TRACELESS = {
    "response.audio.delta": "no response has a place for audio",
    "response.audio.done": "no response has a place for audio",
    "response.audio.transcript.delta": "no response has a place for audio",
    "response.audio.transcript.done": "no response has a place for audio",
    "response.image_generation_call.partial_image": "a state on the way is not the image",
    "response.compaction.compacting": "reports progress; the item has no status",
    "response.mcp_list_tools.in_progress": "reports progress; the item has no status",
    "response.mcp_list_tools.completed": "reports progress; the item has no status",
    "response.mcp_list_tools.failed": "reports progress; the item has no status",
    "error": "not a part of the response: the stream fails",
}


def response(status: str, output: list[JSON], **fields: Any) -> JSON:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741290958,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-5.4",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        **fields,
    }


def event(kind: str, **fields: Any) -> JSON:
    return {"type": f"response.{kind}", **fields}


def item(index: int, begun: JSON, done: JSON, *between: JSON, named: bool = True) -> Iterator[JSON]:
    """The events of an item.

    :param done: what differs once it is done.
    :param named: whether the events between have the item's id.
    """
    where = {"output_index": index, **({"item_id": begun["id"]} if named else {})}
    yield event("output_item.added", output_index=index, item=begun)
    yield from ({**each, **where} if "output_index" not in each else each for each in between)
    yield event("output_item.done", output_index=index, item={**begun, **done})


SUMMARY = {"type": "summary_text", "text": "They ask for the sea."}
THOUGHT = {"type": "reasoning_text", "text": "The sea is wide."}
CITED = {"type": "url_citation", "url": "https://x.org", "title": "X", "start_index": 0}
SAID = {
    "type": "output_text",
    "text": "The sea",
    "annotations": [{**CITED, "end_index": 3}, {**CITED, "end_index": 7}],
    "logprobs": [],
}
REFUSED = {"type": "refusal", "refusal": "I cannot."}
PRINTED = {"stdout": "a b", "stderr": "c", "outcome": {"type": "exit", "exit_code": 1}}
LATE = {"stdout": "", "stderr": "late", "outcome": {"type": "timeout"}}


def _reasoning() -> Iterator[JSON]:
    begun = {"id": "rs_1", "type": "reasoning", "summary": [], "status": "in_progress"}
    place, inside = {"summary_index": 0}, {"content_index": 0}
    yield from item(
        0,
        begun,
        {"summary": [SUMMARY], "content": [THOUGHT], "status": "completed"},
        event("reasoning_summary_part.added", **place, part={**SUMMARY, "text": ""}),
        event("reasoning_summary_text.delta", **place, delta="They ask "),
        event("reasoning_summary_text.delta", **place, delta="for the"),
        event("reasoning_summary_text.done", **place, text="They ask for the sea"),
        event("reasoning_summary_part.done", **place, part=SUMMARY),
        event("content_part.added", **inside, part={**THOUGHT, "text": ""}),
        event("reasoning_text.delta", **inside, delta="The sea"),
        event("reasoning_text.delta", **inside, delta=" is"),
        event("reasoning_text.done", **inside, text="The sea is wide"),
        event("content_part.done", **inside, part=THOUGHT),
    )


def _message() -> Iterator[JSON]:
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    first, second = {"content_index": 0}, {"content_index": 1}
    annotations: list[JSON] = SAID["annotations"]  # type: ignore[assignment]
    yield from item(
        1,
        {**begun, "status": "in_progress"},
        {"content": [SAID, REFUSED], "status": "completed"},
        event("content_part.added", **first, part={**SAID, "text": "", "annotations": []}),
        event("output_text.delta", **first, delta="The", logprobs=[]),
        event("output_text.delta", **first, delta=" se", logprobs=[]),
        *(
            event("output_text.annotation.added", **first, annotation_index=i, annotation=one)
            for i, one in enumerate(annotations)
        ),
        event("output_text.done", **first, text="The sea", logprobs=[]),
        event("content_part.done", **first, part={**SAID, "text": "The sea."}),
        event("content_part.added", **second, part={**REFUSED, "refusal": ""}),
        event("refusal.delta", **second, delta="I can"),
        event("refusal.delta", **second, delta="no"),
        event("refusal.done", **second, refusal="I cannot"),
        event("content_part.done", **second, part=REFUSED),
    )


def _texts() -> Iterator[JSON]:
    for index, kind, name, field in (
        (2, "function_call", "function_call_arguments", "arguments"),
        (3, "custom_tool_call", "custom_tool_call_input", "input"),
        (4, "mcp_call", "mcp_call_arguments", "arguments"),
        (5, "code_interpreter_call", "code_interpreter_call_code", "code"),
    ):
        begun: JSON = {"id": f"{kind}_1", "type": kind, "status": "created", field: ""}
        more: dict[str, JSON] = {
            "function_call": {"call_id": "call_1", "name": "f"},
            "custom_tool_call": {"call_id": "call_2", "name": "g"},
            "mcp_call": {"server_label": "files", "name": "h"},
            "code_interpreter_call": {"container_id": "cntr_1", "outputs": None},
        }
        begun |= more[kind]
        progress = {
            "mcp_call": ("in_progress", "failed", "completed"),
            "code_interpreter_call": ("in_progress", "interpreting", "completed"),
        }.get(kind, ())
        first, *others = progress or ("",)
        yield from item(
            index,
            begun,
            {field: '{"a":12}', "status": "completed"},
            *([event(f"{kind}.{first}")] if progress else []),
            event(f"{name}.delta", delta='{"a"'),
            event(f"{name}.delta", delta=":1"),
            event(f"{name}.done", **{field: '{"a":1}'}),
            *(event(f"{kind}.{status}") for status in others),
        )


def _progress() -> Iterator[JSON]:
    for index, kind, done, statuses in (
        (6, "web_search_call", {"action": {"type": "search", "query": "q"}}, "searching"),
        (7, "file_search_call", {"queries": ["q"], "results": None}, "searching"),
        (8, "image_generation_call", {"result": "iVBORw=="}, "generating"),
    ):
        begun: JSON = {"id": f"{kind}_1", "type": kind, "status": "created"}
        begun |= {"result": None} if "result" in done else {}
        partial = {"partial_image_b64": "iVBO", "partial_image_index": 0, "size": "1024x1024"}
        image = kind == "image_generation_call"
        yield from item(
            index,
            begun,
            {**done, "status": "done"},
            event(f"{kind}.in_progress"),
            event(f"{kind}.{statuses}"),
            *([event(f"{kind}.partial_image", **partial)] if image else []),
            event(f"{kind}.completed"),
        )
    tools = {"id": "mcpl_1", "type": "mcp_list_tools", "server_label": "files", "tools": []}
    yield from item(
        9,
        tools,
        {"tools": [{"name": "h", "input_schema": {}}]},
        event("mcp_list_tools.in_progress"),
        event("mcp_list_tools.failed"),
        event("mcp_list_tools.completed"),
    )
    yield from item(
        10,
        {"id": "cmp_1", "type": "compaction", "encrypted_content": ""},
        {"encrypted_content": "gAAA"},
        event("compaction.compacting"),
    )


def _shell() -> Iterator[JSON]:
    call = {"id": "sh_1", "type": "shell_call", "call_id": "call_3", "status": "in_progress"}
    action = {"commands": [], "timeout_ms": 1000, "max_output_length": None}
    first, second = {"command_index": 0}, {"command_index": 1}
    yield from item(
        11,
        {**call, "action": action},
        {"action": {**action, "commands": ["ls -l", "pwd"]}, "status": "completed"},
        event("shell_call_command.added", **first, command=""),
        event("shell_call_command.delta", **first, delta="ls", obfuscation="x"),
        event("shell_call_command.delta", **first, delta=" -", obfuscation="x"),
        event("shell_call_command.done", **first, command="ls -l"),
        event("shell_call_command.added", **second, command="p"),
        event("shell_call_command.delta", **second, delta="w"),
        event("shell_call_command.done", **second, command="pwd"),
        named=False,
    )
    output = {"id": "sho_1", "type": "shell_call_output", "call_id": "call_3", "output": []}
    yield from item(
        12,
        {**output, "status": "in_progress", "max_output_length": None},
        {"output": [PRINTED, LATE], "status": "completed"},
        event("shell_call_output_content.delta", **first, delta={"stdout": "a "}),
        event("shell_call_output_content.delta", **first, delta={"stdout": "", "stderr": "c"}),
        event("shell_call_output_content.done", **first, output=[PRINTED]),
        event("shell_call_output_content.delta", **second, delta={"stderr": "late"}),
        event("shell_call_output_content.done", **second, output=[LATE]),
    )


def _story() -> Iterator[JSON]:
    yield event("created", response=response("queued", []))
    yield event("queued", response=response("queued", [], background=True))
    yield event("in_progress", response=response("in_progress", [], background=True))
    for part in (_reasoning, _message, _texts, _progress, _shell):
        yield from part()
    yield event("audio.delta", delta="UklG")
    yield event("audio.done")
    yield event("audio.transcript.delta", delta="Hi")
    yield event("audio.transcript.done")
    yield {"type": "error", "code": "x", "message": "y", "param": None}


#: All of it but the last event, of which there are three.
EVENTS: list[JSON] = [{**told, "sequence_number": i} for i, told in enumerate(_story())]
DONE_ITEMS: list[JSON] = [e["item"] for e in EVENTS if e["type"] == "response.output_item.done"]
LAST: list[JSON] = [
    event("completed", response=response("completed", DONE_ITEMS, usage={"total_tokens": 9})),
    event("incomplete", response=response("incomplete", DONE_ITEMS[:2])),
    event("failed", response=response("failed", [], error={"code": "x", "message": "y"})),
]

_NODE = """
const require_ = require("node:module").createRequire(process.argv[1] + "/");
const { accumulateResponse } = require_("openai/lib/responses/ResponseAccumulator");
const version = require_("openai/version").VERSION;
let held;
const steps = [];
for (const event of JSON.parse(require("node:fs").readFileSync(0))) {
  held = accumulateResponse(event, held);
  const { output_text, ...plain } = structuredClone(held);
  steps.push(plain);
}
console.log(JSON.stringify({ version, steps }));
"""


def record(folder: str) -> None:
    """Write down what openai-node makes of it: of each step what is new in its response."""
    played = subprocess.run(
        ["node", "-e", _NODE, str(Path(folder).resolve())],
        input=json.dumps(EVENTS),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(played.stdout)
    lines: list[str] = []
    before: JSON = {}
    for step in told["steps"]:
        new = {
            name: value
            for name, value in step.items()
            if name not in before or before[name] != value
        }
        if "output" in new:
            held = dict(enumerate(before.get("output", [])))
            new["output"] = {i: one for i, one in enumerate(step["output"]) if one != held.get(i)}
        lines.append(json.dumps(new))
        before = step
    head = f'{{"version": {json.dumps(told["version"])}, "changes": [\n'
    RECORDED.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def recorded() -> Iterator[JSON]:
    """What openai-node's response was after each event."""
    held: JSON = {}
    for change in json.loads(RECORDED.read_text(encoding="utf-8"))["changes"]:
        items = dict(enumerate(held.get("output", [])))
        items |= {int(index): one for index, one in change.get("output", {}).items()}
        held = {**held, **change, "output": [items[index] for index in sorted(items)]}
        yield held


if __name__ == "__main__":
    record(sys.argv[1])
