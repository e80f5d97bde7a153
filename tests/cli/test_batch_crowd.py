"""``batch`` with very many prompts at once: few threads, and a socket for each."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from batches import BATCH, check_all, question, write
from processes import COMMAND, PATIENCE

from openai_stream.testing import Request, Script, ScriptedServer, Wait, answer, chat_chunks

MANY = 300
_PROCESSES = Path("/proc")


def threads_of(process: subprocess.Popen[Any]) -> int:
    return len(list((_PROCESSES / str(process.pid) / "task").iterdir()))


@pytest.mark.limit(180)
@pytest.mark.skipif(not (_PROCESSES / "self/task").exists(), reason="counts threads in /proc")
def test_few_threads_read_many_answers(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    counted = threading.Event()

    def half(request: Request) -> Script:
        script = answer(chat_chunks(f"answer to {question(request)}", usage=True))
        return [*script[:2], Wait(counted), *script[2:]]

    server.always(half)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, MANY + 1)])
    # Fewer open files than there will be sockets, as many systems have it.
    command = ["bash", "-c", 'ulimit -S -n 200; exec "$@"', "bash", *COMMAND, *BATCH]
    with subprocess.Popen(
        [*command, "-c", str(MANY)],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while len(server.requests) < MANY or threads_of(process) > 10:
                assert time.monotonic() < deadline, (len(server.requests), threads_of(process))
                assert process.poll() is None
                time.sleep(0.01)
            assert threads_of(process) <= 10
        finally:
            counted.set()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert len(server.requests) == MANY
    check_all(tmp_path / "answers.jsonl", MANY)


@pytest.mark.limit(180)
def test_says_that_the_system_allows_too_few_files(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    server.always(lambda request: answer(chat_chunks("Hi", usage=True)))
    write(tmp_path / "prompts.jsonl", ["one"])
    command = ["bash", "-c", 'ulimit -n 150; exec "$@"', "bash", *COMMAND, *BATCH, "-c", "2000"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stderr.split())
    assert "--concurrency 2000: this system allows 150 open files" in said
    assert "ulimit -n 2100" in said
