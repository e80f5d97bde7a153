"""What nobody holds is gone at once, and not when the garbage is next collected."""

from __future__ import annotations

import gc
import weakref

import pytest

from openai_stream import Client
from openai_stream.testing import Fin, Reset, ScriptedServer, Step, answer, chat_chunks


@pytest.mark.parametrize("end", [Reset(), Fin()])
def test_a_queue_that_came_after_a_retry_is_gone_when_it_is_dropped(
    server: ScriptedServer, end: Step
) -> None:
    server.play(end, answer(chat_chunks("Hello big world")))
    gc.disable()
    try:
        with Client(api_key="sk-test", base_url=server.base_url) as client:
            events = client.create_chat_completion(model="m", messages=[], stream=True, maxsize=1)
            stream, queue = events.stream, weakref.ref(events)
            del events
            assert stream.result(5.0).choices[0].message.content == "Hello big world"
            assert queue() is None
    finally:
        gc.enable()
