"""Tests of the application, with what comes with an installed openai-stream and nothing else."""

from __future__ import annotations

import chat
import pytest

from openai_stream import Client
from openai_stream.testing import FAULTS, ScriptedServer, answer, cut, tool_call_chunks


@pytest.mark.usefixtures("stream_default_client")
def test_my_app_survives_a_cut(stream_server: ScriptedServer) -> None:
    stream_server.play(answer("Hello you there", fault=cut(after=3)))
    assert chat.ask("Hi") == "Hello you (StreamInterruptedError)"


@pytest.mark.parametrize("fault", FAULTS)
def test_my_app_survives_everything(
    stream_server: ScriptedServer, stream_client: Client, fault: str
) -> None:
    stream_server.play(answer("Hello you there", fault=fault))
    told = chat.ask("Hi", stream_client)
    assert told == "Hello you there" if fault == "trickle" else told.endswith("Error)")


@pytest.mark.usefixtures("stream_default_client")
def test_my_app_asks_again_after_a_limit(stream_server: ScriptedServer) -> None:
    stream_server.play(answer(fault="rate_limited"), answer("Hello"))
    assert chat.ask("Hi") == "Hello"
    assert [request.json["stream"] for request in stream_server.requests] == [True, True]


def test_a_tool_call_that_takes_its_time(
    stream_server: ScriptedServer, stream_client: Client
) -> None:
    calls = tool_call_chunks(("get_weather", '{"city": "Paris"}'))
    stream_server.play(answer(calls, delay=0.01))
    events = stream_client.create_chat_completion(model="m", messages=[], stream=True)
    (call,) = events.stream.result(30).choices[0].message.tool_calls
    assert call.function is not None
    assert call.function.arguments == '{"city": "Paris"}'
