"""Answers that break off and go on: background responses, resumed by their events' numbers."""

from __future__ import annotations

from .row import Situation

_RESUMING = "tests/test_resuming.py"

ROWS: tuple[Situation, ...] = (
    Situation(
        "a cursor that is not that of the last event",
        "openai/openai-node#2671",
        "A background response breaks off, and is resumed after a number that is fixed.",
        "It is resumed after the last event that came: nothing is lost or comes twice.",
        "asked for again from the start",
        f"{_RESUMING}::test_a_break_after_every_event_in_turn",
    ),
    Situation(
        "a resumed stream has no beginning",
        "openai/openai-node#1984",
        "Events after a number come without response.created, and are added up.",
        "result() is the whole response, which its last event carries.",
        "not possible",
        f"{_RESUMING}::test_resumes_after_a_number",
    ),
    Situation(
        "a hole in the numbers",
        "SamSaffron/term-llm#878",
        "After number 5 comes number 8.",
        "The rest is asked for once more; otherwise an error that names both numbers.",
        "not noticed",
        f"{_RESUMING}::test_a_server_that_resumes_too_late",
    ),
    Situation(
        "numbers that say nothing",
        "BerriAI/litellm#28899",
        "A gateway gives most events the number 0.",
        "The answer is whole: no event is taken for one that comes again.",
        "right",
        f"{_RESUMING}::test_a_gateway_that_gives_each_event_the_same_number",
    ),
)
