"""What programs and machines do around a stream: freezes, stops, exits, executors, debuggers.

Each is a public report of somebody else's, played here; ``docs/reports.rst`` lists them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from machine import HELD_UP

import openai_stream
from openai_stream import DONE, Client, StreamDecodeError, StreamTimeoutError, Timeout
from openai_stream.testing import (
    Fin,
    Hang,
    Pause,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    chunk,
    cut,
    error_answer,
    frame,
)

SOON = 60.0  # seconds; what is waited for happens at once, on a quiet machine
AT_ONCE = 2.0
WHOLE = chat_chunks("one two three")
PREAMBLE = """\
import atexit, os, signal, sys, threading, time
from openai_stream import *
client = Client(api_key="test", base_url=sys.argv[1], max_retries=0, timeout=Timeout(idle=1))

def chat(**arguments):
    return client.create_chat_completion(model="any", messages=[], stream=True, **arguments)

def say(*words):
    print(*words, flush=True)

def text(whole):
    return whole.choices[0].message.content
"""


def chat(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="any", messages=[], stream=True, **arguments)


@contextmanager
def script(server: ScriptedServer, folder: Path, text: str) -> Iterator[subprocess.Popen[str]]:
    """A script in a process of its own, which is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PREAMBLE + text, server.base_url],
        env={**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line, and not a byte more: ``communicate()`` would not find what came behind it."""
    assert process.stdout is not None
    read = b""
    while not read.endswith(b"\n") and (byte := os.read(process.stdout.fileno(), 1)):
        read += byte
    return read.decode().rstrip("\n")


# Frozen machines ------------------------------------------------------------------------------


def test_a_kept_connection_that_ended_while_the_machine_was_frozen(
    server: ScriptedServer, client: Client
) -> None:
    """A function's environment is frozen between two calls, and the server gives up waiting."""
    server.play([*answer(WHOLE), Fin()], answer(WHOLE))
    for _ in range(2):
        assert chat(client).stream.result(SOON).choices[0].message.content == "one two three"
    assert len(server.requests) == len(server.connections) == 2


def test_a_process_that_is_frozen_in_the_middle_of_a_stream(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """For longer than ``idle``: what came meanwhile is there, and nobody was silent."""
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    with script(
        server, tmp_path, "events = chat(); events.get(); say(1); say(*events.text())"
    ) as it:
        assert line(it) == "1"
        it.send_signal(signal.SIGSTOP)
        go.set()
        time.sleep(1.5)
        it.send_signal(signal.SIGCONT)
        assert line(it) == "one  two  three"


@pytest.mark.parametrize("jump", [3e8, -3e8])
def test_a_wall_clock_that_jumps(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    events = chat(client, timeout=Timeout(idle=30, gap=30, total=30))
    events.get(timeout=SOON)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    go.set()
    assert "".join(events.text()) == "one two three"
    assert 0 <= events.stream.stats.seconds < SOON


def test_a_test_that_has_stopped_the_clock(server: ScriptedServer, tmp_path: Path) -> None:
    """``freezegun`` stops ``time.monotonic`` too: a pause between attempts never ended."""
    pytest.importorskip("freezegun")
    server.play(error_answer(500, "no"), answer(WHOLE, fault=cut(after=1)), answer(WHOLE))
    with script(
        server,
        tmp_path,
        "from freezegun import freeze_time\n"
        "patient = Client(api_key='test', base_url=sys.argv[1], max_retries=1)\n"
        "with freeze_time('2024-01-01'):\n"
        "    events = patient.create_chat_completion(\n"
        "        model='any', messages=[], stream=True, restarts=1)\n"
        "    say(text(events.stream.result()))\n",
    ) as it:
        assert it.communicate(timeout=SOON)[0] == "one two three\n"


# Stops and exits ------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["chat().get()", "list(chat())", "chat().stream.result()"])
def test_a_service_that_is_told_to_stop(server: ScriptedServer, tmp_path: Path, wait: str) -> None:
    """The handler of SIGTERM leaves by ``sys.exit``, as that of a container's first process."""
    server.play(answer([Hang()]))
    with script(
        server, tmp_path, f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n{wait}"
    ) as it:
        server.wait_for_requests(1, SOON)
        time.sleep(0.2)
        begin = time.monotonic()
        it.send_signal(signal.SIGTERM)
        said, complaints = it.communicate(timeout=SOON)
        assert (it.returncode, said, complaints) == (7, "", "")
        assert time.monotonic() - begin < AT_ONCE + HELD_UP
    assert server.connections[0].client_closed.wait(SOON)


def test_sys_exit_in_a_callback_is_the_streams_end(server: ScriptedServer, tmp_path: Path) -> None:
    """It ends the stream, not the process, and nobody waits for ever."""
    server.play(answer([*WHOLE, Hang()]))
    with script(
        server,
        tmp_path,
        "stream = chat(on_next=lambda event: sys.exit(5), on_error=lambda e: say(repr(e)))\n"
        "stream.result()",
    ) as it:
        said, complaints = it.communicate(timeout=SOON)
    assert (it.returncode, said, complaints) == (5, "SystemExit(5)\n", "")


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="starts no thread once the script has come to its end"
)
def test_a_stream_that_an_executor_still_begins(server: ScriptedServer, tmp_path: Path) -> None:
    """At the script's end its executor's threads still work; what they begin is waited for."""
    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)])
    with script(
        server,
        tmp_path,
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor()\n"
        "pool.submit(lambda: chat(on_next=bool, on_done=lambda whole: say(text(whole))))\n"
        "say('end')",
    ) as it:
        assert line(it) == "end"
        go.set()
        said, complaints = it.communicate(timeout=SOON)
    assert (it.returncode, said, complaints) == (0, "one two three\n", "")


