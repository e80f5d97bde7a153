"""Many rounds of one race, and what is known at their end.

``RUNS`` in the environment says how many rounds; few without it, so that the ordinary tests run
them too. The figures are shown at the end of the run, or with ``-s`` as they come.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openai_stream import Client
from openai_stream.testing import ScriptedServer

RUNS = int(os.environ.get("RUNS", "30"))
SOON = 10.0  # seconds; what takes longer hangs

_figures: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.limit(60 + 0.3 * RUNS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures and "RUNS" in os.environ:
        terminalreporter.section("races: milliseconds to the outcome")
        terminalreporter.write_line(f"{'':58}{'runs':>6}{'median':>9}{'slowest':>9}")
        for line in _figures:
            terminalreporter.write_line(line)


class Moments:
    """When the parts of a round's outcome came, in seconds after it was brought about."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self.seconds: dict[str, float] = {}

    def begin(self) -> None:
        """Now it is brought about."""
        self._begin = time.monotonic()

    def note(self, what: str, at: float | None = None) -> None:
        """It came now, or when it is said to have come."""
        seconds = (time.monotonic() if at is None else at) - self._begin
        self.seconds[what] = max(0.0, seconds)


#: A round: gets its own source of chance, and notes when the outcome came.
Round = Callable[[random.Random, Moments], None]


class Track:
    """Where a race is run: a server, a client, and a look at what they left behind."""

    def __init__(self, name: str, server: ScriptedServer, client: Client) -> None:
        self.server = server
        self.client = client
        self._name = name

    def run(self, one_round: Round) -> None:
        """Run it so many times; each round must leave no reader behind."""
        seconds: dict[str, list[float]] = {}
        for number in range(RUNS):
            moments = Moments()
            try:
                one_round(random.Random(number), moments)
                wait_for_no_readers()
            except BaseException as error:
                # Only Python 3.11 has notes.
                raise AssertionError(f"round {number}: {error!r}") from error
            for what, value in moments.seconds.items():
                seconds.setdefault(what, []).append(value * 1000)
            self.server.forget()
        for what, values in seconds.items():
            middle, slowest = statistics.median(values), max(values)
            name = f"{self._name}: {what}"
            _figures.append(f"{name:58}{len(values):6}{middle:9.2f}{slowest:9.2f}")
            print(_figures[-1])


def wait_for_no_readers() -> None:
    """Until no thread of a stream is left."""
    deadline = time.monotonic() + SOON
    while readers := [one for one in threading.enumerate() if "openai-stream-" in one.name]:
        readers[0].join(max(0.0, deadline - time.monotonic()))
        assert time.monotonic() < deadline, f"left behind: {readers}"


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


@pytest.fixture
def track(request: pytest.FixtureRequest) -> Iterator[Track]:
    name = request.node.name.removeprefix("test_").replace("_", " ")
    gc.collect()
    threads, descriptors = threading.active_count(), _descriptors()
    with (
        ScriptedServer() as server,
        Client(api_key="test", base_url=server.base_url, max_retries=0) as client,
    ):
        yield Track(name, server, client)
    gc.collect()
    assert (threading.active_count(), _descriptors()) == (threads, descriptors)
