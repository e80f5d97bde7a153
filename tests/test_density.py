"""JSON that is small on the wire, and many times as large once it is parsed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from feeding import batches
from helpers import JSON
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streaming import BODY

from openai_stream import Client, StreamDecodeError
from openai_stream.sse import Frames
from openai_stream.strict_json import SMALL, check_density
from openai_stream.testing import Script, ScriptedServer, answer, chat_chunks, head

LIMIT = 2**20
MOST = LIMIT // 64
SAID = (
    f"of more than {MOST} JSON objects and lists; if such {{}}s are to be expected, raise "
    "max_event_bytes, of which each takes 64"
)
TOKEN = {"token": " the", "logprob": -0.0012345678, "bytes": [32, 116, 104, 101]}


def sizes(value: Any) -> int:
    """How many objects and lists there are."""
    if isinstance(value, dict):
        return 1 + sum(map(sizes, value.values()))
    return 1 + sum(map(sizes, value)) if isinstance(value, list) else 0


def is_refused(text: bytes, most: int) -> bool:
    try:
        check_density(text, most * 64, "event")
    except StreamDecodeError:
        return True
    return False


brackets = st.text('{}[]",:\\é ', max_size=12)
values = st.recursive(
    st.none() | st.integers() | brackets,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(brackets, inner, max_size=5),
)


@settings(deadline=None)
@given(values, st.integers(0, 70_000), st.booleans())
@example([[], {}, "[{", '\\"[{', "\\", {"[": [{}]}], 65_530, True)
def test_objects_and_lists_are_counted_exactly(value: Any, shift: int, ascii_only: bool) -> None:
    """Not those that stand in strings, wherever windows of the text cut these."""
    text = json.dumps(["[" * SMALL, "x" * shift, value], ensure_ascii=ascii_only).encode()
    count = 1 + sizes(value)
    assert is_refused(text, count - 1)
    assert not is_refused(text, count)


@pytest.mark.parametrize("shift", range(8))
def test_strings_of_brackets_at_the_edge_of_a_window(shift: int) -> None:
    text = b'["' + b"x" * shift + rb"\"[{\\" * 100_000 + b'",{}]'
    assert is_refused(text, 1)
    assert not is_refused(text, 2)


def feed(blocks: list[bytes], framed: bool = False) -> tuple[int, str]:
    """How many frames with data come before the error, and what it says."""
    came: list[bytes] = []
    with pytest.raises(StreamDecodeError) as caught:
        came.extend(itertools.chain.from_iterable(batches(Frames(LIMIT), blocks, framed)))
    assert caught.value.lasting is True
    assert not caught.value.retryable
    return sum(frame.startswith(b"data:") for frame in came), str(caught.value)


@pytest.mark.parametrize("unit", [b"{}", b"[]", b'{"":0}', b"[[0]]", b'{"a":{}}'])
@pytest.mark.parametrize("size", [1000, 2**16, LIMIT])
def test_an_event_of_nothing_but_brackets_is_refused(unit: bytes, size: int) -> None:
    """After the events before it, whatever blocks it comes in."""
    dense = b"[" + b",".join([unit] * (LIMIT // 2 // len(unit))) + b"]"
    stream = b"data: {}\n\ndata: {}\n\ndata: " + dense + b"\n\ndata: {}\n\n"
    blocks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert feed(blocks) == (2, "the server sent an event " + SAID.format("event"))
    unfinished = stream[: -len(b"\n\ndata: {}\n\n")]
    blocks = [unfinished[at : at + size] for at in range(0, len(unfinished), size)]
    assert feed(blocks, framed=True)[0] == 2


def whole_streams() -> dict[str, list[bytes]]:
    tokens = [{**TOKEN, "top_logprobs": [TOKEN] * 20}] * (LIMIT // 2 // 1700)
    nested = json.dumps({"a": [{"b": [1, 2]}] * (LIMIT // 25)})
    return {
        "log probabilities": [json.dumps(tokens, separators=(",", ":")).encode()],
        "JSON in a string": [json.dumps({"arguments": nested}).encode()],
        "brackets in a string": [json.dumps("[{" * (LIMIT // 3)).encode()],
        "numbers": [json.dumps([0] * (LIMIT // 4)).encode()],
        "many small events": [b'{"a":[{},{},{},{}]}'] * 30_000,
        "just enough": [b"[" + b",".join([b"{}"] * (MOST - 1)) + b" " * SMALL + b"]"],
        "small": [b"[" + b",".join([b"{}"] * (SMALL // 3 - 10)) + b"]"],
    }


@pytest.mark.parametrize("events", whole_streams().values(), ids=whole_streams())
@pytest.mark.parametrize("size", [2**16, 2**24])
def test_what_servers_send_passes(events: list[bytes], size: int) -> None:
    stream = b"".join(b"data: %b\n\n" % event for event in events)
    blocks = [stream[at : at + size] for at in range(0, len(stream), size)]
    came = [
        frame[6:] for frames in batches(Frames(LIMIT), blocks) for frame in frames if frame.strip()
    ]
    assert came == events


DENSE = {"more": [{}] * (2 * MOST), "pad": "x" * SMALL}
WHOLE: JSON = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
    **DENSE,
}


def json_answer(body: JSON, kind: str = "application/json") -> Script:
    text = json.dumps(body).encode()
    return [head(headers={"Content-Type": kind, "Content-Length": str(len(text))}), text]


def client_of(server: ScriptedServer, limit: int) -> Client:
    return Client(api_key="k", base_url=server.base_url, max_event_bytes=limit)


def streamed(client: Client) -> Any:
    return client.create_chat_completion(**BODY, stream=True, restarts=2).stream.result()


def in_one_piece(client: Client) -> Any:
    return client.create_chat_completion(**BODY)


@pytest.mark.parametrize(
    ("ask", "script", "noun"),
    [
        (streamed, answer([*chat_chunks("one two")[:2], {"choices": [], **DENSE}]), "event"),
        (streamed, json_answer(WHOLE), "answer"),
        (streamed, json_answer(WHOLE, "text/plain"), "answer"),
        (in_one_piece, json_answer(WHOLE), "answer"),
    ],
    ids=["event", "JSON instead of events", "JSON by another name", "in one piece"],
)
def test_calls_say_what_to_set(
    server: ScriptedServer, ask: Callable[[Client], Any], script: Script, noun: str
) -> None:
    """Once: the same request would bring the same."""
    server.play(script)
    with client_of(server, LIMIT) as client, pytest.raises(StreamDecodeError) as caught:
        ask(client)
    assert f"the server sent an {noun} {SAID.format(noun)}" in str(caught.value)
    assert len(server.requests) == 1


def test_with_the_limit_raised_the_answer_is_whole(server: ScriptedServer) -> None:
    event = {"choices": [], **DENSE}
    one, *rest = chat_chunks("one two")
    server.play(answer([one, event, *rest]), json_answer(WHOLE))
    with client_of(server, 3 * LIMIT) as client:
        for ask in (streamed, in_one_piece):
            assert ask(client).extra["more"] == DENSE["more"]


_PEAK = """
import sys
from openai_stream import Client, OpenAIStreamError
url, limit = sys.argv[1], int(sys.argv[2])
def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
client = Client(api_key="k", base_url=url, max_event_bytes=limit)
def ask():
    try:
        client.create_chat_completion(model="m", messages=[], stream=True).stream.result()
    except OpenAIStreamError as error:
        print(type(error).__name__)
    else:
        print("whole")
