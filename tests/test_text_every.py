"""``text(every=…)``: what arrives faster comes joined."""

from __future__ import annotations

import itertools
import threading
from time import monotonic
from typing import Any

import pytest

from openai_stream import Client, StreamInterruptedError
from openai_stream.testing import Fin, ScriptedServer, Wait, answer, chat_chunks

WORDS = " ".join(f"word{n}" for n in range(200))
CHUNKS = chat_chunks(WORDS)


def ask(client: Client) -> Any:
    return client.create_chat_completion(model="m", messages=[], stream=True)


def test_nothing_is_lost_and_little_is_given(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS, delay=0.002))
    begun = monotonic()
    pieces, times = [], []
    for piece in ask(client).text(every=0.1):
        pieces.append(piece)
        times.append(monotonic())
    seconds = times[-1] - begun
    assert "".join(pieces) == WORDS
    assert len(pieces) <= seconds / 0.1 + 2
    assert all(later - earlier >= 0.099 for earlier, later in itertools.pairwise(times[:-1]))


def test_the_first_comes_at_once_and_the_rest_at_the_end(
    server: ScriptedServer, client: Client
) -> None:
    gate, end = threading.Event(), threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(gate), *CHUNKS[2:5], Wait(end), *CHUNKS[5:]]))
    pieces = ask(client).text(every=3600)
    assert next(pieces) == "word0"
    gate.set()
    end.set()
    assert list(pieces) == [WORDS.removeprefix("word0")]


def test_what_is_held_comes_when_it_is_time(server: ScriptedServer, client: Client) -> None:
    end = threading.Event()
    server.play(answer([*CHUNKS[:4], Wait(end), *CHUNKS[4:]]))
    pieces = ask(client).text(every=0.05)
    got = next(pieces)
    while got != "word0 word1 word2":  # though nothing more arrives
        got += next(pieces)
    end.set()
    assert got + "".join(pieces) == WORDS


def test_an_error_comes_after_what_is_held(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*CHUNKS[:4], Fin()]))
    pieces = ask(client).text(every=3600)
    got = next(pieces)
    got += next(pieces)
    with pytest.raises(StreamInterruptedError):
        next(pieces)
    assert got == "word0 word1 word2"


@pytest.mark.parametrize(
    ("every", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
)
def test_a_wrong_pause_raises_at_the_call(
    server: ScriptedServer, client: Client, every: Any, kind: type[Exception]
) -> None:
    server.play(answer(CHUNKS))
    events = ask(client)
    with pytest.raises(kind, match="every must be"):
        events.text(every=every)
    assert "".join(events.text()) == WORDS
