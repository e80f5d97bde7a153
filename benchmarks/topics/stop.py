"""The Stop button: how long until the consumer, the reader and the server know."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import suppress

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant
from benchmarks.events import Answer
from benchmarks.report import Findings, Table

NAMES = ("Ours", "ThreadAndQueue", "OpenAI")

NOTE = """\
Milliseconds from the call of ``close()``, on another thread than the consumer's, while the server
is silent; its next event would come after {silence:.0f} s. *Call*: until it returned. *Consumer*:
until its loop was over. *Reader*: until no thread of the stream was left. *Server*: until it saw
the connection close, and could stop generating. Medians of {rounds} rounds."""


def measure(contestant: Contestant, model: str) -> dict[str, int]:
    """When close() was called, and what happened when; nanoseconds of the monotonic clock."""
    threading.excepthook = lambda _: None  # what a closed response makes of a reader by hand
    before = set(threading.enumerate())
    events, stop = contestant.start(model)
    readers = set(threading.enumerate()) - before
    begun = threading.Event()
    ended = 0

    def consume() -> None:
        nonlocal ended
        with suppress(Exception):
            for _ in events:
                begun.set()
        ended = time.monotonic_ns()

    consumer = threading.Thread(target=consume)
    consumer.start()
    begun.wait()
    time.sleep(0.1)  # until all of them wait for the network, which nothing tells
    called = time.monotonic_ns()
    stop()
    returned = time.monotonic_ns()
    for reader in readers:
        reader.join()
    gone = time.monotonic_ns()
    consumer.join()
    if not readers:
        gone = ended  # the consumer reads for itself
    return {"called": called, "call": returned, "consumer": ended, "reader": gone}


def run(arena: Arena) -> Findings:
    silence, rounds = arena.either((1.0, 3), (2.0, 7))
    took: dict[str, dict[str, list[float]]] = {}
    tell("the stop")
    with arena.workers(NAMES) as workers:
        titles = {worker.name: worker.title for worker in workers}
        for n in range(rounds):
            for worker in workers:
                answer = Answer(events=2, pace=silence, name=f"{worker.name}-{n}")
                got = worker.measure("stop", model=answer.model)
                called = got.pop("called")
                got["server"] = arena.server.closed(answer.name)
                for who, when in got.items():
                    ms = (when - called) / 1e6
                    took.setdefault(worker.name, {}).setdefault(who, []).append(ms)
    medians = {
        name: {who: statistics.median(ms) for who, ms in all_.items()}
        for name, all_ in took.items()
    }
    parties = ("call", "consumer", "reader", "server")
    rows = [
        [title, *(f"{medians[name][who]:.2f}" for who in parties)] for name, title in titles.items()
    ]
    return Findings(
        tables=[
            Table(
                "The stop",
                NOTE.format(silence=silence, rounds=rounds),
                ["", *(f"{who}, ms" for who in parties)],
                rows,
            )
        ],
        drawn={
            "stop": {titles[name]: [all_[who] for who in parties] for name, all_ in medians.items()}
        },
    )
