"""How scripts end: what they wait for, what Ctrl-C does, and what a forked child leaves alone.

Each script is a process of its own, in Python's development mode, and every word that it says to
stderr counts. The server is this process's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from helpers import SOON
from machine import HELD_UP

import openai_stream
from openai_stream.stream.exit import Exit
from openai_stream.testing import (
    Hang,
    Repeat,
    ScriptedServer,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    chunk,
    frame,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and fork")

AT_ONCE = 2.0  # seconds that the end of an interpreter may take
# From 3.12 on, forking with threads is warned of.
MAY_FORK = ("-W", "ignore::DeprecationWarning")
WHOLE = chat_chunks("one two three")
FLOOD = [*answer([], done=False)[:1], Repeat(chunk(frame(WHOLE[1])))]

# A shell that starts something in the background has Ctrl-C ignored in it, and this says: not here.
PREAMBLE = """\
import atexit, gc, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from openai_stream import *

client = Client(api_key="test", base_url=sys.argv[1], max_retries=0)

def chat(**arguments):
    return client.create_chat_completion(model="any", messages=[], stream=True, **arguments)

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # as one, whatever other threads say
    sys.stdout.flush()

def say_text(whole):
    say(whole.choices[0].message.content)

def nothing(event):
    pass
"""


def _states(tasks: Path) -> set[str]:
    """What the kernel says of the threads of a process; nothing of one that just ended."""
    states = set()
    for stat in tasks.glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


class Script:
    """A running script."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self, line: str) -> None:
        """Wait for its next line, which is this one."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != line + "\n":
            self._process.kill()
            pytest.fail(f"said {said!r}, not {line!r}; {self._process.communicate()[1]}")

    def tell(self) -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does."""
        self._process.send_signal(signal.SIGINT)

    def is_blocked(self) -> None:
        """Wait until all its threads wait for something, and not for one another."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        if not tasks.exists():
            time.sleep(0.3)
            return
        quiet = 0
        while quiet < 5:  # for some time, not for a moment between two steps
            quiet = quiet + 1 if _states(tasks) == {"S"} else 0
            time.sleep(0.01)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def ends(self, status: int = 0, within: float = AT_ONCE) -> str:
        """It ends soon, with that status; what it said to stderr comes back."""
        begin = time.monotonic()
        try:
            _, complaints = self._process.communicate(timeout=SOON)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # development mode shows where it is
            pytest.fail(f"goes on: {self._process.communicate()[1]}")
        assert self._process.returncode == status, complaints
        assert time.monotonic() - begin < within + HELD_UP
        assert "Fatal" not in complaints
        return complaints

    def ends_quietly(self, status: int = 0, within: float = AT_ONCE) -> None:
        assert self.ends(status, within) == ""

    def ends_interrupted(self) -> None:
        """By one Ctrl-C, as any script: killed by the signal, with one traceback."""
        complaints = self.ends(-signal.SIGINT)
        assert complaints.count("Traceback") == 1, complaints
        assert complaints.rstrip().endswith("KeyboardInterrupt"), complaints
        assert "ignored" not in complaints
        assert "IndexError" not in complaints  # nor does it tell how it was made


Run = Callable[..., Script]


@pytest.fixture
def run(server: ScriptedServer, tmp_path: Path) -> Iterator[Run]:
    """Start a script; the address of the server, or another one, is its argument."""
    with ExitStack() as stack:

        def start(text: str, *options: str, url: str | None = None) -> Script:
            file = tmp_path / "script.py"
            file.write_text(PREAMBLE + text)
            process = subprocess.Popen(
                [sys.executable, "-X", "dev", *options, file, url or server.base_url],
                env={**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Script(process)

        yield start


# What is waited for --------------------------------------------------------------------------


class TestCallbacks:
    """A script with callbacks lives until its streams end, as it would with threads of its own."""

    def test_are_waited_for(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        script = run("chat(on_next=nothing, on_done=say_text); say('end')")
        script.says("end")
        script.is_blocked()
        assert script.runs
        go.set()
        script.says("one two three")
        script.ends_quietly()

    def test_are_waited_for_after_an_exception(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        script = run("chat(on_next=nothing, on_done=say_text); say('end'); 1 / 0")
        script.says("end")
        script.is_blocked()
        go.set()
        script.says("one two three")
        complaints = script.ends(1)
        assert complaints.count("Traceback") == 1
        assert "ZeroDivisionError" in complaints

    def test_are_waited_for_after_sys_exit(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        script = run("chat(on_next=nothing, on_done=say_text); say('end'); sys.exit(3)")
        script.says("end")
        script.is_blocked()
        go.set()
        script.says("one two three")
        script.ends_quietly(3)

    def test_while_they_connect(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.play([Wait(go), *answer(WHOLE)])
        script = run("chat(on_next=nothing, on_done=say_text, nowait=True); say('end')")
        script.says("end")
        go.set()
        script.says("one two three")
        script.ends_quietly()

    def test_of_many_streams(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.always(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        script = run(
            "for _ in range(5): chat(on_next=nothing, on_done=say_text)\n"
            "queue = chat()\n"  # which nobody waits for
            "say('end')"
        )
        script.says("end")
        script.is_blocked()
        go.set()
        for _ in range(5):
            script.says("one two three")
        script.ends_quietly()

    def test_that_start_more_streams(self, server: ScriptedServer, run: Run) -> None:
        go = threading.Event()
        server.always(answer([Wait(go), *WHOLE]))
        script = run("""
