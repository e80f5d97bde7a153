"""A batch on a Dask cluster that is not left in peace: each prompt has its answer, once.

``make cluster``, or ``python -m proofs.cluster [--prompts 10000] [--concurrency 100] [--seed 17]``.
``openai-stream batch --dask`` asks a model server that answers at a pace, over a ``LocalCluster``
of at most four workers that adapts itself to its work. Meanwhile chance kills workers, and the
scheduler goes twice: once Dask restarts it, once its process is killed and begun anew at the same
address. Then the same prompts are asked with nothing in the way, over the cluster and by one
process alone.

What was asked is known, so what must be in the file is: it ends with status 1 if an answer is
missing, is there twice or is another prompt's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import attrs
import psutil

from openai_stream.testing import Request, Script, ScriptedServer, Until, answer, chat_chunks

__all__ = ["Result", "ask", "cluster", "disturb", "model_server", "write_prompts"]

_WORKERS = 4
_PIECES = 10  # events of an answer
_SECONDS = 0.5  # that it takes
_PATIENCE = 3600.0  # seconds for one way of asking all prompts
_LOOK_EVERY = 0.05
_WAYS = ("disturbed", "cluster", "alone")

_CLUSTER = """
import sys
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, scheduler_port=int(sys.argv[1]), dashboard_address=None
    ) as cluster:
        cluster.adapt(minimum=1, maximum=int(sys.argv[2]), interval="500ms")
        print("ready", flush=True)
        for line in sys.stdin:
            with Client(cluster.scheduler_address, set_as_default=False) as client:
                client.restart(wait_for_workers=False)
            print("restarted", flush=True)
