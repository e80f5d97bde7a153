"""What was asked and answered, as the messages of the conventions; for who wants to keep it.

What has no form there stays as it is, under the type that it has. Reasoning is such by the older
conventions that are kept, and a part of its own by those of now.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .attributes import Attributes, finish_reasons, items, mapping

__all__ = ["input_messages", "output_messages", "tool_definitions"]

#: Parts of a message's content that are reasoning (Mistral's, Anthropic's).
_THOUGHTS = ("thinking", "reasoning", "reasoning_text")


def input_messages(body: Mapping[str, Any], reasoning: bool = False) -> Attributes:
    """What was asked.

    :param reasoning: as parts.
    """
    told: Attributes = {}
    asked = next((body[name] for name in ("messages", "input", "prompt") if name in body), None)
    messages = [
        _message(one if isinstance(one, (str, dict)) else _dumps(one), "user", reasoning)
        for one in (asked if isinstance(asked, list) else [asked] if asked is not None else [])
    ]
    if messages:
        told["gen_ai.input.messages"] = _dumps(messages)
    if isinstance(instructions := body.get("instructions"), str):
        told["gen_ai.system_instructions"] = _dumps([_text(instructions)])
    return told


def output_messages(
    answer: Mapping[str, Any], reasoning: bool = False, reasons: bool = True
) -> Attributes:
    """What was answered, as far as it came.

    :param reasoning: as parts.
    :param reasons: each message has its finish reason.
    """
    messages: list[dict[str, Any]] = []
    for choice in map(mapping, items(answer.get("choices"))):
        given = choice.get("message", choice.get("text"))
        if isinstance(given, (str, dict)):
            reason = choice.get("finish_reason") or ""
            messages.append(_message(given, "assistant", reasoning) | _reason(reason, reasons))
    # The conventions want one message of all that belongs to one answer.
    parts = [
        part for item in items(answer.get("output")) for part in _parts(mapping(item), reasoning)
    ]
    if parts:
        reason = next(iter(finish_reasons(answer)), "")
        messages.append({"role": "assistant", "parts": parts} | _reason(reason, reasons))
    return {"gen_ai.output.messages": _dumps(messages)} if messages else {}


def tool_definitions(body: Mapping[str, Any]) -> Attributes:
    """Which tools the model has: their types and names, as the rest may be large."""
    tools = [
        {"type": kind, "name": mapping(tool.get("function")).get("name", tool.get("name", kind))}
        for tool in map(mapping, items(body.get("tools")))
        if isinstance(kind := tool.get("type"), str)
    ]
    return {"gen_ai.tool.definitions": _dumps(tools)} if tools else {}


def _reason(reason: Any, reasons: bool) -> dict[str, Any]:
    return {"finish_reason": reason} if reasons else {}


def _message(message: str | Mapping[str, Any], role: str, reasoning: bool) -> dict[str, Any]:
    """A message of the API's, or an item of a response, as a message with parts."""
    if isinstance(message, str):
        return {"role": role, "parts": [_text(message)]}
    told = message.get("role")
    return {
        "role": told if isinstance(told, str) else role,
        "parts": list(_parts(message, reasoning)),
    }


def _parts(message: Mapping[str, Any], reasoning: bool) -> Iterator[dict[str, Any]]:
    kind, content = message.get("type"), message.get("content")
    if reasoning and (thought := _thought(message)):
        yield {"type": "reasoning", "content": thought}
        if kind == "reasoning":
            return
    if message.get("role") == "tool":
        yield _tool_response(message.get("tool_call_id"), content)
    elif kind == "function_call":
        yield _tool_call(message.get("call_id"), message)
    elif kind == "function_call_output":
        yield _tool_response(message.get("call_id"), message.get("output"))
    elif kind not in ("message", None):
        yield dict(message)  # an item of a response that is no message
    else:
        for part in [{"text": content}] if isinstance(content, str) else items(content):
            if reasoning and mapping(part).get("type") in _THOUGHTS:
                yield {"type": "reasoning", "content": _texts(part)}
                continue
            text = mapping(part).get("text", mapping(part).get("refusal"))
            yield _text(text) if isinstance(text, str) else {"type": "unknown", **mapping(part)}
        if isinstance(refusal := message.get("refusal"), str):
            yield _text(refusal)
        for call in map(mapping, items(message.get("tool_calls"))):
            yield _tool_call(call.get("id"), mapping(call.get("function")))


def _thought(message: Mapping[str, Any]) -> str:
    """The reasoning of a chat's message, or of an item that is nothing else: in words, or at least
    summed up. One that is encrypted has none.
    """
    if message.get("type") == "reasoning":
        return _texts(message.get("content")) or _texts(message.get("summary"))
    told = (message.get(name) for name in ("reasoning_content", "reasoning"))
    return next((text for text in told if isinstance(text, str) and text), "")


def _texts(value: Any) -> str:
    """The text of a part, or of a list of them."""
    if isinstance(value, dict):
        value = next((value[name] for name in ("text", "thinking") if name in value), "")
    if isinstance(value, list):
        return "\n\n".join(filter(None, map(_texts, value)))
    return value if isinstance(value, str) else ""


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _tool_call(id: Any, function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # cut, perhaps: as it is
            arguments = json.loads(arguments)
    return {"type": "tool_call", "id": id, "name": function.get("name"), "arguments": arguments}


def _tool_response(id: Any, response: Any) -> dict[str, Any]:
    return {"type": "tool_call_response", "id": id, "response": response}


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
