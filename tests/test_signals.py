"""What a signal's handler raises reaches the caller: at once, as it is, wherever it waits.

The signal is a real one, that this process sends itself from another thread while the main thread
waits. Also what else is raised in the middle of network code, and is not the network's.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from machine import HELD_UP

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    Client,
    StreamInterruptedError,
    Timeout,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Receive,
    ScriptedServer,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    error_answer,
)

SOON = 10.0  # seconds; what is waited for happens at once
AT_ONCE = 2.0  # seconds; the deadlines here are far longer
WHOLE = chat_chunks("one two three")
PATIENCE = Timeout(connect=60, idle=60, gap=60)

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals")


class Custom(BaseException):
    """Not an Exception."""


class Slow(TimeoutError):
    """A user's own."""


RAISED = [
    TimeoutError("the user's time is up"),
    TimeoutError(),
    Slow("the user's time is up"),
    ValueError("the user's"),
    OSError("the user's"),
    BrokenPipeError("the user's"),
    ConnectionResetError(errno.ECONNRESET, "the user's"),
    FileNotFoundError(errno.ENOENT, "the user's", "file"),
    requests.ConnectionError("the user's"),
    UnicodeError("the user's"),
    RuntimeError("the user's"),
    KeyboardInterrupt(),
    Custom(),
]
IDS = [type(error).__name__ + "-" * (not error.args) for error in RAISED]


@contextmanager
def handled(
    error: BaseException, make: str = "function", asked: ScriptedServer | None = None
) -> Iterator[None]:
    """SIGUSR1's handler raises ``error``, and it comes as soon as this thread has begun to wait.

    :param asked: the server that must have the request before.
    """

    def handler(number: int, frame: object) -> None:
        raise error

    def forgetful(number: int, frame: object) -> None:
        del frame
        raise error

    def hidden(number: int, frame: object) -> None:
        del frame
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise error

    class Callables:
        def __call__(self, number: int, frame: object) -> None:
            raise error

        def method(self, number: int, frame: object) -> None:
            raise error

    makes: dict[str, Callable[..., object]] = {
        "function": handler,
        "forgetful": forgetful,
        "hidden": hidden,
        "lambda": lambda *both: handler(*both[:2]),
        "partial": functools.partial(forgetful),
        "object": Callables(),
        "method": Callables().method,
    }
    before = signal.signal(signal.SIGUSR1, makes[make])
    main = threading.get_native_id()
    over = threading.Event()

    def send() -> None:
        quiet = 0
        while quiet < 5 and not over.wait(0.005):
            stat = Path(f"/proc/self/task/{main}/stat").read_text().rpartition(")")[2].split()
            waits = stat[0] == "S" and (asked is None or len(asked.requests) > 0)
            quiet = quiet + 1 if waits else 0
        if not over.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    try:
        sender.start()
        yield
    finally:
        over.set()
        sender.join(SOON)
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def reaches_at_once(
    error: BaseException, make: str = "function", asked: ScriptedServer | None = None
) -> Iterator[None]:
    begin = time.monotonic()
    with pytest.raises(type(error)) as caught, handled(error, make, asked):
        yield
    assert caught.value is error
    assert error.__cause__ is None
    assert time.monotonic() - begin < AT_ONCE + HELD_UP
    error.__traceback__ = error.__context__ = None


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="any", messages=[], timeout=PATIENCE, **arguments)


def patient(url: str, **arguments: Any) -> Client:
    return Client(api_key="test", base_url=url, max_retries=3, **arguments)


@pytest.fixture(params=[False, True], ids=["own", "given"])
def session(request: pytest.FixtureRequest) -> Iterator[requests.Session | None]:
    if not request.param:
        yield None
        return
    with requests.Session() as given:
        yield given


