"""What was meant by data that its server framed wrongly."""

from __future__ import annotations

import pytest

from openai_stream.misframed import is_done, meant


@pytest.mark.parametrize("data", ["[DONE]", "[DONE] ", "\t[DONE]\r", "DONE"])
def test_done(data: str) -> None:
    assert is_done(data)


@pytest.mark.parametrize("data", ["", "done", "[DONE", '"[DONE]"', "[DONE][DONE]", "UNDONE"])
def test_not_done(data: str) -> None:
    assert not is_done(data)


@pytest.mark.parametrize(
    ("data", "events"),
    [
        ('{"a":1}\n{"b":2}', ['{"a":1}', '{"b":2}']),
        ('{"a":1}\n[DONE]', ['{"a":1}', "[DONE]"]),
        ('{"a":1}\n\n {"b":2} \n', ['{"a":1}', '{"b":2}']),
        ('data: {"a":1}', ['{"a":1}']),
        ('data:{"a":1}\ndata: [DONE]', ['{"a":1}', "[DONE]"]),
        ("data: [DONE]", ["[DONE]"]),
        # The second is broken; the first came whole.
        ('{"a":1}\n{"b":', ['{"a":1}', '{"b":']),
    ],
)
def test_events_that_were_put_together(data: str, events: list[str]) -> None:
    assert [event.data for event in meant(data)] == events


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "no JSON",
        '{"a":',  # a broken chunk is no two of them
        '{\n"a":',  # nor is one on several lines
        '{"a":1}\n"b"',
        '{"a":1}{"b":2}',  # on one line: where one ends is not told
        "data: 12\ndata: 13",
        "1\n2",
    ],
)
def test_what_cannot_be_told(data: str) -> None:
    assert meant(data) == []
