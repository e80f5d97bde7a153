"""What we use of others that they do not promise: one test a name, and what is lost when it goes.

A newer library that breaks one of these tests says which promise of ours has to be kept in another
way; ``make upstream`` asks the newest ones. Everything here is about the libraries alone.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import queue
import socket
import ssl
import subprocess
import sys
import threading
import types
from typing import Any

import pytest
import requests
import requests.adapters
import sseclient
import urllib3
import urllib3.connection

from openai_stream import below
from openai_stream.testing import ScriptedServer, json_answer

#: Each name, whose it is, and what is lost when it goes. The walls let no other be used.
SEAMS = {
    "_content": "requests.Response: a recorder or a hook that has read the body leaves us nothing",
    "_content_consumed": "requests.Response: .content of an unstreamed answer reads a closed body",
    "_current_frames": "sys: close() cannot tell that a callback is about to start",
    "_dns_host": "urllib3's connection: no connection at all, for hosts that end with a dot",
    "_is_owned": "threading: no lock knows whether this thread holds it: finalizers may deadlock",
    "_logger": "sseclient: each stream ends with an AttributeError, or the log shows keys",
    "_new_conn": "urllib3's connection: connecting and TLS are neither timed nor stopped",
    "_put_conn": "urllib3's pool: a warning for each stream above the tenth",
    "_read": "sseclient: a third more time an event",
    "_register_atexit": "threading: where there are no daemon threads, unread queues hang the end",
    "_waiters": "threading: who waits for an event cannot be woken, and each stream ends so",
    "begin": "http.client: interim responses and long heads fail",
    "fp": "http.client: bytes are neither timed nor stopped, and chunks cost 3 µs each",
    "last_type": "sys: a script that a Ctrl-C ends waits for its callbacks",
    "pool_classes_by_scheme": "urllib3's manager: no connection is ours",
    "release_conn": "urllib3's response: a connection is given away before its stream is over",
    "response_class": "http.client: no response is ours",
    "scan_once": "json: 1 µs an event",
}


def answered(server: ScriptedServer) -> requests.Response:
    """A response whose body is still to be read."""
    server.play(json_answer({"a": 1}))
    with requests.Session() as session:
        session.trust_env = False
        return session.get(server.base_url, stream=True, timeout=5)


def test_each_seam_has_its_test() -> None:
    names = {name.removeprefix("test_").strip("_") for name in globals()}
    missing = {seam for seam in SEAMS if seam.strip("_") not in names}
    assert not missing


# requests --------------------------------------------------------------------------------------


def test_content(server: ScriptedServer) -> None:
    response = answered(server)
    content: Any = response._content
    assert content is False  # still to be read
    assert response.json() == {"a": 1}
    assert response._content == b'{"a":1}' == response.content


def test_content_consumed(server: ScriptedServer) -> None:
    response = answered(server)
    response._content = b"{}"
    response._content_consumed = True  # type: ignore[attr-defined]
    assert response.content == b"{}"
    assert list(response.iter_content(1)) == [b"{", b"}"]
    response.close()


# urllib3 ---------------------------------------------------------------------------------------


def test_new_conn() -> None:
    made, other = socket.socketpair()

    class Connection(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return made

    class TLSConnection(Connection, urllib3.connection.HTTPSConnection):
        pass

    with made, other:
        connection = Connection("host.invalid")
        connection.connect()
        assert connection.sock is made
        other.close()
        with pytest.raises((ssl.SSLError, ConnectionError)):  # the handshake is on that socket
            TLSConnection("host.invalid").connect()


def test_dns_host() -> None:
    connection = urllib3.connection.HTTPConnection("example.com.")
    assert connection._dns_host == "example.com."
    assert connection.host == "example.com"
    assert connection.socket_options == urllib3.connection.HTTPConnection.default_socket_options
    assert connection.source_address is None


def test_put_conn(server: ScriptedServer) -> None:
    kept = []

    class Pool(urllib3.HTTPConnectionPool):
        def _put_conn(self, conn: Any) -> None:
            kept.append(conn)
            assert isinstance(self.pool, queue.LifoQueue)
            self.pool.put(conn, block=False)

    server.play(json_answer({}))
    with Pool("127.0.0.1", server.port) as pool:
        pool.request("GET", "/")
        assert [type(conn) for conn in kept] == [pool.ConnectionCls]


def test_pool_classes_by_scheme(server: ScriptedServer) -> None:
    class Pool(urllib3.HTTPConnectionPool):
        pass

    server.play(json_answer({}))
    adapter = requests.adapters.HTTPAdapter()
    for manager in (adapter.poolmanager, adapter.proxy_manager_for("http://127.0.0.1:1")):
        manager.pool_classes_by_scheme = {"http": Pool, "https": Pool}
        assert type(manager.connection_from_url(server.base_url)) is Pool
        assert [type(manager.pools.get(key)) for key in manager.pools.keys()] == [Pool]  # noqa: SIM118
    adapter.close()


def test_release_conn(server: ScriptedServer) -> None:
    response = answered(server)
    raw: Any = response.raw
    given_back = []
    release, raw.release_conn = raw.release_conn, lambda: given_back.append(1)
    assert raw.read() == b'{"a":1}'
    assert given_back  # by this name, looked up on the object
    assert raw.connection is not None
    release()
    assert raw.connection is None
    response.close()


# http.client -----------------------------------------------------------------------------------


def test_response_class(server: ScriptedServer) -> None:
    class Response(http.client.HTTPResponse):
        pass

    class Connection(urllib3.connection.HTTPConnection):
        response_class = Response

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    server.play(json_answer({}))
    with Pool("127.0.0.1", server.port) as pool:
        got = pool.request("GET", "/", preload_content=False)
        assert type(got._fp) is Response  # type: ignore[attr-defined]
        got.drain_conn()


class Lines:
    """A stand-in for the lines of a response's head."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = iter(lines)

    def readline(self, limit: int = -1) -> bytes:
        return next(self._lines, b"")

    def flush(self) -> None:
        """Nothing."""

    close = flush


