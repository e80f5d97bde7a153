"""A subscription that begins in the middle: the numbers of items, over restarts too."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import SOON

from openai_stream import Client, Restarted, Tagged
from openai_stream.testing import ScriptedServer, Wait, answer, chat_chunks

CHUNKS = chat_chunks("one two three")


def start(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(
        model="m", messages=[], stream=True, replay=True, **arguments
    )


@pytest.mark.parametrize("after", range(len(CHUNKS) + 1))
def test_leaves_the_first_items_out(server: ScriptedServer, client: Client, after: int) -> None:
    server.play(answer(CHUNKS))
    events = start(client)
    stream = events.stream
    stream.result(SOON)
    assert [event.to_dict() for event in stream.subscribe(after=after)] == CHUNKS[after:]
    assert [event.to_dict() for event in stream.subscribe()] == CHUNKS


def test_waits_for_the_items_after_a_number_that_has_not_come(
    server: ScriptedServer, client: Client
) -> None:
    rest = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(rest), *CHUNKS[2:]]))
    events = start(client)
    first = events.get()
    late = events.stream.subscribe(after=4)
    early = events.stream.subscribe(after=1)
    assert early.get(timeout=SOON).to_dict() == CHUNKS[1]
    rest.set()
    assert [event.to_dict() for event in late] == CHUNKS[4:]
    assert [event.to_dict() for event in early] == CHUNKS[2:]
    assert list(events.stream.subscribe(after=100)) == []
    assert first.to_dict() == CHUNKS[0]


def test_numbers_go_on_over_a_restart(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    server.play(answer(CHUNKS[:3], fault="cut"), answer([*CHUNKS[:2], Wait(rest), *CHUNKS[2:]]))
    events = start(client, restarts=1)
    stream = events.stream
    old = stream.subscribe(after=2)
    new = stream.subscribe(after=5)  # 1 to 3, the restart is 4, and the first of the new answer 5
    got: list[Any] = []
    while not isinstance(got[-1:] and got[-1], Restarted):
        got.append(events.get(timeout=SOON))
    cut = len(got) - 1
    assert cut <= 3
    rest.set()
    stream.result(SOON)

    def numbered(queue: Any) -> list[Any]:
        return [item if isinstance(item, Restarted) else item.to_dict() for item in queue]

    restarted = got[-1]
    for after in range(cut + 1):
        assert numbered(stream.subscribe(after=after)) == [restarted, *CHUNKS]
    for after in range(cut + 1, cut + len(CHUNKS) + 2):
        assert numbered(stream.subscribe(after=after)) == CHUNKS[after - cut - 1 :]
    assert numbered(stream.subscribe()) == CHUNKS
    assert numbered(old) == [*CHUNKS[2:cut], restarted, *CHUNKS]
    assert numbered(new) == CHUNKS[5 - cut - 1 :]


@pytest.mark.parametrize(
    ("after", "kind"), [(-1, ValueError), ("3", TypeError), (True, TypeError), (1.0, TypeError)]
)
def test_refuses_what_is_not_a_number_of_items(
    server: ScriptedServer, client: Client, after: Any, kind: type[Exception]
) -> None:
    server.play(answer(CHUNKS))
    events = start(client)
    with pytest.raises(kind, match="after must"):
        events.stream.subscribe(after=after)
    list(events)


def test_a_tagged_item_unpacks() -> None:
    tag, item = Tagged("t", 5)
    assert (tag, item) == ("t", 5)
