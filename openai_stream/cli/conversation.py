"""A conversation on a terminal: a question a line, until Ctrl-D."""

from __future__ import annotations

from contextlib import suppress

import click

from openai_stream import OpenAIStreamError

from .asking import Asking
from .endpoints import Message
from .failures import Failure
from .notes import remark
from .options import check_text
from .output import Output

__all__ = ["converse"]


def converse(asking: Asking, output: Output) -> None:
    """Ask what the user types. Ctrl-C stops an answer, of which what came stays in the history."""
    with suppress(ImportError):  # not every Python is built with it
        import readline  # noqa: F401, PLC0415 - from now on, input() has line editing
    remark("Ctrl-C stops an answer, Ctrl-D ends the conversation")
    history: list[Message] = []
    while True:
        try:
            question = input("> ")
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            continue
        try:
            check_text("what was typed", question)
        except click.UsageError as error:
            remark(error.message)
            continue
        if question.strip():
            messages = [*history, {"role": "user", "content": question}]
            # A second Ctrl-C may come while the first is being told.
            with suppress(KeyboardInterrupt):
                history += _exchange(asking, output, messages)


def _exchange(asking: Asking, output: Output, messages: list[Message]) -> list[Message]:
    """Ask one question.

    :param messages: it is the last.
    :returns: what there is to remember: the question with its answer as far as that came, if any.
    """
    try:
        events = asking.start(messages)
    except KeyboardInterrupt:
        remark("stopped")
        return []
    try:
        asking.show(events, output)
    except KeyboardInterrupt:
        remark("stopped")
    except OpenAIStreamError as error:
        Failure.of(error).show()
    answered = asking.endpoint.remembered(events.stream.snapshot())
    return [messages[-1], *answered] if answered else []