class OneAnswer:
    """A socket that has an answer."""

    def __init__(self, answer: bytes) -> None:
        self.answer = io.BytesIO(answer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.answer)  # type: ignore[arg-type, type-var, unused-ignore]


def test_fp() -> None:
    sock: Any = OneAnswer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    response = http.client.HTTPResponse(sock)
    raw = response.fp.detach()  # type: ignore[union-attr, unused-ignore]
    assert raw is sock.answer
    response.fp = io.BufferedReader(raw)
    response.begin()
    assert response.read1() == b"ok"
    assert response.read1() == b""
    response.close()


def test_begin() -> None:
    sock: Any = OneAnswer(b"")
    lines: Any = Lines([b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", b"\r\n"])
    response = http.client.HTTPResponse(sock)
    response.fp = lines
    response.begin()
    assert (response.status, response.headers["a"]) == (200, "b")
    assert response.chunked is False
    response.close()


# sseclient -------------------------------------------------------------------------------------


def test_read() -> None:
    client: Any = sseclient.SSEClient(iter([b"never read"]))
    client._read = lambda: iter([b"data: 1", b"data: 2"])
    assert [event.data for event in client.events()] == ["1", "2"]


def test_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client: Any = sseclient.SSEClient(iter([b"data: secret\n\n"]))
    said: list[str] = []
    assert isinstance(client._logger, logging.Logger)
    client._logger = types.SimpleNamespace(debug=lambda message, *args: said.append(message))
    caplog.clear()
    assert [event.data for event in client.events()] == ["secret"]
    assert said  # all that it logs, it logs by this
    assert not caplog.records


# the standard library --------------------------------------------------------------------------


def test_is_owned() -> None:
    lock: Any = threading.RLock()
    seen = []
    with lock:
        assert lock._is_owned()
        other = threading.Thread(target=lambda: seen.append(lock._is_owned()))
        other.start()
        other.join()
    assert not lock._is_owned()
    assert seen == [False]
    # A condition asks a lock of ours by this name too, where that has one.
    asked = types.SimpleNamespace(
        acquire=lock.acquire,
        release=lock.release,
        locked=lambda: True,
        _is_owned=lambda: not seen.append("asked"),  # type: ignore[func-returns-value]
    )
    threading.Condition(asked).notify()  # type: ignore[arg-type]
    assert seen == [False, "asked"]


def test_waiters() -> None:
    lock = threading.RLock()
    condition: Any = threading.Condition(lock)
    mine = threading.Lock()
    mine.acquire()
    condition._waiters.append(mine)
    with lock:
        condition.notify()
    assert not mine.locked()
    assert not condition._waiters


def test_register_atexit() -> None:
    program = """
import threading
stop = threading.Event()
threading._register_atexit(stop.set)
threading.Thread(target=stop.wait).start()  # waited for before atexit has its turn
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_current_frames() -> None:
    frame = sys._current_frames()[threading.get_ident()]
    assert frame.f_code is test_current_frames.__code__
    assert frame.f_lasti >= 0


def test_last_type() -> None:
    program = """
import atexit, sys
atexit.register(lambda: print(sys.last_type.__name__, flush=True))
raise KeyboardInterrupt
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20
    )
    assert run.stdout == "KeyboardInterrupt\n"


def test_scan_once() -> None:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    scan: Any = json.JSONDecoder(parse_constant=refuse).scan_once  # type: ignore[attr-defined]
    assert scan('{"a": [1, null]} ', 0) == ({"a": [1, None]}, 16)
    with pytest.raises(StopIteration):
        scan("", 0)
    with pytest.raises(ValueError, match="NaN"):
        scan("NaN", 0)


# What is said when one of them is gone ---------------------------------------------------------


def test_says_at_import_that_another_library_is_in_urllib3s_place() -> None:
    program = """
import urllib3.connection
urllib3.connection.HTTPConnection = type("HTTPConnection", (), {})
urllib3.__version__ = "2.13.905"
import openai_stream
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "ImportError: openai_stream needs urllib3, whose connections are http.client's; what is "
        "installed under its name (2.13.905) is something else, perhaps urllib3-future: in an "
        "environment of its own, install urllib3 again"
    )


@pytest.mark.parametrize("name", below.OF_CONNECTIONS)
def test_says_which_name_of_a_connection_is_gone(name: str) -> None:
    kept = {one for one in below.OF_CONNECTIONS if one != name}
    stand_in = type("HTTPConnection", (http.client.HTTPConnection,), dict.fromkeys(kept))
    with pytest.raises(ImportError, match=rf"HTTPConnection of urllib3 \S+ has no {name}.*older"):
        below.check(stand_in)


@pytest.mark.parametrize("name", below.OF_CLIENTS)
def test_says_which_name_of_a_client_is_gone(name: str) -> None:
    kept = {one: None for one in below.OF_CLIENTS if one != name}
    stand_in = type("SSEClient", (), {"__init__": lambda self, source: None, **kept})
    with pytest.raises(ImportError, match=rf"SSEClient of sseclient has no {name}"):
        below.check(client=stand_in)


@pytest.mark.parametrize("name", below.OF_MANAGERS)
def test_says_which_name_of_a_pool_manager_is_gone(name: str) -> None:
    kept = {one: None for one in below.OF_MANAGERS if one != name}
    with pytest.raises(ImportError, match=rf"PoolManager of urllib3 \S+ has no {name}"):
        below.check(manager=type("PoolManager", (), kept))