def again(left):
    def on_done(whole):
        say(left)
        if left:
            try:
                chat(on_next=nothing, on_done=again(left - 1))
            except OpenAIStreamError as error:
                say("refused:", error)
    return on_done
chat(on_next=nothing, on_done=again(2))
say('end')
""")
        script.says("end")
        script.is_blocked()
        go.set()
        script.says("2")
        if (3, 12, 0) <= sys.version_info < (3, 12, 2):
            # There a thread that ends late can start no other, whoever it is.
            script.says(
                "refused: cannot start a reader thread: "
                "can't create new thread at interpreter shutdown"
            )
        else:
            script.says("1")
            script.says("0")
        script.ends_quietly()

    def test_that_raise(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run("chat(on_next=lambda event: 1 / 0); say('end')")
        script.says("end")
        complaints = script.ends()
        assert complaints.count("Traceback") == 1
        assert "ZeroDivisionError" in complaints

    def test_of_a_stream_that_was_closed(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        run("chat(on_next=nothing).close()").ends_quietly()

    def test_that_log_at_the_end(self, server: ScriptedServer, run: Run) -> None:
        """Other exit handlers, those of logging among them, come after the last callback."""
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        script = run("""
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
atexit.register(lambda: say("first handler"))
chat(on_next=nothing, on_done=lambda whole: logging.info("done"))
say('end')
""")
        script.says("end")
        script.is_blocked()
        go.set()
        script.says("done")
        script.says("first handler")
        script.ends_quietly()


class TestUnreadQueues:
    """A script that leaves its queue unread exits at once."""

    @pytest.mark.parametrize(
        "text",
        [
            "events = chat()",
            "events = chat(maxsize=1); events.get(); raise SystemExit(0)",
            # However it is held, and whenever that goes.
            """
queue, full, stream = chat(), chat(maxsize=1), chat(maxsize=1).stream
chat()
told = chat(on_done=nothing, on_error=nothing)
text = chat().text(); next(text)
closed_late = chat(); atexit.register(closed_late.close)
local = threading.local(); local.events = chat()
import builtins; builtins.events = chat(); sys.events = chat()
gc.disable(); circle = [chat()]; circle.append(circle); del circle
""",
            """
threading.Thread(target=chat().get, daemon=True).start()
threading.Thread(target=list, args=[chat()], daemon=True).start()
""",
        ],
        ids=["queue", "full queue", "all ways of holding", "threads"],
    )
    def test_with_a_server_that_says_no_more(
        self, server: ScriptedServer, run: Run, text: str
    ) -> None:
        server.always(answer([*WHOLE[:3], Hang()]))
        script = run(text + "\nsay('end')" if "raise" not in text else "say('end');" + text)
        script.says("end")
        script.ends_quietly()
        assert server.connections
        assert all(one.client_closed.wait(SOON) for one in server.connections)

    def test_are_closed(self, server: ScriptedServer, run: Run) -> None:
        server.always(answer([WHOLE[0], Hang()]))
        script = run("atexit.register(lambda: say(events.stream.cancelled())); events = chat()")
        script.says("True")
        script.ends_quietly()

    def test_with_a_server_that_floods(self, server: ScriptedServer, run: Run) -> None:
        server.always(FLOOD)
        script = run(
            "events, few, one = chat(), chat(maxsize=8), chat(maxsize=1); few.get(); say('end')"
        )
        script.says("end")
        script.ends_quietly()

    def test_that_are_connecting(self, run: Run) -> None:
        with blackhole_url() as url:
            script = run("events = chat(nowait=True); time.sleep(0.05); say('end')", url=url)
            script.says("end")
            script.ends_quietly()

    def test_that_wait_for_headers(self, server: ScriptedServer, run: Run) -> None:
        server.play([Hang()])
        script = run("events = chat(nowait=True); sys.stdin.readline(); say('end')")
        server.wait_for_requests(1)
        script.tell()
        script.says("end")
        script.ends_quietly()

    def test_with_a_callback_that_takes_its_time(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer(WHOLE))
        script = run("""
