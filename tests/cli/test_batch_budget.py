"""Budgets of a batch: what the user allows a minute, and what the server says is left."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")

from batches import BATCH, echo, question, write

from openai_stream.cli.batch.budget import Budget, seconds_of
from openai_stream.testing import Request, Script, ScriptedServer, answer, chat_chunks


def gaps(server: ScriptedServer) -> list[float]:
    times = [request.received_at for request in server.requests]
    return [after - before for before, after in itertools.pairwise(times)]


def test_requests_a_minute(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    server.always(echo)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(4)])
    assert run(*BATCH, "--rpm", "60").returncode == 0
    assert all(gap > 0.7 for gap in gaps(server)), gaps(server)


def test_tokens_a_minute(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """What an answer took is known after it; a prompt's size before."""
    server.always(lambda request: answer(chat_chunks("a " * 50, usage=True)))
    write(tmp_path / "prompts.jsonl", ["word " * 80, "word " * 80, "word " * 80])
    assert run(*BATCH, "--tpm", "1200").returncode == 0
    assert all(gap > 1.0 for gap in gaps(server)), gaps(server)


def test_headers_hold_requests_back(server: ScriptedServer, run: Any, tmp_path: Path) -> None:
    """Nothing is left: the next one comes when there is more, and no 429 was needed."""

    def handler(request: Request) -> Script:
        left = "0" if question(request) == "question 2" else "10"
        headers = {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": left,
            "x-ratelimit-reset-requests": "1.2s",
        }
        return answer(chat_chunks("yes"), headers=headers)

    server.always(handler)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(1, 5)])
    assert run(*BATCH, "-c", "1").returncode == 0
    first, held, last = gaps(server)
    assert held > 1.1
    assert first < 1.0
    assert last < 1.0


def test_only_as_many_as_are_left_run_at_once(
    server: ScriptedServer, run: Any, tmp_path: Path
) -> None:
    begun: list[float] = []

    def handler(request: Request) -> Script:
        begun.append(time.monotonic())
        headers = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1s"}
        first = {"headers": headers} if len(begun) == 1 else {}
        return answer(chat_chunks("yes"), **first)  # type: ignore[arg-type]

    server.always(handler)
    write(tmp_path / "prompts.jsonl", [f"question {n}" for n in range(9)])
    assert run(*BATCH, "-c", "1").returncode == 0
    assert begun[4] - begun[0] > 0.9
    assert begun[3] - begun[0] < 0.9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1),
        ("20ms", 0.02),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("30", 30),
        ("0", 0),
        ("1d", 86400),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_forms_of_a_reset(value: str | None, seconds: float | None) -> None:
    assert seconds_of(value) == (None if seconds is None else pytest.approx(seconds))


def test_a_reset_may_be_a_moment() -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=20)
    for value in (
        soon.isoformat(),
        soon.isoformat().replace("+00:00", "Z"),
        str(soon.timestamp()),
        str(int(soon.timestamp() * 1000)),
    ):
        assert seconds_of(value) == pytest.approx(20, abs=2), value
    assert seconds_of("2020-01-01T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("limit", "reset", "least", "most"),
    [
        ("500", "60s", 0.05, 0.5),  # fills up by the minute
        ("14400", "24h0m0s", 5, 7),  # and by the day
        ("500", "7s", 6, 8),  # all at once
        (None, "90s", 50, 61),  # not for longer than a 429 would say
        ("500", None, 0.5, 1.5),
    ],
)
def test_how_long_nothing_is_left(
    limit: str | None, reset: str | None, least: float, most: float
) -> None:
    budget = Budget()
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-reset-requests": reset,
    }
    budget.told({name: value for name, value in headers.items() if value is not None}, 0)
    assert least < budget.opens_at - time.monotonic() < most


def test_headers_that_say_nothing() -> None:
    budget = Budget()
    budget.told({}, 5)
    budget.told({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-tokens": "1s"}, 5)
    assert budget.opens_at <= time.monotonic()
