"""The program is killed half way, and a second one goes on: the text is whole."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openai_stream.testing import Request, Script, ScriptedServer, Wait, answer

SOON = 30.0
WORDS = ["One ", "two ", "three ", "four"]
Launch = Callable[..., "subprocess.Popen[str]"]

_RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "background": True}
_ITEM: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "output_text", "text": "".join(WORDS)}],
}
_KINDS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**_RESPONSE, "status": "queued"}},
    *({"type": "response.output_text.delta", "output_index": 0, "delta": word} for word in WORDS),
    {
        "type": "response.completed",
        "response": {**_RESPONSE, "status": "completed", "output": [_ITEM]},
    },
]
EVENTS = [{**event, "sequence_number": number} for number, event in enumerate(_KINDS)]


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    assert process.stdout.read(len(text)) == text


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_goes_on_where_it_was_killed(
    server: ScriptedServer, launch: Launch, tmp_path: Path, killed_by: signal.Signals
) -> None:
    gate = threading.Event()
    server.play(answer([*EVENTS[:3], Wait(gate), *EVENTS[3:]], done=False))

    def rest(request: Request) -> Script:
        assert request.target == "/v1/responses/resp_1?stream=true&starting_after=2"
        return answer(EVENTS[3:], done=False)

    server.play(rest)
    journal = tmp_path / "journal.jsonl"
    first = launch(str(journal))
    wait_for(first, "One two ")
    first.send_signal(killed_by)
    first.communicate(timeout=SOON)
    assert first.returncode != 0
    gate.set()

    second = launch(str(journal))
    output, errors = second.communicate(timeout=SOON)
    assert (output, errors, second.returncode) == ("One two three four\n", "", 0)
    assert [request.method for request in server.requests] == ["POST", "GET"]
    numbers = [json.loads(line)["number"] for line in journal.read_text().splitlines()]
    assert numbers == list(range(len(EVENTS)))


def test_a_line_that_was_half_written_is_asked_for_again(
    server: ScriptedServer, launch: Launch, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"number": 0, "id": "resp_1"}\n{"number": 1, "text": "One "}\n{"numb')
    server.play(answer(EVENTS[2:], done=False))
    output, _ = launch(str(journal)).communicate(timeout=SOON)
    assert output == "One two three four\n"
    assert server.requests[0].target == "/v1/responses/resp_1?stream=true&starting_after=1"
