"""A contestant's process: one that falls behind is ended, and the next measurement is whole."""

from __future__ import annotations

import re
import sys

import pytest

from benchmarks.events import Answer
from benchmarks.server import ServerProcess
from benchmarks.topics.paced import Paced
from benchmarks.worker import TooSlow, Worker

TITLE = "requests + sseclient + json, threads and a queue"


def test_one_that_is_too_slow_is_ended_and_measured_anew() -> None:
    slow = Answer(events=4, pace=60.0, gate="slow", together=1)
    soon = Answer(events=4, pace=0.01, gate="soon", together=1)
    with (
        ServerProcess() as server,
        Worker(sys.executable, "ThreadsAndQueue", server.base_url) as worker,
    ):
        worker.answer()  # it is ready
        with pytest.raises(TooSlow, match=re.escape(f"{TITLE}: not done after 1 s")):
            worker.measure("paced", within=1.0, model=slow.model, streams=1)
        got = Paced(**worker.measure("paced", within=50.0, model=soon.model, streams=1))
    assert got.lost == 0
