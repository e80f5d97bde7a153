"""``http`` of whole answers: which response brought them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest

from openai_stream import ChatCompletion, Client, Completion, Response, StreamInterruptedError
from openai_stream.testing import (
    Fin,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    completion_chunks,
    error_answer,
    json_answer,
)

BODY: dict[str, Any] = {"model": "any", "messages": []}
CHUNKS = chat_chunks("one two", seed=3)
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": []}


def with_id(script: Script, request_id: str) -> Script:
    assert isinstance(script, list)
    head, *rest = script
    return [head.replace(b"\r\n", f"\r\nX-Request-Id: {request_id}\r\n".encode(), 1), *rest]


def calls(client: Client, **arguments: Any) -> list[Any]:
    return [
        client.create_chat_completion(**BODY, **arguments),
        client.create_completion(model="any", prompt="", **arguments),
        client.create_response(model="any", input="", **arguments),
    ]


def test_answers_in_one_piece_know_their_response(server: ScriptedServer, client: Client) -> None:
    for number, body in enumerate([{"choices": []}, {"choices": []}, RESPONSE]):
        server.play(with_id(json_answer(body), f"req_{number}"))
    for number, whole in enumerate(calls(client)):
        assert whole.http.status_code == 200
        assert whole.http.request_id == f"req_{number}"
        assert whole.http.headers["CONTENT-TYPE"] == "application/json"
        assert repr(whole.http) == "HTTP(status_code=200)"


def test_results_know_their_response(server: ScriptedServer, client: Client) -> None:
    done = {"type": "response.completed", "sequence_number": 0, "response": RESPONSE}
    for number, chunks in enumerate([CHUNKS, completion_chunks("one"), [done]]):
        server.play(with_id(answer(chunks), f"req_{number}"))
    seen: list[Any] = []
    for number, events in enumerate(calls(client, stream=True, on_done=seen.append)):
        whole = events.stream.result()
        assert whole.http.request_id == seen[number].http.request_id == f"req_{number}"
        assert events.stream.snapshot().http is None


def test_the_newest_attempt_counts(server: ScriptedServer) -> None:
    server.play(
        with_id(error_answer(429, "slow", headers={"retry-after-ms": "1"}), "req_0"),
        with_id(answer([*CHUNKS[:2], Fin()]), "req_1"),
        with_id(answer(CHUNKS), "req_2"),
    )
    with Client("any", server.base_url) as client:
        whole = client.create_chat_completion(**BODY, stream=True, restarts=1).stream.result()
    assert whole.http is not None
    assert whole.http.request_id == "req_2"


def test_snapshots_of_errors_have_none(server: ScriptedServer, client: Client) -> None:
    server.play(answer([*CHUNKS[:2], Fin()]))
    with pytest.raises(StreamInterruptedError) as caught:
        client.create_chat_completion(**BODY, stream=True).stream.result()
    assert caught.value.snapshot.http is None


@pytest.mark.parametrize("made", [ChatCompletion(id="a"), Completion(id="a"), Response(id="a")])
def test_what_is_made_by_hand_has_none(made: Any) -> None:
    assert made.http is None
    assert type(made).from_dict({"id": "a"}).http is None


def test_it_is_no_part_of_the_answer(server: ScriptedServer, client: Client) -> None:
    server.play(with_id(json_answer({"choices": [], "http": 7}), "req_1"))
    whole = client.create_chat_completion(**BODY)
    assert whole.to_dict() == {"choices": [], "http": 7}
    assert whole == ChatCompletion.from_dict({"choices": [], "http": 7})
    assert "req_1" not in repr(whole)
    for other in (pickle.loads(pickle.dumps(whole)), copy.copy(whole), attrs.evolve(whole)):  # noqa: S301
        assert other.http is None
