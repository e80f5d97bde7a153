"""What the API sends: the events of an answer, as OpenAI makes them."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["chat_chunks", "completion_chunks", "tool_call_chunks"]

_CREATED = 1700000000
_PIECE = re.compile(r"\s*\S+|\s+")


def chat_chunks(
    text: str | Iterable[str],
    *,
    model: str = "gpt-4o-mini-2024-07-18",
    finish_reason: str = "stop",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a chat completion as OpenAI sends them.

    :param text: the pieces, one a chunk; a string is cut before its spaces.
    :param usage: whether a last chunk, without choices, tells the usage.
    :param seed: of the id, and of the random padding that each chunk carries.

    .. versionadded:: 0.1
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    return _chat(deltas, model, finish_reason, usage, _source(seed))


def tool_call_chunks(
    *calls: tuple[str, str],
    model: str = "gpt-4o-mini-2024-07-18",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a chat completion that calls tools, as OpenAI sends them.

    :param calls: of each the function's name and its arguments, a JSON text.

    .. versionadded:: 0.1
    """
    source = _source(seed)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        call = {"id": f"call_{_token(source, 24)}", "type": "function", "function": function}
        parts: list[dict[str, Any]] = [call]
        parts += [{"function": {"arguments": piece}} for piece in _pieces(arguments)]
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


def _pieces(text: str | Iterable[str]) -> Iterable[str]:
    return _PIECE.findall(text) if isinstance(text, str) else text


def _source(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same in each run, which no secret would be


def _token(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.ascii_letters + string.digits, k=length))
