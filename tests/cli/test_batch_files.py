"""The files of a batch: in which forms prompts come and answers go, and what is said before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from batches import BATCH, content, echo, read, summary_of, write
from processes import PATIENCE

from openai_stream.testing import (
    Request,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    json_answer,
)

EMBEDDING = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def batch_line(id: str, url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": id, "method": "POST", "url": url, "body": body}


def handler(request: Request) -> Script:
    if request.path.endswith("/embeddings"):
        return json_answer(EMBEDDING)
    return echo(request)


# Endpoints --------------------------------------------------------------------------------------


def test_embeddings(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """They are asked in one piece, among others that are streamed."""
    server.always(handler)
    prompts: list[Any] = [
        batch_line("e", "/v1/embeddings", model="text-embedding-3-small", input="the sea"),
        "hello",
    ]
    write(tmp_path / "prompts.jsonl", prompts)
    result = run(*BATCH)
    assert (result.returncode, result.stderr[:21]) == (0, "2 answers, 0 failures"), result.stderr
    records = {record["custom_id"]: record for record in read(tmp_path / "answers.jsonl")}
    assert records["e"]["response"]["body"] == EMBEDDING
    asked = {request.path: request.json for request in server.requests}
    assert asked["/v1/embeddings"] == {"model": "text-embedding-3-small", "input": "the sea"}


def test_an_embedding_that_fails_is_asked_again(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    server.play(json_answer({"error": {"message": "busy"}}, status=503))
    server.play(json_answer({"error": {"message": "too long"}}, status=400))
    write(
        tmp_path / "prompts.jsonl",
        [batch_line("e", "/v1/embeddings", model="small", input="the sea")],
    )
    result = run(*BATCH)
    assert result.returncode == 4
    assert "too long" in result.stderr
    assert len(server.requests) == 2


def test_names_the_urls_that_are_known(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(handler)
    write(tmp_path / "prompts.jsonl", ["a", batch_line("i", "/v1/images/generations", prompt="a")])
    result = run(*BATCH)
    assert result.returncode == 4
    for known in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings"):
        assert known in result.stderr
    assert "/v1/images/generations" in result.stderr


# Ids --------------------------------------------------------------------------------------------


def test_the_field_of_the_id(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(handler)
    prompts = [{"uid": "a-1", "prompt": "a"}, {"uid": 2, "id": "other", "prompt": "b"}, "c"]
    write(tmp_path / "prompts.jsonl", prompts)
    result = run(*BATCH, "--id-field", "uid")
    assert result.returncode == 4
    assert "line 3 has no field 'uid'" in result.stderr
    assert {record["custom_id"] for record in read(tmp_path / "answers.jsonl")} >= {"a-1", 2}
    assert all("uid" not in request.json for request in server.requests)


def test_a_number_and_its_text_are_one_id(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", [{"id": 7, "prompt": "a"}, {"id": "7", "prompt": "b"}])
    result = run(*BATCH)
    assert result.returncode == 2
    assert "line 2: the id '7' is that of line 1 already" in result.stderr


# OpenAI's own format ----------------------------------------------------------------------------


def test_lines_as_the_apis_own_batches_have_them(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    server.always(handler)
    write(tmp_path / "prompts.jsonl", [batch_line("a", "/v1/chat/completions", messages=[])])
    server.always(answer(chat_chunks("hello")))
    assert run(*BATCH).returncode == 0
    (record,) = read(tmp_path / "answers.jsonl")
    assert list(record)[:4] == ["id", "custom_id", "response", "error"]
    assert record["id"].startswith("batch_req_")
    assert list(record["response"]) == ["status_code", "request_id", "body"]


def test_takes_what_the_apis_own_batches_answered(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    """A refusal there is a response with its status, and no error."""
    body = {"model": "gpt-6-luna-2024-07-18", "choices": [{"message": {"content": "old"}}]}
    refusal = {"error": {"message": "too long"}}
    theirs = [
        ("a", {"status_code": 200, "request_id": "r", "body": body}, None),
        ("b", {"status_code": 400, "request_id": "r", "body": refusal}, None),
        ("c", None, {"code": "batch_expired", "message": "expired"}),
        ("7", {"status_code": 200, "request_id": "r", "body": body}, None),
    ]
    write(
        tmp_path / "answers.jsonl",
        [
            {"id": f"batch_req_{id}", "custom_id": id, "response": response, "error": error}
            for id, response, error in theirs
        ],
    )
    write(tmp_path / "prompts.jsonl", [{"id": id, "prompt": "x"} for id in ("a", "b", "c", 7)])
    server.always(handler)
    result = run(*BATCH)
    assert result.returncode == 0
    assert summary_of(result.stderr).startswith("2 answers (2 were there already)")
    assert len(server.requests) == 2
    assert "asked otherwise" not in result.stderr


def test_writes_requests_for_the_apis_own_batches(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    """What has no answer yet; the answers to them can then be added to the file."""
    server.always(handler)
    write(tmp_path / "prompts.jsonl", [{"id": 1, "prompt": "a"}])
    assert run(*BATCH).returncode == 0
    prompts = [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b", "temperature": 1}]
    write(tmp_path / "prompts.jsonl", prompts)
    result = run(*BATCH, "--requests", "requests.jsonl", "-s", "Be brief.")
    assert result.returncode == 0, result.stderr
    assert len(server.requests) == 1
    (request,) = map(json.loads, (tmp_path / "requests.jsonl").read_text().splitlines())
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "b"}]
    assert request == batch_line(
        "2", "/v1/chat/completions", model="gpt-6-luna", temperature=1, messages=messages
    )
    # It goes to either.
    result = run("batch", "requests.jsonl", "-o", "answers.jsonl")
    assert result.returncode == 0
    assert [str(one["custom_id"]) for one in read(tmp_path / "answers.jsonl")] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("", 2, "the file of the requests has an empty name"),
        ("missing/requests.jsonl", 1, "Error: missing/requests.jsonl: No such file"),
    ],
)
def test_requests_need_a_place(run: Any, tmp_path: Path, name: str, status: int, said: str) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run("batch", "prompts.jsonl", "--requests", name)
    assert (result.returncode, result.stdout) == (status, "")
    assert said in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_does_not_write_requests_while_it_checks(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run("batch", "prompts.jsonl", "--check", "--requests", "requests.jsonl")
    assert result.returncode == 2
    assert "--check writes nothing" in result.stderr
    assert not (tmp_path / "requests.jsonl").exists()


# Before it is asked -----------------------------------------------------------------------------


def test_looks_over_the_file_without_asking(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    server.always(handler)
    write(tmp_path / "prompts.jsonl", [{"id": 1, "prompt": "a"}])
    assert run(*BATCH).returncode == 0
    prompts: list[Any] = [
        {"id": 1, "prompt": "a"},
        {"id": 2, "prompt": "four words of this"},
        {"id": 2, "prompt": "twice"},
        batch_line("e", "/v1/embeddings", input="x"),
        {"question": "?"},
    ]
    write(tmp_path / "prompts.jsonl", prompts)
    before = (tmp_path / "answers.jsonl").read_bytes()
    result = run(*BATCH, "--check", OPENAI_API_KEY="")
    assert result.returncode == 2
    assert result.stdout.splitlines() == [
        "prompts.jsonl: line 3: the id 2 is that of line 2 already",
        "prompts.jsonl: line 5 has no prompt, messages or body",
        "prompts.jsonl: 3 prompts (2 to /v1/chat/completions, 1 to /v1/embeddings), 2 wrong",
        "1 answered already, 2 to be asked: about 5 tokens of prompts",
    ]
    assert len(server.requests) == 1
    assert (tmp_path / "answers.jsonl").read_bytes() == before
    write(tmp_path / "prompts.jsonl", prompts[:2])
    assert run("batch", "prompts.jsonl", "--check").returncode == 0


def test_answers_need_a_place(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run("batch", "prompts.jsonl")
    assert result.returncode == 2
    assert "--output" in result.stderr


# Other parameters than those of the answers that are there --------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "other"), '--model was "gpt-6-luna" and is "other"'),
        (("--system", "Be brief."), '--system was not given and is "Be brief."'),
        (("--option", "temperature", "1"), "--option temperature was 0 and is 1"),
    ],
)
def test_warns_of_other_parameters(
    server: ScriptedServer, run: Any, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    server.always(handler)
    first = ("--option", "temperature", "0")
    prompts: list[Any] = ["a", {"prompt": "b", "model": "own"}]
    write(tmp_path / "prompts.jsonl", prompts)
    assert run(*BATCH, *first).returncode == 0
    again = run(*BATCH, *first)
    assert "asked otherwise" not in again.stderr
    write(tmp_path / "prompts.jsonl", [*prompts, "c"])
    arguments = options if "temperature" in options else (*first, *options)
    result = run(*BATCH, *arguments)
    assert result.returncode == 0
    assert said in result.stderr
    assert len(server.requests) == 3


def test_a_line_that_says_all_itself_is_not_warned_of(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    server.always(handler)
    own = {"prompt": "b", "model": "own", "temperature": 1}
    write(tmp_path / "prompts.jsonl", [own])
    assert run(*BATCH).returncode == 0
    result = run(*BATCH, "-m", "other", "--option", "temperature", "0")
    assert "asked otherwise" not in result.stderr


def test_warns_of_answers_of_another_model(run: Any, tmp_path: Path) -> None:
    """Of a file that another program has written only the model is known."""
    response = {"status_code": 200, "body": {"model": "gpt-4o-2024-08-06", "choices": []}}
    write(tmp_path / "answers.jsonl", [{"custom_id": 1, "response": response, "error": None}])
    write(tmp_path / "prompts.jsonl", [{"id": 1, "prompt": "a"}])
    assert "the model was" not in run(*BATCH, "-m", "openai/gpt-4o").stderr
    assert (
        "the model was 'gpt-4o-2024-08-06' and is 'gpt-4.1'" in run(*BATCH, "-m", "gpt-4.1").stderr
    )


# Answers that are not taken ---------------------------------------------------------------------


def test_asks_again_for_a_finish_reason(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    cut = answer(chat_chunks("half", finish_reason="length"))
    server.play(cut, cut, answer(chat_chunks("whole")))
    write(tmp_path / "prompts.jsonl", ["a"])
    result = run(*BATCH, "--reject", "length,content_filter")
    assert result.returncode == 0
    assert len(server.requests) == 3
    (record,) = read(tmp_path / "answers.jsonl")
    assert content(record) == "whole"


def test_what_stays_rejected_is_a_failure(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """The answer is kept with it, and a further run asks again; without the option it is taken."""
    server.always(answer(chat_chunks("half", finish_reason="length")))
    write(tmp_path / "prompts.jsonl", ["a"])
    assert run(*BATCH).returncode == 0
    assert len(server.requests) == 1
    result = run(*BATCH, "--reject", "length", "--retries", "1")
    assert result.returncode == 4
    assert len(server.requests) == 3
    assert "finish reason 'length'" in result.stderr
    (record,) = read(tmp_path / "answers.jsonl")
    assert content(record) == "half"
    assert record["error"]["code"] == "length"


def test_says_a_reason_is_misspelt(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(handler)
    write(tmp_path / "prompts.jsonl", ["a"])
    said = run(*BATCH, "--reject", "truncated").stderr
    assert "--reject truncated: usual finish reasons are" in said


# Many -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_prompts_that_are_answered_cost_little_memory(
    server: ScriptedServer, environment: dict[str, str], tmp_path: Path
) -> None:
    """What is kept of each is its name."""
    server.always(handler)
    count = 20_000
    with (tmp_path / "prompts.jsonl").open("w") as prompts:
        for number in range(count):
            prompts.write(json.dumps({"id": f"p{number}", "prompt": "word " * 60}) + "\n")
    body = {"choices": [{"index": 0, "message": {"content": "word " * 60}}]}
    with (tmp_path / "answers.jsonl").open("w") as answers:
        for number in range(count - 1):
            response = {"status_code": 200, "request_id": None, "body": body}
            record = {"custom_id": f"p{number}", "response": response, "error": None}
            answers.write(json.dumps(record) + "\n")
    script = (
        "import re, sys\n"
        "from openai_stream.__main__ import main\n"
        "sys.argv[1:] = ['batch', 'prompts.jsonl', '-o', 'answers.jsonl']\n"
        "try: main()\n"
        # Not by getrusage(): its peak is that of the process that started this one, too.
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert summary_of(result.stderr).startswith("1 answer (19999 were there already)")
    assert int(result.stdout) < 120_000  # KiB
