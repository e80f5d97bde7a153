"""``record``, ``replay`` and ``serve``: what a server sent, again."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import HELD_UP
from processes import COMMAND, PATIENCE

from openai_stream import Client
from openai_stream.testing import (
    Pause,
    Reset,
    ScriptedServer,
    answer,
    chat_chunks,
    completion_chunks,
    error_answer,
    json_answer,
)

RUN = Callable[..., "subprocess.CompletedProcess[str]"]
RECORD = ("record", "talk.rec")


def test_a_recording_is_replayed(server: ScriptedServer, run: RUN, tmp_path: Path) -> None:
    """Event for event, in the order of the attempts, at its own pace or faster."""
    chunks = chat_chunks("Blue as the sea", usage=True)
    server.play(error_answer(500, "oops"), answer([*chunks[:2], Pause(0.5), *chunks[2:]]))
    first = run(*RECORD, "chat", "--json", "Why?")
    assert first.returncode == 0
    assert "sk-of-the-tests" not in (tmp_path / "talk.rec").read_text()

    again = run("replay", "talk.rec", "--json", OPENAI_API_KEY="", HTTP_PROXY="http://127.0.0.1:9")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "oops" in again.stderr
    text = run("replay", "talk.rec", "--stats")
    assert text.stdout == "Blue as the sea\n"
    gap = text.stderr.partition("longest gap")[2].split()[0]
    assert float(gap) >= 0.4
    text = run("replay", "talk.rec", "--stats", "--speed", "0")
    gap = text.stderr.partition("longest gap")[2].split()[0]
    assert float(gap) < 0.4 * HELD_UP


def test_the_status_is_that_of_the_last(server: ScriptedServer, run: RUN) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Reset()]))
    assert run(*RECORD, "chat", "Why?").returncode == 3
    result = run("replay", "talk.rec")
    assert (result.returncode, result.stdout) == (3, "One\n")


def test_an_answer_that_was_stopped(
    server: ScriptedServer, run: RUN, environment: dict[str, str], tmp_path: Path
) -> None:
    server.play(answer([*chat_chunks("One two")[:2], Pause(PATIENCE)]))
    with subprocess.Popen(
        [*COMMAND, *RECORD, "chat", "Why?"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"One"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    result = run("replay", "talk.rec")
    assert (result.returncode, result.stdout) == (3, "One\n")


def test_a_batch_is_recorded_and_served(server: ScriptedServer, run: RUN, tmp_path: Path) -> None:
    server.play(*(answer(chat_chunks(text)) for text in ("One", "Two")))
    (tmp_path / "prompts.jsonl").write_text('"1"\n"2"\n')
    batch = ("batch", "prompts.jsonl", "-c", "1", "-o")
    assert run(*RECORD, *batch, "a.jsonl").returncode == 0
    result = run("replay", "talk.rec", "--speed", "0")
    assert (result.returncode, result.stdout) == (0, "One\nTwo\n")


@pytest.mark.parametrize("match", ["request", "turn"])
def test_serve(
    server: ScriptedServer, run: RUN, environment: dict[str, str], tmp_path: Path, match: str
) -> None:
    server.play(*(answer(chat_chunks(text)) for text in ("One", "Two")))
    for number in "12":
        assert run("record", f"{number}.rec", "chat", number).returncode == 0
    with subprocess.Popen(
        [*COMMAND, "serve", "1.rec", "2.rec", "--match", match],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("2 answers at http://127.0.0.1:")
        with Client(base_url=line.split()[-1], max_retries=0) as client:

            def ask(prompt: str) -> str | None:
                messages = [{"role": "user", "content": prompt}]
                events = client.create_chat_completion(
                    model="gpt-6-luna", messages=messages, stream=True
                )
                return events.stream.result().choices[0].message.content

            assert [ask("2"), ask("1")] == (
                ["Two", "One"] if match == "request" else ["One", "Two"]
            )
        if match == "request":
            unknown = run("chat", "3", OPENAI_BASE_URL=line.split()[-1])
            assert unknown.returncode == 1
            assert "none of the 2 recorded requests" in unknown.stderr
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 130


def test_a_port_that_is_taken(server: ScriptedServer, run: RUN) -> None:
    server.play(answer(chat_chunks("One")))
    assert run(*RECORD, "chat", "1").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "talk.rec", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "in use" in result.stderr


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/\x1b]0;owned\x07", "{}"),
        ("/v1/chat/completions", "no json"),
        ("/v1/chat/completions", "[" * 100_000),
    ],
)
def test_a_recording_of_somebody_elses(run: RUN, tmp_path: Path, target: str, body: str) -> None:
    """What is in it commands no terminal, and is told in a line."""
    lines = [
        {"openai_stream_recording": 1, "library": "0"},
        {
            "exchange": 1,
            "begun": "2024-01-01T00:00:00+00:00",
            "request": {"method": "POST", "target": target, "headers": {}, "text": body},
        },
    ]
    (tmp_path / "talk.rec").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = run("replay", "talk.rec")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.strip().isprintable()


def test_answers_that_were_not_streamed(
    server: ScriptedServer, run: RUN, environment: dict[str, str], tmp_path: Path
) -> None:
    """A program's own recording may have them, and endpoints that the command does not know."""
    from openai_stream.recordings import Recorder  # noqa: PLC0415

    message = {"role": "assistant", "content": "Blue"}
    whole = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    server.play(json_answer(whole), answer([{"a": 1}]))
    with Recorder(tmp_path / "talk.rec") as recorder, Client() as client:
        recorder.watch(client)
        client.create_chat_completion(model="any", messages=[])
        list(client.stream("/images", {"prompt": "a"}))
    result = run("replay", "talk.rec")
    assert (result.returncode, result.stdout) == (2, "Blue\n")
    assert "exchange 2: the endpoint /v1/images is unknown" in result.stderr
    result = run("replay", "talk.rec", "--json")
    assert json.loads(result.stdout) == whole


def test_complete_is_recorded(server: ScriptedServer, run: RUN) -> None:
    server.play(answer(completion_chunks(" upon a time")))
    assert run(*RECORD, "complete", "Once").stdout == " upon a time\n"
    assert run("replay", "talk.rec").stdout == " upon a time\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["replay", "prompts.jsonl"], 1, "this is not a recording"),
        (["serve", "prompts.jsonl"], 1, "this is not a recording"),
        (["replay", "nowhere.rec"], 2, "nowhere.rec"),
        (["record", "no/such/folder.rec", "chat", "Why?"], 1, "No such file"),
        (["record", "chat", "Why?"], 2, "No such command"),
        (
            ["record", "new.rec", "batch", "prompts.jsonl", "-o", "a", "--dask", "local"],
            2,
            "--dask",
        ),
    ],
)
def test_wrong_use(run: RUN, tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    (tmp_path / "prompts.jsonl").write_text('"1"\n')
    result = run(*arguments)
    assert result.returncode == status
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]
