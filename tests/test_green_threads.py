"""gevent and eventlet, whose green threads take the place of threads, sockets and locks.

Each is played in a process of its own, which is patched before this library is imported, or after.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import requests
from helpers import SOON

import openai_stream
from openai_stream.testing import (
    Hang,
    Receive,
    ScriptedServer,
    answer,
    blackhole_url,
    chat_chunks,
    json_answer,
)

WHOLE = chat_chunks("one two three")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(openai_stream.__file__).parents[1])}

PATCH = {
    "gevent": "from gevent.monkey import patch_all as patch; from gevent import spawn, sleep",
    "eventlet": "from eventlet import monkey_patch as patch, spawn, sleep",
}
SCRIPT = """\
import sys, time, warnings
warnings.simplefilter("ignore")  # of eventlet, which is deprecated, and of gevent, patched late
{before}
import openai_stream
from openai_stream import *
client = Client(api_key="test", base_url=sys.argv[1], max_retries=0, timeout=Timeout(idle=0.3))
{after}

def chat(**arguments):
    return client.create_chat_completion(model="any", messages=[], **arguments)

def text(whole):
    return whole.choices[0].message.content

def wait_for(greens):
    for green in greens:
        (green.join if hasattr(green, "join") else green.wait)()

# One that waits is woken by close(), and others run meanwhile.
events = chat(stream=True, timeout=60)
events.get(timeout=5)
taken, ticks = [], []
waiting = spawn(lambda: taken.append(events.get(timeout=5)))
ticking = spawn(lambda: [(sleep(0.01), ticks.append(1)) for _ in range(5)])
wait_for([ticking])
assert (len(ticks), taken) == (5, [])
begin = time.monotonic()
events.close()
wait_for([waiting])
assert taken == [DONE]
assert time.monotonic() - begin < 1
# The same of a call that waits for headers: each has a call of its own.
slow = chat(stream=True, nowait=True, timeout=60)
sleep(0.1)
# Many at once, whose requests are on their way together.
whole = []
wait_for([spawn(lambda: whole.append(text(chat(stream=True).stream.result(5)))) for _ in range(5)])
assert whole == ["one two three"] * 5
slow.close()
assert slow.get(timeout=5) is DONE
# Callbacks, and a call that is not streamed.
calls = []
assert text(chat(stream=True, on_next=calls.append).result(5)) == "one two three"
assert len(calls) == 5
assert text(chat()) == "unstreamed"
# The deadlines.
try:
    chat(stream=True).stream.result(5)
except StreamTimeoutError as error:
    assert error.deadline == "idle"
print("well")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_under_green_threads(
    server: ScriptedServer, tmp_path: Path, library: str, when: str
) -> None:
    _need(library)
    before = PATCH[library]
    parts = {"before": f"{before}; patch()", "after": ""}
    if when == "after":
        parts = {"before": "", "after": f"{before}; patch()"}
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "unstreamed"}}]}
    server.play(
        answer([WHOLE[0], Hang()]),
        [Hang()],
        *[answer(WHOLE)] * 6,
        json_answer({"object": "chat.completion", **whole}),
        answer([WHOLE[0], Hang()]),
    )
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(**parts), server.base_url],
        capture_output=True,
        text=True,
        timeout=4 * SOON,
        env=ENVIRONMENT,
        cwd=tmp_path,  # not where another copy of the library may be
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "well\n"), run.stderr
    for connection in server.connections[:2]:
        assert connection.client_closed.wait(SOON)


