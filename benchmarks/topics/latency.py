"""From the server's send to the caller's hand, on a paced stream."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import ONE_BY_ONE, Contestant
from benchmarks.events import Answer, read_stamp
from benchmarks.report import Findings, Table, Target

PACE = 0.005

NOTE = """\
Microseconds from the server's ``send`` of an event to the caller who has it, {events} events a
round, one each 5 ms, {rounds} rounds; p50 and p99 over all rounds, and the ratio of our queue mode
to each: the median of the ratios of the rounds' p50. A bare socket only calls ``recv``."""


def measure(contestant: Contestant, model: str) -> list[int]:
    """How late each event was, in nanoseconds."""
    taken: list[tuple[int, Any]] = []
    now = time.monotonic_ns
    contestant.read(model, lambda event: taken.append((now(), event)))
    late = [when - read_stamp(text)[2] for when, event in taken if (text := contestant.text(event))]
    # Where the machine stalled, a bare socket is given several at once, and the first counts.
    return late[1:] or late  # the first of all tells of the call


def run(arena: Arena) -> Findings:
    events, rounds = arena.either((60, 3), (200, 12))
    tell("latency")
    with arena.workers(ONE_BY_ONE) as workers:
        titles = {worker.name: worker.title for worker in workers}
        measured = arena.rounds(workers, rounds, "latency", Answer(events=events, pace=PACE))

    p50 = {name: [statistics.median(late) for late in turns] for name, turns in measured.items()}
    ratio = {
        name: statistics.median(
            ours / theirs for ours, theirs in zip(p50["Ours"], p50[name], strict=True)
        )
        for name in titles
    }
    p50_and_p99 = {}
    for name, turns in measured.items():
        cuts = statistics.quantiles((late for turn in turns for late in turn), n=100)
        p50_and_p99[name] = (cuts[49] / 1e3, cuts[98] / 1e3)
    rows = [
        [title, *(f"{us:.0f}" for us in p50_and_p99[name]), f"{ratio[name]:.2f}"]
        for name, title in titles.items()
    ]
    most = {"OpenAI": 0.6, "ThreadAndQueue": 1.1, "BareSocket": 2.0}
    return Findings(
        tables=[
            Table(
                "Latency",
                NOTE.format(events=events, rounds=rounds),
                ["", "p50, µs", "p99, µs", "ours to it"],
                rows,
            )
        ],
        targets=[
            Target("latency, p50, queue mode", titles[name], limit, ratio[name])
            for name, limit in most.items()
        ],
        drawn={"latency": {titles[name]: list(pair) for name, pair in p50_and_p99.items()}},
    )
