"""Much at once: a slow consumer before a long stream, and a crowd of streams on one client."""

from __future__ import annotations

import os
import queue
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import openai_stream
from openai_stream import DONE, Client, Timeout
from openai_stream.testing import (
    Hang,
    Request,
    Script,
    ScriptedServer,
    Step,
    Wait,
    answer,
    chat_chunks,
    chunk,
    frame,
)

WAIT = 60.0  # seconds, for what takes milliseconds, but all the streams of a crowd together more
MEGABYTE = 1_000_000
CROWD = 1000


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    timeout = Timeout(connect=WAIT, idle=WAIT, gap=WAIT)
    with Client(
        api_key="sk-test", base_url=server.base_url, max_retries=0, timeout=timeout
    ) as made:
        yield made


def chat(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="m", messages=[], stream=True, **arguments)


# A consumer that stalls ----------------------------------------------------------------------


def resident() -> int:
    """The bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.limit(120)
@pytest.mark.parametrize("sink", ["own queue", "foreign queue", "callback"])
def test_a_consumer_that_stalls_holds_the_server_back(
    server: ScriptedServer, client: Client, sink: str
) -> None:
    """A stream of 100 MB, of which the consumer takes some, then nothing, then all the rest."""
    pieces = [f"{number} " for number in range(5_000)]
    ballast = "x" * 20_000  # in a field that no answer is made of: what is held, is held by mistake
    stalled, go_on = threading.Event(), threading.Event()
    taken: list[str] = []
    memory: list[int] = []

    def script(_: Request) -> Iterator[Step | bytes]:
        whole = answer(chat_chunks(pieces))
        yield whole[0]  # the head
        for one in chat_chunks(pieces):
            yield chunk(frame({**one, "obfuscation": ballast}))
        yield from whole[-2:]  # [DONE], and the body's end

    def take(event: Any) -> None:
        assert event.obfuscation == ballast
        taken.append(event.choices[0].delta.content or "")
        if len(taken) == 100:
            stalled.set()
            assert go_on.wait(WAIT)
        if len(taken) % 100 == 0:
            memory.append(resident())

    def take_all(get: Callable[[], Any]) -> None:
        for event in iter(get, DONE):
            take(event)

    server.play(script)
    with ThreadPoolExecutor(1) as pool:
        if sink == "callback":
            stream = chat(client, on_next=take)
        else:
            items: queue.Queue[Any] = queue.Queue(8)
            if sink == "foreign queue":
                stream = chat(client, queue=items)
            else:
                items = events = chat(client, maxsize=8)
                stream = events.stream
            taking = pool.submit(take_all, items.get)
        assert stalled.wait(WAIT)
        assert server.connections[0].wait_until_blocked()
        assert len(taken) == 100
        assert stream.stats.bytes < 20 * MEGABYTE  # what the buffers on the way took, and no more
        go_on.set()
        whole = stream.result(3 * WAIT)
        if sink != "callback":
            taking.result(WAIT)
    assert stream.stats.bytes > 100 * MEGABYTE
    assert "".join(taken) == "".join(pieces) == whole.choices[0].message.content
    assert max(memory) - memory[0] < 8 * MEGABYTE


# A thousand streams --------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 3 * CROWD + 200  # a client's and a server's socket a stream, and some
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} descriptors, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.limit(180)
@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_streams_at_once(server: ScriptedServer, client: Client) -> None:
    gate = threading.Event()

    def script(request: Request) -> Script:
        chunks = chat_chunks([f"{request.json['seed']}:", "one ", "among ", "many"])
        return answer([*chunks[:2], Wait(gate), *chunks[2:]])

    server.always(script)
    before = threading.active_count(), descriptors()
    streams = [chat(client, seed=number, nowait=True) for number in range(CROWD)]
    for events in streams:
        assert events.get(timeout=WAIT).choices[0].delta.role == "assistant"
    readers = [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]
    assert len(readers) == CROWD
    gate.set()
    for number, events in enumerate(streams):
        text = f"{number}:one among many"
        assert "".join(events.text()) == text
        assert events.stream.result(WAIT).choices[0].message.content == text
    for reader in readers:
        reader.join(WAIT)
    client.close()  # or it would keep some connections for the next calls
    for connection in server.connections:
        assert connection.closed.wait(WAIT)
    assert (threading.active_count(), descriptors()) == before


# Other ways of being many --------------------------------------------------------------------

GEVENT = """\
from gevent import monkey
monkey.patch_all()
import sys, gevent
from openai_stream import Client, DONE

client = Client(api_key="test", base_url=sys.argv[1], max_retries=0)

def chat(**arguments):
    return client.create_chat_completion(model="m", messages=[], stream=True, **arguments)

def read(number):
    events = chat(maxsize=2, seed=number)
    return "".join(events.text()), events.stream.result().choices[0].message.content

for task in [gevent.spawn(read, number) for number in range(20)]:
    print(*task.get())

stopped = chat(seed="stopped")
stopped.get()
gevent.spawn_later(0.05, stopped.close)
while stopped.get() is not DONE:
    pass
print("stopped", stopped.stream.cancelled())

texts = []
stream = chat(seed="called", on_next=lambda event: texts.append(event.choices[0].delta.content))
print(stream.result().choices[0].message.content, "".join(filter(None, texts)))
"""


@pytest.mark.limit(120)
def test_under_gevent(server: ScriptedServer, tmp_path: Path) -> None:
    pytest.importorskip("gevent")

    def script(request: Request) -> Script:
        seed = request.json["seed"]
        chunks = chat_chunks([f"{seed}", ":", "text"])
        return answer([*chunks[:2], Hang()] if seed == "stopped" else chunks, delay=0.001)

    server.always(script)
    file = tmp_path / "script.py"
    file.write_text(GEVENT)
    ran = subprocess.run(
        [sys.executable, file, server.base_url],
        env={**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    *texts, stopped, called = ran.stdout.splitlines()
    assert texts == [f"{number}:text {number}:text" for number in range(20)]
    assert stopped == "stopped True"
    assert called == "called:text called:text"
    assert server.requests[20].connection.client_closed.wait(WAIT)
