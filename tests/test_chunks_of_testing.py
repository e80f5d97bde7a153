"""What ``openai_stream.testing`` builds is what the API sends, to whatever client asks."""

from __future__ import annotations

import subprocess
import sys

import openai
import pytest

from openai_stream import Client
from openai_stream.testing import ScriptedServer, answer, chat_chunks, response_events


@pytest.mark.parametrize("incomplete", [None, "max_output_tokens"])
def test_a_response_is_whole_for_both_clients(
    stream_environment: ScriptedServer, incomplete: str | None
) -> None:
    events = response_events("Hello, world!", reasoning="so I think", incomplete=incomplete)
    stream_environment.always(answer(events, done=False))
    with Client() as client:
        queue = client.create_response(model="m", input="Hi", stream=True)
        assert "".join(queue.text()) == "Hello, world!"
        whole = queue.stream.result()
    assert whole.output_text == "Hello, world!"
    assert whole.status == ("completed" if incomplete is None else "incomplete")
    assert whole.output[0]["summary"][0]["text"] == "so I think"
    with openai.OpenAI() as theirs, theirs.responses.stream(model="m", input="Hi") as stream:
        seen = [event.type for event in stream]
        if incomplete is None:  # the only one that it takes for final
            assert stream.get_final_response().output_text == "Hello, world!"
    assert seen.count("response.output_text.delta") == 2
    assert seen.count("response.reasoning_summary_text.delta") == 3


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_before_the_text(stream_client: Client, field: str) -> None:
    server_chunks = chat_chunks("Blue sky", reasoning=["so", " I think"], reasoning_field=field)
    deltas = [chunk["choices"][0]["delta"] for chunk in server_chunks]
    assert [delta.get(field) for delta in deltas[1:3]] == ["so", " I think"]
    assert [delta.get("content") for delta in deltas[3:5]] == ["Blue", " sky"]


def test_the_environment_leads_other_programs_there(stream_environment: ScriptedServer) -> None:
    stream_environment.always(answer(chat_chunks("Hello")))
    script = (
        "import openai; print(openai.OpenAI().chat.completions.create(model='m', messages=[],"
        " stream=True).__class__.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "Stream\n"
    assert [request.path for request in stream_environment.requests] == ["/v1/chat/completions"]