ask()  # all is imported
open("/proc/self/clear_refs", "w").write("5")
before = peak()
ask()
print((peak() - before) / limit)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak")
@pytest.mark.parametrize("unit", ['{"":0}', "[[0]]", "{}", '"ab"'])
@pytest.mark.parametrize("place", ["more", "choices"])
@pytest.mark.parametrize("dense", [True, False])
def test_the_peak_of_memory_is_as_documented(
    server: ScriptedServer, unit: str, place: str, dense: bool
) -> None:
    """``docs/explanation/promises.rst`` and ``Client`` say: up to 35 times as much."""
    limit = 2**22
    containers = unit.count("{") + unit.count("[")
    count = (limit - SMALL) // (len(unit) + 1)
    if containers and not dense:
        count = (limit // 64 - 10) // containers
    units = ",".join([unit] * count)
    pad = "x" * (limit - len(units) - 200)
    chunk = {"object": "chat.completion.chunk", "choices": []}
    event = json.dumps({**chunk, place: ["units"], "pad": pad}).replace('"units"', units)
    whole = chat_chunks("one")
    server.play(answer(whole), answer([whole[0], event, *whole[1:]]))
    process = subprocess.run(
        [sys.executable, "-c", _PEAK, server.base_url, str(limit)],
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    first, second, factor = process.stdout.split()
    assert first == "whole"
    refused = dense and containers > 0
    assert (second == "StreamDecodeError") == refused
    assert float(factor) < (6 if refused else 35)
