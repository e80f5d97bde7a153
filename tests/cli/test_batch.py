"""``batch``: every prompt gets its answer once, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches import BATCH, Faulty, check_all, content, echo, read, summary_of, wait_for_lines, write
from click.testing import CliRunner, Result
from processes import COMMAND, PATIENCE, Terminal

from openai_stream.cli import program
from openai_stream.testing import (
    Answer,
    Hang,
    Request,
    Script,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    completion_chunks,
    error_answer,
)

INVOKE = Callable[..., Result]


@pytest.fixture
def invoke(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> INVOKE:
    """Run the command in this process."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(program, arguments, input=stdin)

    return invoke


# A long run ----------------------------------------------------------------------------------


@pytest.mark.limit(120)
def test_500_prompts_with_faults_killed_half_way(
    server: ScriptedServer, environment: dict[str, str], run: Any, tmp_path: Path
) -> None:
    faulty = Faulty()
    server.always(faulty)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 501)])
    answers = tmp_path / "answers.jsonl"
    with subprocess.Popen(
        [*COMMAND, *BATCH], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        written = wait_for_lines(answers, 250)
        process.kill()
    assert written < 500
    # What a kill in the middle of a write leaves.
    with answers.open("ab") as file:
        file.write(b'{"custom_id": "400-')
    before, asked = len(read_whole_lines(answers)), len(server.requests)
    result = run(*BATCH)
    assert (result.returncode, result.stdout) == (0, "")
    said = summary_of(result.stderr)
    assert said.startswith(f"{500 - before} answers ({before} were there already), 0 fail")
    check_all(answers, 500)
    assert set(faulty.faults) == {"none", "rate limit", "error", "cut", "reset"}
    faults = faulty.faults.total() - faulty.faults["none"]
    assert len(server.requests) - asked <= 500 - before + faults


def read_whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().split("\n")[:-1] if line]


# What is read and written --------------------------------------------------------------------


def test_forms_of_prompts(server: ScriptedServer, invoke: INVOKE, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "c"}]
    told = [{"role": "developer", "content": "Be long."}, *messages]
    completion = {"model": "old", "prompt": "f", "stream": False}
    prompts = [
        "a",
        {"prompt": "b", "id": 7, "temperature": 1},
        {"messages": messages, "custom_id": "c", "id": "not this"},
        {"messages": told, "stream_options": None},
        {
            "custom_id": "e",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": messages},
        },
        {"custom_id": "f", "method": "POST", "url": "/v1/completions", "body": completion},
    ]
    write(tmp_path / "prompts.jsonl", prompts)
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write("\n  \n")
    bodies = []

    def handler(request: Request) -> Script:
        bodies.append((request.path, request.json))
        of_chat = request.path.endswith("chat/completions")
        return answer((chat_chunks if of_chat else completion_chunks)("yes", usage=True))

    server.always(handler)
    result = invoke(*BATCH, "-c", "1", "-s", "Be brief.", "--option", "temperature", "0")
    assert result.exit_code == 0, result.stderr
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    system = {"role": "system", "content": "Be brief."}
    default = {"model": "gpt-6-luna", "temperature": 0, **usage}
    asked = [{"role": "user", "content": text} for text in "ab"]
    assert bodies == [
        ("/v1/chat/completions", {**default, "messages": [system, asked[0]]}),
        ("/v1/chat/completions", {**default, "messages": [system, asked[1]], "temperature": 1}),
        ("/v1/chat/completions", {**default, "messages": [system, *messages]}),
        ("/v1/chat/completions", {**default, "messages": told, "stream_options": None}),
        ("/v1/chat/completions", {"model": "gpt-6-luna", **usage, "messages": messages}),
        ("/v1/completions", {"model": "old", "prompt": "f", **usage}),
    ]
    records = read(tmp_path / "answers.jsonl")
    keys = [record["custom_id"] for record in records]
    assert [keys[1], keys[2], keys[4], keys[5]] == [7, "c", "e", "f"]
    assert [keys[0][:2], keys[3][:2]] == ["1-", "4-"]
    assert records[0].pop("id").startswith("batch_req_")
    assert records[0] == {
        "custom_id": keys[0],
        "response": {
            "status_code": 200,
            "request_id": None,
            "body": records[0]["response"]["body"],
        },
        "error": None,
        "asked": {
            "--model": "gpt-6-luna",
            "--option temperature": 0,
            "--system": "Be brief.",
        },
    }
    assert content(records[0]) == "yes"
    assert records[0]["response"]["body"]["usage"]["completion_tokens"] == 3