inside = threading.Event()
def on_done(whole):
    inside.set()
    time.sleep(60)
events = chat(on_done=on_done)
inside.wait()
say('end')
""")
        script.says("end")
        script.ends_quietly()

    def test_with_an_exception(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        complaints = run("events = chat(); 1 / 0").ends(1, within=SOON)
        assert complaints.count("Traceback") == 1
        assert "ZeroDivisionError" in complaints


def test_a_stream_that_an_exit_handler_uses(server: ScriptedServer, run: Run) -> None:
    server.play(answer(WHOLE), answer([WHOLE[0], Hang()]))
    script = run("""
def farewell():
    say_text(chat().stream.result())
    with chat() as events:
        events.get()
    say("closed")
atexit.register(farewell)
say("end")
""")
    script.says("end")
    if (3, 12, 0) <= sys.version_info < (3, 12, 2):
        assert "can't create new thread at interpreter shutdown" in script.ends()
    else:
        script.says("one two three")
        script.says("closed")
        script.ends_quietly()


def test_a_stream_that_a_destructor_asks_for_at_the_very_end(
    server: ScriptedServer, run: Run
) -> None:
    """There are no threads any more: it fails at once, and nothing is sent."""
    server.always(answer(WHOLE))
    script = run("""
class Farewell:
    def __del__(self, say=say, chat=chat, error=OpenAIStreamError):
        try:
            chat().stream.result()
        except error as caught:
            say('shut down' if 'the interpreter is shutting down' in str(caught) else caught)
farewell = Farewell()
say_text(chat().stream.result())
""")
    script.says("one two three")
    script.says("shut down")
    script.ends_quietly()
    assert len(server.requests) == 1


# Ctrl-C --------------------------------------------------------------------------------------


def test_a_ctrl_c_of_long_ago_ends_no_interactive_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_type", KeyboardInterrupt, raising=False)
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert Exit._is_interrupted()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert not Exit._is_interrupted()


class TestOneInterrupt:
    """One Ctrl-C ends a script wherever it falls."""

    @pytest.mark.parametrize(
        "wait",
        [
            "stream.result()",
            "stream.exception(timeout=60)",
            "time.sleep(60)",
        ],
    )
    def test_with_callbacks(self, server: ScriptedServer, run: Run, wait: str) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run(f"stream = chat(on_next=nothing); say('ready'); {wait}")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.ends_interrupted()
        assert server.connections[0].client_closed.wait(SOON)

    def test_with_callbacks_in_a_busy_loop(self, server: ScriptedServer, run: Run) -> None:
        server.play(FLOOD)
        script = run("stream = chat(on_next=nothing); say('ready')\nwhile True: pass")
        script.says("ready")
        script.interrupt()
        script.ends_interrupted()

    @pytest.mark.parametrize("callback", ["nothing", "lambda event: time.sleep(60)"])
    def test_in_the_wait_at_exit(self, server: ScriptedServer, run: Run, callback: str) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run(f"chat(on_next={callback}); say('ready')")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.ends_quietly(-signal.SIGINT)
        assert server.connections[0].client_closed.wait(SOON)

    def test_in_the_wait_at_exit_skips_no_other_handler(
        self, server: ScriptedServer, run: Run
    ) -> None:
        """As after any Ctrl-C: what else is to be done at the exit is, and output is written."""
        server.play(answer([WHOLE[0], Hang()]))
        script = run("""
atexit.register(say, "an earlier handler")
chat(on_next=nothing)
atexit.register(say, "a later handler")
say("ready")
sys.stdout.write("in the buffer\\n")
""")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        for line in ("in the buffer", "a later handler", "an earlier handler"):
            script.says(line)
        script.ends_quietly(-signal.SIGINT)

    def test_in_the_wait_at_exit_of_a_script_that_failed(
        self, server: ScriptedServer, run: Run
    ) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run("chat(on_next=nothing); say('ready'); sys.exit(3)")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.ends_quietly(-signal.SIGINT)

    @pytest.mark.parametrize(
        ("method", "status"),
        # A spawned one is a script of its own, and is killed as a script is.
        [("fork", 1), ("forkserver", 1), ("spawn", -signal.SIGINT)],
    )
    def test_in_the_wait_at_exit_of_a_worker_process(
        self, server: ScriptedServer, run: Run, method: str, status: int
    ) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run(
            f"""