@pytest.mark.parametrize("error", RAISED, ids=IDS)
class TestEachPhase:
    @pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux")
    def test_connecting(self, error: BaseException) -> None:
        with blackhole_url() as url, patient(url) as client, reaches_at_once(error):
            ask(client, stream=True)

    # Until Python 3.12, ``ssl`` leaves a socket to the garbage after what is not an Exception.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_tls(self, error: BaseException) -> None:
        with ScriptedServer() as server:
            server.on_connect([Hang()])
            url = server.base_url.replace("http:", "https:")
            with patient(url) as client, reaches_at_once(error):
                ask(client, stream=True)

    def test_sending(self, error: BaseException) -> None:
        with ScriptedServer(receive_buffer=4096) as server, patient(server.base_url) as client:
            server.on_connect([Receive(1000), Hang()])
            with reaches_at_once(error):
                ask(client, stream=True, extra_body={"x": "y" * 20_000_000})

    @pytest.mark.parametrize("stream", [False, True])
    def test_headers(
        self,
        server: ScriptedServer,
        error: BaseException,
        stream: bool,
        session: requests.Session | None,
    ) -> None:
        server.always([Hang()])
        with (
            patient(server.base_url, session=session) as client,
            reaches_at_once(error, asked=server),
        ):
            ask(client, stream=stream)
        assert len(server.requests) == 1

    def test_body(
        self, server: ScriptedServer, error: BaseException, session: requests.Session | None
    ) -> None:
        server.always([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Hang()])
        with (
            patient(server.base_url, session=session) as client,
            reaches_at_once(error, asked=server),
        ):
            ask(client)
        assert len(server.requests) == 1

    def test_an_errors_body(self, server: ScriptedServer, error: BaseException) -> None:
        server.always([b"HTTP/1.1 500 Later\r\nContent-Length: 100\r\n\r\n{", Hang()])
        with patient(server.base_url) as client, reaches_at_once(error, asked=server):
            ask(client)
        assert len(server.requests) == 1

    def test_backoff(self, server: ScriptedServer, error: BaseException) -> None:
        server.always(error_answer(503, "later", headers={"Retry-After": "30"}))
        with patient(server.base_url) as client, reaches_at_once(error, asked=server):
            ask(client)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("wait", ["get", "loop", "text", "result", "exception", "put"])
    def test_waits_for_a_stream(
        self, server: ScriptedServer, client: Client, error: BaseException, wait: str
    ) -> None:
        server.play(answer([WHOLE[0], Hang()]))
        with ask(client, stream=True, maxsize=1) as events:
            events.get(timeout=SOON)
            waits: dict[str, Callable[[], object]] = {
                "get": events.get,
                "loop": lambda: list(events),
                "text": lambda: list(events.text()),
                "result": events.stream.result,
                "exception": events.stream.exception,
                "put": lambda: [events.put(1), events.put(2)],
            }
            with reaches_at_once(error):
                waits[wait]()


@pytest.mark.parametrize("make", ["forgetful", "lambda", "partial", "object", "method"])
def test_a_handler_of_any_kind(server: ScriptedServer, make: str) -> None:
    server.always([Hang()])
    with patient(server.base_url) as client, reaches_at_once(TimeoutError("mine"), make):
        ask(client, stream=True)


