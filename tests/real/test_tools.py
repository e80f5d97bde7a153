"""The loop of the how-to page, with a real model that calls a tool and reads what it gave.

llama.cpp holds a call that is ``required`` to its schema. The model is too small to choose one by
itself, and copies what was done before; its own template knows no tools.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document
from sybil.parsers.rest.lexers import DirectiveLexer

from openai_stream import Client, InternalServerError
from openai_stream.local import LocalServer
from openai_stream.parts import Call, CallDelta

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "tools.rst"
TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call functions. Their signatures are within <tools></tools>:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call, return a JSON object within <tool_call></tool_call>:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
BODY: dict[str, Any] = {"tools": [WEATHER], "max_tokens": 60, "temperature": 0, "seed": 1}


def before(city: str) -> Iterator[dict[str, Any]]:
    """A question that was answered."""
    call_id, rains = f"call_{city}", f"It rains in {city}."
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    call = {"id": call_id, "type": "function", "function": function}
    yield {"role": "user", "content": f"What is the weather like in {city}?"}
    yield {"role": "assistant", "content": None, "tool_calls": [call]}
    yield {"role": "tool", "tool_call_id": call_id, "content": rains}
    yield {"role": "assistant", "content": rains}


def get_weather(city: str) -> str:
    return f"It rains in {city}."


@pytest.fixture(scope="module")
def server_with_tools(real_packages: None) -> Iterator[LocalServer]:
    with LocalServer(n_parallel=1, chat_template=TEMPLATE) as server:
        yield server


@pytest.fixture
def client(server_with_tools: LocalServer) -> Iterator[Client]:
    with Client(base_url=server_with_tools.base_url, max_retries=0) as made:
        yield made


@pytest.fixture
def messages() -> list[dict[str, Any]]:
    question = {"role": "user", "content": "What is the weather like in Oslo?"}
    return [*(one for city in ("Bergen", "Paris", "Rome") for one in before(city)), question]


@pytest.fixture
def tool_loop(tmp_path: Path) -> Any:
    """The file of the page."""
    document = Document(PAGE.read_text(encoding="utf-8"), str(PAGE))
    [source] = [
        lexed.lexemes["source"]
        for lexed in DirectiveLexer(directive="code-block")(document)
        if lexed.lexemes["options"].get("caption") == "tool_loop.py"
    ]
    path = tmp_path / "tool_loop.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("tool_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.limit(240)
def test_the_loop_of_the_page(
    client: Client, messages: list[dict[str, Any]], tool_loop: Any, capsys: Any
) -> None:
    arguments: dict[str, Any] = {**BODY, "model": "m", "client": client}
    functions = {"get_weather": get_weather}
    asked = len(messages)
    with pytest.raises(RuntimeError, match="no answer after 1 rounds"):
        tool_loop.ask(messages, functions, rounds=1, tool_choice="required", **arguments)
    call, result = messages[asked:]
    assert call["content"] is None
    assert [one["function"]["name"] for one in call["tool_calls"]] == ["get_weather"]
    city = json.loads(call["tool_calls"][0]["function"]["arguments"])["city"]
    assert result["content"] == get_weather(city)
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    tool_loop.ask(messages, functions, rounds=1, **arguments)
    assert messages[-1]["role"] == "assistant"
    assert messages[-1]["content"]
    assert capsys.readouterr().out == messages[-1]["content"]


@pytest.mark.limit(240)
def test_the_parts_of_a_call(client: Client, messages: list[dict[str, Any]]) -> None:
    events = client.create_chat_completion(
        model="m", messages=messages, tool_choice="required", stream=True, **BODY
    )
    parts = list(events.parts())
    [call] = [part for part in parts if isinstance(part, Call)]
    whole = events.stream.result()
    [told] = whole.choices[0].message.tool_calls
    assert told.function is not None
    assert (call.id, call.name, call.arguments) == (
        told.id,
        told.function.name,
        told.function.arguments,
    )
    deltas = [part for part in parts if isinstance(part, CallDelta)]
    assert "".join(part.arguments for part in deltas) == call.arguments


@pytest.mark.limit(240)
def test_a_cut_call_goes_back_as_one_that_the_server_can_read(
    client: Client, messages: list[dict[str, Any]]
) -> None:
    body: dict[str, Any] = {**BODY, "max_tokens": 20}
    events = client.create_chat_completion(
        model="m", messages=messages, tool_choice="required", stream=True, **body
    )
    message = events.stream.result().choices[0].message
    [called] = message.to_dict()["tool_calls"]
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        json.loads(called["function"]["arguments"])
    result = {"role": "tool", "tool_call_id": called["id"], "content": "error: not JSON"}
    with pytest.raises(InternalServerError, match="parse tool call arguments"):
        client.create_chat_completion(
            model="m", messages=[*messages, message.to_dict(), result], **body
        )
    again = client.create_chat_completion(
        model="m", messages=[*messages, message.to_param(), result], **body
    )
    assert again.choices[0].message.content
