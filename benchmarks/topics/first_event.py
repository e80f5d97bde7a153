"""From the call to the first event, beyond what the server took."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import ONE_BY_ONE, Contestant
from benchmarks.events import Answer, read_stamp
from benchmarks.report import Findings, Table

ANSWER = Answer(events=3, pace=0.005, delay=0.05)

NOTE = """\
Milliseconds from the call to the first event, less the 50 ms that the server thinks: the first call
of a process, which connects and pays for what a library puts off until then, and a repeated one on
the connection that was kept. Making the client is not counted. Medians of {rounds} processes, and
of {calls} calls in each."""


def measure(contestant: Contestant, model: str) -> float:
    """How long the first event took beyond what the server took, in milliseconds."""
    taken: list[tuple[int, Any]] = []
    now = time.monotonic_ns
    start = now()
    contestant.read(model, lambda event: taken.append((now(), event)))
    when, event = taken[0]
    _, received, sent = read_stamp(contestant.text(event))
    return ((when - start) - (sent - received)) / 1e6


def run(arena: Arena) -> Findings:
    rounds, calls = arena.either((1, 8), (5, 12))
    first: dict[str, list[float]] = {}
    repeated: dict[str, list[float]] = {}
    for n in range(rounds):
        tell(f"first event, process {n + 1} of {rounds}")
        with arena.workers(ONE_BY_ONE) as workers:
            titles = {worker.name: worker.title for worker in workers}
            for worker in workers:
                took = worker.measure("first_event", model=ANSWER.model)
                first.setdefault(worker.name, []).append(took)
            for _ in range(calls):
                for worker in workers:
                    took = worker.measure("first_event", model=ANSWER.model)
                    repeated.setdefault(worker.name, []).append(took)

    medians = {
        name: [statistics.median(first[name]), statistics.median(repeated[name])] for name in titles
    }
    rows = [
        [
            title,
            *(
                text
                for ms, ours in zip(medians[name], medians["Ours"], strict=True)
                for text in (f"{ms:.2f}", f"{ours / ms:.2f}")
            ),
        ]
        for name, title in titles.items()
    ]
    return Findings(
        tables=[
            Table(
                "Time to the first event",
                NOTE.format(rounds=rounds, calls=calls),
                ["", "first, ms", "ours to it", "repeated, ms", "ours to it"],
                rows,
            )
        ],
        drawn={"first_event": {titles[name]: pair for name, pair in medians.items()}},
    )
