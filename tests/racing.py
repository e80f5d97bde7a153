"""Many rounds of one race, and what is known at their end."""

from __future__ import annotations

import gc
import os
import random
import ssl
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from machine import HELD_UP

from openai_stream import Client, Stream
from openai_stream.testing import ScriptedServer

#: How many rounds; few unless the environment says so, for the ordinary tests run them too.
RUNS = int(os.environ.get("RUNS", "30"))
SOON = 10.0  # seconds; what takes longer hangs
#: A line for each figure, for the end of the run.
FIGURES: list[str] = []


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
    """Where a race is run: a server and a client."""

    def __init__(self, name: str, server: ScriptedServer, client: Client) -> None:
        self.server = server
        self.client = client
        self._name = name

    def run(self, one_round: Round, median: float | None = None, slowest: float = SOON) -> None:
        """Run it so many times; no round may leave a reader behind.

        :param median: the most that each figure's median may be, in seconds.
        :param slowest: the most that each figure's slowest may be; in seconds.
        """
        seconds: dict[str, list[float]] = {}
        for number in range(RUNS):
            moments, chance = Moments(), random.Random(number)  # noqa: S311 - to be run again
            usual = sys.getswitchinterval()
            try:
                sys.setswitchinterval(chance.choice([usual, 1e-5]))  # how often threads take turns
                one_round(chance, moments)
                wait_for_no_readers()
            except BaseException:
                print(f"{self._name}: round {number} of {RUNS}", file=sys.stderr)
                raise
            finally:
                sys.setswitchinterval(usual)
            for what, value in moments.seconds.items():
                seconds.setdefault(what, []).append(value * 1000)
            self.server.forget()
        for what, values in seconds.items():
            figures = statistics.median(values), max(values)
            name = f"{self._name}: {what}"
            FIGURES.append(f"{name:72}{len(values):6}{figures[0]:9.2f}{figures[1]:9.2f}")
            most = SOON if median is None else median * max(1.0, float(HELD_UP))
            assert figures[0] <= most * 1000, FIGURES[-1]
            assert figures[1] <= slowest * max(1.0, float(HELD_UP)) * 1000, FIGURES[-1]


class Reading:
    """Whoever reads a stream, on a thread of its own or not, until that is done with the stream."""

    def __init__(self, stream: Stream[Any, Any]) -> None:
        self._over = threading.Event()
        stream._core.call_when_over(self._over.set)

    def join(self, seconds: float) -> None:
        self._over.wait(seconds)

    def is_alive(self) -> bool:
        return not self._over.is_set()


@contextmanager
def a_track(name: str, context: ssl.SSLContext | None = None) -> Iterator[Track]:
    """A track; in the end no thread and no descriptor may be left.

    :param context: run it over TLS, with this at the server.
    """
    gc.collect()
    before = threading.active_count(), _descriptors()
    with (
        ScriptedServer(ssl_context=context) as server,
        Client(api_key="test", base_url=server.base_url, max_retries=0) as client,
    ):
        yield Track(name, server, client)
    gc.collect()
    assert (threading.active_count(), _descriptors()) == before


def wait_for_no_readers() -> None:
    """Until no thread of a stream is left."""
    deadline = time.monotonic() + SOON
    while readers := [one for one in threading.enumerate() if "openai-stream-" in one.name]:
        readers[0].join(max(0.0, deadline - time.monotonic()))
        assert time.monotonic() < deadline, f"left behind: {readers}"


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
