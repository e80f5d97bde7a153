"""The count of a background response's events: what is new, what comes again, what is missing."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
import requests

from openai_stream.background import Background
from openai_stream.errors import StreamDecodeError

ENDS = ("response.completed", "response.failed")


def unasked(*_: Any) -> NoReturn:
    raise AssertionError("a request was made")


def made(**arguments: Any) -> Background:
    return Background(unasked, unasked, ENDS, **arguments)


def event(number: Any, kind: str = "response.output_text.delta", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": number, **fields}


def created(number: Any = 0) -> dict[str, Any]:
    return event(number, "response.created", response={"id": "resp_1"})


def test_counts_and_knows_the_id() -> None:
    background = made()
    assert not background.can_go_on
    assert not background.is_repeated(created())
    assert background.ident == "resp_1"
    assert background.can_go_on
    assert [background.is_repeated(event(number)) for number in (1, 2)] == [False, False]
    assert not background.is_over
    background.is_repeated(event(3, "response.completed"))
    assert background.is_over
    background.cancel()  # asks nobody


def test_drops_what_comes_again() -> None:
    background = made()
    given = [created(), created(), event(1), event(1), event(2), event(0), event(2), event(3)]
    repeated = [background.is_repeated(one) for one in given]
    assert repeated == [False, True, False, True, False, True, True, False]


def test_an_event_that_is_left_out_is_an_error() -> None:
    background = made()
    background.is_repeated(created())
    with pytest.raises(StreamDecodeError, match="after number 0 comes number 2") as caught:
        background.is_repeated(event(2))
    assert caught.value.retryable
    assert not background.is_repeated(event(1))  # the rest can still be asked for


@pytest.mark.parametrize("first", [0, 1])
def test_a_replay_begins_at_the_beginning(first: int) -> None:
    assert not made(ident="resp_1").is_repeated(created(first))


def test_a_replay_that_does_not_is_an_error() -> None:
    with pytest.raises(StreamDecodeError, match="the beginning of the response comes number 4"):
        made(ident="resp_1").is_repeated(event(4))


def test_what_was_not_wanted_is_dropped() -> None:
    background = made(ident="resp_1", after=1)
    assert background.can_go_on
    assert [background.is_repeated(event(number)) for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_new_stream_counts_from_where_it_likes() -> None:
    background = made()
    assert not background.is_repeated(event(7))
    assert not background.is_repeated(event(8))


def test_a_server_that_numbers_nothing_loses_nothing() -> None:
    """Gateways give each event the same number, or none."""
    for number in (0, 1, 7, -1, None, "1", True):
        background = made()
        background.is_repeated(created(number))
        assert not any(background.is_repeated(event(number)) for _ in range(3))
        assert not background.can_go_on


def test_equal_numbers_behind_a_break_are_an_error() -> None:
    """What has come cannot be told from what has not: all of it has to be asked for again."""
    background = Background(lambda *_: requests.Response(), unasked, ENDS)
    background.is_repeated(created(7))
    background.resume(None)
    assert background.is_repeated(created(7))
    with pytest.raises(StreamDecodeError, match="several events of the response the number 7") as e:
        background.is_repeated(event(7))
    assert e.value.retryable
    assert not background.can_go_on
    background.resume(None)
    assert not any(map(background.is_repeated, [created(7), event(7), event(7)]))


def test_another_response_is_counted_anew() -> None:
    background = made()
    for one in (created(), event(1), event(2, "response.failed")):
        background.is_repeated(one)
    background.begin_anew()
    assert background.ident is None
    assert not background.is_over
    other = {**created(), "response": {"id": "resp_2"}}
    assert [background.is_repeated(one) for one in (other, event(1))] == [False, False]
    assert background.ident == "resp_2"


@pytest.mark.parametrize(
    "strange",
    [
        None,
        [],
        "a",
        {},
        {"response": {"id": 7}},
        {"response": {"id": ".."}},
        {"type": ["a"]},
        {"response": {"id": "resp_\ud800"}},
    ],
)
def test_strange_events_are_none_of_its_business(strange: Any) -> None:
    background = made()
    assert not background.is_repeated(strange)
    assert background.ident is None