import multiprocessing, multiprocessing.util
def work():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.util.Finalize(None, say, ["finalized"], exitpriority=50)
    chat(on_next=nothing)
    say("asked")
if __name__ == "__main__":
    child = multiprocessing.get_context("{method}").Process(target=work)
    child.start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.readline()
    os.kill(child.pid, signal.SIGINT)
    child.join()
    say(child.exitcode)
""",
            *MAY_FORK,
        )
        script.says("asked")
        server.wait_for_requests(1)
        time.sleep(0.3)  # it is another process's, and says nothing of its exit
        script.tell()
        script.says("finalized")
        script.says(str(int(status)))
        script.ends_quietly()

    def test_in_the_wait_at_exit_while_events_flow(self, server: ScriptedServer, run: Run) -> None:
        server.always(FLOOD)
        script = run("for _ in range(3): chat(on_next=nothing)\nsay('ready')")
        script.says("ready")
        time.sleep(0.1)
        script.interrupt()
        script.ends_quietly(-signal.SIGINT)

    def test_while_a_callback_runs(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run("""
def on_next(event):
    say("ready")
    time.sleep(60)
chat(on_next=on_next).result()
""")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.ends_interrupted()

    def test_while_a_callback_prints(self, server: ScriptedServer, run: Run) -> None:
        server.play(FLOOD)
        script = run("""
chat(on_next=lambda event: print(end="", flush=True))
say("ready")
time.sleep(60)
""")
        script.says("ready")
        script.interrupt()
        script.ends_interrupted()

    @pytest.mark.parametrize(
        "wait",
        [
            "events.get()",
            "events.get(timeout=60)",
            "list(events)",
            "events.stream.result()",
            "events.put(1); events.put(2)",
        ],
    )
    def test_with_a_queue(self, server: ScriptedServer, run: Run, wait: str) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        script = run(f"events = chat(maxsize=1); events.get(); say('ready'); {wait}")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.ends_interrupted()
        assert server.connections[0].client_closed.wait(SOON)

    def test_in_a_loop_over_a_fast_stream(self, server: ScriptedServer, run: Run) -> None:
        server.play(FLOOD)
        script = run("events = chat(maxsize=3); say('ready')\nfor event in events: pass")
        script.says("ready")
        time.sleep(0.05)
        script.interrupt()
        script.ends_interrupted()

    def test_while_the_call_waits_for_headers(self, server: ScriptedServer, run: Run) -> None:
        server.play([Hang()])
        script = run("say('ready'); chat(on_next=nothing)")
        script.says("ready")
        server.wait_for_requests(1)
        script.is_blocked()
        script.interrupt()
        complaints = script.ends(-signal.SIGINT)
        assert complaints.rstrip().endswith("KeyboardInterrupt")
        assert "ignored" not in complaints
        assert server.connections[0].client_closed.wait(SOON)

    def test_that_the_script_handles(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        script = run("""
events = chat()
events.get(), events.get()
say("ready")
try:
    events.get()
except KeyboardInterrupt:
    events.close()
say(events.get(), events.stream.cancelled())
""")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.says("DONE True")
        script.ends_quietly()

    def test_whose_handler_closes_the_stream(self, server: ScriptedServer, run: Run) -> None:
        server.play(answer([*WHOLE[:2], Hang()]))
        script = run("""
events = chat()
signal.signal(signal.SIGINT, lambda *_: events.close())
say("ready")
say(len(list(events)))
""")
        script.says("ready")
        script.is_blocked()
        script.interrupt()
        script.says("2")
        script.ends_quietly()


# Forked and spawned children -----------------------------------------------------------------


class TestFork:
    def test_a_child_disturbs_no_stream_of_its_parents(
        self, server: ScriptedServer, run: Run
    ) -> None:
        go = threading.Event()
        server.play(*[answer([WHOLE[0], Wait(go), *WHOLE[1:]])] * 3)
        server.always(answer(chat_chunks("of the child")))
        script = run(
            """
events = chat()
full = chat(maxsize=1)
stream = chat(on_next=nothing, on_done=say_text)
events.get()

def forked(function):
    pid = os.fork()
    if not pid:
        function()
        sys.exit()  # with all exit handlers
    assert os.waitpid(pid, 0)[1] == 0

