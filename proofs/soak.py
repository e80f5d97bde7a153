"""A soak: half an hour of streams that are answered, cut, stopped and dropped, each one checked.

``make soak``, or ``python -m proofs.soak [--seconds 1800] [--workers 12] [--herd 300]
[--seed N] [--play N]``.
Some threads play :mod:`scenarios <proofs.scenarios>` as fast as they come, each in a way that is
drawn too: into a queue, a callback that may be slow or a queue of others, beside subscribers, over
TLS or not, over a session of the library's or one that is given, by a thread of the stream's own or
by one that reads many (``readers=1``), read to the end or stopped, kept or dropped. Beside them run
:mod:`some hundred <proofs.herd>` on each of those readers that take their time. What was played is
known, so what comes of it is: the events and the whole, the error's class, the end, told once; that
the server sees a stop at once; and at last that no thread and no descriptor is left, and that
memory is level.

Anything else is a deviation. It ends the run with status 1, and names the number of the scenario:
``--seed`` and ``--play`` play it again.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import importlib.metadata
import itertools
import os
import platform
import random
import statistics
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

import attrs
import requests
import requests.adapters

from openai_stream import Client
from proofs.herd import Herd
from proofs.plays import Control, Play, TooLate, held_up
from proofs.scenarios import FIRST_LONG, MAX_EVENT_BYTES, Served, draw, served

__all__ = ["Report", "soak"]

_HANG = 180.0  # seconds that a scenario may take: none of its own waits is longer than some
_CLIENTS = {  # which of the scenarios are played with which client
    "own": 0.2,
    "given session": 0.2,
    "TLS": 0.1,
    "readers": 0.3,
    "readers, TLS": 0.2,
}
_HERDS = ("readers", "readers, TLS")
_SAMPLE = 5.0  # seconds between two looks at memory
_LEVEL = 2.0  # MiB by which the memory may rise over the last third
_STATM = Path("/proc/self/statm")
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
_DESCRIPTORS = Path("/proc/self/fd")


# The run -------------------------------------------------------------------------------------


@attrs.define
class Report:
    """What a soak has shown."""

    streams: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    ways: Counter[str] = attrs.field(factory=Counter)
    clients: Counter[str] = attrs.field(factory=Counter)
    too_late: int = 0
    stops: int = 0
    stop_seconds: float = 0.0
    longest_stop: float = 0.0
    deviations: list[str] = attrs.field(factory=list)
    #: MiB resident, every few seconds.
    memory: list[float] = attrs.field(factory=list)
    #: Blocks of memory that Python holds, at the same moments.
    blocks: list[int] = attrs.field(factory=list)
    threads_before: int = 0
    threads_after: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0
    seconds: float = 0.0
    held_up: float = 0.0  # of them, those by which the machine held a thread up that only sleeps

    @property
    def rise(self) -> float:
        """MiB by which the memory rises over the last third."""
        return self._rise(self.memory)

    @property
    def rise_of_blocks(self) -> float:
        """Blocks by which Python holds more over the last third."""
        return self._rise(self.blocks)

    @staticmethod
    def _rise(looks: Sequence[float]) -> float:
        """The median slope between two looks of the last third, over that third.

        Least squares would take one peak for a slope: where the machine holds all readers up for
        seconds, what a flood has sent meanwhile is taken at once. A leak goes on and on.
        """
        last = looks[len(looks) * 2 // 3 :]
        slopes = [
            (later - one) / (at_later - at)
            for (at, one), (at_later, later) in itertools.combinations(enumerate(last), 2)
        ]
        return statistics.median(slopes) * (len(last) - 1) if slopes else 0.0


class _Soak:
    def __init__(self, seed: int, servers: Served, streams: int | None) -> None:
        self.report = Report()
        self.over = threading.Event()
        self._seed = seed
        self._base_url = servers.base_url
        self._numbers = iter(itertools.count() if streams is None else range(streams))
        self._lock = threading.Lock()
        # A session that is given, and is not closed by its client.
        self._session = requests.Session()
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
        self._clients = {
            name: Client(
                api_key="sk-soak",
                base_url=servers.encrypted_url if "TLS" in name else servers.base_url,
                max_event_bytes=MAX_EVENT_BYTES,
                session=self._session if "session" in name else None,
                readers=1 if "readers" in name else None,
            )
            for name in _CLIENTS
        }
        #: By worker, what it plays and since when.
        self._playing: dict[str, tuple[int, float]] = {}

    def work(self) -> None:
        """Play one scenario after another."""
        control = Control(self._base_url)
        me = threading.current_thread().name
        while not self.over.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                break
            self._playing[me] = number, time.monotonic()
            self.play(number, control)
        self._playing.pop(me, None)
        control.close()

    def play(self, number: int, control: Control) -> None:
        """Play the scenario of that number, and note what came of it."""
        scenario, source = draw(self._seed, number)
        client = source.choices(list(_CLIENTS), list(_CLIENTS.values()))[0]
        play = Play(self._clients[client], control, scenario, source)
        wrong: BaseException | None = None
        try:
            play.run()
        except Exception as error:
            wrong = error
        self._note(number, client, play, wrong)

    def keep_herd(self, client: str, size: int) -> None:
        """Keep so many long streams running on a client."""
        control = Control(self._base_url)
        first = FIRST_LONG * (1 + _HERDS.index(client))
        herd = Herd(
            self._clients[client],
            control,
            self._seed,
            size,
            first,
            lambda number, play, wrong: self._note(number, client, play, wrong),
        )
        try:
            herd.run(self.over.is_set)
        except Exception as error:
            with self._lock:
                told = "".join(traceback.format_exception(error))
                self.report.deviations.append(f"the herd of {client}: {told[-4000:]}")
                self.over.set()
        control.close()

    def _note(self, number: int, client: str, play: Play, wrong: BaseException | None) -> None:
        """Note what came of a scenario."""
        deviation = None
        late = isinstance(wrong, TooLate)
        if wrong is not None and not late:
            told = "".join(traceback.format_exception(wrong))
            wrong.__traceback__ = None  # it leads to the stream
            deviation = f"scenario {number}, {play.kind}, {play.way}, {client}: {told[-4000:]}"
        with self._lock:
            report = self.report
            report.streams += 1
            report.kinds[play.kind] += 1
            report.ways[play.way] += 1
            report.clients[client] += 1
            report.too_late += late
            if play.stop_seconds is not None:
                report.stops += 1
                report.stop_seconds += play.stop_seconds
                report.longest_stop = max(report.longest_stop, play.stop_seconds)
            if deviation is not None:
                report.deviations.append(deviation)
                self.over.set()

    def hanging(self) -> list[int]:
        """The scenarios that take too long."""
        now = time.monotonic()
        return [number for number, since in self._playing.copy().values() if now - since > _HANG]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._session.close()


def _memory() -> float:
    """MiB that are resident; 0 where the system does not tell.

    Without what the allocator keeps for later, where it can be told to give that back: its heaps,
    one for a few threads, go on filling up with holes for half an hour, which looks like a leak.
    """
    if not _STATM.exists():
        return 0.0
    if _trim is not None:
        _trim(0)
    pages = int(_STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors() -> int:
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


def soak(
    seed: int,
    *,
    seconds: float = 1e9,
    streams: int | None = None,
    workers: int = 12,
    herd: int = 300,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Play scenarios for so long, or so many.

    :param herd: how many long streams run on each reader meanwhile.
    :param say: called with a line a minute.
    """
    # Nothing may depend on when the garbage is collected: it is now and then, and by no chance.
    gc.disable()
    try:
        return _soak(seed, seconds, streams, workers, herd, say)
    finally:
        gc.enable()


