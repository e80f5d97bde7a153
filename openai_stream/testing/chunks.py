"""What the API sends: the events of an answer, as OpenAI makes them."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["chat_chunks", "completion_chunks", "response_events", "tool_call_chunks"]

_CREATED = 1700000000
_PIECE = re.compile(r"\s*\S+|\s+")


def chat_chunks(
    text: str | Iterable[str],
    *,
    model: str = "gpt-4o-mini-2024-07-18",
    finish_reason: str = "stop",
    usage: bool = False,
    seed: int = 0,
    reasoning: str | Iterable[str] = (),
    reasoning_field: str = "reasoning_content",
) -> list[dict[str, Any]]:
    """The chunks of a chat completion as OpenAI sends them.

    :param text: the pieces, one a chunk; a string is cut before its spaces.
    :param reasoning: pieces of reasoning, which come before the text.
    :param reasoning_field: the field that they are in: ``reasoning_content`` as DeepSeek and
        llama.cpp have it, or ``reasoning`` as OpenRouter and Ollama do.
    :param usage: whether a last chunk, without choices, tells the usage.
    :param seed: of the id, and of the random padding that each chunk carries.

    .. versionadded:: 0.1
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{reasoning_field: piece} for piece in _pieces(reasoning)]
    deltas += [{"content": piece} for piece in _pieces(text)]
    return _chat(deltas, model, finish_reason, usage, _source(seed))


