"""What an error means for a batch: the library's own rule, and what only a batch knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches import BATCH, echo, read, write

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OpenAIStreamError,
    RateLimitError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from openai_stream.cli.batch.verdicts import is_of_the_server, is_passing, is_rate_limit
from openai_stream.cli.batch.workers import WorkerDied
from openai_stream.testing import ScriptedServer, answer, chat_chunks, error_answer

TOO_LARGE = "Request too large for gpt-6-luna: Limit 30000, Requested 31000"


def server_error(status: int, **headers: str) -> InternalServerError:
    return InternalServerError("oops", status_code=status, headers=headers)


@pytest.mark.parametrize(
    ("error", "passing", "of_the_server"),
    [
        (APIConnectionError("refused"), True, True),
        (APIConnectionError("the certificate is not trusted", lasting=True), False, True),
        (APITimeoutError("no headers"), True, True),
        (server_error(500), True, True),
        (server_error(501), False, True),
        (server_error(503, **{"x-should-retry": "false"}), False, True),
        (ConflictError("locked", status_code=409), True, True),
        (BadRequestError("no", status_code=400), False, False),
        (NotFoundError("no model", status_code=404), False, True),
        (RateLimitError(TOO_LARGE, status_code=429, code="rate_limit_exceeded"), False, False),
        (StreamInterruptedError("cut"), True, True),
        (StreamTimeoutError("silent", deadline="idle"), True, True),
        (StreamDecodeError("not JSON"), True, True),
        (StreamDecodeError("too large", lasting=True), False, False),
        (StreamAPIError("busy", code="engine_overloaded"), True, True),
        (StreamAPIError("no", code="content_policy_violation"), False, False),
        (WorkerDied("killed"), True, True),
        (ValueError("a mistake"), False, False),
    ],
)
def test_a_batch_asks_again_what_may_do_better(
    error: Exception, passing: bool, of_the_server: bool
) -> None:
    assert is_passing(error) is passing
    assert is_of_the_server(error) is of_the_server
    if isinstance(error, OpenAIStreamError) and TOO_LARGE not in str(error):
        assert is_passing(error) == error.retryable


@pytest.mark.parametrize(
    ("error", "limited"),
    [
        (RateLimitError("slow down", status_code=429), True),
        (RateLimitError(TOO_LARGE, status_code=429), False),
        *(
            (StreamAPIError("slow down", code=code), True)
            for code in ("rate_limit_exceeded", "RateLimitReached", "429", "ThrottlingException")
        ),
        (StreamAPIError("slow down", type="rate_limit_error"), True),
        (StreamAPIError("oops", type="server_error"), False),
        (server_error(503), False),
    ],
)
def test_a_limit_slows_the_whole_run_down(error: Exception, limited: bool) -> None:
    assert is_rate_limit(error) is limited


def test_a_server_that_says_not_to_ask_again(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    """It is asked once; an error in a stream by a name of another server's, again."""
    final = error_answer(500, "never", headers={"x-should-retry": "false"})
    overloaded = {"error": {"message": "busy", "code": "engine_overloaded"}}
    server.play(final, answer([*chat_chunks("one two")[:2], overloaded], done=False))
    server.always(echo)
    write(tmp_path / "prompts.jsonl", ["a", "b"])
    result = run(*BATCH, "-c", "1")
    assert result.returncode == 4, result.stderr
    assert result.stderr.startswith("1 answer, 1 failure, "), result.stderr
    errors = [record["error"] for record in read(tmp_path / "answers.jsonl")]
    assert sorted(error["type"] if error else "" for error in errors) == ["", "InternalServerError"]
    assert len(server.requests) == 3
