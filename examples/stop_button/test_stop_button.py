"""Each way to stop the script, and what is left then."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest

from openai_stream.testing import Reset, ScriptedServer, Wait, answer, chat_chunks

SOON = 30.0  # seconds; for what takes one on a machine that has nothing else to do
Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def gate(server: ScriptedServer) -> threading.Event:
    """The server has said ``One two``; it goes on when this is set."""
    gate = threading.Event()
    chunks = chat_chunks("One two three", usage=True)
    server.play(answer([*chunks[:3], Wait(gate), *chunks[3:]]))
    return gate


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Until these come out of the script."""
    assert process.stdout is not None
    seen = ""
    while not seen.endswith(words):
        piece = process.stdout.read(1)
        assert piece, seen
        seen += piece


def press_enter(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [press_enter, interrupt])
def test_is_stopped_and_keeps_what_had_come(
    server: ScriptedServer,
    launch: Launch,
    gate: threading.Event,
    stop: Callable[[subprocess.Popen[str]], None],
) -> None:
    process = launch("Count!")
    read_until(process, "One two")
    stop(process)
    assert server.connections[0].client_closed.wait(SOON)
    assert not gate.is_set()
    _, told = process.communicate(timeout=SOON)
    assert told == "Press Enter to stop.\nstopped: 7 characters kept, usage not told\n"
    assert process.returncode == 0


def test_stops_by_itself(server: ScriptedServer, launch: Launch, gate: threading.Event) -> None:
    process = launch("--seconds", "0.1", "Count!")
    assert server.wait_for_connections(1, SOON)[0].client_closed.wait(SOON)
    _, told = process.communicate(timeout=SOON)
    assert re.search(r"^stopped: [037] characters kept, usage not told$", told, re.MULTILINE)


def test_drain_shows_no_more_and_gets_the_usage(
    server: ScriptedServer, launch: Launch, gate: threading.Event
) -> None:
    process = launch("--drain", "Count!")
    read_until(process, "One two")
    press_enter(process)
    read_until(process, "\n")
    gate.set()
    rest, told = process.communicate(timeout=SOON)
    assert rest == ""
    assert "The model finishes" in told
    outcome = told.splitlines()[-1]
    assert outcome.startswith("stopped, and finished unseen: 13 characters kept, ")
    assert re.search(r", \d+ tokens$", outcome)


def test_a_second_ctrl_c_ends_the_drain(
    server: ScriptedServer, launch: Launch, gate: threading.Event
) -> None:
    process = launch("--drain", "Count!")
    read_until(process, "One two")
    interrupt(process)
    assert process.stderr is not None
    while "The model finishes" not in process.stderr.readline():
        pass
    interrupt(process)
    assert server.connections[0].client_closed.wait(SOON)
    _, told = process.communicate(timeout=SOON)
    assert told == "stopped: 7 characters kept, usage not told\n"
    assert process.returncode == 0


def test_goes_to_the_end_by_itself(launch: Launch, gate: threading.Event) -> None:
    gate.set()
    process = launch("Count!")
    assert process.stdin is not None
    process.stdin.close()  # no keyboard is no reason to stop
    process.stdin = None
    text, told = process.communicate(timeout=SOON)
    assert text == "One two three\n"
    assert re.search(r"^whole: 13 characters kept, \d+ tokens$", told, re.MULTILINE)


def test_an_answer_that_is_cut(server: ScriptedServer, launch: Launch) -> None:
    server.play(answer([*chat_chunks("One two three")[:3], Reset()]))
    process = launch("Count!")
    text, told = process.communicate(timeout=SOON)
    assert text == "One two\n"
    assert "error: " in told
    assert told.endswith("broken off: 7 characters kept, usage not told\n")
    assert process.returncode == 1


def test_says_what_is_missing(launch: Launch) -> None:
    process = launch(OPENAI_BASE_URL="")
    _, told = process.communicate(timeout=SOON)
    assert told.startswith("error: no API key")
    assert process.returncode == 1