def tool_call_chunks(
    *calls: tuple[str, str | Mapping[str, Any]],
    model: str = "gpt-4o-mini-2024-07-18",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a chat completion that calls tools, as OpenAI sends them.

    :param calls: of each the function's name and its arguments: a JSON text, which may be broken,
        or an object, which becomes one.
    :raises ValueError: the object has a value that JSON does not know, such as NaN.
    :raises TypeError: likewise, or the arguments are neither.

    .. versionadded:: 0.1
    """
    source = _source(seed)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        call = {"id": f"call_{_token(source, 24)}", "type": "function", "function": function}
        parts: list[dict[str, Any]] = [call]
        parts += [{"function": {"arguments": piece}} for piece in _pieces(_json_text(arguments))]
        deltas += [{"tool_calls": [{"index": index, **part}]} for part in parts]
    return _chat(deltas, model, "tool_calls", usage, source)


def completion_chunks(
    text: str | Iterable[str],
    *,
    model: str = "gpt-3.5-turbo-instruct:20230824-v2",
    finish_reason: str = "stop",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a text completion as OpenAI sends them; see :func:`chat_chunks`.

    .. versionadded:: 0.1
    """
    source = _source(seed)
    base = {
        "id": f"cmpl-{_token(source, 29)}",
        "object": "text_completion",
        "created": _CREATED,
        "model": model,
    }
    contents = [{"text": piece} for piece in [*_pieces(text), ""]]
    return _chunks(base, contents, finish_reason, usage, source)


def response_events(
    text: str | Iterable[str],
    *,
    reasoning: str | Iterable[str] = (),
    model: str = "gpt-4o-mini-2024-07-18",
    incomplete: str | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The events of a response (``/responses``) as OpenAI sends them; there is no ``[DONE]``.

    ::

        server.play(answer(response_events("Hello, world!"), done=False))

    :param text: the pieces, one an event; a string is cut before its spaces.
    :param reasoning: pieces of a summary of reasoning, an item before the text.
    :param incomplete: why it ends before its time: ``"max_output_tokens"`` or ``"content_filter"``.
    :param seed: of the ids, and of the random padding of the deltas.

    .. versionadded:: 0.1
    """
    source = _source(seed)
    base: dict[str, Any] = {
        "id": f"resp_{_token(source, 48)}",
        "object": "response",
        "created_at": _CREATED,
        "model": model,
        "error": None,
        "incomplete_details": None,
    }
    begun = {**base, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    thoughts, pieces = list(_pieces(reasoning)), list(_pieces(text))
    output: list[dict[str, Any]] = []
    if thoughts:
        thinking: dict[str, Any] = {"id": f"rs_{_token(source, 48)}", "type": "reasoning"}
        summary = {"type": "summary_text", "text": "".join(thoughts)}
        output.append({**thinking, "summary": [summary]})
        begins = {**thinking, "summary": []}
        events += _item(0, begins, output[0], "reasoning_summary", thoughts, source)
    state = "completed" if incomplete is None else "incomplete"
    said = {"id": f"msg_{_token(source, 48)}", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "text": "".join(pieces)}
    output.append({**said, "status": state, "content": [part]})
    begins = {**said, "status": "in_progress", "content": []}
    events += _item(len(output) - 1, begins, output[-1], "output", pieces, source)
    count = len(pieces) + len(thoughts)
    usage = {
        "input_tokens": 9,
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": len(thoughts)},
        "total_tokens": 9 + count,
    }
    whole = {**base, "status": state, "output": output, "usage": usage}
    if incomplete is not None:
        whole["incomplete_details"] = {"reason": incomplete}
    events.append({"type": f"response.{state}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item(
    index: int,
    begun: dict[str, Any],
    whole: dict[str, Any],
    name: str,
    pieces: Sequence[str],
    source: random.Random,
) -> Iterable[dict[str, Any]]:
    """The events of one item of a response, which has one part.

    :param name: what the events of its text begin with.
    """
    part = (whole.get("content") or whole["summary"])[0]
    place = "summary_index" if name == "reasoning_summary" else "content_index"
    kind = "reasoning_summary_part" if name == "reasoning_summary" else "content_part"
    at = {"item_id": whole["id"], "output_index": index, place: 0}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield {"type": f"response.{kind}.added", **at, "part": {**part, "text": ""}}
    for piece in pieces:
        padding = _token(source, source.randrange(1, 16))
        yield {"type": f"response.{name}_text.delta", **at, "delta": piece, "obfuscation": padding}
    yield {"type": f"response.{name}_text.done", **at, "text": part["text"]}
    yield {"type": f"response.{kind}.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": index, "item": whole}


def _chat(
    deltas: list[dict[str, Any]],
    model: str,
    finish_reason: str,
    usage: bool,
    source: random.Random,
) -> list[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{_token(source, 29)}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{source.getrandbits(40):010x}",
    }
    contents = [{"delta": delta} for delta in [*deltas, {}]]
    return _chunks(base, contents, finish_reason, usage, source)


def _chunks(
    base: Mapping[str, Any],
    contents: Sequence[Mapping[str, Any]],
    finish_reason: str,
    usage: bool,
    source: random.Random,
) -> list[dict[str, Any]]:
    """One chunk for each content of choice 0, the last of which finishes it."""
    ends = [None] * (len(contents) - 1) + [finish_reason]
    bodies: list[dict[str, Any]] = [
        {
            "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": end}],
            "usage": None,
        }
        for content, end in zip(contents, ends, strict=True)
    ]
    if usage:
        tokens = {"prompt_tokens": 9, "completion_tokens": len(contents)}
        bodies.append({"choices": [], "usage": {**tokens, "total_tokens": 9 + len(contents)}})
    return [
        {**base, **body, "obfuscation": _token(source, source.randrange(1, 16))} for body in bodies
    ]


def _json_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    if not isinstance(arguments, Mapping):
        raise TypeError(
            f"arguments of a call must be a JSON text or a dict, not a {type(arguments).__name__}"
        )
    return json.dumps(dict(arguments), allow_nan=False, ensure_ascii=False)


def _pieces(text: str | Iterable[str]) -> Iterable[str]:
    return _PIECE.findall(text) if isinstance(text, str) else text


def _source(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same in each run, which no secret would be


def _token(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.ascii_letters + string.digits, k=length))