RAISING = """\
import errno, sys, warnings
warnings.simplefilter("ignore")
{0}; patch()
import requests
from {1} import Timeout, kill
from openai_stream import Client, Timeout as Limits
PATIENCE = Limits(connect=9, idle=9, gap=9)
base, silent, tls, body, busy = sys.argv[1:]
ERRORS = [
    TimeoutError("mine"), TimeoutError("timed out"), TimeoutError(), OSError("mine"),
    ConnectionError("mine"), ConnectionResetError(errno.ECONNRESET, "mine"),
    BrokenPipeError("mine"), ValueError("mine"), UnicodeError("mine"), KeyError("mine"),
    RuntimeError("mine"), requests.ConnectionError("mine"),
]

def raises(error, call):
    try:
        with Timeout(0.05, error):
            call()
    except Exception as caught:
        assert caught is error and caught.__cause__ is None, (error, caught)
    else:
        raise AssertionError("it has been swallowed")
    error.__traceback__ = error.__context__ = None

for error in ERRORS:
    for url in silent, tls, base, body, busy:
        for session in None, requests.Session():
            client = Client(
                api_key="test", base_url=url, timeout=PATIENCE, session=session, max_retries=1
            )
            if url is busy:
                asked = dict(prompt="y" * 20_000_000)
            else:
                asked = dict(prompt="")
            # Of those of a given session, a time-out in a socket's own words may be the socket's.
            if session is None or (url is not busy and str(error) != "timed out"):
                raises(error, lambda: client.create_completion(model="any", **asked))
    client = Client(api_key="test", base_url=base, timeout=PATIENCE)
    raises(error, lambda: client.create_completion(model="any", prompt="", stream=True))
    with client.create_completion(
        model="any", prompt="", stream=True, nowait=True
    ) as events:
        raises(error, events.get)
        raises(error, events.stream.result)

# One that is killed.
def ask():
    try:
        Client(api_key="test", base_url=base).create_completion(model="any", prompt="")
    except Exception as caught:
        ends.append(caught)

ends = []
green = spawn(ask)
sleep(0.1)
kill(green, ValueError("killed"))
sleep(0.1)
assert [repr(end) for end in ends] == ["ValueError('killed')"], ends
print("well")
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_an_exception_of_the_users_is_not_the_networks(
    server: ScriptedServer, library: str
) -> None:
    """A timer's or a kill's comes where a socket is waited for, and may be of a socket's class.

    Nothing is asked again.
    """
    _need(library)
    server.always([Hang()])
    with (
        blackhole_url() as silent,
        ScriptedServer() as tls,
        ScriptedServer() as half,
        ScriptedServer(receive_buffer=4096) as busy,
    ):
        tls.on_connect(*[[Hang()]] * 100)
        half.always([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Hang()])
        busy.on_connect(*[[Receive(1000), Hang()]] * 100)
        urls = [
            *(server.base_url, silent, tls.base_url.replace("http:", "https:")),
            *(half.base_url, busy.base_url),
        ]
        run = subprocess.run(
            [sys.executable, "-c", RAISING.format(PATCH[library], library), *urls],
            capture_output=True,
            text=True,
            timeout=4 * SOON,
            env=ENVIRONMENT,
            check=False,
        )
        assert (run.returncode, run.stdout) == (0, "well\n"), run.stderr
        assert len(half.requests) <= 2 * 12 - 1
    assert len(server.requests) <= 4 * 12 + 1 - 1


TIMING = """\
import sys, warnings
warnings.simplefilter("ignore")
{0}; patch()
import requests
from openai_stream import APITimeoutError, Client, StreamTimeoutError, Timeout
base, silent, tls, body = sys.argv[1:]
for url, limits, deadline in [
    (silent, Timeout(connect=0.2), "0.2 s"),
    (tls, Timeout(connect=0.2), "0.2 s"),
    (base, Timeout(gap=0.2), "0.2 s"),
    (base, Timeout(total=0.2), "0.2 s"),
    (body, Timeout(idle=0.2), "0.2 s"),
    (body, Timeout(total=0.2), "0.2 s"),
]:
    for session in None, requests.Session():
        client = Client(api_key="test", base_url=url, timeout=limits, session=session)
        client.max_retries = 0
        try:
            client.create_completion(model="any", prompt="")
        except (APITimeoutError, StreamTimeoutError) as error:
            assert deadline in str(error), (url, limits, error)
            assert isinstance(error, StreamTimeoutError) == (url is body), (url, error)
        else:
            raise AssertionError(f"{{limits}} has been ignored")
print("well")
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_deadlines_are_ours(server: ScriptedServer, library: str) -> None:
    """What a socket of a green thread raises then is thrown in as a user's is."""
    _need(library)
    server.always([Hang()])
    with blackhole_url() as silent, ScriptedServer() as tls, ScriptedServer() as half:
        tls.on_connect(*[[Hang()]] * 100)
        half.always([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Hang()])
        urls = [server.base_url, silent, tls.base_url.replace("http:", "https:"), half.base_url]
        run = subprocess.run(
            [sys.executable, "-c", TIMING.format(PATCH[library]), *urls],
            capture_output=True,
            text=True,
            timeout=4 * SOON,
            env=ENVIRONMENT,
            check=False,
        )
        assert (run.returncode, run.stdout) == (0, "well\n"), run.stderr


def _need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")


APPLICATION = """\
import os
from openai_stream import Client, DONE
client = Client(api_key="test", base_url=os.environ["MODEL"], max_retries=0)
events = []

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/stop":
        events[0].close()
        return [b"stopped"]
    if environ["PATH_INFO"] == "/wait":
        events.append(client.create_chat_completion(model="any", messages=[], stream=True))
        return (repr(event is DONE).encode() for event in iter(lambda: events[0].get(), DONE))
    answer = client.create_chat_completion(model="any", messages=[], stream=True)
    return (piece.encode() for piece in answer.text())
"""