"""


def paced(request: Request) -> Script:
    """An answer that says what was asked, at the pace of a model."""
    question = str(request.json["messages"][-1]["content"])
    pieces = [f"answer to {question}", *[" and more"] * (_PIECES - 1)]
    chunks = chat_chunks(pieces, usage=True)
    steps = [
        step for n, one in enumerate(chunks) for step in (Until(n * _SECONDS / len(chunks)), one)
    ]
    return answer(steps)


def content(number: int) -> str:
    """What prompt ``number`` is to be answered."""
    return f"answer to question {number}" + " and more" * (_PIECES - 1)


def _serve() -> None:
    """The model server, in a process of its own: tells its address, and at last what it saw."""
    with ScriptedServer() as server:
        server.always(paced)
        print(server.base_url, flush=True)
        for _ in sys.stdin:
            print(len(server.requests), flush=True)


@attrs.define
class Model:
    """A model server."""

    url: str
    _process: subprocess.Popen[str]

    def requests(self) -> int:
        """How many have come so far."""
        return int(_told(self._process, "count"))


def _told(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline()


@contextlib.contextmanager
def model_server() -> Iterator[Model]:
    """One that answers at a pace."""
    command = [sys.executable, "-m", "proofs.cluster", "--serve"]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
    ) as process:
        assert process.stdout is not None
        try:
            yield Model(process.stdout.readline().strip(), process)
        finally:
            process.kill()


_ROOT = Path(__file__).parent.parent


class Cluster:
    """A ``LocalCluster`` in a process of its own, at an address that stays.

    :param folder: for its files.
    :param environment: with the key for its workers.
    """

    def __init__(self, folder: Path, environment: dict[str, str], workers: int = _WORKERS) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = folder
        self._environment = environment
        self._most = workers
        #: Where its scheduler is.
        self.address = f"tcp://127.0.0.1:{self._port}"
        (folder / "local_cluster.py").write_text(_CLUSTER)
        self._log = (folder / "cluster.log").open("ab")
        self._process = self._begin()

    def _begin(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "local_cluster.py", str(self._port), str(self._most)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def workers(self) -> list[psutil.Process]:
        """Its processes that ask."""
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        children.append(child)
        return children

    def cpu(self) -> float:
        """Seconds of processor time of all its processes that are there."""
        own = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def restart(self) -> None:
        """Have Dask restart it: all workers are new, and what ran is dropped."""
        _told(self._process, "restart")

    def begin_anew(self) -> None:
        """Kill the scheduler with all that hangs on it, and begin another one in its place."""
        self._kill()
        self._process = self._begin()

    def _kill(self) -> None:
        workers = self.workers()
        self._process.kill()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        self._process.communicate()

    def close(self) -> None:
        """End it."""
        self._kill()
        self._log.close()


@contextlib.contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """A cluster that adapts itself, up to four workers."""
    one = Cluster(folder, environment)
    try:
        yield one
    finally:
        one.close()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def disturb(
    one: Cluster, answers: Path, count: int, seed: int, over: threading.Event, kills: int = 8
) -> Counter[str]:
    """Kill workers, and the scheduler twice, at numbers of answers that chance draws.

    :param count: of the prompts.
    :param kills: of workers.
    :returns: what was done how often, once ``over`` is set.
    """
    chance = random.Random(seed)  # noqa: S311
    plan = [*["worker killed"] * kills, "restarted by Dask", "scheduler killed"]
    chance.shuffle(plan)
    places = sorted(chance.sample(range(count // 20, count * 9 // 10), len(plan)))
    done: Counter[str] = Counter()
    for what, place in zip(plan, places, strict=True):
        while _lines(answers) < place:
            if over.wait(_LOOK_EVERY):
                return done
        if what == "restarted by Dask":
            one.restart()
        elif what == "scheduler killed":
            one.begin_anew()
        elif workers := one.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(workers).send_signal(signal.SIGKILL)
        else:
            continue
        done[what] += 1
    return done


def write_prompts(path: Path, count: int) -> None:
    """Number the prompts from 1."""
    lines = (json.dumps({"id": str(n), "prompt": f"question {n}"}) for n in range(1, count + 1))
    path.write_text("".join(f"{line}\n" for line in lines))


@attrs.frozen
class Result:
    """What came of a run.

    :param problems: what is wrong with the answers.
    :param seconds: it took.
    :param cpu: seconds of processor time of the command alone, without workers.
    :param said: on standard error.
    """

    problems: list[str]
    seconds: float
    cpu: float
    said: str


def ask(
    folder: Path, environment: dict[str, str], count: int, answers: Path, *options: str
) -> Result:
    """Ask the prompts by the command, and look at what is in the file then."""
    command = [sys.executable, "-m", "openai_stream", "batch", "prompts.jsonl", "-o", str(answers)]
    begun = time.monotonic()
    log: IO[str]
    with tempfile.TemporaryFile("w+", dir=folder) as log:
        process = subprocess.Popen(  # noqa: S603
            [*command, *options], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=log
        )
        timer = threading.Timer(_PATIENCE, process.kill)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read()
    seconds = time.monotonic() - begun
    problems = [f"status {process.returncode}: {said[-500:]}"] if process.returncode else []
    problems += _wrong(answers, count)
    return Result(problems, seconds, used.ru_utime + used.ru_stime, said)


def _wrong(answers: Path, count: int) -> list[str]:
    records = [json.loads(line) for line in answers.read_text().splitlines()]
    seen: Counter[str] = Counter(record["custom_id"] for record in records)
    problems = [f"{name} is there {n} times" for name, n in seen.items() if n > 1]
    problems += [f"{n} is missing" for n in range(1, count + 1) if str(n) not in seen]
    for record in records:
        number = record["custom_id"]
        if record["error"] is not None:
            problems.append(f"{number} failed: {record['error']}")
            continue
        said = record["response"]["body"]["choices"][0]["message"]["content"]
        if said != content(int(number)):
            problems.append(f"{number} has another answer: {said[:60]}")
    return problems


def _show(name: str, count: int, result: Result, asked: int) -> None:
    print(
        f"{name:34} {result.seconds:6.1f} s  {count / result.seconds:6.1f} prompts/s  "
        f"{result.cpu:6.1f} s of the command's CPU  {asked:6} requests",
        flush=True,
    )
    for problem in result.problems[:10]:
        print(f"  {problem}")


def prove(count: int, concurrency: int, seed: int, ways: Sequence[str] = _WAYS) -> bool:
    """Ask all prompts in each way.

    :returns: all answers were there, once.
    """
    well = True
    with tempfile.TemporaryDirectory() as name, model_server() as model:
        folder = Path(name)
        environment = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.url}
        write_prompts(folder / "prompts.jsonl", count)
        options = ["--concurrency", str(concurrency), "--progress", "0"]
        before = 0

        def told(name: str, result: Result) -> None:
            nonlocal before, well
            asked = model.requests()
            _show(name, count, result, asked - before)
            before = asked
            well = well and not result.problems

        if "disturbed" in ways:
            with cluster(folder, environment) as one, ThreadPoolExecutor(1) as pool:
                over = threading.Event()
                answers = folder / "disturbed.jsonl"
                done = pool.submit(disturb, one, answers, count, seed, over)
                dask = ["--dask", one.address]
                result = ask(folder, environment, count, answers, *options, *dask)
                over.set()
                told("cluster, disturbed", result)
                print("  " + ", ".join(f"{what}: {n}" for what, n in sorted(done.result().items())))
        if "cluster" in ways:
            with cluster(folder, environment) as one:
                dask = ["--dask", one.address]
                before_it = one.cpu()
                result = ask(folder, environment, count, folder / "calm.jsonl", *options, *dask)
                told("cluster", result)
                print(f"  {one.cpu() - before_it:.1f} s of CPU of the scheduler and the workers")
        if "alone" in ways:
            result = ask(folder, environment, count, folder / "alone.jsonl", *options)
            told("one process", result)
    return well


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m proofs.cluster", description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--ways", nargs="+", choices=_WAYS, default=_WAYS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        _serve()
        return 0
    print(f"{given.prompts} prompts, at most {given.concurrency} at once, seed {given.seed}")
    return 0 if prove(given.prompts, given.concurrency, given.seed, given.ways) else 1


if __name__ == "__main__":
    sys.exit(main())