def test_a_callback_that_submits_at_the_exit(server: ScriptedServer, tmp_path: Path) -> None:
    """``concurrent.futures`` takes no work any more: the stream's error says so, and it ends."""
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    with script(
        server,
        tmp_path,
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool, over = ThreadPoolExecutor(), threading.Event()\n"
        "def on_next(event):\n"
        "    over.wait()\n"
        "    pool.submit(bool)\n"
        "chat(on_next=on_next, on_error=lambda error: say(type(error).__name__))\n"
        "atexit.register(over.set)\n"  # before what waits for the stream
        "say('end')",
    ) as it:
        assert line(it) == "end"
        go.set()
        said, complaints = it.communicate(timeout=SOON)
    assert (it.returncode, said, complaints) == (0, "RuntimeError\n", "")


# Loops, executors, tracers ----------------------------------------------------------------------


def test_an_executors_thread_is_freed_when_its_task_is_cancelled(
    server: ScriptedServer, client: Client
) -> None:
    """Cancelling a task stops no thread; ``close()`` does."""
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(client)
    events.get(timeout=SOON)

    async def cancel() -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(pool, events.get)
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await loop.run_in_executor(pool, events.close)

    with ThreadPoolExecutor(2) as pool:
        begin = time.monotonic()
        asyncio.run(cancel())
    assert time.monotonic() - begin < AT_ONCE + HELD_UP
    assert server.connections[0].client_closed.wait(SOON)


def test_under_a_tracer(server: ScriptedServer, client: Client) -> None:
    """As coverage and debuggers set one, for all threads that start."""
    server.play(answer(WHOLE))
    lines = 0

    def trace(frame: FrameType, what: str, argument: object) -> Callable[..., Any]:
        nonlocal lines
        lines += what == "line"
        return trace

    threading.settrace(trace)
    try:
        calls: list[Any] = []
        stream = chat(client, on_next=calls.append)
    finally:
        threading.settrace(None)
    assert stream.result(SOON).choices[0].message.content == "one two three"
    assert len(calls) == len(WHOLE)
    assert lines > 100