def _soak(
    seed: int,
    seconds: float,
    streams: int | None,
    workers: int,
    herd: int,
    say: Callable[[str], object],
) -> Report:
    gc.collect()
    resource_tracker.ensure_running()  # it stays, and has a descriptor
    threads, descriptors = threading.active_count(), _descriptors()
    with held_up, served(seed) as servers:
        run = _Soak(seed, servers, streams)
        report = run.report
        report.threads_before, report.descriptors_before = threads, descriptors
        start = minute = time.monotonic()
        crew = [
            threading.Thread(target=run.work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]
        herds = [
            threading.Thread(
                target=run.keep_herd, args=(client, herd), name=f"herd, {client}", daemon=True
            )
            for client in _HERDS
        ]
        for worker in crew + herds:
            worker.start()
        while any(worker.is_alive() for worker in crew):
            run.over.wait(_SAMPLE if streams is None else 0.05)
            now = time.monotonic()
            if now - start > seconds:
                run.over.set()
            if run.over.is_set() or run.hanging():
                break
            if streams is None:
                gc.collect()
                report.memory.append(_memory())
                report.blocks.append(sys.getallocatedblocks())
            if now - minute >= 60:
                minute = now
                say(
                    f"{now - start:6.0f} s  {report.streams:8,} streams  {_memory():6.1f} MiB  "
                    f"{sys.getallocatedblocks() / 1000:5.0f} thousand blocks  "
                    f"{threading.active_count():4} threads  {_descriptors():4} descriptors"
                )
        for worker in crew:
            while worker.is_alive() and not run.hanging():
                worker.join(0.1)
        run.over.set()
        for worker in herds:
            worker.join(_HANG)
            if worker.is_alive():
                faulthandler.dump_traceback(all_threads=True)
                report.deviations.append(f"the {worker.name} hangs")
        if hanging := run.hanging():
            faulthandler.dump_traceback(all_threads=True)
            report.deviations.append(f"scenarios {hanging} hang")
        run.close()
        report.seconds = time.monotonic() - start
        report.held_up = held_up.since(start)
    report.deviations += servers.failures
    _look_behind(report)
    return report


def _look_behind(report: Report) -> None:
    """Nothing is left, after some time to end by itself."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        gc.collect()
        report.threads_after = threading.active_count()
        report.descriptors_after = _descriptors()
        if (
            report.threads_after <= report.threads_before
            and report.descriptors_after <= report.descriptors_before
        ):
            return
        time.sleep(0.05)
    names = sorted(thread.name for thread in threading.enumerate())
    report.deviations.append(
        f"left behind: {report.threads_after} threads of {report.threads_before}, "
        f"{report.descriptors_after} descriptors of {report.descriptors_before}: {names}"
    )


def _play_again(seed: int, number: int) -> int:
    with served(seed) as servers:
        run = _Soak(seed, servers, 0)
        control = Control(servers.base_url)
        run.play(number, control)
        control.close()
        run.close()
    for deviation in run.report.deviations:
        print(deviation)
    print(dict(run.report.kinds), dict(run.report.ways))
    return 1 if run.report.deviations else 0


def main() -> int:
    """Soak, and tell; 1 where there was a deviation."""
    parser = argparse.ArgumentParser(prog="python -m proofs.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--herd", type=int, default=300, help="long streams on each reader")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--play", type=int, metavar="NUMBER", help="one scenario, once")
    given = parser.parse_args()
    if given.play is not None:
        return _play_again(given.seed, given.play)

    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("requests", "urllib3", "sseclient-py", "attrs")
    )
    print(f"Python {platform.python_version()} on {platform.machine()}, {versions}")
    print(f"seed {given.seed}, {given.workers} workers, {given.herd} a reader", flush=True)
    report = soak(
        given.seed,
        seconds=given.seconds,
        workers=given.workers,
        herd=given.herd,
        say=lambda line: print(line, flush=True),
    )
    if len(report.memory) >= 60 and report.rise > _LEVEL:
        report.deviations.append(f"the memory rises: {report.rise:.1f} MiB over the last third")
    for deviation in report.deviations:
        print(deviation)
    print(
        f"{report.streams:,} streams in {report.seconds:.0f} s: "
        + ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.most_common())
    )
    print(", ".join(f"{count:,} {way}" for way, count in report.ways.most_common()))
    print(", ".join(f"{count:,} {client}" for client, count in report.clients.most_common()))
    mean = report.stop_seconds / max(1, report.stops)
    print(
        f"{report.stops:,} stops that the server saw, after {mean * 1000:.1f} ms on average and "
        f"{report.longest_stop * 1000:.0f} ms at most; {report.too_late} short deadlines spoilt; "
        f"held up for {report.held_up:.0f} s"
    )
    if report.memory:
        print(
            f"memory {report.memory[0]:.1f} MiB at first, {max(report.memory):.1f} at most, "
            f"{report.memory[-1]:.1f} at last, "
            f"{report.rise:+.2f} over the last third; {report.rise_of_blocks / 1000:+.1f} thousand "
            f"blocks of {report.blocks[-1] / 1000:.0f}"
        )
    print(
        f"threads {report.threads_before} before, {report.threads_after} after; "
        f"descriptors {report.descriptors_before} before, {report.descriptors_after} after"
    )
    print(f"{len(report.deviations)} deviations, seed {given.seed}")
    return 1 if report.deviations else 0


if __name__ == "__main__":
    sys.exit(main())
