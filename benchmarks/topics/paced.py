"""Many streams at the pace of a model, which is how they come in life: an event, a wake-up.

All are connected before the first event is sent. Measured are the CPU from the first event to the
last one, and how late each event is in the consumer's hand. What one stream among many sees of the
others is in :mod:`.among`.
"""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.arena import Arena, tell
from benchmarks.contestants import Contestant
from benchmarks.events import Answer, read_stamp
from benchmarks.registry import CONTESTANTS
from benchmarks.report import Findings, Table, Target
from benchmarks.worker import TooSlow, Worker

from . import among
from .streams import resident

NAMES = (
    "OursOneReader",
    "OursTwoReaders",
    "OursSharedQueue",
    "OursCalledBack",
    "ThreadsAndQueue",
    "OpenAI",
    "OpenAIAsync",
    "Loop",
    "LoopAndQueue",
)
#: Seconds after which one has fallen behind so far that waiting for it tells nothing more.
PATIENCE = 30.0
#: Streams, and events a second of each.
SCENES = ((1, 50), (100, 20), (256, 50), (500, 50), (1_000, 4))

CAPACITY_NAMES = tuple(name for name in NAMES if name not in ("OpenAI", "OursCalledBack"))
CAPACITY_STREAMS = 256
MOST_LAG = 100.0  # milliseconds
#: Events a second that are tried, from a fifth to a fifth more.
RATES = tuple(round(1_000 * 1.2**n) for n in range(2, 23))


def settled(streams: int) -> float:
    """Seconds from the last request to the first event, in which all read their headers."""
    return 1 + streams / 250


NOTE = """\
Streams, and the events a second of each: *100 x 20* are 2,000 events a second. All are connected
before the first event is sent, and their events are spread evenly. *µs* of CPU per event, from the
first to the last, of the client's process; *lag*, p99, in milliseconds from the server's ``send``
to the consumer who has the event (the median is in brackets). Where that is a second or more, the
client falls behind, and it grows as long as the events come; a client of which nothing is shown had
not taken all of them after {patience:.0f} seconds. ``readers=`` and the threads by hand
have all events in one queue, which one thread takes from. The loops are bare: they show what one
thread can do, and are no clients."""

MANY_NOTE = """\
{streams:,} streams, {rate} events a second each, which begin {settled:.0f} s after the last
request: what the process has grown by, per stream, beside what the kernel has for the socket; its
threads; and connecting, which the figures above leave out: microseconds of CPU per stream, headers
included."""

CAPACITY_NOTE = """\
{streams} streams: the most events a second, of all together, at which p99 of the lag is under
{most:.0f} ms, in one of two tries. The rates that are tried are a fifth apart."""


@dataclass
class Paced:
    """What a contestant made of some paced streams."""

    cpu: float  # microseconds an event
    p50: float  # milliseconds
    p99: float
    lost: int
    kilobytes: float  # a stream
    threads: int
    connecting: float  # microseconds of CPU a stream
    late: float  # milliseconds that the server was late itself, p99


