"""What a stream shows, one client for many, and streams without a thread."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import SOON, Chat
from machine import HELD_UP
from streaming import BODY, FLOOD, WHOLE, content, nothing, saw_the_close, wait_until

from openai_stream import (
    DONE,
    Client,
    ShutDown,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    Hang,
    Pause,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
)


def test_the_response(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE, headers={"X-Request-Id": "req_1", "X-More": "more"}), answer(WHOLE))
    stream = chat().stream
    assert stream.status_code == 200
    assert stream.headers["x-more"] == stream.headers["X-MORE"] == "more"
    assert stream.request_id == "req_1"
    assert chat().stream.request_id is None


def test_the_response_before_there_is_one(chat: Chat, server: ScriptedServer) -> None:
    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)])
    stream = chat(nowait=True).stream
    assert (stream.status_code, stream.headers, stream.request_id) == (None, None, None)
    assert repr(stream) == "<Stream of /chat/completions, connecting>"
    assert stream.stats.first_event_seconds is None
    assert stream.snapshot().choices == []
    go.set()
    stream.result(SOON)
    assert stream.status_code == 200


def test_repr(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]), answer(WHOLE), answer([Reset()]))
    stream = chat(on_next=nothing)
    assert repr(stream) == "<Stream of /chat/completions, streaming>"
    stream.close()
    assert repr(stream) == "<Stream of /chat/completions, cancelled>"
    stream = chat(on_next=nothing)
    stream.result(SOON)
    assert repr(stream) == "<Stream of /chat/completions, done>"
    stream = chat(on_next=nothing)
    stream.exception(SOON)
    assert repr(stream) == "<Stream of /chat/completions, failed>"


def test_snapshot_at_any_time(server: ScriptedServer, chat: Chat) -> None:
    steps = [threading.Event() for _ in range(3)]
    server.play(
        answer([WHOLE[0], Wait(steps[0]), WHOLE[1], Wait(steps[1]), WHOLE[2], Wait(steps[2])])
    )
    events = chat()
    seen = []
    for step in steps:
        events.get(timeout=SOON)
        seen.append(events.stream.snapshot())
        step.set()
    assert [content(snapshot) for snapshot in seen] in (
        [None, "one", "one two"],
        ["", "one", "one two"],
    )
    events.close()
    assert content(events.stream.snapshot()) == "one two"


def test_snapshot_after_a_failure(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:3], Reset()]))
    stream = chat().stream
    stream.exception(SOON)
    assert content(stream.snapshot()) == "one two"


def test_snapshots_while_the_reader_adds_to_it(server: ScriptedServer, chat: Chat) -> None:
    whole = chat_chunks([f"{number} " for number in range(2000)])
    text = "".join(f"{number} " for number in range(2000))
    server.play(answer(whole, events_per_chunk=50))
    stream = chat().stream
    longest = -1
    while not stream.done():
        snapshot = stream.snapshot()
        got = (content(snapshot) or "") if snapshot.choices else ""
        assert text.startswith(got)
        assert len(got) >= longest
        longest = len(got)
    assert content(stream.result()) == text


@pytest.mark.own_session("when it is connected, only requests knows")
def test_stats(server: ScriptedServer, chat: Chat) -> None:
    server.play(
        answer([Pause(0.05), *WHOLE[:2], b": waiting\n\n", Pause(0.1), *WHOLE[2:]]), answer(WHOLE)
    )
    begin = time.monotonic()
    events = chat()
    stream = events.stream
    stream.result(SOON)
    took = time.monotonic() - begin
    stats = stream.stats
    assert 0 < stats.connect_seconds < stats.first_event_seconds
    # The server's pauses, but for what passes between a send and the next wait.
    assert 0.04 <= stats.first_event_seconds < took
    assert 0.09 <= stats.longest_gap_seconds < took
    assert 0.14 <= stats.seconds <= took
    assert (stats.events, stats.keep_alives) == (len(WHOLE), 1)
    wait_until(lambda: stats.bytes == server.connections[0].sent)  # it counts after it sent
    time.sleep(0.02)
    assert stream.stats == stats  # at the end the clock has stopped

    again = chat().stream
    again.result(SOON)
    assert again.stats.connect_seconds == 0  # on the connection that was kept
    assert len(server.connections) == 1


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_a_slow_callback_does_not_blur_the_stats(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    held = float(HELD_UP)
    slow = iter([held])
    stream = chat(on_next=lambda _: time.sleep(next(slow, 0)))
    stream.result(SOON)
    assert stream.stats.longest_gap_seconds < held
    assert stream.stats.first_event_seconds < held


def test_total_is_met_where_nobody_reads_a_full_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE, Hang()], events_per_chunk=100))
    begin = time.monotonic()
    events = chat(maxsize=1, timeout=Timeout(total=0.3))
    error = events.stream.exception(SOON)
    assert 0.3 <= time.monotonic() - begin < 1.3 + HELD_UP
    assert isinstance(error, StreamTimeoutError)
    assert "total" in str(error)
    got = []
    with pytest.raises(StreamTimeoutError):
        got.extend(events)
    assert [event.to_dict() for event in got] == WHOLE  # what had arrived is not lost
    saw_the_close(server.connections[0])


def test_total_is_met_against_a_server_that_floods(server: ScriptedServer, chat: Chat) -> None:
    server.play([*answer([], done=False)[:1], FLOOD])
    begin = time.monotonic()
    stream = chat(timeout=Timeout(total=0.3)).stream
    assert isinstance(stream.exception(SOON), StreamTimeoutError)
    assert 0.3 <= time.monotonic() - begin < 1.3 + HELD_UP


def test_streams_one_after_another_use_one_connection(server: ScriptedServer, chat: Chat) -> None:
    server.always(answer(WHOLE))
    for _ in range(3):
        chat(on_next=nothing).result(SOON)
        events = chat()
        while events.get(timeout=SOON) is not DONE:
            pass
    assert len(server.connections) == 1


@pytest.mark.own_session("it is not closed with the client")
def test_closing_the_client_ends_no_stream(server: ScriptedServer, client: Client) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    stream = client.create_chat_completion(**BODY, stream=True).stream
    client.close()
    go.set()
    assert content(stream.result(SOON)) == "one two three"
    assert server.connections[0].closed.wait(SOON)


def test_a_stream_that_was_stopped_leaves_others_alone(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Hang()]), answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    stopped, other = chat(), chat()
    stopped.close()
    go.set()
    assert content(other.stream.result(SOON)) == "one two three"


_NO_THREAD = """
import resource, sys, threading
from openai_stream import Client, OpenAIStreamError
url, mode, earlier = sys.argv[1:]
client = Client(api_key="test", base_url=url, max_retries=0)
called = []
if earlier == "True":
    client.create_chat_completion(model="any", messages=[], stream=True).stream.result()