def test_a_second_run_does_what_is_missing(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path
) -> None:
    """Failures are tried again, also when the line was put right; answers are kept as they are."""
    server.play(answer(chat_chunks("one")), error_answer(400, "no such thing", code="bad"))
    bad = ["not json", "7", '{"a": 1}', '{"id": true, "prompt": "a"}']
    bad += ['{"id": "u", "url": "/v1/images", "body": {}}']
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        "\n".join(['{"id": "a", "prompt": "1"}', '{"id": "b", "prompt": "2"}', *bad])
    )
    result = invoke(*BATCH, "-c", "1")
    assert result.exit_code == 4
    assert summary_of(result.stderr).startswith("1 answer, 6 failures, ")
    first, refused, *others = read(tmp_path / "answers.jsonl")
    assert refused["custom_id"] == "b"
    assert refused["response"]["status_code"] == 400
    assert refused["error"]["type"] == "BadRequestError"
    assert refused["error"]["code"] == "bad"
    assert "no such thing" in refused["error"]["message"]
    assert [record["error"]["type"] for record in others] == ["PromptError"] * 5
    said = [record["error"]["message"] for record in others]
    assert said[0].startswith("line 3 is not JSON")
    assert said[1:] == [
        "line 4 is neither a JSON object nor a string",
        "line 5 has no prompt, messages or body",
        "line 6: the id must be a string or a whole number",
        "line 7: the url '/v1/images' is unknown; known are /v1/chat/completions, "
        "/v1/completions, /v1/responses, /v1/embeddings, /v1/moderations, /v1/rerank, /v1/score",
    ]

    prompts.write_text('{"id": "a", "prompt": "1"}\n{"id": "b", "prompt": "2"}\n"mended"\n')
    server.always(echo)
    result = invoke(*BATCH, "-c", "1")
    assert result.exit_code == 0
    assert summary_of(result.stderr).startswith("2 answers (1 were there already), 0 failures, ")
    records = read(tmp_path / "answers.jsonl")
    assert records[0] == first
    assert [content(record) for record in records[1:]] == ["answer to 2", "answer to mended"]
    assert invoke(*BATCH).exit_code == 0
    assert read(tmp_path / "answers.jsonl") == records
    assert len(server.requests) == 4


def test_standard_input(server: ScriptedServer, invoke: INVOKE, tmp_path: Path) -> None:
    server.always(echo)
    result = invoke("batch", "-", "-o", "answers.jsonl", stdin='"a"\n"b"')
    assert result.exit_code == 0
    assert {content(record) for record in read(tmp_path / "answers.jsonl")} == {
        "answer to a",
        "answer to b",
    }


