"""What of an answer goes into the next request: not all that servers send do they take back.

Plain dicts in, plain dicts out. OpenAI ignores much of what it does not know, and other servers
refuse the request; what they require, OpenAI does not know. So whatever the API documents for a
request goes back, with values that every server can read, and of all else only what a server
itself has signed or encrypted: it made that to have it back. Source: OpenAI API reference, "Chat
Completions", *messages*, and "Responses", *input*; for the rest see ``docs/reports.rst``.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from typing import Any

from openai_stream.strict_json import loads
from openai_stream.surrogates import Halves

from .plain_json import copied

__all__ = ["assistant_param", "input_items"]

JSON = dict[str, Any]

#: Fields that servers want back as they were, whatever is in them: of OpenRouter, of LiteLLM and
#: Anthropic, of Google (in a message, and in its calls).
_SEALED = frozenset({"reasoning_details", "thinking_blocks", "extra_content"})
#: Fields that are a signature, or are encrypted. What has one in it goes back.
_SEALS = frozenset(
    {
        "signature",
        "thought_signature",
        "thought_signatures",
        "thoughtSignature",
        "thinking_signature",
        "reasoning_signature",
        "reasoning_opaque",  # GitHub Copilot
        "encrypted_content",
    }
)
#: Fields of a message that the API documents.
_DOCUMENTED = frozenset(
    {"role", "content", "refusal", "tool_calls", "annotations", "audio", "function_call"}
)
#: What a signature beside them may be the signature of.
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")


# Chat Completions ------------------------------------------------------------------------------


def assistant_param(message: JSON) -> JSON:
    """The message of a request, of the message of an answer.

    * ``content`` is null only beside calls, where some refuse an empty text; without them it is a
      text, where some refuse null. A refusal is its text, audio its ``id``.
    * Calls have no ``index``, a ``type``, and arguments that are a JSON object: servers that render
      them by a template refuse the whole conversation otherwise.
    * ``reasoning_content`` goes back with calls only, if it came, though empty.
    """
    given = message.get("tool_calls")
    calls = [_call(one) for one in given if isinstance(one, dict)] if type(given) is list else []
    param: JSON = {"role": _text(message.get("role")) or "assistant"}
    param.update(_content(message, has_calls=bool(calls)))
    param.update(_sealed(message, _DOCUMENTED))
    reasoning = message.get("reasoning_content")
    if calls and isinstance(reasoning, str):
        param["reasoning_content"] = _sendable(reasoning)
    if calls:
        param["tool_calls"] = calls
    elif _is_call(called := message.get("function_call")):
        param["function_call"] = _function(called)
    return param


def _content(message: JSON, has_calls: bool) -> JSON:
    """``content``, or ``audio`` in its place."""
    content = message.get("content")
    if isinstance(content, str):
        content = _sendable(content)
    elif isinstance(content, dict):
        content = [copied(content)]
    elif isinstance(content, list):
        content = copied(content)
    else:
        content = None
    if content:
        return {"content": content}
    audio = message.get("audio")
    if isinstance(audio, dict):
        if _text(audio.get("id")):
            return {"audio": {"id": audio["id"]}}
        content = _text(audio.get("transcript"))
    content = _sendable(content or _text(message.get("refusal")))
    if not content and (has_calls or _is_call(message.get("function_call"))):
        return {"content": None}
    return {"content": content}


def _call(call: JSON) -> JSON:
    """A tool call, of a request."""
    kind = _text(call.get("type"))
    param: JSON = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    custom = call.get("custom")
    if isinstance(custom, dict):
        tool = {"name": _text(custom.get("name")), "input": _sendable(_text(custom.get("input")))}
        param |= {"type": kind or "custom", "custom": tool}
    else:
        function = call.get("function")
        param |= {"type": kind or "function", "function": _function(function)}
    return param | _sealed(call, param.keys() | {"index"})


def _function(function: Any) -> JSON:
    """A function that is called, of a request."""
    if not isinstance(function, dict):
        function = {}
    param: JSON = {
        "name": _text(function.get("name")),
        "arguments": _arguments(function.get("arguments")),
    }
    return param | _sealed(function, param.keys())


def _arguments(arguments: Any) -> str:
    """Arguments as the text of a JSON object; ``{}`` for whatever is not one."""
    if isinstance(arguments, dict):
        return json.dumps(arguments)
    text = _text(arguments)
    try:
        is_object = isinstance(loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    return _sendable(text) if is_object else "{}"


def _is_call(function: Any) -> bool:
    return isinstance(function, dict) and bool(function.get("name"))


# Responses -------------------------------------------------------------------------------------

#: Of each type of item the fields that a request may have; the others are of the answer only. An
#: item of another type goes back with all of its fields.
_ITEMS = {
    "message": ("id", "role", "content", "status", "phase"),
    "function_call": ("id", "call_id", "name", "namespace", "arguments", "status"),
    "custom_tool_call": ("id", "call_id", "name", "namespace", "input"),
    # A status is refused here; the last two are of OpenRouter.
    "reasoning": ("id", "summary", "content", "encrypted_content", "signature", "format"),
    "image_generation_call": ("id", "status", "result"),
}
#: Fields that are null in a request too, if they are in the answer.
_NULLABLE = frozenset({"code", "outputs", "result"})
#: Types that need no id; with it the server looks for what it has not stored.
_WITHOUT_ID = frozenset(
    {"message", "function_call", "custom_tool_call", "reasoning", "web_search_call"}
)


def input_items(response: JSON) -> list[JSON]:
    """The items of a request's ``input``, of a response.

    * Reasoning needs the item that follows it, so that at the end it is left out, and the items
      that were made from it need it. It goes back by its id if the server has stored it, else if
      it is encrypted or there to be read.
    * If the server has stored nothing, no id is of use to it.
    """
    output = response.get("output")
    stored = response.get("store")
    items: list[JSON] = []
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict) and (param := _item(item, stored)) is not None:
            items.append(param)
    while items and items[-1].get("type") == "reasoning":
        del items[-1]
    return items


def _item(item: JSON, stored: Any) -> JSON | None:
    """An item, of a request; ``None`` if it is of no use there."""
    kind = item.get("type")
    if not isinstance(kind, str):
        kind = ""
    known = _ITEMS.get(kind)
    param = {
        key: copied(value)
        for key, value in item.items()
        if (value is not None or key in _NULLABLE)
        and (known is None or key == "type" or key in known)
        and key != "created_by"
    }
    if stored is False and kind in _WITHOUT_ID:
        param.pop("id", None)
    if kind == "reasoning":
        return _reasoning(param, stored)
    if kind == "message":
        param["content"] = list(_parts(param.get("content")))
        param.setdefault("role", "assistant")
        return param if param["content"] else None
    if kind == "function_call":
        param["arguments"] = _arguments(param.get("arguments"))
    return param


def _reasoning(param: JSON, stored: Any) -> JSON | None:
    if not param.get("content"):
        param.pop("content", None)
    if not isinstance(param.get("summary"), list):
        param["summary"] = []  # required, though empty
    is_there = param.get("encrypted_content") or param.get("content")
    if stored is None:
        is_there = is_there or param["summary"]
    return param if stored is True or is_there else None


def _parts(content: Any) -> Iterator[JSON]:
    """The parts of a message, of a request."""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "output_text":
            annotations = part.get("annotations")
            yield {
                "type": "output_text",
                "text": _sendable(_text(part.get("text"))),
                "annotations": annotations if isinstance(annotations, list) else [],
            }
        else:
            yield part


# Both ------------------------------------------------------------------------------------------


def _sealed(fields: JSON, known: Container[str]) -> JSON:
    """Of the other fields those that a server has signed or encrypted, as they were."""
    found = {
        key: copied(value)
        for key, value in fields.items()
        if key not in known and value and (key in _SEALED or key in _SEALS or _has_seal(value))
    }
    if found.keys() & _SEALS:
        thoughts = {key: fields[key] for key in _THOUGHTS if _text(fields.get(key))}
        found = {**thoughts, **found}
    return found


def _has_seal(value: Any) -> bool:
    """Whether there is a signature, or something encrypted, anywhere in a value."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if any(one[key] for key in one.keys() & _SEALS):
                return True
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
    return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _sendable(text: str) -> str:
    """A text without lone halves of a character, which are not JSON to most servers."""
    if text.isascii():
        return text
    halves = Halves()
    return halves.feed(text) + halves.end()
