"""The workers, as a script: every way to start processes, and what becomes of one that dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from openai_stream.testing import (
    Request,
    Reset,
    Script,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    error_answer,
)

SOON = 30.0  # seconds; each process imports everything anew
Launch = Callable[..., "subprocess.Popen[str]"]


def question(request: Request) -> str:
    asked: str = request.json["messages"][0]["content"]
    return asked


def children(process: subprocess.Popen[str]) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_answers_come_from_all_workers(
    server: ScriptedServer, launch: Launch, start_method: str
) -> None:
    # Nobody is answered before all have asked: so all of them are asked at the same time.
    all_asked = threading.Event()

    def reply(request: Request) -> Script:
        if len(server.requests) == 5:
            all_asked.set()
        return [Wait(all_asked), *answer(chat_chunks(f"You said {question(request)}"))]

    server.always(reply)
    words = ["one", "two", "three", "four", "five"]
    process = launch("--workers", "2", "--start-method", start_method, *words)
    output, complaints = process.communicate(timeout=SOON)
    assert (process.returncode, complaints) == (0, "")
    told = re.findall(r"^\[(\d)\] (\w+)\nYou said (\w+)$", output, re.MULTILINE)
    assert sorted(told) == [(str(n), word, word) for n, word in enumerate(words, 1)]
    clients = {request.connection.number for request in server.requests}
    assert len(clients) == 5


def test_what_goes_wrong_is_told_of_its_own_answer(server: ScriptedServer, launch: Launch) -> None:
    replies = {
        "good": answer(chat_chunks("All of it")),
        "cut": answer([*chat_chunks("Only some of it")[:3], Reset()]),
        "refused": error_answer(401, "Incorrect API key."),
    }
    server.always(lambda request: replies[question(request)])
    process = launch(*replies)
    output, complaints = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert "[1] good\nAll of it\n" in output
    assert "[2] cut\nOnly some\n" in output
    assert "[2] failed: " in complaints
    assert "[3] failed: " in complaints
    assert "Incorrect API key." in complaints
    assert "[1] failed" not in complaints
    assert "Traceback" not in complaints


def test_a_worker_that_dies_is_noticed(server: ScriptedServer, launch: Launch) -> None:
    never = threading.Event()
    server.always(
        lambda request: (
            answer([*chat_chunks("Only some of it")[:3], Wait(never)])
            if question(request) == "long"
            else answer(chat_chunks("All of it"))
        )
    )
    process = launch("--workers", "1", "--start-method", "fork", "long")
    server.wait_for_requests(1, SOON)
    (worker,) = children(process)
    os.kill(worker, signal.SIGKILL)
    output, complaints = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert complaints == f"[1] failed: worker-1 died with status {-signal.SIGKILL}\n"
    assert output.startswith("[1] long\n")


def test_one_ctrl_c_ends_all(server: ScriptedServer, launch: Launch) -> None:
    never = threading.Event()
    server.always(answer([*chat_chunks("Only some of it")[:3], Wait(never)]))
    process = launch("--workers", "2", "one", "two")
    server.wait_for_requests(2, SOON)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=SOON)
    assert process.returncode == 128 + signal.SIGINT
    assert complaints == ""
    for connection in server.connections:
        assert connection.client_closed.wait(SOON)


def test_says_what_is_missing(launch: Launch) -> None:
    process = launch("one", OPENAI_BASE_URL="")
    _, complaints = process.communicate(timeout=SOON)
    assert complaints.startswith("error: no API key")
    assert process.returncode == 1