def test_prompts_are_read_as_they_are_needed(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    server.always(echo)
    with subprocess.Popen(
        [*COMMAND, "batch", "-", "-o", "answers.jsonl", "-c", "1"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'"a"\n"b"\n')
        server.wait_for_requests(1, PATIENCE)
        process.stdin.write(b'"c"\n')
        assert process.communicate(timeout=PATIENCE)[1].startswith(b"3 answers,")
    assert process.returncode == 0


def test_two_prompts_with_one_id(server: ScriptedServer, invoke: INVOKE, tmp_path: Path) -> None:
    server.always(echo)
    write(tmp_path / "prompts.jsonl", [{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}])
    result = invoke(*BATCH, "-c", "1")
    assert result.exit_code == 2
    assert "prompts.jsonl, line 2: the id 1 is that of line 1 already" in result.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    "text",
    [
        "my notes",
        '{"custom_id": 1}\n',
        '{"custom_id": "x", "error": null}\n',
        "[]\n",
        '{"cus\n',
        "{}",
    ],
)
def test_a_file_of_something_else_is_left_alone(invoke: INVOKE, tmp_path: Path, text: str) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    (tmp_path / "answers.jsonl").write_text(text)
    result = invoke(*BATCH)
    assert result.exit_code == 2
    assert "line 1 is not a line of answers" in result.stderr
    assert (tmp_path / "answers.jsonl").read_text() == text


@pytest.mark.parametrize("end", ["\n", "\n\r\n \n", "\0" * 600])
def test_lines_with_nothing_in_them_are_dropped(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path, end: str
) -> None:
    """Files that were joined have them, and one that was written when the power went."""
    server.always(echo)
    write(tmp_path / "prompts.jsonl", ["a", "b"])
    assert invoke(*BATCH).exit_code == 0
    answers = tmp_path / "answers.jsonl"
    before = answers.read_text()
    answers.write_text(before + end)
    asked = len(server.requests)
    assert invoke(*BATCH).exit_code == 0
    assert len(server.requests) == asked
    assert answers.read_text() == before


def test_a_circle_of_links_is_no_file(invoke: INVOKE, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    (tmp_path / "circle.jsonl").symlink_to("circle.jsonl")
    result = invoke("batch", "prompts.jsonl", "-o", "circle.jsonl")
    assert result.exit_code == 1
    assert "Too many levels of symbolic links" in result.stderr
    assert (tmp_path / "circle.jsonl").is_symlink()


def test_answers_and_prompts_are_two_files(invoke: INVOKE, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    (tmp_path / "same.jsonl").symlink_to("prompts.jsonl")
    result = invoke("batch", "prompts.jsonl", "-o", "same.jsonl")
    assert result.exit_code == 2
    assert "the answers and the prompts are the same file" in result.stderr


def test_a_whole_last_line_without_its_end_is_kept(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path
) -> None:
    server.always(echo)
    write(tmp_path / "prompts.jsonl", [{"id": 1, "prompt": "a"}])
    assert invoke(*BATCH).exit_code == 0
    answers = tmp_path / "answers.jsonl"
    whole = answers.read_text()
    answers.write_text(whole + whole.removesuffix("\n"))  # and one answer twice
    answers.chmod(0o640)
    assert invoke(*BATCH).exit_code == 0
    assert answers.read_text() == whole
    assert answers.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "prompts.jsonl"]


def test_a_pipe_in_the_place_of_the_file(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """It is not waited for what it has to say."""
    server.always(echo)
    write(tmp_path / "prompts.jsonl", ["a"])
    os.mkfifo(tmp_path / "answers.jsonl")
    reader = os.open(tmp_path / "answers.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(*BATCH).returncode == 0
        assert json.loads(os.read(reader, 65536))["error"] is None
    finally:
        os.close(reader)


def test_one_run_at_a_time(
    server: ScriptedServer, environment: dict[str, str], invoke: INVOKE, tmp_path: Path
) -> None:
    server.play(answer([Hang()]))
    write(tmp_path / "prompts.jsonl", ["a"])
    with subprocess.Popen([*COMMAND, *BATCH], cwd=tmp_path, env=environment) as process:
        server.wait_for_requests(1, PATIENCE)
        result = invoke(*BATCH)
        process.kill()
    assert result.exit_code == 1
    assert "another run is writing" in result.stderr


# Faults --------------------------------------------------------------------------------------


def test_faults_that_stay(server: ScriptedServer, invoke: INVOKE, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    server.always(error_answer(500, "oops"))
    result = invoke(*BATCH, "--retries", "1")
    assert result.exit_code == 4
    assert len(server.requests) == 2
    (record,) = read(tmp_path / "answers.jsonl")
    assert record["error"]["type"] == "InternalServerError"


@pytest.mark.parametrize(
    "script",
    [
        error_answer(408, "too late"),
        error_answer(409, "conflict"),
        answer(["{"]),
        answer([{"error": {"message": "try later", "type": "server_error"}}]),
        answer([], done=False),
    ],
)
def test_faults_that_pass(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path, script: Answer
) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    server.play(script, echo)
    assert invoke(*BATCH).exit_code == 0
    assert len(server.requests) == 2


def test_a_server_that_says_when_to_come_again(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path
) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    server.play(error_answer(503, "busy", headers={"Retry-After": "2"}), echo)
    assert invoke(*BATCH).exit_code == 0
    first, second = server.requests
    assert second.received_at - first.received_at >= 1.9


@pytest.mark.parametrize(
    "script",
    [
        answer(content_type="text/html"),
        answer([{"error": {"message": "no", "code": "content_filter"}}]),
        error_answer(404, "no such model"),
        error_answer(
            429,
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit "
            "30000, Requested 44436.",
            type="tokens",
            code="rate_limit_exceeded",
        ),
    ],
)
def test_faults_that_do_not(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path, script: Answer
) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    server.play(script, echo)
    assert invoke(*BATCH).exit_code == 4
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "script",
    [
        error_answer(401, "who are you?"),
        error_answer(402, "pay"),
        error_answer(429, "pay", code="insufficient_quota"),
        error_answer(429, "pay", type="insufficient_quota"),
        answer([{"error": {"message": "pay", "code": 402}}]),
    ],
)
def test_what_every_prompt_would_meet_ends_the_run(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path, script: Answer
) -> None:
    write(tmp_path / "prompts.jsonl", ["a", "b", "c"])
    server.play(echo)
    server.always(script)
    result = invoke(*BATCH, "-c", "1")
    assert result.exit_code == 1
    assert "?." not in result.stderr
    assert "this run ends" in result.stderr
    assert len(server.requests) == 2
    assert [content(record) for record in read(tmp_path / "answers.jsonl")] == ["answer to a"]


def test_a_prompt_that_failed_names_the_option_of_this_command(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path
) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    server.always(answer(chat_chunks("One two")[:2], done=False))
    assert invoke(*BATCH, "--retries", "0").exit_code == 4
    (record,) = read(tmp_path / "answers.jsonl")
    assert "--retries" in record["error"]["message"]
    assert "restarts" not in record["error"]["message"]


@pytest.mark.parametrize("value", ["NaN", "[-Infinity]", "1e999"])
def test_a_body_that_json_cannot_carry(invoke: INVOKE, tmp_path: Path, value: str) -> None:
    (tmp_path / "prompts.jsonl").write_text(f'{{"id": 7, "prompt": "a", "top_p": {value}}}\n')
    assert invoke(*BATCH).exit_code == 4
    (record,) = read(tmp_path / "answers.jsonl")
    assert str(record["custom_id"]) == "7"
    assert "line 1 is not JSON" in record["error"]["message"]
    assert invoke("batch", "prompts.jsonl", "--check").exit_code == 2
    assert invoke("batch", "prompts.jsonl", "--requests", "requests.jsonl").exit_code == 2
    assert (tmp_path / "requests.jsonl").read_text() == ""


@pytest.mark.parametrize("in_the_stream", [False, True])
def test_a_rate_limit_holds_all_back(
    server: ScriptedServer, invoke: INVOKE, tmp_path: Path, in_the_stream: bool
) -> None:
    """Nothing begins until the time that the server asks for is over, and nothing fails."""
    headers = {"retry-after-ms": "700"}
    limited: Script = error_answer(429, "slow down", headers=headers)
    if in_the_stream:
        limited = answer([{"error": {"message": "slow", "code": "rate_limit_exceeded"}}])
    begun: list[float] = []
    said = threading.Event()

    def handler(request: Request) -> Script:
        begun.append(time.monotonic())
        if len(begun) == 4:
            said.set()
            return limited
        # Those that came before wait for it, so that all four run into it together.
        return [Wait(said), limited] if len(begun) < 4 else echo(request)  # type: ignore[list-item]

    def flat(request: Request) -> Script:
        steps: list[Any] = []
        for step in handler(request):  # type: ignore[union-attr]
            steps += step if isinstance(step, list) else [step]
        return steps

    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 11)])
    server.always(flat)
    assert invoke(*BATCH, "-c", "4").exit_code == 0
    check_all(tmp_path / "answers.jsonl", 10)
    assert begun[4] - begun[3] >= 0.65
    assert len(begun) == 14


@pytest.mark.parametrize("seconds", ["1e12", "inf", "9" * 400])
def test_a_pause_longer_than_any_clock_counts(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path, seconds: str
) -> None:
    server.always(error_answer(429, "slow down", headers={"Retry-After": seconds}))
    write(tmp_path / "prompts.jsonl", ["a"])
    with subprocess.Popen(
        [*COMMAND, *BATCH], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        server.wait_for_requests(1, PATIENCE)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, "Traceback" in said) == (130, False), said


# The end -------------------------------------------------------------------------------------


def test_ctrl_c(
    server: ScriptedServer, environment: dict[str, str], run: Any, tmp_path: Path
) -> None:
    server.play(echo)
    server.always(answer([*chat_chunks("one two")[:2], Hang()]))
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 6)])
    with subprocess.Popen(
        [*COMMAND, *BATCH, "-c", "2"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_lines(tmp_path / "answers.jsonl", 1)
        server.wait_for_requests(3, PATIENCE)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert summary_of(said).startswith("1 answer, 0 failures")
    assert said.count("\n") == 1
    assert all(connection.client_closed.wait(20) for connection in server.connections)
    server.always(echo)
    assert run(*BATCH).returncode == 0
    check_all(tmp_path / "answers.jsonl", 5)


@pytest.mark.parametrize("width", [30, 120])
def test_the_bar(
    server: ScriptedServer, terminal: Callable[..., Terminal], tmp_path: Path, width: int
) -> None:
    seen = threading.Event()
    server.play(echo, answer([Wait(seen), *chat_chunks("two")]))
    server.play(error_answer(429, "slow", headers={"retry-after-ms": "1500"}))
    server.always(error_answer(400, "no such thing"))
    write(tmp_path / "prompts.jsonl", ["a", "b", "c"])
    shown = terminal(*BATCH, "-c", "1", width=width)
    shown.expect("1/3")
    if width > 100:
        shown.expect("tokens/s")
        shown.expect("left")
    seen.set()
    shown.expect("2/3")
    if width > 100:
        shown.expect("rate limited for")
    assert shown.end() == 4
    assert "2 answers, 1 failure," in shown.shown.replace("\r\n", " ").replace("  ", " ")
    if width > 100:
        assert "1 failure" in shown.shown


def test_answers_are_written_while_the_next_prompt_is_awaited(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """What makes the prompts may be slow, or wait for the answers."""
    server.always(echo)
    answers = tmp_path / "answers.jsonl"
    with subprocess.Popen(
        [*COMMAND, "batch", "-", "-o", "answers.jsonl"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b'"a"\n"b')
        process.stdin.flush()
        wait_for_lines(answers, 1)
        process.stdin.write(b'"\n\n"c"')
        process.stdin.flush()
        wait_for_lines(answers, 2)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert [record["custom_id"][:2] for record in read(answers)] == ["1-", "2-", "4-"]
