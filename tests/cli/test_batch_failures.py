"""What a batch says of its failures, and when it gives up; how far it is, where no terminal is."""

# ruff: noqa: RUF001 - a sign of multiplication is one

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from batches import BATCH, check_all, echo, question, read, summary_of, write

from openai_stream.testing import (
    Request,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
)

NO_MODEL = error_answer(404, "The model `gpt-9` does not exist", code="model_not_found")


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


def prompts(tmp_path: Path, count: int) -> None:
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, count + 1)])


# Why ------------------------------------------------------------------------------------------


def test_says_why_in_groups(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """What differs by a number, a name or an id only is one reason."""

    def handler(request: Request) -> Script:
        number = int(question(request).split()[1])
        if number > 30:
            return echo(request)
        if number % 3:
            return error_answer(400, f"prompt req_{number}x has {4000 + number} tokens too many")
        return error_answer(422, f"no such language: 'l{number}'")

    server.always(handler)
    prompts(tmp_path, 40)
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write("7\n")
    result = run(*BATCH, "-c", "1", "--keep-going")
    assert result.returncode == 4
    figures, *reasons = result.stderr.splitlines()
    assert figures.startswith("10 answers, 31 failures, ")
    assert [line.split(" × ")[0] for line in reasons] == ["20", "10", "1"]
    assert "4001 tokens too many" in reasons[0]
    assert "no such language" in reasons[1]
    assert reasons[2].endswith("line 41 is neither a JSON object nor a string: see answers.jsonl")


def test_many_reasons_are_a_few_lines(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    words = ["a" * n + "h" for n in range(1, 121)]
    server.always(lambda request: error_answer(400, f"{question(request)}: no"))
    write(tmp_path / "prompts.jsonl", words)
    result = run(*BATCH, "-c", "8")
    assert result.returncode == 4
    reasons = result.stderr.splitlines()[1:]
    assert len(reasons) == 6
    assert reasons[-1] == "115 × other reasons: see answers.jsonl"


def test_a_reason_commands_no_terminal(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(error_answer(400, "no \x1b[31mred\u202e here"))
    prompts(tmp_path, 1)
    said = run(*BATCH).stderr
    assert "here" in said
    assert "\x1b" not in said


# When to give up ------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", ["1", "50"])
def test_stops_if_everything_fails_alike(
    server: ScriptedServer, run: Any, tmp_path: Path, concurrency: str
) -> None:
    server.always(NO_MODEL)
    prompts(tmp_path, 500)
    result = run(*BATCH, "-c", concurrency)
    assert result.returncode == 1
    assert len(server.requests) <= 20 + int(concurrency)
    assert "failed alike" in result.stderr
    assert "gpt-9" in result.stderr.splitlines()[-1]
    assert "--keep-going" in result.stderr
    server.always(echo)
    assert run(*BATCH).returncode == 0
    check_all(tmp_path / "answers.jsonl", 500)


def test_stops_if_nobody_is_there(run: Any, tmp_path: Path) -> None:
    prompts(tmp_path, 2000)
    result = run(*BATCH, "--base-url", nobody(), "--retries", "1")
    assert result.returncode == 1
    assert re.search(r"^\d+ × http.* refused", result.stderr, re.M), result.stderr
    assert len(read(tmp_path / "answers.jsonl")) <= 200


def test_keeps_going_if_it_is_told_to(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(NO_MODEL)
    prompts(tmp_path, 100)
    result = run(*BATCH, "--keep-going")
    assert result.returncode == 4
    assert len(server.requests) == 100
    assert "100 × " in result.stderr


def test_goes_on_if_something_else_happens(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    """Prompts that fail at once come in before the answers of those begun with them."""

    def handler(request: Request) -> Script:
        number = int(question(request).split()[1])
        return echo(request) if number % 25 == 0 else error_answer(400, "too long")

    server.always(handler)
    prompts(tmp_path, 200)
    result = run(*BATCH, "-c", "30")
    assert result.returncode == 4
    assert len(read(tmp_path / "answers.jsonl")) == 200
    # Nor do the same prompts, in a run that finds those answers.
    result = run(*BATCH, "-c", "30")
    assert result.returncode == 4
    assert summary_of(result.stderr).startswith("0 answers (8 were there already), 192 failures")


def test_a_server_that_goes_later_stops_the_run(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    server.play(*[echo] * 5)
    server.always(error_answer(503, "no upstream"))
    prompts(tmp_path, 400)
    result = run(*BATCH, "-c", "20", "--retries", "0")
    assert result.returncode == 1
    assert "the last 1" in result.stderr
    assert len(server.requests) < 5 + 100 + 2 * 20  # those on their way when it was certain


def test_refuses_a_file_without_a_prompt(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", [{"question": "Why?"}] * 3)
    result = run(*BATCH)
    assert result.returncode == 2
    assert "none of its 3 lines is a prompt" in result.stderr
    assert "line 1 has no prompt, messages or body" in result.stderr
    assert not (tmp_path / "answers.jsonl").exists()


def test_an_empty_file_is_said_to_be_empty(run: Any, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text("\n")
    result = run(*BATCH)
    assert result.returncode == 0
    assert "prompts.jsonl has no prompts" in result.stderr


# How far --------------------------------------------------------------------------------------


def test_lines_where_no_terminal_is(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(lambda request: answer(chat_chunks("a b c d"), delay=0.1))
    prompts(tmp_path, 4)
    result = run(*BATCH, "-c", "1", "--progress", "0.2")
    assert result.returncode == 0
    *lines, last = result.stderr.splitlines()
    assert len(lines) >= 3
    assert all(re.match(r"\d/4, \d+\.\d/s, .*tokens/s", line) for line in lines), lines
    assert last.startswith("4 answers")
    assert run(*BATCH, "--progress", "0").stderr.count("\n") == 1


def test_a_line_says_what_is_asked_again(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.play(*[error_answer(503, "no upstream")] * 3)
    server.always(echo)
    prompts(tmp_path, 2)
    result = run(*BATCH, "--progress", "0.1")
    assert result.returncode == 0
    assert re.search(r"[12] to be asked again \(.*503", result.stderr), result.stderr
