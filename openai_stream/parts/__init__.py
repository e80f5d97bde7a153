"""What :meth:`EventQueue.parts <openai_stream.EventQueue.parts>` gives: the pieces of an answer.

The same classes for all three endpoints, made for ``match``. What makes them of the events of an
answer is in the modules beside this one, which are imported when it is first asked for.
"""

from __future__ import annotations

import attrs

from openai_stream.publishing import publish

__all__ = ["Call", "CallDelta", "Finish", "Part", "Reasoning", "Refusal", "Text"]


@attrs.frozen
class Text:
    """A piece of the text.

    :param text: it can be encoded; joined, the pieces are the text of the answer.

    .. versionadded:: 0.1
    """

    text: str


@attrs.frozen
class Reasoning:
    """A piece of what the model thinks, or of its summary, whatever the server calls that.

    :param text: it can be encoded.

    .. versionadded:: 0.1
    """

    text: str


@attrs.frozen
class Refusal:
    """A piece of the text with which the model refuses.

    :param text: it can be encoded.

    .. versionadded:: 0.1
    """

    text: str


@attrs.frozen
class CallDelta:
    """A piece of the arguments of a tool call, to be shown while they come.

    :param index: the call's place, in the order in which the calls began.
    :param id: of the call, if it has one.
    :param name: of the tool, in the first piece of a call; ``None`` in all others.
    :param arguments: the piece.

    .. versionadded:: 0.1
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@attrs.frozen
class Call:
    """A tool call that is complete. Each is given once.

    :param index: its place, in the order in which the calls began.
    :param id: to be sent back with the tool's result; ``None`` of a server that gives none.
    :param name: of the tool.
    :param arguments: JSON text, which the model may have got wrong; of a custom tool its input.

    .. versionadded:: 0.1
    """

    index: int
    id: str | None
    name: str
    arguments: str


@attrs.frozen
class Finish:
    """Why the answer ends; all calls that it has were given before.

    :param reason: the finish reason of a choice; of a response ``"completed"``, or the reason why
        it is incomplete.

    .. versionadded:: 0.1
    """

    reason: str


Part = Text | Reasoning | Refusal | CallDelta | Call | Finish

publish(globals())
