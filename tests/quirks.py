"""The quirks of servers: what each does, what we make of it, and the script that plays it.

``test_quirks.py`` plays each over a real socket, and fails where ``docs/quirks.rst`` is not what
this writes: ``python tests/quirks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from helpers import JSON

from openai_stream import (
    BadRequestError,
    OpenAIStreamError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
)
from openai_stream.testing import (
    Event,
    Hang,
    Step,
    answer,
    chat_chunks,
    error_answer,
    frame,
    json_answer,
)

DOCUMENT = Path(__file__).parent.parent / "docs" / "quirks.rst"

#: Role, "Hello", " big", " world", finish reason.
CHUNKS = chat_chunks("Hello big world")
MESSAGE: JSON = {"role": "assistant", "content": "Hello big world", "refusal": None}
PART: JSON = {**MESSAGE, "content": "Hello"}
USAGE: JSON = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
WHOLE: JSON = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
}


@attrs.frozen
class Quirk:
    """One thing that some server does.

    :param name: of its row in the table.
    :param server: what the server does.
    :param ours: what the library makes of it.
    :param script: what is played.
    :param events: what is delivered.
    :param message: the message of choice 0 of the result, or of the error's snapshot; ``None``
        where that has no choice.
    :param finish_reason: of the same choice.
    :param usage: of the whole.
    :param keep_alives: as ``stats`` counts them.
    :param error: what ends the stream, where it does not end well.
    :param said: what its message has in it.
    """

    name: str
    server: str
    ours: str
    script: Sequence[Step | bytes]
    events: list[JSON] = attrs.field(factory=lambda: CHUNKS)
    message: JSON | None = attrs.field(factory=lambda: MESSAGE)
    finish_reason: str | None = "stop"
    usage: JSON | None = None
    keep_alives: int = 0
    error: type[OpenAIStreamError] | None = None
    said: str = ""


def with_choices(*choices: JSON) -> list[JSON]:
    """Chunks of one choice each, with the usual ones before and after."""
    middle = [{**CHUNKS[1], "choices": [choice]} for choice in choices]
    return [CHUNKS[0], *middle, CHUNKS[-1]]


def with_deltas(*deltas: JSON) -> list[JSON]:
    return with_choices(*({"index": 0, "delta": delta, "finish_reason": None} for delta in deltas))


def call(*parts: JSON) -> JSON:
    return {"tool_calls": list(parts)}


def function(name: str | None, arguments: str) -> JSON:
    return {"name": name, "arguments": arguments}


def called(*calls: tuple[str, str, str]) -> JSON:
    """A message that calls functions: the id, name and arguments of each."""
    return {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": ident, "type": "function", "function": function(name, arguments)}
            for ident, name, arguments in calls
        ],
    }


#: The usual first chunk says that there is content, which a message that calls tools has not.
CALLS = {"content": None}


def frames() -> Iterator[Quirk]:
    keep_alive: Event = b": keep-alive\n\n"
    yield Quirk(
        "Comments",
        "Sends lines that begin with a colon, so that proxies see traffic.",
        "They are no events. They reset ``idle``, not ``gap``; ``stats.keep_alives`` counts them.",
        answer([keep_alive, CHUNKS[0], keep_alive, *CHUNKS[1:], keep_alive]),
        keep_alives=3,
    )
    yield Quirk(
        "No space",
        "Writes ``data:{…}`` without a space after the colon.",
        "Read as with one, as the standard says.",
        answer([frame(one).replace(b"data: ", b"data:") for one in CHUNKS]),
    )
    yield Quirk(
        "Data as keep-alive",
        "Sends data that only keeps the connection alive: an empty ``data:``, ``[PING]``, "
        "``: keep-alive``, an event named ``ping``.",
        "It is no event, and is counted like a comment.",
        answer(
            [
                b"data:\n\n",
                CHUNKS[0],
                frame("[PING]"),
                *CHUNKS[1:3],
                frame(": keep-alive"),
                frame("{}", event="ping"),
                *CHUNKS[3:],
            ]
        ),
        keep_alives=4,
    )
    yield Quirk(
        "No ``[DONE]``",
        "Ends the body after the last event.",
        "The answer is complete if each choice has its ``finish_reason``, and otherwise cut: a "
        "``StreamInterruptedError``.",
        answer(CHUNKS, done=False),
    )
    yield Quirk(
        "No ``[DONE]``, and no framing either",
        "Just closes the connection.",
        "The same.",
        answer(CHUNKS, done=False, framing="close"),
    )
    yield Quirk(
        "No ``[DONE]`` and no ``finish_reason``",
        "Ends the body in good order, but before the answer is complete.",
        "``StreamInterruptedError``, however orderly the end was.",
        answer(CHUNKS[:2], done=False),
        events=CHUNKS[:2],
        message=PART,
        finish_reason=None,
        error=StreamInterruptedError,
        said="before it was complete",
    )
    yield Quirk(
        "``[DONE]``, and then an open socket",
        "Never ends the body.",
        "The stream ends at ``[DONE]``; the connection is closed, not used again.",
        answer([*CHUNKS, frame("[DONE]"), Hang()], done=False),
    )


def responses() -> Iterator[Quirk]:
    yield Quirk(
        "``text/plain``",
        "Calls its stream ``text/plain``.",
        "Accepted.",
        answer(CHUNKS, content_type="text/plain"),
    )
    yield Quirk(
        "No content type",
        "Does not say what it sends.",
        "Accepted.",
        answer(CHUNKS, content_type=None),
    )
    yield Quirk(
        "gzip that nobody asked for",
        "Compresses, although ``Accept-Encoding`` asks for ``identity``.",
        "Decompressed; ``max_event_bytes`` bounds the result. Events come when the server flushes.",
        answer(CHUNKS, encoding="gzip"),
    )
    yield Quirk(
        "HTML",
        "Answers with a page and status 200: a proxy, a log-in, a wrong base URL.",
        "``StreamDecodeError``.",
        answer([b"<!doctype html><title>Sign in</title>"], done=False, content_type="text/html"),
        events=[],
        message=None,
        error=StreamDecodeError,
        said="a page (text/html) instead of an event stream",
    )
    yield Quirk(
        "JSON",
        "Answers with ``application/json`` and status 200.",
        "``StreamDecodeError``.",
        json_answer({"status": "ok"}),
        events=[],
        message=None,
        error=StreamDecodeError,
        said="JSON (application/json) instead of an event stream",
    )
    yield Quirk(
        "``stream`` is ignored",
        "Answers with the whole completion as JSON.",
        "``StreamDecodeError`` that says so; its ``snapshot`` is the completion.",
        json_answer(WHOLE),
        events=[],
        error=StreamDecodeError,
        said="it ignores stream=True. The answer is whole, and is this error's snapshot",
    )
    yield Quirk(
        "An error as JSON",
        "Answers with an error object and status 200.",
        "``StreamAPIError`` that tells what the server said.",
        json_answer({"error": {"message": "The model is loading."}}),
        events=[],
        message=None,
        error=StreamAPIError,
        said="The model is loading.",
    )
    yield Quirk(
        "``stream_options`` is refused",
        "Answers 400 to a request with ``stream_options``.",
        "``BadRequestError`` that says to leave it out.",
        error_answer(400, "Unrecognized request argument supplied: stream_options"),
        events=[],
        message=None,
        error=BadRequestError,
        said="This server does not take stream_options: leave it out",
    )


def errors() -> Iterator[Quirk]:
    body = {"message": "Out of memory.", "type": "server_error", "code": "oom"}
    after: dict[str, Any] = {
        "events": CHUNKS[:2],
        "message": PART,
        "finish_reason": None,
        "error": StreamAPIError,
        "said": "Out of memory.",
    }
    yield Quirk(
        "An error object",
        'Sends ``{"error": {…}}`` as an event.',
        "``StreamAPIError`` with its code, type and body.",
        answer([*CHUNKS[:2], {"error": body}]),
        **after,
    )
    yield Quirk(
        "An error string",
        'Sends ``{"error": "…"}``.',
        "The same.",
        answer([*CHUNKS[:2], {"error": "Out of memory."}]),
        **after,
    )
    yield Quirk(
        "An error event",
        "Sends an event named ``error``, with JSON or plain text.",
        "The same.",
        answer([*CHUNKS[:2], frame("Out of memory.", event="error")]),
        **after,
    )
    yield Quirk(
        'An error with ``"object": "error"``',
        "Sends the error's fields at the top.",
        "The same.",
        answer([*CHUNKS[:2], {"object": "error", **body}]),
        **after,
    )
    yield Quirk(
        "An error first",
        "Sends the error as the first event of a response with status 200.",
        "The same; ``snapshot`` is empty.",
        answer([{"error": body}]),
        **{**after, "events": [], "message": None},
    )
    yield Quirk(
        '``"error": null``',
        "Says in each chunk that there is no error.",
        "Then there is none.",
        answer([{**one, "error": None} for one in CHUNKS]),
        events=[{**one, "error": None} for one in CHUNKS],
    )


def chunks() -> Iterator[Quirk]:
    def row(name: str, server: str, ours: str, sent: list[JSON], **expected: Any) -> Quirk:
        return Quirk(name, server, ours, answer(sent), events=sent, **expected)

    yield row(
        "Empty ``id`` and ``object``",
        "Leaves ``id``, ``object``, ``model`` or ``created`` empty in some chunks.",
        "Events show them as they are; in the result what was known stays.",
        [*CHUNKS, {"id": "", "object": "", "created": 0, "model": "", "choices": []}],
    )
    yield row(
        "No ``index``",
        "Leaves the index of a choice out, or sends null.",
        "The choice's place in the list counts.",
        with_choices(
            {"delta": {"content": "Hello big"}}, {"index": None, "delta": {"content": " world"}}
        ),
    )
    yield row(
        "Empty ``choices``",
        "Sends chunks whose ``choices`` is empty, null or missing.",
        "An event like any other; ``choices`` reads as ``[]``.",
        [
            {**CHUNKS[0], "choices": []},
            *CHUNKS[:3],
            {**CHUNKS[0], "choices": None},
            *CHUNKS[3:],
            {"id": CHUNKS[0]["id"]},
        ],
    )
    yield row(
        "Usage alone",
        "Sends the usage in a chunk without choices, after the last ``finish_reason``.",
        "It is the result's ``usage``.",
        [*CHUNKS, {**CHUNKS[0], "choices": [], "usage": USAGE}],
        usage=USAGE,
    )
    yield row(
        "Usage in each chunk",
        "Counts on in each chunk, sometimes with null in between.",
        "The last one wins; unknown is ``None``, never 0.",
        [
            {**one, "usage": None if number == 2 else {**USAGE, "completion_tokens": number}}
            for number, one in enumerate(CHUNKS)
        ],
        usage={**USAGE, "completion_tokens": len(CHUNKS) - 1},
    )
    yield row(
        "No ``delta``",
        "Sends a choice without ``delta``, or with null: Azure's asynchronous filter does.",
        "``choice.delta`` is an empty one; what else the choice has is kept.",
        [
            *CHUNKS[:2],
            {"choices": [{"index": 0, "delta": None}]},
            *CHUNKS[2:-1],
            {"choices": [{"index": 0, "finish_reason": "stop"}]},
        ],
    )
    yield row(
        "``finish_reason`` without a reason",
        'Sends ``""`` or ``"null"`` until the end.',
        "Neither is one.",
        [
            *(
                {**one, "choices": [{**one["choices"][0], "finish_reason": ""}]}
                for one in CHUNKS[:2]
            ),
            *(
                {**one, "choices": [{**one["choices"][0], "finish_reason": "null"}]}
                for one in CHUNKS[2:4]
            ),
            CHUNKS[-1],
        ],
    )
    yield row(
        "``role`` in each chunk",
        "Repeats the role, or sends it empty.",
        "It is the role, once.",
        with_deltas(
            {"role": "assistant", "content": "Hello big"}, {"role": "", "content": " world"}
        ),
    )
    yield row(
        "Content in parts",
        "Sends ``content`` as a list of parts, all of them text.",
        "``delta.content`` is that list; in the result it is the joined text.",
        with_deltas(
            {"content": [{"type": "text", "text": "Hello big"}]},
            {"content": [{"type": "text", "text": " world"}]},
        ),
    )
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    yield row(
        "Content in parts of several types",
        "Sends images or thoughts among the parts.",
        "In the result it is the list of parts, the text of neighbours joined.",
        with_deltas(
            {"content": [{"type": "text", "text": "Hello"}]},
            {"content": [{"type": "text", "text": " big"}]},
            {"content": [image]},
        ),
        message={**MESSAGE, "content": [{"type": "text", "text": "Hello big"}, image]},
    )
    yield row(
        "Reasoning beside the content",
        "Sends ``reasoning_content`` or ``reasoning``, which the API does not have.",
        "In ``extra``; joined in the result, as any unknown text of a delta.",
        with_deltas({"reasoning_content": "Hm"}, {"reasoning_content": "m."}, {"content": "Yes."}),
        message={**MESSAGE, "content": "Yes.", "reasoning_content": "Hmm."},
    )
    yield row(
        "Tool calls with empty ``id`` and ``name``",
        'Sends null or ``""`` in a call\'s continuations.',
        "Only what is not empty counts.",
        with_deltas(
            CALLS,
            call({"index": 0, "id": "a", "type": "function", "function": function("f", "")}),
            call({"index": 0, "id": None, "type": None, "function": function(None, '{"x":')}),
            call({"index": 0, "id": "", "type": "", "function": function("", "1}")}),
        ),
        message=called(("a", "f", '{"x":1}')),
    )
    yield row(
        "Tool calls without ``index``",
        "Leaves the index of tool calls out, or sends null.",
        "A new ``id`` begins a call; without one, the open call goes on.",
        with_deltas(
            CALLS,
            call({"id": "a", "type": "function", "function": function("f", "{")}),
            call({"index": None, "function": {"arguments": "}"}}),
            call({"id": "b", "type": "function", "function": function("g", "{}")}),
        ),
        message=called(("a", "f", "{}"), ("b", "g", "{}")),
    )
    yield row(
        "Parallel tool calls that all say 0",
        "Gives each of several calls the index 0, but an id of its own.",
        "They are several calls.",
        with_deltas(
            CALLS,
            call({"index": 0, "id": "a", "type": "function", "function": function("f", "{}")}),
            call({"index": 0, "id": "b", "type": "function", "function": function("g", "{}")}),
        ),
        message=called(("a", "f", "{}"), ("b", "g", "{}")),
    )
    yield row(
        "Indexes out of order",
        "Sends the tool call with index 1 before the one with index 0.",
        "In the result they are in order.",
        with_deltas(
            CALLS,
            call({"index": 1, "id": "b", "type": "function", "function": function("g", "{}")}),
            call({"index": 0, "id": "a", "type": "function", "function": function("f", "{}")}),
        ),
        message=called(("a", "f", "{}"), ("b", "g", "{}")),
    )


GROUPS: dict[str, list[Quirk]] = {
    "The stream": list(frames()),
    "The response": list(responses()),
    "Errors in the stream": list(errors()),
    "The chunks": list(chunks()),
}
QUIRKS = [quirk for group in GROUPS.values() for quirk in group]


# The table -----------------------------------------------------------------------------------

_HEAD = """\
.. Written by ``python tests/quirks.py``; change that file, not this one.

Quirks
======

Many servers speak the protocol, each a little differently. A program that runs with one runs with
the next: these are the differences that are known, and what the library makes of each. Every row is
played over a real socket by ``tests/test_quirks.py``.
"""


def document() -> str:
    """The page of the documentation."""
    lines = [_HEAD]
    for title, group in GROUPS.items():
        lines += [title, "-" * len(title), ""]
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 20 40 40", ""]
        for cells in [("Quirk", "What the server does", "What the library does")] + [
            (quirk.name, quirk.server, quirk.ours) for quirk in group
        ]:
            first, *others = cells
            lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
