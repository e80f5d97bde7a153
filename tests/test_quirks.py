"""Each quirk of ``quirks.py`` over a real socket, and the table of them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import SOON
from quirks import DOCUMENT, QUIRKS, Quirk, document

from openai_stream import ChatCompletion, Client, OpenAIStreamError, Stream, StreamError
from openai_stream.testing import ScriptedServer

BODY: dict[str, Any] = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}


def assert_as_told(
    quirk: Quirk, stream: Stream[Any, ChatCompletion], error: BaseException | None
) -> None:
    assert stream.exception(SOON) is error
    if quirk.error is None:
        assert error is None
        whole = stream.result()
    else:
        assert type(error) is quirk.error
        assert quirk.said in str(error)
        whole = error.snapshot if isinstance(error, StreamError) else stream.snapshot()
    assert isinstance(whole, ChatCompletion)
    if quirk.message is None:
        assert whole.choices == []
    else:
        (choice,) = whole.choices
        assert choice.message.to_dict() == quirk.message
        assert choice.finish_reason == quirk.finish_reason
    assert (None if whole.usage is None else whole.usage.to_dict()) == quirk.usage
    assert whole.object == "chat.completion"
    if quirk.events:
        assert whole.id == quirk.events[0]["id"]
    assert stream.stats.events == len(quirk.events)
    assert stream.stats.keep_alives == quirk.keep_alives


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
def test_in_a_queue(server: ScriptedServer, client: Client, quirk: Quirk) -> None:
    server.play(quirk.script)
    events = client.create_chat_completion(**BODY, stream=True, nowait=True)
    got = []
    error: BaseException | None = None
    try:
        for event in events:
            got.append(event.to_dict())
    except OpenAIStreamError as raised:
        error = raised
    assert got == quirk.events
    assert_as_told(quirk, events.stream, error)
    (request,) = server.requests
    assert request.headers["accept-encoding"] == "identity"
    assert request.json == {**BODY, "stream": True}


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_in_a_callback(server: ScriptedServer, client: Client, quirk: Quirk) -> None:
    server.play(quirk.script)
    calls: list[tuple[str, Any]] = []
    stream = client.create_chat_completion(
        **BODY,
        stream=True,
        nowait=True,
        on_next=lambda event: calls.append(("next", event.to_dict())),
        on_done=lambda whole: calls.append(("done", whole)),
        on_error=lambda error: calls.append(("error", error)),
    )
    error = stream.exception(SOON)
    last = ("done", stream.result()) if error is None else ("error", error)
    assert calls == [*(("next", event) for event in quirk.events), last]
    assert_as_told(quirk, stream, error)


def test_the_rows_have_different_names() -> None:
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)


def test_the_table_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/quirks.py"
