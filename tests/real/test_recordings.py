"""A real model's answer, recorded and played again: the same bytes, events and pace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openai_stream import Client
from openai_stream.local import LocalServer
from openai_stream.recordings import Recorder, read_recording
from openai_stream.testing import ScriptedServer

SOON = 60.0  # seconds, for what takes one
TOKENS = 60
#: How much the pace of the whole may be off, and how often it is tried on a busy machine.
OFF, TRIES = 0.1, 5

QUESTIONS: dict[str, dict[str, Any]] = {
    "create_chat_completion": {
        "messages": [{"role": "user", "content": "Count from 1 to 20."}],
        "max_tokens": TOKENS,
        "stream_options": {"include_usage": True},
    },
    "create_completion": {"prompt": "1, 2, 3, 4, 5,", "max_tokens": TOKENS},
    "create_response": {"input": "Say the days of the week.", "max_output_tokens": TOKENS},
}


def ask(base_url: str, path: Path, create: str) -> list[Any]:
    """The events of an answer, which is recorded."""
    with Recorder(path) as recorder, Client(base_url=base_url) as client:
        recorder.watch(client)
        events = getattr(client, create)(
            model="any", temperature=0, seed=1, stream=True, **QUESTIONS[create]
        )
        return [event.to_dict() for event in events]


@pytest.mark.limit(120)
@pytest.mark.parametrize("create", QUESTIONS)
def test_a_real_answer_is_played_again(
    local_server: LocalServer, server: ScriptedServer, tmp_path: Path, create: str
) -> None:
    first, second = tmp_path / "first.rec", tmp_path / "second.rec"
    events = ask(local_server.base_url, first, create)
    assert len(events) > TOKENS / 2
    (exchange,) = read_recording(first)
    assert exchange.end == "open"

    server.answer_from([exchange])
    seconds = exchange.blocks[-1][0]
    for _ in range(TRIES):
        assert ask(server.base_url, second, create) == events
        (again,) = read_recording(second)
        assert again.data == exchange.data
        if abs(again.blocks[-1][0] - seconds) <= OFF * seconds:
            break
    else:
        pytest.fail(f"{again.blocks[-1][0]} s instead of {seconds}")

    server.answer_from([exchange], speed=None)
    assert ask(server.base_url, second, create) == events
    assert read_recording(second)[0].blocks[-1][0] < seconds
