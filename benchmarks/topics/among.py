"""One stream among many on the same readers: how soon it stops, and what a flood does to others."""

from __future__ import annotations

import itertools
import queue
import statistics
import threading
import time
from dataclasses import replace
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant, OursSharedQueue
from benchmarks.events import Answer, read_stamp
from benchmarks.report import Findings, Table, Target
from benchmarks.worker import TooSlow

NAMES = ("OursOneReader", "OursTwoReaders", "OursSharedQueue")
STREAMS, RATE = 1_000, 4
OTHERS, OTHERS_RATE = 100, 20
_PATIENCE = 60.0  # seconds
_ROOM = 256  # events of the flood that its queue holds

STOP_NOTE = """\
One of {streams:,} streams, {rate} events a second each, is closed, then another one, {stops} in
all: milliseconds from the call of ``close()`` until its consumer had ``DONE`` from the queue of
all, and until the server saw the connection close; median and worst."""

FLOOD_NOTE = """\
{others} streams, {rate} events a second each, and beside them one more of the same client whose
events come as fast as they are read, into a queue of its own that has room for {room}: how late the
events of the others are, p99 in milliseconds, without that stream and with it."""


def measure(contestant: Contestant, models: list[str], flood: str = "") -> dict[str, Any]:
    """Read paced streams; stop those that have a name, one after the other, if there is no flood.

    :returns: ``p99`` of the lag in milliseconds; of each named one, when it was called and when its
        consumer knew, in nanoseconds.
    """
    assert isinstance(contestant, OursSharedQueue)
    answers = [Answer.of(model) for model in models]
    shared: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop_flood = _start_flood(contestant, flood) if flood else None
    handles = contestant.begin_many(models, shared)
    named = iter([n for n, answer in enumerate(answers) if answer.name])
    stopping: int | None = None
    stops: dict[str, list[int]] = {}
    lags = []
    running, taken = len(models), 0
    # Once all have sent something: stop the next one each time that the last one has ended.
    while running:
        tag, item = shared.get()
        now = time.monotonic_ns()
        if isinstance(item, Exception):
            raise item
        if text := _text(contestant, item):
            lags.append(now - read_stamp(text)[2])
            taken += 1
        else:
            running -= 1
            if tag == stopping:
                stops[answers[tag].name].append(now)
                stopping = None
        if stopping is None and taken > len(models) and (n := next(named, None)) is not None:
            stopping = n
            stops[answers[n].name] = [time.monotonic_ns()]
            handles[n].close()
    if stop_flood is not None:
        stop_flood()
    return {"p99": statistics.quantiles(lags, n=100)[98] / 1e6, "stops": stops}


def _text(contestant: Contestant, item: Any) -> str:
    """Of an event; nothing of ``DONE``."""
    return contestant.text(item) if hasattr(item, "choices") else ""


def _start_flood(contestant: OursSharedQueue, model: str) -> Any:
    events, close = contestant.start(model, maxsize=_ROOM)

    def consume() -> None:
        for _ in events:
            pass

    consumer = threading.Thread(target=consume)
    consumer.start()

    def stop() -> None:
        close()
        consumer.join()

    return stop


_gates = itertools.count()


def _paced(streams: int, rate: int, seconds: float) -> Answer:
    return Answer(
        events=round(rate * seconds),
        pace=1 / rate,
        delay=1 + streams / 250,  # until all have read their headers
        gate=f"among-{next(_gates)}",
        together=streams,
    )


def run(arena: Arena) -> Findings:
    stopped, lags = _stops(arena), _floods(arena)
    return Findings(
        tables=[stopped[0], lags[0]],
        targets=[*stopped[1], *lags[1]],
    )


def _stops(arena: Arena) -> tuple[Table, list[Target]]:
    tell(f"one of {STREAMS:,} stops")
    rows, targets = [], []
    stops = arena.either(10, 50)
    with arena.workers(NAMES) as workers:
        for worker in workers:
            answer = _paced(STREAMS, RATE, arena.either(3, 8))
            names = [f"{answer.gate}-{n}" for n in range(stops)]
            models = [answer.model] * (STREAMS - stops)
            for n, name in enumerate(names):  # spread over all
                models.insert(n * STREAMS // stops, replace(answer, name=name).model)
            try:
                got = worker.measure("among", within=_PATIENCE, models=models)["stops"]
            except TooSlow as slow:
                tell(str(slow))
                continue
            consumer = [(knew - called) / 1e6 for called, knew in got.values()]
            server = [(arena.server.closed(name) - got[name][0]) / 1e6 for name in got]
            figures = [
                figure(times) for times in (consumer, server) for figure in (statistics.median, max)
            ]
            rows.append([worker.title, *(f"{ms:.2f}" for ms in figures)])
            if worker.name == "OursOneReader":
                what = f"stop of one of {STREAMS:,}, readers=1"
                targets = [
                    Target(f"{what}: median", "", 5, figures[2], "{:.1f} ms"),
                    Target(f"{what}: worst", "", 100, figures[3], "{:.1f} ms"),
                ]
    columns = ["", "consumer, ms", "worst", "server, ms", "worst"]
    note = STOP_NOTE.format(streams=STREAMS, rate=RATE, stops=stops)
    return Table("The stop of one among many", note, columns, rows), targets


def _floods(arena: Arena) -> tuple[Table, list[Target]]:
    tell(f"a flood beside {OTHERS} streams")
    rows, targets = [], []
    with arena.workers(NAMES) as workers:
        for worker in workers:
            lags = []
            for flood in ("", Answer(events=64, endless=1).model):
                answer = _paced(OTHERS, OTHERS_RATE, arena.either(2, 4))
                lags.append(
                    worker.measure("among", models=[answer.model] * OTHERS, flood=flood)["p99"]
                )
            without, beside = lags
            rows.append(
                [worker.title, f"{without:.1f}", f"{beside:.1f}", f"{beside / without:.1f}"]
            )
            if worker.name == "OursOneReader":
                what = f"lag of {OTHERS} beside a flood, p99, readers=1"
                targets = [Target(what, "without it", 3, beside / without, "{:.1f}")]
    note = FLOOD_NOTE.format(others=OTHERS, rate=OTHERS_RATE, room=_ROOM)
    columns = ["", "without, ms", "with it, ms", "ratio"]
    return Table("A flood beside others", note, columns, rows), targets