def test_a_consumer_that_a_debugger_holds(server: ScriptedServer, client: Client) -> None:
    """At a breakpoint, for longer than the deadlines: neither the queue's nor a callback's."""
    server.always(answer(WHOLE))
    held = Timeout(idle=0.3, gap=0.3)
    events = chat(client, timeout=held, maxsize=1)
    calls: list[Any] = []

    def on_next(event: object) -> None:
        if not calls:
            time.sleep(0.8)
        calls.append(event)

    stream = chat(client, timeout=held, on_next=on_next)
    time.sleep(0.8)
    assert "".join(events.text()) == "one two three"
    assert stream.result(SOON).choices[0].message.content == "one two three"
    assert len(calls) == len(WHOLE)


FORKS = """\
import signal
slow = Client(api_key="test", base_url=sys.argv[1], max_retries=0, {readers})
others, forked = [], threading.Event()

def fork(*arguments):
    if others:
        return
    child = os.fork()
    others.append(child)
    if child == 0:
        signal.alarm(60)
        {child}
    forked.set()

class Queue:
    put = fork

def ask(**arguments):
    return slow.create_chat_completion(model="any", messages=[], stream=True, **arguments)

beside = ask()
{asks}
whole = beside.stream.result(60)
forked.wait(60)
_, status = os.waitpid(others[0], 0)
say(whole.choices[0].message.content, os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("child", ["return", "sys.exit(0)", "1 / 0"])
@pytest.mark.parametrize(
    "asks",
    [
        "ended = ask(); ended.stream.add_done_callback(fork); ended.close()",
        "ended = ask(queue=Queue())",
        "beside = ask(on_next=fork, on_error=print)",
        "beside.stream.add_done_callback(fork)",
    ],
    ids=["done callback", "put", "on_next", "its own done callback"],
)
@pytest.mark.parametrize("readers", ["", "readers=1"])
def test_a_callback_that_forks(
    server: ScriptedServer, tmp_path: Path, readers: str, asks: str, child: str
) -> None:
    """In the child the copy of the reader ends: it read on, from the parent's sockets."""
    words = chat_chunks("word " * 20)
    server.always(answer([part for one in words for part in (one, Pause(0.02))]))
    if "beside =" in asks:
        asks += "; beside = type('Events', (), {'stream': beside})"
    text = FORKS.format(readers=readers, asks=asks, child=child)
    with script(server, tmp_path, text) as it:
        said, complaints = it.communicate(timeout=SOON)
    assert said == "word " * 20 + " 0\n", complaints


def test_a_low_recursion_limit(server: ScriptedServer, client: Client) -> None:
    """JSON that is nested deeper than the limit is a bad event, whatever the limit."""
    server.play(answer([chunk(frame("[" * 200_000 + "]" * 200_000))], done=True))
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        error = chat(client).stream.exception(SOON)
    finally:
        sys.setrecursionlimit(usual)
    assert isinstance(error, StreamDecodeError)
    assert "nested" in str(error)


def test_a_module_level_client_in_forked_workers(server: ScriptedServer, tmp_path: Path) -> None:
    """Two workers of a pool that forks, and their parent, which has a connection already."""
    server.always(answer(WHOLE))
    with script(
        server,
        tmp_path,
        "import multiprocessing, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "def ask(number): return text(chat().stream.result())\n"
        "whole = [ask(0)]\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    whole += pool.map(ask, range(8), chunksize=1)\n"
        "whole.append(ask(9))\n"
        "say(set(whole), len(whole))",
    ) as it:
        said, complaints = it.communicate(timeout=3 * SOON)
    assert (it.returncode, said, complaints) == (0, "{'one two three'} 10\n", "")


def test_a_total_time_is_met_while_a_window_is_busy(server: ScriptedServer, client: Client) -> None:
    """A queue that is emptied slowly, by a window that draws."""
    server.play(answer([*chat_chunks("word " * 500), Hang()]))
    events = chat(client, maxsize=1, timeout=Timeout(total=0.5))
    begin = time.monotonic()

    def draw() -> None:
        for _ in events:
            time.sleep(0.05 if time.monotonic() - begin < 0.7 else 0)

    with pytest.raises(StreamTimeoutError):
        draw()
    assert events.stream.stats.seconds < 1 + HELD_UP
    with pytest.raises(StreamTimeoutError):
        assert events.stream.result(0) is not DONE
