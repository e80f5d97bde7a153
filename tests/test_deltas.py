"""Deltas with lists and objects, choices that are numbered oddly, characters cut in two.

What real servers send for reasoning, images, citations and the like, and what becomes of it; and
for each rule its mirror image, which one that is too eager would break.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import JSON
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import EXAMPLES

from openai_stream import Client, EventQueue, StreamInterruptedError
from openai_stream.accumulate import Asked, ChatAccumulator, CompletionAccumulator
from openai_stream.surrogates import Halves, joined
from openai_stream.testing import Reset, ScriptedServer, answer, chat_chunks, frame

HIGH, LOW = "\ud83d", "\ude00"


def chunk(delta: JSON, finish_reason: str | None = None, index: int = 0) -> JSON:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def message(*deltas: JSON, ends: bool = False) -> JSON:
    """The whole message.

    :param ends: the last delta comes with the finish reason.
    """
    accumulator = ChatAccumulator()
    for number, delta in enumerate(deltas, 1):
        reason = "stop" if ends and number == len(deltas) else None
        accumulator.add(json.loads(json.dumps(chunk(delta, reason))))
    whole: JSON = accumulator.snapshot()["choices"][0]["message"]
    return whole


def field(*values: Any, ends: bool = False) -> Any:
    """What becomes of a field that the API does not have."""
    return message(*({"x": value} for value in values), ends=ends)["x"]


# What servers send --------------------------------------------------------------------------------

SIGNED = "c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [{"reasoning_content": "I "}, {"reasoning_content": "see"}, {"content": "Yes"}],
            {"reasoning_content": "I see", "content": "Yes"},
            id="DeepSeek, vLLM, llama.cpp: reasoning_content",
        ),
        pytest.param(
            [
                {
                    "reasoning": piece,
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": piece, "format": "f", "index": 0}
                    ],
                }
                for piece in ("I ", "see")
            ]
            + [
                {
                    "reasoning_details": [
                        {"type": "reasoning.text", "signature": SIGNED, "format": "f", "index": 0}
                    ]
                }
            ],
            {
                "reasoning": "I see",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "I see",
                        "format": "f",
                        "index": 0,
                        "signature": SIGNED,
                    }
                ],
            },
            id="OpenRouter: reasoning_details",
        ),
        pytest.param(
            [
                {"reasoning_details": [{"type": "reasoning.summary", "summary": "I ", "index": 0}]},
                {
                    "reasoning_details": [
                        {"type": "reasoning.summary", "summary": "see", "index": 0}
                    ]
                },
                {
                    "reasoning_details": [
                        {"type": "reasoning.encrypted", "data": "QUJD", "id": "rs_1", "index": 0}
                    ]
                },
            ],
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "I see", "index": 0},
                    {"type": "reasoning.encrypted", "data": "QUJD", "id": "rs_1", "index": 0},
                ]
            },
            id="OpenRouter: two types under one index",
        ),
        pytest.param(
            [
                {"thinking_blocks": [{"type": "thinking", "thinking": "I ", "signature": None}]},
                {"thinking_blocks": [{"type": "thinking", "thinking": "see", "signature": None}]},
                {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": SIGNED}]},
            ],
            {
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "I ", "signature": None},
                    {"type": "thinking", "thinking": "see", "signature": None},
                    {"type": "thinking", "thinking": "", "signature": SIGNED},
                ]
            },
            id="LiteLLM: thinking_blocks",
        ),
        pytest.param(
            [
                {"thinking_blocks": [{"type": "thinking", "thinking": "I "}]},
                {"thinking_blocks": [{"type": "thinking", "thinking": "see"}]},
                {
                    "thinking_blocks": [
                        {"type": "thinking", "thinking": "I see", "signature": SIGNED}
                    ]
                },
            ],
            {"thinking_blocks": [{"type": "thinking", "thinking": "I see", "signature": SIGNED}]},
            id="LiteLLM: thinking_blocks, the whole block at the end",
        ),
        pytest.param(
            [
                {"reasoning_content": {"text": "I "}},
                {"reasoning_content": {"text": "see"}},
                {"reasoning_content": {"signature": "S"}},
            ],
            {"reasoning_content": {"text": "I see", "signature": "S"}},
            id="Bedrock: reasoning_content as an object",
        ),
        pytest.param(
            [
                {"images": [{"type": "image_url", "image_url": {"url": "data:a"}, "index": 0}]},
                {"images": [{"type": "image_url", "image_url": {"url": "data:b"}, "index": 1}]},
            ],
            {
                "images": [
                    {"type": "image_url", "image_url": {"url": "data:a"}, "index": 0},
                    {"type": "image_url", "image_url": {"url": "data:b"}, "index": 1},
                ]
            },
            id="OpenRouter: images",
        ),
        pytest.param(
            [{"citations": ["u"]}, {"citations": ["u", "v"]}, {"citations": ["u", "v"]}],
            {"citations": ["u", "v"]},
            id="Perplexity: all citations so far in each chunk",
        ),
        pytest.param(
            [{"citations": ["u"]}, {"citations": ["v"]}],
            {"citations": ["u", "v"]},
            id="citations one by one",
        ),
        pytest.param(
            [
                {"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]},
                {"annotations": [{"type": "url_citation", "url_citation": {"url": "v"}}]},
            ],
            {
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "u"}},
                    {"type": "url_citation", "url_citation": {"url": "v"}},
                ]
            },
            id="OpenAI: annotations",
        ),
        pytest.param(
            [
                {"audio": {"id": "audio_1", "transcript": "Hel"}},
                {"audio": {"id": "audio_1", "transcript": "lo"}},
                {"audio": {"id": "audio_1", "data": "AAAA"}},
                {"audio": {"id": "audio_1", "data": "AAAA", "voice": "alloy"}},
                {"audio": {"id": "audio_1", "expires_at": 5, "voice": "alloy"}},
            ],
            {
                "audio": {
                    "id": "audio_1",
                    "transcript": "Hello",
                    "data": "AAAAAAAA",
                    "voice": "alloy",
                    "expires_at": 5,
                }
            },
            id="OpenAI: audio",
        ),
        pytest.param(
            [
                {"provider_specific_fields": {"citation": {"cited_text": "a"}}},
                {"provider_specific_fields": None},
                {
                    "provider_specific_fields": {
                        "thinking_blocks": [{"type": "thinking", "thinking": "I see"}]
                    }
                },
            ],
            {
                "provider_specific_fields": {
                    "citation": {"cited_text": "a"},
                    "thinking_blocks": [{"type": "thinking", "thinking": "I see"}],
                }
            },
            id="LiteLLM: provider_specific_fields",
        ),
        pytest.param(
            [
                {"content": "<thought>", "extra_content": {"google": {"thought": True}}},
                {"content": "Yes", "extra_content": {"google": {"thought_signature": SIGNED}}},
            ],
            {
                "content": "<thought>Yes",
                "extra_content": {"google": {"thought": True, "thought_signature": SIGNED}},
            },
            id="Gemini: extra_content",
        ),
        pytest.param(
            [
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "a",
                            "function": {"name": "f", "arguments": "{}"},
                            "extra_content": {"google": {"thought_signature": SIGNED}},
                        }
                    ]
                },
            ],
            {
                "tool_calls": [
                    {
                        "id": "a",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": SIGNED}},
                    }
                ]
            },
            id="Gemini: the signature of a call",
        ),
    ],
)
def test_what_servers_send(deltas: list[JSON], expected: JSON) -> None:
    whole = message(*deltas)
    assert {key: whole[key] for key in expected} == expected


@pytest.mark.parametrize("kind", [ChatAccumulator, CompletionAccumulator])
def test_the_token_ids_of_a_choice_are_collected(kind: Any) -> None:
    accumulator = kind()
    for tokens in ([1, 2], None, [1, 2, 3], [7]):
        accumulator.add({"choices": [{"index": 0, "text": "a", "token_ids": tokens}]})
    assert accumulator.snapshot()["choices"][0]["token_ids"] == [1, 2, 1, 2, 3, 7]


# The rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}, id="objects grow by key"),
        pytest.param([{"a": "x"}, {"a": "y"}], {"a": "y"}, id="a string that is no text"),
        pytest.param(
            [{"a": "x"}, {"a": ""}, {"a": None}], {"a": "x"}, id="nothing replaces nothing"
        ),
        pytest.param([{"text": "x"}, {"text": "y"}], {"text": "xy"}, id="a text"),
        pytest.param([{"text": ""}, {"text": None}], {"text": ""}, id="an empty text"),
        pytest.param(
            [{"a": {"text": "x"}}, {"a": {"text": "y", "b": 1}}],
            {"a": {"text": "xy", "b": 1}},
            id="objects in objects",
        ),
        pytest.param([{"a": [1]}, {"a": [2]}], {"a": [1, 2]}, id="lists in objects"),
        pytest.param([{"data": "x"}, {"data": "y"}], {"data": "y"}, id="data is whole"),
        pytest.param([[], []], [], id="empty lists"),
        pytest.param([{}, {}], {}, id="empty objects"),
        pytest.param([[1], [1], [1, 1]], [1, 1, 1, 1], id="numbers are always added"),
        pytest.param([["a"], ["b"], ["a", "b", "c"]], ["a", "b", "c"], id="a list so far"),
        pytest.param([["a", "b"], ["a"]], ["a", "b", "a"], id="a shorter one is none"),
        pytest.param(
            [[{"index": 1, "text": "b"}], [{"index": 0, "text": "a"}], [{"index": 1, "text": "c"}]],
            [{"index": 0, "text": "a"}, {"index": 1, "text": "bc"}],
            id="by index",
        ),
        pytest.param(
            [[{"index": 0, "type": "t", "text": "a"}], [{"index": 0, "text": "b"}]],
            [{"index": 0, "type": "t", "text": "ab"}],
            id="by index, the type once",
        ),
        pytest.param(
            [[{"index": 0, "text": "a"}], [{"index": 0, "type": "t", "text": "b"}]],
            [{"index": 0, "text": "ab", "type": "t"}],
            id="by index, the type later",
        ),
        pytest.param(
            [[{"text": "ha"}], [{"text": "ha"}]],
            [{"text": "ha"}, {"text": "ha"}],
            id="two pieces that are the same",
        ),
        pytest.param(
            [[{"text": "1"}], [{"text": "11"}], [{"text": "1"}]],
            [{"text": "1"}, {"text": "11"}, {"text": "1"}],
            id="to begin with what is there is not to repeat it",
        ),
        pytest.param(
            [[{"text": "ha", "id": "a", "url": "u"}], [{"text": "ha", "id": "a", "url": "u"}]],
            [{"text": "ha", "id": "a", "url": "u"}],
            id="a whole block that comes again",
        ),
        pytest.param(
            [[{"index": 0, "text": "1"}], [{"index": 0, "text": "11", "signature": "S"}]],
            [{"index": 0, "text": "111", "signature": "S"}],
            id="one piece is not repeated by what begins with it",
        ),
        pytest.param(
            [
                [{"index": 0, "text": "I "}],
                [{"index": 0, "text": "see"}],
                [{"index": 0, "text": "I see", "signature": "S"}],
            ],
            [{"index": 0, "text": "I see", "signature": "S"}],
            id="a block that repeats the whole, with a new key",
        ),
        pytest.param(
            [
                [{"index": 0, "text": "ha"}],
                [{"index": 0, "text": "ha"}],
                [{"index": 0, "text": "haha"}],
            ],
            [{"index": 0, "text": "hahahaha"}],
            id="without a new key it goes on",
        ),
        pytest.param(
            [[{"text": "ha"}], [{"text": "ha", "signature": "S"}]],
            [{"text": "ha"}, {"text": "ha", "signature": "S"}],
            id="one piece is not repeated by its like",
        ),
        pytest.param(
            [{"text": "I "}, {"text": "see"}, {"text": "I see", "signature": "S"}],
            {"text": "I see", "signature": "S"},
            id="an object that repeats the whole",
        ),
        pytest.param(
            [[{"text": "a"}], [{"text": "b"}], [{"text": "ab", "k": 1}], [{"text": "c"}]],
            [{"text": "ab", "k": 1}, {"text": "c"}],
            id="and then goes on",
        ),
        pytest.param(["a", {"b": 1}], ["a", {"b": 1}], id="a text, then an object"),
        pytest.param(["a", ["b"], "c"], ["a", "b", "c"], id="a text, then a list, then a text"),
        pytest.param(
            [{"a": 1}, [2], {"b": 3}], [{"a": 1}, 2, {"b": 3}], id="an object, then a list"
        ),
        pytest.param([[1], 5, True], [1], id="a list is worth more than a number"),
        pytest.param([5, {"a": 1}], {"a": 1}, id="a number, then an object"),
        pytest.param(["a", {}, []], "a", id="a text, then nothing"),
        pytest.param([{"a": 1}, "b"], [{"a": 1}, "b"], id="an object, then a text"),
    ],
)
def test_an_unknown_field(values: list[Any], expected: Any) -> None:
    assert field(*values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"text": "a"}, {"text": "b"}, {"text": "ab"}], {"text": "ab"}),
        ([[{"text": "a"}], [{"text": "b"}], [{"text": "ab"}]], [{"text": "ab"}]),
        (
            [*[[{"text": "a", "index": 0}]] * 2, [{"text": "aa", "index": 0}]],
            [{"text": "aa", "index": 0}],
        ),
        ([[{"text": "a"}], [{"text": "b"}]], [{"text": "a"}, {"text": "b"}]),
        (["a", "b", "ab"], "abab"),
    ],
)
def test_a_block_that_comes_with_the_finish_reason(values: list[Any], expected: Any) -> None:
    assert field(*values, ends=True) == expected


def test_twice_as_many_blocks_take_twice_as_long() -> None:
    makers: dict[str, Callable[[int], list[Any] | JSON]] = {
        "numbered": lambda n: [{"index": 0, "text": "ab"}],
        "entries": lambda n: [{"text": "ab"}],
        "indexes": lambda n: [{"index": n, "text": "ab"}],
        "types": lambda n: [{"index": 0, "type": str(n), "text": "ab"}],
        "new keys": lambda n: [{"text": "ab", f"k{n}": 1}],
        "numbered, new keys": lambda n: [{"index": 0, "text": "ab", f"k{n}": 1}],
        "object, new keys": lambda n: {"text": "ab", f"k{n}": 1},
        "repeats": lambda n: [{"text": "abab" if n % 3 == 2 else "ab", f"k{n}": 1}],
        "numbers": lambda n: [1, 2],
        "strings": lambda n: ["a"],
    }

    for name, make in makers.items():
        chunks = [chunk({"x": make(n)}) for n in range(16_000)]

        def seconds(count: int) -> float:
            accumulator = ChatAccumulator()
            start = time.process_time()
            for one in chunks[:count]:  # noqa: B023 - called at once
                accumulator.add(one)
            accumulator.snapshot()
            return time.process_time() - start

        few = many = math.inf
        for _ in range(20):
            few, many = min(few, seconds(2_000)), min(many, seconds(16_000))
            if many < 24 * few:  # linear is 8, quadratic 64
                break
        assert many < 24 * few, f"{name}: 2,000 took {few} s and 16,000 took {many} s"


# Choices that are numbered like tokens ------------------------------------------------------------


def numbered(*texts: str) -> list[JSON]:
    """Chunks with an index that counts the tokens."""
    chunks = [chunk({"content": text}, index=number) for number, text in enumerate(texts)]
    return [*chunks, chunk({}, "stop", index=len(texts))]


def messages(chunks: list[JSON], asked: Asked) -> list[Any]:
    accumulator = ChatAccumulator(asked)
    for one in chunks:
        accumulator.add(json.loads(json.dumps(one)))
    assert accumulator.complete
    return [choice["message"]["content"] for choice in accumulator.snapshot()["choices"]]


ONE = Asked(one_choice=True)


def whole_choices(chunks: list[JSON]) -> list[JSON]:
    accumulator = ChatAccumulator(ONE)
    for one in chunks:
        accumulator.add(one)
    choices: list[JSON] = accumulator.snapshot()["choices"]
    return choices


def test_tokens_that_are_numbered_are_one_choice() -> None:
    assert messages(numbered("a", "b", "c"), ONE) == ["abc"]
    [choice] = whole_choices(numbered("a", "b")[1:])
    assert choice["index"] == 0
    [choice] = whole_choices([chunk({"content": "a"}, "stop", index=5)])
    assert choice["index"] == 5
    role_first = [chunk({"role": "assistant", "content": ""}), *numbered("a", "b")]
    assert messages(role_first, ONE) == ["ab"]


def test_choices_of_an_unknown_request_are_those_that_are_numbered() -> None:
    accumulator = ChatAccumulator()
    for one in numbered("a", "b"):
        accumulator.add(one)
    assert len(accumulator.snapshot()["choices"]) == 3


def test_two_choices_in_one_chunk_are_two() -> None:
    chunks = [
        {"choices": [{"index": n, "delta": {"content": f"a{n}"}} for n in range(2)]},
        chunk({"content": "b1"}, "stop", index=1),
        chunk({"content": "b0"}, "stop", index=0),
    ]
    assert messages(chunks, ONE) == ["a0b0", "a1b1"]


def test_what_follows_a_finish_reason_under_another_index_is_another_choice() -> None:
    chunks = [
        chunk({"content": "a"}),
        chunk({}, "stop"),
        chunk({"role": "assistant", "content": ""}, index=1),
        chunk({"content": "b"}, index=1),
        chunk({}, "stop", index=1),
    ]
    assert messages(chunks, ONE) == ["a", "b"]


def test_an_empty_delta_after_the_finish_reason_is_no_choice() -> None:
    chunks = [*numbered("a"), chunk({"role": "assistant", "content": ""}, index=7)]
    assert messages(chunks, ONE) == ["a"]


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(api_key="sk-test", base_url=server.base_url, max_retries=0) as made:
        yield made


def ask(client: Client, **body: Any) -> EventQueue[Any, Any]:
    body = {"model": "m", "messages": [], **body}
    events: EventQueue[Any, Any] = client.create_chat_completion(**body, stream=True)
    return events


@pytest.mark.parametrize("body", [{}, {"n": 1}, {"n": None}, {"extra_body": {"n": 1}}])
def test_a_call_for_one_choice_gets_one(server: ScriptedServer, client: Client, body: JSON) -> None:
    server.play(answer(numbered("a", "b", "c")))
    events = ask(client, **body, replay=True)
    assert "".join(events.text()) == "abc"
    [choice] = events.stream.result().choices
    assert (choice.index, choice.message.content) == (0, "abc")
    sent = [event.choices[0].index for event in events.stream.subscribe()]
    assert sent == [0, 1, 2, 3]


@pytest.mark.parametrize("body", [{"n": 2}, {"extra_body": {"n": 3}}])
def test_a_call_for_several_choices_gets_them(
    server: ScriptedServer, client: Client, body: JSON
) -> None:
    server.play(answer(numbered("a", "b")))
    events = ask(client, **body)
    assert list(events.text()) == ["a"]
    assert len(events.stream.result().choices) == 3


@pytest.mark.parametrize(
    ("prompt", "count"), [("a", 1), ([1, 2, 3], 1), (["a"], 1), (["a", "b"], 2), ([[1], [2]], 2)]
)
def test_prompts_are_counted_by_the_index(
    server: ScriptedServer, client: Client, prompt: Any, count: int
) -> None:
    chunks = [
        {"choices": [{"index": n, "text": f"t{n}", "finish_reason": reason}]}
        for n, reason in enumerate([None if count == 1 else "stop", "stop"])
    ]
    server.play(answer(chunks))
    events = client.create_completion(model="m", prompt=prompt, stream=True)
    assert "".join(events.text()) == ("t0t1" if count == 1 else "t0")
    assert len(events.stream.result().choices) == count


def test_text_of_choice_0_follows_what_two_in_one_chunk_mean(
    server: ScriptedServer, client: Client
) -> None:
    two = {"choices": [{"index": n, "delta": {"content": f"a{n}"}} for n in (1, 0)]}
    ends = [chunk({"content": f"b{n}"}, "stop", index=n) for n in (1, 0)]
    server.play(answer([two, *ends]))
    events = ask(client)
    assert "".join(events.text()) == "a0b0"
    texts = [choice.message.content for choice in events.stream.result().choices]
    assert texts == ["a0b0", "a1b1"]


def test_tools_of_the_call_tell_names_apart(server: ScriptedServer, client: Client) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("now", "today")]
    calls = [{"index": 0, "function": {"name": name, "arguments": ""}} for name in ("now", "today")]
    chunks = [*(chunk({"tool_calls": [call]}) for call in calls), chunk({}, "tool_calls")]
    for body in ({"tools": tools}, {"extra_body": {"tools": tools}}):
        server.play(answer(chunks))
        [choice] = ask(client, **body).stream.result().choices
        assert [call.function.name for call in choice.message.tool_calls] == ["now", "today"]
    server.play(answer(chunks))
    [choice] = ask(client).stream.result().choices
    assert [call.function.name for call in choice.message.tool_calls] == ["nowtoday"]


def pieces_of(*texts: str) -> list[bytes]:
    """Frames of a chunk each; JSON in ASCII, which halves need."""
    return [frame(json.dumps(chunk({"content": text}))) for text in texts]


# Text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        ([[{"type": "text", "text": "Hel"}], [{"type": "text", "text": "lo"}]], "Hello"),
        ([[{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]], "Hello"),
        ([{"type": "text", "text": "Hello"}], "Hello"),
        ([["Hel", "lo"]], "Hello"),
        (["Hel", [{"type": "text", "text": "lo"}]], "Hello"),
        ([[{"type": "output_text", "text": "Hello"}]], "Hello"),
        ([[{"text": "Hello"}]], "Hello"),
        ([[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}], "Hello"], "Hello"),
        ([[{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "Hello"}]], "Hello"),
        ([[{"type": "image_url", "image_url": {"url": "u"}}], "Hello"], "Hello"),
        ([[{"type": "text", "text": 5}, {"type": [], "text": "x"}, 5, None, []], "Hello"], "Hello"),
        ([5, True, {}, "Hello"], "Hello"),
    ],
)
def test_text_of_content_in_parts(
    server: ScriptedServer, client: Client, contents: list[Any], text: str
) -> None:
    chunks = [chunk({"content": content}) for content in contents]
    server.play(answer([*chunks, chunk({}, "stop")]))
    assert "".join(ask(client).text()) == text


def whole_message(content: Any, **choice: Any) -> JSON:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


@pytest.mark.parametrize(
    "chunks",
    [
        [whole_message("Hello")],
        [whole_message([{"type": "text", "text": "Hello"}])],
        [whole_message("Hello", delta={})],
        [chunk({"content": "Hel"}), chunk({"content": "lo"}), whole_message("Hello")],
        [chunk({"role": "assistant", "content": ""}), whole_message("Hello")],
        [
            whole_message("Hel", delta={"content": "Hel"}),
            whole_message("Hello", delta={"content": "lo"}),
        ],
    ],
)
def test_text_of_a_whole_message(
    server: ScriptedServer, client: Client, chunks: list[JSON]
) -> None:
    server.play(answer(chunks))
    events = ask(client)
    assert "".join(events.text()) == "Hello"
    assert events.stream.result().choices[0].message.to_dict()["content"] == "Hello"


HALVES = [
    (["a" + HIGH, LOW + "b"], ["a", "😀b"]),
    (["a", HIGH, LOW, "b"], ["a", "😀", "b"]),
    (["a" + HIGH, "", LOW], ["a", "😀"]),
    (["a" + HIGH, "b"], ["a", "\ufffdb"]),
    (["a", LOW + "b"], ["a", "\ufffdb"]),
    (["a" + HIGH + "b"], ["a\ufffdb"]),
    (["a" + HIGH], ["a", "\ufffd"]),
    ([HIGH + HIGH, LOW], ["\ufffd", "😀"]),
    ([HIGH], ["\ufffd"]),
    (["é", "世界", "😀"], ["é", "世界", "😀"]),
    (["abc"], ["abc"]),
]


@pytest.mark.parametrize(("pieces", "text"), HALVES)
def test_halves_of_a_character(pieces: list[str], text: list[str]) -> None:
    halves = Halves()
    found = [halves.feed(piece) for piece in pieces]
    assert [piece for piece in [*found, halves.end()] if piece] == text
    assert halves.end() == ""


@given(text=st.text(st.characters(max_codepoint=0x10FFFF)), data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_text_in_utf_16_that_is_cut_anywhere_is_joined(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    pieces = [
        units[start : start + 2].decode("utf-16-le", "surrogatepass")
        for start in range(0, len(units), 2)
    ]
    whole = joined("".join(pieces))
    assert whole == joined(text)
    halves = Halves()
    told = "".join(map(halves.feed, pieces)) + halves.end()
    assert told == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in whole)
    told.encode()


@pytest.mark.parametrize(("pieces", "text"), HALVES)
def test_text_of_halves(
    server: ScriptedServer, client: Client, pieces: list[str], text: list[str]
) -> None:
    server.play(answer([*pieces_of(*pieces), chunk({}, "stop")]))
    events = ask(client, replay=True)
    assert list(events.text()) == text
    assert events.stream.result().choices[0].message.content == joined("".join(pieces))
    sent = [event.choices[0].delta.content for event in events.stream.subscribe()]
    assert sent == [*pieces, None]


def test_a_half_is_told_before_an_error(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*pieces_of("a", HIGH), Reset()]))
    text = ask(client).text()
    assert [next(text), next(text)] == ["a", "\ufffd"]
    with pytest.raises(StreamInterruptedError) as caught:
        next(text)
    assert caught.value.snapshot.choices[0].message.content == "a" + HIGH
    assert list(text) == []


def test_a_half_of_a_void_answer_is_forgotten(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*pieces_of(HIGH), Reset()]), answer(chat_chunks("Hello")))
    events = ask(client, restarts=1)
    assert list(events.text()) == ["Hello"]


def test_a_half_is_told_when_the_stream_was_closed(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*pieces_of("a", HIGH), chunk({}, "stop")]))
    events = ask(client)
    assert events.stream.exception(5) is None
    text = events.text()
    assert next(text) == "a"
    events.close()
    assert list(text) == ["\ufffd"]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "X"},
        {"refusal": "X"},
        {"x": {"text": "X"}},
        {"x": [{"index": 0, "text": "X"}]},
        {"content": [{"type": "text", "text": "X"}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "X"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "X"}}]},
        {"function_call": {"arguments": "X"}},
        {"audio": {"transcript": "X"}},
    ],
)
def test_halves_are_joined_wherever_texts_are(delta: JSON) -> None:
    def with_text(text: str) -> JSON:
        made: JSON = json.loads(json.dumps(delta).replace("X", json.dumps(text)[1:-1]))
        return made

    whole = json.dumps(message(*map(with_text, ["a" + HIGH, LOW + "b"])), ensure_ascii=False)
    assert "a😀b" in whole
    lone = json.dumps(message(*map(with_text, ["a" + HIGH, "b"])), ensure_ascii=False)
    assert f"a{HIGH}b" in lone
