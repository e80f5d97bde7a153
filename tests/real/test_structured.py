"""Structured output with llama.cpp, which constrains its answer by the schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest

from openai_stream import Client, StructuredOutputError
from openai_stream.local import LocalServer


@attrs.define
class Animal:
    name: str
    legs: Literal[2, 4, 6, 8]


@attrs.define
class Zoo:
    # A small model does not know when to stop.
    animals: Annotated[list[Animal], msgspec.Meta(max_length=2)]
    is_open: bool


def ask(server: LocalServer, tokens: int) -> Any:
    client = Client(base_url=server.base_url)
    return client.create_chat_completion(
        model=server.model,
        messages=[{"role": "user", "content": "A zoo with two animals, as JSON."}],
        response_format=Zoo,
        max_tokens=tokens,
        temperature=0,
        seed=1,
        stream=True,
    )


@pytest.mark.limit(120)
def test_the_answer_is_of_the_class(local_server: LocalServer) -> None:
    events = ask(local_server, 400)
    animals = list(events.items("animals"))
    zoo = events.stream.parsed(Zoo)
    assert isinstance(zoo, Zoo)
    assert zoo.animals == animals
    assert all(isinstance(animal, Animal) for animal in animals)


@pytest.mark.limit(120)
def test_a_cut_is_not_an_object(local_server: LocalServer) -> None:
    events = ask(local_server, 8)
    with pytest.raises(StructuredOutputError) as caught:
        list(events.partials())
    assert caught.value.reason == "length"
    assert caught.value.text
