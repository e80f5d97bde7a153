"""What a row of the table of public reports is, and what the rows are made of.

A :class:`Report` is something that a server sends. It is data: ``test_reports.py`` plays it over a
real socket to this library, ``benchmarks/compare_reports.py`` to others. A :class:`Situation` is
something that a program or a machine does, and names the test that plays it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from openai_stream.testing import Script

JSON = dict[str, Any]

Endpoint = Literal["chat", "completions", "responses", "any"]


@attrs.frozen
class Whole:
    """The answer is whole. What is ``None`` is not looked at; all else is compared exactly.

    :param message: of the only choice, as ``to_dict()`` gives it; of a text completion its text.
    :param messages: the same of all choices, in their order.
    :param finish_reason: of the first choice.
    :param output: of a response.
    :param fields: of the whole: ``id``, ``model``, ``status``, or what a server adds.
    :param text: what ``text()`` yields, joined.
    :param data: of the last event, for the endpoint ``any``.
    :param events: all that was delivered: the dicts; for ``any`` those of ``event, data, id``.
    """

    message: JSON | str | None = None
    messages: Sequence[JSON | str] | None = None
    finish_reason: str | None = None
    usage: JSON | None = None
    output: Sequence[JSON] | None = None
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    text: str | None = None
    data: Any = None
    events: Sequence[JSON] | None = None


@attrs.frozen
class Fails:
    """It ends with an error.

    :param error: the name of its class.
    :param said: what its message has in it.
    :param unsaid: what its message has not in it, if anything.
    :param held: the text of choice 0, or of the response, in its ``snapshot``; ``None``: not looked
        at.
    :param attributes: others of the error's: ``type``, ``code``, ``status_code``, ``retryable``.
    """

    error: str
    said: str = ""
    unsaid: str = ""
    held: str | None = None
    attributes: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Report:
    """What a server sends, and what is right then.

    :param name: what the server does, in a few words; no other row has it.
    :param source: the public thread, ``owner/repository#number``; empty if somebody who tried to
        break the library found it.
    :param server: who sends it.
    :param sent: the script that answers the first request, made of ``openai_stream.testing``.
    :param right: the right value.
    :param before: what commit 3d32c93 gave: ``right``, or what was wrong, in a few words.
        ``python -m benchmarks.compare_reports --before CHECKOUT`` verifies it.
    :param endpoint: ``any`` is ``Client.stream``.
    :param body: more fields of the request: ``n``, ``tools``, ``prompt``.
    :param again: the scripts for the requests after the first; so often it may be tried again.
    :param requests: how many are made, if that is to be looked at.
    :param waits: the least seconds between the first request and the second.
    :param ours: what is still wrong here, in a few words; then the test must fail.
    """

    name: str
    source: str
    server: str
    sent: Script
    right: Whole | Fails
    before: str
    endpoint: Endpoint = "chat"
    body: Mapping[str, Any] = attrs.field(factory=dict)
    stream: bool = True
    again: Sequence[Script] = ()
    requests: int | None = None
    waits: float = 0.0
    ours: str = "right"


@attrs.frozen
class Situation:
    """What a program or a machine does, and what is right then.

    :param right: in words.
    :param before: what commit 3d32c93 did: ``right``, or what was wrong, in a few words.
    :param test: the node that plays it: ``tests/test_x.py::test_y``.
    """

    name: str
    source: str
    situation: str
    right: str
    before: str
    test: str


# What the rows are made of; ``quirks.py`` has more of it ------------------------------------------


def chunk(
    delta: JSON | None = None, finish_reason: str | None = None, *, index: int = 0, **fields: Any
) -> JSON:
    """One chunk of a chat completion, with one choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish_reason}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
    return {**base, "choices": [choice], **fields}


def texts(*pieces: str) -> list[JSON]:
    """Chunks with a piece of the text each, and no end; the first has the role."""
    first, *others = pieces
    return [
        chunk({"role": "assistant", "content": first}),
        *(chunk({"content": x}) for x in others),
    ]


def said(text: str, **fields: Any) -> JSON:
    """The message that has that text."""
    return {"role": "assistant", "content": text, **fields}


STOP = chunk({}, "stop")
HELLO = [*texts("Hel", "lo"), STOP]