def test_in_gunicorn_with_preload(server: ScriptedServer, tmp_path: Path) -> None:
    """The application is imported before gunicorn forks, and gevent patches after that."""
    _need("gunicorn")
    _need("gevent")
    (tmp_path / "served.py").write_text(textwrap.dedent(APPLICATION))
    server.play(answer(WHOLE), answer([WHOLE[0], Hang()]), answer(WHOLE))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(5)
        with subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "gunicorn", "served:application"),
                *("--worker-class", "gevent", "--workers", "1", "--preload"),
                *("--graceful-timeout", "1", "--bind", f"fd://{bound.fileno()}"),
                *("--worker-tmp-dir", str(tmp_path)),
            ],
            pass_fds=[bound.fileno()],
            env={**ENVIRONMENT, "MODEL": server.base_url},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as master:
            url = "http://{}:{}".format(*bound.getsockname())

            def get(path: str) -> str:
                with requests.get(url + path, timeout=SOON) as response:
                    return response.text

            try:
                assert get("/") == "one two three"
                waited: list[str] = []
                waiting = threading.Thread(target=lambda: waited.append(get("/wait")))
                waiting.start()
                server.wait_for_requests(2)
                # The worker is one thread: it serves this while the other request waits.
                assert get("/") == "one two three"
                assert get("/stop") == "stopped"
                waiting.join(SOON)
                assert waited == ["False"]
                # It went over the connection that the first request had left.
                assert server.connections[0].client_closed.wait(SOON)
            finally:
                master.send_signal(signal.SIGTERM)
                said = master.communicate(timeout=SOON)[0]
    assert "Traceback" not in said, said
    assert master.returncode == 0, said


HALF = """\
import sys, warnings
warnings.simplefilter("ignore")
from gevent import monkey; {0}
from openai_stream import Client, OpenAIStreamError
client = Client(api_key="test", base_url=sys.argv[1], max_retries=0)
for more in ({{}}, {{"nowait": True}}):
    try:
        client.create_chat_completion(model="any", messages=[], stream=True, **more)
    except OpenAIStreamError as error:
        assert "gevent has patched sockets" in str(error), error
    else:
        raise AssertionError("a stream")
whole = client.create_chat_completion(model="any", messages=[])
print(whole.choices[0].message.content)
"""


@pytest.mark.parametrize("patch", ["monkey.patch_all(thread=False)", "monkey.patch_socket()"])
def test_sockets_without_threads_are_refused(server: ScriptedServer, patch: str) -> None:
    """A socket of gevent's is of the thread that connected it: ``greenlet.error`` in the reader."""
    _need("gevent")
    message = {"role": "assistant", "content": "well"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    server.play(json_answer({"object": "chat.completion", **whole}))
    run = subprocess.run(
        [sys.executable, "-c", HALF.format(patch), server.base_url],
        capture_output=True,
        text=True,
        timeout=SOON,
        env=ENVIRONMENT,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "well\n"), run.stderr
    assert len(server.requests) == 1


SERVING = """\
import sys, time, warnings
warnings.simplefilter("ignore")
{0}; patch()
from openai_stream import APITimeoutError, Client, Timeout
from openai_stream.testing import Hang, Pause, ScriptedServer, answer, blackhole_url, chat_chunks

def ask(client, **arguments):
    return client.create_completion(model="any", prompt="", stream=True, **arguments)

with ScriptedServer() as server, Client(api_key="t", base_url=server.base_url) as client:
    server.play(
        answer("one two three"), answer([chat_chunks("one")[0], Hang()]), [Pause(0.05), Hang()]
    )
    assert client.create_completion(
        model="any", prompt="", stream=True).stream.result(5)
    events = ask(client)
    events.get(timeout=5)
    events.close()
    assert server.connections[-1].client_closed.wait(5)
    waiting = ask(client, nowait=True)
    server.wait_for_requests(3)
    waiting.close()
    assert server.connections[-1].client_closed.wait(5)
    with blackhole_url() as url:
        try:
            ask(Client(api_key="t", base_url=url, max_retries=0, timeout=Timeout(connect=0.1)))
        except APITimeoutError:
            print("well")
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_the_server_of_the_tests_under_green_threads(library: str) -> None:
    """eventlet has no ``select.poll``, and gevent's does not see that the client has closed."""
    _need(library)
    run = subprocess.run(
        [sys.executable, "-c", SERVING.format(PATCH[library])],
        capture_output=True,
        text=True,
        timeout=4 * SOON,
        env=ENVIRONMENT,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "well\n"), run.stderr
