"""``batch --dask``: the same batch on a cluster's workers, which may die on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import psutil
from batches import BATCH, Faulty, check_all, echo, read, summary_of, wait_for_lines, write
from processes import COMMAND, PATIENCE

from openai_stream.testing import (
    Hang,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
)

#: How long Dask looks for a scheduler.
IMPATIENT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
RUN = Callable[..., "subprocess.CompletedProcess[str]"]


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of a local cluster's workers."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.limit(180)
def test_500_prompts_with_faults_and_a_worker_killed(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """A worker is killed early, the whole cluster half way; and then it is run again."""
    server.always(Faulty())
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 501)])
    answers = tmp_path / "answers.jsonl"
    command = [*COMMAND, *BATCH, "--dask", "local"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, text=True
    ) as process:
        wait_for_lines(answers, 50)
        workers(process)[0].kill()
        wait_for_lines(answers, 200)
        process.kill()
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    check_all(answers, 500)


def test_prompts_that_are_the_first_of_a_worker(tmp_path: Path) -> None:
    """They import the package at the same time, each at another place: all can be read."""
    script = (
        "import pickle, sys, threading, time\n"
        "from distributed import Client, LocalCluster\n"
        "from openai_stream.cli.batch.dask_workers import _task\n"
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'package':\n"
        "            searched.set()\n"
        "            time.sleep(0.5)\n"
        "class Function:\n"
        "    def __init__(self, module): self.module = module\n"
        "    def __reduce__(self): return __import__, (self.module,)\n"
        "searched = threading.Event()\n"
        "sys.meta_path.insert(0, Slow())\n"
        "def submit(module):\n"
        "    return client.submit(_task, pickle.dumps((Function(module), ())), pure=False)\n"
        "with LocalCluster(n_workers=1, threads_per_worker=4, processes=False,\n"
        "                  dashboard_address=None) as cluster, Client(cluster) as client:\n"
        "    futures = [submit('package')]\n"
        "    searched.wait()\n"
        "    futures.append(submit('package.inner'))\n"
        "    print(*[said for _, said in client.gather(futures)], sep='\\n')\n"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("import package.inner\n")
    (tmp_path / "package" / "inner.py").touch()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    # Both are read, and are no functions.
    assert result.stdout.splitlines() == ["TypeError: 'module' object is not callable"] * 2


@pytest.mark.limit(240)
def test_a_cluster_that_is_not_left_in_peace(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """Workers are killed; the scheduler is restarted by Dask, and killed and begun anew."""
    proof = pytest.importorskip("proofs.cluster")
    server.always(proof.paced)
    proof.write_prompts(tmp_path / "prompts.jsonl", 300)
    answers = tmp_path / "answers.jsonl"
    over = threading.Event()
    with proof.cluster(tmp_path, environment) as cluster, ThreadPoolExecutor(1) as pool:
        disturbed = pool.submit(proof.disturb, cluster, answers, 300, 5, over, kills=3)
        try:
            result = proof.ask(
                tmp_path, environment, 300, answers, "--dask", cluster.address, "-c", "30"
            )
        finally:
            over.set()
        done = disturbed.result()
    assert result.problems == [], (tmp_path / "cluster.log").read_text()
    assert done["restarted by Dask"] == done["scheduler killed"] == 1
    assert done["worker killed"] >= 1


@dataclass(frozen=True)
class Cluster:
    """A cluster in a process of its own."""

    address: str
    process: subprocess.Popen[str]


@pytest.fixture
def scheduler(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with one worker, which has a key of its own."""
    script = (
        "import sys; from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    (tmp_path / "cluster.py").write_text(script)
    own = {**environment, "OPENAI_API_KEY": "sk-of-the-workers"}
    del own["OPENAI_BASE_URL"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "cluster.py"],
            cwd=tmp_path,
            env=own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        yield Cluster(process.stdout.readline().strip(), process)


def test_an_existing_cluster(
    server: ScriptedServer, run: RUN, scheduler: Cluster, tmp_path: Path
) -> None:
    """The workers have the key; the one here goes nowhere. Then nothing is left to do."""
    server.play(error_answer(400, "no such thing"))
    server.always(echo)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 6)])
    result = run(*BATCH, "--dask", scheduler.address)
    assert result.returncode == 4, result.stderr
    assert summary_of(result.stderr).startswith("4 answers, 1 failure, ")
    (failed,) = (record for record in read(tmp_path / "answers.jsonl") if record["error"])
    assert failed["error"]["type"] == "BadRequestError"
    keys = {request.headers["authorization"] for request in server.requests}
    assert keys == {"Bearer sk-of-the-workers"}

    with (tmp_path / "prompts.jsonl").open("a") as prompts:
        prompts.write('{"id": "nan", "prompt": "a", "seed": NaN}\n')
    result = run(*BATCH, "--dask", scheduler.address)
    assert result.returncode == 4, result.stderr
    assert summary_of(result.stderr).startswith("1 answer (4 were there already), 1 failure, ")
    records = read(tmp_path / "answers.jsonl")
    assert [record["custom_id"] for record in records if record["error"]] == ["nan"]
    assert len(records) == 6
    log = (tmp_path / "log").read_text()
    assert "sk-of" not in log
    assert "question" not in log


