"""The AI SDK of Vercel itself reads what ``ui_messages`` sends, over HTTP, in Node.

``npm`` installs it into a temporary folder, unless ``OPENAI_STREAM_AI_SDK`` names one that has it.
Without Node, npm or a registry the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from openai_stream import Client
from openai_stream.testing import (
    Event,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    frame,
    tool_call_chunks,
)
from openai_stream.web import UI_MESSAGES_HEADERS, ui_messages

FOLDER = Path(__file__).parent / "ai_sdk"
#: Read at import: the tests' own environment has no variable of the library's prefix.
INSTALLED = os.environ.get("OPENAI_STREAM_AI_SDK")
WAIT = 120.0

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK and the script that reads by it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("ai_sdk") if INSTALLED is None else Path(INSTALLED)
    for path in FOLDER.iterdir():
        shutil.copy(path, folder)
    if not (folder / "node_modules" / "ai").exists():
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm cannot install the AI SDK: {done.stderr[-300:]}")
    return folder


@pytest.fixture
def read(sdk: Path, server: ScriptedServer, client: Client) -> Iterator[Read]:
    """Have the SDK read the answers to what is played, each by its path."""
    played: dict[str, tuple[str, Script]] = {}

    def application(environ: Any, start_response: Any) -> Any:
        name = Request(environ).path.strip("/")
        kind, script = played[name]
        server.play(script)
        if kind == "responses":
            events: Any = client.create_response(model="m", input="Hi", stream=True)
        else:
            events = client.create_chat_completion(model="m", messages=[], stream=True)
        body = ui_messages(events, error_text=lambda error: "It broke off.")
        return Response(body, headers=UI_MESSAGES_HEADERS)(environ, start_response)

    http = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()

    def run(**scripts: tuple[str, Script]) -> list[dict[str, Any]]:
        played.update(scripts)
        addresses = [f"http://127.0.0.1:{http.server_port}/{name}" for name in scripts]
        done = subprocess.run(
            ["node", "read.mjs", *addresses],
            cwd=sdk,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.strip().split("\n")]

    yield run
    http.shutdown()
    thread.join()
    http.server_close()


def parts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of the message, without what only says where a step begins."""
    return [part for part in found["message"]["parts"] if part["type"] != "step-start"]


@pytest.mark.limit(300)
def test_the_sdk_reads_all_of_it(read: Read) -> None:
    thinking: list[Event] = [
        {"choices": [{"index": 0, "delta": {"reasoning_content": "Well"}}]},
        {"choices": [{"index": 0, "delta": {"content": "a\u2028b\n\n😀"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    ]
    halves = chat_chunks(["a\ud83d", "\ude00b"])
    custom = {"index": 0, "id": "t", "type": "custom", "custom": {"name": "py", "input": "1+1"}}
    response: list[Event] = [
        {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "Hi"},
        {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
    ]
    calls = tool_call_chunks(("f", '{"a": [1, "x"]}'), ("g", "{}"), ("h", "no"))
    text, thought, call, own, joined, whole, cut = read(
        text=("chat", answer(chat_chunks("one two three"))),
        thought=("chat", answer(thinking)),
        call=("chat", answer(calls)),
        own=(
            "chat",
            answer(
                [
                    {"choices": [{"index": 0, "delta": {"tool_calls": [custom]}}]},
                    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
                ]
            ),
        ),
        joined=("chat", answer([frame(json.dumps(chunk)) for chunk in halves])),
        whole=("responses", answer(response, done=False)),
        cut=("chat", answer(chat_chunks("one two three"), fault="cut")),
    )
    for found in (text, thought, call, own, joined, whole):
        assert found["errors"] == []
    assert parts(text) == [{"type": "text", "text": "one two three", "state": "done"}]
    assert text["chunks"][-1] == {"type": "finish", "finishReason": "stop"}
    assert [(part["type"], part["text"], part["state"]) for part in parts(thought)] == [
        ("reasoning", "Well", "done"),
        ("text", "a\u2028b\n\n😀", "done"),
    ]
    assert thought["chunks"][-1]["finishReason"] == "length"
    by_name = {part["type"]: part for part in parts(call)}
    assert {name: part["state"] for name, part in by_name.items()} == {
        "tool-f": "input-available",
        "tool-g": "input-available",
        "tool-h": "output-error",
    }
    assert by_name["tool-f"]["input"] == {"a": [1, "x"]}
    assert by_name["tool-g"]["input"] == {}
    assert call["chunks"][-1]["finishReason"] == "tool-calls"
    assert parts(own)[0]["input"] == "1+1"
    assert parts(joined)[0]["text"] == "a😀b"
    assert parts(whole)[0]["text"] == "Hi"
    assert cut["errors"] == ["It broke off."]
    assert parts(cut)[0]["text"].startswith("one")
    (data,) = [chunk for chunk in cut["chunks"] if chunk["type"] == "data-error"]
    assert data["data"]["type"] == "StreamInterruptedError"
