"""What a call costs besides its events, and what an event costs that comes alone."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant
from benchmarks.events import Answer
from benchmarks.report import Findings, Table, Target

NAMES = ("Ours", "OursCalledBack", "KeptSSEClient", "KeptThreadAndQueue", "OpenAI")
BY_HAND = "KeptThreadAndQueue"
PACE = 0.02

NOTE = """\
Microseconds of CPU of a whole call whose answer is one event, on a connection that was kept, and of
each event of a stream of which one comes each 20 ms, from the first to the last. Medians of
{rounds} rounds of {calls} calls and of {events} events; the ratio to a thread and a queue by hand
is the median of the ratios of the rounds."""


def measure(contestant: Contestant, model: str, calls: int) -> float:
    """CPU of a call in seconds, or of an event if it is paced."""
    gc.collect()
    answer = Answer.of(model)
    if not answer.pace:
        start = time.process_time()
        for _ in range(calls):
            contestant.drain(model)
        return (time.process_time() - start) / calls
    cpu: list[float] = []

    def take(event: Any) -> None:
        cpu.append(time.process_time())

    contestant.read(model, take)
    return (cpu[-1] - cpu[0]) / (len(cpu) - 1)


def run(arena: Arena) -> Findings:
    rounds, calls, events = arena.either((9, 40, 50), (25, 40, 100))
    with arena.workers(NAMES) as workers:
        titles = {worker.name: worker.title for worker in workers}
        tell("whole calls")
        by_call = arena.rounds(workers, rounds, "call", Answer(events=1), calls=calls)
        tell("one stream, one event at a time")
        paced = Answer(events=events, pace=PACE)
        by_event = arena.rounds(workers, rounds, "call", paced, calls=1)

    def ratio(measured: dict[str, list[float]], name: str) -> float:
        pairs = zip(measured[name], measured[BY_HAND], strict=True)
        return statistics.median(own / by_hand for own, by_hand in pairs)

    rows = [
        [
            title,
            *(
                text
                for measured in (by_call, by_event)
                for text in (
                    f"{statistics.median(measured[name]) * 1e6:.0f}",
                    f"{ratio(measured, name):.2f}",
                )
            ),
        ]
        for name, title in titles.items()
    ]
    against = titles[BY_HAND]
    return Findings(
        tables=[
            Table(
                "One call, and one event at a time",
                NOTE.format(rounds=rounds, calls=calls, events=events),
                ["", "a call, µs", "ratio", "an event, µs", "ratio"],
                rows,
            )
        ],
        targets=[
            Target("CPU of a call of one event", against, 1.2, ratio(by_call, "Ours")),
            Target("CPU of an event, paced, queue mode", against, 1.15, ratio(by_event, "Ours")),
            Target(
                "CPU of an event, paced, callback mode",
                against,
                1.05,
                ratio(by_event, "OursCalledBack"),
            ),
        ],
    )
