"""What every test gets: a time limit, a clean environment, and a look at what it left behind.

Markers: ``limit(seconds)`` for a test that may take longer, ``leaves(reason)`` for one that may
leave a thread or a socket, ``own_session(reason)`` and ``own_thread(reason)`` for one that is not
run in one of the other ways (``ways``).
Fixtures: ``server``, ``client`` and ``chat``, beside those that the library has for its users.
Helpers for single rooms of the library belong to their own test modules.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sharing
from helpers import Chat
from machine import EXAMPLES, HELD_UP
from streaming import BODY
from ways import MARKERS, READERS, read_in, ways_of

import _openai_stream_pytest as plugin
from openai_stream import Client
from openai_stream.testing import ScriptedServer

# A project of its own, for an environment of its own.
collect_ignore = ["separate_project"]

#: Whose processes are measured: others run nothing besides, and it is a third of what they cost.
_MEASURED = {"cli", "real", "test_exit", "test_green_threads", "test_local"}
_LIMIT = 60.0
_GRACE = 2.0
_DESCRIPTORS = Path("/proc/self/fd")
_PREFIXES = ("OPENAI_", "AZURE_OPENAI_")
_VARIABLES = {
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NETRC",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
}

_stderr = pytest.StashKey[int]()
_failed = pytest.StashKey[bool]()


hypothesis.settings.register_profile("ours", max_examples=EXAMPLES)
hypothesis.settings.load_profile("ours")


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control has what it starts in the background ignore SIGINT, and so do all
    # children: tests that interrupt one would wait for its end forever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Where the library is not installed, pytest does not find it by itself.
    if not config.pluginmanager.has_plugin("openai_stream"):
        config.pluginmanager.register(plugin, "openai_stream")
    config.addinivalue_line("markers", "limit(seconds): the time that the test may take")
    for name, said in MARKERS.items():
        config.addinivalue_line("markers", f"{name}(reason): {said}")
    config.addinivalue_line("markers", "leaves(reason): may leave a thread or a socket behind")
    # While a test runs, descriptor 2 is pytest's own, and what it holds is lost on a hard exit.
    config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: sharing.in_order(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return sharing.scheduler(config, log)


def pytest_collection_finish() -> None:
    """Thousands of tests are objects that live to the end: no collection has to walk them."""
    gc.collect()
    gc.freeze()


# Time limit ----------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that hangs, its fixtures included, ends the run with all threads' tracebacks."""
    marker = item.get_closest_marker("limit")
    seconds = _LIMIT if marker is None else float(marker.args[0])
    seconds *= float(HELD_UP)
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_enter_pdb() -> None:
    faulthandler.cancel_dump_traceback_later()


# What a test leaves behind -------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket behind.

    One that has failed by itself is spared: its traceback holds on to whatever it was using.
    """
    marker = request.node.get_closest_marker("leaves")
    if marker is not None:
        if not (marker.args and isinstance(marker.args[0], str)):
            pytest.fail("the marker 'leaves' needs a reason", pytrace=False)
        yield
        return
    threads, sockets = _threads(), _sockets()
    yield
    if not request.node.stash.get(_failed, False):
        left = _left_behind(threads, sockets)
        if left:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def _left_behind(threads: set[threading.Thread], sockets: set[str]) -> list[str]:
    """What is there and was not before, after some time to end by itself."""
    if not (_threads() - threads or _sockets() - sockets):
        return []
    gc.collect()
    deadline = time.monotonic() + _GRACE * HELD_UP
    for thread in _threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    while _sockets() - sockets and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    return [f"thread {thread.name!r}" for thread in _threads() - threads] + [
        f"socket {_addresses(name)}" for name in sorted(_sockets() - sockets)
    ]


def _threads() -> set[threading.Thread]:
    # A dummy stands for a thread that was not started by Python, and seems alive for ever.
    return {
        thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)
    }


def _links() -> dict[str, str]:
    links = {}
    for descriptor in os.listdir(_DESCRIPTORS) if _DESCRIPTORS.exists() else []:
        try:
            links[descriptor] = os.readlink(_DESCRIPTORS / descriptor)
        except OSError:  # closed since, as the one is that the listing itself took
            continue
    return links


def _sockets() -> set[str]:
    return {link for link in _links().values() if link.startswith("socket:")}


def _addresses(link: str) -> str:
    """The socket's two ends, for the message."""
    for descriptor, other in _links().items():
        if other == link:
            with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as copy:
                here = copy.getsockname()
                with suppress(OSError):
                    return f"{link} at {here} to {copy.getpeername()}"
                return f"{link} at {here}"
    return link


# Fixtures ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not _MEASURED.intersection([request.path.parent.name, request.path.stem]):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name.upper() in _VARIABLES:
            monkeypatch.delenv(name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of behaviour once for each way in which streams are read."""
    ways = ways_of(metafunc)
    if ways != ["own"] and "_way" not in _parametrized(metafunc):
        metafunc.parametrize("_way", ways, indirect=True)


def _parametrized(metafunc: pytest.Metafunc) -> set[str]:
    """What the test itself has parameters for."""
    names: set[str] = set()
    for marker in metafunc.definition.iter_markers("parametrize"):
        names.update([marker.args[0]] if isinstance(marker.args[0], str) else marker.args[0])
    return names


@pytest.fixture(autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    way = getattr(request, "param", "own")
    if READERS and way == "own" and request.node.get_closest_marker("own_thread") is None:
        way = "readers"
    with read_in(way, monkeypatch):
        yield


@pytest.fixture
def server(stream_server: ScriptedServer) -> ScriptedServer:
    """The plugin's, by the name that it has in these tests."""
    return stream_server


@pytest.fixture
def client(stream_client: Client) -> Client:
    """The same of its client."""
    return stream_client


@pytest.fixture
def chat(client: Client) -> Chat:
    """Begins a stream of a short question, with more arguments for the call."""

    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream
