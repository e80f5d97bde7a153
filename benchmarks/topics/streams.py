"""Many streams at once."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant
from benchmarks.events import Answer, read_stamp
from benchmarks.report import Findings, Table, Target

NAMES = ("OursSharedQueue", "OursCalledBack", "SSEClient", "OpenAI")
STREAMS = (1, 10, 100, 1_000)
ANSWER = Answer(events=40, pace=0.25)

NOTE = """\
{events} events a stream, one each 250 ms, all streams begun at once: microseconds of CPU per event,
connecting included, and what the process grew by at most, per stream. The others have a thread a
stream; ours too, each with a callback, or all into one queue that one thread reads. No event may be
lost, doubled or out of order: ``lost`` counts those."""


def measure(contestant: Contestant, model: str, streams: int) -> dict[str, float]:
    """CPU in seconds, the growth in bytes, and how many events did not come as they should."""
    answer = Answer.of(model)
    expected = [0] * streams
    wrong = 0

    def take(stream: int, event: Any) -> None:
        nonlocal wrong
        text = contestant.text(event)
        if not text:
            return
        if read_stamp(text)[0] == expected[stream]:
            expected[stream] += 1
        else:
            wrong += 1

    contestant.drain(Answer(events=10).model)
    gc.collect()
    with _Growth() as growth:
        start = time.process_time()
        contestant.read_many(model, streams, take)
        cpu = time.process_time() - start
    missing = streams * answer.events - sum(expected)
    return {"cpu": cpu, "bytes": growth.most, "lost": missing + wrong}


class _Growth:
    """Looks now and then at how much memory the process has, while it is entered."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Growth:
        self._before = resident()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            self.most = max(self.most, resident() - self._before)


def resident() -> int:
    """The bytes of memory that the process has."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:  # macOS: the most that it ever had is as good, while it grows
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(arena: Arena) -> Findings:
    answer = arena.either(Answer(events=12, pace=ANSWER.pace), ANSWER)
    costs: dict[str, dict[int, dict[str, float]]] = {name: {} for name in NAMES}
    numbers = arena.either((1, 100, 1_000), STREAMS)
    for streams in numbers:
        tell(f"{streams:,} streams at once")
        # A process that had many streams keeps their memory: each number has fresh ones.
        with arena.workers(NAMES) as workers:
            titles = {worker.name: worker.title for worker in workers}
            turns: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
            for _ in range(arena.either(1, 2) if streams == numbers[-1] else 1):
                for worker in workers:
                    got = worker.measure("streams", model=answer.model, streams=streams)
                    turns[worker.name].append(got)
        for name, got in turns.items():
            costs[name][streams] = {
                "cpu": min(turn["cpu"] for turn in got) / (streams * answer.events) * 1e6,
                "kilobytes": max(turn["bytes"] for turn in got) / streams / 1e3,
                "lost": sum(turn["lost"] for turn in got),
            }

    columns = ["", *(f"µs, {n:,}" for n in numbers), *(f"KB, {n:,}" for n in numbers[-2:]), "lost"]
    rows = [
        [
            title,
            *(f"{cost['cpu']:.0f}" for cost in costs[name].values()),
            *(f"{costs[name][n]['kilobytes']:.0f}" for n in numbers[-2:]),
            f"{sum(cost['lost'] for cost in costs[name].values()):.0f}",
        ]
        for name, title in titles.items()
    ]
    most = numbers[-1]
    targets = []
    for what, name in (("one queue", "OursSharedQueue"), ("callbacks", "OursCalledBack")):
        cost, theirs = costs[name][most], costs["OpenAI"][most]
        label = f"{most:,} streams, {what}"
        targets += [
            Target(f"{label}: events lost", "", 0, cost["lost"], "{:.0f}"),
            Target(f"{label}: CPU per event", "openai", 1 / 3, cost["cpu"] / theirs["cpu"]),
            Target(f"{label}: memory a stream", "", 60, cost["kilobytes"], "{:.0f} KB"),
        ]
    return Findings(
        tables=[Table("Streams at once", NOTE.format(events=answer.events), columns, rows)],
        targets=targets,
        drawn={
            "streams": {
                title: [numbers, [cost["cpu"] for cost in costs[name].values()]]
                for name, title in titles.items()
            }
        },
    )