class _Taken:
    """What came, and when. What is done with each event is the same for all contestants, and as
    little as can be: events that are kept would be the garbage collector's work.
    """

    def __init__(self, text: Callable[[Any], str], total: int) -> None:
        self.taken: list[tuple[int, int, str]] = []  # when, of which stream, what
        self.cpu = 0.0
        self.cpu_before = 0.0  # of connecting
        self.bytes = 0
        self.threads = 0
        self._text = text
        self._next = itertools.count(1).__next__  # exact in any thread, without a lock
        self._at = {1: self._begin, total // 2: self._look, total: self._end}

    def take(self, stream: int, event: Any) -> None:
        if text := self._text(event):
            self.taken.append((time.monotonic_ns(), stream, text))
            if (look := self._at.get(self._next())) is not None:
                look()

    def _begin(self) -> None:
        self.cpu_before = time.process_time()

    def _look(self) -> None:
        self.bytes = resident()
        self.threads = threading.active_count()

    def _end(self) -> None:
        self.cpu = time.process_time() - self.cpu_before


def measure(contestant: Contestant, model: str, streams: int) -> dict[str, float]:
    """See :class:`Paced`."""
    answer = Answer.of(model)
    contestant.drain(Answer(events=10).model)
    gc.collect()
    total = streams * answer.events
    taken = _Taken(contestant.text, total)
    threads, grown = threading.active_count(), resident()
    cpu = time.process_time()
    contestant.read_many(model, streams, taken.take)
    stamps = [read_stamp(text) for _, _, text in taken.taken]
    lags = [when - sent for (when, *_), (*_, sent) in zip(taken.taken, stamps, strict=True)]
    cuts = statistics.quantiles(lags, n=100)
    return vars(
        Paced(
            cpu=taken.cpu / total * 1e6,
            p50=cuts[49] / 1e6,
            p99=cuts[98] / 1e6,
            lost=_wrong(answer, streams, taken.taken, stamps),
            kilobytes=(taken.bytes - grown) / streams / 1e3,
            threads=taken.threads - threads,
            connecting=(taken.cpu_before - cpu) / streams * 1e6,
            late=_late(answer, stamps),
        )
    )


def _wrong(
    answer: Answer,
    streams: int,
    taken: Sequence[tuple[int, int, str]],
    stamps: Sequence[tuple[int, int, int]],
) -> int:
    """The events that are lost, doubled or out of order."""
    expected, wrong = [0] * streams, 0
    for (_, stream, _), (number, *_) in zip(taken, stamps, strict=True):
        if number == expected[stream]:
            expected[stream] += 1
        else:
            wrong += 1
    return wrong + streams * answer.events - sum(expected)


def _late(answer: Answer, stamps: Sequence[tuple[int, int, int]]) -> float:
    """How late the server was, in milliseconds: p99."""
    pace = answer.pace * 1e9
    begun = min(sent - number * pace for number, _, sent in stamps)
    late = [sent - begun - number * pace - pace for number, _, sent in stamps]
    return max(0.0, statistics.quantiles(late, n=100)[98] / 1e6)


_gates = itertools.count()


class _Meeting:
    """Has contestants read paced streams; each time behind a gate of its own.

    :raises TooSlow: it has not taken all of them after :data:`PATIENCE`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def measure(self, worker: Worker, streams: int, rate: float) -> Paced:
        answer = Answer(
            events=max(4, round(rate * self._seconds)),
            pace=1 / rate,
            delay=settled(streams),
            gate=f"paced-{next(_gates)}",
            together=streams,
        )
        got = worker.measure("paced", within=PATIENCE, model=answer.model, streams=streams)
        return Paced(**got)


def run(arena: Arena) -> Findings:
    meeting = _Meeting(arena.either(2.0, 4.0))
    found: dict[tuple[int, int], dict[str, Paced]] = {}
    for scene in SCENES:
        found[scene] = dict(_scene(arena, meeting, *scene))
    capacity = dict(_capacities(arena, _Meeting(2.5)))
    tables = [_paces(found), _many(found), _capacity(capacity)]
    findings = among.run(arena)
    return Findings(
        tables=tables + findings.tables,
        targets=_targets(found, capacity) + findings.targets,
        drawn={
            "paced": _drawn(found),
            "capacity": {_title(name): most for name, most in capacity.items()},
            **findings.drawn,
        },
    )


def _scene(arena: Arena, meeting: _Meeting, streams: int, rate: int) -> Iterator[tuple[str, Paced]]:
    tell(f"{streams:,} streams, {rate} events a second each")
    # A process that had many streams keeps their memory: each scene has fresh ones.
    with arena.workers(NAMES) as workers:
        for worker in workers:
            turns = arena.either(1, 2) if streams <= 100 else 1
            try:
                got = [meeting.measure(worker, streams, rate) for _ in range(turns)]
            except TooSlow as slow:
                tell(str(slow))
                continue
            best = min(got, key=lambda one: one.cpu)
            best.lost = sum(one.lost for one in got)
            yield worker.name, best


def _capacities(arena: Arena, meeting: _Meeting) -> Iterator[tuple[str, float]]:
    tell(f"the capacity, {CAPACITY_STREAMS} streams")
    with arena.workers(CAPACITY_NAMES) as workers:
        for worker in workers:

            def holds(rate: int, worker: Worker = worker) -> bool:
                try:
                    got = meeting.measure(worker, CAPACITY_STREAMS, rate / CAPACITY_STREAMS)
                except TooSlow:
                    return False
                if got.late > MOST_LAG:
                    tell(f"{worker.title}: {rate:,} a second are more than the server can send")
                    return False
                return got.p99 < MOST_LAG and got.lost == 0

            # Twice: something else may have held the machine up.
            yield worker.name, _highest(RATES, lambda rate: holds(rate) or holds(rate))


def _highest(rates: Sequence[int], holds: Callable[[int], bool]) -> float:
    """The highest that holds, if those below it do; 0: none does."""
    least, most = -1, len(rates)
    while most - least > 1:
        middle = (least + most) // 2
        if holds(rates[middle]):
            least = middle
        else:
            most = middle
    return float(rates[least]) if least >= 0 else 0.0


# The findings ---------------------------------------------------------------------------------

Found = dict[tuple[int, int], dict[str, Paced]]


def _title(name: str) -> str:
    return CONTESTANTS[name].title


def _short(name: str) -> str:
    return _title(name).removeprefix("openai-stream, ")


def _paces(found: Found) -> Table:
    columns = [""]
    for streams, rate in found:
        columns += [f"µs, {streams:,} x {rate}", "lag, ms"]
    rows = []
    for name in NAMES:
        row = [_title(name)]
        for of in found.values():
            row += ["", ""] if name not in of else [f"{of[name].cpu:.0f}", _lag(of[name])]
        rows.append([*row, str(sum(of[name].lost for of in found.values() if name in of))])
    note = NOTE.format(patience=PATIENCE)
    return Table("At a model's pace", note, [*columns, "lost"], rows)


def _lag(paced: Paced) -> str:
    def said(ms: float) -> str:
        return f"{ms:.1f}" if ms < 10 else f"{ms:,.0f}"

    return f"{said(paced.p99)} ({said(paced.p50)})"


def _many(found: Found) -> Table:
    (streams, rate), of = list(found.items())[-1]
    rows = [
        [_title(name), f"{one.kilobytes:.0f}", f"{one.threads:,}", f"{one.connecting:,.0f}"]
        for name, one in of.items()
    ]
    note = MANY_NOTE.format(streams=streams, rate=rate, settled=settled(streams))
    return Table("A thousand streams", note, ["", "KB", "threads", "connecting, µs"], rows)


def _capacity(capacity: dict[str, float]) -> Table:
    ours = capacity["OursOneReader"]
    rows = [
        [_title(name), f"{most:,.0f}", f"{most / ours:.2f}" if ours else ""]
        for name, most in capacity.items()
    ]
    note = CAPACITY_NOTE.format(streams=CAPACITY_STREAMS, most=MOST_LAG)
    return Table("Capacity", note, ["", "events a second", "to readers=1"], rows)


def _targets(found: Found, capacity: dict[str, float]) -> list[Target]:
    def cpu(scene: tuple[int, int], ours: str, theirs: str, most: float) -> Target:
        of = found[scene]
        what = f"CPU per event, {scene[0]} x {scene[1]} a second, {_short(ours)}"
        return Target(what, _title(theirs), most, of[ours].cpu / of[theirs].cpu)

    def lag(scene: tuple[int, int], most: float) -> Target:
        what = f"lag, p99, {scene[0]} x {scene[1]} a second, readers=1"
        return Target(what, "", most, found[scene]["OursOneReader"].p99, "{:.0f} ms")

    def least(theirs: str, most: float) -> Target:
        ours = capacity["OursOneReader"]
        measured = capacity[theirs] / ours if ours else math.inf
        return Target("capacity, theirs to readers=1", _title(theirs), most, measured)

    thousand = found[SCENES[-1]]["OursOneReader"]
    lost = sum(one.lost for of in found.values() for name, one in of.items() if "Ours" in name)
    _, hundred, many, more = SCENES[:4]  # of one stream alone: the topic "call"
    return [
        cpu(hundred, "OursOneReader", "LoopAndQueue", 1.9),
        cpu(hundred, "OursOneReader", "ThreadsAndQueue", 0.95),
        cpu(hundred, "OursOneReader", "OpenAI", 0.25),
        cpu(many, "OursOneReader", "LoopAndQueue", 2.6),
        lag(many, 100),
        cpu(more, "OursOneReader", "LoopAndQueue", 1.6),
        lag(more, 1_000),
        least("ThreadsAndQueue", 1 / 2.5),
        least("OpenAIAsync", 1 / 5),
        Target("1,000 streams, readers=1: memory", "", 24, thousand.kilobytes, "{:.0f} KB"),
        Target("1,000 streams, readers=1: threads", "", 8, thousand.threads, "{:.0f}"),
        Target("paced streams: events lost", "", 0, lost, "{:.0f}"),
    ]


def _drawn(found: Found) -> dict[str, list[list[float]]]:
    """Of each contestant the streams, and the CPU an event."""
    drawn: dict[str, list[list[float]]] = {}
    for name in NAMES:
        scenes = [(streams, of[name].cpu) for (streams, _), of in found.items() if name in of]
        drawn[_title(name)] = [list(column) for column in zip(*scenes, strict=True)]
    return drawn