# A stack that no address space has room for.
limit = 512 * 1024 * 1024
arguments = dict(model="any", messages=[], stream=True, on_error=called.append)
if mode == "callbacks":
    arguments["on_next"] = called.append
elif mode == "nowait":
    arguments["nowait"] = True
threading.stack_size(limit * 2)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    client.create_chat_completion(**arguments)
except OpenAIStreamError as error:
    print("raised:", error)
else:
    print("started")
assert called == []
assert [one.name for one in threading.enumerate()] == ["MainThread"]
print("threads:", threading.active_count())
sys.stdin.readline()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize("mode", ["queue", "callbacks", "nowait"])
@pytest.mark.parametrize("earlier", [False, True])
def test_without_a_thread_nothing_is_left_open(
    server: ScriptedServer, mode: str, earlier: bool
) -> None:
    """The first stream looks before it sends anything; a later one closes the response."""
    server.play(*[answer(WHOLE)] * earlier, answer([WHOLE[0], Hang()]))
    with subprocess.Popen(
        [sys.executable, "-u", "-X", "dev", "-c", _NO_THREAD, server.base_url, mode, str(earlier)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        try:
            first = script.stdout.readline()
            assert "cannot start a reader thread" in first, (first, script.stderr)
            assert script.stdout.readline() == "threads: 1\n"
            if mode == "nowait" or not earlier:
                assert len(server.requests) == earlier
            else:  # while the script still lives
                saw_the_close(server.connections[0])
        finally:
            _, complaints = script.communicate("\n", timeout=SOON)
        assert (script.returncode, complaints) == (0, "")


def test_shutdown_of_a_queue_is_no_failure(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(stream_close=True)
    events.get(timeout=SOON)
    events.shutdown()
    assert events.stream.cancelled()
    assert events.get() is DONE
    with pytest.raises(ShutDown):
        events.get()


def test_how_a_stream_looks_in_each_state(server: ScriptedServer, chat: Chat) -> None:
    seen: list[str] = []

    def look(_: object) -> None:
        seen.append(repr(stream))

    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)], answer([Reset()]), answer([Hang()]))
    stream = chat(on_done=look, on_next=nothing, nowait=True)
    look(None)
    go.set()
    stream.result(SOON)
    look(None)
    stream = chat().stream
    stream.exception(SOON)
    look(None)
    stream = chat().stream
    look(None)
    stream.close()
    look(None)
    states = ["connecting", "ending", "done", "failed", "streaming", "cancelled"]
    assert seen == [f"<Stream of /chat/completions, {state}>" for state in states]


@pytest.mark.own_thread("it never comes to read a stream")
def test_stats_before_there_is_an_answer(server: ScriptedServer, chat: Chat) -> None:
    server.play([Hang()])
    with chat(nowait=True) as events:
        stats = events.stream.stats
        assert stats.first_event_seconds is None
        assert stats.longest_gap_seconds == 0.0
        assert (stats.events, stats.keep_alives, stats.bytes) == (0, 0, 0)
        assert 0 <= stats.seconds < SOON


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_handles_are_not_copied(
    server: ScriptedServer, chat: Chat, duplicate: Callable[[Any], Any]
) -> None:
    server.play(answer(WHOLE))
    events = chat()
    with pytest.raises(
        TypeError, match=r"^a stream has a thread, and cannot be copied or pickled$"
    ):
        duplicate(events.stream)
    assert content(events.stream.result(SOON)) == "one two three"


def test_a_failure_in_callback_mode_is_logged_where_nobody_else_is_told(
    server: ScriptedServer, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(
        answer([WHOLE[0], Reset()]), answer([WHOLE[0], Reset()]), answer([WHOLE[0], Reset()])
    )
    told: list[BaseException] = []
    chat(on_next=lambda event: None, on_error=told.append).exception(SOON)
    chat().stream.exception(SOON)
    assert told
    assert not caplog.records
    chat(on_next=lambda event: None).exception(SOON)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], StreamInterruptedError)


@pytest.mark.parametrize("ends", ["subscriber", "queue", "stream"])
def test_ending_in_a_signals_handler_while_the_lock_is_held(
    server: ScriptedServer, chat: Chat, ends: str
) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(replay=True)
    subscriber = events.stream.subscribe()
    end = {
        "subscriber": subscriber.close,
        "queue": events.shutdown,
        "stream": events.stream.close,
    }[ends]
    before = signal.signal(signal.SIGUSR1, lambda *_: end())
    try:
        with events.mutex:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [type(item) for item in subscriber] in ([], [type(events.get(timeout=SOON))])
    events.close()
