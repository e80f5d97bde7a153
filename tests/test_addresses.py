"""Names with many addresses, of which some do not answer; what is set on the sockets.

All on this machine: an address is a listening socket on loopback, and one whose queue is full takes
no SYN, as a route that swallows everything.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import SOON
from machine import HELD_UP

from openai_stream import APIConnectionError, APITimeoutError, Client, EventQueue, Timeout
from openai_stream.testing import ScriptedServer, answer, chat_chunks

CHUNKS = chat_chunks("Hello")


class Swallowing:
    """An address that answers no SYN: its queue is full."""

    def __init__(self, host: str, port: int = 0) -> None:
        self._sockets = contextlib.ExitStack()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = self._sockets.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(0)
        self.port = listener.getsockname()[1]
        for _ in range(4):
            filler = self._sockets.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex((host, self.port))

    def close(self) -> None:
        self._sockets.close()


@pytest.fixture
def swallowing() -> Iterator[Callable[..., Swallowing]]:
    with contextlib.ExitStack() as made:

        def make(host: str, port: int = 0) -> Swallowing:
            one = Swallowing(host, port)
            made.callback(one.close)
            return one

        yield make


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        made.always(answer(CHUNKS))
        yield made


def name(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """``many.test`` has these addresses, and only numbers are looked up otherwise."""
    look_up = socket.getaddrinfo

    def found(host: Any, port: Any, family: int = 0, *rest: Any, **more: Any) -> Any:
        if host != "many.test":
            return look_up(host, port, family, *rest, **more)
        return [one for each in hosts for one in look_up(each, port, 0, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def client_of(port: int, **arguments: Any) -> Client:
    return Client(
        **{"api_key": "k", "base_url": f"http://many.test:{port}", "max_retries": 0, **arguments}
    )


def stream(client: Client, **arguments: Any) -> EventQueue[Any]:
    arguments = {"model": "m", "messages": [], **arguments}
    events: EventQueue[Any] = client.create_chat_completion(**arguments, stream=True)
    return events


def seconds_of(client: Client) -> float:
    start = time.monotonic()
    assert len(list(stream(client))) == len(CHUNKS)
    return time.monotonic() - start


BROKEN = {
    "the first of one family": ["127.0.0.9", "127.0.0.1"],
    "all of IPv6": ["::1", "127.0.0.1"],
    "all but the last": ["::1", "127.0.0.9", "127.0.0.10", "127.0.0.1"],
    "one that is refused, one that is swallowed": ["127.0.0.11", "127.0.0.9", "127.0.0.1"],
    "the last": ["127.0.0.1", "127.0.0.9"],
}


@pytest.mark.parametrize("hosts", BROKEN.values(), ids=BROKEN)
def test_connects_though_an_address_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
    server: ScriptedServer,
    swallowing: Callable[..., Swallowing],
    hosts: list[str],
) -> None:
    for host in hosts:
        if host not in ("127.0.0.1", "127.0.0.11"):
            swallowing(host, server.port)
    name(monkeypatch, *hosts)
    with client_of(server.port) as client:
        assert seconds_of(client) < 0.3 * len(hosts) + HELD_UP
    assert len(server.connections) == 1


def test_one_family_may_be_forced(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    """As programs do where IPv6 is broken: they replace a function of urllib3's."""
    asked: list[int] = []
    look_up = socket.getaddrinfo

    def found(host: Any, port: Any, family: int = 0, *rest: Any, **more: Any) -> Any:
        asked.append(family)
        return look_up("127.0.0.1", port, family, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr("urllib3.util.connection.allowed_gai_family", lambda: socket.AF_INET)
    with client_of(server.port) as client:
        seconds_of(client)
    assert asked == [socket.AF_INET]


def test_shares_a_short_time_among_all_addresses(
    monkeypatch: pytest.MonkeyPatch,
    server: ScriptedServer,
    swallowing: Callable[..., Swallowing],
) -> None:
    hosts = ["127.0.0.9", "127.0.0.10", "127.0.0.12", "127.0.0.1"]
    for host in hosts[:-1]:
        swallowing(host, server.port)
    name(monkeypatch, *hosts)
    with client_of(server.port, timeout=Timeout(connect=0.2 + HELD_UP / 5)) as client:
        assert seconds_of(client) < 0.2 + 2 * HELD_UP


def test_takes_the_first_address_if_it_answers(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    with ScriptedServer() as other:
        name(monkeypatch, "127.0.0.1", "127.0.0.2")
        with client_of(server.port) as client:
            assert len(list(stream(client))) == len(CHUNKS)
        assert other.connections == []
    assert len(server.connections) == 1


def test_says_so_if_no_address_answers(
    monkeypatch: pytest.MonkeyPatch, swallowing: Callable[..., Swallowing]
) -> None:
    port = swallowing("127.0.0.9").port
    swallowing("127.0.0.10", port)
    name(monkeypatch, "127.0.0.9", "127.0.0.10")
    with client_of(port, timeout=Timeout(connect=0.4)) as client:
        start = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"no connection within 0\.4 s"):
            stream(client)
        assert 0.3 < time.monotonic() - start < 0.9 + HELD_UP


def test_says_so_if_each_address_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        name(monkeypatch, "127.0.0.1", "127.0.0.2", "::1")
        with client_of(port) as client:
            start = time.monotonic()
            with pytest.raises(APIConnectionError, match="refused"):
                stream(client)
            assert time.monotonic() - start < 0.5 + HELD_UP


def test_close_wakes_all_that_connect(
    monkeypatch: pytest.MonkeyPatch, swallowing: Callable[..., Swallowing]
) -> None:
    port = swallowing("127.0.0.9").port
    swallowing("127.0.0.10", port)
    name(monkeypatch, "127.0.0.9", "127.0.0.10")
    with client_of(port, timeout=Timeout(connect=60)) as client:
        for after in (0.0, 0.05, 0.4):  # with none, one and two that connect
            events = stream(client, nowait=True)
            time.sleep(after)
            reader = next(
                one for one in threading.enumerate() if one.name.startswith("openai-stream-")
            )
            events.close()
            reader.join(SOON)
            assert not reader.is_alive()


def test_sockets_ask_whether_the_other_side_is_there(
    server: ScriptedServer,
) -> None:
    with Client("k", server.base_url) as client:
        assert len(list(stream(client))) == len(CHUNKS)
        (session,) = client._own_sessions.values()
        pools: Any = session.adapters["http://"].poolmanager.pools  # type: ignore[attr-defined]
        sock = pools[next(iter(pools.keys()))].pool.get(block=False).sock
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
            assert idle is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, idle) <= 60
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