def test_a_handler_that_has_reset_itself(server: ScriptedServer) -> None:
    server.always([Hang()])
    error = TimeoutError("mine")

    def handler(number: int, frame: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with patient(server.base_url) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(TimeoutError) as caught:
                ask(client, stream=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value is error
    assert len(server.requests) == 1


def test_a_stream_goes_on_after_a_timeout_of_the_users(
    server: ScriptedServer, client: Client
) -> None:
    go = threading.Event()
    server.play(answer([WHOLE[0], Wait(go), *WHOLE[1:]]))
    events = ask(client, stream=True)
    events.get(timeout=SOON)
    with reaches_at_once(TimeoutError("mine")):
        events.get()
    go.set()
    assert "".join(events.text()) == "one two three"


def test_a_handler_that_returns_disturbs_nothing(server: ScriptedServer) -> None:
    go = threading.Event()
    server.play([Wait(go), *answer(WHOLE)])
    calls: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: calls.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    threading.Timer(0.3, go.set).start()
    try:
        with patient(server.base_url) as client:
            assert "".join(ask(client, stream=True).text()) == "one two three"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(calls) > 3
    assert len(server.requests) == 1


# What is the network's stays the network's -------------------------------------------------------


def test_our_own_deadlines_pass_while_signals_come(server: ScriptedServer) -> None:
    server.always([Hang()])
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with Client(api_key="test", base_url=server.base_url, max_retries=0) as client:
            begin = time.monotonic()
            with pytest.raises(APITimeoutError, match=r"0\.4 s"):
                client.create_chat_completion(
                    model="any", messages=[], stream=True, timeout=Timeout(idle=0.4)
                )
            assert 0.3 < time.monotonic() - begin < 1 + HELD_UP
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_call_within_a_handler_fails_as_anywhere(server: ScriptedServer) -> None:
    """The handler's frame is around it, not in it."""
    seen: list[BaseException] = []

    def handler(number: int, frame: object) -> None:
        with Client(api_key="k", base_url=f"{closed.base_url}", max_retries=0) as client:
            try:
                ask(client)
            except APIConnectionError as error:
                seen.append(error)

    with ScriptedServer() as closed:
        pass
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(seen) == 1


def test_a_hook_of_a_session_that_raises(server: ScriptedServer) -> None:
    """It is neither "no response" nor tried again."""
    server.always(answer(WHOLE))
    for error in (ValueError("the hook's"), FileNotFoundError("the hook's"), TimeoutError("its")):

        def hook(response: requests.Response, error: Exception = error, **_: object) -> None:
            raise error

        with requests.Session() as session, patient(server.base_url, session=session) as client:
            session.hooks["response"].append(hook)
            with pytest.raises(type(error)) as caught:
                ask(client, stream=True)
            assert caught.value is error
    assert len(server.requests) == 3


def test_a_broken_connection_of_a_given_session_is_an_error_of_ours(
    server: ScriptedServer,
) -> None:
    server.always([Fin()])
    with requests.Session() as session:
        client = Client(api_key="k", base_url=server.base_url, session=session, max_retries=1)
        with pytest.raises(APIConnectionError):
            ask(client)
    assert len(server.requests) == 2


def test_an_answer_that_breaks_off_is_an_error_of_ours(
    server: ScriptedServer, session: requests.Session | None
) -> None:
    server.always([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Fin()])
    with (
        Client(api_key="k", base_url=server.base_url, session=session) as client,
        pytest.raises(StreamInterruptedError),
    ):
        ask(client)


@pytest.mark.parametrize(
    "wait",
    [
        "chat().get()",
        "chat().get(timeout=60)",
        "for event in chat(): pass",
        "list(chat().text())",
        "list(chat().text(every=60))",
        "list(chat().partials())",
        "list(map(chat(maxsize=1).put, [1, 2]))",
        "chat().stream.result()",
        "chat().stream.exception(60)",
    ],
)
def test_a_traceback_that_is_kept_does_not_keep_the_stream(
    server: ScriptedServer, client: Client, wait: str
) -> None:
    """As an interactive session keeps it: an interrupt ends the stream that nobody else has."""
    server.play(answer([Hang()]))
    names = {"chat": functools.partial(ask, client, stream=True)}
    with pytest.raises(KeyboardInterrupt) as kept, handled(KeyboardInterrupt()):
        exec(wait, names)  # noqa: S102 - as a session does, with no frame of a function around it
    assert server.connections[0].client_closed.wait(SOON)
    del kept


# Until Python 3.12, ``ssl`` leaves a socket to the garbage after what is not an Exception.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux")
def test_a_handler_that_hides_itself_in_the_handshake() -> None:
    with ScriptedServer() as server:
        server.on_connect(*[[Hang()]] * 4)
        url = server.base_url.replace("http:", "https:")
        with patient(url) as client, reaches_at_once(TimeoutError(), "hidden"):
            ask(client, stream=True)
        assert len(server.connections) == 1


def test_our_own_time_passes_in_the_handshake() -> None:
    with ScriptedServer() as server:
        server.on_connect([Hang()])
        url = server.base_url.replace("http:", "https:")
        with (
            Client(api_key="k", base_url=url, max_retries=0) as client,
            pytest.raises(APITimeoutError, match=r"0\.2 s"),
        ):
            client.create_completion(
                model="any", prompt="", stream=True, timeout=Timeout(connect=0.2)
            )