def close():
    events.close(); events.stream.close(); full.close(); stream.close(); client.close()

def drop():
    global events, full, stream
    del events, full, stream
    gc.collect()

forked(lambda: os._exit(0))
forked(lambda: None)
forked(close)
forked(drop)
forked(lambda: chat().close())
forked(lambda: chat())
forked(lambda: say_text(chat().stream.result()))
forked(lambda: chat(on_next=nothing, on_done=say_text))
say("children ended")
sys.stdin.readline()
stream.result()
say(len(list(events)), len(list(full)))
""",
            *MAY_FORK,
        )
        script.says("of the child")
        script.says("of the child")
        script.says("children ended")
        assert not any(one.client_closed.is_set() for one in server.connections[:3])
        go.set()
        script.says("one two three")
        script.tell()
        script.says("4 5")
        script.ends_quietly()

    def test_a_child_cannot_wait_for_what_stays_with_its_parent(
        self, server: ScriptedServer, run: Run
    ) -> None:
        """A part of an answer must not look like the whole."""
        go = threading.Event()
        server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
        script = run(
            """
events = chat()
while events.empty():
    time.sleep(0.001)
pid = os.fork()
if not pid:
    say(events.get().choices[0].index)
    for call in (events.get, lambda: list(events), events.stream.result, events.stream.exception):
        try:
            say(call())
        except RuntimeError as error:
            say(error)
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
say(sys.stdin.readline() and len(list(events)))
""",
            *MAY_FORK,
        )
        script.says("0")
        for _ in range(4):
            script.says("the stream belongs to the process that this one was forked from")
        go.set()
        script.tell()
        script.says("5")
        script.ends_quietly()

    def test_a_child_knows_the_results_of_what_had_ended(
        self, server: ScriptedServer, run: Run
    ) -> None:
        server.play(answer(WHOLE))
        script = run(
            """
events = chat()
events.stream.result()
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
say_text(events.stream.result())
say(len(list(events)), list(events))
""",
            *MAY_FORK,
        )
        for _ in range(2):
            script.says("one two three")
            script.says("5 []")
        script.ends_quietly()

    def test_a_child_has_connections_of_its_own(self, server: ScriptedServer, run: Run) -> None:
        """The parent's kept connection is not one to read from in two processes."""
        server.always(answer(WHOLE))
        script = run(
            """
chat().stream.result()
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
say_text(chat().stream.result())
""",
            *MAY_FORK,
        )
        for _ in range(2):
            script.says("one two three")
        script.ends_quietly()
        assert len(server.connections) == 2

    def test_while_streams_come_and_go(self, server: ScriptedServer, run: Run) -> None:
        """Children are made at any moment, and each can make calls."""
        server.always(answer(WHOLE))
        script = run(
            """
going = True
def go_on():
    while going:
        list(chat(maxsize=1))
threads = [threading.Thread(target=go_on) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    pid = os.fork()
    if not pid:
        status = chat().stream.result().choices[0].message.content != "one two three"
        os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
going = False
for thread in threads:
    thread.join()
say("end")
""",
            *MAY_FORK,
        )
        script.says("end")
        script.ends_quietly()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(server: ScriptedServer, run: Run, method: str) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    server.always(answer(chat_chunks("of the child")))
    script = run(
        f"""
import multiprocessing

def work(queue):
    for event in chat():
        queue.put(event)
    queue.put(DONE)

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    stream = chat(on_next=nothing, on_done=say_text)
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    text = ""
    while (event := queue.get()) is not DONE:
        text += event.choices[0].delta.content or ""
    child.join()
    say(text, child.exitcode, stream.running())
""",
        *MAY_FORK,
    )
    script.says("of the child 0 True")
    go.set()
    script.says("one two three")
    script.ends_quietly()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_callbacks_in_a_worker_process_run_to_their_end(
    server: ScriptedServer, tmp_path: Path, method: str
) -> None:
    server.always(answer(chat_chunks("one two three"), delay=0.05))
    script = tmp_path / "workers.py"
    script.write_text(
        f"""
import multiprocessing

from openai_stream import Client

def work():
    Client(base_url={server.base_url!r}).create_chat_completion(
        model="m", messages=[], stream=True, on_next=lambda event: None,
        on_done=lambda whole: print(whole.choices[0].message.content, flush=True),
    )

if __name__ == "__main__":
    client = Client(base_url={server.base_url!r})
    client.create_chat_completion(model="m", messages=[], stream=True).stream.result()
    process = multiprocessing.get_context({method!r}).Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["one two three", "0", ""]
    assert "Exception" not in done.stderr
