"""What the tests of clients share."""

from __future__ import annotations

from typing import Any

from openai_stream import (
    Client,
)
from openai_stream.testing import (
    ScriptedServer,
    chat_chunks,
    json_answer,
)

KEY = 'sk-proj-9f"8e7d6c5b/4a+3'
CHUNKS = chat_chunks("Hello big world")
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "custom": [1]},
            "finish_reason": "stop",
        }
    ],
}
GOOD = json_answer(WHOLE)


def client_of(server: ScriptedServer, **arguments: Any) -> Client:
    given = {"api_key": KEY, "base_url": server.base_url, "max_retries": 0, **arguments}
    return Client(**given)


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(**{"model": "m", "messages": [], **arguments})


def stream(client: Client, **arguments: Any) -> Any:
    return ask(client, stream=True, **arguments)
