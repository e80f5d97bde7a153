"""What becomes of the cost when streams grow longer, and events larger."""

from __future__ import annotations

from benchmarks.arena import Arena, tell
from benchmarks.events import Answer
from benchmarks.report import Findings, Table, Target

LENGTHS = (1_000, 10_000, 100_000)
SIZES = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 10**6, "10 MB": 10**7}
MEGABYTES = 20  # that one answer with large events has, at least two of them

LONGER = """\
Microseconds of CPU per event beyond the first, which pays for the call."""
LARGER = """\
Milliseconds of CPU per event. Events come in HTTP chunks of 16 KiB, as proxies cut them."""


def run(arena: Arena) -> Findings:
    longer = _longer(arena)
    larger = _larger(arena)
    return Findings(
        tables=longer.tables + larger.tables,
        targets=longer.targets + larger.targets,
        drawn={**longer.drawn, **larger.drawn},
    )


def _longer(arena: Arena) -> Findings:
    names = ("Ours", "OursWithResult", "OursCalledBack", "ThreadAndQueue", "OpenAI")
    costs: dict[str, list[float]] = {name: [] for name in names}
    with arena.workers(names) as workers:
        titles = {worker.name: worker.title for worker in workers}
        call = {
            name: min(took)
            for name, took in arena.rounds(workers, 30, "cpu", Answer(events=1)).items()
        }
        lengths = arena.either(LENGTHS[:2], LENGTHS)
        for events in lengths:
            tell(f"streams of {events:,} events")
            # As many rounds as give each length the same chance of a quiet moment.
            rounds = max(4, arena.either(10_000, 100_000) // events)
            measured = arena.rounds(workers, rounds, "cpu", Answer(events=events))
            for name, took in measured.items():
                costs[name].append((min(took) - call[name]) / (events - 1) * 1e6)
    rows = [
        [title, *(f"{us:.1f}" for us in costs[name]), f"{max(costs[name]) / min(costs[name]):.2f}"]
        for name, title in titles.items()
    ]
    return Findings(
        tables=[
            Table(
                "Longer streams",
                LONGER,
                ["", *(f"{events:,} events" for events in lengths), "most to least"],
                rows,
            )
        ],
        targets=[
            Target(
                f"CPU per event, {what}, {lengths[0]:,} to {lengths[-1]:,} events",
                "itself, most to least",
                1.1,
                max(costs[name]) / min(costs[name]),
            )
            for what, name in (("queue mode", "Ours"), ("callback mode", "OursCalledBack"))
        ],
        drawn={"longer": {titles[name]: [lengths, us] for name, us in costs.items()}},
    )


def _larger(arena: Arena) -> Findings:
    names = ("Ours", "OursWithResult", "ThreadAndQueue", "OpenAI", "HttpxSSE")
    costs: dict[str, list[float]] = {name: [] for name in names}
    with arena.workers(names) as workers:
        titles = {worker.name: worker.title for worker in workers}
        for shown, size in SIZES.items():
            tell(f"events of {shown}")
            events = min(max(MEGABYTES * 10**6 // size, 2), 2000)
            answer = Answer(events=events, size=size)
            measured = arena.rounds(workers, arena.either(2, 5), "cpu", answer)
            for name, took in measured.items():
                costs[name].append(min(took) / events * 1e3)
    rows = [
        [title, *(f"{ms:.3f}" for ms in costs[name]), f"{costs[name][-1] / costs[name][-2]:.1f}"]
        for name, title in titles.items()
    ]
    return Findings(
        tables=[Table("Larger events", LARGER, ["", *SIZES, "10 MB to 1 MB"], rows)],
        targets=[
            Target(
                f"CPU of an event of 10 MB, {what}",
                "one of 1 MB",
                12,
                costs[name][-1] / costs[name][-2],
                "{:.1f}",
            )
            for what, name in (("queue mode", "Ours"), ("with ``result()``", "OursWithResult"))
        ],
        drawn={"larger": {titles[name]: [list(SIZES.values()), ms] for name, ms in costs.items()}},
    )
