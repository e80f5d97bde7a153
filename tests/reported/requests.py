"""Requests and statuses, waits, framings, usage, and the dialects of single servers."""

from __future__ import annotations

from openai_stream.testing import answer, error_answer

from .row import HELLO, Fails, Report, Whole, said

WAITING = b": OPENROUTER PROCESSING\n\n"

ROWS: tuple[Report, ...] = (
    Report(
        "Comments between the events",
        "",
        "OpenRouter",
        answer(
            [b": OPENROUTER PROCESSING\n\n", HELLO[0], b": OPENROUTER PROCESSING\n\n", *HELLO[1:]]
        ),
        Whole(said("Hello"), finish_reason="stop", text="Hello"),
        before="right",
    ),
    Report(
        "402, the account has no credit",
        "",
        "DeepSeek",
        error_answer(402, "Insufficient Balance", type="unknown_error"),
        Fails("APIStatusError", "Insufficient Balance", attributes={"status_code": 402}),
        before="right",
        again=[error_answer(402, "Insufficient Balance", type="unknown_error")] * 2,
        requests=1,
    ),
)