def test_ctrl_c_closes_the_streams_of_the_workers(
    server: ScriptedServer, environment: dict[str, str], scheduler: Cluster, tmp_path: Path
) -> None:
    server.play(echo)
    server.always(answer([*chat_chunks("one two")[:2], Hang()]))
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 6)])
    with subprocess.Popen(
        [*COMMAND, *BATCH, "--dask", scheduler.address, "-c", "3"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_lines(tmp_path / "answers.jsonl", 1)
        server.wait_for_requests(4, PATIENCE)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, said
    assert summary_of(said).startswith("1 answer, 0 failures, ")
    # One worker with one thread had three of them at once, on a connection each.
    assert all(connection.client_closed.wait(PATIENCE) for connection in server.connections)
    assert len(server.connections) >= 3


def test_the_scheduler_goes_away(
    server: ScriptedServer,
    environment: dict[str, str],
    scheduler: Cluster,
    tmp_path: Path,
) -> None:
    server.always(answer([*chat_chunks("one two")[:2], Hang()]))
    write(tmp_path / "prompts.jsonl", ["a", "b"])
    with subprocess.Popen(
        [*COMMAND, *BATCH, "--dask", scheduler.address],
        cwd=tmp_path,
        env={**environment, **IMPATIENT},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        server.wait_for_requests(2, PATIENCE)
        scheduler.process.kill()
        said = summary_of(process.communicate(timeout=PATIENCE)[1])
    assert process.returncode == 1
    assert said.count("\n") == 2, said
    summary, error = said.splitlines()
    assert summary.startswith("0 answers, 0 failures, ")
    assert error == "Error: the Dask scheduler is gone"


def test_ctrl_c_on_a_terminal_with_a_local_cluster(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """The terminal sends it to the workers as well, which are none of the user's business."""
    server.play(echo)
    server.always(answer([*chat_chunks("one two")[:2], Hang()]))
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 6)])
    with subprocess.Popen(
        [*COMMAND, *BATCH, "--dask", "local", "-c", "3"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for_lines(tmp_path / "answers.jsonl", 1)
        server.wait_for_requests(4, PATIENCE)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, said
    assert "1 answer, 0 failures, " in said
    assert "Traceback" not in said


def test_workers_without_a_key(run: RUN, tmp_path: Path) -> None:
    """It is told once, and no prompt fails for it."""
    write(tmp_path / "prompts.jsonl", ["a", "b"])
    result = run(*BATCH, "--dask", "local", OPENAI_API_KEY="", OPENAI_BASE_URL="")
    assert result.returncode == 1
    assert "the Dask workers cannot do it: ConfigurationError: no API key" in result.stderr
    assert read(tmp_path / "answers.jsonl") == []


@pytest.fixture
def bare(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    """A cluster whose workers have Dask, and not this package, which its scheduler does have.

    It can be told to start more of them.
    """
    worker = (
        "import asyncio, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] == 'openai_stream':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from distributed import Worker\n"
        "async def main():\n"
        "    async with Worker(sys.argv[1], nthreads=1) as worker:\n"
        "        await worker.finished()\n"
        "asyncio.run(main())\n"
    )
    script = (
        "import subprocess, sys\n"
        "from distributed import Client, LocalCluster\n"
        f"WORKER = {worker!r}\n"
        "cluster = LocalCluster(n_workers=0, processes=False, dashboard_address=None,\n"
        "                       protocol='tcp')\n"
        "address, workers = cluster.scheduler_address, []\n"
        "def start(count):\n"
        "    for _ in range(count):\n"
        "        workers.append(subprocess.Popen([sys.executable, '-c', WORKER, address]))\n"
        "    Client(address).wait_for_workers(count) if count else None\n"
        "start(int(sys.argv[1]))\n"
        "print(address, flush=True)\n"
        "for line in sys.stdin:\n"
        "    start(int(line))\n"
        "for one in workers:\n"
        "    one.kill()\n"
    )
    (tmp_path / "bare.py").write_text(script)
    with (
        (tmp_path / "log").open("wb") as log,
        ExitStack() as stack,
    ):

        def start(workers: int) -> Cluster:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "bare.py", str(workers)], cwd=tmp_path, env=environment,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )
            )  # fmt: skip
            assert process.stdout is not None
            return Cluster(process.stdout.readline().strip(), process)

        yield start


def test_workers_without_the_package(
    server: ScriptedServer, run: RUN, bare: Callable[[int], Cluster], tmp_path: Path
) -> None:
    """They are found before anything is asked, and nothing of a prompt is in their log."""
    write(tmp_path / "prompts.jsonl", [f"a secret {n}" for n in range(5)])
    result = run(*BATCH, "--dask", bare(1).address)
    assert result.returncode == 1, result.stderr
    assert "No module named 'openai_stream'" in result.stderr
    assert 'python -m pip install ".[cli,dask]"' in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in (tmp_path / "log").read_text()
    assert (server.requests, read(tmp_path / "answers.jsonl")) == ([], [])


def test_workers_without_the_package_that_come_later(
    server: ScriptedServer,
    environment: dict[str, str],
    bare: Callable[[int], Cluster],
    tmp_path: Path,
) -> None:
    write(tmp_path / "prompts.jsonl", [f"a secret {n}" for n in range(5)])
    cluster = bare(0)
    with subprocess.Popen(
        [*COMMAND, *BATCH, "--dask", cluster.address],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "no workers yet" in process.stderr.readline()
        assert cluster.process.stdin is not None
        cluster.process.stdin.write("1\n")
        cluster.process.stdin.flush()
        said = process.stderr.read()
    assert process.returncode == 1, said
    assert "No module named 'openai_stream'" in said
    assert "secret" not in (tmp_path / "log").read_text()


def test_no_scheduler_there(run: RUN, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run(*BATCH, "--dask", "tcp://127.0.0.1:9", **IMPATIENT)
    assert result.returncode == 1
    assert "Error: no Dask scheduler at tcp://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("address", ["locl", "bogus://there", "localhost:port"])
def test_no_address_of_a_scheduler(run: RUN, tmp_path: Path, address: str) -> None:
    """It is told, and the process ends."""
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run(*BATCH, "--dask", address)
    assert result.returncode == 1
    assert f"Error: no Dask scheduler at {address}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_cluster_does_not_reach_a_model_on_this_machine(run: RUN, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run(*BATCH, "--dask", "tcp://127.0.0.1:9", "--local")
    assert result.returncode == 2
    assert "do not reach" in result.stderr


def test_without_the_extra(run: RUN, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    (tmp_path / "distributed.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = run(*BATCH, "--dask", "local", PYTHONPATH=path)
    assert result.returncode == 2
    assert 'python -m pip install ".[dask]"' in result.stderr
